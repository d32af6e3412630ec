"""Convert PostgreSQL's text output to Python values; ``ValueError`` if the text is malformed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from lightvec.types.inputs import show

if TYPE_CHECKING:
    from pg8000.types import PGInterval, Range

Convert = Callable[[str], Any]

#: Compiled lazily: at import it would cost 2 ms.
_compiled = cache(re.compile)

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = r"(?:([+-][0-9]{2})(:[0-9]{2})?(:[0-9]{2})?)?"
_TIME = rf"((?!24)[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}})(?:\.([0-9]{{1,6}}))?{_OFFSET}"
_TIMESTAMP = rf"({_DATE} )?{_TIME}"
#: Beyond Python's classes: infinity, the years before 1 and after 9999.
_BEYOND_DATE, _BEYOND_TIMESTAMP = (
    rf"-?infinity|[0-9]{{5,7}}-[0-9]{{2}}-[0-9]{{2}}{clock}|[0-9]{{4,6}}-[0-9]{{2}}-[0-9]{{2}}{clock} BC"
    for clock in ("", f" {_TIME}")
)

_N = r"[+-]?[0-9]+"
_SECONDS = r"[0-9]+(?:\.[0-9]{1,6})?"
_CLOCK = rf"(?P<sign>[+-]?)(?P<hours>[0-9]+):(?P<minutes>[0-9]{{2}}):(?P<seconds>{_SECONDS})"
_UNITS = rf"(?:(?P<years>{_N}) years? ?)?(?:(?P<months>{_N}) mons? ?)?(?:(?P<days>{_N}) days? ?)?"
#: By IntervalStyle (``EncodeInterval``, src/backend/utils/adt/datetime.c).
_INTERVALS = (
    rf"(?!$){_UNITS}(?:{_CLOCK})?",  # postgres
    rf"@ (?!$){_UNITS}(?:(?P<hours>{_N}) hours? ?)?(?:(?P<minutes>{_N}) mins? ?)?"
    rf"(?:(?P<seconds>-?{_SECONDS}) secs? ?)?(?P<ago>ago)?",  # postgres_verbose
    rf"(?!$)(?P<sql>)(?:(?P<year_sign>[+-]?)(?P<years>[0-9]+)-(?P<months>[0-9]+)(?: |$))?"
    rf"(?:(?P<days>{_N}) )?(?:{_CLOCK})?",  # sql_standard
    rf"P(?=[0-9T-])(?:(?P<years>{_N})Y)?(?:(?P<months>{_N})M)?(?:(?P<days>{_N})D)?"
    rf"(?:T(?=[0-9-])(?:(?P<hours>{_N})H)?(?:(?P<minutes>{_N})M)?(?:(?P<seconds>-?{_SECONDS})S)?)?",  # iso_8601
)
_NO_TIME = ("0", "@ 0")

#: Between the quotes of a record or range a quote may be doubled. An alternation for each character
#: would need 120 bytes of memory for each.
_IN_DOUBLED_QUOTES = r'[^"\\]*(?:(?:""|\\.)[^"\\]*)*'
_FIELD = rf'(?s),(?:"({_IN_DOUBLED_QUOTES})"|([^",()\\]*))'
_BOUND = rf'(?:"({_IN_DOUBLED_QUOTES})"|([^",()\[\]\\]*))'
_RANGE = rf"(?s)([\[(]){_BOUND},{_BOUND}([\])])"


def _malformed(what: str, data: str) -> ValueError:
    return ValueError(f"expected {what}, got {show(data)}")


def bool_from_text(data: str) -> bool:
    if data not in ("t", "f"):
        raise _malformed("t or f", data)
    return data == "t"


def date_from_text(data: str) -> date | str:
    """A str if Python's class cannot hold it."""
    return date.fromisoformat(data) if _compiled(_DATE).fullmatch(data) else _unrepresentable(data, _BEYOND_DATE)


def timestamp_from_text(data: str) -> datetime | str:
    """A str if Python's class cannot hold it."""
    found = _compiled(_TIMESTAMP).fullmatch(data)
    return datetime.fromisoformat(_iso(found)) if found and found[1] else _unrepresentable(data, _BEYOND_TIMESTAMP)


def time_from_text(data: str) -> time:
    """``time`` and ``timetz``."""
    found = _compiled(_TIMESTAMP).fullmatch(data)
    if found is None or found[1]:
        raise _malformed("a time like 01:02:03", data)
    return time.fromisoformat(_iso(found))


def _iso(found: re.Match[str]) -> str:
    """For Python 3.10, which needs six digits of a fraction and the minutes of an offset."""
    day, clock, fraction, hours, minutes, seconds = found.groups("")
    offset = f"{hours}{minutes or ':00'}{seconds}" if hours else ""
    return f"{day}{clock}.{fraction:0<6}{offset}"


def _unrepresentable(data: str, pattern: str) -> str:
    if not _compiled(pattern).fullmatch(data):
        raise ValueError(f"expected a date or time in ISO's style, got {show(data)}: SET DateStyle = 'ISO'")
    return data


