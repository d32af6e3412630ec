"""From a Python value to a parameter: which type it is declared as, and its bytes.

The rules are psycopg 3's (its documentation, "Adapting basic Python types"), which Peewee's suite is written for: an
integer is the smallest type that holds it, a str is left for the server to infer, a list is an array of its
elements' type. What psycopg leaves out, pg8000's own rules fill: a dict is JSON, a tuple a composite value.

Vectors and bytes go as binary, everything else as text.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from pg8000.converters import PY_TYPES, interval_out, range_out
from pg8000.types import PGInterval, Range

from lightvec.errors import LightvecError
from lightvec.extension import ExtensionTypes
from lightvec.pg8000.exceptions import DataError, MissingExtension, ProgrammingError
from lightvec.pg8000.messages import BINARY, NULL, TEXT, Parameter
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types._messages import show
from lightvec.types.array_texts import array_text, quoted

__all__ = ["Dumper", "Dumpers", "Json", "Jsonb", "holds_vector", "plain", "text_of"]


class Json:
    """A value to send as ``json``; ``dumps`` turns it into text (default :func:`json.dumps`)."""

    __slots__ = ("dumps", "obj")
    oid = 114

    def __init__(self, obj: Any, dumps: Callable[[Any], str] | None = None) -> None:
        self.obj = obj
        self.dumps = dumps or json.dumps

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.obj!r})"


class Jsonb(Json):
    """A value to send as ``jsonb``."""

    __slots__ = ()
    oid = 3802


class Dumper(NamedTuple):
    """How the values of one Python type travel: the type's OID, its array's OID, and the text of a value.

    OID 0 leaves the type to the server. A name instead of a number is a type of the pgvector extension, whose OID each
    database gives. ``binary`` is there for what travels as bytes.
    """

    oid: int | str
    array_oid: int | str
    text: Callable[[Any], str]
    binary: Callable[[Any], bytes] | None = None


def _numeric_text(value: int | Decimal) -> str:
    """PostgreSQL has one NaN: Python's that signal, or carry a number, are that one."""
    return "NaN" if isinstance(value, Decimal) and value.is_nan() else str(value)


_INT2, _INT4, _INT8, _NUMERIC, _FLOAT8 = (
    # A list of small integers is int4[]: pgvector has a cast from that to its types, and none from int2[].
    Dumper(21, 1007, int.__repr__),
    Dumper(23, 1007, int.__repr__),
    Dumper(20, 1016, int.__repr__),
    Dumper(1700, 1231, _numeric_text),
    Dumper(701, 1022, float.__repr__),
)


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


def _json_text(value: Json) -> str:
    return value.dumps(value.obj)


def _vector(name: str) -> Dumper:
    return Dumper(name, name, lambda value: value.wire_text(), lambda value: value.to_binary())


_INET, _CIDR = Dumper(869, 1041, str), Dumper(650, 651, str)
_BYTEA = Dumper(17, 1001, _bytes_text, bytes)
_STR = Dumper(0, 1009, str)
_UNKNOWN = Dumper(0, 0, str)

#: The one table: Python type to dumper, or to a function that picks the dumper by the value.
_TYPES: Mapping[type, Dumper | Callable[[Any], Dumper]] = MappingProxyType(
    {
        bool: Dumper(16, 1000, lambda value: "t" if value else "f"),
        int: _integer,
        float: _FLOAT8,
        Decimal: _NUMERIC,
        str: _STR,
        bytes: _BYTEA,
        bytearray: _BYTEA,
        memoryview: _BYTEA,
        date: Dumper(1082, 1182, str),
        datetime: _by_time_zone(Dumper(1184, 1185, str), Dumper(1114, 1115, str)),
        time: _by_time_zone(Dumper(1266, 1270, str), Dumper(1083, 1183, str)),
        timedelta: Dumper(1186, 1187, interval_out),
        PGInterval: Dumper(1186, 1187, str),
        UUID: Dumper(2950, 2951, str),
        IPv4Address: _INET,
        IPv6Address: _INET,
        IPv4Network: _CIDR,
        IPv6Network: _CIDR,
        Json: Dumper(Json.oid, 199, _json_text),
        Jsonb: Dumper(Jsonb.oid, 3807, _json_text),
        dict: _UNKNOWN._replace(text=json.dumps),
        tuple: _UNKNOWN._replace(text=lambda value: _composite_text(value)),
        Range: _UNKNOWN._replace(text=range_out),
        Bit: Dumper(1560, 1561, lambda value: value.to_text(), lambda value: value.to_binary()),
        Vector: _vector("vector"),
        HalfVector: _vector("halfvec"),
        SparseVector: _vector("sparsevec"),
    }
)

#: Of an array (``MAXDIM``, src/include/utils/array.h); a list in itself would have endless ones.
_MOST_DIMENSIONS = 6

#: From narrow to wide: a list that mixes these is an array of the widest in it.
_WIDENING = (_INT2, _INT4, _INT8, _NUMERIC, _FLOAT8)


