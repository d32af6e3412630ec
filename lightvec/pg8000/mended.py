"""pg8000's converters where they read another value than the server wrote, or none that could be read.

Each takes the text that the server sends and gives what pg8000 documents for the type. A converter that the caller
registered is his and stays; only pg8000's own are replaced, by what stands in the two tables below.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from ipaddress import ip_address, ip_interface
from types import FunctionType
from typing import Any

from pg8000 import converters
from pg8000.types import PGInterval

__all__ = ["mended", "parse_array"]

Convert = Callable[[str], Any]

# They are compiled when the first value comes that they are for: compiling takes 2 ms, which a start should not.
_DATE = r"\d{4}-\d\d-\d\d"
_MOMENT = rf"({_DATE} \d\d:\d\d:\d\d)(?:\.(\d+))?(?:([+-]\d\d)(:\d\d)?(:\d\d)?)?"
_BEYOND = r"-?infinity|\d{4,}-\d\d-\d\d.*"
_SPAN = (
    r"(?:(?P<years>[+-]?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-]?)(?P<hours>\d\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?))?"
)
_FIELD = r'(?s),(?:"((?:[^"\\]|""|\\.)*)"|([^,"]*))'


def _date_in(data: str) -> date | str:
    return date.fromisoformat(data) if re.fullmatch(_DATE, data) else _unheld(data)


def _moment_in(data: str) -> datetime | str:
    """A timestamp; its time zone may be away from UTC by seconds, too, as all were before there were any."""
    found = re.fullmatch(_MOMENT, data)
    if found is None:
        return _unheld(data)
    whole, fraction, hours, minutes, seconds = found.groups("")
    offset = f"{hours}{minutes or ':00'}{seconds}" if hours else ""
    return datetime.fromisoformat(f"{whole}.{fraction:0<6}{offset}")


def _unheld(data: str) -> str:
    """Infinity, the years before 1 and from 10000 on are given as text; another style is not to be guessed at."""
    if not re.fullmatch(_BEYOND, data):
        raise ValueError(f"expected a date in ISO's style, got {data!r}: SET DateStyle = 'ISO'")
    return data


def _interval_in(data: str) -> timedelta | PGInterval:
    """The sign before the hours is that of the minutes and seconds, too."""
    found = re.fullmatch(_SPAN, data)
    if found is None or not data:
        if data.startswith("P"):
            iso: timedelta | PGInterval = converters.interval_in(data)
            return iso
        raise ValueError(f"expected an interval in PostgreSQL's style, got {data!r}: SET IntervalStyle = 'postgres'")
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


def _bytes_in(data: str) -> bytes:
    """Both styles of ``bytea_output``."""
    if data.startswith("\\x"):
        return bytes.fromhex(data[2:])
    return re.sub(rb"\\(\\|\d{3})", _byte, data.encode("ascii"))


def _byte(escaped: re.Match[bytes]) -> bytes:
    return b"\\" if escaped[1] == b"\\" else bytes([int(escaped[1], 8)])


def _record_in(data: str) -> tuple[str | None, ...]:
    """The fields as texts: nothing between commas is NULL, quotes and backslashes are doubled within quotes."""
    if data == "()":
        return ()
    fields = (found.groups() for found in re.finditer(_FIELD, f",{data[1:-1]}"))
    return tuple(
        [plain or None if quoted is None else re.sub(r'(?s)(["\\])(.)', r"\2", quoted) for quoted, plain in fields]
    )


def parse_array(data: str, convert: Convert) -> list[Any]:
    """An array; its bounds, which are written before it if they are not 1 (``int2vector`` as ``int2[]``), are left."""
    array: list[Any] = converters._parse_array(data[data.index("=") + 1 :] if data.startswith("[") else data, convert)
    return array


_MENDED: dict[Convert, Convert] = {
    converters.bytes_in: _bytes_in,
    converters.date_in: _date_in,
    converters.inet_in: _inet_in,
    converters.interval_in: _interval_in,
    converters.record_in: _record_in,
    converters.timestamp_in: _moment_in,
    converters.timestamptz_in: _moment_in,
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