def interval_from_text(data: str) -> timedelta | PGInterval:
    """In any IntervalStyle; a PGInterval if it has months, which a timedelta cannot hold."""
    if data in _NO_TIME:
        return timedelta()
    for pattern in _INTERVALS:
        found = _compiled(pattern).fullmatch(data)
        if found is not None:
            return _interval(found.groupdict("0"))
    raise ValueError(f"expected an interval, got {show(data)}: SET IntervalStyle = 'postgres'")


def _interval(part: dict[str, str]) -> timedelta | PGInterval:
    """The sign of the years also applies to the months, that of the hours to the time; ``ago`` negates all.

    In the sql_standard style, the sign of the days also applies to a time without a sign.
    """
    ago = -1 if part.get("ago") == "ago" else 1
    is_of_all = "sql" in part and not part["sign"] and part["days"][0] == "-"
    of_time = -ago if is_of_all or part.get("sign") == "-" else ago
    of_years = -ago if part.get("year_sign") == "-" else ago
    years, months = of_years * int(part["years"]), of_years * int(part["months"])
    days, hours, minutes = ago * int(part["days"]), of_time * int(part["hours"]), of_time * int(part["minutes"])
    whole, _, fraction = part["seconds"].partition(".")
    microseconds = of_time * int(f"{whole}{fraction:0<6}")
    if not years and not months:
        return timedelta(days, hours=hours, minutes=minutes, microseconds=microseconds)
    from pg8000.types import PGInterval

    numbers = {"years": years, "months": months, "days": days, "hours": hours, "minutes": minutes}
    seconds = microseconds / 1_000_000
    return PGInterval(**{name: number for name, number in {**numbers, "seconds": seconds}.items() if number})


def inet_from_text(data: str) -> Any:
    """An address, or an interface if there is a netmask: a network would lose the address."""
    from ipaddress import ip_address, ip_interface

    return ip_interface(data) if "/" in data else ip_address(data)


def cidr_from_text(data: str) -> Any:
    from ipaddress import ip_network

    return ip_network(data)


def integers_from_text(data: str) -> list[int]:
    """``int2vector`` and ``oidvector``."""
    return [int(number) for number in data.split()]


def point_from_text(data: str) -> tuple[float, ...]:
    numbers = data[1:-1].split(",")
    if (data[:1], data[-1:], len(numbers)) != ("(", ")", 2):
        raise _malformed("a point like (1,2)", data)
    return tuple(map(float, numbers))


def bytes_from_text(data: str) -> bytes:
    """Both styles of ``bytea_output``."""
    if data.startswith("\\x"):
        read = bytes.fromhex(data[2:])
        if 2 + 2 * len(read) != len(data):
            raise _malformed("hexadecimal digits", data)
        return read
    if not _compiled(r"[^\\]*(?:\\(?:\\|[0-3][0-7]{2})[^\\]*)*").fullmatch(data):
        raise _malformed("bytes in the escape style", data)
    return re.sub(rb"\\(\\|[0-7]{3})", _byte, data.encode("ascii"))


def _byte(escaped: re.Match[bytes]) -> bytes:
    return b"\\" if escaped[1] == b"\\" else bytes([int(escaped[1], 8)])


def record_from_text(data: str) -> tuple[str | None, ...]:
    """The fields as texts; an empty one is NULL."""
    if data == "()":
        return ()
    if data[:1] != "(" or data[-1:] != ")":
        raise _malformed("a record like (1,a)", data)
    return tuple(_fields(f",{data[1:-1]}"))


def _fields(data: str) -> Iterator[str | None]:
    pattern, position = _compiled(_FIELD), 0
    while position < len(data):
        found = pattern.match(data, position)
        if found is None:
            raise _malformed("the fields of a record", data)
        yield _unquoted(found[1], found[2])
        position = found.end()


def _unquoted(quoted: str | None, plain: str) -> str | None:
    """None for NULL or no bound: empty, without quotes."""
    return plain or None if quoted is None else re.sub(r'(?s)(["\\])(.)', r"\2", quoted)


def range_decoder(element: Convert) -> Convert:
    """Of a range whose bounds ``element`` reads."""

    def convert(data: str) -> Range:
        from pg8000.types import Range

        if data == "empty":
            return Range(is_empty=True)
        found = _compiled(_RANGE).fullmatch(data)
        if found is None:
            raise _malformed("a range like [1,5)", data)
        before, *texts, behind = found.groups()
        bounds = [_unquoted(*texts[:2]), _unquoted(*texts[2:])]
        lower, upper = (None if bound is None else element(bound) for bound in bounds)
        return Range(lower, upper, bounds=f"{before}{behind}")

    return convert


def multirange_decoder(element: Convert) -> Convert:
    """Of a multirange, as a list of ranges."""
    one = range_decoder(element)

    def convert(data: str) -> list[Range]:
        if data[:1] != "{" or data[-1:] != "}":
            raise _malformed("ranges like {[1,5)}", data)
        return list(map(one, _ranges(data)))

    return convert


def _ranges(data: str) -> Iterator[str]:
    pattern, position, end = _compiled(_RANGE), 1, len(data) - 1
    while position < end or position == end > 1:
        found = pattern.match(data, position)
        if found is None or (data[found.end()] != "," and found.end() != end):
            raise _malformed("ranges with commas between", data)
        yield found[0]
        position = found.end() + 1
