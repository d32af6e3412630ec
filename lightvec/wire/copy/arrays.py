"""Columns that are NumPy arrays to CopyData messages, without any Python work for a row.

A block of rows is one structured array: int16 count of columns, then for each column int32 length and the payload, all
big-endian and packed. It is laid over the memory that is sent, so filling a column of it is filling the message.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any, NamedTuple, cast

from lightvec.types.inputs import is_ndarray
from lightvec.wire.binary_encoders import NULL, Encoder
from lightvec.wire.copy.blocks import HEADER, TRAILER, Block, careful, close_message
from lightvec.wire.copy.fixed import Fixed, fits, fixed
from lightvec.wire.copy.target import Column, Target
from lightvec.wire.datatypes import TYPES
from lightvec.wire.errors import DataError
from lightvec.wire.parameters import plain
from lightvec.wire.protocol import copy_data

__all__ = ["array_blocks", "items"]

#: The size of a message and the rows in it. With 768 numbers a row, any size from 16 KB to 1 MB was as quick (medians
#: of seven: 1.2 to 1.3 times psycopg 3 with C); the client's CPU fell from 1.6 to 1.05 µs a row at 256 KB, no further.
_BLOCK = 256 * 1024
_FEWEST, _MOST = 16, 1024
#: Where rows are put together from pieces, a message may be longer: it is cut into messages of this size.
_LONGEST = 16 * 1024 * 1024
_MOST_PIECES = 256


class Items(NamedTuple):
    """A column that is encoded value by value."""

    column: Column
    encode: Encoder
    values: Iterator[Any]

    def fields(self, start: int, stop: int) -> list[bytes]:
        """The fields of the rows from ``start`` to ``stop``; the values are taken in order."""
        taken = zip(range(start + 1, stop + 1), self.values, strict=False)
        return [NULL if value is None else careful(self.column, self.encode, value, number) for number, value in taken]


class Rows:
    """Columns of fixed size as one structured array over memory."""

    def __init__(
        self, columns: Sequence[Fixed], rows: int, head: Sequence[tuple[str, str]] = (), before: int = 0
    ) -> None:
        """``head`` are parts ahead of the columns, ``before`` is a number of bytes that stay free."""
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
        return [view[place : place + self.size] for place in range(0, (stop - start) * self.size, self.size)]


def array_blocks(target: Target, values: Sequence[Any], length: int) -> Iterator[Block] | None:
    """The binary COPY of columns of which at least one is an array of fixed size; None where none is."""
    encoders = cast("list[Encoder]", target.encoders)
    columns: list[Fixed | Items] = [
        fixed(column, value, str(place)) or Items(column, encode, items(value, column))
        for place, (column, encode, value) in enumerate(zip(target.columns, encoders, values, strict=True))
    ]
    quick = [column for column in columns if isinstance(column, Fixed)]
    if not quick:
        return None
    return _whole_blocks(quick, length) if len(quick) == len(columns) else _mixed_blocks(columns, length)


def items(values: Any, column: Column) -> Iterator[Any]:
    """The values of a column one by one, those of an array as Python has them, a masked one and NaT as None.

    A datetime64 says no time zone: it is UTC.
    """
    if not is_ndarray(values) or values.ndim > 1:
        yield from values
        return
    is_utc = values.dtype.kind == "M" and column.oid == TYPES["timestamptz"].oid
    for start in range(0, len(values), _MOST):
        some = _as_python(values[start : start + _MOST])
        yield from map(_in_utc, some) if is_utc else some


def _as_python(values: Any) -> list[Any]:
    if values.dtype.kind not in "mM":
        return values.tolist()  # type: ignore[no-any-return]
    if fits(values):
        return values.astype(f"{values.dtype.kind}8[us]").tolist()  # type: ignore[no-any-return]
    return list(map(_moment, values))


def _moment(value: Any) -> Any:
    try:
        return plain(value)
    except DataError:
        return value  # It is refused with its row where it is encoded.


def _in_utc(value: Any) -> Any:
    """A datetime with its zone; not NULL, and not the number of a moment behind the year 9999."""
    return value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) else value


def _spans(length: int, size: int, most: int) -> Iterator[tuple[int, int]]:
    step = min(most, max(_FEWEST, _BLOCK // size))
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _whole_blocks(columns: list[Fixed], length: int) -> Iterator[Block]:
    spans = list(_spans(length, 2 + sum(column.size for column in columns), _MOST))
    rows = Rows(columns, max((stop - start for start, stop in spans[:1]), default=0), [("width", ">i2")], 5)
    rows.array["width"] = len(columns)
    message = memoryview(rows.buffer)
    yield Block(HEADER, 0)
    for start, stop in spans:
        rows.fill(start, stop)
        end = 5 + (stop - start) * rows.size
        close_message(message, end)
        yield Block(message[:end], stop)
    yield Block(TRAILER, length)


def _mixed_blocks(columns: list[Fixed | Items], length: int) -> Iterator[Block]:
    """Rows put together from pieces of structured arrays and from fields of their own, in one join a block."""
    size = sum(column.size for column in columns if isinstance(column, Fixed))
    pieces = [Rows([column], _MOST_PIECES) if isinstance(column, Fixed) else column for column in columns]
    width = len(columns).to_bytes(2, "big")
    yield Block(HEADER, 0)
    for start, stop in _spans(length, size, _MOST_PIECES):
        fields = [piece.fields(start, stop) for piece in pieces]
        body = b"".join(chain.from_iterable(zip([width] * (stop - start), *fields, strict=True)))
        for place in range(0, len(body), _LONGEST):
            yield Block(copy_data(body[place : place + _LONGEST]), stop)
    yield Block(TRAILER, length)
