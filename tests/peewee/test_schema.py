"""Schema set-up: several at once, and indexes that stand under the name of one that is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import peewee
import pytest
from peewee import SQL, Model
from playhouse.migrate import PostgresqlMigrator, migrate
from playhouse.postgres_ext import ArrayField

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, VectorField, definitions
from lightvec.peewee.distribution import Distribution
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import plan, set_schema, set_up
from lightvec.pg8000 import connect

INDEX = "doc_embedding_cosine_hnsw"


def doc() -> type[Model]:
    fields: dict[str, Any] = {
        "id": peewee.AutoField(),
        "title": peewee.TextField(index=True),
        "embedding": VectorField(3, metric="cosine", index="hnsw"),
    }
    return model_with("doc", fields)


@contextmanager
def connected(url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(url)
    with database.connection_context():
        yield database


@pytest.mark.parametrize("concurrently", [False, True])
def test_several_at_once(empty_url: str, concurrently: bool) -> None:
    def one(_: int) -> list[Any]:
        with connected(empty_url) as database:
            return set_up(database, [doc()], concurrently=concurrently)

    with ThreadPoolExecutor(6) as pool:
        made = [[step.name for step in steps if not step.exists] for steps in pool.map(one, range(6))]
    assert sum("doc" in names for names in made) == 1
    with connected(empty_url) as database:
        assert all(step.exists for step in plan(database, [doc()]))
        assert database.execute_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_the_lock_goes_when_an_index_cannot_be_built(empty_url: str) -> None:
    with connected(empty_url) as database:
        set_up(database, [doc()])
        database.execute_sql(f"DROP INDEX {INDEX}")
        database.execute_sql(f"CREATE TYPE {INDEX} AS (n int)")
        with pytest.raises(peewee.ProgrammingError):
            set_up(database, [doc()], concurrently=True)
        assert database.execute_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ("USING ivfflat (embedding vector_cosine_ops)", "is ivfflat .embedding vector_cosine_ops."),
        ("USING hnsw (embedding vector_l2_ops)", "expected hnsw .embedding vector_cosine_ops.: `lightvec diff`"),
        ("(title)", "is btree .title., expected hnsw"),
    ],
)
def test_an_index_that_is_another(empty_url: str, definition: str, told: str) -> None:
    with connected(empty_url) as database:
        set_up(database, [doc()])
        database.execute_sql(f"DROP INDEX {INDEX}")
        database.execute_sql(f"CREATE INDEX {INDEX} ON doc {definition}")
        with pytest.raises(SchemaMismatch, match=told):
            plan(database, [doc()])


@pytest.mark.parametrize("name", [INDEX, "doc_title"])
def test_an_index_on_another_table(empty_url: str, name: str) -> None:
    with connected(empty_url) as database:
        database.execute_sql("CREATE TABLE other (n int)")
        database.execute_sql(f"CREATE INDEX {name} ON other (n)")
        database.execute_sql("CREATE EXTENSION vector")
        with pytest.raises(SchemaMismatch, match=f"{name} of doc: it is to be on the table doc.*exists on other"):
            set_up(database, [doc()])


def test_an_index_of_that_name_in_another_schema_is_no_matter(empty_url: str) -> None:
    with connected(empty_url) as database:
        set_up(database, [doc()])
        database.execute_sql("CREATE SCHEMA first")
        database.execute_sql("CREATE TABLE first.other (n int)")
        database.execute_sql(f"CREATE INDEX {INDEX} ON first.other (n)")
        database.execute_sql("SET search_path = first, public")
        assert all(step.exists for step in plan(database, [doc()]))


def test_an_index_that_is_being_built(empty_url: str) -> None:
    """CREATE INDEX CONCURRENTLY waits for the transaction that writes; its index is invalid until then."""
    with connected(empty_url) as database, connect(empty_url) as writer, ThreadPoolExecutor(1) as pool:
        set_up(database, [doc()])
        database.execute_sql(f"DROP INDEX {INDEX}")
        writer.run("BEGIN; INSERT INTO doc (title, embedding) VALUES ('a', '[1,2,3]')")
        building = pool.submit(build, empty_url)
        while database.execute_sql(f"SELECT to_regclass('{INDEX}')").fetchone() == (None,):
            assert not building.done()
        try:
            with pytest.raises(SchemaMismatch, match="is being built at this moment"):
                plan(database, [doc()])
            with pytest.MonkeyPatch.context() as patch:
                # Who may not see the counters takes it for one that was left, and must not drop it all the same.
                patch.setattr("lightvec.peewee.invalid_indexes.LOCK_TIMEOUT", 1)
                progress = r"EXISTS \(\s*SELECT FROM pg_catalog.pg_stat_progress.*?c.oid\)"
                patch.setattr("lightvec.peewee.definitions._TABLES", re.sub(progress, "false", definitions._TABLES))
                for concurrently in (False, True):
                    with pytest.raises(SchemaMismatch, match="another session builds an index"):
                        set_up(database, [doc()], concurrently=concurrently)
        finally:
            writer.run("COMMIT")
        building.result()
        assert all(step.exists for step in plan(database, [doc()]))


def build(url: str) -> None:
    with connect(url) as conn:
        conn.run(f"CREATE INDEX CONCURRENTLY {INDEX} ON doc USING hnsw (embedding vector_cosine_ops)")


# What exists and differs


class Place(Model):
    """The table and its indexes are created by statements that leave one thing different."""

    id: Any
    name = peewee.CharField(max_length=20, unique=True)
    note = peewee.TextField(null=True)
    number = peewee.IntegerField()
    embedding = VectorField(3, metric="l2")

    class Meta:
        table_name = "place"
        indexes = (
            HnswIndex("embedding", m=32, name="place_hnsw"),
            IvfflatIndex("embedding", lists=200, name="place_ivfflat"),
        )


Place.add_index(Place.number, name="place_number", where=Place.note == "100% it's")

TABLE = (
    "CREATE TABLE place (id serial PRIMARY KEY, name varchar(20) NOT NULL, note text, number integer NOT NULL, "
    "embedding vector(3) NOT NULL)"
)
INDEXES = {
    "place_name": "CREATE UNIQUE INDEX place_name ON place (name)",
    "place_number": "CREATE INDEX place_number ON place (number) WHERE note = '100% it''s'",
    "place_hnsw": "CREATE INDEX place_hnsw ON place USING hnsw (embedding vector_l2_ops) WITH (m = 32)",
    "place_ivfflat": "CREATE INDEX place_ivfflat ON place USING ivfflat (embedding vector_l2_ops) WITH (lists = 200)",
}


def differences(database: Pg8000Database, table: str = TABLE, **indexes: str) -> dict[str, str]:
    """What the steps say of the table and indexes that these statements create."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    with database.atomic() as transaction:
        database.execute_sql("SET LOCAL client_min_messages = error")
        for sql in (table, *{**INDEXES, **indexes}.values()):
            if sql:
                database.execute_sql(sql)
        steps = set_up(database, [Place])
        assert [step.exists for step in plan(database, [Place])] == [not step.differs for step in steps]
        transaction.rollback()
    return {f"{step.kind} {step.name}": step.differs for step in steps if step.differs}


