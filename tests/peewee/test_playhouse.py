"""Peewee's tools around a database that has vectors in it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from peewee import ForeignKeyField, Model, TextField
from playhouse import kv, migrations, reflection, schema_diff
from playhouse.dataset import DataSet
from playhouse.migrate import PostgresqlMigrator, migrate

from lightvec import HalfVector, Vector
from lightvec.errors import InvalidOption
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    HnswIndex,
    Pg8000Database,
    SparseVectorField,
    VectorField,
)
from lightvec.pg8000 import connect
from tests.peewee.conftest import Use, run_pwmigrate


class Maker(Model):
    name = TextField(unique=True)

    class Meta:
        table_name = "playhouse_maker"


class Thing(Model):
    id: Any
    maker = ForeignKeyField(Maker, backref="things", null=True)
    name = TextField(default="?")
    place = VectorField(3, metric="l2", index="hnsw", null=True)

    class Meta:
        table_name = "playhouse_thing"


@pytest.fixture
def tables(use: Use) -> None:
    use(Maker, Thing)


def url_for(url: str, scheme: str) -> str:
    return url.replace("postgresql://", f"{scheme}://")


# Introspection


@pytest.mark.usefixtures("tables")
def test_introspection(db: Pg8000Database) -> None:
    assert {"playhouse_maker", "playhouse_thing"} <= set(db.get_tables())
    columns = {column.name: column for column in db.get_columns("playhouse_thing")}
    assert list(columns) == ["id", "maker_id", "name", "place"]
    assert (columns["place"].full_type, columns["place"].null) == ("vector(3)", True)
    assert db.get_primary_keys("playhouse_thing") == ["id"]
    (key,) = db.get_foreign_keys("playhouse_thing")
    assert (key.column, key.dest_table, key.dest_column) == ("maker_id", "playhouse_maker", "id")
    columns_of = {index.name: index.columns for index in db.get_indexes("playhouse_thing")}
    assert columns_of["playhouse_thing_place_l2_hnsw"] == ["place"]
    assert db.table_exists("playhouse_thing")


# Migrations


@pytest.mark.usefixtures("tables")
def test_migrations(db: Pg8000Database) -> None:
    Thing.create(name="a")
    migrator = PostgresqlMigrator(db)
    migrate(
        migrator.add_column("playhouse_thing", "colour", VectorField(2, null=True)),
        migrator.add_column("playhouse_thing", "filled", HalfVectorField(2, default=[1, 2])),
        migrator.drop_column("playhouse_thing", "place"),
    )
    types = {column.name: column.full_type for column in db.get_columns("playhouse_thing")}
    assert types["colour"] == "vector(2)"
    assert "place" not in types
    assert db.execute_sql("SELECT filled FROM playhouse_thing").fetchone() == (HalfVector([1, 2]),)
    migrate(
        migrator.alter_column_type("playhouse_thing", "colour", HalfVectorField(2)),
        migrator.rename_column("playhouse_thing", "colour", "color"),
    )
    types = {column.name: column.full_type for column in db.get_columns("playhouse_thing")}
    assert types["color"] == "halfvec(2)"


# Reflection


@pytest.mark.usefixtures("tables")
def test_generated_models_read_and_write_vectors(db: Pg8000Database) -> None:
    Thing.create(name="a", place=[1, 2, 3])
    models: Any = reflection.generate_models(db, table_names=["playhouse_thing", "playhouse_maker"])
    made = models["playhouse_thing"]
    assert made.get().place == Vector([1, 2, 3])
    made.create(name="b", place=Vector([4, 5, 6]))
    assert Thing.get(Thing.place == [4, 5, 6]).name == "b"


@pytest.mark.usefixtures("tables")
def test_dataset(url: str) -> None:
    Thing.create(name="a", place=[1, 2, 3])
    dataset = DataSet(Pg8000Database(url))
    try:
        assert dataset["playhouse_thing"].find_one(name="a")["place"] == Vector([1, 2, 3])
        dataset["playhouse_maker"].insert(name="x")
        assert [row["name"] for row in dataset["playhouse_maker"].all()] == ["x"]
    finally:
        dataset.close()


def test_dataset_by_url(url: str) -> None:
    dataset = DataSet(url_for(url, "pg8000"))
    assert isinstance(dataset._database, Pg8000Database)
    dataset.close()


def test_key_value_store(db: Pg8000Database) -> None:
    store = kv.KeyValue(database=db, table_name="playhouse_kv")
    try:
        store["a"] = 1
        store["a"] = [2]
        store.update(b={"x": None})
        assert dict(store.items()) == {"a": [2], "b": {"x": None}}
        assert store.pop("a") == [2]
        assert "a" not in store
    finally:
        db.execute_sql("DROP TABLE playhouse_kv")


# In a process of their own


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["lightvec.peewee", "playhouse.db_url"])
@pytest.mark.parametrize(("scheme", "name"), [("pg8000", "Pg8000Database"), ("pg8000+pool", "PooledPg8000Database")])
def test_db_url_in_either_order(url: str, first: str, scheme: str, name: str) -> None:
    second = {"lightvec.peewee": "playhouse.db_url", "playhouse.db_url": "lightvec.peewee"}[first]
    printed = run(
        "-c",
        f"import {first}, {second}\n"
        "from playhouse.db_url import connect\n"
        f"db = connect({url_for(url, scheme)!r}, application_name='by url')\n"
        "print(type(db).__name__, *db.execute_sql('SHOW application_name').fetchone())\n"
        "db.manual_close() if hasattr(db, 'manual_close') else db.close()\n",
    )
    assert printed == f"{name} by url\n"


def test_db_url_takes_the_pools_options(url: str) -> None:
    printed = run(
        "-c",
        "import lightvec.peewee\n"
        "from playhouse.db_url import connect\n"
        f"db = connect({url_for(url, 'pg8000+pool')!r} + '&max_connections=3&stale_timeout=9')\n"
        "print(db._max_connections, db._stale_timeout)\n",
    )
    assert printed == "3 9\n"


def test_import_loads_no_more_than_it_needs() -> None:
    printed = run(
        "-c",
        "import sys\n"
        "before = list(sys.meta_path)\n"
        "import lightvec.peewee\n"
        "print({'numpy', 'scipy', 'lightvec.server'} & {*sys.modules}, sys.meta_path == before)\n",
    )
    assert printed == "set() True\n"


@pytest.mark.usefixtures("tables")
def test_pwiz(url: str) -> None:
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    # pwiz knows psycopg only: it is told of ours as its users would do it.
    printed = run(
        "-c",
        "import sys, pwiz\n"
        "from lightvec.peewee import Pg8000Database\n"
        "pwiz.DATABASE_MAP['postgresql'] = Pg8000Database\n"
        "introspector = pwiz.make_introspector('postgresql', sys.argv[1], host=sys.argv[2], port=int(sys.argv[3]), "
        "user='postgres')\n"
        "pwiz.print_models(introspector, ['playhouse_thing'])\n"
        "introspector.metadata.database.close()\n",
        parts.path[1:],
        options["host"][0],
        options.get("port", ["5432"])[0],
    )
    assert "class PlayhouseThing(BaseModel):" in printed
    assert "    place = VectorField(3, index='hnsw', metric='l2', null=True)\n" in printed
    assert "from lightvec.peewee import *\n" in printed


# Vector fields in playhouse's own tools


class Shape(Model):
    id: Any
    name = TextField()
    dense = VectorField(3, metric="cosine", index="hnsw")
    half = HalfVectorField(4, metric="l2", null=True)
    sparse = SparseVectorField(5, null=True)
    bits = FixedBitField(8, metric="hamming", index="ivfflat", null=True)

    class Meta:
        table_name = "playhouse_shape"
        indexes = ((("name",), False), HnswIndex("half", m=8), HnswIndex("dense", quantize="bit"))


def definitions(db: Pg8000Database, table: str) -> dict[str, str]:
    return {index.name: index.sql for index in db.get_indexes(table)}


def test_add_column_creates_the_index_of_its_field(use: Use, db: Pg8000Database) -> None:
    use(Maker)
    migrator = PostgresqlMigrator(db)
    for name, field in (
        ("one", VectorField(3, metric="cosine", index="hnsw", null=True)),
        ("two", HalfVectorField(3, metric="l2", index="ivfflat", null=True)),
        ("wide", VectorField(2_001, metric="l2", index="hnsw", null=True)),
        ("none", VectorField(3, metric="l2", null=True)),
    ):
        migrate(migrator.add_column("playhouse_maker", name, field))
    made = {name: sql.partition(" USING ")[2] for name, sql in definitions(db, "playhouse_maker").items()}
    assert made["playhouse_maker_one_cosine_hnsw"] == "hnsw (one vector_cosine_ops)"
    assert made["playhouse_maker_two_l2_ivfflat"] == "ivfflat (two halfvec_l2_ops)"
    assert made["playhouse_maker_wide_l2_halfvec_hnsw"] == "hnsw (((wide)::halfvec(2001)) halfvec_l2_ops)"
    assert len(made) == 5


@pytest.mark.parametrize(
    "field", [VectorField(3, index="hnsw", null=True), VectorField(metric="l2", index="hnsw", null=True)]
)
def test_a_column_whose_index_cannot_be_is_not_added(field: Any, use: Use, db: Pg8000Database) -> None:
    use(Maker)
    with pytest.raises(InvalidOption, match=r"VectorField declares no (metric|dimensions)"):
        migrate(PostgresqlMigrator(db).add_column("playhouse_maker", "one", field))
    assert "one" not in [column.name for column in db.get_columns("playhouse_maker")]


@pytest.mark.usefixtures("use")
def test_generated_models_have_vector_fields_and_indexes(use: Use, db: Pg8000Database) -> None:
    use(Shape)
    before = definitions(db, "playhouse_shape")
    model: Any = reflection.generate_models(db, table_names=["playhouse_shape"])["playhouse_shape"]
    fields = {field.name: field for field in model._meta.sorted_fields}
    kinds = {name: (type(field), field.dimensions, field.metric) for name, field in fields.items() if name[0] in "dhsb"}
    assert kinds == {
        "dense": (VectorField, 3, "cosine"),
        "half": (HalfVectorField, 4, "l2"),
        "sparse": (SparseVectorField, 5, None),
        "bits": (FixedBitField, 8, "hamming"),
    }
    db.drop_tables([model])
    db.create_tables([model])
    after = definitions(db, "playhouse_shape")
    assert sorted(map(_form, after.values())) == sorted(map(_form, before.values()))
    assert not schema_diff.diff_models(db, [Shape])


def _form(sql: str) -> str:
    return sql.partition(" ON ")[2]


def test_schema_diff(use: Use, db: Pg8000Database) -> None:
    use(Shape)
    assert not schema_diff.diff_models(db, [Shape])
    db.execute_sql("DROP INDEX playhouse_shape_dense_cosine_hnsw")
    assert str(schema_diff.diff_models(db, [Shape])) == ("add index playhouse_shape.playhouse_shape_dense_cosine_hnsw")


def test_down_restores_a_dropped_vector_index(use: Use, db: Pg8000Database) -> None:
    use(Shape)

    class Bare(Model):
        name = TextField(index=True)
        dense = VectorField(3, metric="cosine")
        half = HalfVectorField(4, metric="l2", null=True)
        sparse = SparseVectorField(5, null=True)
        bits = FixedBitField(8, metric="hamming", null=True)

        class Meta:
            table_name = "playhouse_shape"

    diff = schema_diff.diff_models(db, [Bare])
    assert len(diff.drop_indexes) == 4
    source = migrations.template(diff)
    assert source.count("drop_index(") == source.count("migrator.sql(") == 4
    assert "TODO" not in source
    names: dict[str, Any] = {}
    exec(source, names)
    names["up"](PostgresqlMigrator(db), db)
    assert not schema_diff.diff_models(db, [Bare])
    names["down"](PostgresqlMigrator(db), db)
    assert not schema_diff.diff_models(db, [Shape])


MIGRATED = """
from peewee import *
from lightvec.peewee import *

