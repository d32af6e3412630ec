"""``HalfVector``, pgvector's ``halfvec``: half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightvec.types._dense import DenseVector
from lightvec.types._floats import FLOAT16

if TYPE_CHECKING:
    import numpy as np  # noqa: F401  (used in the quoted type below)


class HalfVector(DenseVector["np.float16"]):
    """A vector of 1 to 16,000 float16 numbers: half the size of a :class:`Vector`, 3 significant digits.

    It takes what :class:`lightvec.types.Vector` takes, each number rounded to float16. Numbers of 65,520
    and more do not fit and raise :class:`lightvec.errors.InvalidVector`, as does everything that ``Vector``
    refuses. The binary and text formats are those of ``src/halfvec.c`` in pgvector.

    >>> v = HalfVector([1, 2.5, 3])
    >>> v
    HalfVector([1.0, 2.5, 3.0])
    >>> v.to_binary().hex(" ", 2)
    '0003 0000 3c00 4100 4200'
    >>> HalfVector([0.1]) == [0.1]
    True
    """

    __slots__ = ()

    _format = FLOAT16
