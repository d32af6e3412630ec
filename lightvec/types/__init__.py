"""The four value types of pgvector columns: immutable sequences with their text and binary formats.

Importing this loads the standard library only. NumPy and SciPy serve callers who use them.
"""

from __future__ import annotations

from lightvec.types.bit import Bit
from lightvec.types.halfvec import HalfVector
from lightvec.types.sparsevec import SparseVector
from lightvec.types.vector import Vector

__all__ = ["Bit", "HalfVector", "SparseVector", "Vector"]
