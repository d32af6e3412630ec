"""Thirty-two threads on a pool of eight: every answer right, no connection lost, memory flat."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.pg8000 import connect, dbapi
from tests.load.models import Models
from tests.load.program import DROP, MAKE
from tests.scale import scaled

THREADS = 32
CONNECTIONS = 8
#: Seconds of work, in rounds of the same length: what one leaves behind is compared with what the next one leaves.
SECONDS = scaled(3, 60)
ROUNDS = 3
#: What the last round may leave beyond what those before it left, in objects and in bytes. A connection that meets a
#: statement late remembers it then; an object left by each answer would be thousands.
_OBJECTS = 1_000
_BYTES = 4 << 20


class _Counting(Pg8000Database):
    """Counts the connections that it opens."""

    opened = 0

    def _connect(self) -> dbapi.Connection:
        self.opened += 1
        return super()._connect()


class CountingPool(PooledPg8000Database, _Counting):  # type: ignore[misc]  # playhouse's init is not its base's
    """A pool that opens its connections there."""


@pytest.fixture
def pool(url: str) -> Iterator[CountingPool]:
    with connect(url) as connection:
        connection.run(MAKE)
        pool = CountingPool(url, max_connections=CONNECTIONS, timeout=30)
        yield pool
        pool.close_all()
        connection.run(DROP)


def test_thirty_two_threads_on_a_pool_of_eight(pool: CountingPool) -> None:
    answers, left = 0, []
    for number in range(ROUNDS):
        programs = work(pool, number * THREADS)
        answers += sum(program.total for program in programs)
        del programs
        gc.collect()
        left.append((len(gc.get_objects()), memory()))
    print(f"{answers:,} answers looked at; objects and bytes after each round: {left}")
    (_, _), (objects, size), (objects_in_the_end, size_in_the_end) = left
    assert pool.opened <= CONNECTIONS, "no connection was lost"
    assert len(pool._in_use) == 0
    assert objects_in_the_end - objects < _OBJECTS
    assert size_in_the_end - size < _BYTES


def work(pool: CountingPool, first: int) -> list[Models]:
    """One round of all threads."""
    programs = [Models(first + number, pool) for number in range(THREADS)]
    end = time.monotonic() + SECONDS / ROUNDS
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(program.work, lambda: time.monotonic() > end) for program in programs]:
            done.result()
    assert [wrong for program in programs for wrong in program.wrong] == []
    assert all(program.total > 1 for program in programs), "all came to their turn"
    return programs


def memory() -> int:
    """Bytes of this process in memory (the second number of Linux' statm, in pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
