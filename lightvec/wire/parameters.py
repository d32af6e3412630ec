"""The type, and the text or bytes, that a Python value is sent as.

The rules are psycopg 3's (its documentation, "Adapting basic Python types"), which Peewee's suite
is written for: an integer has the smallest type that holds it, the server infers the type of a str,
a list is an array of its elements' type. The rest are pg8000's: a dict is JSON, a tuple a composite
value. Vectors and bytes are sent as binary, everything else as text.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from struct import Struct
from types import MappingProxyType, NoneType
from typing import Any, NamedTuple
from uuid import UUID

from lightvec import types
from lightvec.types import Bit, Vector
from lightvec.types.columns import VECTOR_TYPES
from lightvec.types.floats import FLOAT32
from lightvec.types.inputs import MAX_DIMENSIONS, is_array, is_ndarray, pgvector_name
from lightvec.wire.datatypes import DENSE, TYPES
from lightvec.wire.errors import DataError
from lightvec.wire.jsonb import Json, Jsonb, json_text
from lightvec.wire.protocol import BINARY, TEXT, Parameter


class Dumper(NamedTuple):
    """How values of a Python type are sent: the OIDs of the type and its array, and a value's text.

    OID 0 leaves the type to the server. A name in place of a number is a type of pgvector, whose
    OID differs between databases. ``binary`` is for types that are sent as bytes.
    """

    oid: int | str
    array_oid: int | str
    text: Callable[[Any], Any]
    binary: Callable[[Any], bytes] | None = None

    def __call__(self, value: Any) -> Any:
        """The text of a value: what pg8000's ``py_types`` has for a type."""
        return self.text(value)


#: A dumper, or what picks it by the value.
AnyDumper = Dumper | Callable[[Any], Dumper]


def _of(name: str, text: Callable[[Any], str] = str, binary: Callable[[Any], bytes] | None = None) -> Dumper:
    return Dumper(TYPES[name].oid, TYPES[name].array_oid, text, binary)


def _numeric_text(value: int | Decimal) -> str:
    """PostgreSQL has one NaN, Python also signaling ones and ones with a payload."""
    return "NaN" if isinstance(value, Decimal) and value.is_nan() else str(value)


_INT4, _INT8, _NUMERIC = _of("int4", int.__repr__), _of("int8", int.__repr__), _of("numeric", _numeric_text)
#: A list of small integers is int4[], which pgvector has a cast from, unlike int2[].
_INT2 = _INT4._replace(oid=TYPES["int2"].oid)
_FLOAT8 = _of("float8", float.__repr__)


def _integer(value: int) -> Dumper:
    """The smallest integer type that holds the value."""
    if -0x8000 <= value < 0x8000:
        return _INT2
    if -0x80000000 <= value < 0x80000000:
        return _INT4
    return _INT8 if -(2**63) <= value < 2**63 else _NUMERIC


def _by_time_zone(aware: Dumper, naive: Dumper) -> Callable[[Any], Dumper]:
    return lambda value: naive if value.tzinfo is None else aware


def _bytes_text(value: Iterable[int]) -> str:
    return "\\x" + bytes(value).hex()


def _interval_text(value: timedelta) -> str:
    """Every number has a sign: in SQL's style a leading minus would hold for all of them."""
    return f"{value.days:+} days {value.seconds:+} seconds {value.microseconds:+} microseconds"


def _pg_interval_text(value: Any) -> str:
    return " ".join(f"{number:+} {unit}" for unit, number in vars(value).items() if number is not None)


_INET, _CIDR = _of("inet"), _of("cidr")
_BYTEA = _of("bytea", _bytes_text, bytes)
#: An array of them, too: ``= ANY($1)`` then works for columns of uuid, enums and dates.
_STR = Dumper(0, 0, str.__str__)

#: Classes of modules that are not imported here are given by name.
DUMPERS: Mapping[type | str, AnyDumper] = MappingProxyType(
    {
        NoneType: Dumper(0, 0, lambda value: None),
        bool: _of("bool", lambda value: "t" if value else "f"),
        int: _integer,
        float: _FLOAT8,
        Decimal: _NUMERIC,
        str: _STR,
        bytes: _BYTEA,
        bytearray: _BYTEA,
        memoryview: _BYTEA,
        date: _of("date"),
        datetime: _by_time_zone(_of("timestamptz"), _of("timestamp")),
        time: _by_time_zone(_of("timetz"), _of("time")),
        timedelta: _of("interval", _interval_text),
        "pg8000.types.PGInterval": _of("interval", _pg_interval_text),
        UUID: _of("uuid"),
        "ipaddress.IPv4Address": _INET,
        "ipaddress.IPv6Address": _INET,
        "ipaddress.IPv4Network": _CIDR,
        "ipaddress.IPv6Network": _CIDR,
        Json: _of("json", json_text),
        Jsonb: _of("jsonb", json_text),
        dict: Dumper(0, 0, json.dumps),
        Bit: _of("bit", Bit.to_text, Bit.to_binary),
        **{cls: Dumper(name, name, cls.wire_text, cls.to_binary) for name, cls in VECTOR_TYPES.items()},
    }
)