@pytest.fixture
def empty(empty_url: str) -> Iterator[Pg8000Database]:
    with connected(empty_url) as database:
        yield database


def test_what_peewee_created_does_not_differ(empty: Pg8000Database) -> None:
    assert differences(empty) == {}
    with empty.bind_ctx([Place]):
        empty.create_tables([Place])
    assert all(step.exists for step in plan(empty, [Place]))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("id serial", "id bigserial", {"type place.id": "it is bigint, expected integer"}),
        ("PRIMARY KEY", "UNIQUE", {"primary key place.place_pkey": "it is missing"}),
        (
            "varchar(20)",
            "varchar(30)",
            {"type place.name": "it is character varying(30), expected character varying(20)"},
        ),
        ("varchar(20)", "text", {"type place.name": "it is text, expected character varying(20)"}),
        (
            "number integer",
            "number text",
            {
                "type place.number": "it is text, expected integer",
                "index place_number": "it goes with the column, which is changed",
            },
        ),
        ("note text", "note text NOT NULL", {"null place.note": "it is NOT NULL, expected NULL"}),
        ("name varchar(20) NOT NULL", "name varchar(20)", {"null place.name": "it is NULL, expected NOT NULL"}),
    ],
)
def test_a_table_that_differs(empty: Pg8000Database, old: str, new: str, told: dict[str, str]) -> None:
    assert differences(empty, TABLE.replace(old, new)) == told


