"""The pool: connections come back clean, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from peewee import DataError, OperationalError
from playhouse.pool import MaxConnectionsExceeded

from lightvec.peewee import PooledPg8000Database
from lightvec.pg8000 import Connection


@pytest.fixture
def pool(url: str) -> Iterator[PooledPg8000Database]:
    database = PooledPg8000Database(url, max_connections=2)
    yield database
    database.close_all()


def backend(database: PooledPg8000Database) -> int:
    row: Any = database.execute_sql("SELECT pg_backend_pid()").fetchone()
    return int(row[0])


def idle(pool: PooledPg8000Database) -> int:
    return len(pool._connections)


def test_a_connection_is_used_again(pool: PooledPg8000Database) -> None:
    first = backend(pool)
    pool.close()
    assert (backend(pool), idle(pool)) == (first, 0)


def test_no_more_than_the_maximum(url: str) -> None:
    pool = PooledPg8000Database(url, max_connections=1)
    pool.connect()
    with pytest.raises(MaxConnectionsExceeded):
        pool._connect()
    pool.close_all()


def test_a_dead_connection_is_not_handed_out(pool: PooledPg8000Database, conn: Connection) -> None:
    dead = backend(pool)
    pool.close()
    assert idle(pool) == 1
    assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=dead) == [[True]]
    pool.connect()
    assert pool.execute_sql("SELECT 1").fetchone() == (1,)
    assert backend(pool) != dead


def test_one_that_dies_in_use_is_replaced_and_not_kept(pool: PooledPg8000Database, conn: Connection) -> None:
    dead = backend(pool)
    assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=dead) == [[True]]
    assert backend(pool) != dead
    assert len(pool._in_use) == 1
    pool.close()
    assert idle(pool) == 1


def test_one_that_dies_in_a_transaction_is_not_kept(pool: PooledPg8000Database, conn: Connection) -> None:
    def write() -> None:
        with pool.atomic():
            assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=backend(pool)) == [[True]]
            pool.execute_sql("SELECT 1")

    with pytest.raises(OperationalError):
        write()
    pool.close()
    assert idle(pool) == 0
    assert pool.execute_sql("SELECT 1").fetchone() == (1,)


def test_a_failed_transaction_is_not_handed_out(pool: PooledPg8000Database) -> None:
    pool.execute_sql("BEGIN")
    with pytest.raises(DataError):
        pool.execute_sql("SELECT 1 / 0")
    pool.close()
    for _ in range(2):
        pool.connect()
        assert pool.execute_sql("SELECT 1").fetchone() == (1,)
        assert not pool.connection().in_transaction
        pool.close()


def test_a_transaction_that_was_left_open_is_rolled_back(pool: PooledPg8000Database, conn: Connection) -> None:
    pool.execute_sql("CREATE TABLE pool_left (n int)")
    try:
        pool.execute_sql("BEGIN")
        pool.execute_sql("INSERT INTO pool_left VALUES (1)")
        pool.close()
        assert pool.execute_sql("SELECT count(*) FROM pool_left").fetchone() == (0,)
        assert not pool.connection().in_transaction
    finally:
        pool.execute_sql("DROP TABLE pool_left")


def test_stale_connections_are_closed(url: str) -> None:
    pool = PooledPg8000Database(url, stale_timeout=0.001)
    first = backend(pool)
    connection = pool.connection()
    while not pool._is_stale(next(iter(pool._in_use.values())).timestamp):
        pass
    pool.close()
    assert connection.closed
    assert backend(pool) != first
    pool.close_all()


def test_manual_close_closes(pool: PooledPg8000Database) -> None:
    connection = pool.connection()
    pool.manual_close()
    assert connection.closed
    assert idle(pool) == 0


def test_one_query_on_a_pooled_connection_is_one_round_trip(pool: PooledPg8000Database, sent: list[bytes]) -> None:
    pool.connect()
    pool.close()
    sent.clear()
    with pool.connection_context():
        pool.execute_sql("SELECT %s", (1,))
    assert len(sent) == 1
