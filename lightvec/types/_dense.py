"""What :class:`Vector` and :class:`HalfVector` share: everything but the format of one number."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, Generic, SupportsFloat, SupportsIndex, TypeVar, overload

from lightvec.errors import InvalidVector
from lightvec.types._decimal import exact, is_decimal, malformed, read_floats, shortest, strip
from lightvec.types._floats import FloatFormat
from lightvec.types._inputs import contents, require_numpy
from lightvec.types._limits import MAX_DIMENSIONS, require_size
from lightvec.types._messages import show_bytes
from lightvec.types._value import Value, assign

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Self

_HEADER = Struct(">hh")
_EXAMPLE = "'[1.5,2,3]'"

Scalar = TypeVar("Scalar", bound="np.generic")


class DenseVector(Value, Sequence[float], Generic[Scalar]):
    """An immutable sequence of 1 to 16,000 finite numbers of one precision."""

    __slots__ = ("_numbers",)

    _format: ClassVar[FloatFormat]
    _numbers: array[Any]

    def __new__(cls, value: Iterable[SupportsFloat | SupportsIndex], /) -> Self:
        if type(value) is cls:
            return value
        return cls._of(cls._format.collect(value, MAX_DIMENSIONS, cls.__name__))

    @classmethod
    def _of(cls, numbers: array[Any]) -> Self:
        vector = object.__new__(cls)
        assign(vector, "_numbers", numbers)
        return vector

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_list()})"

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[float]:
        return iter(self.to_list())

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        """One number, or for a slice a plain list (which, unlike a vector, may be empty)."""
        if isinstance(index, slice):
            return self._format.unpack(self._numbers[index])
        return self._format.unpack(array(self._format.code, [self._numbers[index]]))[0]

    def __eq__(self, other: object) -> bool:
        """Equal numbers: of a vector of the same class, or of a list or tuple once rounded to this precision.

        A NumPy array compares item by item, by NumPy's own rule.
        """
        if isinstance(other, DenseVector):
            return self._format is other._format and self.to_list() == other.to_list()
        if isinstance(other, list | tuple):
            return len(other) == len(self) and self._equals_items(other)
        return NotImplemented

    def _equals_items(self, items: Sequence[Any]) -> bool:
        try:
            return self.to_list() == self._format.unpack(self._format.pack(items, type(self).__name__))
        except InvalidVector:
            return False

    def __hash__(self) -> int:
        """The hash of ``tuple(v)``.

        A tuple whose numbers are not exact in this precision, such as ``(0.1,)``, can be equal and hash
        otherwise.
        """
        return hash(tuple(self.to_list()))

    def dimensions(self) -> int:
        """How many numbers there are; the same as ``len``."""
        return len(self._numbers)

    def to_list(self) -> list[float]:
        """A new list of Python floats."""
        return self._format.unpack(self._numbers)

    def to_numpy(self) -> NDArray[Scalar]:
        """A new, writable array of the shape ``(dimensions,)``: float32 of a Vector, float16 of a HalfVector.

        ``numpy.asarray(v)`` gives the same numbers without a copy, read-only.
        Raises :class:`lightvec.errors.MissingExtra` where NumPy is not installed.
        """
        require_numpy(f"{type(self).__name__}.to_numpy()")
        return self.__array__(copy=True)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """NumPy's protocol: a read-only view of the numbers; a copy for another dtype or ``copy=True``.

        Raises ``ValueError`` for ``copy=False`` with another dtype, as NumPy's own arrays do.
        """
        numpy = require_numpy(f"{type(self).__name__}.__array__()")
        # Through a read-only memoryview, because a view of the array itself could be made writable again.
        view: NDArray[Any] = numpy.frombuffer(memoryview(self._numbers).toreadonly(), self._format.dtype)
        if dtype is not None and numpy.dtype(dtype) != view.dtype:
            if copy is False:
                raise ValueError(f"{view.dtype} numbers cannot become {numpy.dtype(dtype)} without a copy")
            return view.astype(dtype)
        return view.copy() if copy else view

    def to_text(self) -> str:
        """The text PostgreSQL prints, such as ``[0.1,2,1e-05]``.

        Each number has the fewest digits that read back as the same float32.
        """
        return f"[{','.join(shortest(self.to_list()))}]"

    def wire_text(self) -> str:
        return f"[{exact(self.to_list(), self._format.digits)}]"

    @classmethod
    def from_text(cls, value: str, /) -> Self:
        """Read what PostgreSQL prints and accepts, by pgvector's ``vector_in``: ``[1, 2.5, 1e-5]``.

        White space may surround the brackets and the numbers. Raises :class:`lightvec.errors.InvalidVector`
        for anything else, for NaN and infinity, and for numbers that do not fit.
        """
        text = strip(value, cls.__name__, _EXAMPLE)
        if text[:1] != "[" or text[-1:] != "]" or not is_decimal(text[1:-1]):
            raise malformed(value, cls.__name__, _EXAMPLE)
        require_size(text.count(",") + 1, MAX_DIMENSIONS, f"{cls.__name__}.from_text")
        texts = text[1:-1].split(",")
        return cls._of(cls._format.pack(read_floats(texts, cls.__name__), f"{cls.__name__}.from_text"))

    def to_binary(self) -> bytes:
        """The bytes of pgvector's ``vector_send`` and ``halfvec_send``.

        Big-endian: int16 dimensions, int16 0, the numbers.
        """
        return _HEADER.pack(len(self._numbers), 0) + self._format.encode(self._numbers)

    @classmethod
    def from_binary(cls, value: bytes | bytearray | memoryview, /) -> Self:
        """Read the bytes that :meth:`to_binary` writes, by the rules of ``vector_recv`` and ``halfvec_recv``.

        Raises :class:`lightvec.errors.InvalidVector` for any other header or length, for NaN and for
        infinity.
        """
        data = contents(value, cls.__name__)
        size, zero = _HEADER.unpack_from(data) if len(data) >= 4 else (0, 0)
        if zero or not 1 <= size <= MAX_DIMENSIONS or len(data) != 4 + size * cls._format.size:
            raise cls._bad_binary(data, size, zero)
        return cls._of(cls._format.decode(data[4:], cls.__name__))

    @classmethod
    def _bad_binary(cls, data: bytes, size: int, zero: int) -> InvalidVector:
        who, came = f"{cls.__name__}.from_binary", show_bytes(data)
        if len(data) < 4:
            return InvalidVector(f"{who} expected a header of 4 bytes and got {came}.")
        if zero:
            return InvalidVector(f"{who} expected 0 in bytes 2 and 3 and got {zero} in {came}.")
        if not 1 <= size <= MAX_DIMENSIONS:
            return InvalidVector(f"{who} expected 1 to {MAX_DIMENSIONS:,} dimensions and got {size} in {came}.")
        length = 4 + size * cls._format.size
        return InvalidVector(f"{who} expected {length:,} bytes for {size:,} dimensions and got {came}.")

    def normalized(self) -> Self:
        """The vector of the same direction whose L2 norm is 1, computed in double precision.

        Raises :class:`lightvec.errors.InvalidVector` for a vector of zeros, which has no direction.
        """
        numbers = self.to_list()
        return self._of(self._format.pack(scaled_to_one(numbers, type(self).__name__), type(self).__name__))


def scaled_to_one(numbers: list[float], who: str) -> list[float]:
    """The numbers divided by their L2 norm."""
    norm = math.hypot(*numbers)
    if norm == 0:
        raise InvalidVector(f"{who}.normalized expected at least one number other than 0 and got only zeros.")
    return [number / norm for number in numbers]
