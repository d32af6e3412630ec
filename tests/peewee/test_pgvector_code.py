"""Code as it is written for pgvector's Python package and Peewee, with ``pgvector`` renamed in its imports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peewee import Model, fn

from lightvec import SparseVector, Vector
from lightvec.peewee import FixedBitField, HalfVectorField, Pg8000Database, SparseVectorField, VectorField

database = Pg8000Database(None)


class Item(Model):
    id: Any
    distance: Any
    embedding = VectorField(dimensions=3, null=True)
    half_embedding = HalfVectorField(dimensions=3, null=True)
    binary_embedding = FixedBitField(max_length=3, null=True)
    sparse_embedding = SparseVectorField(dimensions=3, null=True)

    class Meta:
        database = database
        table_name = "peewee_like_pgvector"


Item.add_index("embedding vector_l2_ops", using="hnsw")


@pytest.fixture(scope="module")
def connected(url: str) -> Iterator[None]:
    database.init(url)
    database.connect()
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Item])
    database.create_tables([Item])
    yield
    database.drop_tables([Item])
    database.close()


@pytest.fixture(autouse=True)
def table(connected: None) -> None:
    Item.truncate_table()


@pytest.fixture
def items() -> None:
    for number, (vector, bits) in enumerate([([1, 1, 1], "000"), ([2, 2, 2], "101"), ([1, 1, 2], "111")], 1):
        Item.create(
            id=number,
            embedding=vector,
            half_embedding=vector,
            binary_embedding=bits,
            sparse_embedding=SparseVector(vector),
        )


def test_insert_and_read() -> None:
    item = Item(embedding=[1, 2, 3], half_embedding=np.array([1, 2, 3]), binary_embedding="101")
    item.sparse_embedding = SparseVector({0: 1.0, 2: 3.0}, 3)
    item.save()
    item = Item.get_by_id(item.id)
    assert item.embedding == [1, 2, 3]
    assert np.array_equal(np.asarray(item.half_embedding), [1, 2, 3])
    assert item.binary_embedding == "101"
    assert item.sparse_embedding == SparseVector([1, 0, 3])


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize(
    ("field", "method", "order", "distances"),
    [
        *[
            (field, *case)
            for field in ("embedding", "half_embedding", "sparse_embedding")
            for case in (
                ("l2_distance", [1, 3, 2], [0, 1, 3**0.5]),
                ("max_inner_product", [2, 3, 1], [-6, -4, -3]),
                ("cosine_distance", [1, 2, 3], [0, 0, 0.05719095841793653]),
                ("l1_distance", [1, 3, 2], [0, 1, 3]),
            )
        ],
        ("binary_embedding", "hamming_distance", [2, 3, 1], [0, 1, 2]),
        ("binary_embedding", "jaccard_distance", [2, 3, 1], [0, 1 / 3, 1]),
    ],
)
def test_nearest_neighbours(field: str, method: str, order: list[int], distances: list[float]) -> None:
    target: Any = "101" if field == "binary_embedding" else [1, 1, 1]
    distance = getattr(getattr(Item, field), method)(target)
    found = list(Item.select(Item.id, distance.alias("distance")).order_by(distance, Item.id).limit(5))
    assert [item.id for item in found] == order
    assert [item.distance for item in found] == pytest.approx(distances)


@pytest.mark.usefixtures("items")
def test_the_readmes_queries() -> None:
    neighbours = Item.select().order_by(Item.embedding.l2_distance([3, 1, 2])).limit(5)
    assert len(neighbours) == 3
    near = Item.select().where(Item.embedding.l2_distance([1, 1, 1]) < 1)
    assert [item.id for item in near] == [1]
    like_one = Item.select(Item.embedding).where(Item.id == 1)
    others = Item.select().where(Item.id != 1).order_by(Item.embedding.l2_distance(like_one))
    assert [item.id for item in others] == [3, 2]


@pytest.mark.parametrize("field", ["embedding", "half_embedding"])
def test_averages_and_sums(field: str) -> None:
    column = getattr(Item, field)
    assert Item.select(fn.avg(column).coerce(True)).scalar() is None
    for vector in ([1, 2, 3], [4, 5, 6]):
        Item.create(**{field: vector})
    assert Item.select(fn.avg(column).coerce(True)).scalar() == [2.5, 3.5, 4.5]
    assert Item.select(fn.sum(column).coerce(True)).scalar() == [5, 7, 9]


def test_get_or_create() -> None:
    Item.get_or_create(id=1, defaults={"embedding": [1, 2, 3]})
    Item.get_or_create(embedding=Vector([4, 5, 6]))
    for _ in range(2):
        Item.get_or_create(embedding=Item.embedding.to_value([7, 8, 9]))
    assert Item.select().count() == 3


def test_the_index_stands() -> None:
    definitions = [index.sql for index in database.get_indexes("peewee_like_pgvector")]
    assert any("USING hnsw (embedding vector_l2_ops)" in definition for definition in definitions)
