"""``SparseVector``, pgvector's ``sparsevec``: only the numbers that are not zero."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from lightvec.errors import InvalidVector, MissingExtra
from lightvec.types._decimal import shortest
from lightvec.types._dense import scaled_to_one
from lightvec.types._floats import FLOAT32
from lightvec.types._inputs import contents, is_scipy_sparse, new_array, require_numpy
from lightvec.types._limits import MAX_SPARSE_DIMENSIONS, require_size
from lightvec.types._messages import show
from lightvec.types._sparse import (
    HEADER,
    integer,
    read_header,
    read_text,
    require_count,
    require_places,
    swapped,
)
from lightvec.types._value import Value, assign

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Self


class SparseVector(Value, Sequence[float]):
    """A float32 vector of 1 to 1,000,000,000 dimensions that keeps the numbers that are not zero.

    At most 16,000 of them are kept.

    It is made from a dict of index (from 0) to number together with the dimensions, or from one value that
    has all dimensions: a list, a tuple, an ``array.array``, another iterable of numbers, a one-dimensional
    NumPy array, a SciPy sparse array or matrix of one row (or one dimension; duplicate entries are added),
    or another vector. Numbers that are zero in float32 are dropped. It is immutable, hashable, picklable
    and a ``Sequence[float]`` of all its dimensions, zeros included.

    Raises :class:`lightvec.errors.InvalidVector` for anything else, for NaN, infinity and numbers beyond
    float32. The binary and text formats are those of ``src/sparsevec.c`` in pgvector; indices count from 1
    in the text only.

    >>> v = SparseVector({0: 1.5, 2: 2}, 6)
    >>> v
    SparseVector({0: 1.5, 2: 2.0}, 6)
    >>> v.to_text(), v.indices(), v.values()
    ('{1:1.5,3:2}/6', [0, 2], [1.5, 2.0])
    >>> v == SparseVector([1.5, 0, 2, 0, 0, 0]), v == [1.5, 0, 2, 0, 0, 0], v[2], v[-1]
    (True, True, 2.0, 0.0)
    """

    __slots__ = ("_dimensions", "_indices", "_values")

    _dimensions: int
    _indices: array[int]
    _values: array[float]

    @overload
    def __new__(cls, value: Mapping[int, SupportsFloat], dimensions: int) -> Self: ...
    @overload
    def __new__(cls, value: Any) -> Self: ...
    def __new__(cls, value: Any, dimensions: int | None = None) -> Self:
        if isinstance(value, Mapping) and not is_scipy_sparse(value):  # SciPy's dok_array is a dict
            return cls._of_dict(value, dimensions)
        if dimensions is not None:
            came = f"{show(dimensions)} with {show(value)}"
            raise InvalidVector(f"{cls.__name__} takes dimensions with a dict only and got {came}.")
        if type(value) is cls:
            return value
        if is_scipy_sparse(value):
            return cls._of_scipy(value)
        return cls._of_dense(FLOAT32.collect(value, MAX_SPARSE_DIMENSIONS, cls.__name__))

    @classmethod
    def _of(cls, dimensions: int, indices: array[int], values: array[float]) -> Self:
        vector = object.__new__(cls)
        assign(vector, "_dimensions", dimensions)
        assign(vector, "_indices", indices)
        assign(vector, "_values", values)
        return vector

    @classmethod
    def _of_dict(cls, value: Mapping[Any, Any], dimensions: Any) -> Self:
        who = cls.__name__
        size = integer(dimensions, f"{who} expected the dimensions as an int after the dict")
        indices = [integer(key, f"{who} expected indices that are ints (from 0)") for key in value]
        return cls._of_parts(size, indices, list(value.values()), who)

    @classmethod
    def _of_dense(cls, numbers: array[float]) -> Self:
        indices = list(compress(range(len(numbers)), numbers))
        require_count(len(indices), cls.__name__)
        return cls._of(len(numbers), array("i", indices), array("f", filter(None, numbers)))

    @classmethod
    def _of_scipy(cls, value: Any) -> Self:
        if value.ndim > 2 or (value.ndim == 2 and value.shape[0] != 1):
            raise InvalidVector(f"{cls.__name__} expected a sparse array of one row and got the shape {value.shape}.")
        entries = value.tocoo(copy=True)
        entries.sum_duplicates()
        places = entries.coords[-1] if hasattr(entries, "coords") else entries.col  # coords came with SciPy 1.13
        if entries.dtype.kind not in "fiub":
            raise InvalidVector(f"{cls.__name__} expected real numbers and got the dtype {entries.dtype}.")
        return cls._of_parts(value.shape[-1], places.tolist(), entries.data.tolist(), cls.__name__)

    @classmethod
    def _of_parts(cls, dimensions: int, indices: list[int], items: list[Any], who: str, first: int = 0) -> Self:
        """Sort, drop zeros and check; ``first`` is what the caller's indices count from."""
        require_size(dimensions, MAX_SPARSE_DIMENSIONS, who)
        values = FLOAT32.pack(items, who, indices)
        pairs = sorted((index - first, value) for index, value in zip(indices, values, strict=True) if value)
        require_count(len(pairs), who)
        places = [place for place, _ in pairs]
        require_places(places, dimensions, who, first)
        return cls._of(dimensions, array("i", places), array("f", [value for _, value in pairs]))

    def __repr__(self) -> str:
        entries = dict(zip(self._indices, self._values, strict=True))
        return f"{type(self).__name__}({entries}, {self._dimensions})"

    def __len__(self) -> int:
        return self._dimensions

    def __iter__(self) -> Iterator[float]:
        passed = 0
        for index, value in zip(self._indices, self._values, strict=True):
            yield from (0.0 for _ in range(passed, index))
            yield value
            passed = index + 1
        yield from (0.0 for _ in range(passed, self._dimensions))

    def __contains__(self, value: object) -> bool:
        return value in self._values or (value == 0 and len(self._values) < self._dimensions)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        """One number, or for a slice a plain list with its zeros."""
        if isinstance(index, slice):
            return [self._at(place) for place in range(self._dimensions)[index]]
        return self._at(range(self._dimensions)[index])

    def _at(self, place: int) -> float:
        found = bisect_left(self._indices, place)
        stored = found < len(self._indices) and self._indices[found] == place
        return self._values[found] if stored else 0.0

    def __eq__(self, other: object) -> bool:
        """Equal to a SparseVector of the same dimensions and numbers, or a list or tuple of all of them.

        The numbers of a list are rounded to float32 first. A NumPy array compares item by item, by NumPy's
        own rule.
        """
        if isinstance(other, SparseVector):
            return self._parts() == other._parts()
        if isinstance(other, list | tuple):
            return len(other) == self._dimensions and self._equals_items(other)
        return NotImplemented

    def _equals_items(self, items: Sequence[Any]) -> bool:
        try:
            return self == SparseVector(items)
        except InvalidVector:
            return False

    def __hash__(self) -> int:
        """A hash of the stored numbers; a tuple of all the numbers can be equal and hashes otherwise."""
        return hash((self._dimensions, *self._indices, *self._values))

    def _parts(self) -> tuple[int, array[int], array[float]]:
        return self._dimensions, self._indices, self._values

    def dimensions(self) -> int:
        """How many numbers there are, zeros included; the same as ``len``."""
        return self._dimensions

    def indices(self) -> list[int]:
        """A new list of the indices, from 0 and ascending, of the numbers that are not zero."""
        return self._indices.tolist()

    def values(self) -> list[float]:
        """A new list of the numbers that are not zero, in the order of :meth:`indices`."""
        return self._values.tolist()

    def to_list(self) -> list[float]:
        """A new list of all the numbers, zeros included: 8 bytes a dimension."""
        numbers = [0.0] * self._dimensions
        for index, value in zip(self._indices, self._values, strict=True):
            numbers[index] = value
        return numbers

    def to_numpy(self) -> NDArray[np.float32]:
        """A new, dense float32 array of the shape ``(dimensions,)``: 4 bytes a dimension.

        Raises :class:`lightvec.errors.MissingExtra` where NumPy is not installed.
        """
        numpy = require_numpy(f"{type(self).__name__}.to_numpy()")
        numbers: NDArray[np.float32] = numpy.zeros(self._dimensions, numpy.float32)
        numbers[numpy.asarray(self._indices)] = self._values
        return numbers

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """NumPy's protocol; the array is dense and new, so ``copy=False`` raises ``ValueError``."""
        made: NDArray[Any] = new_array(self.to_numpy(), dtype, copy, type(self).__name__)
        return made

    def to_coo(self) -> Any:
        """A ``scipy.sparse.coo_array`` of float32 and the shape ``(1, dimensions)``.

        Raises :class:`lightvec.errors.MissingExtra` where SciPy or NumPy is not installed.
        """
        try:
            import numpy
            from scipy.sparse import coo_array
        except ImportError as error:
            raise MissingExtra("numpy", "SparseVector.to_coo(), besides SciPy (pip install scipy),") from error
        values = numpy.array(self._values)
        places = numpy.array(self._indices)
        return coo_array((values, (numpy.zeros_like(places), places)), shape=(1, self._dimensions))

    def to_text(self) -> str:
        """The text PostgreSQL prints, such as ``{1:1.5,3:2}/6``.

        Indices count from 1; the numbers are those of ``Vector.to_text``.
        """
        entries = zip(self._indices, shortest(self._values), strict=True) if self._indices else ()
        return f"{{{','.join([f'{index + 1}:{number}' for index, number in entries])}}}/{self._dimensions}"

    @classmethod
    def from_text(cls, value: str, /) -> Self:
        """Read what PostgreSQL prints and accepts, by pgvector's ``sparsevec_in``: ``{1:1.5, 3:2}/6``.

        The indices may come in any order. White space may stand between the parts. Raises
        :class:`lightvec.errors.InvalidVector` for anything else, and for an index that comes twice or is
        out of range.
        """
        dimensions, indices, numbers = read_text(value, cls.__name__)
        return cls._of_parts(dimensions, indices, numbers, f"{cls.__name__}.from_text", first=1)

    def to_binary(self) -> bytes:
        """The bytes of pgvector's ``sparsevec_send``, big-endian.

        int32 dimensions, int32 count, int32 0, the indices as int32 from 0, the numbers as float32.
        """
        header = HEADER.pack(self._dimensions, len(self._indices), 0)
        return header + swapped(self._indices).tobytes() + FLOAT32.encode(self._values)

    @classmethod
    def from_binary(cls, value: bytes | bytearray | memoryview, /) -> Self:
        """Read the bytes that :meth:`to_binary` writes, by the rules of ``sparsevec_recv``.

        Raises :class:`lightvec.errors.InvalidVector` for any other header or length, for indices that do
        not ascend within the dimensions, and for numbers that are zero, NaN or infinite.
        """
        data, who = contents(value, cls.__name__), f"{cls.__name__}.from_binary"
        dimensions, count = read_header(data, who)
        middle = HEADER.size + 4 * count
        indices = swapped(array("i", data[HEADER.size : middle]))
        require_places(indices, dimensions, who)
        values = FLOAT32.decode(data[middle:], cls.__name__)
        if not all(values):
            raise InvalidVector(f"{who} expected no zero among the numbers and got one at {values.index(0.0)}.")
        return cls._of(dimensions, indices, values)

    def normalized(self) -> Self:
        """The vector of the same direction whose L2 norm is 1, computed in double precision.

        Raises :class:`lightvec.errors.InvalidVector` for a vector of zeros, which has no direction.
        """
        numbers = scaled_to_one(self.values(), type(self).__name__)
        return self._of_parts(self._dimensions, self.indices(), numbers, type(self).__name__)
