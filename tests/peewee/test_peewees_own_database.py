"""The fields on Peewee's own database, whose driver knows no vectors, as pgvector's Peewee fields work there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from peewee import Model, PostgresqlDatabase, fn

from lightvec import Bit, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import FixedBitField, HalfVectorField, HnswIndex, SparseVectorField, VectorField

database = PostgresqlDatabase(None)


class Item(Model):
    id: Any
    vector = VectorField(3, metric="l2", null=True)
    half = HalfVectorField(3, null=True)
    sparse = SparseVectorField(3, null=True)
    bits = FixedBitField(3, null=True)

    class Meta:
        database = database
        table_name = "peewees_own"


Item.add_index(HnswIndex(Item.vector))


@pytest.fixture(scope="module", autouse=True)
def items(url: str) -> Iterator[None]:
    database.init(url)
    with database.connection_context():
        database.create_tables([Item])
        for numbers in ([1, 1, 1], [2, 2, 2], [1, 1, 2]):
            bits = "101" if numbers[0] == 2 else "000"
            Item.create(vector=numbers, half=tuple(numbers), sparse=SparseVector(numbers), bits=bits)
        yield
        database.drop_tables([Item])


def test_values_come_back() -> None:
    first: Any = Item.get_by_id(2)
    assert (type(first.vector), first.vector, first.half) == (Vector, [2, 2, 2], [2, 2, 2])
    assert first.sparse == SparseVector([2, 2, 2])
    assert (first.bits, type(first.bits)) == ("101", Bit)


@pytest.mark.parametrize("name", ["vector", "half", "sparse"])
@pytest.mark.parametrize("method", ["l2_distance", "max_inner_product", "cosine_distance", "l1_distance", "distance"])
def test_distances(name: str, method: str) -> None:
    if method == "distance" and name != "vector":
        return
    field = getattr(Item, name)
    wanted = SparseVector([1, 1, 1]) if name == "sparse" else [1, 1, 1]
    ids = [item.id for item in Item.select().order_by(getattr(field, method)(wanted), Item.id)]
    assert ids == {"max_inner_product": [2, 3, 1], "cosine_distance": [1, 2, 3]}.get(method, [1, 3, 2])


def test_comparisons() -> None:
    assert [item.id for item in Item.select().where(Item.vector == [1, 1, 2])] == [3]
    assert Item.select().where(Item.vector.in_([[1, 1, 1], (2, 2, 2)])).count() == 2
    found, made = Item.get_or_create(vector=[2, 2, 2], defaults={"bits": "111"})
    assert (found.id, made) == (2, False)
    assert [item.id for item in Item.select().where(Item.bits.hamming_distance("101") < 1)] == [2]
    assert Item.select(fn.avg(Item.vector).coerce(True)).scalar() == pytest.approx([4 / 3, 4 / 3, 5 / 3])


def test_what_does_not_fit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidVector, match=r"Item\.vector"):
        Item.create(vector=[1, 2])


def test_nearest_says_what_it_needs() -> None:
    with pytest.raises(InvalidOption, match=r"nearest needs a lightvec\.peewee\.Pg8000Database.* PostgresqlDatabase"):
        Item.vector.nearest([1, 1, 1])
