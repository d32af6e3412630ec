"""Settings reach the workers, in the statement's own write, and nothing of them is left anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lightvec import Vector
from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DataError, IntegrityError, OperationalError, ProgrammingError
from lightvec.wire.settings import AtLeast
from tests.citus.conftest import Gloss, exact
from tests.search.conftest import Wordnet

NEAREST = "SELECT id FROM gloss ORDER BY embedding <=> :v LIMIT 10"
#: What each worker has for a setting while a statement runs: every row of a shard says it.
ON_WORKERS = "SELECT DISTINCT current_setting('{}', true) FROM gloss WHERE id + length(:v::text) > 0"
MUCH = {"hnsw.ef_search": 400}

Run = Callable[..., Any]


def recall(run: Run, wordnet: Wordnet, **options: Any) -> float:
    """The share of the true neighbours that the index finds for 40 queries."""
    found = 0
    for query in wordnet.queries[:40]:
        rows = run(NEAREST, v=Vector(query), **options)
        found += len({row[0] for row in rows} & set(exact(wordnet.base, query)))
    return found / 400


@pytest.fixture
def forced(conn: Connection) -> Run:
    """Runs a statement on shards whose index is taken, however small they are."""

    def run(sql: str, settings: dict[str, object] | None = None, **values: Any) -> Any:
        return conn.run(sql, settings={"enable_seqscan": False, **(settings or {})}, **values)

    return run


@contextmanager
def transaction(conn: Connection, inside: bool) -> Iterator[None]:
    if not inside:
        yield
        return
    with conn.transaction():
        yield


@pytest.mark.parametrize("inside", [False, True])
def test_recall_rises_with_ef_search(inside: bool, conn: Connection, forced: Run, wordnet: Wordnet) -> None:
    with transaction(conn, inside):
        little = recall(forced, wordnet, settings={"hnsw.ef_search": 1})
        much = recall(forced, wordnet, settings=MUCH)
        again = recall(forced, wordnet, settings={"hnsw.ef_search": 1})
    assert little < 0.6
    assert much > 0.9
    assert again == little


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("settings", "name", "seen"),
    [
        (MUCH, "hnsw.ef_search", "400"),
        ({"hnsw.ef_search": AtLeast(55, 40)}, "hnsw.ef_search", "55"),
        ({"hnsw.ef_search": AtLeast(5, 40)}, "hnsw.ef_search", "40"),
        ({"ivfflat.probes": 7, "hnsw.iterative_scan": "strict_order"}, "ivfflat.probes", "7"),
        ({"ivfflat.probes": 7, "hnsw.iterative_scan": "strict_order"}, "hnsw.iterative_scan", "strict_order"),
        ({"work_mem": "5MB"}, "work_mem", "5MB"),
        ({"enable_seqscan": False}, "enable_seqscan", "off"),
        ({"application_name": "it's"}, "application_name", None),
        ({"lightvec.mine": 'it\'s \\ "so" %s $1'}, "lightvec.mine", 'it\'s \\ "so" %s $1'),
    ],
)
def test_each_worker_has_them(
    settings: dict[str, object], name: str, seen: str | None, inside: bool, conn: Connection
) -> None:
    sql = ON_WORKERS.format(name)
    with transaction(conn, inside):
        before = conn.run(sql, v="x")
        rows = conn.run(sql, v="x", settings=settings)
        after = conn.run(sql, v="x")
    if seen is not None:
        assert rows == [[seen]]
    else:
        assert rows, "what Citus does not send on is no error"
    assert {str(row[0] or "") for row in after} <= {str(row[0] or "") for row in before} | {"", "40", "1"}


def test_a_search_path_reaches_them(conn: Connection) -> None:
    sql = "SELECT DISTINCT current_setting('search_path') FROM {} WHERE id + length(:v::text) > 0"
    ((own,),) = conn.run("SELECT current_schema()")
    rows = conn.run(sql.format("gloss"), v="x", settings={"search_path": f'pg_catalog, {own}, "no such, one", public'})
    assert rows == [[f"pg_catalog, {own}, public"]]
    assert conn.run("SELECT current_schema()") == [[own]]


@pytest.mark.parametrize("inside", [False, True])
def test_it_is_one_write_and_one_sync(inside: bool, conn: Connection, sent: list[bytes], wordnet: Wordnet) -> None:
    with transaction(conn, inside):
        for _ in range(2):
            sent.clear()
            conn.run(NEAREST, v=Vector(wordnet.queries[0]), settings=MUCH)
            assert len(sent) == 1
            assert sent[0].endswith(b"S\x00\x00\x00\x04")
            assert sent[0].count(b"S\x00\x00\x00\x04") == 1
    assert not conn.in_transaction


def left_on(conn: Connection) -> list[list[Any]]:
    """What the sessions of the workers, and this one, have, after the transaction."""
    sql = "SELECT coalesce(current_setting('hnsw.ef_search', true), '40'), current_setting('work_mem')"
    own = conn.run(sql)
    rows = conn.run("SELECT DISTINCT coalesce(current_setting('hnsw.ef_search', true), '40') FROM gloss")
    assert rows is not None
    assert own is not None
    return [*own, *rows]


@pytest.mark.parametrize("ends", ["done", "failed", "rolled back"])
def test_nothing_is_left_behind(ends: str, conn: Connection, wordnet: Wordnet) -> None:
    query = Vector(wordnet.queries[0])
    conn.run(NEAREST, v=query)
    before = left_on(conn)
    settings = {"hnsw.ef_search": 77, "work_mem": "5MB"}
    if ends == "failed":
        with pytest.raises(DataError):
            conn.run("SELECT 1 / (id - id) FROM gloss", settings=settings)
    elif ends == "rolled back":
        conn.run("BEGIN")
        conn.run(NEAREST, v=query, settings=settings)
        conn.run("ROLLBACK")
    else:
        conn.run(NEAREST, v=query, settings=settings)
    assert not conn.in_transaction
    assert left_on(conn) == before


def test_inside_a_transaction_the_former_values_come_back(conn: Connection) -> None:
    sql = ON_WORKERS.format("hnsw.ef_search")
    conn.run("BEGIN")
    conn.run("SELECT 1", settings={"work_mem": "6MB"})
    conn.run("SET LOCAL citus.propagate_set_commands TO 'local'")
    conn.run("SET LOCAL hnsw.ef_search = 66")
    assert conn.run(sql, v="x") == [["66"]]
    assert conn.run(sql, v="x", settings=MUCH) == [["400"]]
    assert conn.run(sql, v="x") == [["66"]]
    assert conn.run("SHOW hnsw.ef_search") == [["66"]]
    assert conn.run("SHOW citus.propagate_set_commands") == [["local"]]
    conn.run("ROLLBACK")
    assert conn.run("SHOW citus.propagate_set_commands") == [["none"]]


def test_a_statement_that_fails_in_the_callers_transaction_fails_that(conn: Connection) -> None:
    conn.run("BEGIN; SAVEPOINT here")
    with pytest.raises(DataError):
        conn.run("SELECT 1 / (id - id) FROM gloss", settings=MUCH)
    assert conn.in_failed_transaction
    conn.run("ROLLBACK TO here")
    assert conn.run("SHOW hnsw.ef_search") != [["400"]]
    assert conn.run(ON_WORKERS.format("hnsw.ef_search"), v="x") != [["400"]]
    conn.run("ROLLBACK")


def test_a_write_with_settings_is_kept_or_not_at_all(conn: Connection) -> None:
    settings = {"work_mem": "5MB"}
    conn.run("CREATE TABLE kept (id int PRIMARY KEY)")
    try:
        conn.run("SELECT create_distributed_table('kept', 'id', shard_count => 4)")
        assert conn.run("INSERT INTO kept VALUES (1), (2), (3) RETURNING id", settings=settings) is not None
        with pytest.raises(IntegrityError):
            conn.run("INSERT INTO kept VALUES (4), (5), (1)", settings=settings)
        assert not conn.in_transaction
        assert conn.run("SELECT count(*) FROM kept") == [[3]]
    finally:
        conn.run("DROP TABLE kept")


@pytest.mark.parametrize(
    ("settings", "error"), [({"no_such": 1}, ProgrammingError), ({"hnsw.ef_search": 10**6}, DataError)]
)
def test_a_setting_that_cannot_be(settings: dict[str, object], error: type[Exception], conn: Connection) -> None:
    conn.run("SELECT '[1]'::vector")
    with pytest.raises(error):
        conn.run(NEAREST, v=Vector([1] * 384), settings=settings)
    assert not conn.in_transaction
    assert conn.run("SELECT 1") == [[1]]


class TestFirstStatement:
    """On a new connection nobody knows yet that it is Citus."""

    @pytest.mark.parametrize("values", [{}, {"v": Vector([1] * 384)}])
    def test_of_the_native_connection(self, values: dict[str, Any], filled: str) -> None:
        sql = "SELECT DISTINCT current_setting('hnsw.ef_search', true) FROM gloss WHERE id >= 0"
        with connect(filled) as conn:
            assert conn.run(sql + (" AND :v::vector IS NOT NULL" if values else ""), settings=MUCH, **values) == [
                ["400"]
            ]
            assert not conn.in_transaction

    def test_inside_a_transaction(self, filled: str) -> None:
        with connect(filled) as conn, conn.transaction():
            assert conn.run(ON_WORKERS.format("hnsw.ef_search"), v="x", settings=MUCH) == [["400"]]

    def test_that_begins_by_itself(self, filled: str) -> None:
        with dbapi.connect(filled) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT DISTINCT current_setting('hnsw.ef_search', true) FROM gloss", settings=MUCH)
            assert cursor.fetchall() == [("400",)]
            assert connection.in_transaction
            connection.rollback()
            assert not connection.in_transaction

    def test_that_writes(self, filled: str) -> None:
        with connect(filled) as conn:
            conn.run("UPDATE gloss SET body = current_setting('hnsw.ef_search', true) WHERE id = 3", settings=MUCH)
            assert not conn.in_transaction
            conn.run("UPDATE gloss SET body = 'word3 thing3' WHERE id = 3")

    def test_that_is_streamed(self, filled: str) -> None:
        with connect(filled) as conn:
            sql = "SELECT id, current_setting('hnsw.ef_search', true) FROM gloss WHERE id >= 0"
            rows = list(conn.stream(sql, batch=100, settings=MUCH))
            assert len(rows) == 2_000
            assert {row[1] for row in rows} == {"400"}
            assert not conn.in_transaction


def test_a_stream_that_is_left_early_or_fails(conn: Connection) -> None:
    rows = conn.stream("SELECT id FROM gloss", batch=10, settings=MUCH)
    next(rows)
    rows.close()
    assert not conn.in_transaction
    assert conn.run("SHOW hnsw.ef_search") != [["400"]]
    with pytest.raises(DataError):
        list(conn.stream("SELECT 1 / (id - 1000) FROM gloss ORDER BY id", batch=10, settings=MUCH))
    assert not conn.in_transaction
    with conn.transaction(), pytest.raises(DataError), conn.transaction():
        list(conn.stream("SELECT 1 / (id - 1000) FROM gloss ORDER BY id", batch=10, settings=MUCH))


def test_a_statement_that_takes_too_long(filled: str) -> None:
    with connect(filled) as conn:
        conn.extension()
        conn.command_timeout = 0.5
        with pytest.raises(OperationalError, match="longer"):
            conn.run("SELECT pg_sleep(5)", settings=MUCH)
        assert not conn.closed
        assert not conn.in_transaction
        assert conn.run("SELECT 1") == [[1]]


def test_nearest_takes_them_along(cluster: Pg8000Database, sent: list[bytes], wordnet: Wordnet) -> None:
    query = Gloss.embedding.nearest(wordnet.queries[0], k=100, ef_search=300)
    cluster.connection().extension()
    sent.clear()
    rows = list(query)
    assert len(sent) == 1
    assert len(rows) == 100
    assert [row.id for row in rows[:10]] == exact(wordnet.base, wordnet.queries[0])
