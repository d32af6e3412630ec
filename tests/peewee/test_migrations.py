"""A schema that changes by Peewee's tools is the one that the models declare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from peewee import SQL, CompositeKey, IntegerField, Model, TextField
from playhouse import migrations, reflection, schema_diff
from playhouse.migrate import PostgresqlMigrator, migrate

from lightvec.errors import InvalidOption
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    Pg8000Database,
    VectorField,
)
from tests.peewee.conftest import run_pwmigrate
from tests.peewee.versions import HEAD, VERSIONS, catalog, is_as_declared, models_of

Declared = Callable[[type[Model]], list[str]]


@pytest.fixture
def declared(db: Pg8000Database) -> Declared:
    """What the catalog has of a model that is set up anew."""

    def set_up(model: type[Model]) -> list[str]:
        db.bind([model])
        db.drop_tables([model])
        db.create_tables([model])
        found = catalog(db, model._meta.table_name)
        db.drop_tables([model])
        return found

    return set_up


def doc(table: str = "migrated_doc", /, *indexes: Any, **fields: Any) -> Any:
    """A model of two texts and these fields."""
    own = {"id": None, "body": TextField(null=True), "title": TextField(null=True), **fields}
    own.pop("id")
    own = {name: field for name, field in own.items() if field is not None}
    meta = type("Meta", (), {"table_name": table, "indexes": indexes})
    return type("MigratedDoc", (Model,), {"Meta": meta, **own})


@pytest.fixture
def start(db: Pg8000Database) -> Iterator[Callable[[type[Model]], PostgresqlMigrator]]:
    """Creates a model's table with a row, and gives what changes it."""

    def create(model: Any) -> PostgresqlMigrator:
        db.bind([model])
        db.create_tables([model])
        model.insert(body="a").execute()
        return PostgresqlMigrator(db)

    yield create
    db.execute_sql('DROP TABLE IF EXISTS migrated_doc, "Migrated ""page"""')


Start = Callable[[Any], PostgresqlMigrator]
SOURCE: dict[str, Any] = {"model": "m-1", "source": "body", "metric": "cosine", "index": "hnsw"}


# playhouse.migrate


def test_add_column_adds_what_source_needs(start: Start, db: Pg8000Database, declared: Declared) -> None:
    migrator = start(doc())
    migrate(migrator.add_column("migrated_doc", "vector", VectorField(3, **SOURCE)))
    found = catalog(db, "migrated_doc")
    assert found == declared(doc(vector=VectorField(3, **SOURCE)))
    assert 'vector vector(3) false lightvec: {"model": "m-1", "source": ["body"]}' in found


def test_add_column_records_the_model(start: Start, db: Pg8000Database, declared: Declared) -> None:
    migrator = start(doc())
    migrate(migrator.add_column("migrated_doc", "vector", VectorField(3, model="it's 50 %", null=True)))
    assert catalog(db, "migrated_doc") == declared(doc(vector=VectorField(3, model="it's 50 %", null=True)))


def test_a_column_whose_source_cannot_be_is_not_added(start: Start, db: Pg8000Database) -> None:
    migrator = start(doc())
    with pytest.raises(InvalidOption, match=r"got 'none', which is no such field"):
        migrate(migrator.add_column("migrated_doc", "vector", VectorField(3, model="m", source="none")))
    assert not [text for text in catalog(db, "migrated_doc") if "vector" in text]


def test_drop_column_drops_what_source_needs(start: Start, db: Pg8000Database, declared: Declared) -> None:
    migrator = start(doc(vector=VectorField(3, **SOURCE)))
    migrate(migrator.drop_column("migrated_doc", "vector"))
    assert catalog(db, "migrated_doc") == declared(doc())


def test_drop_column_leaves_a_column_that_is_named_like_a_hash(start: Start, db: Pg8000Database) -> None:
    migrator = start(doc(vector=VectorField(3, null=True), vector_hash=TextField(null=True)))
    migrate(migrator.drop_column("migrated_doc", "vector"))
    assert "vector_hash text false" in catalog(db, "migrated_doc")


