"""Schema set-up through a transaction pooler: one at a time, and nothing of it is left on a pooled session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from lightvec.peewee import Pg8000Database, VectorField
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import plan, set_up
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server import Server
from tests.pg8000.pgbouncer import PgBouncer
from tests.pooler.pooler import Pooler, left_behind


def doc() -> type[peewee.Model]:
    fields: dict[str, Any] = {"id": peewee.AutoField(), "embedding": VectorField(3, metric="l2", index="hnsw")}
    return model_with("pooled_doc", fields)


@pytest.fixture
def direct(url: str) -> Iterator[Connection]:
    with connect(url) as conn:
        yield conn
        conn.run("DROP TABLE IF EXISTS pooled_doc")


def set_up_once(pooled: str, concurrently: bool = True) -> list[str]:
    database = Pg8000Database(pooled)
    with database.connection_context():
        return [step.name for step in set_up(database, [doc()], concurrently=concurrently) if not step.exists]


def test_one_after_the_other(pooled: str, direct: Connection) -> None:
    """No pooled session has the lock afterwards, so that the next set-up does not wait; the fixture looks for more."""
    assert set_up_once(pooled) == ["pooled_doc", "pooled_doc_embedding_l2_hnsw"]
    for _ in range(4):
        assert set_up_once(pooled) == []
        direct.run("DROP INDEX pooled_doc_embedding_l2_hnsw")
        assert set_up_once(pooled) == ["pooled_doc_embedding_l2_hnsw"]
        assert direct.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [[0]]


def test_several_at_once(pooler: Pooler, url: str, direct: Connection) -> None:
    """More of them than the pooler has sessions."""
    pooled = pooler.url(url)
    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(set_up_once, [pooled] * 4))
    assert sum("pooled_doc" in names for names in created) == 1
    database = Pg8000Database(pooled)
    with database.connection_context():
        assert all(step.exists for step in plan(database, [doc()]))
    assert left_behind(pooled) == []
    assert direct.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [[0]]


def test_a_lock_that_was_left_behind(
    pooler: Pooler, url: str, direct: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle session that has it is named, in place of waiting for it for ever."""
    monkeypatch.setattr("lightvec.peewee.schema._IDLE_TIMEOUT", 1)
    with connect(url) as left:
        left.run("SELECT pg_advisory_lock(:lock)", lock=int.from_bytes(b"lightvec", "big"))
        rows: Any = left.run("SELECT pg_backend_pid()")
        ((pid,),) = rows
        for target in (pooler.url(url), url):
            for concurrently in (False, True):
                with pytest.raises(OperationalError, match=rf"process {pid} .* pg_terminate_backend\({pid}\)"):
                    set_up_once(target, concurrently)
    assert set_up_once(url) == ["pooled_doc", "pooled_doc_embedding_l2_hnsw"]


@pytest.mark.parametrize("query_wait_timeout", ["0", "1"])
def test_a_pooler_with_one_session(
    server: Server, url: str, direct: Connection, query_wait_timeout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are needed to build concurrently: it does not wait for itself, and leaves no lock."""
    monkeypatch.setattr("lightvec.peewee.schema._SESSION_TIMEOUT", 3)
    settings = {"default_pool_size": "1", "query_wait_timeout": query_wait_timeout}
    with PgBouncer(server, settings=settings) as pooler:
        with pytest.raises(peewee.OperationalError, match=r"gave no second session .* leave concurrently out$"):
            set_up_once(pooler.url(url))
        assert set_up_once(pooler.url(url), concurrently=False) == ["pooled_doc_embedding_l2_hnsw"]
    assert direct.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [[0]]