def plain(value: Any) -> Any:
    """The value to send for a member of an enum, a NumPy scalar, an array, or a value of pgvector's own package."""
    cls = type(value)
    if cls in DUMPERS or cls is list:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if is_ndarray(value):
        return Bit(value) if value.dtype.kind == "b" else Vector(value)
    if isinstance(value, array):
        return Vector(value)
    if cls.__module__ == "numpy":
        return _scalar(value)
    if is_array(value):
        return Vector(value)
    if hasattr(value, "as_py"):  # PyArrow's scalar, of which a list is a vector, as PyArrow's array is
        item = value.as_py()
        return Vector(item) if isinstance(item, list) else plain(item)
    if isinstance(value, (int, float, Decimal)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if name := pgvector_name(value):
        return getattr(types, name)(value)
    return float(value) if isinstance(value, Real) else value


#: The units of datetime64 and timedelta64 that have a fixed length, in attoseconds.
ATTOSECONDS = {
    "W": 604_800 * 10**18,
    "D": 86_400 * 10**18,
    "h": 3_600 * 10**18,
    "m": 60 * 10**18,
    "s": 10**18,
    "ms": 10**15,
    "us": 10**12,
    "ns": 10**9,
    "ps": 10**6,
    "fs": 10**3,
    "as": 1,
}


def _scalar(value: Any) -> Any:
    """A NumPy scalar as a value of Python."""
    item = value.item()
    if value.dtype.kind not in "mM":
        return float(item) if type(item) is type(value) else item  # longdouble
    if type(item) is date:
        return datetime.combine(item, time())
    is_span = value.dtype.kind == "m"
    if item is None or (not is_span and not isinstance(item, int)):
        return item  # None for NaT
    unit, count = sys.modules["numpy"].datetime_data(value.dtype)
    if is_span:
        item = int(value.astype("i8"))  # NumPy 1.26 wraps days and weeks in item().
    if is_span and unit in ("Y", "M"):
        from pg8000.types import PGInterval

        return PGInterval(months=item * count * (12 if unit == "Y" else 1))
    try:
        span = timedelta(microseconds=item * count * ATTOSECONDS[unit] // 10**12)
        return span if is_span else datetime(1970, 1, 1) + span
    except (KeyError, OverflowError):  # no unit, or more than Python's classes hold
        raise DataError(
            f"expected a datetime64 from the year 1 to 9999, or a timedelta64 with a unit and of at most "
            f"a billion days, got {value!r}"
        ) from None


# --- lists ----------------------------------------------------------------------------------------

#: ``MAXDIM`` (src/include/utils/array.h). A list that contains itself exceeds it, too.
_MAX_DIMENSIONS = 6

#: From narrow to wide: a list that mixes these is an array of the widest in it.
NUMBERS = (_INT2, _INT4, _INT8, _NUMERIC, _FLOAT8)


def flat(value: list[Any], dimensions: int = 1) -> Iterator[Any]:
    """The elements of nested lists."""
    if dimensions > _MAX_DIMENSIONS:
        raise DataError(f"expected a list of at most {_MAX_DIMENSIONS} dimensions, got more")
    for element in value:
        if isinstance(element, list):
            yield from flat(element, dimensions + 1)
        else:
            yield element


def widest(dumpers: set[Dumper]) -> Dumper | None:
    """The dumper whose type holds the values of all; None if there is none."""
    if len(dumpers) <= 1:
        return next(iter(dumpers), _STR)
    for count, dumper in enumerate(NUMBERS, 1):
        if dumpers <= set(NUMBERS[:count]):
            return dumper
    return None


# --- fast paths -----------------------------------------------------------------------------------

_new = tuple.__new__  # A third of the time of Parameter(...).
_INT2_OID, _FLOAT8_OID = TYPES["int2"].oid, TYPES["float8"].oid


def _send_int(value: int) -> Parameter:
    oid = _INT2_OID if -0x8000 <= value < 0x8000 else _integer(value).oid
    return _new(Parameter, (oid, TEXT, b"%d" % value))


def _send_float(value: float) -> Parameter:
    return _new(Parameter, (_FLOAT8_OID, TEXT, float.__repr__(value).encode()))


#: For values of exactly these types.
QUICK: Mapping[type, Callable[[Any], Parameter]] = MappingProxyType({int: _send_int, float: _send_float})

_header = Struct("!hh").pack


def ndarray_sender(oid: int, checked: Callable[[Any], Parameter]) -> Callable[[Any], Parameter]:
    """Sends an ndarray as a vector: 768 numbers of float32 in 1.1 µs. ``checked`` sends all others.

    NaN and infinity are found by the first byte of each number.
    """
    numpy = sys.modules["numpy"]
    native, sent = numpy.dtype("f4"), numpy.dtype(DENSE["vector"])
    is_suspicious = FLOAT32.is_suspicious

    def send(value: Any) -> Parameter:
        if value.ndim != 1 or not 0 < len(value) <= MAX_DIMENSIONS or value.dtype.kind not in "fiu":
            return checked(value)
        if value.dtype == native:
            data = value.astype(sent).tobytes()
        else:
            with numpy.errstate(over="ignore"):
                data = value.astype(sent).tobytes()
        if is_suspicious(data[::4]):
            return checked(value)
        return _new(Parameter, (oid, BINARY, _header(len(value), 0) + data))

    return send
