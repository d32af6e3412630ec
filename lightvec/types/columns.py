"""What a column of one of the four types takes, in any ORM: a value of its class, with its dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.types._limits import MAX_BITS, MAX_DIMENSIONS, MAX_SPARSE_DIMENSIONS
from lightvec.types._value import Value
from lightvec.types.bit import Bit
from lightvec.types.halfvec import HalfVector
from lightvec.types.sparsevec import SparseVector
from lightvec.types.vector import Vector

__all__ = ["VECTOR_TYPES", "check_dimensions", "column_value", "driver_value"]

Kind = TypeVar("Kind", Vector, HalfVector, SparseVector, Bit)
AnyKind = TypeVar("AnyKind", bound=Value)  # which one need not be known

#: The classes of pgvector's types, by the types' names.
VECTOR_TYPES: Mapping[str, type[Vector] | type[HalfVector] | type[SparseVector]] = MappingProxyType(
    {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector}
)


#: The most dimensions of a column that holds values of a class.
_MOST: Mapping[type[Any], int] = MappingProxyType(
    {Vector: MAX_DIMENSIONS, HalfVector: MAX_DIMENSIONS, SparseVector: MAX_SPARSE_DIMENSIONS, Bit: MAX_BITS}
)


def check_dimensions(dimensions: Any, kind: type[Any] | None = None) -> int | None:
    """The dimensions that a column of a kind is declared with; :class:`~lightvec.errors.InvalidOption` for others.

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
            f"a column of {kind.__name__} has at most {most:,} dimensions, got {dimensions:,}: give the number "
            f"that your model gives"
        )
    # An enum's member is a number, and its text is none.
    return int(dimensions)


def column_value(kind: type[Kind], value: Any, dimensions: int | None, column: str) -> Kind:
    """The value as the class of the column's type, whatever the class can be made of.

    ``column`` is the column's name as its users know it, such as ``Doc.embedding``. ``dimensions`` are those that it
    was declared with, None for any. Raises :class:`~lightvec.errors.InvalidVector` that names the column.

    >>> column_value(Vector, (1, 2), 3, "Doc.embedding")
    Traceback (most recent call last):
    lightvec.errors.InvalidVector: Doc.embedding expected 3 dimensions, not 2: the value is from another model, or the column must change
    """  # noqa: E501 (an error is one line)
    try:
        vector = kind.coerce(value)
    except InvalidVector as error:
        raise InvalidVector(f"{column}: {error}") from error
    if dimensions is not None and vector.dimensions() != dimensions:
        raise InvalidVector(
            f"{column} expected {dimensions} dimensions, not {vector.dimensions()}: "
            f"the value is from another model, or the column must change"
        )
    return vector


def driver_value(kind: type[AnyKind], value: Any) -> AnyKind:
    """The value as the class, also where it is PostgreSQL's text of one.

    >>> driver_value(Vector, "[1,2]"), driver_value(Vector, (1, 2))
    (Vector([1.0, 2.0]), Vector([1.0, 2.0]))
    """
    return kind.from_text(value) if isinstance(value, str) else kind.coerce(value)
