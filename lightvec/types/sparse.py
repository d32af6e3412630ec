"""``SparseVector``, pgvector's ``sparsevec``: only the numbers that are not zero."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, islice
from operator import index as as_int
from operator import lt
from struct import Struct
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from lightvec.errors import InvalidVector, MissingExtra
from lightvec.types.floats import FLOAT32, big_endian, is_decimal, normalized, read_floats, shortest
from lightvec.types.inputs import (
    MAX_SPARSE_DIMENSIONS,
    MAX_SPARSE_NONZERO,
    SHORT,
    SHOWN,
    contents,
    is_instance,
    pgvector_name,
    require_numpy,
    require_size,
    show,
    show_bytes,
    show_number,
)
from lightvec.types.value import Value, assign, malformed_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

_HEADER = Struct(">iii")
_TEXT = r"\s*\{([^{}]*)\}\s*/\s*([+-]?[0-9]{1,10})\s*"


class SparseVector(Value[float]):
    """A float32 vector of 1 to 1,000,000,000 dimensions that keeps the numbers that are not zero.

    At most 16,000 of them are kept. It is made from a dict of index (from 0) to number together with
    the dimensions, from a SciPy sparse array or matrix of one row (duplicate entries are added), or from
    whatever :class:`lightvec.Vector` takes. It is immutable, hashable, picklable and a
    ``Sequence[float]`` of all its dimensions, zeros included.

    Raises :class:`lightvec.errors.InvalidVector` for anything else, for NaN, infinity and numbers beyond
    float32. The formats are those of pgvector's ``src/sparsevec.c``; indices count from 1 in text only.

    >>> v = SparseVector({0: 1.5, 2: 2}, 6)
    >>> v
    SparseVector({0: 1.5, 2: 2.0}, 6)
    >>> v.to_text(), v.indices(), v.values()
    ('{1:1.5,3:2}/6', [0, 2], [1.5, 2.0])
    >>> v == SparseVector([1.5, 0, 2, 0, 0, 0]), v == [1.5, 0, 2, 0, 0, 0], v[2], v[-1]
    (True, True, 2.0, 0.0)
    """

    __slots__ = ("_dimensions", "_indices", "_values")

    _example = "'{1:1.5,3:2}/6'"
    _dimensions: int
    _indices: array[int]
    _values: array[float]

    @overload
    def __new__(cls, value: Mapping[int, SupportsFloat], dimensions: int) -> Self: ...
    @overload
    def __new__(cls, value: Any) -> Self: ...
    def __new__(cls, value: Any, dimensions: int | None = None) -> Self:
        who = cls.__name__
        is_scipy = is_instance(value, "scipy.sparse", "sparray", "spmatrix")
        if is_scipy and dimensions is None:
            return cls._of_scipy(value)
        if isinstance(value, Mapping) and not is_scipy:  # SciPy's dok_array is a dict
            size = _integer(dimensions, f"{who} expected the dimensions as an int after the dict")
            indices = [_integer(key, f"{who} expected indices that are ints (from 0)") for key in value]
            return cls._of_parts(size, indices, list(value.values()), who)
        if dimensions is not None:
            raise InvalidVector(
                f"{who} takes dimensions with a dict only and got {show(dimensions)} with {show(value)}."
            )
        if type(value) is cls:
            return value
        if pgvector_name(value) == "SparseVector":
            return cls._of_parts(value.dimensions(), value.indices(), value.values(), who)
        numbers = FLOAT32.collect(value, MAX_SPARSE_DIMENSIONS, who)
        indices = list(compress(range(len(numbers)), numbers))
        return cls._of(len(numbers), indices, list(filter(None, numbers)), who)

    @classmethod
    def _of(cls, dimensions: int, indices: Sequence[int], values: Sequence[float], who: str) -> Self:
        if len(indices) > MAX_SPARSE_NONZERO:
            raise InvalidVector(
                f"{who} expected at most {MAX_SPARSE_NONZERO:,} numbers other than 0 and got {len(indices):,}."
            )
        vector = object.__new__(cls)
        assign(vector, "_dimensions", dimensions)
        assign(vector, "_indices", array("i", indices))
        assign(vector, "_values", array("f", values))
        return vector

    @classmethod
    def _of_scipy(cls, value: Any) -> Self:
        who = cls.__name__
        if value.ndim > 2 or (value.ndim == 2 and value.shape[0] != 1):
            raise InvalidVector(f"{who} expected a sparse array of one row and got the shape {value.shape}.")
        entries = value.tocoo(copy=True)
        entries.sum_duplicates()
        # coords came with SciPy 1.13
        places = entries.coords[-1] if hasattr(entries, "coords") else entries.col
        if entries.dtype.kind not in "fiub":
            raise InvalidVector(f"{who} expected real numbers and got the dtype {entries.dtype}.")
        return cls._of_parts(value.shape[-1], places.tolist(), entries.data.tolist(), who)

    @classmethod
    def _of_parts(cls, dimensions: int, indices: list[int], items: list[Any], who: str, first: int = 0) -> Self:
        """Sort, drop zeros and check; the caller's indices count from ``first``."""
        require_size(dimensions, MAX_SPARSE_DIMENSIONS, who)
        values = FLOAT32.pack(items, who, indices)
        entries = zip(indices, values, strict=True)
        pairs = sorted((index - first, value) for index, value in entries if value)
        places = [place for place, _ in pairs]
        _require_ascending(places, dimensions, who, first)
        return cls._of(dimensions, places, [value for _, value in pairs], who)

    def __repr__(self) -> str:
        entries = dict(zip(self._indices, self._values, strict=True))
        if len(entries) <= SHORT:
            return f"{type(self).__name__}({entries}, {self._dimensions})"
        head = ", ".join(f"{index}: {value}" for index, value in islice(entries.items(), SHOWN))
        return f"{type(self).__name__}({{{head}, ...}}, {self._dimensions}, {len(entries):,} entries)"

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

    def _slice(self, places: slice) -> list[float]:
        return list(map(self._at, range(self._dimensions)[places]))

    def _at(self, place: int) -> float:
        found = bisect_left(self._indices, place)
        stored = found < len(self._indices) and self._indices[found] == place
        return self._values[found] if stored else 0.0

    def _key(self) -> tuple[Any, ...]:
        return self._dimensions, self._indices, self._values

    def __hash__(self) -> int:
        """A hash of the stored numbers; an equal tuple of all the numbers has another."""
        return hash((self._dimensions, *self._indices, *self._values))

    def indices(self) -> list[int]:
        """The indices, from 0 and ascending, of the numbers that are not zero."""
        return self._indices.tolist()

    def values(self) -> list[float]:
        """The numbers that are not zero, in the order of :meth:`indices`."""
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
        numpy = require_numpy("an array of a SparseVector")
        numbers: NDArray[np.float32] = numpy.zeros(self._dimensions, numpy.float32)
        numbers[numpy.asarray(self._indices)] = self._values
        return numbers

    def to_coo(self) -> Any:
        """A ``scipy.sparse.coo_array`` of float32 and the shape ``(1, dimensions)``.

        Raises :class:`lightvec.errors.MissingExtra` where SciPy or NumPy is not installed.
        """
        try:
            import numpy
            from scipy.sparse import coo_array
        except ImportError as error:
            purpose = "SparseVector.to_coo(), besides SciPy (pip install scipy),"
            raise MissingExtra("numpy", purpose) from error
        places = numpy.array(self._indices)
        entries = (numpy.array(self._values), (numpy.zeros_like(places), places))
        return coo_array(entries, shape=(1, self._dimensions))

    def to_text(self) -> str:
        """The text PostgreSQL prints, such as ``{1:1.5,3:2}/6``; indices count from 1."""
        entries = zip(self._indices, shortest(self._values), strict=True)
        texts = [f"{index + 1}:{number}" for index, number in entries]
        return f"{{{','.join(texts)}}}/{self._dimensions}"

    @classmethod
    def from_text(cls, value: str, /) -> Self:
        """Read what pgvector's ``sparsevec_in`` accepts: ``{1:1.5, 3:2}/6``, in any order.

        Raises :class:`lightvec.errors.InvalidVector` for anything else.
        """
        match = re.fullmatch(_TEXT, value, re.ASCII) if isinstance(value, str) else None
        if match is None or not is_decimal(match[1], b":"):
            raise malformed_text(cls, value)
        pairs = [entry.partition(":") for entry in match[1].split(",")] if match[1].strip() else []
        try:
            indices = [int(index) for index, _, _ in pairs]
        except ValueError:
            raise malformed_text(cls, value) from None
        numbers = read_floats([number for _, _, number in pairs], cls.__name__)
        return cls._of_parts(int(match[2]), indices, numbers, f"{cls.__name__}.from_text", first=1)

    def to_binary(self) -> bytes:
        """pgvector's ``sparsevec_send``, big-endian.

        int32 dimensions, int32 count, int32 0, the indices as int32 from 0, the numbers as float32.
        """
        header = _HEADER.pack(self._dimensions, len(self._indices), 0)
        return header + big_endian(self._indices).tobytes() + FLOAT32.encode(self._values)

    @classmethod
    def from_binary(cls, value: bytes | bytearray | memoryview, /) -> Self:
        """Read what :meth:`to_binary` writes; :class:`lightvec.errors.InvalidVector` for the rest."""
        data, who = contents(value, cls.__name__), f"{cls.__name__}.from_binary"
        dimensions, count, zero = _HEADER.unpack_from(data) if len(data) >= 12 else (1, -1, 0)
        if zero or not 0 <= count <= MAX_SPARSE_NONZERO or len(data) != 12 + 8 * count:
            raise InvalidVector(
                f"{who} expected int32 dimensions, int32 count (at most {MAX_SPARSE_NONZERO:,}), "
                f"int32 0 and 8 bytes for each number, and got {show_bytes(data)}."
            )
        require_size(dimensions, MAX_SPARSE_DIMENSIONS, who)
        middle = 12 + 4 * count
        indices = big_endian(array("i", data[12:middle]))
        _require_ascending(indices, dimensions, who)
        values = FLOAT32.decode(data[middle:], cls.__name__)
        if not all(values):
            place = values.index(0.0)
            raise InvalidVector(f"{who} expected no zero among the numbers and got one at {place}.")
        return cls._of(dimensions, indices, values, who)

    def normalized(self) -> Self:
        """The vector of the same direction whose L2 norm is 1; an error for zeros, which have none."""
        who = type(self).__name__
        return self._of_parts(self._dimensions, self.indices(), normalized(self.values(), who), who)


def _integer(value: Any, expectation: str) -> int:
    try:
        return as_int(value)
    except TypeError:
        raise InvalidVector(f"{expectation} and got {show(value)}.") from None


def _require_ascending(places: Sequence[int], dimensions: int, who: str, first: int = 0) -> None:
    """Raise unless the places, counted from 0, ascend within the dimensions."""
    ascends = all(map(lt, places, places[1:]))
    if not places or (ascends and places[0] >= 0 and places[-1] < dimensions):
        return
    before = -1
    for place in places:
        if not before < place < dimensions:
            break
        before = place
    came = show_number(place + first) + (f" after {before + first:,}" if before >= 0 else "")
    last = dimensions - 1 + first
    raise InvalidVector(f"{who} expected ascending indices, each once, from {first} to {last:,}, and got {came}.")
