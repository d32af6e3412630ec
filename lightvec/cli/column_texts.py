"""Values from files as the texts that PostgreSQL reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from lightvec import Bit, SparseVector
from lightvec.cli.json_objects import JsonText
from lightvec.errors import SchemaMismatch
from lightvec.wire.copy.target import Column
from lightvec.wire.datatypes import oids

JSON = oids("json", "jsonb")
_INTEGERS = oids("int2", "int4", "int8", "oid")
_FLOATS = oids("float4", "float8")
_CLASSES: dict[str, Callable[[Any], Any]] = {"sparsevec": SparseVector, "bit": Bit, "varbit": Bit}


def is_json(column: Column) -> bool:
    return (column.element_oid or column.oid) in JSON


def rewrites_texts(column: Column) -> bool:
    """Whether texts and numbers in a JSON file are not written as they are."""
    return is_json(column) or column.oid in _INTEGERS


def needs_numbers(column: Column, in_binary: bool) -> bool:
    """Whether the texts of JSON numbers will not do."""
    is_number = in_binary and column.oid in (*_INTEGERS, *_FLOATS)
    return is_number or is_json(column) or column.vector in _CLASSES


def text_writer(name: str, column: Column, texts_are_json: bool) -> Callable[[Any], str]:
    """What writes a value of this column."""
    expected = f"{name} is {column.type}"
    write: Callable[[Any], str]
    if is_json(column):
        write = partial(_json, expected, texts_are_json)
    elif column.vector in _CLASSES:
        write = partial(_by_class, expected, _CLASSES[column.vector], column.size)
    elif column.vector is not None:
        write = _dense
    else:
        integers = (column.element_oid or column.oid) in _INTEGERS
        write = partial(_integer if integers else _scalar, expected)
    return partial(_array, write, column.vector is not None) if column.element_oid else write


class _HasDecimalError(Exception):
    pass


def _json(expected: str, is_text: bool, value: Any) -> str:
    def default(value: Any) -> Any:
        if isinstance(value, bytes):
            raise SchemaMismatch(f"{expected}, got bytes, which JSON cannot hold: leave them out")
        if isinstance(value, Decimal):
            raise _HasDecimalError
        return value.tolist() if hasattr(value, "tolist") else str(value)

    def write(value: Any) -> str:
        """Item by item where there is a decimal, which json.dumps could write as a float only."""
        try:
            return json.dumps(value, default=default)
        except _HasDecimalError:
            pass
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, dict):
            items = (f"{json.dumps(name)}: {write(item)}" for name, item in value.items())
            return f"{{{', '.join(items)}}}"
        return f"[{', '.join(map(write, value))}]"

    is_json = isinstance(value, JsonText) or (is_text and isinstance(value, str))
    return value if is_json else write(value)


def _dense(value: Any) -> str:
    numbers = value.tolist() if hasattr(value, "tolist") else value
    return f"[{','.join(map(str, numbers))}]" if isinstance(numbers, list) else str(numbers)


def _by_class(expected: str, kind: Callable[..., Any], size: int | None, value: Any) -> str:
    if kind is SparseVector and isinstance(value, dict):
        # As Qdrant and Pinecone write one.
        if value.keys() != {"indices", "values"} or size is None or size < 1:
            wanted = "with its number of dimensions, for an object of indices and values"
            raise SchemaMismatch(f"{expected}: expected it {wanted}")
        numbers = dict(zip(value["indices"], value["values"], strict=True))
        return kind(numbers, size).to_text()
    return value if isinstance(value, str) else kind(value).to_text()


def _integer(expected: str, value: Any) -> str:
    # Integers that went through floats end so.
    return _scalar(expected, value).removesuffix(".0")


def _scalar(expected: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)) or hasattr(value, "tolist"):
        got = type(value).__name__
        raise SchemaMismatch(f"{expected}, got {got}: write one text, or make it jsonb or an array")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _array(write: Callable[[Any], str], of_vectors: bool, value: Any) -> str:
    """An array literal; in an array of vectors, the innermost lists are the vectors."""
    items = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, list):
        return str(items)

    def element(item: Any) -> str:
        if item is None:
            return "NULL"
        is_vector = of_vectors and not any(isinstance(each, list) for each in item)
        if isinstance(item, list) and not is_vector:
            return _array(write, of_vectors, item)
        escaped = write(item).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    return f"{{{','.join(map(element, items))}}}"
