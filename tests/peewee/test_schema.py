"""Schema set-up: several at once, and indexes that stand under the name of one that is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import peewee
import pytest
from peewee import Model

from lightvec.errors import SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField, schema
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import plan, set_up
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
        ("USING ivfflat (embedding vector_cosine_ops)", "is ivfflat with vector_cosine_ops"),
        ("USING hnsw (embedding vector_l2_ops)", "says hnsw with vector_cosine_ops"),
        ("(title)", "is btree with text_ops"),
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
        with pytest.raises(SchemaMismatch, match=f"{name} of doc is to be on the table doc.*exists on other"):
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
        with pytest.raises(SchemaMismatch, match="is being built at this moment"):
            plan(database, [doc()])
        with pytest.MonkeyPatch.context() as patch:
            # Who may not see the counters takes it for one that was left, and must not drop it all the same.
            patch.setattr("lightvec.peewee.invalid_indexes.LOCK_TIMEOUT", 1)
            unseen = re.sub(r"EXISTS \(SELECT FROM pg_catalog.pg_stat_progress.*?c.oid\)", "false", schema._INDEX)
            patch.setattr("lightvec.peewee.schema._INDEX", unseen)
            for concurrently in (False, True):
                with pytest.raises(SchemaMismatch, match="another session builds an index"):
                    set_up(database, [doc()], concurrently=concurrently)
        writer.run("COMMIT")
        building.result()
        assert all(step.exists for step in plan(database, [doc()]))


def build(url: str) -> None:
    with connect(url) as conn:
        conn.run(f"CREATE INDEX CONCURRENTLY {INDEX} ON doc USING hnsw (embedding vector_cosine_ops)")
