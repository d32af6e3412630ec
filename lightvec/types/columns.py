"""What a column of one of the four types takes, in any ORM: a value of its class, with its dimensions."""

from __future__ import annotations

from typing import Any, TypeVar

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.types.bit import Bit
from lightvec.types.halfvec import HalfVector
from lightvec.types.sparsevec import SparseVector
from lightvec.types.vector import Vector

__all__ = ["check_dimensions", "column_value"]

Kind = TypeVar("Kind", Vector, HalfVector, SparseVector, Bit)


def check_dimensions(dimensions: Any) -> int | None:
    """The dimensions that a column is declared with; :class:`~lightvec.errors.InvalidOption` for what is no count.

    >>> check_dimensions(0)
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected a number of dimensions of at least 1, got 0
    """
    if dimensions is None:
        return None
    if type(dimensions) is bool or not isinstance(dimensions, int) or dimensions < 1:
        raise InvalidOption(f"expected a number of dimensions of at least 1, got {dimensions!r}")
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
