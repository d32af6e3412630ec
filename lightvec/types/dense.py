"""``Vector`` and ``HalfVector``: pgvector's ``vector`` and ``halfvec``."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, Generic, SupportsFloat, SupportsIndex, TypeVar

from lightvec.errors import InvalidVector
from lightvec.types.floats import FLOAT16, FLOAT32, FloatFormat, is_decimal, normalized, read_floats, shortest
from lightvec.types.inputs import MAX_DIMENSIONS, contents, require_numpy, require_size, shortened, show_bytes
from lightvec.types.value import Value, assign, malformed_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Self

_HEADER = Struct(">hh")

Scalar = TypeVar("Scalar", bound="np.generic")


class DenseVector(Value[float], Generic[Scalar]):
    """What the two share: 1 to 16,000 finite numbers of one precision."""

    __slots__ = ("_numbers",)

    _format: ClassVar[FloatFormat]
    _example = "'[1.5,2,3]'"
    _json_schema = {"type": "array", "items": {"type": "number"}}  # noqa: RUF012
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
        short = shortened(self)
        return f"{type(self).__name__}({self.to_list()})" if short is self else repr(short)

    def __len__(self) -> int:
        return len(self._numbers)

    def _at(self, place: int) -> float:
        return self._format.unpack(self._numbers[place : place + 1])[0]

    def _key(self) -> tuple[Any, ...]:
        return self._format, self.to_list()

    def __hash__(self) -> int:
        """The hash of ``tuple(v)``; an equal tuple of inexact numbers, as ``(0.1,)``, has another."""
        return hash(tuple(self.to_list()))

    def to_list(self) -> list[float]:
        """A new list of Python floats."""
        return self._format.unpack(self._numbers)

    def to_numpy(self) -> NDArray[Scalar]:
        """A new array of float32, of a HalfVector float16; ``numpy.asarray(v)`` copies nothing.

        Raises :class:`lightvec.errors.MissingExtra` where NumPy is not installed.
        """
        return self.__array__(copy=True)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """NumPy's protocol: a read-only view; a copy for another dtype or ``copy=True``."""
        numpy = require_numpy(f"an array of a {type(self).__name__}")
        # A view of the array itself could be made writable again.
        numbers = memoryview(self._numbers).toreadonly()
        view: NDArray[Any] = numpy.frombuffer(numbers, self._format.dtype)
        if dtype is not None and numpy.dtype(dtype) != view.dtype:
            if copy is False:
                raise ValueError(f"{view.dtype} numbers cannot become {numpy.dtype(dtype)} without a copy")
            return view.astype(dtype)
        return view.copy() if copy else view

    def __arrow_array__(self, type: Any = None) -> Any:
        """PyArrow's protocol: the numbers without a copy; another type is cast."""
        import pyarrow

        stored = pyarrow.float16() if self._format.size == 2 else pyarrow.float32()
        numbers = pyarrow.py_buffer(memoryview(self._numbers).toreadonly())
        array = pyarrow.Array.from_buffers(stored, len(self), [None, numbers])
        return array if type is None else array.cast(type)

    def to_text(self) -> str:
        """The text PostgreSQL prints, such as ``[0.1,2,1e-05]``: as few digits as float32 needs."""
        return f"[{','.join(shortest(self.to_list()))}]"

    def wire_text(self) -> str:
        # A quarter of the time of to_text, which reads the numbers back.
        return f"[{(f'%.{self._format.digits}g,' * len(self))[:-1] % tuple(self.to_list())}]"

    @classmethod
    def from_text(cls, value: str, /) -> Self:
        """Read what pgvector's ``vector_in`` accepts: ``[1, 2.5, 1e-5]``, with any white space.

        Raises :class:`lightvec.errors.InvalidVector` for anything else.
        """
        text = value.strip(" \t\n\r\v\f") if isinstance(value, str) else ""
        if text[:1] != "[" or text[-1:] != "]" or not is_decimal(text[1:-1]):
            raise malformed_text(cls, value)
        require_size(text.count(",") + 1, MAX_DIMENSIONS, f"{cls.__name__}.from_text")
        numbers = read_floats(text[1:-1].split(","), cls.__name__)
        return cls._of(cls._format.pack(numbers, f"{cls.__name__}.from_text"))

    def to_binary(self) -> bytes:
        """pgvector's ``vector_send``, big-endian: int16 dimensions, int16 0, the numbers."""
        return _HEADER.pack(len(self._numbers), 0) + self._format.encode(self._numbers)

    @classmethod
    def from_binary(cls, value: bytes | bytearray | memoryview, /) -> Self:
        """Read what :meth:`to_binary` writes; :class:`lightvec.errors.InvalidVector` for the rest."""
        data = contents(value, cls.__name__)
        size, zero = _HEADER.unpack_from(data) if len(data) >= 4 else (0, 0)
        if zero or not 1 <= size <= MAX_DIMENSIONS or len(data) != 4 + size * cls._format.size:
            raise InvalidVector(
                f"{cls.__name__}.from_binary expected int16 dimensions (1 to {MAX_DIMENSIONS:,}), int16 0 and "
                f"{cls._format.size} bytes for each dimension, and got {show_bytes(data)}."
            )
        return cls._of(cls._format.decode(data[4:], cls.__name__))

    def normalized(self) -> Self:
        """The vector of the same direction whose L2 norm is 1, computed in double precision.

        Raises :class:`lightvec.errors.InvalidVector` for zeros, which have no direction.
        """
        who = type(self).__name__
        return self._of(self._format.pack(normalized(self.to_list(), who), who))

    def _json_value(self) -> Any:
        return self.to_list()


class Vector(DenseVector["np.float32"]):
    """A vector of 1 to 16,000 float32 numbers: immutable, hashable, picklable, a ``Sequence[float]``.

    ``value`` is a list, a tuple, an ``array.array``, another vector, anything of one dimension that
    NumPy can read (an ndarray, a pandas Series, a PyArrow array, a tensor), or any other iterable of
    numbers. Each number is rounded to float32.

    Raises :class:`lightvec.errors.InvalidVector` for what is empty or too long, for NaN, infinity and
    numbers beyond float32, and for anything else: text, bytes, sets, dicts, a DataFrame, a 2-D array.

    >>> v = Vector([1, 2.5, 3])
    >>> v
    Vector([1.0, 2.5, 3.0])
    >>> str(v)
    '[1,2.5,3]'
    >>> v == [1, 2.5, 3], v[0], v[1:]
    (True, 1.0, [2.5, 3.0])
    >>> Vector.from_binary(v.to_binary()) == v
    True
    >>> Vector([3, 4]).normalized()
    Vector([0.6000000238418579, 0.800000011920929])
    """

    __slots__ = ()

    _format = FLOAT32


class HalfVector(DenseVector["np.float16"]):
    """A vector of 1 to 16,000 float16 numbers: half the size of a :class:`Vector`, 3 significant digits.

    It takes and refuses what :class:`Vector` does. Numbers of 65,520 and more do not fit.

    >>> v = HalfVector([1, 2.5, 3])
    >>> v
    HalfVector([1.0, 2.5, 3.0])
    >>> v.to_binary().hex(" ", 2)
    '0003 0000 3c00 4100 4200'
    >>> HalfVector([0.1]) == [0.1]
    True
    """

    __slots__ = ()

    _format = FLOAT16
