"""Values of pgvector's own Python package make values of ours."""

from __future__ import annotations

from typing import Any

import pgvector
import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidVector

BILLION = 1_000_000_000


@pytest.mark.parametrize("kind", [Vector, HalfVector, SparseVector])
def test_numbers(kind: Any) -> None:
    sparse = pgvector.SparseVector({1: 2.5}, 2)
    for theirs in (pgvector.Vector([0, 2.5]), pgvector.HalfVector([0, 2.5]), sparse):
        assert kind(theirs) == kind([0, 2.5])


def test_bits() -> None:
    theirs: Any = pgvector.Bit("101100001")
    assert Bit(theirs) == Bit("101100001")


def test_a_long_sparse_vector_stays_sparse() -> None:
    theirs: Any = pgvector.SparseVector({5: 1.5}, BILLION)
    assert SparseVector(theirs) == SparseVector({5: 1.5}, BILLION)
    with pytest.raises(InvalidVector, match="1,000,000,000"):
        Vector(theirs)


def test_the_same_is_refused_as_of_a_list() -> None:
    theirs: Any = pgvector.Vector([float("nan")])
    with pytest.raises(InvalidVector, match="nan"):
        Vector(theirs)
