"""NumPy arrays to CopyData messages, without Python work for each row.

A block of rows is one structured array over the memory of the message: int16 count of columns, then for each column
int32 length and the payload, all big-endian and packed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any, NamedTuple, cast

from lightvec.types.inputs import is_ndarray
from lightvec.wire.binary_encoders import Encoder
from lightvec.wire.copy.blocks import HEADER, TRAILER, Block, close_message, encode_value
from lightvec.wire.copy.fixed_columns import FixedColumn, fit_microseconds, fixed_column
from lightvec.wire.copy.target import Column, Target
from lightvec.wire.datatypes import TYPES
from lightvec.wire.errors import DataError
from lightvec.wire.parameters import plain
from lightvec.wire.protocol import copy_data

__all__ = ["array_blocks", "items"]

#: The size of a message and the rows in it. With 768 numbers a row, any size from 16 KB to 1 MB was as fast; the
#: client's CPU fell from 1.6 to 1.05 µs a row at 256 KB, no further.
_BLOCK = 256 * 1024
_MIN_ROWS, _MAX_ROWS = 16, 1024
#: With columns of variable width a block has fewer rows and may be longer: it is cut into messages of this size.
_MAX_MIXED_ROWS = 256
_MAX_MESSAGE = 16 * 1024 * 1024


class _EncodedColumn(NamedTuple):
    """A column that is encoded value by value."""

    column: Column
    encode: Encoder
    values: Iterator[Any]

    def fields(self, start: int, stop: int) -> list[bytes]:
        """The fields of the rows from ``start`` to ``stop``; the values are taken in order."""
        numbered = zip(range(start + 1, stop + 1), self.values, strict=False)
        return [encode_value(self.column, self.encode, value, number) for number, value in numbered]


class _StructuredRows:
    """Columns of fixed width as one structured array."""

    def __init__(
        self, columns: Sequence[FixedColumn], rows: int, head: Sequence[tuple[str, str]] = (), before: int = 0
    ) -> None:
        """``head`` are the parts before the columns, ``before`` is the number of bytes before the array."""
        numpy = sys.modules["numpy"]
        dtype = numpy.dtype([*head, *chain.from_iterable(column.parts for column in columns)])
        self.columns = columns
        self.size: int = dtype.itemsize
        self.buffer = bytearray(before + rows * self.size)
        self.array = numpy.ndarray((rows,), dtype, self.buffer, before)
        for column in columns:
            for name, value in column.constants.items():
                self.array[name] = value

    def fill(self, start: int, stop: int) -> None:
        """Write the rows from ``start`` to ``stop``."""
        rows = self.array[: stop - start]
        for column in self.columns:
            column.fill(rows, column.values[start:stop], start + 1)

    def fields(self, start: int, stop: int) -> list[memoryview]:
        """The bytes of each row from ``start`` to ``stop``, until they are written again."""
        self.fill(start, stop)
        view = memoryview(self.buffer)
        return [view[at : at + self.size] for at in range(0, (stop - start) * self.size, self.size)]


def array_blocks(target: Target, values: Sequence[Any], length: int) -> Iterator[Block] | None:
    """The binary COPY of columns of which at least one has a fixed width; None if none has."""
    encoders = cast("list[Encoder]", target.encoders)
    columns: list[FixedColumn | _EncodedColumn] = [
        fixed_column(column, value, str(index)) or _EncodedColumn(column, encode, items(value, column))
        for index, (column, encode, value) in enumerate(zip(target.columns, encoders, values, strict=True))
    ]
    fixed = [column for column in columns if isinstance(column, FixedColumn)]
    if not fixed:
        return None
    return _fixed_blocks(fixed, length) if len(fixed) == len(columns) else _mixed_blocks(columns, fixed, length)


def items(values: Any, column: Column) -> Iterator[Any]:
    """The values of a column as Python's; masked ones and NaT are None, a datetime64 is in UTC."""
    if not is_ndarray(values) or values.ndim > 1:
        yield from values
        return
    is_utc = values.dtype.kind == "M" and column.oid == TYPES["timestamptz"].oid
    for start in range(0, len(values), _MAX_ROWS):
        part = _as_python(values[start : start + _MAX_ROWS])
        yield from map(_in_utc, part) if is_utc else part


def _as_python(values: Any) -> list[Any]:
    if values.dtype.kind not in "mM":
        return values.tolist()  # type: ignore[no-any-return]
    if fit_microseconds(values):
        return values.astype(f"{values.dtype.kind}8[us]").tolist()  # type: ignore[no-any-return]
    return list(map(_moment, values))


def _moment(value: Any) -> Any:
    try:
        return plain(value)
    except DataError:
        return value  # The encoder refuses it, by its row.


def _in_utc(value: Any) -> Any:
    # Not every value is a datetime: some are NULL, and those after the year 9999 are numbers.
    return value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) else value


def _rows_in_block(columns: list[FixedColumn], most: int) -> int:
    return min(most, max(_MIN_ROWS, _BLOCK // sum(column.size for column in columns)))


def _fixed_blocks(columns: list[FixedColumn], length: int) -> Iterator[Block]:
    step = _rows_in_block(columns, _MAX_ROWS)
    rows = _StructuredRows(columns, min(step, length), [("count", ">i2")], 5)
    rows.array["count"] = len(columns)
    message = memoryview(rows.buffer)
    yield Block(HEADER, 0)
    for start in range(0, length, step):
        stop = min(start + step, length)
        rows.fill(start, stop)
        end = 5 + (stop - start) * rows.size
        close_message(message, end)
        yield Block(message[:end], stop)
    yield Block(TRAILER, length)


def _mixed_blocks(
    columns: list[FixedColumn | _EncodedColumn], fixed: list[FixedColumn], length: int
) -> Iterator[Block]:
    """Fields of both kinds of columns, with one join a block."""
    step = _rows_in_block(fixed, _MAX_MIXED_ROWS)
    parts = [_StructuredRows([column], step) if isinstance(column, FixedColumn) else column for column in columns]
    count = len(columns).to_bytes(2, "big")
    yield Block(HEADER, 0)
    for start in range(0, length, step):
        stop = min(start + step, length)
        fields = [part.fields(start, stop) for part in parts]
        body = b"".join(chain.from_iterable(zip([count] * (stop - start), *fields, strict=True)))
        for at in range(0, len(body), _MAX_MESSAGE):
            yield Block(copy_data(body[at : at + _MAX_MESSAGE]), stop)
    yield Block(TRAILER, length)
