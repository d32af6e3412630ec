"""diff: what differs, and that its statements and migrations make of one schema the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from peewee import SQL, Check, CompositeKey, Model
from playhouse.migrations import Migration, Runner

from lightvec.errors import SchemaMismatch
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    Pg8000Database,
    SparseVectorField,
    VectorField,
    diff,
)
from lightvec.peewee._seam import execute_as_is
from lightvec.peewee.definitions import tables_named
from lightvec.peewee.differences import Difference
from lightvec.peewee.schema import set_up
from lightvec.peewee.schema_changes import run, write_migration
from lightvec.pg8000 import connect


@pytest.fixture
def empty(empty_url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        database.execute_sql("CREATE EXTENSION vector")
        yield database


def model(fields: dict[str, Any], name: str = "Doc", **meta: Any) -> Any:
    meta.setdefault("table_name", "doc")
    return type(name, (Model,), {**fields, "Meta": type("Meta", (), meta)})


def apply(database: Pg8000Database, differences: Sequence[Difference]) -> None:
    for difference in differences:
        for statement in difference.sql:
            execute_as_is(database, statement)


def take_back(database: Pg8000Database, differences: Sequence[Difference]) -> None:
    for difference in reversed(differences):
        for statement in difference.undo:
            execute_as_is(database, statement)


def shown(differences: Sequence[Difference]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.differs) for each in differences]


def catalog(database: Pg8000Database) -> Any:
    """The definition of the table, whatever the order of its columns."""
    table = tables_named(database, ["doc"])["doc"]
    constraints = {(each.kind, each.definition, each.valid) for each in table.constraints}
    indexes = {name: (index.words, index.valid, index.columns) for name, index in table.indexes.items()}
    return dict(sorted(table.columns.items())), constraints, indexes


def same(found: Any, wanted: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                assert one[name] == other[name]
        else:
            assert one == other


# Pairs of models

FIELDS: dict[str, Callable[..., Any]] = {
    "int": peewee.IntegerField,
    "bigint": peewee.BigIntegerField,
    "text": peewee.TextField,
    "varchar": lambda **options: peewee.CharField(20, **options),
    "bool": peewee.BooleanField,
    "float": peewee.FloatField,
    "numeric": lambda **options: peewee.DecimalField(8, 3, **options),
    "timestamp": peewee.DateTimeField,
}
VECTORS = {
    VectorField: ["l2", "cosine", "ip"],
    HalfVectorField: ["l2", "cosine"],
    SparseVectorField: ["l2", "ip"],
    FixedBitField: ["hamming", "jaccard"],
}
DEFAULTS = {"int": "7", "bigint": "7", "text": "'x''%%'", "varchar": "'x'", "bool": "true", "float": "1.5"}


@st.composite
def models(draw: st.DrawFn) -> Any:
    """A model with up to four plain fields, up to two vectors, their indexes, a check and a condition."""
    fields: dict[str, Any] = {}
    key = draw(st.sampled_from(["auto", "bigauto", "composite", "none"]))
    if key == "auto":
        fields["id"] = peewee.AutoField()
    elif key == "bigauto":
        fields["id"] = peewee.BigAutoField()
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4)):
        kind = draw(st.sampled_from(sorted(FIELDS)))
        options: dict[str, Any] = {"null": draw(st.booleans())}
        options[draw(st.sampled_from(["unique", "index", "help_text"]))] = True
        if kind in DEFAULTS and draw(st.booleans()):
            options["constraints"] = [SQL(f"DEFAULT {DEFAULTS[kind]}")]
        fields[name] = FIELDS[kind](**options)
    indexes = []
    for name in draw(st.lists(st.sampled_from(["e", "f"]), unique=True, max_size=2)):
        cls = draw(st.sampled_from(list(VECTORS)))
        metric = draw(st.sampled_from(VECTORS[cls]))
        made_by = draw(st.sampled_from([None, "model-1"]))
        fields[name] = cls(draw(st.sampled_from([3, 4])), metric=metric, null=draw(st.booleans()), model=made_by)
        for number in range(draw(st.integers(0, 2))):
            given_name = draw(st.sampled_from([None, f"doc_{name}_{number}"]))
            if draw(st.booleans()) or cls is SparseVectorField or metric == "jaccard":
                options = {"m": draw(st.sampled_from([None, 8, 16]))}
                kind_of_index: Any = HnswIndex
            else:
                options, kind_of_index = {"lists": draw(st.sampled_from([1, 2]))}, IvfflatIndex
            if cls is VectorField:
                options["quantize"] = draw(st.sampled_from([None, "halfvec"]))
            if "a" in fields and draw(st.booleans()):
                options["where"] = fields["a"].is_null(False)
            indexes.append(kind_of_index(name, name=given_name, **options))
    meta: dict[str, Any] = {"indexes": indexes}
    plain = [name for name in fields if name in "abcd"]
    if key == "composite" and len(plain) >= 2:
        meta["primary_key"] = CompositeKey(*plain[:2])
        for name in plain[:2]:
            fields[name].null = False
    elif "id" not in fields:
        meta["primary_key"] = False
    if draw(st.booleans()) and plain:
        meta["constraints"] = [Check(f"{plain[0]} IS NOT NULL OR {draw(st.sampled_from(['1 = 1', '2 = 2']))}")]
    if not fields:
        fields["a"] = peewee.TextField()
    return model(fields, **meta)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=models(), second=models())
def test_one_schema_becomes_the_other(empty: Pg8000Database, first: Any, second: Any) -> None:
    """And back; diff is empty exactly then."""
    empty.execute_sql("SET client_min_messages = error")
    catalogs = {}
    for each in (second, first):
        empty.execute_sql("DROP TABLE IF EXISTS doc")
        set_up(empty, [each])
        assert shown(diff(empty, [each])) == []
        catalogs[each] = catalog(empty)
    differences = diff(empty, [second])
    assert (differences == []) == (catalogs[first] == catalogs[second])
    for _ in range(2):  # Each statement can be run again.
        apply(empty, differences)
    assert shown(diff(empty, [second])) == []
    same(catalog(empty), catalogs[second])
    take_back(empty, differences)
    assert shown(diff(empty, [first])) == []
    same(catalog(empty), catalogs[first])


# Single differences


class Doc(Model):
    """The model that tables differ from."""

    title = peewee.CharField(20, unique=True)
    parent = peewee.ForeignKeyField("self", null=True)
    embedding = VectorField(3, metric="l2", index="hnsw", null=True, model="model-1")

    class Meta:
        table_name = "doc"
        constraints = (Check("length(title) > 2"),)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "ALTER TABLE doc DROP CONSTRAINT doc_parent_id_fkey",
            ("foreign key", "doc.doc_parent_id_fkey", "it is missing"),
        ),
        (
            "ALTER TABLE doc DROP CONSTRAINT doc_pkey CASCADE; ALTER TABLE doc ADD FOREIGN KEY (parent_id) "
            "REFERENCES doc (id)",
            None,
        ),
        (
            "ALTER TABLE doc DROP CONSTRAINT doc_title_check; "
            "ALTER TABLE doc ADD CONSTRAINT doc_title_check CHECK (length(title) > 3)",
            (
                "check",
                "doc.doc_title_check",
                "it is CHECK ((length((title)::text) > 3)), expected CHECK ((length((title)::text) > 2))",
            ),
        ),
        (
            "ALTER TABLE doc DROP CONSTRAINT doc_title_check; "
            "ALTER TABLE doc ADD CONSTRAINT doc_title_check CHECK (length(title) > 2) NOT VALID",
            ("check", "doc.doc_title_check", "it is not validated"),
        ),
        (
            "ALTER TABLE doc ADD UNIQUE (parent_id)",
            ("unique", "doc.doc_parent_id_key", "Doc does not declare it (UNIQUE (parent_id))"),
        ),
        ("ALTER TABLE doc ADD extra int", ("column", "doc.extra", "Doc does not declare it (integer)")),
        (
            "ALTER TABLE doc ALTER title SET DEFAULT 'x'",
            ("default", "doc.title", "it has the default 'x'::character varying, expected no default"),
        ),
        (
            'ALTER TABLE doc ALTER title TYPE varchar(20) COLLATE "C"',
            ("type", "doc.title", 'it is character varying(20) COLLATE "C", expected character varying(20)'),
        ),
        (
            "ALTER TABLE doc ALTER id DROP DEFAULT; ALTER TABLE doc ALTER id ADD GENERATED ALWAYS AS IDENTITY",
            ("default", "doc.id", "it has an identity, expected a sequence"),
        ),
        ("COMMENT ON COLUMN doc.embedding IS NULL", ("model", "doc.embedding model-1", "it is missing")),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'doc_embedding_l2_hnsw'::regclass",
            ("vector index", "doc_embedding_l2_hnsw", "it is invalid, as an interrupted build left it"),
        ),
    ],
)
def test_a_difference(empty: Pg8000Database, statement: str, found: tuple[str, str, str] | None) -> None:
    set_up(empty, [Doc])
    empty.execute_sql("INSERT INTO doc (title, embedding) VALUES ('a title', '[1,2,3]')")
    if found is None:
        with pytest.raises(peewee.ProgrammingError):
            execute_as_is(empty, statement)
        return
    execute_as_is(empty, statement)
    differences = diff(empty, [Doc])
    assert shown(differences) == [found]
    for _ in range(2):
        apply(empty, differences)
    assert diff(empty, [Doc]) == []
    assert empty.execute_sql("SELECT title, embedding::text FROM doc").fetchall() == [("a title", "[1,2,3]")]


def test_the_extension_is_missing(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        database.execute_sql("CREATE TABLE doc (id serial PRIMARY KEY)")
        assert shown(diff(database, [Doc])) == [
            ("extension", "vector", "it is missing"),
            ("table", "doc", "it has no column of a type of pgvector's, as the extension is missing"),
        ]


def test_an_older_version_of_the_extension(empty: Pg8000Database) -> None:
    set_up(empty, [Doc])
    empty.execute_sql("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    (found,) = diff(empty, [Doc])
    assert found.differs.startswith("it is 0.7.4, expected 0.8")
    assert found.sql == ("ALTER EXTENSION vector UPDATE",)
    assert all(step.exists for step in set_up(empty, [Doc]))


def test_another_embedding_model_has_no_sql(empty: Pg8000Database) -> None:
    set_up(empty, [Doc])
    other = model({"embedding": VectorField(3, null=True, model="model-2")}, table_name="doc")
    found = [each for each in diff(empty, [other]) if each.kind == "model"]
    assert [(each.sql, "lightvec switch" in each.differs) for each in found] == [((), True)]


def test_a_view_of_that_name(empty: Pg8000Database) -> None:
    empty.execute_sql("CREATE VIEW doc AS SELECT 1 AS id")
    assert shown(diff(empty, [Doc])) == [("table", "doc", "it is a view, expected a table")]


def test_nothing_is_left_and_nothing_is_locked(empty: Pg8000Database, empty_url: str) -> None:
    set_up(empty, [Doc])
    with connect(empty_url) as other:
        other.run("BEGIN; LOCK TABLE doc IN EXCLUSIVE MODE")
        assert diff(empty, [Doc]) == []
        other.run("LOCK TABLE doc IN ACCESS EXCLUSIVE MODE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lightvec.peewee.definitions.LOCK_TIMEOUT", 1)
            with pytest.raises(peewee.OperationalError, match="lock timeout"):
                diff(empty, [Doc])
    schemas = empty.execute_sql("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'reference'").fetchone()
    assert schemas == (0,)
    assert empty.execute_sql("SHOW search_path").fetchone() == ('"$user", public',)


@pytest.mark.parametrize("may_create", ["schema", "temporary tables", "nothing"])
def test_what_the_user_may_create(empty: Pg8000Database, may_create: str) -> None:
    set_up(empty, [Doc])
    ((name,),) = empty.execute_sql("SELECT quote_ident(current_database())").fetchall()
    role = f"modest_{name}"
    empty.execute_sql(f"CREATE ROLE {role}; REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT SELECT ON doc TO {role}")
    if may_create != "nothing":
        right = "CREATE" if may_create == "schema" else "TEMP"
        empty.execute_sql(f"GRANT {right} ON DATABASE {name} TO {role}")
    empty.execute_sql(f"SET ROLE {role}")
    try:
        if may_create == "nothing":
            with pytest.raises(SchemaMismatch, match="neither a schema nor temporary tables"):
                diff(empty, [Doc])
        else:
            assert diff(empty, [Doc]) == []
    finally:
        empty.execute_sql(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("path", ["public", "a_schema, public", '"B", public'])
def test_models_in_schemas(empty: Pg8000Database, path: str) -> None:
    """Also those that refer to each other from one schema to another, or to a table of another model."""
    empty.execute_sql('CREATE SCHEMA a_schema; CREATE SCHEMA "B"')
    empty.execute_sql("SELECT set_config('search_path', %s, false)", (path,))
    owner = model({"name": peewee.TextField()}, "Owner", table_name="owner", schema="a_schema")
    target = peewee.DeferredForeignKey("Late", null=True)
    item = model({"owner": peewee.ForeignKeyField(owner), "late": target}, "Item", table_name="item", schema="B")
    late = model({"item": peewee.ForeignKeyField(item)}, "Late", table_name="late")
    set_up(empty, [owner, item, late])
    assert diff(empty, [owner, item, late]) == []
    assert diff(empty, [item]) == []
    empty.execute_sql('ALTER TABLE "B".item DROP CONSTRAINT item_owner_id_fkey')
    found = diff(empty, [owner, item, late])
    assert [each.kind for each in found] == ["foreign key"]
    apply(empty, found)
    assert diff(empty, [late, item, owner]) == []
    assert (
        diff(empty, [model({"n": peewee.TextField()}, table_name="new")], schema="B")[0]
        .sql[0]
        .startswith('CREATE TABLE IF NOT EXISTS "B"."new"')
    )


def test_the_extension_out_of_the_search_path(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        database.execute_sql("CREATE SCHEMA ex; CREATE EXTENSION vector SCHEMA ex")
        set_up(database, [Doc])
        assert diff(database, [Doc]) == []
        database.execute_sql("DROP INDEX doc_embedding_l2_hnsw")
        apply(database, diff(database, [Doc]))
        assert diff(database, [Doc]) == []


def test_a_value_for_the_rows_that_exist(empty: Pg8000Database) -> None:
    plain = model({"n": peewee.IntegerField()})
    set_up(empty, [plain])
    without = model({"n": peewee.IntegerField(), "m": peewee.IntegerField()})
    assert diff(empty, [without])[0].sql
    empty.execute_sql("INSERT INTO doc (n) VALUES (1)")
    (found,) = diff(empty, [without])
    assert (found.sql, "needs a default" in found.differs) == ((), True)
    apply(empty, diff(empty, [model({"n": peewee.IntegerField(), "m": peewee.IntegerField(default=7)})]))
    assert empty.execute_sql("SELECT n, m FROM doc").fetchall() == [(1, 7)]


# Migrations


def test_a_migration_up_and_down(empty: Pg8000Database, tmp_path: Path) -> None:
    """On a table with rows, interrupted at each of its statements and run again."""
    wanted = model(
        {
            "title": peewee.TextField(index=True),
            "n": peewee.IntegerField(default=1),
            "embedding": HalfVectorField(3, metric="cosine", null=True),
            "other": VectorField(2, null=True),
        },
        indexes=[HnswIndex("embedding", m=8, name="doc_embedding_l2_hnsw")],
    )
    new = model({"doc": peewee.ForeignKeyField(wanted)}, "New", table_name="new")
    set_up(empty, [Doc])
    empty.execute_sql("INSERT INTO doc (title, embedding) VALUES ('a title', '[1,2,3]')")
    before = catalog(empty)
    path = write_migration("all of it", diff(empty, [wanted, new]), tmp_path)
    runner = Runner(empty, str(tmp_path))
    statements = Migration.load_directory(str(tmp_path))[0].load().UP
    for number in range(1, len(statements)):
        with pytest.MonkeyPatch.context() as patch:
            left = iter(range(number))

            def interrupted(database: Any, statement: str, left: Iterator[int] = left) -> Any:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return execute_as_is(database, statement)

            patch.setattr("lightvec.peewee.schema_changes.execute_as_is", interrupted)
            patch.setattr("lightvec.peewee.brief_locks.execute_as_is", interrupted)
            if number < 4 or number % 3 == 0:
                with pytest.raises(KeyboardInterrupt):
                    runner.up()
    assert runner.up() == [path.stem]
    assert diff(empty, [wanted, new]) == []
    assert empty.execute_sql("SELECT title, embedding::text FROM doc").fetchall() == [("a title", "[1,2,3]")]
    assert runner.down() == [path.stem]
    assert diff(empty, [Doc]) == []
    same(catalog(empty), before)


def test_a_statement_waits_for_a_moment_only(empty: Pg8000Database, empty_url: str) -> None:
    set_up(empty, [Doc])
    with connect(empty_url) as other:
        other.run("BEGIN; SELECT * FROM doc")
        timer = Timer(0.5, other.run, ["COMMIT"])
        timer.start()
        run(empty, ['ALTER TABLE "public"."doc" ADD COLUMN "n" integer'])
        timer.join()
