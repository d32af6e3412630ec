"""Values that every driver is given."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pgvector
import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector

#: Types and a value of each.
OF_TYPES = [
    ("vector", Vector([1.5, 2, -3])),
    ("halfvec", HalfVector([1.5, 2, -3])),
    ("sparsevec", SparseVector({1: 1.5, 4: -2}, 6)),
]
BIT = Bit("010100001")

#: The same values in pgvector's own package.
OF_PGVECTOR: list[tuple[str, Any]] = [
    ("vector", pgvector.Vector([1.5, 2, -3])),
    ("halfvec", pgvector.HalfVector([1.5, 2, -3])),
    ("sparsevec", pgvector.SparseVector({1: 1.5, 4: -2}, 6)),
    ("bit(9)", pgvector.Bit("010100001")),
]

#: Arrays, NumPy's and Python's, of the numbers 1.5, 2 and -3 (integers: 1, 2 and -3) of every kind.
NDARRAYS: list[Any] = [
    pytest.param(np.array([1.5, 2, -3], dtype), id=dtype) for dtype in ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2")
] + [
    pytest.param(np.array([1, 2, -3], ">i2"), id="swapped-int"),
    pytest.param(np.array([1, 2, -3]), id="int"),
    pytest.param(np.array([[1.5, 9], [2, 9], [-3, 9]], np.float32)[:, 0], id="column"),
    pytest.param(np.array([-3, 2, 1.5])[::-1], id="reversed"),
    pytest.param(array("d", [1.5, 2, -3]), id="array"),
    pytest.param(array("b", [1, 2, -3]), id="array-int"),
]

MISSING = "run `lightvec init-db` or CREATE EXTENSION vector"
