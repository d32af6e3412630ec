"""Rows to CopyData messages of many rows each: memory stays bounded, and there are few system calls.

COPY is text for tables with a type that has no binary encoder here: the server parses each field like a literal, so
every type can be loaded (PostgreSQL documentation, COPY, "Text Format").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from functools import partial
from itertools import islice
from struct import Struct, pack, unpack
from struct import error as struct_error
from typing import Any, NamedTuple, cast
from uuid import UUID

from lightvec.types.arrays import as_list, check_depth, is_dimension
from lightvec.types.columns import value_reader
from lightvec.types.inputs import is_table, show, show_number
from lightvec.wire.adapters import Adapters
from lightvec.wire.binary_encoders import NULL, Encoder, numeric_of
from lightvec.wire.copy.target import Column, Target
from lightvec.wire.datatypes import BY_OID
from lightvec.wire.errors import DataError
from lightvec.wire.jsonb import json_text
from lightvec.wire.parameters import plain
from lightvec.wire.protocol import copy_data

__all__ = ["HEADER", "TRAILER", "Block", "binary_blocks", "close_message", "encode_value", "line_blocks", "text_blocks"]

#: The signature, flags and the length of no extension (PostgreSQL documentation, COPY, "File Header").
HEADER = copy_data(b"PGCOPY\n\xff\r\n\0" + bytes(8))
TRAILER = copy_data(b"\xff\xff")

#: The size of a message. Lists of 768 numbers went in at 91,000 rows a second in messages of 8 KB, 118,000 of 32 to
#: 128 KB, 103,000 of 1 MB, where client and server wait for each other (medians of seven).
_BLOCK = 128 * 1024

#: What encoders raise for a value.
_REFUSALS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, struct_error)

_message_head = Struct("!ci").pack_into
_START = b"d\x00\x00\x00\x00"
_TEXT_NULL = b"\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Block(NamedTuple):
    """A CopyData message, valid until the next one, and the number of its last row."""

    message: bytes | bytearray | memoryview
    rows: int


def close_message(message: Any, size: int) -> None:
    """Write the type and the length into the first five bytes of a CopyData message of this size."""
    _message_head(message, 0, b"d", size - 1)


def binary_blocks(target: Target, rows: Iterable[Sequence[Any]]) -> Iterator[Block]:
    """The binary COPY of these rows; an error of a value names its row and column."""
    columns, encoders = target.columns, cast("list[Encoder]", target.encoders)
    start = len(columns).to_bytes(2, "big")

    def append(block: bytearray, row: Sequence[Any], number: int) -> None:
        try:
            written = [NULL if value is None else encode(value) for encode, value in zip(encoders, row, strict=True)]
        except Exception:
            written = []  # Encoded again below: an error raised here would be chained to this one.
        written = written or _encode_row(columns, encoders, NULL, row, number)
        block += start
        block += b"".join(written)

    yield Block(HEADER, 0)
    yield from _blocks(rows, append)
    yield Block(TRAILER, 0)


def text_blocks(target: Target, adapters: Adapters, rows: Iterable[Sequence[Any]]) -> Iterator[Block]:
    """The text COPY of these rows, as UTF-8."""
    columns = target.columns
    encoders = [_text_encoder(column, adapters) for column in columns]

    def append(block: bytearray, row: Sequence[Any], number: int) -> None:
        block += b"\t".join(_encode_row(columns, encoders, _TEXT_NULL, row, number))
        block += b"\n"

    return _blocks(rows, append)


def line_blocks(rows: Iterable[Sequence[str | None]]) -> Iterator[Block]:
    """The text COPY of rows whose fields are texts already."""

    def append(block: bytearray, row: Sequence[str | None], number: int) -> None:
        try:
            block += _line(row)
        except UnicodeEncodeError as error:
            raise DataError(
                f"row {number:,}: expected Unicode text, got the lone surrogate {error.object[error.start]!r}"
            ) from None

    return _blocks(rows, append)


def _line(fields: Iterable[str | None]) -> bytes:
    """The line of a row. Bytes that are not UTF-8, read with ``surrogateescape``, are left to the server to refuse."""
    written = ["\\N" if field is None else field.translate(_ESCAPES) for field in fields]
    return ("\t".join(written) + "\n").encode("utf-8", "surrogateescape")


def _blocks(rows: Iterable[Sequence[Any]], append: Callable[[bytearray, Sequence[Any], int], None]) -> Iterator[Block]:
    block = bytearray(_START)
    number = 0
    for number, row in enumerate(rows, 1):
        append(block, row, number)
        if len(block) >= _BLOCK:
            close_message(block, len(block))
            yield Block(block, number)
            del block[len(_START) :]
    if len(block) > len(_START):
        close_message(block, len(block))
        yield Block(block, number)


def _encode_row(
    columns: Sequence[Column], encoders: Sequence[Encoder], null: bytes, row: Any, number: int
) -> list[bytes]:
    values = _values(columns, row, number)
    return [
        encode_value(column, encode, value, number, null)
        for column, encode, value in zip(columns, encoders, values, strict=True)
    ]


def encode_value(column: Column, encode: Encoder, value: Any, number: int, null: bytes = NULL) -> bytes:
    """The field of a value; Enum members and NumPy scalars are converted. An error names row and column."""
    try:
        return null if value is None else encode(value)
    except Exception as error:
        refused = error
    try:
        inner = plain(value) if type(value).__module__ != "numpy" or getattr(value, "ndim", 0) == 0 else value
        if inner is not value:
            return null if inner is None else encode(inner)
    except Exception as error:
        refused = error
    # Others come from the value's own class.
    raise column.refusal(number, value, refused) from (None if isinstance(refused, _REFUSALS) else refused)


def _values(columns: Sequence[Column], row: Any, number: int) -> Sequence[Any]:
    """The values of a row, which are counted: some classes have a wrong ``len()``."""
    expected = f"row {number:,}: expected {len(columns)} values ({', '.join(column.name for column in columns)})"
    try:
        if isinstance(row, (str, bytes, Mapping, Set)) or is_table(row):
            raise TypeError
        count = len(row)
        values = list(islice(row, len(columns) + 1)) if count == len(columns) else []
    except (TypeError, ValueError, NotImplementedError):
        raise DataError(f"{expected} in a list or tuple, got {show(row)}") from None
    if len(values) != len(columns):
        raise DataError(f"{expected}, got {show_number(len(values) or count)}")
    return values


def _text_encoder(column: Column, adapters: Adapters) -> Callable[[Any], bytes]:
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
