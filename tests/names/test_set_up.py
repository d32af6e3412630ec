"""Schema set-up, and models of tables that stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.peewee.reflect import model_of, model_with, vector_field
from lightvec.peewee.schema import plan, set_schema, set_up
from lightvec.pg8000 import Connection, connect
from lightvec.wire.identifiers import identifier
from tests.cases import for_each
from tests.names.conftest import House
from tests.names.hostile import FEW, HOSTILE, LONG, NO_TEXT, REFUSED, cut, shown


def described(table: str, column: str) -> Any:
    """A model as ``init-db --table`` makes it: its index is named after its table and column."""
    fields: dict[str, Any] = {
        "id": peewee.AutoField(),
        f"{column[:20]}2": peewee.TextField(null=True),
        column: VectorField(2, metric="l2", index="hnsw"),
    }
    return model_with(table, fields)


@for_each("name", HOSTILE, shown)
def test_set_up_and_back(house: House, db: Pg8000Database, name: str) -> None:
    """Schema, table and columns of this name are made once, stand then, and are found."""
    model = described(name, name)
    set_schema([model], name)
    steps = set_up(db, [model], schema=name)
    assert [(step.kind, step.name, step.exists) for step in steps[:3]] == [
        ("extension", "vector", True),
        ("schema", name, False),
        ("table", name, False),
    ]
    assert house.made("table") == {(name, name)}
    assert house.columns(name, name) == ["id", f"{name[:20]}2", name]
    assert (name, steps[3].name) in house.made("index")
    assert all(step.exists for step in plan(db, [model], schema=name))
    found = model_of(db, name, name)
    assert [field.column_name for field in found._meta.sorted_fields] == ["id", f"{name[:20]}2", name]
    assert vector_field(found, name).metric == "l2"
    with db.bind_ctx([found]):
        found.insert({vector_field(found): [1, 0]}).execute()
        rows = list(vector_field(found).nearest([1, 0]).tuples())
    assert [row[-1] for row in rows] == [1.0]


@for_each("name", FEW, shown)
def test_an_index_that_is_left_invalid(house: House, db: Pg8000Database, name: str) -> None:
    """It is dropped by its name and built anew."""
    model = described(name, name)
    set_schema([model], name)
    index = set_up(db, [model], schema=name)[-1].name
    house.run(
        "UPDATE pg_index SET indisvalid = false FROM pg_class c, pg_namespace n WHERE indexrelid = c.oid "
        "AND n.oid = c.relnamespace AND relname = %L AND nspname = %L",
        index,
        name,
    )
    assert [step.exists for step in set_up(db, [model], schema=name, concurrently=True)] == [True, True, True, False]
    assert all(step.exists for step in plan(db, [model], schema=name))


@pytest.fixture
def empty(empty_url: str) -> Iterator[Connection]:
    with connect(empty_url) as admin:
        yield admin


@for_each("name", FEW, shown)
def test_an_extension_in_a_schema(empty: Connection, empty_url: str, name: str) -> None:
    """pgvector lies outside the search path, in a schema of this name; the tables in another one."""
    quoted: Any = empty.run("SELECT quote_ident(:name)", name=name)
    empty.run(f"CREATE SCHEMA {quoted[0][0]}; CREATE EXTENSION vector SCHEMA {quoted[0][0]}")
    database = Pg8000Database(empty_url)
    with database.connection_context():
        assert database.extension().schema == name
        for _ in range(2):
            steps = set_up(database, [described(name, name)])
        assert all(step.exists for step in steps)
        assert vector_field(model_of(database, name)).dimensions == 2
    empty.run(f"DROP SCHEMA {quoted[0][0]} CASCADE")


@for_each("name", [*REFUSED, *NO_TEXT], shown)
def test_what_is_no_name(house: House, db: Pg8000Database, name: Any) -> None:
    with pytest.raises(InvalidOption, match="expected a name"):
        model_with(name, {})
    fields: Any = {None if isinstance(name, list) else name: peewee.TextField()}
    with pytest.raises(InvalidOption, match="expected a name"):
        model_with("plain", fields)
    if name is not None:
        with pytest.raises(InvalidOption, match="expected a name"):
            set_up(db, [described("plain", "embedding")], schema=name)
    if name:
        with pytest.raises(InvalidOption, match="expected a name"):
            model_of(db, name)
        with pytest.raises(InvalidOption, match="expected a name"):
            model_of(db, "plain", name)
    assert house.made("table") == set()


@for_each("name", HOSTILE, shown)
def test_a_table_that_is_not_there(db: Pg8000Database, name: str) -> None:
    with pytest.raises(SchemaMismatch, match="there is no table"):
        model_of(db, name)
    with pytest.raises(SchemaMismatch, match="there is no table"):
        model_of(db, "untouched", name)


@for_each("name", LONG, shown)
def test_a_model_does_not_stand_on_what_it_is_cut_to(db: Pg8000Database, name: str) -> None:
    class Long(peewee.Model):
        class Meta:
            table_name = name

    with pytest.raises(InvalidOption, match="at most 63 bytes"):
        plan(db, [Long])
    assert db.execute_sql(f"SELECT * FROM {identifier(cut(name))}").fetchall() == [(1,)]
