"""Eight threads on one database object."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lightvec.peewee import Pg8000Database, PooledPg8000Database
from tests.peewee.conftest import Use
from tests.peewee.models import Author, Doc, Tag, add_documents

THREADS, QUERIES = 8, 100


@pytest.fixture(params=["plain", "pooled"])
def shared(request: pytest.FixtureRequest, url: str, use: Use) -> Iterator[Pg8000Database]:
    use(Author, Doc, Tag)
    add_documents()
    plain = request.param == "plain"
    database = Pg8000Database(url) if plain else PooledPg8000Database(url, max_connections=4, timeout=10)
    with database.bind_ctx([Doc]):
        yield database
    if isinstance(database, PooledPg8000Database):
        database.close_all()


def search(database: Pg8000Database, thread: int) -> list[tuple[int, list[int]]]:
    """What each query was for, and what came: the three around a number."""
    answers = []
    for turn in range(QUERIES):
        number = 1 + (thread + turn) % 7
        with database.connection_context():
            rows: Any = Doc.embedding.nearest([number, 0, 0], 3, exact=bool(turn % 2)).where(Doc.number >= 0)
            answers.append((number, sorted(row.number for row in rows)))
    return answers


def test_every_answer_is_its_own(shared: Pg8000Database) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        answers = [each for many in threads.map(lambda n: search(shared, n), range(THREADS)) for each in many]
    assert len(answers) == THREADS * QUERIES
    assert [answer for answer in answers if answer[1] != [answer[0] - 1, answer[0], answer[0] + 1]] == []


@pytest.mark.parametrize("shared", ["plain"], indirect=True)
def test_a_connection_that_a_thread_keeps(shared: Pg8000Database) -> None:
    def many(thread: int) -> list[int]:
        try:
            queries: Any = [Doc.embedding.nearest([thread, 0, 0], 1) for _ in range(QUERIES)]
            return [query.get().number for query in queries]
        finally:
            shared.close()

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(many, range(THREADS))) == [[thread] * QUERIES for thread in range(THREADS)]
