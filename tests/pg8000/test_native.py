"""The connection for scripts: pg8000's native interface, and transactions."""

from __future__ import annotations

from contextlib import nullcontext

import pg8000.native
import pytest

import lightvec
from lightvec import Vector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError, InterfaceError, ProgrammingError


@pytest.fixture(autouse=True)
def table(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE note (id int PRIMARY KEY, body text)")


def notes(conn: Connection) -> list[int]:
    return [row[0] for row in conn.run("SELECT id FROM note ORDER BY id") or ()]


def test_it_is_pg8000s_connection(conn: Connection) -> None:
    connection: object = conn
    assert isinstance(connection, pg8000.native.Connection)
    assert lightvec.connect is connect
    assert conn.server_version >= 160000


def test_rows_columns_and_counts(conn: Connection) -> None:
    assert conn.run("INSERT INTO note VALUES (1, 'a'), (2, 'b')") is None
    assert (conn.row_count, conn.columns) == (2, None)
    assert conn.run("UPDATE note SET body = :b", b="c") is None
    assert conn.row_count == 2
    assert conn.run("DELETE FROM note WHERE id = :id RETURNING body", id=1) == [["c"]]
    assert conn.row_count == 1
    assert conn.run("SELECT id, body AS text FROM note WHERE id = :id", id=99) == []
    assert [column["name"] for column in conn.columns or ()] == ["id", "text"]
    assert [column["type_oid"] for column in conn.columns or ()] == [23, 25]
    assert conn.row_count == 0
    conn.run("CREATE TEMPORARY TABLE other ()")
    assert conn.row_count == -1


def test_several_statements(conn: Connection) -> None:
    rows = conn.run("INSERT INTO note VALUES (1, 'a;b'); SELECT id FROM note; SELECT id + 1 FROM note;")
    assert rows == [[1], [2]]
    assert conn.row_count == 3
    with pytest.raises(DataError):
        conn.run("INSERT INTO note VALUES (2, ''); SELECT 1/0")
    assert notes(conn) == [1], "they are one transaction"
    with pytest.raises(ProgrammingError, match="multiple commands"):
        conn.run("SELECT :a; SELECT 2", a=1)


@pytest.mark.parametrize("sql", ["", ";", "-- nothing", "/* ; */"])
def test_nothing_to_run(sql: str, conn: Connection) -> None:
    assert conn.run(sql) is None
    assert conn.run("SELECT 1") == [[1]]


@pytest.mark.parametrize("sql", ["SELECT 'a;b'", "SELECT 'a;b';", "SELECT $$a;b$$ -- ;", "SELECT 'a;b' AS \"x;y\""])
def test_a_semicolon_that_ends_no_statement(sql: str, conn: Connection) -> None:
    assert conn.run(sql, settings={"work_mem": "1MB"}) == [["a;b"]]


def test_placeholders(conn: Connection) -> None:
    assert conn.run("SELECT :a, :b, :a, ':a', 1::int, $$:a$$", a=1, b="x") == [[1, "x", 1, ":a", 1, ":a"]]
    assert conn.run("SELECT $1, $2", a=1, b=2) == [[1, 2]]
    for sql in ("SELECT :a, :b", "SELECT $1, $2", "SELECT :stream, :a"):
        with pytest.raises(InterfaceError, match="placeholder"):
            conn.run(sql, a=1)
    assert conn.run("SELECT $2, $1, $2", a=1, b=2) == [[2, 1, 2]]
    assert conn.run("SELECT (ARRAY[5, 6, 7])[1:2], :a", a=1) == [[[5, 6], 1]]
    for sql in ("SELECT :", "SELECT $"):
        with pytest.raises(ProgrammingError, match="syntax error"):
            conn.run(sql, a=1)


def test_prepare(conn: Connection) -> None:
    statement = conn.prepare("SELECT :a * 2 AS double")
    assert statement.run(a=21) == [[42]]
    assert statement.run(a=2**40) == [[2**41]]
    assert [column["name"] for column in statement.columns or ()] == ["double"]
    statement.close()
    assert conn.run("SELECT count(*) FROM pg_prepared_statements") == [[0]]


def test_the_end_of_the_block_closes(url: str) -> None:
    with connect(url) as connection:
        assert connection.is_alive()
    assert connection.closed
    connection.close()
    with pytest.raises(InterfaceError, match="closed"):
        connection.run("SELECT 1")
    assert not connection.is_alive()


def test_notices(conn: Connection) -> None:
    conn.run("DO $$ BEGIN RAISE NOTICE 'look here'; END $$")
    assert conn.notices[-1][b"M"] == b"look here"
    assert conn.run("SELECT 1") == [[1]]


def test_listen_and_notify(conn: Connection, url: str) -> None:
    conn.run("LISTEN channel")
    with connect(url) as other:
        other.run("NOTIFY channel, 'payload'")
        other.run("SELECT pg_notify('channel', :p)", p="second")
    assert conn.is_alive()
    conn.run("SELECT 1")
    assert [(channel, payload) for _, channel, payload in conn.notifications] == [
        ("channel", "payload"),
        ("channel", "second"),
    ]


# --- transactions ----------------------------------------------------------------------------------------------


def insert_and_raise(conn: Connection, number: int, error: type[BaseException]) -> None:
    conn.run("INSERT INTO note VALUES (:n, '')", n=number)
    raise error


def insert_and_divide(conn: Connection, number: int) -> None:
    with conn.transaction():
        conn.run("INSERT INTO note VALUES (:n, '')", n=number)
    conn.run("SELECT 1/0")


def state(conn: Connection) -> tuple[bool, bool]:
    return conn.in_transaction, conn.in_failed_transaction


def test_a_transaction_commits(conn: Connection) -> None:
    with conn.transaction() as inside:
        assert inside is conn
        assert state(conn) == (True, False)
        conn.run("INSERT INTO note VALUES (1, '')")
    assert state(conn) == (False, False)
    conn.run("ROLLBACK")
    assert notes(conn) == [1]


def test_a_transaction_is_rolled_back(conn: Connection) -> None:
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), conn.transaction():
            insert_and_raise(conn, 1, error)
        assert state(conn) == (False, False)
    with pytest.raises(DataError), conn.transaction():
        insert_and_divide(conn, 1)
    assert state(conn) == (False, False)
    assert notes(conn) == []


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "COMMIT AND CHAIN"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_transaction_that_ends_within_its_block_is_an_error(end: str, is_nested: bool, conn: Connection) -> None:
    outer = conn.transaction() if is_nested else nullcontext()
    with pytest.raises(InterfaceError, match="in the block ended its transaction"), outer, conn.transaction():
        conn.run(end)
    assert not conn.in_transaction


