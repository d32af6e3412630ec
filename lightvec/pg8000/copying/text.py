"""The text form of COPY, for tables with a type that has no binary encoder here.

One line a row, fields between tabs, NULL as ``\\N``, backslash, tab, newline and carriage return escaped (PostgreSQL
documentation, COPY, "Text Format"). The server reads each field as it reads a literal, so every type can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from struct import pack, unpack
from typing import Any
from uuid import UUID

from lightvec.pg8000.copying.scalars import json_text, numeric_of
from lightvec.pg8000.copying.target import Column
from lightvec.pg8000.parameters import Dumpers, plain
from lightvec.types.arrays import check_depth, listed, nested
from lightvec.types.fields import value_of

__all__ = ["NULL", "text_encoder"]

NULL = b"\\N"
_JSON = (114, 3802)
_FLOAT4, _NUMERIC, _UUID = 700, 1700, 2950

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def text_encoder(column: Column, dumpers: Dumpers) -> Callable[[Any], bytes]:
    """What writes the values of one column as fields, without the tab behind them."""
    convert = _converter(column)
    if column.element_oid and convert is not None:
        convert = partial(_elements, convert, column.vector is not None)
    elif column.element_oid:
        convert = partial(_elements, plain, False)
    return partial(_field, convert, dumpers.text)


def _converter(column: Column) -> Callable[[Any], Any] | None:
    """What must be done to a value of the column, or an element, that its Python type alone does not say."""
    oid = column.element_oid or column.oid
    if column.vector is not None:
        return value_of(column.vector, column.size)
    if oid in _JSON:
        return json_text
    if oid == _FLOAT4:
        return _float4
    if oid == _NUMERIC:
        return _numeric
    return _uuid if oid == _UUID else None


def _float4(value: Any) -> Any:
    """A float as float32 has it: of decimals halfway between two of these, the server would take the other one."""
    return unpack("f", pack("f", value))[0] if isinstance(value, float) else value


def _numeric(value: Any) -> Decimal | str:
    return value if isinstance(value, str) else numeric_of(value)


def _uuid(value: Any) -> Any:
    return UUID(bytes=value.tobytes()) if getattr(value, "ndim", 0) == 1 else value


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
