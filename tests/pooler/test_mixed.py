"""Thousands of queries of all kinds, on eight threads, through three sessions: each answer is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar

import pytest

from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.pg8000 import connect
from tests.cases import for_each
from tests.load.models import Models
from tests.load.program import DROP, MAKE
from tests.load.scripts import Scripts
from tests.pooler.pooler import Pooler, left_behind, sessions
from tests.scale import scaled

THREADS = 8
QUERIES = scaled(4_000, 200_000)


class Client(Scripts, Models):
    """A program that does all there is."""

    OFTEN: ClassVar = {**Scripts.OFTEN, **Models.OFTEN}


PIECES = list(Client.OFTEN)


@pytest.fixture
def tables(url: str) -> Iterator[None]:
    with connect(url) as connection:
        connection.run(MAKE)
        yield
        connection.run(DROP)


@pytest.mark.usefixtures("tables")
@for_each("piece", PIECES, lambda piece: piece.__name__)
def test_each_piece_by_itself(piece: Callable[[Client], None], pooled: str) -> None:
    database = Pg8000Database(pooled)
    client = Client(PIECES.index(piece), pooled, database)
    client.run([Client.create, piece, piece, piece])
    assert client.wrong == []
    assert client.queries[piece.__name__] >= 3
    assert left_behind(pooled) == []


@pytest.mark.usefixtures("tables")
def test_every_answer_is_its_own(pooler: Pooler, url: str) -> None:
    """Half of the threads come by TCP, and half share Peewee's pool. In the end nothing is left on the sessions."""
    pooled = pooler.url(url)
    plain, pool = Pg8000Database(pooled), PooledPg8000Database(pooled, max_connections=3, timeout=30)
    clients = [
        Client(number, pooler.url(url, tcp=number % 2 == 1), plain if number < THREADS // 2 else pool)
        for number in range(THREADS)
    ]
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(client.work, partial(has_done, client)) for client in clients]:
            done.result()
    pool.close_all()
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert sum(client.total for client in clients) >= QUERIES
    assert {name for client in clients for name in client.queries} >= {piece.__name__ for piece in Client.OFTEN}
    assert left_behind(pooled) == []
    assert sessions(pooled) <= set.union(*[client.sessions for client in clients]), "they were the ones at work"


def has_done(client: Client) -> bool:
    """Whether this client has asked its part."""
    return client.total * THREADS >= QUERIES
