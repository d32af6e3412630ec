"""What a search says that would otherwise be quiet: rows like a row, zeros, and fewer rows than were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from peewee import CompositeKey, IntegerField, Model

from lightvec.errors import InvalidVector
from lightvec.peewee import HnswIndex, Pg8000Database, SparseVectorField, VectorField


@pytest.fixture
def model(db: Pg8000Database) -> Iterator[Any]:
    class Told(Model):
        number = IntegerField()
        v = VectorField(2, metric="l2", null=True)
        c = VectorField(2, metric="cosine", null=True)
        s = SparseVectorField(2, metric="cosine", null=True)

        class Meta:
            database = db
            table_name = "told"

    with db.atomic() as transaction:
        Told.create_table()
        Told.insert_many([{"number": n, "v": [n, 0], "c": [1, n], "s": [1, n]} for n in range(60)]).execute()
        yield Told
        transaction.rollback()


# More like this one


def test_rows_like_a_row(model: Any) -> None:
    row = model.get(model.number == 5)
    assert sorted(found.number for found in model.v.nearest(row, 2)) == [4, 6]
    query = model.v.nearest(row, 3).where(model.number > 5)
    assert [found.number for found in query] == [6, 7, 8]
    values = query.sql()[1]
    assert not [value for value in values if hasattr(value, "dimensions")], "no vector travels"
    assert model.v.nearest(row, 100).count() == 59


def test_rows_like_what_a_query_gives(model: Any) -> None:
    one = model.select(model.v).where(model.number == 5)
    assert [found.number for found in model.v.nearest(one, 1)] == [5]
    none = model.select(model.v).where(model.number == -1)
    assert list(model.v.nearest(none)) == []


def test_as_many_as_an_index_gives_and_one_more(model: Any) -> None:
    """The row itself is among what an index finds, and not among what is wanted."""
    model._meta.database.execute(model._schema._create_index(HnswIndex(model.v)))
    model._meta.database.execute_sql("SET LOCAL enable_seqscan = off")
    row = model.get(model.number == 30)
    assert len(model.v.nearest(row, 40, iterative_scan=False)) == 40


def test_a_row_without_a_vector_is_like_none(model: Any) -> None:
    row = model.create(number=100)
    assert list(model.v.nearest(row)) == []


def test_rows_that_cannot_be_looked_up(model: Any, db: Pg8000Database) -> None:
    class Other(Model):
        v = VectorField(2, metric="l2")

    class Composite(Model):
        a = IntegerField()
        b = IntegerField()
        v = VectorField(2, metric="l2")

        class Meta:
            database = db
            primary_key = CompositeKey("a", "b")

    with pytest.raises(InvalidVector, match="got a row of Other"):
        model.v.nearest(Other(v=[1, 2]))
    with pytest.raises(InvalidVector, match="that is stored"):
        model.v.nearest(model(v=[1, 2]))
    Composite.create_table()
    Composite.insert_many([(1, 1, [1, 1]), (1, 2, [2, 2]), (2, 1, [9, 9])]).execute()
    found: Any = Composite.v.nearest(Composite.get(a=1, b=1))
    assert [(row.a, row.b) for row in found] == [(1, 2), (2, 1)]


# Zeros


@pytest.mark.parametrize("name", ["c", "s"])
def test_zeros_have_no_direction(name: str, model: Any) -> None:
    field = getattr(model, name)
    with pytest.raises(InvalidVector, match="no direction"):
        field.nearest([0, 0])
    assert len(field.nearest([0, 0], metric="l2")) == 10


# Fewer rows than were asked for


def test_as_many_as_were_asked_for(model: Any) -> None:
    assert model.v.nearest([1, 1]).shortfall is None
    assert model.v.nearest([1, 1]).limit(None).shortfall is None


@pytest.mark.parametrize(
    ("options", "filtered", "why"),
    [
        ({"exact": True}, True, "1 of 10 rows: no more match"),
        ({}, True, "1 of 10 rows: no more match"),
        ({"exact": False}, True, "the index scan reached its limit"),
        ({"min_score": 0.9}, True, "the index scan reached its limit"),
        ({"iterative_scan": False, "exact": False}, True, "did not find them"),
        ({"min_score": 0.9, "iterative_scan": False}, False, "did not find them"),
        ({"k": 100, "iterative_scan": False}, False, "60 of 100 rows: no more match"),
        ({"k": 100, "iterative_scan": False, "exact": False}, False, "leaves out NULL, and IVFFlat scans"),
    ],
)
def test_it_says_why(options: dict[str, Any], filtered: bool, why: str, model: Any) -> None:
    query = model.v.nearest([1, 0], **options)
    if filtered:
        query = query.where(model.number == 7)
    assert why in str(query.shortfall)


def test_zeros_are_named_under_cosine(model: Any) -> None:
    assert "vectors of zeros" in model.c.nearest([1, 1], 100, iterative_scan=False, exact=False).shortfall