class Item(Model):
    name = TextField()
    dense = VectorField(3, metric="cosine", index="hnsw")
    half = HalfVectorField(4, metric="l2", null=True)
    sparse = SparseVectorField(5, null=True)
    bits = FixedBitField(8, metric="hamming", index="ivfflat", null=True)

    class Meta:
        table_name = "playhouse_item"
        indexes = ((("name",), False), HnswIndex("half", m=8), HnswIndex("dense", quantize="bit"))
"""
ADDED = '    more = VectorField(2, metric="ip", index="hnsw", null=True)\n\n    class Meta:'


def test_pwmigrate(empty_url: str, tmp_path: Path) -> None:
    """The whole way: a first migration, one for what a model got since, up, down, and no difference in between."""

    pwmigrate = partial(run_pwmigrate, tmp_path, url_for(empty_url, "pg8000"))

    models = tmp_path / "migrated.py"
    models.write_text(MIGRATED)
    pwmigrate("initial", "migrated")
    first = (tmp_path / "migrations" / "0001_initial.py").read_text()
    assert "dense = VectorField(3, metric='cosine', index='hnsw')\n" in first
    assert "HnswIndex('half', m=8)" in first
    assert "HnswIndex('dense', quantize='bit')" in first
    assert "TODO" not in first
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
    assert pwmigrate("up") == "applied: 0001_initial\n"
    assert pwmigrate("diff", "migrated") == "schema matches models.\n"
    models.write_text(MIGRATED.replace("\n    class Meta:", ADDED, 1))
    assert "add column playhouse_item.more" in pwmigrate("diff", "migrated")
    pwmigrate("generate", "more", "migrated")
    second = (tmp_path / "migrations" / "0002_more.py").read_text()
    assert "VectorField(2, metric='ip', index='hnsw', null=True)" in second
    assert "TODO" not in second
    assert pwmigrate("up") == "applied: 0002_more\n"
    assert pwmigrate("diff", "migrated") == "schema matches models.\n"
    assert pwmigrate("down") == "reverted: 0002_more\n"
    assert pwmigrate("down") == "reverted: 0001_initial\n"
