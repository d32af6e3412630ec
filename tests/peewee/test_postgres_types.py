"""PostgreSQL's own types and playhouse.postgres_ext on this driver: JSON, arrays, hstore, full text, server cursors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from peewee import IntegerField, Model, TextField, fn
from playhouse.postgres_ext import (
    ArrayField,
    BinaryJSONField,
    HStoreField,
    JSONField,
    Match,
    ServerSide,
    TSVectorField,
)

from lightvec import Vector
from lightvec.peewee import Pg8000Database, VectorField
from tests.peewee.conftest import Use


class Kinds(Model):
    id: Any
    json = JSONField(null=True)
    jsonb = BinaryJSONField(null=True)
    numbers = ArrayField(IntegerField, null=True)
    words = ArrayField(TextField, null=True)
    grid = ArrayField(IntegerField, dimensions=2, null=True)
    search = TSVectorField(null=True)
    body = TextField(null=True)
    embedding = VectorField(2, null=True)

    class Meta:
        table_name = "peewee_kinds"


@pytest.mark.parametrize("value", [{"a": [1, {"b": None}]}, [1, "x", 2.5], "text", 5, True, []])
def test_json(use: Use, value: object) -> None:
    use(Kinds)
    Kinds.create(json=value, jsonb=value)
    row = Kinds.get()
    assert (row.json, row.jsonb) == (value, value)


def test_json_lookups(use: Use) -> None:
    use(Kinds)
    size: Any = Kinds.jsonb["size"]
    Kinds.create(jsonb={"tags": ["a", "b"], "size": {"w": 3}})
    Kinds.create(jsonb={"tags": ["c"], "size": {"w": 9}})
    assert Kinds.select().where(size["w"] == "9").count() == 1
    assert Kinds.select().where(Kinds.jsonb.contains({"tags": ["a"]})).count() == 1
    assert Kinds.select().where(Kinds.jsonb.contains_any("nothing", "size")).count() == 2
    rows: Any = Kinds.select(size["w"].as_json().alias("w")).order_by(Kinds.id).dicts()
    assert [row["w"] for row in rows] == [3, 9]


def test_arrays(use: Use) -> None:
    use(Kinds)
    Kinds.create(numbers=[1, 2, 3], words=["a", 'b"\\,', "", "NULL"], grid=[[1, 2], [3, 4]])
    row = Kinds.get(Kinds.numbers.contains(2))
    assert (row.numbers, row.words, row.grid) == ([1, 2, 3], ["a", 'b"\\,', "", "NULL"], [[1, 2], [3, 4]])
    assert Kinds.select(Kinds.numbers[0]).scalar() == 1
    assert Kinds.select().where(Kinds.words.contains_any("x", "a")).count() == 1
    assert Kinds.select().where(Kinds.numbers == [1, 2]).count() == 0


def test_full_text(use: Use) -> None:
    use(Kinds)
    for body in ("the cat sat", "dogs are sitting", "a bird"):
        Kinds.create(body=body, search=fn.to_tsvector("english", body))
    assert [row.body for row in Kinds.select().where(Match(Kinds.body, "cat"))] == ["the cat sat"]
    matching = Kinds.select().where(Kinds.search.match("sit", "english")).order_by(Kinds.id)
    assert [row.body for row in matching] == ["dogs are sitting"]


class Store(Model):
    data = HStoreField(null=True)

    class Meta:
        table_name = "peewee_store"


@pytest.fixture
def with_hstore(url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(url, register_hstore=True)
    with database.bind_ctx([Store]):
        database.create_tables([Store])
        yield database
        database.drop_tables([Store])
    database.close()


def test_hstore(with_hstore: Pg8000Database) -> None:
    Store.create(data={"a": "1", 'b"\\': "", "none": None})
    assert Store.get().data == {"a": "1", 'b"\\': "", "none": None}
    assert Store.select().where(Store.data.contains({"a": "1"})).count() == 1
    assert Store.select().where(Store.data.exists("b")).count() == 0
    assert Store.select(Store.data["a"]).scalar() == "1"
    Store.update(data=Store.data.update(c="3")).execute()
    assert Store.get().data["c"] == "3"


# Cursors on the server


@pytest.fixture
def many(use: Use) -> None:
    use(Kinds)
    Kinds.insert_many([{"numbers": [number], "embedding": [number, 0]} for number in range(50)]).execute()


@pytest.mark.usefixtures("many")
def test_server_side_rows_come_in_pages(db: Pg8000Database, sent: list[bytes]) -> None:
    query = Kinds.select(Kinds.numbers, Kinds.embedding).order_by(Kinds.id)
    rows = ServerSide(query, array_size=20)
    first: Any = next(rows)
    fetches = sum(b"FETCH FORWARD 20 " in data for data in sent)
    assert (first.numbers, first.embedding) == ([0], Vector([0, 0]))
    assert fetches == 1
    assert [row.numbers[0] for row in rows] == list(range(1, 50))
    # Three pages, and perhaps one to see that nothing is left.
    assert sum(b"FETCH FORWARD 20 " in data for data in sent) in (3, 4)


@pytest.mark.usefixtures("many")
def test_server_side_in_a_transaction(db: Pg8000Database) -> None:
    with db.atomic():
        rows = [row.embedding for row in ServerSide(Kinds.select().order_by(Kinds.id), array_size=7)]
    assert rows == [Vector([number, 0]) for number in range(50)]


@pytest.mark.usefixtures("many")
def test_server_side_cursors_for_every_select(url: str, sent: list[bytes]) -> None:
    database = Pg8000Database(url, server_side_cursors=True)
    with database.bind_ctx([Kinds]), database.connection_context():
        query = Kinds.select().order_by(Kinds.id)
        assert [row.embedding[0] for row in query.iterator()] == list(range(50))
        assert any(b"DECLARE" in data for data in sent)
        assert Kinds.select().count() == 50
        sent.clear()
        assert Kinds.update(body="x").execute() == 50
        assert not any(b"DECLARE" in data for data in sent)
