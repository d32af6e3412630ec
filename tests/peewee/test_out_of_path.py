"""An extension in a schema outside the search path: what Peewee writes finds it all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import peewee
import pytest
from peewee import SQL, Model, ModelIndex, TextField
from playhouse.migrate import PostgresqlMigrator, migrate
from playhouse.postgres_ext import ArrayField

from lightvec.peewee import (
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    Pg8000Database,
    SparseVectorField,
    VectorField,
    binary_quantize,
    run_many,
)
from lightvec.pg8000 import connect
from lightvec.search import explain, hybrid, recall

PATH = '"$user", public'


class Doc(Model):
    title = TextField()
    embedding = VectorField(3, metric="cosine", null=True)


class Coarse(Model):
    embedding = VectorField(3, metric="cosine")

    class Meta:
        table_name = "doc"
        indexes = (HnswIndex("embedding", quantize="bit"),)


@pytest.fixture
def away(empty_url: str) -> Iterator[Pg8000Database]:
    """A new connection to a database with pgvector in a schema of its own, and three rows."""
    with connect(empty_url) as conn:
        conn.run('CREATE SCHEMA "the ext"; CREATE EXTENSION vector SCHEMA "the ext"')
        conn.run('CREATE TABLE doc (id serial PRIMARY KEY, title text, embedding "the ext".vector(3))')
        conn.run("INSERT INTO doc (title, embedding) VALUES ('x', '[1,0,0]'), ('y', '[0,1,0]'), ('z', '[0,0,1]')")
    database = Pg8000Database(empty_url)
    with database.bind_ctx([Doc, Coarse]), database.connection_context():
        yield database


def path(database: Pg8000Database) -> str:
    ((found,),) = database.execute_sql("SHOW search_path").fetchall()
    return str(found)


QUERIES: dict[str, Any] = {
    "nearest": lambda: Doc.embedding.nearest([1, 0.5, 0], 2),
    "exact": lambda: Doc.embedding.nearest([1, 0.5, 0], 2, exact=True),
    "filtered": lambda: Doc.embedding.nearest([1, 0.5, 0], 2).where(Doc.title != "z"),
    "like a row": lambda: Doc.embedding.nearest(Doc(id=1, title="x"), 2, exact=True),
    "bits": lambda: Coarse.embedding.nearest([1, 0.5, 0], 2),
    "an operator": lambda: Doc.select().order_by(Doc.embedding.l2_distance([1, 0.5, 0])).limit(2),
    "a condition": lambda: Doc.select().where(Doc.embedding.cosine_distance([1, 0.5, 0]) < 0.9),
    "hybrid": lambda: hybrid(Doc.embedding, [1, 0.5, 0], Doc.title, "y", k=2),
    "equal": lambda: Doc.select().where(Doc.embedding.in_([[1, 0, 0], [0, 1, 0]])),
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_queries_find_it(away: Pg8000Database, name: str, in_transaction: bool) -> None:
    """On the first statement of a connection, too, and nothing stays."""
    if in_transaction:
        with away.atomic():
            assert len(list(QUERIES[name]())) == 2
            assert path(away) == PATH
    assert len(list(QUERIES[name]())) == 2
    assert path(away) == PATH


def test_run_many_explain_and_recall(away: Pg8000Database) -> None:
    query = Doc.embedding.nearest([1, 0, 0], 1)
    assert [len(rows) for rows in run_many([query, Doc.embedding.nearest([0, 1, 0], 2)])] == [1, 2]
    assert not explain(query).uses_index
    assert recall(Doc.embedding, sample=3, k=1).recall == 1


def test_what_changes_rows(away: Pg8000Database) -> None:
    near = Doc.embedding.cosine_distance([1, 0, 0]) < 0.5
    assert Doc.update(title="near").where(near).execute() == 1
    assert Doc.delete().where(near).execute() == 1
    Doc.create(title="new", embedding=[1, 1, 1])
    assert list(Doc.select(binary_quantize(Doc.embedding)).tuples())


def test_a_search_path_that_is_empty(away: Pg8000Database) -> None:
    away.execute_sql("SET search_path = ''")
    away.connection().extension()
    with pytest.raises(peewee.ProgrammingError, match='"doc" does not exist'):
        list(Doc.embedding.nearest([1, 0, 0]))
    Doc._meta.schema = "public"
    try:
        assert len(list(Doc.embedding.nearest([1, 0, 0], 2))) == 2
    finally:
        Doc._meta.schema = None


def test_nothing_travels_where_it_is_in_reach(url: str, sent: list[bytes]) -> None:
    database = Pg8000Database(url)
    with database.bind_ctx([Doc]), database.connection_context(), database.atomic() as transaction:
        Doc.create_table()
        list(Doc.embedding.nearest([1, 0, 0]))
        list(Doc.select().order_by(Doc.embedding.l2_distance([1, 0.5, 0])))
        transaction.rollback()
    assert b"search_path" not in b"".join(sent)


def told(run: Callable[[], object]) -> str:
    with pytest.raises(peewee.ProgrammingError) as failed:
        run()
    return str(failed.value)


PRINTED = "pgvector is in the schema the ext, which is not in the search path: `lightvec doctor` prints the statement"


def test_sql_of_the_callers_own_is_told(away: Pg8000Database) -> None:
    """What is not changed is told, with what to do."""
    assert PRINTED in told(lambda: away.execute_sql("SELECT embedding <=> embedding FROM doc"))
    assert PRINTED in told(lambda: away.execute_sql("CREATE TABLE other (e vector(3))"))
    assert PRINTED in told(lambda: away.execute_sql("CREATE INDEX ON doc USING hnsw (embedding vector_l2_ops)"))
    with away.atomic() as transaction:
        assert PRINTED in told(lambda: away.execute_sql("SELECT vector_dims(embedding) FROM doc"))
        transaction.rollback()
    assert "doctor" not in told(lambda: away.execute_sql("SELECT nothing()"))


def test_who_has_not_asked_is_told_where_to(away: Pg8000Database) -> None:
    with away.atomic() as transaction:
        assert "with `lightvec doctor` that pgvector is" in told(
            lambda: away.execute_sql("CREATE TABLE other (e vector(3))")
        )
        transaction.rollback()


def index(name: str) -> Callable[[Pg8000Database], object]:
    def create(database: Pg8000Database) -> None:
        Doc.drop_table()
        Doc.create_table()
        database.execute(INDEXES[name])

    return create


INDEXES: dict[str, Any] = {
    "hnsw": HnswIndex(Doc.embedding),
    "concurrently": HnswIndex(Doc.embedding, concurrently=True),
    "bits": IvfflatIndex(Doc.embedding, quantize="bit", name="doc_bits"),
    "plain": ModelIndex(Doc, [SQL("embedding vector_cosine_ops")], using="hnsw", name="doc_plain"),
}


def add_column(database: Pg8000Database) -> None:
    field = VectorField(2, metric="l1", index="hnsw", null=True)
    migrate(PostgresqlMigrator(database).add_column("doc", "more", field))
    migrate(PostgresqlMigrator(database).alter_column_type("doc", "embedding", HalfVectorField(3)))


class Several(Model):
    embeddings = ArrayField(VectorField, {"dimensions": 2}, index=False)
    sparse = SparseVectorField(3, constraints=[SQL("DEFAULT '{1:1}/3'::sparsevec")])


DEFINITIONS: dict[str, Callable[[Pg8000Database], object]] = {
    "create_table": lambda database: (Doc.drop_table(), Doc.create_table()),
    "create_tables": lambda database: database.create_tables([Several]),
    "add_column": add_column,
    **{name: index(name) for name in INDEXES},
}


@pytest.mark.parametrize("by", ["schema", "options"])
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_definitions_find_it(away: Pg8000Database, empty_url: str, name: str, in_transaction: bool, by: str) -> None:
    """In a schema outside the search path, or with a search path that leaves its schema out."""
    database, schema = away, "the ext"
    if by == "options":
        away.execute_sql("CREATE SCHEMA app; ALTER EXTENSION vector SET SCHEMA public; ALTER TABLE doc SET SCHEMA app")
        database, schema = Pg8000Database(empty_url, options="-c search_path=app"), "public"
    with database.bind_ctx([Doc, Several]), database.connection_context():
        before = path(database)
        with database.atomic() if in_transaction and name != "concurrently" else nullcontext():
            DEFINITIONS[name](database)
        assert path(database) == before
        assert (database.extension().out_of_path, before) == (schema, PATH if by == "schema" else "app")


def test_no_extension_at_all(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.bind_ctx([Doc]), database.connection_context():
        assert told(lambda: database.execute_sql("CREATE TABLE other (e vector(3))")).endswith(
            "pgvector is not installed in this database: run `lightvec init-db` or CREATE EXTENSION vector"
        )
