"""Values of columns of the four types, in any ORM, and the bytes that drivers send for them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from struct import Struct, error
from types import MappingProxyType
from typing import Any

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.types.arrays import field
from lightvec.types.bit import Bit
from lightvec.types.dense import HalfVector, Vector
from lightvec.types.floats import FLOAT16, FLOAT32, FloatFormat
from lightvec.types.inputs import MAX_BITS, MAX_DIMENSIONS, MAX_SPARSE_DIMENSIONS
from lightvec.types.sparse import SparseVector
from lightvec.types.value import Kind, read_value

VectorLike = Vector | HalfVector | SparseVector | Bit
Encoder = Callable[[Any], bytes]

#: The classes of pgvector's types, by the types' names.
VECTOR_TYPES: Mapping[str, type[Vector] | type[HalfVector] | type[SparseVector]] = MappingProxyType(
    {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector}
)
#: The same with PostgreSQL's own.
VALUES: Mapping[str, type[VectorLike]] = MappingProxyType({**VECTOR_TYPES, "bit": Bit, "varbit": Bit})

_MOST = {Vector: MAX_DIMENSIONS, HalfVector: MAX_DIMENSIONS, SparseVector: MAX_SPARSE_DIMENSIONS, Bit: MAX_BITS}
_DENSE: Mapping[str, FloatFormat] = {"vector": FLOAT32, "halfvec": FLOAT16}
_PLAIN = frozenset([list, tuple, array])
_head = Struct("!ihh").pack


def check_dimensions(dimensions: Any, kind: type[Any] | None = None) -> int | None:
    """The declared dimensions of a column; :class:`~lightvec.errors.InvalidOption` for others.

    >>> check_dimensions(0)
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected a number of dimensions of at least 1, got 0
    """
    if dimensions is None:
        return None
    if type(dimensions) is bool or not isinstance(dimensions, int) or dimensions < 1:
        raise InvalidOption(f"expected a number of dimensions of at least 1, got {dimensions!r}")
    if kind is not None and dimensions > (most := _MOST[kind]):
        raise InvalidOption(
            f"a column of {kind.__name__} has at most {most:,} dimensions, got {dimensions:,}: "
            f"declare as many as your embedding model returns"
        )
    return int(dimensions)  # the str() of an enum's member is not its number


def column_value(kind: type[Kind], value: Any, dimensions: int | None, column: str) -> Kind:
    """The value as the class of the column's type; errors name the column, as ``Doc.embedding``.

    ``dimensions`` are the declared ones, None for any.

    >>> try:
    ...     column_value(Vector, (1, 2), 3, "Doc.embedding")
    ... except InvalidVector as error:
    ...     print(str(error)[:43])
    Doc.embedding expected 3 dimensions, not 2:
    """
    try:
        vector = kind.coerce(value)
    except InvalidVector as reason:
        raise InvalidVector(f"{column}: {reason}") from None
    if dimensions is not None and len(vector) != dimensions:
        raise InvalidVector(
            f"{column} expected {dimensions} dimensions, not {len(vector)}: "
            f"the value is from another model, or the column must change"
        )
    return vector


def value_reader(name: str, size: int | None) -> Callable[[Any], VectorLike]:
    """The function from what a caller passes to a value of a column ``vector(size)`` and so on."""
    kind: Any = VALUES[name]

    def read(value: Any) -> VectorLike:
        of_dict = isinstance(value, dict) and kind is SparseVector
        vector: VectorLike = kind(value, size) if of_dict else read_value(kind, value)
        if size is not None and len(vector) != size:
            unit = "bits" if kind is Bit else "dimensions"
            raise InvalidVector(f"expected {size:,} {unit} and got {len(vector):,}.")
        return vector

    return read


def binary_encoder(name: str) -> Encoder:
    """The function from what a caller passes to the bytes of a type."""
    kind, encode = VALUES[name], field_encoder(name)
    return lambda value: value.to_binary() if isinstance(value, kind) else encode(value)[4:]


def field_encoder(name: str, size: int | None = None) -> Encoder:
    """The same with the length in front, for a column ``vector(size)`` and so on."""
    read = value_reader(name, size)

    def encode(value: Any) -> bytes:
        return field(read(value).to_binary())

    return _dense_encoder(_DENSE[name], size, encode) if name in _DENSE else encode


@lru_cache(64)
def _packer(letter: str, size: int) -> Callable[..., bytes]:
    """Packs length, header and numbers of a dense vector in one call.

    For a list of 768 floats that takes 3.5 µs; by way of ``array("f", numbers)`` and ``byteswap`` it takes 9.
    """
    layout = Struct(f"!ihh{size}{letter}")
    return partial(layout.pack, layout.size - 4, size, 0)


def _dense_encoder(numbers_format: FloatFormat, size: int | None, checked: Encoder) -> Encoder:
    """The fast path, without a vector in between: plain numbers, and an ndarray of the type's own dtype.

    ``checked`` takes everything else, and reports what is wrong with a value.
    """
    letter, width = numbers_format.letter, numbers_format.size
    is_suspicious = numbers_format.is_suspicious
    native, sent = f"<{numbers_format.dtype}", f">{numbers_format.dtype}"

    def encode(value: Any) -> bytes:
        if type(value) in _PLAIN:
            numbers = value
        elif type(value).__module__ == "numpy" and value.dtype.str == native and value.ndim == 1:
            return encode_array(value)
        else:
            return checked(value)
        count = len(numbers)
        if (count == size or size is None) and 0 < count <= MAX_DIMENSIONS:
            try:
                data = _packer(letter, count)(*numbers)
            except (error, OverflowError, TypeError):
                return checked(value)
            if not is_suspicious(data[8::width]):
                return data
        return checked(value)

    def encode_array(value: Any) -> bytes:
        count = len(value)
        data: bytes = value.astype(sent).tobytes()  # two thirds of the time of byteswap()
        if (count == size or size is None) and 0 < count <= MAX_DIMENSIONS and not is_suspicious(data[::width]):
            return _head(4 + len(data), count, 0) + data
        return checked(value)

    return encode
