"""The conversions of one connection: the defaults, what the caller registered, pgvector's types."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from itertools import zip_longest
from types import NoneType
from typing import Any

from lightvec.errors import LightvecError
from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.types.arrays import array_text, quoted
from lightvec.types.columns import VECTOR_TYPES, binary_encoder
from lightvec.types.inputs import is_ndarray, show
from lightvec.wire.datatypes import BY_OID, FROM_TEXT, NAMES, TYPES, array_decoder
from lightvec.wire.errors import DataError, MissingExtension, ProgrammingError
from lightvec.wire.jsonb import Json
from lightvec.wire.parameters import (
    DUMPERS,
    NUMBERS,
    QUICK,
    AnyDumper,
    Dumper,
    flat,
    ndarray_sender,
    plain,
    widest,
)
from lightvec.wire.protocol import BINARY, NULL, TEXT, ColumnDescription, Parameter
from lightvec.wire.results import Decoder

#: Types for setinputsizes() where the default leaves the type to the server.
_OIDS: Mapping[Any, int] = {str: TYPES["text"].oid, dict: TYPES["jsonb"].oid}
#: Conversions that take bytes.
_FROM_BYTES: Mapping[Callable[[str], Any], Decoder] = {
    int: int,
    float: float,
    TYPES["bool"].from_text: {b"t": True, b"f": False}.__getitem__,
}
#: Raised by conversions for a value that cannot be sent.
_REFUSALS = (RecursionError, TypeError, ValueError, IndexError, OverflowError)
#: OIDs from here on differ between databases (``FirstNormalObjectId``).
_FIRST_NORMAL = 16_384


class _Registered(UserDict[Any, Any]):
    """What the caller registered, by Python type or OID; other keys give the default."""

    def __init__(self, default: Callable[[Any], Any], on_change: Callable[[], None]) -> None:
        self._default = default
        self._on_change = on_change
        super().__init__()

    def __getitem__(self, key: Hashable) -> Any:
        return self.data[key] if key in self.data else self._default(key)

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.data[key] = value
        self._on_change()

    def __delitem__(self, key: Hashable) -> None:
        del self.data[key]
        self._on_change()


class Adapters:
    """The conversions of one connection.

    ``encoding`` is Python's name of client_encoding. ``py_types`` and ``pg_types`` are pg8000's
    tables: from a Python type to a function that returns the text to send (or to a
    :class:`Dumper`), and from an OID to a function of the text received.
    """

    def __init__(self) -> None:
        self.encoding = "utf-8"
        self._defaults: dict[type | str, AnyDumper] = {
            **DUMPERS,
            list: Dumper(0, 0, self.text),
            tuple: Dumper(0, 0, self._composite_text),
            "pg8000.types.Range": Dumper(0, 0, self._range_text),
        }
        self.py_types = _Registered(self._default_text, self._reset)
        self.pg_types = _Registered(self._from_text, self._reset)
        self.extension = NO_EXTENSION

    def _reset(self) -> None:
        self._senders: dict[type, Callable[[Any], Parameter]] = {}
        self._dumpers: dict[type, AnyDumper | None] = {}
        self._decoders: dict[tuple[int, int, str], Decoder] = {}

    @property
    def extension(self) -> ExtensionTypes:
        """What is known of pgvector in this database."""
        return self._extension

    @extension.setter
    def extension(self, extension: ExtensionTypes) -> None:
        self._extension = extension
        self._classes: dict[int, Any] = {oid: VECTOR_TYPES[name] for name, oid in extension.oids.items()}
        self._texts: dict[int, Callable[[str], Any]] = {oid: cls.from_text for oid, cls in self._classes.items()}
        self._encoders = {oid: binary_encoder(name) for name, oid in extension.oids.items()}
        for name, oid in extension.array_oids.items():
            self._texts[oid] = array_decoder(VECTOR_TYPES[name].from_text)
        self._reset()

    # --- to the server ----------------------------------------------------------------------------

    def parameter(self, value: Any) -> Parameter:
        """The parameter for a value; :class:`MissingExtension` for a vector without pgvector."""
        send = self._senders.get(type(value))
        try:
            return send(value) if send is not None else self._sender(value)(value)
        except LightvecError:
            raise
        except _REFUSALS as error:
            # The caller's own conversion may have failed.
            raise _refusal(value, error) from (error if self.py_types else None)

    def parameters(self, values: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
        """The parameters for values; ``oids`` are their types, None or negative is the default."""
        if not oids:
            return [self.parameter(value) for value in values]
        return [self._declared(value, oid) for value, oid in zip_longest(values, oids[: len(values)])]

    def _declared(self, value: Any, oid: int | None) -> Parameter:
        if oid is None or oid < 0:
            return self.parameter(value)
        if not self._is_registered(type(value)):
            try:
                if oid in self._encoders and value is not None:
                    return Parameter(oid, BINARY, self._encoders[oid](value))
                value = self._prepared(value, NAMES.get(oid, ""))
            except LightvecError:
                raise
            except _REFUSALS as error:
                raise _refusal(value, error) from None
        parameter = self.parameter(value)
        is_bits = parameter.oid == TYPES["bit"].oid and oid == TYPES["varbit"].oid
        if parameter.format == BINARY and parameter.oid != oid and not is_bits:
            parameter = Parameter(oid, TEXT, self._encode(self.text(value)))
        return parameter._replace(oid=oid)

    def _prepared(self, value: Any, name: str) -> Any:
        """The value as its declared type needs it."""
        if is_ndarray(value) and name.endswith("[]"):
            value = value.tolist()
        if name in ("json", "jsonb") and isinstance(value, (dict, list, tuple)):
            return Json(value)
        if name in ("timestamp", "timestamp[]"):
            return _without_offset(value)
        if isinstance(value, list) and name.endswith("multirange"):
            return self.multirange_text(value)
        if isinstance(value, list) and name.endswith("multirange[]"):
            return [self.multirange_text(item) if isinstance(item, list) else item for item in value]
        return value

    def _is_registered(self, cls: type) -> bool:
        """Whether the caller registered a function for a class; a dumper is not one."""
        found = (self.py_types[base] for base in cls.__mro__[:-1] if base in self.py_types)
        return not isinstance(next(found, None), (Dumper, NoneType))

    def _sender(self, value: Any) -> Callable[[Any], Parameter]:
        """The function for the values of a class; cached."""
        cls = type(value)
        dumper = self._dumper_of(cls)
        send: Callable[[Any], Parameter] = self._send
        if dumper is self._defaults[list]:
            send = self._send_array
        elif cls in QUICK and dumper is DUMPERS[cls]:
            send = QUICK[cls]
        elif isinstance(dumper, Dumper):
            send = partial(self._send_by, dumper)
        elif is_ndarray(value) and not hasattr(value, "mask") and value.dtype.kind != "b":
            send = ndarray_sender(self._oid("vector", self._extension.oids), self._send)
        self._senders[cls] = send
        return send

    def _send(self, value: Any) -> Parameter:
        if is_ndarray(value) and value.ndim and value.dtype.kind in "mM":
            return self._send_array(list(value))
        return self._send_by(*self._resolved(value))

    def _send_by(self, dumper: Dumper, value: Any) -> Parameter:
        oid = self._oid(dumper.oid, self._extension.oids)
        if dumper.binary is not None:
            return Parameter(oid, BINARY, dumper.binary(value))
        text = dumper.text(value)
        return NULL if text is None else Parameter(oid, TEXT, self._encode(text))

    def _send_array(self, value: list[Any]) -> Parameter:
        """An array of the type that holds all elements of nested lists."""
        elements = list(flat(value))
        kinds = set(map(type, elements))
        if kinds == {int}:
            elements = [min(elements), max(elements)]
        elif len(kinds) == 1 and isinstance(self._dumper_of(*kinds), Dumper):
            elements = elements[:1]
        resolved = [self._resolved(element) for element in elements]
        dumper = widest({dumper for dumper, _ in resolved} - {DUMPERS[NoneType]})
        if dumper is None:
            names = " and ".join(sorted({type(element).__name__ for _, element in resolved if element is not None}))
            raise DataError(f"expected a list whose elements are of one type, got {names}: convert them to one type")
        oid = self._oid(dumper.array_oid, self._extension.array_oids)
        return Parameter(oid, TEXT, self._encode(self.text(value)))

    def _oid(self, oid: int | str, of: Mapping[str, int]) -> int:
        if isinstance(oid, int):
            return oid
        if oid not in of:
            raise MissingExtension(oid, ".".join(map(str, self._extension.version)))
        return of[oid]

    def _encode(self, text: str) -> bytes:
        if "\x00" in text:
            raise DataError(
                "expected a text without NUL characters, which PostgreSQL cannot store: "
                "remove them, or send bytes to a bytea column"
            )
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            is_surrogate = self.encoding == "utf-8"
            remedy = "decode its bytes without 'surrogateescape'" if is_surrogate else "SET client_encoding TO 'UTF8'"
            raise DataError(
                f"expected a text that can be sent as {self.encoding}, got {text[error.start]!a} at index "
                f"{error.start}: {remedy}, or send bytes to a bytea column"
            ) from None

    def _dumper_of(self, cls: type) -> AnyDumper | None:
        """The dumper for a class; None for one whose values :func:`plain` converts."""
        if cls not in self._dumpers:
            # A member of an enum may be a str as well, and a float64 a float.
            has_default = not issubclass(cls, Enum) and cls.__module__ != "numpy"
            found = (self._dumper_of_exactly(base, has_default) for base in cls.__mro__[:-1])
            self._dumpers[cls] = next((dumper for dumper in found if dumper is not None), None)
        return self._dumpers[cls]

    def _dumper_of_exactly(self, cls: type, has_default: bool) -> AnyDumper | None:
        if cls in self.py_types:
            theirs = self.py_types[cls]
            return theirs if isinstance(theirs, Dumper) else Dumper(0, 0, theirs)
        return self._default(cls) if has_default else None

    def _default(self, cls: type) -> AnyDumper | None:
        return self._defaults.get(cls) or self._defaults.get(f"{cls.__module__}.{cls.__qualname__}")

    def _resolved(self, value: Any) -> tuple[Dumper, Any]:
        """The dumper for a value, and the value to pass to it."""
        dumper = self._dumper_of(type(value))
        if dumper is not None:
            return (dumper if isinstance(dumper, Dumper) else dumper(value)), value
        inner = plain(value)
        if inner is value:
            raise ProgrammingError(
                f"expected a value of a type that can be sent, got {type(value).__name__}: convert it, or say how with "
                f"register_out_adapter"
            )
        return self._resolved(inner)

    def needs_extension(self, value: Any) -> bool:
        """Whether the value cannot be sent before pgvector's OIDs are known."""
        try:
            self.parameter(value)
        except LightvecError as error:
            return isinstance(error, MissingExtension)
        return False

    def oid_of(self, typ: Any) -> int | None:
        """The OID that values of a Python type are sent with; None if the server infers it."""
        dumper = self._default(typ) if isinstance(typ, type) else None
        oid = dumper.oid if isinstance(dumper, Dumper) else None
        return _OIDS.get(typ) or (oid if isinstance(oid, int) and oid else None)

    def text(self, value: Any) -> str:
        if isinstance(value, list):
            kinds = set(map(type, value))
            dumper = self._dumper_of(*kinds) if len(kinds) == 1 else None
            if dumper in (DUMPERS[int], DUMPERS[float]):
                return "{" + ",".join(map(repr, value)) + "}"
            return array_text(value, dumper.text if isinstance(dumper, Dumper) else self.text)
        dumper, value = self._resolved(value)
        text: str = dumper.text(value)
        return text

    def multirange_text(self, value: list[Any]) -> str:
        return "{" + ",".join(map(self.text, value)) + "}"

    def _composite_text(self, value: tuple[Any, ...]) -> str:
        """The literal of a composite value or a point; numbers are not quoted."""
        return f"({','.join(map(self._part, value))})"

    def _range_text(self, value: Any) -> str:
        if value.is_empty:
            return "empty"
        return f"{value.bounds[0]}{self._part(value.lower)},{self._part(value.upper)}{value.bounds[1]}"

    def _part(self, value: Any) -> str:
        dumper, value = self._resolved(value)
        text: str | None = dumper.text(value)
        if text is None:
            return ""
        return text if dumper in NUMBERS else quoted(text)

    def _default_text(self, cls: type) -> Callable[[Any], Any]:
        if self._default(cls) is None:
            raise KeyError(cls)
        return str if cls is str else self.text

    # --- from the server --------------------------------------------------------------------------

    def has_binary(self, oid: int) -> bool:
        """Whether the values of a type are requested, and read, in binary."""
        return self._from_binary(oid) is not None and oid not in self.pg_types

    def is_unknown(self, oid: int) -> bool:
        """Whether it is a type of an extension or a user that is not registered."""
        return oid >= _FIRST_NORMAL and oid not in self.pg_types and oid not in self._texts

    def result_formats(self, columns: Sequence[ColumnDescription] | None) -> tuple[int, ...]:
        """The formats to request; empty if all are text."""
        formats = tuple(BINARY if self.has_binary(column.type_oid) else TEXT for column in columns or ())
        return formats if BINARY in formats else ()

    def can_read(self, columns: Sequence[ColumnDescription] | None) -> bool:
        """Whether the columns are in formats that can be read."""
        return all(column.format == TEXT or self.has_binary(column.type_oid) for column in columns or ())

    def decoder(self, oid: int, value_format: int) -> Decoder:
        """The function that reads the values of a type in a format."""
        key = oid, value_format, self.encoding
        decode = self._decoders.get(key)
        if decode is None:
            decode = (self._from_binary(oid) or bytes) if value_format == BINARY else self._text_decoder(oid)
            self._decoders[key] = decode
        return decode

    def _from_binary(self, oid: int) -> Decoder | None:
        known = self._classes.get(oid) or BY_OID.get(oid)
        return known and known.from_binary

    def _text_decoder(self, oid: int) -> Decoder:
        convert, encoding = self.pg_types[oid], self.encoding
        if convert in _FROM_BYTES:
            return _FROM_BYTES[convert]
        if convert is str:
            return bytes.decode if encoding == "utf-8" else lambda data: data.decode(encoding)
        return lambda data: convert(data.decode(encoding))

    def _from_text(self, oid: int) -> Callable[[str], Any]:
        return self._texts.get(oid) or FROM_TEXT.get(oid, str)


def _refusal(value: Any, error: Exception) -> DataError:
    return DataError(f"expected a value that can be sent, got {show(value)} ({error})")


def _without_offset(value: Any) -> Any:
    """A datetime in UTC, as pg8000 sends it: the server ignores a timestamp's offset."""
    if isinstance(value, list):
        return list(map(_without_offset, value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    return value
