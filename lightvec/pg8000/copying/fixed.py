"""Columns of NumPy arrays whose binary fields all have one size: what a row of them looks like and what fills it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from lightvec.errors import InvalidVector
from lightvec.pg8000.copying.target import Column
from lightvec.types._inputs import is_ndarray
from lightvec.types._limits import MAX_DIMENSIONS
from lightvec.types.fields import value_of

__all__ = ["Fixed", "fixed"]

#: By OID of an integer, float or boolean column: the payload's dtype and the kinds of arrays that fit it.
_NUMBERS = {
    16: ("u1", "b"),
    20: (">i8", "iu"),
    21: (">i2", "iu"),
    23: (">i4", "iu"),
    26: (">u4", "iu"),
    700: (">f4", "fiu"),
    701: (">f8", "fiu"),
}
_DATE, _TIMESTAMPS, _INTERVAL, _UUID = 1082, (1114, 1184), 1186, 2950
_DAY = 86_400_000_000
_VECTORS = {"vector": "f4", "halfvec": "f2"}

#: Fills the parts of a column: the structured array, the caller's values for its rows, the number of the first row.
Fill = Callable[[Any, Any, int], None]


class Fixed(NamedTuple):
    """A column whose fields all have one size: the parts of a row of the structured array, and what fills them."""

    values: Any
    parts: list[tuple[Any, ...]]
    constants: dict[str, int]
    fill: Fill

    @property
    def size(self) -> int:
        """The bytes of a field."""
        size: int = sys.modules["numpy"].dtype(self.parts).itemsize
        return size


def fixed(column: Column, values: Any, key: str) -> Fixed | None:
    """The column as a part of structured arrays, its parts' names beginning with ``key``.

    None where that cannot be: no array, one with a mask or NaT (which are NULLs), a type or dtype of another kind.
    """
    if not is_ndarray(values) or hasattr(values, "mask") or column.element_oid:
        return None
    if values.ndim == 2:
        return _vectors(column, values, key) or _uuids(column, values, key)
    if values.ndim != 1:
        return None
    return _numbers(column, values, key) or _moments(column, values, key)


def _field(key: str, dtype: Any, size: int) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    return [(f"{key} length", ">i4"), (key, *dtype)], {f"{key} length": size}


def _numbers(column: Column, values: Any, key: str) -> Fixed | None:
    dtype, kinds = _NUMBERS.get(column.oid, ("", ""))
    if values.dtype.kind not in kinds or not kinds:
        return None
    numpy = sys.modules["numpy"]
    parts, constants = _field(key, (dtype,), numpy.dtype(dtype).itemsize)
    check = None if numpy.can_cast(values.dtype, dtype, "safe") else _misfits(numpy.dtype(dtype))
    return Fixed(values, parts, constants, partial(_fill_numbers, column, key, check))


def _misfits(dtype: Any) -> Callable[[Any], Any]:
    """What tells which numbers of an array do not fit a dtype."""
    numpy = sys.modules["numpy"]
    if dtype.kind == "f":
        return lambda chunk: ~numpy.isfinite(chunk.astype(dtype)) & numpy.isfinite(chunk)
    limits = numpy.iinfo(dtype)
    return lambda chunk: (chunk < limits.min) | (chunk > limits.max)


def _fill_numbers(
    column: Column, key: str, misfits: Callable[[Any], Any] | None, rows: Any, chunk: Any, first: int
) -> None:
    with sys.modules["numpy"].errstate(all="ignore"):
        if misfits is not None and (wrong := misfits(chunk)).any():
            place = int(wrong.argmax())
            raise column.refusal(first + place, chunk[place].item(), OverflowError())
        rows[key] = chunk


def _vectors(column: Column, values: Any, key: str) -> Fixed | None:
    dtype, size = _VECTORS.get(column.vector or ""), values.shape[1]
    if dtype is None or values.dtype.kind not in "fiu":
        return None
    if not 1 <= size <= MAX_DIMENSIONS or column.size not in (None, size):
        expected = f"{column.size:,}" if column.size else f"1 to {MAX_DIMENSIONS:,}"
        raise InvalidVector(
            f"column {column.name!r} ({column.type}): expected {expected} dimensions, "
            f"got an array of the shape {values.shape}"
        )
    width = size * int(dtype[1])
    head = [(f"{key} length", ">i4"), (f"{key} dimensions", ">i2"), (f"{key} unused", ">i2")]
    constants = {f"{key} length": width + 4, f"{key} dimensions": size, f"{key} unused": 0}
    return Fixed(values, [*head, (key, "u1", (width,))], constants, partial(_fill_vectors, column, key, dtype))


def _fill_vectors(column: Column, key: str, dtype: str, rows: Any, chunk: Any, first: int) -> None:
    """Turn and convert into memory that is aligned, then copy: half the time of doing it where the message lies."""
    numpy = sys.modules["numpy"]
    with numpy.errstate(all="ignore"):
        numbers = chunk.astype(f">{dtype}", order="C")
    finite = numpy.isfinite(chunk if chunk.dtype.str == f"<{dtype}" else numbers)
    if not finite.all():
        place = int(finite.all(axis=1).argmin())
        _refuse(column, chunk[place], first + place)
    rows[key] = numbers.view("u1")


def _refuse(column: Column, row: Any, number: int) -> None:
    """Raise what the value type says of this row."""
    try:
        value_of(column.vector or "", column.size)(row)
    except InvalidVector as error:
        raise column.refusal(number, row, error) from error


def _uuids(column: Column, values: Any, key: str) -> Fixed | None:
    if column.oid != _UUID or values.dtype.str != "|u1" or values.shape[1] != 16:
        return None
    parts, constants = _field(key, ("u1", (16,)), 16)
    return Fixed(values, parts, constants, partial(_fill_plain, key))


def _fill_plain(key: str, rows: Any, chunk: Any, first: int) -> None:
    rows[key] = chunk


def _moments(column: Column, values: Any, key: str) -> Fixed | None:
    """datetime64 as date or timestamp (UTC), timedelta64 as interval; all in one pass over the array for NaT."""
    kind = values.dtype.kind
    if kind not in "mM" or sys.modules["numpy"].isnat(values).any():
        return None
    if kind == "m" and column.oid == _INTERVAL:
        head, constants = _field(key, (">i8",), 16)
        parts = [*head, (f"{key} days", ">i4"), (f"{key} months", ">i4")]
        return Fixed(values, parts, constants | {f"{key} months": 0}, partial(_fill_intervals, key))
    if kind == "M" and column.oid == _DATE:
        parts, constants = _field(key, (">i4",), 4)
        return Fixed(values, parts, constants, partial(_fill_since_2000, key, "D"))
    if kind == "M" and column.oid in _TIMESTAMPS:
        parts, constants = _field(key, (">i8",), 8)
        return Fixed(values, parts, constants, partial(_fill_since_2000, key, "us"))
    return None


def _fill_since_2000(key: str, unit: str, rows: Any, chunk: Any, first: int) -> None:
    epoch = sys.modules["numpy"].datetime64("2000-01-01", unit)
    rows[key] = (chunk.astype(f"M8[{unit}]") - epoch).astype("i8")


def _fill_intervals(key: str, rows: Any, chunk: Any, first: int) -> None:
    """Days and the rest of the day, as a timedelta has them."""
    microseconds = chunk.astype("m8[us]").astype("i8")
    rows[f"{key} days"] = microseconds // _DAY
    rows[key] = microseconds % _DAY
