"""Columns of NumPy arrays whose binary fields all have one size: what a row of them looks like and what fills it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from lightvec.errors import InvalidVector
from lightvec.types.columns import value_reader
from lightvec.types.inputs import MAX_DIMENSIONS, is_ndarray
from lightvec.wire.copy.target import Column
from lightvec.wire.datatypes import BY_OID, DENSE, TYPES
from lightvec.wire.parameters import ATTOSECONDS

__all__ = ["Fixed", "fits", "fixed"]

#: By the kind of a column's numbers, the kinds of arrays that fit them.
_FITTING = {"b": "b", "i": "iu", "u": "iu", "f": "fiu"}
_DAY = 86_400_000_000

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


def _single(values: Any, key: str, part: Any, prepare: Callable[[Any, int], Any], shape: tuple[int, ...] = ()) -> Fixed:
    """A column with one part beside its length; ``prepare`` makes of values what is written there."""

    def fill(rows: Any, chunk: Any, first: int) -> None:
        rows[key] = prepare(chunk, first)

    size = sys.modules["numpy"].dtype((part, shape)).itemsize
    return Fixed(values, [(f"{key} length", ">i4"), (key, part, shape)], {f"{key} length": size}, fill)


def _numbers(column: Column, values: Any, key: str) -> Fixed | None:
    known, numpy = BY_OID.get(column.oid), sys.modules["numpy"]
    if known is None or not known.dtype:
        return None
    dtype = numpy.dtype(known.dtype)
    if values.dtype.kind not in _FITTING[dtype.kind]:
        return None
    if numpy.can_cast(values.dtype, dtype, "safe"):
        return _single(values, key, dtype, _as_it_is)
    misfits = _misfits(dtype)

    def checked(chunk: Any, first: int) -> Any:
        with numpy.errstate(all="ignore"):
            if (wrong := misfits(chunk)).any():
                place = int(wrong.argmax())
                raise column.refusal(first + place, chunk[place].item(), OverflowError())
            return chunk.astype(dtype)

    return _single(values, key, dtype, checked)


def _as_it_is(chunk: Any, first: int) -> Any:
    return chunk


def _misfits(dtype: Any) -> Callable[[Any], Any]:
    """What tells which numbers of an array do not fit a dtype."""
    numpy = sys.modules["numpy"]
    if dtype.kind == "f":
        return lambda chunk: ~numpy.isfinite(chunk.astype(dtype)) & numpy.isfinite(chunk)
    limits = numpy.iinfo(dtype)
    return lambda chunk: (chunk < limits.min) | (chunk > limits.max)


def _vectors(column: Column, values: Any, key: str) -> Fixed | None:
    dtype, size = DENSE.get(column.vector or ""), values.shape[1]
    if dtype is None or values.dtype.kind not in "fiu":
        return None
    if not 1 <= size <= MAX_DIMENSIONS or column.size not in (None, size):
        expected = f"{column.size:,}" if column.size else f"1 to {MAX_DIMENSIONS:,}"
        raise InvalidVector(
            f"column {column.name!r} ({column.type}): expected {expected} dimensions, "
            f"got an array of the shape {values.shape}"
        )
    width = size * int(dtype[-1])
    head = [(f"{key} length", ">i4"), (f"{key} dimensions", ">i2"), (f"{key} unused", ">i2")]
    constants = {f"{key} length": width + 4, f"{key} dimensions": size, f"{key} unused": 0}
    return Fixed(values, [*head, (key, "u1", (width,))], constants, partial(_fill_vectors, column, key, dtype))


def _fill_vectors(column: Column, key: str, dtype: str, rows: Any, chunk: Any, first: int) -> None:
    """Turn and convert into memory that is aligned, then copy: half the time of doing it where the message lies."""
    numpy = sys.modules["numpy"]
    with numpy.errstate(all="ignore"):
        numbers = chunk.astype(dtype, order="C")
    finite = numpy.isfinite(chunk if chunk.dtype == dtype.replace(">", "<") else numbers)
    if not finite.all():
        place = int(finite.all(axis=1).argmin())
        _refuse(column, chunk[place], first + place)
    rows[key] = numbers.view("u1")


def _refuse(column: Column, row: Any, number: int) -> None:
    """Raise what the value type says of this row."""
    try:
        value_reader(column.vector or "", column.size)(row)
    except InvalidVector as error:
        raise column.refusal(number, row, error) from error


def _uuids(column: Column, values: Any, key: str) -> Fixed | None:
    if column.oid != TYPES["uuid"].oid or values.dtype.str != "|u1" or values.shape[1] != 16:
        return None
    return _single(values, key, "u1", _as_it_is, (16,))


def _moments(column: Column, values: Any, key: str) -> Fixed | None:
    """datetime64 as date or timestamp (UTC), timedelta64 as interval; passes over the array for NaT and overflow."""
    kind, numpy = values.dtype.kind, sys.modules["numpy"]
    if kind not in "mM" or column.oid not in BY_OID or numpy.isnat(values).any() or not fits(values):
        return None
    name = BY_OID[column.oid].name
    if kind == "m":
        return _single(values, key, _SPAN, _spans) if name == "interval" else None
    if name not in _SINCE_2000:
        return None
    unit, part = _SINCE_2000[name]
    epoch = numpy.datetime64("2000-01-01", unit)
    return _single(values, key, part, lambda chunk, first: (chunk.astype(f"M8[{unit}]") - epoch).astype("i8"))


#: Microseconds that are left of an int64 when the epoch of PostgreSQL and a fraction are taken off.
_MOST = 2**63 - 10**18


def fits(values: Any) -> bool:
    """Whether every moment of an array can be cast to microseconds, NaT aside.

    NumPy casts what does not fit to another moment, or to NaT, without an error.
    """
    numpy = sys.modules["numpy"]
    unit, count = numpy.datetime_data(values.dtype)
    if unit in ATTOSECONDS:
        most = min(_MOST * 10**12 // (ATTOSECONDS[unit] * count), _MOST)
    elif unit in ("Y", "M") and values.dtype.kind == "M":
        most = 260_000 // count
    else:
        return False
    numbers = values[~numpy.isnat(values)].astype("i8")
    return not len(numbers) or bool(-most <= numbers.min() and numbers.max() <= most)


_SINCE_2000 = {"date": ("D", ">i4"), "timestamp": ("us", ">i8"), "timestamptz": ("us", ">i8")}
_SPAN = [("rest", ">i8"), ("days", ">i4"), ("months", ">i4")]


def _spans(chunk: Any, first: int) -> Any:
    """Days and the rest of the day, as a timedelta has them."""
    microseconds = chunk.astype("m8[us]").astype("i8")
    spans = sys.modules["numpy"].zeros(len(chunk), _SPAN)
    spans["days"], spans["rest"] = microseconds // _DAY, microseconds % _DAY
    return spans
