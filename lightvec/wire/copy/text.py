"""COPY's text format, for tables with a type that has no binary encoder here.

Source: PostgreSQL documentation, COPY, "Text Format". The server parses each field like a literal, so every type can
be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from struct import pack, unpack
from typing import Any
from uuid import UUID

from lightvec.types.arrays import as_list, check_depth, is_dimension
from lightvec.types.columns import value_reader
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
    """The function from a value of the column to its field."""
    convert = _converter(column, adapters)
    if column.element_oid:
        convert = partial(_elements, convert, column.vector is not None)

    def encode(value: Any) -> bytes:
        written = adapters.text(convert(value))
        if "\x00" in written:
            raise ValueError("PostgreSQL cannot store NUL characters in a text: send bytes to a bytea column")
        return written.translate(_ESCAPES).encode()

    return encode


def _converter(column: Column, adapters: Adapters) -> Callable[[Any], Any]:
    """A conversion of values, or of an array's elements, that their Python type alone does not imply."""
    if column.vector is not None:
        return value_reader(column.vector, column.size)
    known = BY_OID.get(column.element_oid or column.oid)
    if known is not None and known.name.endswith("multirange"):
        return lambda value: adapters.multirange_text(value) if isinstance(value, list) else value
    return _CONVERTERS.get(known.name if known else "", plain)


def _float4(value: Any) -> Any:
    """Rounded to float32 here: the server rounds decimals halfway between two of them to the other one."""
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
    """An array as lists with every element converted; a str is the array's text."""
    if isinstance(value, str):
        return value
    check_depth(dimensions)
    value = as_list(value, of_vectors)
    if not is_dimension(value, of_vectors):
        raise TypeError
    return [
        _elements(convert, of_vectors, item, dimensions + 1)
        if is_dimension(item, of_vectors)
        else None if item is None else convert(item)
        for item in value
    ]  # fmt: skip