def many_indexes(name: str) -> tuple[Any, ...]:
    return (
        HnswIndex(name, metric="l2", m=8, where=SQL("title LIKE 'a%%'")),
        HnswIndex(name, metric="ip", quantize="bit"),
        IvfflatIndex(name, metric="l2", quantize="halfvec", lists=3),
        HnswIndex(name, metric="l1", name=f"own_{'name' if name else ''}"),
    )


def test_rename_column_takes_all_along(start: Start, db: Pg8000Database, declared: Declared) -> None:
    migrator = start(doc("migrated_doc", *many_indexes("vector"), vector=VectorField(3, **SOURCE)))
    migrate(migrator.rename_column("migrated_doc", "vector", "embedding"))
    expected = doc("migrated_doc", *many_indexes("embedding"), embedding=VectorField(3, **SOURCE))
    assert catalog(db, "migrated_doc") == declared(expected)


def test_rename_column_of_a_source(start: Start, db: Pg8000Database, declared: Declared) -> None:
    both = {**SOURCE, "source": ["title", "body"]}
    migrator = start(doc(vector=VectorField(3, **both)))
    migrate(migrator.rename_column("migrated_doc", "body", "text"))
    expected = doc(body=None, text=TextField(null=True), vector=VectorField(3, **{**both, "source": ["title", "text"]}))
    assert catalog(db, "migrated_doc") == declared(expected)


def test_rename_table_takes_all_along(start: Start, db: Pg8000Database, declared: Declared) -> None:
    migrator = start(doc("migrated_doc", *many_indexes("vector"), vector=VectorField(3, **SOURCE)))
    name = 'Migrated "page"'
    migrate(migrator.rename_table("migrated_doc", name))
    found = catalog(db, name)
    expected = declared(doc(name, *many_indexes("vector"), vector=VectorField(3, **SOURCE)))
    # Peewee leaves the name of the primary key.
    assert [each for each in found if "pkey" not in each] == [each for each in expected if "pkey" not in each]
    assert len(found) == len(expected)


BITS: dict[str, Any] = {"metric": "jaccard", "index": "hnsw", "null": True}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (partial(VectorField, 3, **SOURCE), partial(HalfVectorField, 3, **SOURCE)),
        (partial(HalfVectorField, 3, **SOURCE), partial(VectorField, 3, **SOURCE)),
        (partial(VectorField, 3, **SOURCE), partial(VectorField, 2_001, **SOURCE)),
        (partial(VectorField, 2_001, **SOURCE), partial(VectorField, 4_001, **SOURCE)),
        (partial(VectorField, 4_001, **SOURCE), partial(HalfVectorField, 7, **SOURCE)),
        (partial(FixedBitField, 3, **BITS), partial(FixedBitField, 4, **BITS)),
    ],
)
def test_alter_column_type_changes_the_indexes(
    old: Any, new: Any, start: Start, db: Pg8000Database, declared: Declared
) -> None:
    migrator = start(doc(vector=old()))
    migrate(migrator.alter_column_type("migrated_doc", "vector", new()))
    assert catalog(db, "migrated_doc") == declared(doc(vector=new()))


def test_alter_column_type_keeps_the_options_of_the_indexes(
    start: Start, db: Pg8000Database, declared: Declared
) -> None:
    migrator = start(doc("migrated_doc", *many_indexes("vector"), vector=VectorField(3, null=True)))
    db.execute_sql("UPDATE migrated_doc SET vector = '[1,2,3]'")
    migrate(migrator.alter_column_type("migrated_doc", "vector", HalfVectorField(3)))
    found = catalog(db, "migrated_doc")
    plain, bit, halfvec, own = many_indexes("vector")
    halfvec = IvfflatIndex("vector", metric="l2", lists=3)
    assert found == declared(doc("migrated_doc", plain, bit, halfvec, own, vector=HalfVectorField(3, null=True)))


# schema_diff and pwmigrate


