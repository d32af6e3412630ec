"""stream: rows a batch at a time, with a connection that is whole again behind them."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest

from lightvec import Vector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError, InterfaceError, ProgrammingError
from tests.pg8000.roundtrips import SERVER, Relay

NUMBERS = "SELECT g FROM generate_series(1, :n) g"


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 95])
@pytest.mark.parametrize("batch", [1, 10, 1_000])
def test_all_rows_in_order(conn: Connection, number: int, batch: int) -> None:
    assert [row[0] for row in conn.stream(NUMBERS, n=number, batch=batch)] == [*range(1, number + 1)]
    assert conn.run("SELECT 1") == [[1]]


def test_vectors(conn: Connection) -> None:
    sql = "SELECT g, ARRAY[g, g + 1]::vector AS v FROM generate_series(1, 20) g"
    expected = [[g, Vector([g, g + 1])] for g in range(1, 21)]
    for _ in range(2):
        assert list(conn.stream(sql, batch=7)) == expected
    nearest = "SELECT g FROM generate_series(1, 9) g ORDER BY ARRAY[g, 0]::vector <-> :v"
    assert next(conn.stream(nearest, v=Vector([4, 0]), batch=2)) == [4]


def test_vectors_come_as_binary_from_the_first_row_on(relay: Relay) -> None:
    with connect(relay.url) as conn, relay.recording() as record:
        list(conn.stream("SELECT ARRAY[0.1, 0.2]::vector FROM generate_series(1, 3)"))
        answers = record.data(SERVER)
    assert Vector([0.1, 0.2]).to_binary() in answers
    assert b"[0.1,0.2]" not in answers


def test_nothing_is_sent_before_the_first_row_is_asked_for(conn: Connection) -> None:
    conn.stream("SELECT 1/0")
    assert conn.run("SELECT 1") == [[1]]


def test_rows_that_are_not_read_to_their_end(conn: Connection) -> None:
    rows = conn.stream(NUMBERS, n=100_000_000, batch=10)
    assert next(rows) == [1]
    with pytest.raises(InterfaceError, match="being streamed"):
        conn.run("SELECT 1")
    rows.close()
    assert conn.run("SELECT 1") == [[1]]
    assert not conn.in_transaction


@pytest.mark.parametrize("bad_row", [1, 5, 25])
def test_an_error_in_the_middle(conn: Connection, bad_row: int) -> None:
    rows = conn.stream("SELECT 10 / (g - :bad) FROM generate_series(1, 30) g", bad=bad_row, batch=10)
    whole = 10 * ((bad_row - 1) // 10)
    assert len(list(islice(rows, whole))) == whole
    with pytest.raises(DataError):
        next(rows)
    assert conn.run("SELECT 1") == [[1]]


def test_a_statement_that_cannot_be(conn: Connection) -> None:
    for sql in ("SELECT nonsense", "SELEC 1"):
        with pytest.raises(ProgrammingError):
            next(conn.stream(sql))
    with pytest.raises(InterfaceError, match="at least 1 row"):
        conn.stream("SELECT 1", batch=0)
    with pytest.raises(DataError, match="work_mem"):
        next(conn.stream("SELECT 1", settings={"work_mem": "x"}))
    assert conn.run("SELECT 1") == [[1]]


def test_statements_without_rows(conn: Connection) -> None:
    assert list(conn.stream("CREATE TEMPORARY TABLE streamed (id int)")) == []
    assert list(conn.stream("INSERT INTO streamed VALUES (:id)", id=5)) == []
    assert list(conn.stream("INSERT INTO streamed SELECT generate_series(1, 9) RETURNING id", batch=4)) == [
        [n] for n in range(1, 10)
    ]
    assert conn.run("SELECT count(*) FROM streamed") == [[10]]


def test_settings_hold_while_rows_come_and_no_longer(conn: Connection) -> None:
    sql = "SELECT current_setting('work_mem') FROM generate_series(1, 5)"
    before = conn.run("SHOW work_mem")
    assert {row[0] for row in conn.stream(sql, batch=2, settings={"work_mem": "7MB"})} == {"7MB"}
    assert conn.run("SHOW work_mem") == before
    with conn.transaction():
        conn.run("SET LOCAL work_mem = '9MB'")
        assert {row[0] for row in conn.stream(sql, batch=2, settings={"work_mem": "7MB"})} == {"7MB"}
        assert conn.run("SHOW work_mem") == [["9MB"]]


def test_inside_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        conn.run("CREATE TEMPORARY TABLE kept (id int) ON COMMIT DROP")
        assert len(list(conn.stream("INSERT INTO kept SELECT generate_series(1, 30) RETURNING id", batch=10))) == 30
        assert conn.in_transaction
        assert conn.run("SELECT count(*) FROM kept") == [[30]]


def test_memory_stays_flat(url: str) -> None:
    """A million rows, in a process of its own, take no more than 32 MiB beside what was there before."""
    code = f"""
import re, lightvec
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
with lightvec.connect({url!r}) as conn:
    conn.run("SELECT 1")
    before = most = resident()
    rows = 0
    for row in conn.stream("SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) g"):
        rows += 1
        if rows % 50000 == 0: most = max(most, resident())
print(rows, (most - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 1_000_000
    assert grown <= 32


@pytest.mark.parametrize("inside", [False, True])
def test_settings_that_other_statements_had(inside: bool, url: str) -> None:
    settings = {"work_mem": "12MB"}
    with connect(url) as conn:
        for _ in range(4):
            conn.run("BEGIN" if inside else "SELECT 0")
            for sql in ("SELECT 1", "SELECT current_setting('work_mem')"):
                conn.run(sql, settings=settings)
            assert list(conn.stream("SELECT current_setting('work_mem')", settings=settings)) == [["12MB"]]
            assert conn.run("SELECT current_setting('work_mem')") != [["12MB"]]
            conn.run("ROLLBACK" if inside else "SELECT 0")
        assert conn.run("SELECT count(*) < 10 FROM pg_prepared_statements") == [[True]]


def test_a_statement_that_was_prepared(url: str) -> None:
    """It is streamed as what it is now, and under no name."""
    with connect(url) as conn, connect(url) as other:
        other.run("DROP TABLE IF EXISTS changing; CREATE TABLE changing AS SELECT 1 AS i")
        for _ in range(3):
            assert conn.run("SELECT i FROM changing") == [[1]]
        other.run("ALTER TABLE changing ALTER i TYPE text")
        assert list(conn.stream("SELECT i FROM changing")) == [["1"]]
        conn.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
        assert list(conn.stream("SELECT i FROM changing")) == [["1"]]
        for sql in ("SELECT 41+1", "SELECT i FROM changing"):
            conn.run(sql)
            for _ in range(20):
                assert len(list(conn.stream(sql))) == 1
        assert conn.run("SELECT count(*) < 5 FROM pg_prepared_statements") == [[True]]
        other.run("DROP TABLE changing")
