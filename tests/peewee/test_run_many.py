"""Several searches in one round trip give what each gives by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peewee import IntegerField, Model, TextField, fn

from lightvec.errors import InvalidOption
from lightvec.peewee import HnswIndex, Pg8000Database, VectorField, run_many
from tests.pg8000.roundtrips import Relay

MATRIX = np.random.default_rng(8).normal(size=(400, 4)).astype("f4")


class Spot(Model):
    id: Any
    number = IntegerField()
    distance = TextField(default="mine")
    place = VectorField(4, metric="l2", null=True)

    class Meta:
        table_name = "together_spot"


@pytest.fixture(scope="module")
def spots(url: str) -> Iterator[str]:
    db = Pg8000Database(url)
    with db.bind_ctx([Spot]), db.connection_context():
        db.create_tables([Spot])
        db.copy_rows(Spot, [{"number": n, "place": v} for n, v in enumerate(MATRIX)], [Spot.number, Spot.place])
        model: Any = Spot
        db.execute(model._schema._create_index(HnswIndex(Spot.place)))
    yield url
    with db.bind_ctx([Spot]), db.connection_context():
        db.drop_tables([Spot])


def searches(count: int = 20) -> list[Any]:
    field: Any = Spot.place
    made = []
    for number in range(count):
        query = field.nearest(MATRIX[number] + 0.01, 5 + number % 3, ef_search=50 + number)
        made.append(query.where(fn.mod(Spot.number, 2) == number % 2) if number % 5 else query)
    return made


def key(row: Any) -> Any:
    return row if isinstance(row, (dict, tuple)) else (row.number, row.score)


@pytest.mark.parametrize("form", ["rows", "dicts", "tuples", "chosen"])
def test_each_gives_what_it_gives_by_itself(form: str, spots: str) -> None:
    change: Any = {
        "rows": lambda query: query,
        "dicts": lambda query: query.dicts(),
        "tuples": lambda query: query.tuples(),
        "chosen": lambda query: query.select(Spot.number).tuples(),
    }[form]
    with Relay(spots) as relay:
        db = Pg8000Database(relay.url)
        with db.bind_ctx([Spot]), db.connection_context():
            alone = [list(map(key, change(query))) for query in searches()]
            queries = [change(query) for query in searches()]
            with relay.recording() as record:
                found = run_many(queries)
                assert [query.shortfall for query in queries] == [None] * len(queries)
            assert record.round_trips == 1
    assert [list(map(key, rows)) for rows in found] == alone
    assert [len(rows) for rows in found] == [5 + number % 3 for number in range(20)]


def test_many(spots: str) -> None:
    db = Pg8000Database(spots)
    with db.bind_ctx([Spot]), db.connection_context():
        assert run_many(iter([])) == []
        found: Any = run_many(Spot.place.nearest(vector, 1) for vector in MATRIX)
        assert [row.number for (row,) in found] == list(range(len(MATRIX)))


@pytest.mark.parametrize("query", [1, "SELECT 1", Spot, None])
def test_of_what_is_no_query(query: Any) -> None:
    with pytest.raises(InvalidOption, match="expected Peewee selects"):
        run_many([query])


def test_of_two_databases(spots: str) -> None:
    class Other(Model):
        place = VectorField(4, metric="l2")

        class Meta:
            database = Pg8000Database(spots)

    db = Pg8000Database(spots)
    with db.bind_ctx([Spot]), pytest.raises(InvalidOption, match="one database"):
        run_many([Spot.place.nearest(MATRIX[0]), Other.place.nearest(MATRIX[0])])