def test_pwmigrate_through_versions_of_a_model(empty: Pg8000Database, tmp_path: Path, empty_url: str) -> None:
    pwmigrate = partial(run_pwmigrate, tmp_path, empty_url.replace("postgresql://", "pg8000://"))

    states = []
    for number, source in enumerate(VERSIONS):
        (tmp_path / "migrated.py").write_text(source)
        states.append(catalog(empty, "item"))
        pwmigrate(*(["generate", "next"] if number else ["initial"]), "migrated")
        (path,) = (tmp_path / "migrations").glob(f"000{number + 1}_*.py")
        written = path.read_text()
        assert "_hash'" not in written
        assert "_hash =" not in written
        assert "TODO" not in written or "dropped column" in written
        assert pwmigrate("up").startswith(f"applied: 000{number + 1}")
        assert pwmigrate("diff", "migrated") == "schema matches models.\n"
        model = models_of(source, empty)
        assert is_as_declared(model, empty)
        model.insert(name="abc", n=9).execute()
    assert states[0] == []
    pwmigrate("down")  # Without the columns, as it says.
    empty.execute_sql("DELETE FROM schema_migration WHERE name LIKE '0004%' OR name LIKE '0003%'")
    empty.execute_sql("DROP TABLE item; DELETE FROM schema_migration")
    pwmigrate("up", "0004_next")
    for number in (3, 2, 1, 0):
        pwmigrate("down")
        assert catalog(empty, "item") == states[number]


PLAIN = f"""{HEAD}
    dense = VectorField(3, metric="cosine", null=True)

    class Meta:
        table_name = "item"
"""


def test_a_source_that_is_declared_later(empty: Pg8000Database) -> None:
    before = models_of(PLAIN, empty)
    empty.create_tables([before])
    after = models_of(PLAIN.replace("null=True", 'model="m-1", source="name"'), empty)
    names: dict[str, Any] = {}
    exec(migrations.template(schema_diff.diff_models(empty, [after])), names)
    names["up"](PostgresqlMigrator(empty), empty)
    assert not schema_diff.diff_models(empty, [after])
    names["down"](PostgresqlMigrator(empty), empty)
    assert not schema_diff.diff_models(empty, [before])


def test_a_plain_index_is_not_taken_for_a_vector_index(empty: Pg8000Database) -> None:
    model = models_of(VERSIONS[0], empty)
    empty.create_tables([model])
    empty.execute_sql("DROP INDEX migrated_own")
    empty.execute_sql("CREATE INDEX migrated_own ON item (n) WHERE n > 1")
    difference = str(schema_diff.diff_models(empty, [model]))
    assert difference == "add index item.migrated_own\ndrop index item.migrated_own"


def test_generated_sql_finds_pgvector_outside_the_search_path(empty: Pg8000Database) -> None:
    model = models_of(VERSIONS[0], empty)
    empty.create_tables([model])
    empty.execute_sql("CREATE SCHEMA apart; ALTER EXTENSION vector SET SCHEMA apart")
    empty.execute_sql("DROP INDEX migrated_own")
    names: dict[str, Any] = {}
    exec(migrations.template(schema_diff.diff_models(empty, [model])), names)
    names["up"](PostgresqlMigrator(empty), empty)
    assert not schema_diff.diff_models(empty, [model])


def test_a_file_builds_indexes_in_its_transaction(empty: Pg8000Database) -> None:
    empty.create_tables([models_of(PLAIN, empty)])
    model = models_of(PLAIN, empty)
    model.add_index(HnswIndex(model.dense, concurrently=True))
    names: dict[str, Any] = {}
    exec(migrations.template(schema_diff.diff_models(empty, [model])), names)
    with empty.atomic():
        names["up"](PostgresqlMigrator(empty), empty)
    assert not schema_diff.diff_models(empty, [model])