class Dumpers:
    """How one connection sends values: the table above, and what the caller registered on the connection.

    ``py_types`` is pg8000's own table of the connection: a type that the caller put there (``register_out_adapter``) is
    sent as the text that his function gives, its type left to the server, as pg8000 does.
    """

    def __init__(self, py_types: Mapping[type, Any]) -> None:
        self._py_types = py_types
        self._registered: dict[type, Dumper] = {}

    def register(self, cls: type, dumper: Dumper) -> None:
        """Send the values of ``cls`` by this dumper."""
        self._registered[cls] = dumper

    def parameter(self, value: Any, types: ExtensionTypes) -> Parameter:
        """The parameter for a value; :class:`MissingExtension` for a vector where pgvector is not installed."""
        if value is None:
            return NULL
        try:
            return self._parameter(plain(value), types)
        except (RecursionError, TypeError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, LightvecError):
                raise
            raise DataError(f"expected a value that can be sent, got {show(value)} ({error})") from error

    def _parameter(self, value: Any, types: ExtensionTypes) -> Parameter:
        if isinstance(value, list):
            return self._array(value, types)
        dumper = self._dumper(value)
        oid = _oid(dumper.oid, types.oids)
        if dumper.binary is not None:
            return Parameter(oid, BINARY, dumper.binary(value))
        return Parameter(oid, TEXT, _encoded(dumper.text(value)))

    def needs_extension(self, value: Any, dimensions: int = 0) -> bool:
        """Whether the value can be sent only when the OIDs of pgvector's types are known."""
        if isinstance(value, list):
            return dimensions < _MOST_DIMENSIONS and any(self.needs_extension(item, dimensions + 1) for item in value)
        return isinstance(value, (Vector, HalfVector, SparseVector, array)) or _is_ndarray(value)

    def _dumper(self, value: Any) -> Dumper:
        for cls in type(value).__mro__[:-1]:
            if cls in self._registered:
                return self._registered[cls]
            theirs = self._py_types.get(cls)
            if theirs is not None and theirs is not PY_TYPES.get(cls):
                return Dumper(0, 0, theirs)
            known = _TYPES.get(cls)
            if known is not None:
                return known if isinstance(known, Dumper) else known(value)
        raise ProgrammingError(
            f"expected a value of a type that can be sent, got {type(value).__name__}: convert it, or say how with "
            f"register_out_adapter"
        )

    def _array(self, value: list[Any], types: ExtensionTypes) -> Parameter:
        """A list is an array of the type that holds all of its elements, at whatever depth they are."""
        dumper = self._common(value)
        oid = _oid(dumper.array_oid, types.array_oids)
        return Parameter(oid, TEXT, _encoded(_array_text(value, dumper.text)))

    def text(self, value: Any) -> str:
        """The text of a value, of whatever type it is declared."""
        value = plain(value)
        if isinstance(value, list):
            return _array_text(value, self._common(value).text)
        return self._dumper(value).text(value)

    def _common(self, value: list[Any]) -> Dumper:
        elements = [plain(element) for element in _flat(value) if element is not None]
        dumpers = set(map(self._dumper, elements))
        if len(dumpers) <= 1:
            return next(iter(dumpers), _UNKNOWN)
        for count, widest in enumerate(_WIDENING, 1):
            if dumpers <= set(_WIDENING[:count]):
                return widest._replace(text=str)
        names = sorted({type(element).__name__ for element in elements})
        raise DataError(
            f"expected a list whose elements are of one type, got {' and '.join(names)}: "
            f"convert them to one type before they are sent"
        )


def plain(value: Any) -> Any:
    """The value that is sent for an enum's member, a NumPy scalar or an array, without loading NumPy."""
    cls = type(value)
    if cls in _TYPES or cls is list:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if _is_ndarray(value):
        return Bit(value) if value.dtype.kind == "b" else Vector(value)
    if isinstance(value, array):
        return Vector(value)
    if cls.__module__ == "numpy":
        return value.item()
    if isinstance(value, (int, float, Decimal)):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def holds_vector(value: Any) -> bool:
    """Whether a list holds a vector or bits at any depth."""
    return any(isinstance(plain(element), (Vector, HalfVector, SparseVector, Bit)) for element in _flat(value))


def _oid(oid: int | str, of: Mapping[str, int]) -> int:
    if isinstance(oid, int):
        return oid
    if oid not in of:
        raise MissingExtension(oid)
    return of[oid]


def _is_ndarray(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def _flat(value: list[Any], dimensions: int = 1) -> Iterator[Any]:
    if dimensions > _MOST_DIMENSIONS:
        raise DataError(f"expected a list of at most {_MOST_DIMENSIONS} dimensions, got more: PostgreSQL has no others")
    for element in value:
        if isinstance(element, list):
            yield from _flat(element, dimensions + 1)
        else:
            yield element


def _array_text(value: list[Any], text: Callable[[Any], str]) -> str:
    return array_text(value, lambda element: text(plain(element)))


def _composite_text(value: tuple[Any, ...]) -> str:
    """A composite value's literal, every field quoted; pg8000's does not quote parentheses (ibid., 8.16.6)."""
    fields = ("" if field is None else quoted(text_of(field)) for field in value)
    return f"({','.join(fields)})"


#: The table without what a connection registers.
_DEFAULTS = Dumpers(PY_TYPES)


def text_of(value: Any) -> str:
    """The text of a value, a list too, wherever it does not depend on a connection."""
    return _DEFAULTS.text(value)


def _encoded(text: str) -> bytes:
    if "\x00" in text:
        raise DataError(
            "expected a text without NUL characters, which PostgreSQL cannot store, got one: "
            "remove it or send bytes to a bytea column"
        )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"expected a text that is Unicode, got a lone surrogate ({text[error.start]!a}) at index {error.start}: "
            f"decode its bytes without errors='surrogateescape', or send bytes to a bytea column"
        ) from error
