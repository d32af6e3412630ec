"""The binary fields of vectors, bits and arrays, whose encoders depend on the column they go into."""

from __future__ import annotations

from functools import partial
from typing import Any

from lightvec.pg8000.copying.scalars import Encoder, Encoding
from lightvec.types.arrays import array_to_binary, field
from lightvec.types.fields import field_encoder

__all__ = ["array_encoding", "vector_encoding"]


def vector_encoding(name: str, size: int | None) -> Encoding:
    """The encoding of a column ``vector(size)``, ``halfvec(size)``, ``sparsevec(size)`` or ``bit(size)``."""
    return Encoding(field_encoder(name, size), f"a {name}")


def array_encoding(element: Encoding, oid: int, *, of_vectors: bool) -> Encoding:
    """The encoding of arrays of one type, nested ones too."""
    return Encoding(partial(_array, element.encode, oid, of_vectors), f"a list of {element.expects}")


def _array(encode: Encoder, oid: int, of_vectors: bool, value: Any) -> bytes:
    return field(array_to_binary(value, encode, oid, of_vectors=of_vectors))