def test_tables_in_another_schema(empty: Pg8000Database) -> None:
    empty.execute_sql("CREATE SCHEMA apart")
    model = models_of(VERSIONS[0], empty)
    model._meta.schema = "apart"
    names: dict[str, Any] = {}
    exec(migrations.template(schema_diff.SchemaDiff([model], [], [], [], [])), names)
    migrator = PostgresqlMigrator(empty, schema="apart")
    names["up"](migrator, empty)
    assert not schema_diff.diff_models(empty, [model])
    before = catalog(empty, "apart.item")
    migrate(
        migrator.rename_column("item", "dense", "vector"),
        migrator.rename_table("item", "thing"),
        migrator.alter_column_type("thing", "vector", VectorField(3)),
        migrator.rename_table("thing", "item"),
        migrator.rename_column("item", "vector", "dense"),
    )
    assert catalog(empty, "apart.item") == before
    reflected: Any = reflection.generate_models(empty, schema="apart")["item"]
    assert not schema_diff.diff_models(empty, [reflected])
    names["down"](migrator, empty)
    assert catalog(empty, "apart.item") == []


def test_a_source_of_a_table_with_several_keys(empty: Pg8000Database) -> None:
    class Item(Model):
        name = TextField(column_name="title")
        n = IntegerField()

        class Meta:
            table_name = "item"
            primary_key = CompositeKey("n", "name")
            database = empty

    empty.create_tables([Item])
    field = VectorField(3, metric="l2", model="m", source="title")
    migrate(PostgresqlMigrator(empty).add_column("item", "dense", field))
    reflected: Any = reflection.generate_models(empty)["item"]
    assert (reflected.dense.source, reflected.dense.embedding_model) == (("title",), "m")
    assert "dense_hash" in reflected._meta.columns
    # Peewee's reflection takes the index of the primary key for another one.
    assert "dense" not in str(schema_diff.diff_models(empty, [reflected]))


# Reflection


def test_reflected_models_are_the_models(empty: Pg8000Database) -> None:
    for source in VERSIONS:
        model = models_of(source, empty)
        empty.create_tables([model])
        expected = catalog(empty, "item")
        reflected: Any = reflection.generate_models(empty)["item"]
        assert not schema_diff.diff_models(empty, [reflected])
        empty.drop_tables([model])
        empty.create_tables([reflected])
        assert catalog(empty, "item") == expected
        empty.drop_tables([model])


@pytest.mark.parametrize("is_loaded_late", [False, True])
def test_pwiz_prints_the_models(empty: Pg8000Database, empty_url: str, is_loaded_late: bool) -> None:
    imports = ["from lightvec.peewee import Pg8000Database\ndb = Pg8000Database(sys.argv[1])\n", "import pwiz\n"]
    for source in VERSIONS:
        model = models_of(source, empty)
        empty.create_tables([model])
        expected = catalog(empty, "item")
        program = (
            "import sys\n"
            + "".join(imports if is_loaded_late else reversed(imports))
            + "from playhouse.reflection import Introspector\n"
            "pwiz.print_models(Introspector.from_database(db), ['item'])\n"
            "db.close()\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, empty_url],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "Unhandled" not in done.stdout
        names: dict[str, Any] = {"__name__": "printed"}
        exec(done.stdout, names)
        reflected = names["Item"]
        reflected._meta.set_database(empty)
        assert not schema_diff.diff_models(empty, [reflected])
        empty.drop_tables([model])
        empty.create_tables([reflected])
        assert catalog(empty, "item") == expected
        empty.drop_tables([model])


# repr()


def test_an_index_is_shown_as_code() -> None:
    for index in (
        HnswIndex("vector", metric="l2", m=8, ef_construction=32, quantize="bit", name="it's"),
        IvfflatIndex("vector", lists=3, where=SQL("n > 1")),
    ):
        again = eval(repr(index))
        assert repr(again) == repr(index)
    model = doc("migrated_doc", vector=VectorField(3, metric="l2"), n=IntegerField())
    index = HnswIndex(model.vector, where=(model.n > 1) & (model.title != "a'%"))
    condition = """(("n" > 1) AND ("title" != 'a''%'))"""
    assert repr(index) == f"HnswIndex('vector', where=SQL({condition!r}))"
