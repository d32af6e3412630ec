"""pg8000's converters where they read another value than the server wrote, or none that could be read.

Each takes the text that the server sends and gives what pg8000 documents for the type. A converter that the caller
registered is his and stays; only pg8000's own are replaced, by what stands in the two tables below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from functools import partial
from ipaddress import ip_address, ip_interface
from types import FunctionType
from typing import Any

from pg8000 import converters
from pg8000.types import PGInterval, Range

from lightvec.types._messages import show
from lightvec.types.array_texts import parse_array

__all__ = ["mended"]

Convert = Callable[[str], Any]

# They are compiled when the first value comes that they are for: compiling takes 2 ms, which a start should not.
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = r"([+-][0-9]{2})(:[0-9]{2})?(:[0-9]{2})?"
_MOMENT = rf"({_DATE} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}})(?:\.([0-9]{{1,6}}))?(?:{_OFFSET})?"
_TIME = rf" [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,6}})?(?:{_OFFSET})?"
#: Days, and moments, that Python's classes have no room for.
_BEYOND_DATE, _BEYOND_MOMENT = (
    rf"-?infinity|[0-9]{{5,7}}-[0-9]{{2}}-[0-9]{{2}}{time}|[0-9]{{4,6}}-[0-9]{{2}}-[0-9]{{2}}{time} BC"
    for time in ("", _TIME)
)
_SPAN = (
    r"(?:(?P<years>[+-]?[0-9]+) years? ?)?(?:(?P<months>[+-]?[0-9]+) mons? ?)?(?:(?P<days>[+-]?[0-9]+) days? ?)?"
    r"(?:(?P<sign>[+-]?)(?P<hours>[0-9]{2,}):(?P<minutes>[0-9]{2}):(?P<seconds>[0-9]{2}(?:\.[0-9]{1,6})?))?"
)
_ISO_SPAN = (
    r"P(?=[0-9T-])(?:-?[0-9]+Y)?(?:-?[0-9]+M)?(?:-?[0-9]+D)?"
    r"(?:T(?=[0-9-])(?:-?[0-9]+H)?(?:-?[0-9]+M)?(?:-?[0-9]+(?:\.[0-9]+)?S)?)?"
)
#: What stands between quotes of a record or range, where a quote may be doubled. One character a turn would need
#: 120 bytes for each of them while it is looked at.
_IN_DOUBLED_QUOTES = r'[^"\\]*(?:(?:""|\\.)[^"\\]*)*'
_FIELD = rf',(?:"({_IN_DOUBLED_QUOTES})"|([^",()\\]*))'
_BOUND = rf'(?:"({_IN_DOUBLED_QUOTES})"|([^",()\[\]\\]*))'
_RANGE = rf"(?s)([\[(]){_BOUND},{_BOUND}([\])])"


def _no(what: str, data: str) -> ValueError:
    return ValueError(f"expected {what}, got {show(data)}")


def _bool_in(data: str) -> bool:
    if data not in ("t", "f"):
        raise _no("t or f", data)
    return data == "t"


def _date_in(data: str) -> date | str:
    return date.fromisoformat(data) if re.fullmatch(_DATE, data) else _unheld(data, _BEYOND_DATE)


def _moment_in(data: str) -> datetime | str:
    """A timestamp; its time zone may be away from UTC by seconds, too, as all were before there were any."""
    found = re.fullmatch(_MOMENT, data)
    if found is None:
        return _unheld(data, _BEYOND_MOMENT)
    whole, fraction, hours, minutes, seconds = found.groups("")
    offset = f"{hours}{minutes or ':00'}{seconds}" if hours else ""
    return datetime.fromisoformat(f"{whole}.{fraction:0<6}{offset}")


def _unheld(data: str, beyond: str) -> str:
    """Infinity, the years before 1 and from 10000 on are given as text; another style is not to be guessed at."""
    if not re.fullmatch(beyond, data):
        raise ValueError(f"expected a date in ISO's style, got {show(data)}: SET DateStyle = 'ISO'")
    return data


def _interval_in(data: str) -> timedelta | PGInterval:
    """The sign before the hours is that of the minutes and seconds, too."""
    found = re.fullmatch(_SPAN, data)
    if found is None or not data:
        if re.fullmatch(_ISO_SPAN, data):
            iso: timedelta | PGInterval = converters.interval_in(data)
            return iso
        raise ValueError(
            f"expected an interval in PostgreSQL's style, got {show(data)}: SET IntervalStyle = 'postgres'"
        )
    part = found.groupdict("0")
    sign = -1 if part["sign"] == "-" else 1
    years, months, days = (int(part[name]) for name in ("years", "months", "days"))
    hours, minutes = (sign * int(part[name]) for name in ("hours", "minutes"))
    if years or months:
        span: dict[str, float] = {"years": years, "months": months, "days": days, "hours": hours, "minutes": minutes}
        span |= {"seconds": sign * float(part["seconds"])}
        return PGInterval(**{name: number for name, number in span.items() if number})
    seconds, _, fraction = part["seconds"].partition(".")
    microseconds = sign * int(f"{seconds}{fraction:0<6}")
    return timedelta(days, hours=hours, minutes=minutes, microseconds=microseconds)


def _inet_in(data: str) -> Any:
    """An address with the length of its network keeps both: as a network it would lose the address."""
    return ip_interface(data) if "/" in data else ip_address(data)


def _point_in(data: str) -> tuple[float, ...]:
    numbers = data[1:-1].split(",")
    if (data[:1], data[-1:], len(numbers)) != ("(", ")", 2):
        raise _no("a point like (1,2)", data)
    return tuple(map(float, numbers))


def _bytes_in(data: str) -> bytes:
    """Both styles of ``bytea_output``."""
    if data.startswith("\\x"):
        read = bytes.fromhex(data[2:])
        if 2 + 2 * len(read) != len(data):
            raise _no("hexadecimal digits", data)
        return read
    if not re.fullmatch(r"[^\\]*(?:\\(?:\\|[0-3][0-7]{2})[^\\]*)*", data):
        raise _no("bytes in the escape style", data)
    return re.sub(rb"\\(\\|[0-7]{3})", _byte, data.encode("ascii"))


def _byte(escaped: re.Match[bytes]) -> bytes:
    return b"\\" if escaped[1] == b"\\" else bytes([int(escaped[1], 8)])


def _record_in(data: str) -> tuple[str | None, ...]:
    """The fields as texts: nothing between commas is NULL, quotes and backslashes are doubled within quotes."""
    if data == "()":
        return ()
    if data[:1] != "(" or data[-1:] != ")":
        raise _no("a record like (1,a)", data)
    return tuple(_fields(f",{data[1:-1]}"))


def _fields(data: str) -> Iterator[str | None]:
    pattern, position = re.compile(_FIELD, re.DOTALL), 0
    while position < len(data):
        found = pattern.match(data, position)
        if found is None:
            raise _no("the fields of a record", data)
        yield _unquoted(found[1], found[2])
        position = found.end()


def _unquoted(quoted: str | None, plain: str) -> str | None:
    """What stands there; nothing without quotes is NULL, or no bound."""
    return plain or None if quoted is None else re.sub(r'(?s)(["\\])(.)', r"\2", quoted)


def _range_in(element: Convert) -> Convert:
    def convert(data: str) -> Range:
        if data == "empty":
            return Range(is_empty=True)
        found = re.fullmatch(_RANGE, data)
        if found is None:
            raise _no("a range like [1,5)", data)
        before, *texts, behind = found.groups()
        bounds = [_unquoted(*texts[:2]), _unquoted(*texts[2:])]
        lower, upper = (None if bound is None else element(bound) for bound in bounds)
        return Range(lower, upper, bounds=f"{before}{behind}")

    return convert


def _multirange_in(one: Convert) -> Convert:
    def convert(data: str) -> list[Range]:
        if data[:1] != "{" or data[-1:] != "}":
            raise _no("ranges like {[1,5)}", data)
        return list(map(one, _ranges(data)))

    return convert


def _ranges(data: str) -> Iterator[str]:
    pattern, position, end = re.compile(_RANGE), 1, len(data) - 1
    while position < end or position == end > 1:
        found = pattern.match(data, position)
        if found is None or (data[found.end()] != "," and found.end() != end):
            raise _no("ranges with commas between", data)
        yield found[0]
        position = found.end() + 1


_RANGES: dict[str, Convert] = {
    "int4": int,
    "int8": int,
    "num": converters.numeric_in,
    "date": _date_in,
    "ts": _moment_in,
    "tstz": _moment_in,
}

_MENDED: dict[Convert, Convert] = {
    converters.bool_in: _bool_in,
    converters.bytes_in: _bytes_in,
    converters.date_in: _date_in,
    converters.inet_in: _inet_in,
    converters.interval_in: _interval_in,
    converters.point_in: _point_in,
    converters.record_in: _record_in,
    converters.timestamp_in: _moment_in,
    converters.timestamptz_in: _moment_in,
    **{getattr(converters, f"{name}range_in"): _range_in(element) for name, element in _RANGES.items()},
    **{
        getattr(converters, f"{name}multirange_in"): _multirange_in(_range_in(element))
        for name, element in _RANGES.items()
    },
}

#: By pg8000's converter of arrays, what reads an element.
_ELEMENTS: dict[Convert, Convert] = {
    converters.int_array_in: int,
    converters.float_array_in: float,
    **{
        getattr(converters, f"{name}_array_in"): getattr(converters, f"{name}_in")
        for name in (
            *("bool", "bytes", "cidr", "date", "inet", "interval", "json", "numeric", "string", "time", "timestamp"),
            *("timestamptz", "uuid"),
            *(f"{name}{kind}" for name in _RANGES for kind in ("range", "multirange")),
        )
    },
}


def mended(convert: Convert) -> Convert:
    """The converter itself, or what reads rightly what it reads wrongly."""
    if not isinstance(convert, FunctionType):
        return convert
    element = _ELEMENTS.get(convert)
    if element is not None:
        return partial(parse_array, convert=_MENDED.get(element, element))
    return _MENDED.get(convert, convert)
