"""The text form of COPY, for tables with a type that has no binary encoder here.

One line a row, fields between tabs, NULL as ``\\N``, backslash, tab, newline and carriage return escaped (PostgreSQL
documentation, COPY, "Text Format"). The server reads each field as it reads a literal, so every type can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from struct import pack, unpack
from typing import Any
from uuid import UUID

from lightvec.types.arrays import check_depth, listed, nested
from lightvec.types.fields import value_of
from lightvec.wire.adapters import Adapters
from lightvec.wire.binary_encoders import numeric_of
from lightvec.wire.copy.target import Column
from lightvec.wire.datatypes import BY_OID
from lightvec.wire.jsonb import json_text
from lightvec.wire.parameters import plain

__all__ = ["NULL", "line", "text_encoder"]

NULL = b"\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def line(fields: Iterable[str | None]) -> bytes:
    """The line of a row. Bytes that are not UTF-8, read with ``surrogateescape``, are left to the server to refuse."""
    written = ["\\N" if field is None else field.translate(_ESCAPES) for field in fields]
    return ("\t".join(written) + "\n").encode("utf-8", "surrogateescape")


def text_encoder(column: Column, adapters: Adapters) -> Callable[[Any], bytes]:
    """What writes the values of one column as fields, without the tab behind them."""
    convert = _converter(column, adapters)
    if column.element_oid:
        convert = partial(_elements, convert or plain, column.vector is not None)
    return partial(_field, convert, adapters.text)


def _converter(column: Column, adapters: Adapters) -> Callable[[Any], Any] | None:
    """What must be done to a value of the column, or an element, that its Python type alone does not say."""
    if column.vector is not None:
        return value_of(column.vector, column.size)
    known = BY_OID.get(column.element_oid or column.oid)
    if known is not None and known.name.endswith("multirange"):
        return lambda value: adapters.multirange_text(value) if isinstance(value, list) else value
    return None if known is None else _CONVERTERS.get(known.name)


def _float4(value: Any) -> Any:
    """A float as float32 has it: of decimals halfway between two of these, the server would take the other one."""
    return unpack("f", pack("f", value))[0] if isinstance(value, float) else value


def _numeric(value: Any) -> Decimal | str:
    return value if isinstance(value, str) else numeric_of(value)


def _uuid(value: Any) -> Any:
    return UUID(bytes=value.tobytes()) if getattr(value, "ndim", 0) == 1 else value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "json": json_text,
    "jsonb": json_text,
    "float4": _float4,
    "numeric": _numeric,
    "uuid": _uuid,
}


def _elements(convert: Callable[[Any], Any], of_vectors: bool, value: Any, dimensions: int = 1) -> Any:
    """An array with every element converted, as lists; a str is the array's text already."""
    if value is None or isinstance(value, str):
        return value
    check_depth(dimensions)
    value = listed(value, of_vectors)
    if nested(value, of_vectors):
        return [_inner(convert, of_vectors, item, dimensions) for item in value]
    raise TypeError


def _inner(convert: Callable[[Any], Any], of_vectors: bool, value: Any, dimensions: int) -> Any:
    if nested(value, of_vectors):
        return _elements(convert, of_vectors, value, dimensions + 1)
    return None if value is None else convert(value)


def _field(convert: Callable[[Any], Any] | None, text: Callable[[Any], str], value: Any) -> bytes:
    written = text(value if convert is None else convert(value))
    if "\x00" in written:
        raise ValueError("PostgreSQL cannot store NUL characters in a text: send bytes to a bytea column")
    return written.translate(_ESCAPES).encode()
