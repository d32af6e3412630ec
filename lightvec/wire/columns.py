"""The columns of a result as they grow: arrays while every value fits, lists from the first that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types.inputs import MAX_DIMENSIONS
from lightvec.wire.datatypes import BY_OID, DENSE
from lightvec.wire.errors import DataError
from lightvec.wire.protocol import BINARY, ColumnDescription
from lightvec.wire.results import Decoder

__all__ = ["ArrayColumn", "ListColumn", "array_column"]

#: Before the numbers of a dense vector: dimensions, and a field that is zero.
_HEADER = 4


def array_column(
    numpy: Any, column: ColumnDescription, vector_type: str | None, decoder: Callable[[int, int], Decoder]
) -> ArrayColumn | None:
    """An array for a column, if its type is one for arrays."""
    name, oid = column.name, column.type_oid
    if vector_type is not None and vector_type in DENSE:
        return ArrayColumn(numpy, name, numpy.dtype(DENSE[vector_type]), _HEADER, decoder(oid, BINARY))
    if oid not in BY_OID or not BY_OID[oid].dtype:
        return None
    number = numpy.dtype(BY_OID[oid].dtype)
    return ArrayColumn(numpy, name, number, 0, lambda data: _number(numpy, number, data))


def _number(numpy: Any, number: Any, data: bytes) -> Any:
    if len(data) != number.itemsize:
        raise DataError(f"expected a number of {number.itemsize} bytes, got {len(data):,}")
    if number.kind == "b" and data > b"\1":
        raise _no_flag()
    return numpy.frombuffer(data, number)[0].item()


def _no_flag() -> DataError:
    return DataError("expected a boolean of 0 or 1, got another byte")


class ListColumn:
    """A column of values that are decoded one by one."""

    header = 0

    def __init__(self, name: str, decode: Decoder, value_format: int) -> None:
        self.name = name
        self.format = value_format
        self._decode = decode
        self._list: list[Any] = []

    def value_format(self, value: memoryview) -> Any:
        """How NumPy sees the values of a run that begins with this one; None: it does not."""
        return None

    def add(self, data: bytes | None) -> None:
        """Take in one value."""
        self._list.append(None if data is None else self._decode(data))

    def values(self) -> Any:
        """All of them."""
        return self._list


class ArrayColumn(ListColumn):
    """A column of numbers, or of vectors of the same dimensions.

    A NULL, or a vector of other dimensions, has no place in an array: from then on it is a list.
    """

    def __init__(self, numpy: Any, name: str, number: Any, header: int, decode: Decoder) -> None:
        super().__init__(name, decode, BINARY)
        self.header = header
        self._numpy = numpy
        self._number = number
        self._shape: tuple[int, ...] | None = None if header else ()
        self._array: Any = numpy.empty((0, 0) if header else 0, number.newbyteorder("="))
        self._count = 0
        self._is_list = False

    def value_format(self, value: memoryview) -> Any:
        """As in ListColumn; None also for what is malformed, which :meth:`add` refuses."""
        if self._is_list:
            return None
        if not self.header:
            return self._number if len(value) == self._number.itemsize else None
        count, rest = divmod(len(value) - self.header, self._number.itemsize)
        if rest or not 1 <= count <= MAX_DIMENSIONS:
            return None
        if bytes(value[: self.header]) != count.to_bytes(2, "big") + bytes(2):
            return None
        return self._number, (count,)  # As text it is parsed anew for each run: a tenth of the time.

    def add(self, data: bytes | None) -> None:
        if data is not None and self.value_format(memoryview(data)) is not None:
            numbers = self._numpy.frombuffer(data, self._number, offset=self.header)
            self.extend(numbers.reshape(1, -1) if self.header else numbers)
        else:
            self._become_list()
            super().add(data)

    def extend(self, values: Any) -> None:
        """Take in the values of a run as NumPy sees them."""
        if self._number.kind == "b" and (values.view("u1") > 1).any():
            raise _no_flag()
        if self._shape is None:
            self._shape = values.shape[1:]
        if values.shape[1:] != self._shape:
            self._become_list()
            self._list += map(self._own, values)
            return
        self._make_room(len(values))
        self._array[self._count : self._count + len(values)] = values
        self._count += len(values)

    def values(self) -> Any:
        """The array, or the list."""
        if self._is_list:
            return self._list
        array = self._array[: self._count]
        if self.header and not self._numpy.isfinite(array).all():
            raise InvalidVector(f"the column {self.name!r} expected finite numbers and got NaN or infinity")
        return array

    def _make_room(self, more: int) -> None:
        if self._count + more > len(self._array):
            shape = (max(2 * len(self._array), self._count + more), *(self._shape or ()))
            larger = self._numpy.empty(shape, self._array.dtype)
            if self._count:
                larger[: self._count] = self._array[: self._count]
            self._array = larger

    def _become_list(self) -> None:
        if not self._is_list:
            self._is_list = True
            self._list = [self._own(value) for value in self._array[: self._count]]

    def _own(self, value: Any) -> Any:
        """A value of the array as it would be in a row."""
        if not self.header:
            return value.item()
        return self._decode(len(value).to_bytes(2, "big") + bytes(2) + value.astype(self._number).tobytes())