WHERE = "WHERE (note = '100% it''s'::text)"


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("place_name", "UNIQUE ", "", "it is btree (name), expected unique btree (name)"),
        ("place_name", "(name)", "(note)", "it is unique btree (note), expected unique btree (name)"),
        ("place_name", "(name)", "(name, note)", "it is unique btree (name, note), expected unique btree (name)"),
        (
            "place_name",
            "(name)",
            "(lower(name))",
            "it is unique btree (lower((name)::text)), expected unique btree (name)",
        ),
        (
            "place_number",
            "CREATE",
            "CREATE UNIQUE",
            f"it is unique btree (number) {WHERE}, expected btree (number) {WHERE}",
        ),
        (
            "place_number",
            "(number)",
            "USING hash (number)",
            f"it is hash (number) {WHERE}, expected btree (number) {WHERE}",
        ),
        (
            "place_number",
            "100%",
            "50%",
            f"it is btree (number) {WHERE.replace('100', '50')}, expected btree (number) {WHERE}",
        ),
        ("place_number", " WHERE note = '100% it''s'", "", f"it is btree (number), expected btree (number) {WHERE}"),
        (
            "place_name",
            "(name)",
            "(name) WHERE number > 5",
            "it is unique btree (name) WHERE (number > 5), expected unique btree (name)",
        ),
        (
            "place_hnsw",
            "m = 32",
            "m = 16",
            "it is hnsw (embedding vector_l2_ops), expected hnsw (embedding vector_l2_ops) WITH (m = 32)",
        ),
        (
            "place_hnsw",
            " WITH (m = 32)",
            "",
            "it is hnsw (embedding vector_l2_ops), expected hnsw (embedding vector_l2_ops) WITH (m = 32)",
        ),
        (
            "place_hnsw",
            " WITH (m = 32)",
            " WITH (m = 32) WHERE id > 5",
            "it is hnsw (embedding vector_l2_ops) WITH (m = 32) WHERE (id > 5), "
            "expected hnsw (embedding vector_l2_ops) WITH (m = 32)",
        ),
        (
            "place_ivfflat",
            "200",
            "10",
            "it is ivfflat (embedding) WITH (lists = 10), expected ivfflat (embedding) WITH (lists = 200)",
        ),
    ],
)
def test_an_index_that_differs(empty: Pg8000Database, name: str, old: str, new: str, told: str) -> None:
    assert differences(empty, **{name: INDEXES[name].replace(old, new, 1)}) == {f"index {name}": told}


def test_an_index_of_that_name_on_another_vector(empty: Pg8000Database) -> None:
    other = "CREATE INDEX place_hnsw ON place USING hnsw (second vector_l2_ops) WITH (m = 32)"
    with pytest.raises(SchemaMismatch, match=r"is hnsw .second vector_l2_ops. WITH .m = 32., expected hnsw .embedding"):
        differences(empty, TABLE.replace("embedding", "second vector(3), embedding"), place_hnsw=other)


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_with_the_name_of_the_table(empty: Pg8000Database, kind: str) -> None:
    table = TABLE.replace("TABLE place", "TABLE others")
    with empty.atomic():
        empty.execute_sql("CREATE EXTENSION vector")
        empty.execute_sql(table)
        empty.execute_sql(f"CREATE {kind} place AS SELECT * FROM others")
        assert [step.differs for step in plan(empty, [Place]) if step.kind == "table"] == [
            f"it is a {kind.lower()}, expected a table"
        ]


def test_another_metric_is_told(empty: Pg8000Database) -> None:
    """The new index is built beside the old one, which no query of the model uses any more."""
    set_up(empty, [doc()])
    other: Any = model_with("doc", {"id": peewee.AutoField(), "embedding": VectorField(3, metric="l2", index="hnsw")})
    steps = {step.name: step for step in set_up(empty, [other])}
    assert not steps["doc_embedding_l2_hnsw"].differs
    assert "doc does not declare it (hnsw (embedding vector_cosine_ops))" in steps[INDEX].differs
    for _ in range(2):
        (again,) = (step for step in set_up(empty, [other]) if not step.exists)
        assert (again.name, again.differs) == (INDEX, steps[INDEX].differs)


class Raw(peewee.Model):
    """A model with indexes that are given as SQL."""

    title = peewee.TextField()
    embedding = VectorField(3, metric="l2", index="hnsw")

    class Meta:
        table_name = "raw"
        indexes = (
            SQL("CREATE INDEX IF NOT EXISTS Raw_Lower ON raw (lower(title) text_pattern_ops)"),
            SQL('create unique index "raw ""title""" on raw (title) WHERE title LIKE \'a%%\''),
            SQL("CREATE INDEX CONCURRENTLY raw_second ON raw USING hnsw (embedding vector_cosine_ops)"),
            SQL("CREATE INDEX ON raw (length(title))"),
        )


def test_indexes_as_sql(empty: Pg8000Database) -> None:
    set_up(empty, [Raw])
    names = {index.name for index in empty.get_indexes("raw")}
    wanted = {"raw_lower", 'raw "title"', "raw_second", "raw_length_idx", "raw_embedding_l2_hnsw", "raw_pkey"}
    assert names == wanted
    assert all(step.exists for step in plan(empty, [Raw]))
    empty.execute_sql("DROP INDEX raw_lower")
    set_up(empty, [Raw])
    assert {index.name for index in empty.get_indexes("raw")} == wanted


