"""``Vector``, pgvector's ``vector``: single precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightvec.types._dense import DenseVector
from lightvec.types._floats import FLOAT32

if TYPE_CHECKING:
    import numpy as np  # noqa: F401  (used in the quoted type below)


class Vector(DenseVector["np.float32"]):
    """A vector of 1 to 16,000 float32 numbers: immutable, hashable, picklable, a ``Sequence[float]``.

    ``value`` is a list, a tuple, an ``array.array``, a one-dimensional NumPy array of any real dtype,
    another vector, or any other iterable of numbers, each rounded to float32. Sets, dicts, text and bytes
    are refused.

    Raises :class:`lightvec.errors.InvalidVector` for anything else, for NaN and infinity, for numbers
    beyond float32 and for an empty vector. The binary and text formats are those of ``src/vector.c`` in
    pgvector.

    >>> v = Vector([1, 2.5, 3])
    >>> v
    Vector([1.0, 2.5, 3.0])
    >>> v.to_text()
    '[1,2.5,3]'
    >>> v == [1, 2.5, 3], v[0], v[1:]
    (True, 1.0, [2.5, 3.0])
    >>> Vector.from_binary(v.to_binary()) == v
    True
    >>> Vector([3, 4]).normalized()
    Vector([0.6000000238418579, 0.800000011920929])
    """

    __slots__ = ()

    _format = FLOAT32
