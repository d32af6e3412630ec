"""executemany: one Sync, bounded buffers, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lightvec import Vector
from lightvec.errors import InvalidVector
from lightvec.pg8000 import dbapi
from lightvec.pg8000.exceptions import DataError, IntegrityError, InterfaceError, InternalError
from tests.pg8000.roundtrips import CLIENT, Relay

INSERT = "INSERT INTO item (id, embedding) VALUES (%s, %s)"


@pytest.fixture
def db(url: str) -> Iterator[dbapi.Connection]:
    """A connection in autocommit, with an empty table of its own."""
    with dbapi.connect(url) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, embedding vector(3), note text)")
        yield connection


def count(db: dbapi.Connection) -> int:
    row = db.cursor().execute("SELECT count(*) FROM item").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("number", [0, 1, 2, 5_000])
def test_all_rows_arrive(db: dbapi.Connection, number: int) -> None:
    cursor = db.cursor()
    cursor.executemany(INSERT, ((i, Vector([i, 1, 1])) for i in range(number)))
    assert cursor.rowcount == (number or -1)
    assert count(db) == number
    rows = cursor.execute("SELECT id, embedding FROM item ORDER BY id").fetchall()
    assert rows == [(i, Vector([i, 1, 1])) for i in range(number)]


def test_values_of_changing_types(db: dbapi.Connection) -> None:
    """Each set is typed by its own values: the statement is parsed again where they differ."""
    cursor = db.cursor()
    cursor.executemany(INSERT, [(1, None), (70_000, Vector([1, 2, 3])), (2, None), (2**30, Vector([3, 2, 1]))])
    assert cursor.execute("SELECT id FROM item ORDER BY id").fetchall() == [(1,), (2,), (70_000,), (2**30,)]


def test_answers_that_are_larger_than_all_buffers(db: dbapi.Connection) -> None:
    """The server stops reading when nobody takes its answers; both sides writing would wait for ever."""
    sets = [(i, "x" * 10_000) for i in range(2_000)]
    cursor = db.cursor()
    cursor.executemany("INSERT INTO item (id, note) VALUES (%s, %s) RETURNING note, note, note", sets)
    assert cursor.rowcount == 2_000
    assert count(db) == 2_000


def test_one_round_trip_and_one_sync(relay: Relay) -> None:
    with dbapi.connect(relay.url) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE TEMPORARY TABLE item (id int, embedding vector(3))")
        cursor.execute("SELECT 1")
        with relay.recording() as record:
            cursor.executemany(INSERT, [(i, Vector([1, 2, 3])) for i in range(100)])
        assert record.round_trips == 1
        assert record.codes(CLIENT).count("S") == 1


def test_an_error_of_the_server_undoes_all(db: dbapi.Connection) -> None:
    sets = [(i % 3_000, None) for i in range(6_000)]
    with pytest.raises(IntegrityError):
        db.cursor().executemany(INSERT, sets)
    assert count(db) == 0


@pytest.mark.parametrize("before", [1, 4_000])
def test_a_value_that_cannot_be_sent_undoes_all(db: dbapi.Connection, before: int) -> None:
    sets: list[tuple[Any, ...]] = [(i, f"note {i}") for i in range(before)]
    with pytest.raises(DataError, match="NUL"):
        db.cursor().executemany("INSERT INTO item (id, note) VALUES (%s, %s)", [*sets, (before, "a\x00b")])
    assert count(db) == 0


def test_an_error_of_the_callers_comes_through(db: dbapi.Connection) -> None:
    def sets() -> Iterator[tuple[int, Vector]]:
        for i in range(4_000):
            yield i, Vector([i, 1, 1])
        yield 4_000, Vector([float("nan")])

    with pytest.raises(InvalidVector):
        db.cursor().executemany(INSERT, sets())
    assert count(db) == 0
    assert not db.closed


def test_inside_a_transaction_an_error_fails_it(db: dbapi.Connection) -> None:
    db.autocommit = False
    cursor = db.cursor()
    cursor.executemany(INSERT, [(1, None), (2, None)])
    assert db.in_transaction
    db.commit()
    sets: list[tuple[Any, ...]] = [(i, "x") for i in range(10, 3_000)]
    with pytest.raises(DataError):
        cursor.executemany("INSERT INTO item (id, note) VALUES (%s, %s)", [*sets, (5, "\x00")])
    with pytest.raises(InternalError):
        cursor.execute("SELECT 1")
    db.rollback()
    assert count(db) == 2


def test_the_first_statement_of_a_connection(url: str) -> None:
    with dbapi.connect(url) as connection:
        cursor = connection.cursor()
        cursor.executemany("SELECT %s::vector", [(None,), (Vector([1, 2]),)])
        assert cursor.rowcount == 2
        assert cursor.execute("SELECT '[1,2]'::vector").fetchone() == (Vector([1, 2]),)


def test_an_iterable_that_uses_the_same_connection(db: dbapi.Connection) -> None:
    sets = ((number, None) for number in range(3) if db.cursor().execute("SELECT 1"))
    with pytest.raises(InterfaceError, match="executemany is taking its values"):
        db.cursor().executemany(INSERT, sets)
    assert count(db) == 0
    db.cursor().executemany(INSERT, [(number, None) for number in range(3)])
    assert count(db) == 3


def test_a_stream_of_the_same_connection(db: dbapi.Connection) -> None:
    rows = db.cursor().stream("SELECT g, NULL FROM generate_series(1, 5) g", batch=2)
    with pytest.raises(InterfaceError, match="rows are being streamed"):
        db.cursor().executemany(INSERT, rows)
    rows.close()  # type: ignore[attr-defined]
    assert count(db) == 0
