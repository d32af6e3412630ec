"""The four value types of pgvector columns: immutable sequences with their text and binary formats.

Importing this loads the standard library only. From the bottom up:

inputs.py       limits, kinds of input, how an error shows a value
floats.py       float32 and float16: packing, checking, decimal text
value.py        what all four types share
dense.py        Vector and HalfVector
sparse.py       SparseVector
bit.py          Bit
arrays.py       PostgreSQL arrays, text and binary
columns.py      a column's values, and the bytes that drivers send
"""

from __future__ import annotations

from lightvec.types.bit import Bit
from lightvec.types.dense import HalfVector, Vector
from lightvec.types.sparse import SparseVector

__all__ = ["Bit", "HalfVector", "SparseVector", "Vector"]
