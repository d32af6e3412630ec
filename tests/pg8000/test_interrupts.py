"""An interrupt, wherever it strikes: afterwards the connection is good, or broken and says so; never out of step.

A trace function raises it at the n-th line of lightvec that an operation runs, for every n.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

import lightvec
from lightvec import Vector
from lightvec.pg8000 import Connection, connect
from tests.scale import scaled

#: Of all lines, how many are tried: each n-th.
STRIDE = scaled(7, 1)
_FOLDER = lightvec.__path__[0]


class Interrupt(BaseException):
    """Strikes."""


class Striker:
    """Raises an interrupt at one line; without one it only counts the lines."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.count = 0

    def __enter__(self) -> Striker:
        self._former = sys.gettrace()
        sys.settrace(self._enter_call)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.settrace(self._former)

    def _enter_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._strike if frame.f_code.co_filename.startswith(_FOLDER) else None

    def _strike(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count += 1
            if self.count == self.at:
                raise Interrupt
        return self._strike


def in_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        conn.run("SELECT 1", settings={"work_mem": "5MB"})
        with conn.transaction():
            conn.run("SELECT 2")


OPERATIONS: dict[str, Callable[[Connection], object]] = {
    "a query": lambda conn: conn.run("SELECT :v, 'a' FROM generate_series(1, 3)", v=Vector([1, 2])),
    "several statements": lambda conn: conn.run("SELECT 1; SELECT 2"),
    "settings": lambda conn: conn.run("SELECT 'a'", settings={"hnsw.ef_search": 77}),
    "a stream": lambda conn: list(conn.stream("SELECT g FROM generate_series(1, 9) g", batch=4)),
    "columns": lambda conn: conn.fetch_columns("SELECT g, '[1,2]'::vector AS v FROM generate_series(1, 9) g"),
    "many": lambda conn: conn.execute_many([("SELECT $1::int", [number]) for number in range(5)]),
    "a transaction": in_a_transaction,
    "a load": lambda conn: conn.copy_rows("interrupted", ["id", "v"], [(n, [n, 2]) for n in range(5)]),
    "a look": lambda conn: conn.is_alive(),
}


@pytest.fixture(scope="module")
def table(url: str) -> Iterator[Connection]:
    with connect(url) as owner:
        owner.run("CREATE TABLE interrupted (id int, v vector(2))")
        yield owner
        owner.run("DROP TABLE interrupted")


def opened(url: str) -> Connection:
    connection = connect(url)
    connection.extension()
    return connection


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interrupt_at_any_line(name: str, url: str, table: Connection) -> None:
    operation = OPERATIONS[name]
    connection = opened(url)
    operation(connection)
    with Striker() as counter:
        operation(connection)
    survived = broken = 0
    for at in range(1, counter.count + 1, STRIDE):
        table.run("TRUNCATE interrupted")
        with Striker(at) as striker:
            try:
                operation(connection)
            except Interrupt:
                pass
            else:
                assert striker.count < at, "a strike is not passed over"
        if connection.closed:
            broken += 1
            connection.close()
            connection = opened(url)
            operation(connection)
            continue
        survived += 1
        if connection.in_transaction:
            connection.run("ROLLBACK")
        for token in (f"first after {at}", f"second after {at}"):
            assert connection.run("SELECT :t", t=token) == [[token]], f"line {at} of {counter.count}"
        assert table.run("SELECT count(*) IN (0, 5) FROM interrupted") == [[True]]
    connection.close()
    assert survived + broken == len(range(1, counter.count + 1, STRIDE))
