"""PEP 249: the module, connections, transactions and cursors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pg8000 import dbapi as theirs

from lightvec import Vector, pg8000
from lightvec.pg8000 import dbapi
from lightvec.pg8000.exceptions import DataError, InterfaceError, ProgrammingError


@pytest.fixture
def cursor(dbapi_conn: dbapi.Connection) -> Iterator[dbapi.Cursor]:
    with dbapi_conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, name text)")
        dbapi_conn.commit()
        yield cursor


def count(cursor: dbapi.Cursor) -> int:
    row = cursor.execute("SELECT count(*) FROM item").fetchone()
    assert row is not None
    return int(row[0])


def in_transaction(connection: dbapi.Connection) -> bool:
    return connection.in_transaction


def outcome(cursor: dbapi.Cursor) -> tuple[Any, int]:
    return cursor.description, cursor.rowcount


def test_the_module() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 1, "format")
    assert pg8000.dbapi is dbapi
    for name in dbapi.__all__:
        assert hasattr(dbapi, name)
    assert dbapi.Binary(b"a") == b"a"
    assert dbapi.Date(2026, 1, 2).isoformat() == "2026-01-02"


def test_exceptions_are_on_the_connection(dbapi_conn: dbapi.Connection) -> None:
    names = "Warning Error InterfaceError DatabaseError DataError OperationalError IntegrityError InternalError"
    for name in [*names.split(), "ProgrammingError", "NotSupportedError"]:
        assert getattr(dbapi_conn, name) is getattr(dbapi, name)
        assert issubclass(getattr(dbapi, name), getattr(theirs, name))
        assert issubclass(getattr(dbapi, name), (dbapi.Error, dbapi.Warning))
    connection: object = dbapi_conn
    assert isinstance(connection, theirs.Connection)


# --- transactions ----------------------------------------------------------------------------------------------


def test_a_transaction_begins_by_itself(cursor: dbapi.Cursor) -> None:
    connection = cursor.connection
    assert in_transaction(connection) is False
    cursor.execute("INSERT INTO item VALUES (1, 'a')")
    assert in_transaction(connection) is True
    connection.rollback()
    assert in_transaction(connection) is False
    assert count(cursor) == 0
    cursor.execute("INSERT INTO item VALUES (1, 'a')")
    connection.commit()
    connection.rollback()
    assert count(cursor) == 1


def test_a_transaction_begins_before_several_statements(cursor: dbapi.Cursor) -> None:
    cursor.execute("INSERT INTO item VALUES (1, 'a'); INSERT INTO item VALUES (2, 'b')")
    cursor.connection.rollback()
    assert count(cursor) == 0


def test_autocommit(cursor: dbapi.Cursor) -> None:
    connection = cursor.connection
    connection.autocommit = True
    cursor.execute("INSERT INTO item VALUES (1, 'a')")
    assert not connection.in_transaction
    connection.rollback()
    assert count(cursor) == 1
    cursor.execute("VACUUM")


def test_an_error_leaves_the_transaction_failed_until_it_is_rolled_back(cursor: dbapi.Cursor) -> None:
    with pytest.raises(DataError):
        cursor.execute("SELECT 1/0")
    assert cursor.connection.in_failed_transaction
    with pytest.raises(dbapi.InternalError, match="roll the transaction back"):
        cursor.execute("SELECT 1")
    cursor.connection.rollback()
    assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_isolation_levels(cursor: dbapi.Cursor) -> None:
    connection = cursor.connection
    for level, shown in (
        (4, "serializable"),
        ("repeatable_read", "repeatable read"),
        ("READ UNCOMMITTED", "read uncommitted"),
        (None, "read committed"),
    ):
        connection.set_isolation_level(level)
        assert cursor.execute("SHOW transaction_isolation").fetchone() == (shown,)
        connection.rollback()
    for wrong in (7, "chaos"):
        with pytest.raises(ProgrammingError, match="expected an isolation level"):
            connection.set_isolation_level(wrong)


# --- cursors ---------------------------------------------------------------------------------------------------


def test_description_and_rowcount(cursor: dbapi.Cursor) -> None:
    assert outcome(cursor) == (None, -1)
    cursor.execute("INSERT INTO item VALUES (1, 'a'), (2, 'b')")
    assert outcome(cursor) == (None, 2)
    cursor.execute("SELECT id, name AS title FROM item")
    assert cursor.description == [("id", 23, None, None, None, None, None), ("title", 25, None, None, None, None, None)]
    assert cursor.rowcount == 2
    cursor.execute("CREATE TEMPORARY TABLE counted ()")
    assert outcome(cursor) == (None, -1)
    cursor.execute("SELECT")
    assert cursor.description is None


def test_fetching(cursor: dbapi.Cursor) -> None:
    def numbers() -> dbapi.Cursor:
        return cursor.execute("SELECT generate_series(1, 5)")

    assert [numbers().fetchone(), cursor.fetchone()] == [(1,), (2,)]
    assert cursor.fetchmany() == [(3,)]
    assert cursor.fetchmany(0) == []
    assert cursor.fetchall() == [(4,), (5,)]
    assert (cursor.fetchone(), cursor.fetchmany(3), cursor.fetchall()) == (None, [], [])
    numbers()
    cursor.arraysize = 2
    assert cursor.fetchmany() == [(1,), (2,)]
    assert list(cursor) == [(3,), (4,), (5,)]
    assert list(numbers())[-1] == (5,)
    assert next(numbers()) == (1,)


def test_there_is_nothing_to_fetch(cursor: dbapi.Cursor) -> None:
    for sql in (None, "INSERT INTO item VALUES (1, 'a')"):
        if sql:
            cursor.execute(sql)
        for fetch in (cursor.fetchone, cursor.fetchmany, cursor.fetchall):
            with pytest.raises(ProgrammingError, match="no rows to fetch"):
                fetch()


def test_executemany(cursor: dbapi.Cursor) -> None:
    cursor.executemany("INSERT INTO item VALUES (%s, %s)", [(number, "x") for number in range(5)])
    assert (cursor.rowcount, count(cursor)) == (5, 5)
    cursor.executemany("DELETE FROM item WHERE id = %(id)s", ({"id": number} for number in (1, 2, 99)))
    assert (cursor.rowcount, count(cursor)) == (2, 3)
    cursor.executemany("DELETE FROM item WHERE id = %s", [])
    assert (cursor.rowcount, count(cursor)) == (-1, 3)


def test_callproc(cursor: dbapi.Cursor) -> None:
    cursor.execute("CREATE PROCEDURE pg_temp.add(a int, t text) LANGUAGE sql AS 'INSERT INTO item VALUES (a, t)'")
    cursor.callproc("pg_temp.add", (1, "a"))
    cursor.callproc("pg_temp.add", [2, "it's"])
    assert cursor.execute("SELECT * FROM item ORDER BY id").fetchall() == [(1, "a"), (2, "it's")]


def test_setinputsizes(cursor: dbapi.Cursor) -> None:
    cursor.setinputsizes(20, None)
    row = cursor.execute("SELECT pg_typeof(%s)::text, pg_typeof(%s)::text", (1, 1)).fetchone()
    assert row == ("bigint", "smallint")
    assert cursor.execute("SELECT pg_typeof(%s)::text, 1", (1,)).fetchone() == ("smallint", 1), "for one statement only"
    cursor.setinputsizes(float)
    assert cursor.execute("SELECT pg_typeof(%s)::text", (1,)).fetchone() == ("double precision",)
    cursor.setoutputsize(1)


def test_vectors(cursor: dbapi.Cursor) -> None:
    value = Vector([1, 2])
    for _ in range(2):
        assert cursor.execute("SELECT %s, %s", (value, [value])).fetchall() == [(value, [value])]


def test_one_vector_in_several_places_travels_once(cursor: dbapi.Cursor) -> None:
    value, other = Vector([1, 2]), Vector([5, 5])
    sql = "SELECT %s <-> %s, %s, %s, %s::int, %s"
    for _ in range(2):
        row = cursor.execute(sql, (value, other, value, 7, 8, other)).fetchone()
        assert row == (5.0, value, 7, 8, other)


def test_closed_cursors(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT 1")
    states = [cursor.closed]
    cursor.close()
    cursor.close()
    assert [*states, cursor.closed] == [False, True]
    for use in (cursor.fetchone, cursor.fetchmany, cursor.fetchall, lambda: cursor.execute("SELECT 1")):
        with pytest.raises(InterfaceError, match="the cursor is closed"):
            use()


def test_closed_connections(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    dbapi_conn.close()
    assert dbapi_conn.closed
    assert cursor.closed
    dbapi_conn.close()
    for use in (lambda: cursor.execute("SELECT 1"), lambda: dbapi_conn.cursor().execute("SELECT %s", (1,))):
        with pytest.raises(InterfaceError, match="closed"):
            use()


def test_a_connection_that_is_closed_inside_a_transaction_keeps_nothing(url: str) -> None:
    with dbapi.connect(url) as connection:
        connection.cursor().execute("CREATE TABLE never_committed (id int)")
    with dbapi.connect(url) as connection:
        assert connection.cursor().execute("SELECT to_regclass('never_committed')").fetchone() == (None,)


# --- placeholders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "args", "row"),
    [
        ("SELECT %s, %s", (1, "a"), (1, "a")),
        ("SELECT %s, %s", [1, "a"], (1, "a")),
        ("SELECT %(a)s, %(b)s, %(a)s", {"a": 1, "b": "x", "unused": 0}, (1, "x", 1)),
        ("SELECT '5%%', %s", (1,), ("5%", 1)),
        ("SELECT '%s', '%(a)s', %s", (1,), ("%s", "%(a)s", 1)),
        ("SELECT 7 %% %s", (4,), (3,)),
        ("SELECT 1 -- %s\n, %s", (2,), (1, 2)),
        ("SELECT 1 /* %s, it's */, %s", (2,), (1, 2)),
        ("SELECT $$%s$$, $a$%s $$ %s$a$, %s", (2,), ("%s", "%s $$ %s", 2)),
        ("SELECT E'it\\'s %s', 'it''s %s', %s", (2,), ("it's %s", "it's %s", 2)),
        ('SELECT %s AS "a%s"', (2,), (2,)),
        ("SELECT '5%'", None, ("5%",)),
        ("SELECT 7 % 4", None, (3,)),
        ("SELECT '5%%'", (), ("5%",)),
        ("SELECT '5%%'", {}, ("5%",)),
        ("SELECT %s::int[]", ([1, None],), ([1, None],)),
        ("SELECT '{\"a\": 1}'::jsonb ? %s", ("a",), (True,)),
    ],
)
def test_placeholders(sql: str, args: Any, row: tuple[Any, ...], cursor: dbapi.Cursor) -> None:
    assert cursor.execute(sql, args).fetchone() == row


@pytest.mark.parametrize(
    ("sql", "args", "message"),
    [
        ("SELECT %s", (), "need 1 values, got 0"),
        ("SELECT %s", (1, 2), "need 1 values, got 2"),
        ("SELECT %s, %s", (Vector([1]),), "need 2 values, got 1"),
        ("SELECT 1", (1,), "need 0 values, got 1"),
        ("SELECT %(a)s", {"b": 1}, "a value for 'a'; got \\['b'\\]"),
        ("SELECT %(a)s", (1,), "a mapping of values"),
        ("SELECT %s", {"a": 1}, "not %s"),
        ("SELECT 5 % 2, %s", (1,), "write it twice"),
    ],
)
def test_placeholders_that_do_not_fit(sql: str, args: Any, message: str, cursor: dbapi.Cursor) -> None:
    with pytest.raises(ProgrammingError, match=message):
        cursor.execute(sql, args)
    assert not cursor.connection.in_transaction, "nothing was sent"
