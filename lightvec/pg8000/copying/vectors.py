"""The binary fields of vectors, bits and arrays, whose encoders depend on the column they go into."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import lru_cache, partial
from numbers import Real
from struct import Struct, error
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.pg8000.copying.scalars import NULL, Encoder, Encoding
from lightvec.types import Bit, HalfVector, SparseVector, Vector

__all__ = ["VALUES", "array_encoding", "check_depth", "flattened", "listed", "nested", "value_of", "vector_encoding"]

VectorLike = Vector | HalfVector | SparseVector | Bit

#: The classes of pgvector's and PostgreSQL's vector types, by the types' names.
VALUES: dict[str, type[VectorLike]] = {
    "vector": Vector,
    "halfvec": HalfVector,
    "sparsevec": SparseVector,
    "bit": Bit,
    "varbit": Bit,
}

_int32 = Struct("!i").pack

#: struct's letter for a number of a dense type, NumPy's dtype of the same, and the high bytes that NaN and infinity
#: have. Looking for those bytes takes 0.1 µs for 768 numbers; math.isfinite on each takes 30.
_DENSE = {
    "vector": ("f", "<f4", b"\x7f\xff"),
    "halfvec": ("e", "<f2", bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)),
}
_PLAIN = frozenset([list, tuple, array])
_MAX_DIMENSIONS = 16_000
#: Of an array.
_MOST_DIMENSIONS = 6


def vector_encoding(name: str, size: int | None) -> Encoding:
    """The encoding of a column ``vector(size)``, ``halfvec(size)``, ``sparsevec(size)`` or ``bit(size)``."""
    value = value_of(name, size)
    encode: Encoder = partial(_whole, value)
    if name in _DENSE:
        encode = _dense(name, size, encode)
    return Encoding(encode, f"a {name}")


def value_of(name: str, size: int | None) -> Callable[[Any], VectorLike]:
    """What makes a vector of whatever a caller gives, and refuses one that does not fit the column."""
    return partial(_value, VALUES[name], size)


def _value(kind: Any, size: int | None, value: Any) -> VectorLike:
    made: VectorLike
    if isinstance(value, str) and kind is not Bit:
        made = kind.from_text(value)
    elif isinstance(value, dict) and kind is SparseVector:
        made = SparseVector(value, size)  # type: ignore[arg-type]  # it says what is missing
    else:
        made = kind(value)
    if size is not None and made.dimensions() != size:
        unit = "bits" if kind is Bit else "dimensions"
        raise InvalidVector(f"expected {size:,} {unit} and got {made.dimensions():,}.")
    return made


def _whole(value_of: Callable[[Any], VectorLike], value: Any) -> bytes:
    data = value_of(value).to_binary()
    return _int32(len(data)) + data


@lru_cache(64)
def _packer(letter: str, size: int) -> Callable[..., bytes]:
    """Packs length, header and numbers of a dense vector in one call.

    For a list of 768 floats that takes 3.5 µs; by way of ``array("f", numbers)`` and ``byteswap`` it takes 9.
    """
    layout = Struct(f"!ihh{size}{letter}")
    return partial(layout.pack, layout.size - 4, size, 0)


def _dense(name: str, size: int | None, careful: Encoder) -> Encoder:
    """The quick way for what comes as plain numbers or as an ndarray of the right dtype; the rest goes the careful way.

    Whatever is wrong with a value, the careful way finds it again and says it.
    """
    letter, dtype, suspects = _DENSE[name]
    width = Struct(f"!{letter}").size

    def encode(value: Any) -> bytes:
        if type(value) in _PLAIN:
            numbers = value
        elif type(value).__module__ == "numpy" and value.dtype.str == dtype and value.ndim == 1:
            return encode_array(value)
        else:
            return careful(value)
        count = len(numbers)
        if (count == size or size is None) and 0 < count <= _MAX_DIMENSIONS:
            try:
                field = _packer(letter, count)(*numbers)
            except (error, OverflowError, TypeError):
                return careful(value)
            if not _suspicious(field[8::width]):
                return field
        return careful(value)

    def encode_array(value: Any) -> bytes:
        count = len(value)
        data: bytes = value.byteswap().tobytes()
        if (count == size or size is None) and 0 < count <= _MAX_DIMENSIONS and not _suspicious(data[::width]):
            return Struct("!ihh").pack(4 + len(data), count, 0) + data
        return careful(value)

    def _suspicious(high: bytes) -> bool:
        for byte in suspects:  # noqa: SIM110  (any() with a generator takes three times as long)
            if byte in high:
                return True
        return False

    return encode


# Arrays


def array_encoding(element: Encoding, oid: int, *, of_vectors: bool) -> Encoding:
    """The encoding of arrays of one type, nested ones too: ``array_recv`` (src/backend/utils/adt/arrayfuncs.c).

    int32 dimensions, int32 whether there are NULLs, the element type's OID, for each dimension int32 size and int32
    lower bound, then a field an element.
    """
    return Encoding(partial(_array, element.encode, oid, of_vectors), f"a list of {element.expects}")


def _array(encode: Encoder, oid: int, of_vectors: bool, value: Any) -> bytes:
    sizes, items = flattened(value, of_vectors)
    fields = b"".join([NULL if item is None else encode(item) for item in items])
    bounds = [number for size in sizes for number in (size, 1)]
    has_null = any(item is None for item in items)
    head = Struct(f"!iiI{len(bounds)}i").pack(len(sizes), has_null, oid, *bounds)
    return _int32(len(head) + len(fields)) + head + fields


def flattened(value: Any, of_vectors: bool) -> tuple[list[int], list[Any]]:
    """The sizes of an array's dimensions and its elements in order; no sizes where there are no elements.

    >>> flattened([[1, 2, 3], [4, 5, 6]], False)
    ([2, 3], [1, 2, 3, 4, 5, 6])
    """
    value = listed(value, of_vectors)
    if not nested(value, of_vectors):
        raise TypeError
    sizes, items = [len(value)], list(value)
    while items and nested(items[0], of_vectors):
        check_depth(len(sizes) + 1)
        size = len(items[0])
        if not all(nested(item, of_vectors) and len(item) == size for item in items):
            raise ValueError("the lists inside an array are of equal length")
        sizes.append(size)
        items = [item for inner in items for item in inner]
    return (sizes, items) if items else ([], [])


def check_depth(dimensions: int) -> None:
    """Raise for an array of more dimensions than PostgreSQL has (``MAXDIM``); a list in itself would have endless."""
    if dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"an array has at most {_MOST_DIMENSIONS} dimensions")


def nested(value: Any, of_vectors: bool) -> bool:
    """Whether a value is a dimension of an array; in an array of vectors, a list of numbers is an element.

    >>> nested([1.5, 2], False), nested([1.5, 2], True), nested([[1.5, 2], None], True)
    (True, False, True)
    """
    if not isinstance(value, (list, tuple)):
        return False
    return not (of_vectors and value and isinstance(value[0], Real))


def listed(value: Any, of_vectors: bool) -> Any:
    """An ndarray or array.array as a list, its rows as they are where they are vectors."""
    if isinstance(value, (list, tuple)) or not hasattr(value, "tolist"):
        return value
    return list(value) if of_vectors and getattr(value, "ndim", 1) > 1 else value.tolist()