def test_sql_of_an_index_with_parameters(empty: Pg8000Database) -> None:
    model: Any = model_with("raw", {"id": peewee.AutoField()})
    model.add_index(SQL("CREATE INDEX raw_few ON raw (id) WHERE id < %s", [5]))
    with pytest.raises(InvalidOption, match="takes no parameters"):
        plan(empty, [model])


# Peewee's create_tables


class First(peewee.Model):
    """What a first script declares."""

    embedding = VectorField(3, metric="l2", index="hnsw")

    class Meta:
        table_name = "first"


class Listed(peewee.Model):
    """A model that needs the extension for an array."""

    embeddings = ArrayField(VectorField, {"dimensions": 2}, index=False)

    class Meta:
        table_name = "listed"


class Plain(peewee.Model):
    """A model that does not need it."""

    class Meta:
        table_name = "plain"


@pytest.mark.parametrize("models", [[First], [Plain, Listed]], ids=["vector", "array"])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_create_tables_creates_the_extension(empty: Pg8000Database, models: Any, in_transaction: bool) -> None:
    with empty.bind_ctx([*models, Plain]):
        empty.create_tables([Plain])
        assert empty.extension().oids == {}
        for _ in range(2):
            with empty.atomic() if in_transaction else nullcontext():
                empty.create_tables(models)
        assert empty.extension().oids
        assert {model._meta.table_name for model in models} <= set(empty.get_tables())


def add_first(database: Pg8000Database) -> None:
    Plain.create_table()
    field = VectorField(3, metric="l2", index="hnsw", null=True)
    migrate(PostgresqlMigrator(database).add_column("plain", "embedding", field))


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize(
    "create",
    [lambda _: First.create_table(), lambda _: Listed.create_table(), add_first],
    ids=["create_table", "array", "add_column"],
)
def test_so_does_whatever_creates_a_column(
    empty: Pg8000Database, create: Callable[[Pg8000Database], None], in_transaction: bool
) -> None:
    with empty.bind_ctx([First, Listed, Plain]), empty.atomic() if in_transaction else nullcontext():
        create(empty)
        assert empty.extension().oids


@pytest.mark.parametrize("create", [lambda _: First.create_table(), add_first], ids=["create_table", "add_column"])
def test_without_the_right_to_create_it_the_error_is_that_of_the_type(
    empty: Pg8000Database, create: Callable[[Pg8000Database], None]
) -> None:
    empty.execute_sql("CREATE ROLE modest; GRANT CREATE ON SCHEMA public TO modest; SET ROLE modest")
    try:
        with (
            empty.bind_ctx([First, Plain]),
            pytest.raises(peewee.ProgrammingError, match="CREATE EXTENSION vector") as refused,
        ):
            create(empty)
    finally:
        empty.execute_sql("RESET ROLE; DROP OWNED BY modest; DROP ROLE modest")
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_create_tables_of_a_user_who_may_not(empty: Pg8000Database, in_transaction: bool) -> None:
    """The error is that of the table, in one traceback; the transaction goes on as Peewee has it."""
    empty.execute_sql("CREATE ROLE modest; GRANT CREATE ON SCHEMA public TO modest; SET ROLE modest")
    try:
        with (
            empty.bind_ctx([First]),
            pytest.raises(peewee.ProgrammingError, match="CREATE EXTENSION vector") as refused,
            empty.atomic() if in_transaction else nullcontext(),
        ):
            empty.create_tables([First])
    finally:
        empty.execute_sql("RESET ROLE; DROP OWNED BY modest; DROP ROLE modest")
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)


# Citus, as far as one server shows it


def test_a_distributed_table_in_a_new_schema(empty: Pg8000Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is committed first: the connections over which Citus distributes must see it."""
    empty.execute_sql(
        "CREATE TABLE seen (n int); CREATE FUNCTION create_reference_table(name text) RETURNS void LANGUAGE sql AS "
        "'INSERT INTO seen SELECT count(*) FROM pg_namespace WHERE nspname = ''fresh'' "
        "AND NOT pg_current_xact_id_if_assigned()::xid::text = pg_namespace.xmin::text'"
    )
    monkeypatch.setattr("lightvec.peewee.schema_diff.require_citus", lambda database: None)
    model = doc()
    set_schema([model], "fresh")
    steps = set_up(empty, [model], schema="fresh", distribution=Distribution(reference=True))
    assert [(step.kind, step.exists) for step in steps][:4] == [
        ("extension", False),
        ("schema", False),
        ("table", False),
        ("distribution", False),
    ]
    assert empty.execute_sql("SELECT n FROM seen").fetchall() == [(1,)]
