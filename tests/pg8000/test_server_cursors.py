"""Cursors on the server: rows come in pages, and each cursor ends with its transaction or is closed."""

from __future__ import annotations

import pytest

from lightvec import Vector
from lightvec.pg8000 import dbapi
from lightvec.pg8000.exceptions import DataError, InterfaceError, ProgrammingError
from tests.pg8000.roundtrips import Relay

SERIES = "SELECT n, format('[%%s,%%s]', n, n + 1)::vector FROM generate_series(1, %s) AS n"


def row(number: int) -> tuple[int, Vector]:
    return number, Vector([number, number + 1])


def opened(connection: dbapi.Connection, count: int = 10, *, withhold: bool = False) -> dbapi.ServerCursor:
    cursor = connection.cursor("on the server", withhold=withhold)
    assert isinstance(cursor, dbapi.ServerCursor)
    cursor.itersize = 3
    cursor.execute(SERIES, (count,))
    return cursor


def open_cursors(connection: dbapi.Connection) -> int:
    found = connection.cursor().execute("SELECT count(*) FROM pg_cursors WHERE name = 'on the server'").fetchone()
    assert found is not None
    return int(found[0])


def test_fetching_one_many_and_all(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    assert cursor.fetchone() == row(1)
    assert cursor.fetchmany(4) == [row(number) for number in range(2, 6)], "two of the page at hand, two of the next"
    assert cursor.fetchone() == row(6)
    assert cursor.fetchmany() == [row(7)]
    assert cursor.fetchall() == [row(8), row(9), row(10)]
    assert (cursor.fetchone(), cursor.fetchmany(2), cursor.fetchall()) == (None, [], [])


def test_iteration_goes_page_by_page(relay: Relay) -> None:
    with dbapi.connect(relay.url) as connection:
        cursor = opened(connection, 7)
        with relay.recording() as record:
            assert list(cursor) == [row(number) for number in range(1, 8)]
        assert record.round_trips == 4, "3, 3, 1 and the empty page"


def test_the_description_is_there_before_the_first_row(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    assert [column[0] for column in cursor.description or ()] == ["n", "format"]
    assert cursor.fetchone() == row(1)
    assert [column[0] for column in cursor.description or ()] == ["n", "format"]


def test_no_rows(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn, 0)
    assert cursor.fetchall() == []
    assert [column[0] for column in cursor.description or ()] == ["n", "format"]


def test_closing_closes_it_on_the_server(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    assert open_cursors(dbapi_conn) == 1
    cursor.close()
    assert open_cursors(dbapi_conn) == 0
    with pytest.raises(InterfaceError, match="closed"):
        cursor.fetchone()
    with opened(dbapi_conn):
        assert open_cursors(dbapi_conn) == 1
    assert open_cursors(dbapi_conn) == 0


def test_withhold_outlives_the_transaction(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn, withhold=True)
    dbapi_conn.commit()
    assert len(cursor.fetchmany(5)) == 5
    assert len(cursor.fetchall()) == 5
    cursor.close()
    assert open_cursors(dbapi_conn) == 0


def test_one_that_ended_with_its_transaction(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    dbapi_conn.commit()
    with pytest.raises(dbapi.DatabaseError, match="does not exist"):
        cursor.fetchone()
    dbapi_conn.rollback()
    cursor.close()


def test_closing_is_quiet_in_a_failed_transaction_and_on_a_closed_connection(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    with pytest.raises(DataError):
        dbapi_conn.cursor().execute("SELECT 1/0")
    cursor.close()
    dbapi_conn.rollback()
    cursor = opened(dbapi_conn)
    dbapi_conn.close()
    cursor.close()
    assert cursor.closed


def test_it_runs_one_query(dbapi_conn: dbapi.Connection) -> None:
    cursor = opened(dbapi_conn)
    with pytest.raises(ProgrammingError, match="open another one"):
        cursor.execute("SELECT 1")
    with pytest.raises(ProgrammingError):
        dbapi_conn.cursor("unused").fetchall()


def test_settings_hold_for_its_plan(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor("settled")
    cursor.execute("SELECT 1", settings={"work_mem": "5MB"})
    assert dbapi_conn.cursor().execute("SHOW work_mem").fetchone() != ("5MB",)
    assert cursor.fetchall() == [(1,)]


def test_names_are_quoted(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor('a "name"; DROP')
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    cursor.close()
