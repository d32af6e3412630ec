"""Whatever a caller gives for a type, as the bytes of a field: the quick way where there is one.

Drivers send values one by one and do not keep them, so there need not be a vector in between.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from struct import Struct, error
from types import MappingProxyType
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types._floats import FLOAT16, FLOAT32, FloatFormat
from lightvec.types._limits import MAX_DIMENSIONS
from lightvec.types.arrays import field
from lightvec.types.bit import Bit
from lightvec.types.columns import VECTOR_TYPES, driver_value
from lightvec.types.halfvec import HalfVector
from lightvec.types.sparsevec import SparseVector
from lightvec.types.vector import Vector

__all__ = ["VALUES", "binary_encoder", "field_encoder", "value_of"]

VectorLike = Vector | HalfVector | SparseVector | Bit
Encoder = Callable[[Any], bytes]

#: The classes of pgvector's and PostgreSQL's vector types, by the types' names.
VALUES: Mapping[str, type[VectorLike]] = MappingProxyType({**VECTOR_TYPES, "bit": Bit, "varbit": Bit})

_DENSE: Mapping[str, FloatFormat] = MappingProxyType({"vector": FLOAT32, "halfvec": FLOAT16})
_head = Struct("!ihh").pack
_PLAIN = frozenset([list, tuple, array])


def binary_encoder(name: str) -> Encoder:
    """What makes the bytes of a type of whatever a caller gives; :class:`InvalidVector` for what can be none.

    >>> binary_encoder("vector")((1, 2.5)).hex(" ", 4) == Vector([1, 2.5]).to_binary().hex(" ", 4)
    True
    """
    kind, encode = VALUES[name], field_encoder(name)

    def binary(value: Any) -> bytes:
        return value.to_binary() if isinstance(value, kind) else encode(value)[4:]

    return binary


def field_encoder(name: str, size: int | None = None) -> Encoder:
    """The same with its length ahead, for a column ``vector(size)``, ``halfvec(size)`` and so on."""
    encode: Encoder = partial(_whole, value_of(name, size))
    return _dense(name, size, encode) if name in _DENSE else encode


def value_of(name: str, size: int | None) -> Callable[[Any], VectorLike]:
    """What makes a vector of whatever a caller gives, and refuses one that does not fit the column."""
    return partial(_value, VALUES[name], size)


def _value(kind: Any, size: int | None, value: Any) -> VectorLike:
    of_dict = isinstance(value, dict) and kind is SparseVector
    made: VectorLike = kind(value, size) if of_dict else driver_value(kind, value)
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
    numbers_format = _DENSE[name]
    letter, width, is_suspicious = numbers_format.letter, numbers_format.size, numbers_format.is_suspicious
    native, sent = f"<{numbers_format.dtype}", f">{numbers_format.dtype}"

    def encode(value: Any) -> bytes:
        if type(value) in _PLAIN:
            numbers = value
        elif type(value).__module__ == "numpy" and value.dtype.str == native and value.ndim == 1:
            return encode_array(value)
        else:
            return careful(value)
        count = len(numbers)
        if (count == size or size is None) and 0 < count <= MAX_DIMENSIONS:
            try:
                field = _packer(letter, count)(*numbers)
            except (error, OverflowError, TypeError):
                return careful(value)
            if not is_suspicious(field[8::width]):
                return field
        return careful(value)

    def encode_array(value: Any) -> bytes:
        count = len(value)
        data: bytes = value.astype(sent).tobytes()  # two thirds of the time of byteswap()
        if (count == size or size is None) and 0 < count <= MAX_DIMENSIONS and not is_suspicious(data[::width]):
            return _head(4 + len(data), count, 0) + data
        return careful(value)

    return encode
