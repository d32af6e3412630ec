"""pgvector's functions of a vector field or an expression that gives a vector."""

from __future__ import annotations

from typing import Any

from peewee import Function, fn


def avg(vector: Any) -> Function:
    """The mean by element; NULL for no rows."""
    return fn.avg(vector)


def sum(vector: Any) -> Function:
    """The sum by element; NULL for no rows."""
    return fn.sum(vector)


def l2_normalize(vector: Any) -> Function:
    """The vector divided by its Euclidean norm."""
    return fn.l2_normalize(vector)


def binary_quantize(vector: Any) -> Function:
    """A :class:`lightvec.Bit` with 1 for each element greater than 0."""
    return fn.binary_quantize(vector).coerce(False)


def subvector(vector: Any, start: int, count: int) -> Function:
    """``count`` elements from ``start``, counted from 1."""
    return fn.subvector(vector, start, count).coerce(False)


def vector_dims(vector: Any) -> Function:
    """The number of dimensions."""
    return fn.vector_dims(vector).coerce(False)


def vector_norm(vector: Any) -> Function:
    """The Euclidean norm; of a ``halfvec`` or ``sparsevec`` it must be given a field."""
    # pgvector's vector_norm() takes no other type than vector.
    is_other = getattr(vector, "field_type", "") in ("halfvec", "sparsevec")
    return Function("l2_norm" if is_other else "vector_norm", (vector,)).coerce(False)
