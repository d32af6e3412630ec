"""The binary fields of vectors, bits and arrays, whose encoders depend on the column they go into."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import lru_cache, partial
from struct import Struct, error
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.pg8000.copying.scalars import Encoder, Encoding
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.arrays import array_to_binary, field
from lightvec.types.columns import VECTOR_TYPES, driver_value

__all__ = ["VALUES", "array_encoding", "value_of", "vector_encoding"]

VectorLike = Vector | HalfVector | SparseVector | Bit

#: The classes of pgvector's and PostgreSQL's vector types, by the types' names.
VALUES: dict[str, type[VectorLike]] = {
    **VECTOR_TYPES,
    "bit": Bit,
    "varbit": Bit,
}

#: struct's letter for a number of a dense type, NumPy's dtype of the same, and the high bytes that NaN and infinity
#: have. Looking for those bytes takes 0.1 µs for 768 numbers; math.isfinite on each takes 30.
_DENSE = {
    "vector": ("f", "<f4", b"\x7f\xff"),
    "halfvec": ("e", "<f2", bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)),
}
_PLAIN = frozenset([list, tuple, array])
_MAX_DIMENSIONS = 16_000


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
    of_dict = isinstance(value, dict) and kind is SparseVector
    made: VectorLike = kind(value, size) if of_dict else driver_value(kind, value)  # without a size it says so
    if size is not None and made.dimensions() != size:
        unit = "bits" if kind is Bit else "dimensions"
        raise InvalidVector(f"expected {size:,} {unit} and got {made.dimensions():,}.")
    return made


def _whole(value_of: Callable[[Any], VectorLike], value: Any) -> bytes:
    return field(value_of(value).to_binary())


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
    """The encoding of arrays of one type, nested ones too."""
    return Encoding(partial(_array, element.encode, oid, of_vectors), f"a list of {element.expects}")


def _array(encode: Encoder, oid: int, of_vectors: bool, value: Any) -> bytes:
    return field(array_to_binary(value, encode, oid, of_vectors=of_vectors))
