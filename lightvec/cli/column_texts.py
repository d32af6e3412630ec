"""Values of JSON and Parquet files as the texts that PostgreSQL reads for a column."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from lightvec import Bit, SparseVector
from lightvec.errors import SchemaMismatch
from lightvec.wire.copy.target import Column
from lightvec.wire.datatypes import oids

__all__ = ["needs_numbers", "text_writer"]

_JSON = oids("json", "jsonb")
_INTEGERS = oids("int2", "int4", "int8", "oid")
_FLOATS = oids("float4", "float8")
_DENSE = ("vector", "halfvec")
_CLASSES: dict[str, Callable[[Any], Any]] = {"sparsevec": SparseVector, "bit": Bit, "varbit": Bit}


def needs_numbers(column: Column, *, in_binary: bool) -> bool:
    """Whether numbers in a value of this column must be numbers; otherwise their texts will do."""
    is_number = in_binary and column.oid in (*_INTEGERS, *_FLOATS)
    return is_number or _element_oid(column) in _JSON or column.vector in _CLASSES


def text_writer(table: str, column: Column) -> Callable[[Any], str]:
    """What writes a value of this column as text; :class:`~lightvec.errors.SchemaMismatch` for one that cannot be."""
    write = _element_writer(f"{table}.{column.name}", column)
    return partial(_array, write, column.vector is not None) if column.element_oid else write


def _element_oid(column: Column) -> int:
    return column.element_oid or column.oid


def _element_writer(name: str, column: Column) -> Callable[[Any], str]:
    if _element_oid(column) in _JSON:
        return partial(json.dumps, default=_json_default)
    if column.vector in _DENSE:
        return _dense
    if column.vector is not None:
        return partial(_by_class, _CLASSES[column.vector])
    return partial(_integer if _element_oid(column) in _INTEGERS else _scalar, f"{name} is {column.type}")


def _json_default(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def _dense(value: Any) -> str:
    numbers = value.tolist() if hasattr(value, "tolist") else value
    return f"[{','.join(map(str, numbers))}]" if isinstance(numbers, list) else str(numbers)


def _by_class(kind: Callable[[Any], Any], value: Any) -> str:
    return value if isinstance(value, str) else kind(value).to_text()


def _integer(expected: str, value: Any) -> str:
    """Whole numbers that went through floats are written with a fraction of zero."""
    return _scalar(expected, value).removesuffix(".0")


def _scalar(expected: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)) or hasattr(value, "tolist"):
        raise SchemaMismatch(
            f"{expected}, got {type(value).__name__}: write it as one text, or make the column jsonb or an array"
        )
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _array(write: Callable[[Any], str], of_vectors: bool, value: Any) -> str:
    """An array literal; a text is one already. The innermost lists of an array of vectors are the vectors."""
    items = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, list):
        return str(items)

    def element(item: Any) -> str:
        if item is None:
            return "NULL"
        if isinstance(item, list) and not (of_vectors and not any(isinstance(each, list) for each in item)):
            return _array(write, of_vectors, item)
        escaped = write(item).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    return f"{{{','.join(map(element, items))}}}"
