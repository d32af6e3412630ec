"""NumPy arrays to CopyData messages, without Python work for each row.

A block of rows is one structured array over the memory of the message: int16 count of columns, then for each column
int32 length and the payload, all big-endian and packed. Columns that cannot be part of it are encoded value by value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any, cast

from lightvec.errors import InvalidVector
from lightvec.types.columns import value_reader
from lightvec.types.inputs import MAX_DIMENSIONS, is_ndarray
from lightvec.wire.binary_encoders import Encoder
from lightvec.wire.copy.blocks import HEADER, TRAILER, Block, close_message, encode_value
from lightvec.wire.copy.target import Column, Target
from lightvec.wire.datatypes import BY_OID, DENSE, TYPES
from lightvec.wire.errors import DataError
from lightvec.wire.parameters import ATTOSECONDS, plain
from lightvec.wire.protocol import copy_data

__all__ = ["array_blocks", "items"]

#: The size of a message and the rows in it. With 768 numbers a row, any size from 16 KB to 1 MB was as fast; the
#: client's CPU fell from 1.6 to 1.05 µs a row at 256 KB, no further.
_BLOCK = 256 * 1024
_MIN_ROWS, _MAX_ROWS = 16, 1024
#: With columns of variable width a block has fewer rows and may be longer: it is cut into messages of this size.
_MAX_MIXED_ROWS = 256
_MAX_MESSAGE = 16 * 1024 * 1024

#: By the kind of a column's numbers, the kinds of arrays that can be cast to it.
_CASTS = {"b": "b", "i": "iu", "u": "iu", "f": "fiu"}
#: Units since 2000 and NumPy's types of them.
_SINCE_2000 = {"date": ("D", ">i4"), "timestamp": ("us", ">i8"), "timestamptz": ("us", ">i8")}
#: Leaves room in an int64 for PostgreSQL's epoch and a fraction.
_MAX_MICROSECONDS = 2**63 - 10**18


class _FixedColumn:
    """A column of fields of one width: length, ``head`` as int16, payload.

    ``convert`` makes payloads of values, given the number of their first row.
    """

    def __init__(
        self,
        values: Any,
        payload: Any,
        convert: Callable[[Any, int], Any],
        shape: tuple[int, ...] = (),
        head: tuple[int, ...] = (),
    ) -> None:
        numpy = sys.modules["numpy"]
        self.dtype = numpy.dtype([("length", ">i4"), ("head", ">i2", (len(head),)), ("payload", payload, shape)])
        self.size: int = self.dtype.itemsize
        self._values = values
        self._convert = convert
        self._head = head

    def prepare(self, rows: Any) -> None:
        """Write what all rows have in common."""
        rows["length"] = self.size - 4
        rows["head"] = self._head

    def fill(self, rows: Any, start: int, stop: int) -> None:
        """Write the payloads of these rows."""
        rows["payload"] = self._convert(self._values[start:stop], start + 1)

    def fields(self, start: int, stop: int) -> list[memoryview]:
        """The fields of these rows."""
        rows = sys.modules["numpy"].empty(stop - start, self.dtype)
        self.prepare(rows)
        self.fill(rows, start, stop)
        data = memoryview(rows.view("u1"))
        return [data[at : at + self.size] for at in range(0, len(data), self.size)]


class _EncodedColumn:
    """A column that is encoded value by value."""

    def __init__(self, column: Column, encode: Encoder, values: Any) -> None:
        self._column = column
        self._encode = encode
        self._values = items(values, column)

    def fields(self, start: int, stop: int) -> list[bytes]:
        """The fields of these rows; the values are taken in order."""
        numbered = zip(range(start + 1, stop + 1), self._values, strict=False)
        return [encode_value(self._column, self._encode, value, number) for number, value in numbered]


def array_blocks(target: Target, values: Sequence[Any], length: int) -> Iterator[Block] | None:
    """The binary COPY of columns of which at least one has a fixed width; None if none has."""
    encoders = cast("list[Encoder]", target.encoders)
    columns = [
        _fixed_column(column, value) or _EncodedColumn(column, encode, value)
        for column, encode, value in zip(target.columns, encoders, values, strict=True)
    ]
    fixed = [column for column in columns if isinstance(column, _FixedColumn)]
    if not fixed:
        return None
    is_mixed = len(fixed) < len(columns)
    most = _MAX_MIXED_ROWS if is_mixed else _MAX_ROWS
    step = min(most, max(_MIN_ROWS, _BLOCK // sum(column.size for column in fixed)))
    return _mixed_blocks(columns, step, length) if is_mixed else _fixed_blocks(fixed, step, length)


def _fixed_blocks(columns: list[_FixedColumn], step: int, length: int) -> Iterator[Block]:
    numpy = sys.modules["numpy"]
    dtype = numpy.dtype([("count", ">i2"), *((str(place), column.dtype) for place, column in enumerate(columns))])
    step = min(step, length)
    buffer = bytearray(5 + step * dtype.itemsize)
    rows = numpy.frombuffer(buffer, dtype, step, 5)
    rows["count"] = len(columns)
    for place, column in enumerate(columns):
        column.prepare(rows[str(place)])
    message = memoryview(buffer)
    yield Block(HEADER, 0)
    for start in range(0, length, step or 1):
        stop = min(start + step, length)
        for place, column in enumerate(columns):
            column.fill(rows[str(place)][: stop - start], start, stop)
        end = 5 + (stop - start) * dtype.itemsize
        close_message(message, end)
        yield Block(message[:end], stop)
    yield Block(TRAILER, length)


def _mixed_blocks(columns: Sequence[_FixedColumn | _EncodedColumn], step: int, length: int) -> Iterator[Block]:
    """Fields of both kinds of columns, with one join a block."""
    count = len(columns).to_bytes(2, "big")
    yield Block(HEADER, 0)
    for start in range(0, length, step):
        stop = min(start + step, length)
        fields = [column.fields(start, stop) for column in columns]
        body = b"".join(chain.from_iterable(zip([count] * (stop - start), *fields, strict=True)))
        for at in range(0, len(body), _MAX_MESSAGE):
            yield Block(copy_data(body[at : at + _MAX_MESSAGE]), stop)
    yield Block(TRAILER, length)


def _fixed_column(column: Column, values: Any) -> _FixedColumn | None:
    """None if the fields do not have one width: no array, another type or dtype, a mask or NaT (which are NULL)."""
    if not is_ndarray(values) or hasattr(values, "mask") or column.element_oid:
        return None
    if values.ndim == 2:
        return _vectors(column, values) or _uuids(column, values)
    if values.ndim != 1:
        return None
    return _numbers(column, values) or _datetimes(column, values)


def _numbers(column: Column, values: Any) -> _FixedColumn | None:
    known, numpy = BY_OID.get(column.oid), sys.modules["numpy"]
    if known is None or not known.dtype:
        return None
    dtype = numpy.dtype(known.dtype)
    if values.dtype.kind not in _CASTS[dtype.kind]:
        return None
    if numpy.can_cast(values.dtype, dtype, "safe"):
        return _FixedColumn(values, dtype, _unchanged)

    def cast_numbers(chunk: Any, first: int) -> Any:
        with numpy.errstate(all="ignore"):
            if dtype.kind == "f":
                overflows = ~numpy.isfinite(chunk.astype(dtype)) & numpy.isfinite(chunk)
            else:
                overflows = (chunk < numpy.iinfo(dtype).min) | (chunk > numpy.iinfo(dtype).max)
            if overflows.any():
                index = int(overflows.argmax())
                raise column.refusal(first + index, chunk[index].item(), OverflowError())
            return chunk.astype(dtype)

    return _FixedColumn(values, dtype, cast_numbers)


def _unchanged(chunk: Any, first: int) -> Any:
    return chunk


def _vectors(column: Column, values: Any) -> _FixedColumn | None:
    numpy, dtype, size = sys.modules["numpy"], DENSE.get(column.vector or ""), values.shape[1]
    if dtype is None or values.dtype.kind not in "fiu":
        return None
    if not 1 <= size <= MAX_DIMENSIONS or column.size not in (None, size):
        expected = f"{column.size:,}" if column.size else f"1 to {MAX_DIMENSIONS:,}"
        raise InvalidVector(
            f"column {column.name!r} ({column.type}): expected {expected} dimensions, "
            f"got an array of the shape {values.shape}"
        )

    def convert(chunk: Any, first: int) -> Any:
        # In aligned memory, which takes half the time of converting in the message.
        with numpy.errstate(all="ignore"):
            numbers = chunk.astype(dtype, order="C")
        finite = numpy.isfinite(chunk if chunk.dtype == dtype.replace(">", "<") else numbers)
        if not finite.all():
            index = int(finite.all(axis=1).argmin())
            try:
                value_reader(column.vector or "", column.size)(chunk[index])
            except InvalidVector as error:
                raise column.refusal(first + index, chunk[index], error) from None
        return numbers.view("u1")

    return _FixedColumn(values, "u1", convert, (size * int(dtype[-1]),), (size, 0))


def _uuids(column: Column, values: Any) -> _FixedColumn | None:
    if column.oid != TYPES["uuid"].oid or values.dtype.str != "|u1" or values.shape[1] != 16:
        return None
    return _FixedColumn(values, "u1", _unchanged, (16,))


def _datetimes(column: Column, values: Any) -> _FixedColumn | None:
    """datetime64 as date or timestamp, in UTC."""
    numpy, known = sys.modules["numpy"], BY_OID.get(column.oid)
    if known is None or known.name not in _SINCE_2000 or values.dtype.kind != "M":
        return None
    if numpy.isnat(values).any() or not _fit_microseconds(values):
        return None
    unit, payload = _SINCE_2000[known.name]
    epoch = numpy.datetime64("2000-01-01", unit)
    return _FixedColumn(values, payload, lambda chunk, _: (chunk.astype(f"M8[{unit}]") - epoch).astype("i8"))


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
    if _fit_microseconds(values):
        return values.astype(f"{values.dtype.kind}8[us]").tolist()  # type: ignore[no-any-return]
    return list(map(_moment, values))


def _fit_microseconds(values: Any) -> bool:
    """Whether all of an array can be cast to microseconds, except NaT: NumPy's own cast overflows silently."""
    numpy = sys.modules["numpy"]
    unit, count = numpy.datetime_data(values.dtype)
    if unit in ATTOSECONDS:
        most = min(_MAX_MICROSECONDS * 10**12 // (ATTOSECONDS[unit] * count), _MAX_MICROSECONDS)
    elif unit in ("Y", "M") and values.dtype.kind == "M":
        most = 260_000 // count
    else:
        return False
    numbers = values[~numpy.isnat(values)].astype("i8")
    return not len(numbers) or bool(-most <= numbers.min() and numbers.max() <= most)


def _moment(value: Any) -> Any:
    try:
        return plain(value)
    except DataError:
        return value  # The encoder refuses it, by its row.


def _in_utc(value: Any) -> Any:
    # Not every value is a datetime: some are NULL, and those after the year 9999 are numbers.
    return value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) else value
