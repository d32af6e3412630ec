"""pgvector's functions as Peewee expressions.

Each takes a vector field or an expression that gives a vector.
"""

from __future__ import annotations

from typing import Any

from peewee import Function, fn

__all__ = [
    "avg",
    "binary_quantize",
    "l2_normalize",
    "subvector",
    "sum",
    "vector_dims",
    "vector_norm",
]


def avg(vector: Any) -> Function:
    """The mean of the group's vectors, element by element; NULL for no rows."""
    return fn.avg(vector)


def sum(vector: Any) -> Function:
    """The sum of the group's vectors, element by element; NULL for no rows."""
    return fn.sum(vector)


def l2_normalize(vector: Any) -> Function:
    """The vector divided by its Euclidean norm."""
    return fn.l2_normalize(vector)


def binary_quantize(vector: Any) -> Function:
    """One bit a dimension, 1 where the element is greater than 0: a :class:`lightvec.Bit`."""
    return fn.binary_quantize(vector).coerce(False)


def subvector(vector: Any, start: int, count: int) -> Function:
    """``count`` elements from ``start``, which counts from 1."""
    return fn.subvector(vector, start, count).coerce(False)


def vector_dims(vector: Any) -> Function:
    """How many dimensions the vector has."""
    return fn.vector_dims(vector).coerce(False)


def vector_norm(vector: Any) -> Function:
    """The Euclidean norm. pgvector calls it ``l2_norm`` for all but ``vector``; which it is shows on a field only."""
    name = "l2_norm" if getattr(vector, "field_type", "vector") in ("halfvec", "sparsevec") else "vector_norm"
    return Function(name, (vector,)).coerce(False)
