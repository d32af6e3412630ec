"""``init-db`` and models on a cluster: tables are spread as they say, once, with their keys and indexes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peewee import (
    AutoField,
    BigIntegerField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    IntegrityError,
    Model,
    TextField,
)

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import HnswIndex, Pg8000Database, VectorField
from lightvec.peewee.citus import table_distribution
from lightvec.peewee.distribution import Distribution
from lightvec.peewee.schema import plan, set_up
from lightvec.wire.identifiers import identifier
from tests.cli.conftest import Run


@pytest.fixture
def db(citus_url: str) -> Iterator[Pg8000Database]:
    """A connected database; the tables that a test makes in the schema of the tests are dropped."""
    database = Pg8000Database(citus_url)
    with database.connection_context():
        schema = _schema(database)
        before = set(database.get_tables(schema))
        yield database
        for table in set(database.get_tables(schema)) - before:
            database.execute_sql(f"DROP TABLE IF EXISTS {identifier(schema, table)} CASCADE")


def _schema(database: Pg8000Database) -> str:
    ((schema,),) = database.execute_sql("SELECT current_schema()").fetchall()
    return str(schema)


class Base(Model):
    class Meta:
        legacy_table_names = False


class Country(Base):
    id = AutoField()
    name = TextField()

    class Meta:
        reference = True


class Tenant(Base):
    id = BigIntegerField(primary_key=True)
    country = ForeignKeyField(Country)

    class Meta:
        distribute_by = "id"
        shards = 3


class Page(Base):
    tenant = ForeignKeyField(Tenant)
    id = BigIntegerField()
    slug = TextField()
    country = ForeignKeyField(Country)
    embedding = VectorField(3, metric="l2")

    class Meta:
        primary_key = CompositeKey("tenant", "id")
        distribute_by = "tenant"
        shards = 3
        indexes = ((("tenant", "slug"), True), HnswIndex("embedding"))


ALL: list[type[Any]] = [Page, Tenant, Country]


def test_models_are_spread_with_their_keys(db: Pg8000Database) -> None:
    planned = plan(db, ALL)
    made = [(step.kind, step.name) for step in set_up(db, ALL) if not step.exists]
    assert made == [(step.kind, step.name) for step in planned if not step.exists]
    assert [step for step in made if step[0] == "distribution"] == [
        ("distribution", "country as a reference table"),
        ("distribution", "tenant by id"),
        ("distribution", "page by tenant_id"),
    ]
    assert table_distribution(db, "country").distribution == Distribution(reference=True)
    assert table_distribution(db, "tenant").distribution == Distribution("id", 3)
    assert table_distribution(db, "page").distribution == Distribution("tenant_id", 3)
    assert all(step.exists for step in set_up(db, ALL))
    with db.bind_ctx(ALL):
        Country.create(id=1, name="here")
        Tenant.create(id=7, country=1)
        Page.create(tenant=7, id=1, slug="a", country=1, embedding=[1, 2, 3])
        for wrong in ({"tenant": 8}, {"country": 2}, {"slug": "a", "id": 2}):
            row = {"tenant": 7, "id": 3, "slug": "b", "country": 1, "embedding": [1, 2, 3], **wrong}
            with pytest.raises(IntegrityError), db.atomic():
                Page.create(**row)
        assert [page.slug for page in Page.embedding.nearest([1, 2, 3])] == ["a"]


def test_what_was_made_before_is_spread_with_its_rows(db: Pg8000Database) -> None:
    class Note(Base):
        id = BigIntegerField(primary_key=True)
        embedding = VectorField(2, metric="l2", index="hnsw")

    with db.bind_ctx([Note]):
        set_up(db, [Note])
        Note.insert_many([{"id": number, "embedding": [number, 1]} for number in range(50)]).execute()
        steps = set_up(db, [Note], distribution=Distribution("id", 4))
        assert [(step.kind, step.exists) for step in steps][-2:] == [("distribution", False), ("index", True)]
        assert Note.select().count() == 50
        assert [note.id for note in Note.embedding.nearest([20, 1], k=1)] == [20]
    with pytest.raises(SchemaMismatch, match="is distributed by id over 4 shards, and Note is to be a reference table"):
        plan(db, [Note], distribution=Distribution(reference=True))
    with pytest.raises(SchemaMismatch, match="over 8 shards"):
        plan(db, [Note], distribution=Distribution("id", 8))
    assert plan(db, [Note], distribution=Distribution("id"))[-2].exists


def test_tables_that_refer_to_each_other_are_not_spread_as_they_stand(db: Pg8000Database) -> None:
    class Owner(Base):
        id = BigIntegerField(primary_key=True)

    class Thing(Base):
        owner = ForeignKeyField(Owner)
        id = BigIntegerField()

        class Meta:
            primary_key = CompositeKey("owner", "id")

    with db.bind_ctx([Owner, Thing]):
        set_up(db, [Owner, Thing])
        for model, column in ((Owner, "id"), (Thing, "owner")):
            meta: Any = model._meta
            meta.distribute_by = column
        with pytest.raises(SchemaMismatch, match="drop the constraint thing_owner_id_fkey"):
            plan(db, [Owner, Thing])
        db.execute_sql("ALTER TABLE thing DROP CONSTRAINT thing_owner_id_fkey")
        set_up(db, [Owner, Thing])
        with pytest.raises(IntegrityError):
            Thing.create(owner=1, id=1)


def test_a_schema_is_spread_as_a_whole(db: Pg8000Database, citus_url: str, run: Run) -> None:
    schema = f"{_schema(db)}_whole"
    arguments = ["init-db", "--url", citus_url, "--schema", schema, "--distribute-schema"]
    arguments += ["--table", "doc", "--dimensions", "3", "--json"]
    try:
        for made in (True, False):
            outcome = run(*arguments)
            assert outcome.status == 0, outcome.err
            told = {(step["kind"], step["name"]): step["created"] for step in json.loads(outcome.out)}
            assert told["distribution", f"schema {schema}"] is made
        assert str(table_distribution(db, f"{schema}.doc")) == "distributed with its schema"
        refused = run(
            "init-db", "--url", citus_url, "--schema", schema, "--table", "doc", "--dimensions", "3", "--reference"
        )
        assert refused.status == 1
        assert "is distributed with its schema, and doc is to be a reference table" in refused.err
    finally:
        db.execute_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def test_a_table_that_is_described(db: Pg8000Database, citus_url: str, run: Run) -> None:
    arguments = ["init-db", "--url", citus_url, "--table", "item", "--dimensions", "3", "--column", "tenant:int"]
    arguments += ["--column", "title:text", "--distribute-by", "tenant", "--shards", "4"]
    dry = run(*arguments, "--dry-run")
    assert 'PRIMARY KEY ("tenant", "id")' in dry.out
    assert """SELECT create_distributed_table('"item"', 'tenant', shard_count => 4);""" in dry.out
    assert not db.table_exists("item")
    for word in ("created", "exists"):
        outcome = run(*arguments)
        assert outcome.status == 0, outcome.err
        assert f"{word}  distribution  item by tenant\n" in outcome.out
    assert table_distribution(db, "item").distribution == Distribution("tenant", 4)
    columns = {
        row[0]
        for row in db.execute_sql(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'item' "
            "AND table_schema = current_schema()"
        )
    }
    assert columns == {"id", "tenant", "title", "embedding"}


def test_a_table_for_each_node(db: Pg8000Database, citus_url: str, run: Run) -> None:
    outcome = run("init-db", "--url", citus_url, "--table", "small", "--dimensions", "3", "--reference")
    assert "created  distribution  small as a reference table" in outcome.out
    assert table_distribution(db, "small").distribution == Distribution(reference=True)


def test_models_on_the_command_line(
    db: Pg8000Database, citus_url: str, run: Run, write_module: Callable[[str], str]
) -> None:
    module = write_module("""
class Shelf(Model):
    shelf = IntegerField()
    id = BigIntegerField()
    embedding = VectorField(3, metric="l2", index="hnsw")
    class Meta:
        primary_key = CompositeKey("shelf", "id")

class Label(Model):
    class Meta:
        reference = True
""")
    outcome = run("init-db", "--url", citus_url, module, "--distribute-by", "shelf", "--shards", "2", "--concurrently")
    assert outcome.status == 0, outcome.err
    assert table_distribution(db, "shelf").distribution == Distribution("shelf", 2)
    assert table_distribution(db, "label").distribution == Distribution(reference=True)


def test_a_distributed_schema_has_no_distributed_tables(db: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match="not both"):
        plan(db, ALL, schema="whole", distribute_schema=True)


class Log(Base):
    id = BigIntegerField(primary_key=True)
    tenant = IntegerField()

    class Meta:
        distribute_by = "id"


def test_a_conflict_that_the_distribution_column_decides(db: Pg8000Database) -> None:
    with db.bind_ctx([Log]):
        set_up(db, [Log])
        for tenant in (1, 2):
            Log.insert(id=5, tenant=tenant).on_conflict(conflict_target=[Log.id], preserve=[Log.tenant]).execute()
        assert Log.get().tenant == 2
