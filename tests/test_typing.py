"""What type checkers know of models, queries, rows, values and connections, and that it is so when the program runs.

mypy checks this file with the rest (``make typecheck``): ``assert_type`` fails there where a type has become another
one or Any, and an ignored error that is none any more fails, too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from peewee import Expression, Model, TextField

import lightvec
from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    Nearest,
    Pg8000Database,
    SparseVectorField,
    VectorField,
    run_many,
)
from lightvec.pg8000 import Connection
from lightvec.search import Hybrid, hybrid

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


class Paper(Model):
    """What a search adds to its rows is said by annotations, which cost nothing."""

    id: int
    distance: float
    score: float
    title = TextField()
    dense = VectorField(3, metric="cosine", index="hnsw")
    half = HalfVectorField(3, metric="l2", null=True)
    sparse = SparseVectorField(3, null=False)
    bits = FixedBitField(3, metric="hamming")
    maybe = FixedBitField(null=True)

    class Meta:
        table_name = "typing_paper"


@pytest.fixture(autouse=True)
def paper(db: Pg8000Database) -> Iterator[None]:
    db.bind([Paper])
    db.create_tables([Paper])
    Paper.create(title="one", dense=[1, 0, 0], half=[1, 2, 3], sparse=[1, 0, 0], bits="101")
    yield
    db.drop_tables([Paper])


def test_values() -> None:
    row = Paper.get()
    assert_type(row.dense, Vector)
    assert_type(row.half, HalfVector | None)
    assert_type(row.sparse, SparseVector)
    assert_type(row.bits, Bit)
    assert_type(row.maybe, Bit | None)
    assert [type(row.dense), type(row.half), type(row.sparse), type(row.bits)] == [
        Vector,
        HalfVector,
        SparseVector,
        Bit,
    ]
    assert row.maybe is None


def test_what_is_assigned_becomes_a_vector() -> None:
    row = Paper.get()
    row.dense = [1, 2, 3]
    row.half = None
    row.bits = "110"
    row.save()
    assert_type(Paper.get().dense, Vector)
    assert Paper.get().dense == [1, 2, 3]


def test_fields() -> None:
    assert_type(Paper.dense, VectorField[Vector, Paper])
    assert_type(Paper.half, HalfVectorField[HalfVector | None, Paper])
    assert_type(Paper.sparse, SparseVectorField[SparseVector, Paper])
    assert_type(Paper.bits, FixedBitField[Bit, Paper])
    assert_type(Paper.dense.distance([1, 2, 3]), Expression)
    assert isinstance(Paper.dense, VectorField)
    assert isinstance(Paper.dense.distance([1, 2, 3]), Expression)


def test_a_row_has_no_methods_of_the_field_nor_the_field_those_of_a_value() -> None:
    with pytest.raises(AttributeError):
        Paper.get().dense.nearest([1, 2, 3])  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Paper.dense.to_list()  # type: ignore[attr-defined]


def test_nearest() -> None:
    query = Paper.dense.nearest([1, 2, 3], k=4)
    assert_type(query, Nearest[Paper])
    assert_type(query.where(Paper.title == "one").select(Paper.id).limit(3), Nearest[Paper])
    assert_type(query.shortfall, str | None)
    assert_type(query.dicts(), Any)
    (row,) = query
    assert_type(row, Paper)
    assert_type(row.score, float)
    assert_type(list(query), list[Paper])
    assert_type(query.get(), Paper)
    assert_type(query[0], Paper)
    assert_type(query[:2], list[Paper])
    assert_type(query.first(), Paper | None)
    assert_type(query.get_or_none(), Paper | None)
    assert [query[0], query[:2], query.first(), query.get_or_none()] == [row, [row], row, row]
    assert type(query) is Nearest
    assert type(row) is Paper
    assert type(row.score) is float
    assert type(row.distance) is float


def test_run_many() -> None:
    found = run_many(Paper.dense.nearest(vector) for vector in ([1, 2, 3], [3, 2, 1]))
    assert_type(found, list[list[Paper]])
    assert [[type(row) for row in rows] for rows in found] == [[Paper], [Paper]]


def test_hybrid() -> None:
    query = hybrid(Paper.dense, [1, 2, 3], Paper.title, "one")
    assert_type(query, Hybrid[Paper])
    assert_type(query.where(Paper.title == "one").select(Paper.id), Hybrid[Paper])
    (row,) = query
    assert_type(row, Paper)
    assert type(row) is Paper


def test_vectors() -> None:
    vector = Vector([1, 2, 3])
    assert_type(vector[0], float)
    assert_type(vector[1:], list[float])
    assert_type(vector.to_numpy(), NDArray[np.float32])
    assert_type(HalfVector(vector).to_numpy(), NDArray[np.float16])
    assert_type(vector.normalized(), Vector)
    assert_type(Bit("101")[1:], list[bool])
    assert_type(SparseVector({0: 1}, 3)[0], float)
    assert (type(vector[0]), type(vector[1:]), type(Bit("101")[1:])) == (float, list, list)


def test_connections(url: str) -> None:
    with lightvec.connect(url) as conn:
        assert_type(conn, Connection)
        assert_type(conn.run("SELECT 1"), list[list[Any]] | Any)
        assert_type(conn.fetch_columns("SELECT 1 AS one"), dict[str, Any])
        rows = conn.stream("SELECT 1")
        assert_type(rows, Generator[list[Any], None, None])
        assert list(rows) == [[1]]
        with conn.transaction() as same:
            assert_type(same, Connection)
        assert_type(conn.copy_rows("typing_paper", ["title"], []), int)


def test_the_classes_take_their_parameters_when_the_program_runs() -> None:
    """As annotations that are looked at (``typing.get_type_hints``) and base classes have them."""
    assert VectorField[Vector] is VectorField
    assert Nearest[Paper] is Nearest
    assert isinstance(VectorField[Vector](3), VectorField)