def test_a_comment_before_a_begin(conn: Connection) -> None:
    conn.run("/* a */ BEGIN")
    assert conn.in_transaction
    conn.run("ROLLBACK")


def test_nested_transactions_are_savepoints(conn: Connection) -> None:
    with conn.transaction():
        conn.run("INSERT INTO note VALUES (1, '')")
        with pytest.raises(DataError), conn.transaction(), conn.transaction():
            insert_and_divide(conn, 2)
        with pytest.raises(DataError), conn.transaction():
            insert_and_divide(conn, 3)
        assert state(conn) == (True, False)
        for number in (4, 5):
            with conn.transaction():
                conn.run("INSERT INTO note VALUES (:n, '')", n=number)
        with pytest.raises(KeyboardInterrupt), conn.transaction():
            insert_and_raise(conn, 6, KeyboardInterrupt)
    assert notes(conn) == [1, 4, 5]


def test_a_failed_transaction_says_so(conn: Connection) -> None:
    conn.run("BEGIN")
    with pytest.raises(DataError):
        conn.run("SELECT 1/0")
    assert state(conn) == (True, True)
    conn.run("ROLLBACK")
    assert state(conn) == (False, False)


def test_a_first_vector_in_a_failed_transaction_is_refused_like_anything_else(url: str) -> None:
    with connect(url) as connection:
        connection.run("BEGIN")
        with pytest.raises(DataError):
            connection.run("SELECT 1/0")
        with pytest.raises(lightvec.pg8000.dbapi.InternalError, match="aborted"):
            connection.run("SELECT :v", v=Vector([1]))
        connection.run("ROLLBACK")
        assert connection.run("SELECT :v", v=Vector([1])) == [[Vector([1])]]
