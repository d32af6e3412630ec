"""fill() through a transaction pooler: workers keep off each other's rows, and no lock is left on a pooled session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from lightvec.peewee import Pg8000Database, VectorField, fill
from lightvec.peewee.filling import Filled
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import Connection, connect
from tests.pooler.pooler import Pooler, left_behind


@pytest.fixture
def direct(url: str) -> Iterator[Connection]:
    with connect(url) as conn:
        yield conn
        conn.run("DROP TABLE IF EXISTS pooled_page")


def page(database: Pg8000Database) -> Any:
    fields: dict[str, Any] = {
        "id": peewee.AutoField(),
        "body": peewee.TextField(),
        "embedding": VectorField(2, metric="l2", model="lengths", source="body"),
    }
    return model_with("pooled_page", fields, database=database)


def test_two_workers(pooler: Pooler, url: str, direct: Connection) -> None:
    pooled = pooler.url(url)
    lock, seen = threading.Lock(), list[str]()

    def embed(texts: list[str]) -> list[list[int]]:
        with lock:
            seen.extend(texts)
        threading.Event().wait(0.005)
        return [[len(text), 1] for text in texts]

    def worker(_: int) -> Filled:
        database = Pg8000Database(pooled)
        with database.connection_context():
            return fill(page(database).embedding, embed, batch=16)

    database = Pg8000Database(pooled)
    with database.connection_context():
        set_up(database, [page(database)])
    direct.run("INSERT INTO pooled_page (body) SELECT 'text ' || n FROM generate_series(1, 300) n")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(worker, range(2)))
    assert sum(each.written for each in done) == 300
    assert len(seen) == len(set(seen)) == 300
    assert direct.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [[0]]
    assert left_behind(pooled) == []
