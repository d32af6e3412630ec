"""What goes wrong in the middle of something, and what is as it should be afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DataError, InterfaceError, InternalError, ProgrammingError


def test_a_copy_without_a_source_leaves_the_answers_in_step(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE cp (id int)")
    with pytest.raises(InterfaceError):
        conn.run("SELECT 1; COPY cp FROM STDIN")
    with pytest.raises(InterfaceError):
        list(conn.stream("COPY cp FROM STDIN"))
    with pytest.raises(InterfaceError):
        conn.run("COPY cp FROM STDIN")
    for number in range(42, 46):
        assert conn.run(f"SELECT {number}") == [[number]]
        assert conn.run("SELECT :n; ".rstrip("; "), n=number) == [[number]]


def test_a_commit_that_rolls_back_is_an_error(conn: Connection) -> None:
    def failed() -> None:
        conn.run("SELECT 1")
        with pytest.raises(DataError):
            conn.run("SELECT 1/0")

    with pytest.raises(InternalError, match="rolled back, not committed"), conn.transaction():
        failed()
    assert not conn.in_transaction
    conn.run("BEGIN")
    failed()
    with pytest.raises(InternalError, match="rolled back, not committed"):
        conn.run("COMMIT")
    conn.run("BEGIN")
    failed()
    conn.run("ROLLBACK")


def test_a_commit_of_pep_249_that_rolls_back_is_an_error(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    with pytest.raises(DataError):
        cursor.execute("SELECT 1/0")
    with pytest.raises(InternalError, match="rolled back, not committed"):
        dbapi_conn.commit()
    assert cursor.execute("SELECT 1").fetchone() == (1,)


FIRST = r"had failed \(division by zero \(SQLSTATE 22012\)\): nothing"


def fail(connection: Connection | dbapi.Connection) -> DataError:
    """The first error of the transaction, and behind it another one."""
    with pytest.raises(DataError) as caught:
        connection.execute_unnamed("SELECT 1/0")
    with pytest.raises(InternalError, match="aborted"):
        connection.execute_unnamed("SELECT 1")
    return caught.value


@pytest.mark.parametrize("commit", ["COMMIT", " commit and chain", "/* app */ -- x\nEND", "PREPARE TRANSACTION 'x'"])
def test_a_commit_that_rolls_back_names_the_first_error(commit: str, conn: Connection) -> None:
    conn.run("BEGIN")
    first = fail(conn)
    with pytest.raises(InternalError, match=FIRST) as caught:
        conn.run(commit)
    assert caught.value.__cause__ is first
    conn.run("ROLLBACK")


ENDS: dict[str, Callable[[dbapi.Connection, str], object]] = {
    "cursor": lambda connection, commit: connection.cursor().execute(commit),
    "cursor with values": lambda connection, commit: connection.cursor().execute(commit, ()),
    "executemany": lambda connection, commit: connection.cursor().executemany(commit, [()]),
    "script": lambda connection, commit: connection.cursor().execute(f"{commit}; SELECT 1"),
    "commit and rollback": lambda connection, commit: connection.cursor().execute(f"{commit}; ROLLBACK"),
    "unnamed": lambda connection, commit: connection.execute_unnamed(commit),
    "simple": lambda connection, commit: connection.execute_simple(commit),
    "many": lambda connection, commit: connection.execute_many([(commit, ()), ("SELECT 1", ()), ("SELECT 2", ())]),
    "stream": lambda connection, commit: list(connection.cursor().stream(commit)),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("commit", ["commit", "COMMIT AND CHAIN", "END"])
def test_so_does_each_way_to_send_it(end: str, commit: str, dbapi_conn: dbapi.Connection) -> None:
    dbapi_conn.cursor().execute("SELECT 1")
    first = fail(dbapi_conn)
    with pytest.raises(InternalError, match=FIRST) as caught:
        ENDS[end](dbapi_conn, commit)
    assert caught.value.__cause__ is first
    assert not dbapi_conn.in_failed_transaction
    assert dbapi_conn.cursor().execute("SELECT 1").fetchone() == (1,)


def test_a_commit_before_a_rollback_is_kept(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE kept (id int)")
    conn.run("BEGIN; INSERT INTO kept VALUES (1)")
    conn.run("COMMIT; BEGIN; INSERT INTO kept VALUES (2); ROLLBACK")
    assert conn.run("SELECT id FROM kept") == [[1]]


def test_the_first_error_is_the_one_of_this_transaction(dbapi_conn: dbapi.Connection) -> None:
    """One that a savepoint undid, or that ended another transaction, is not."""
    cursor = dbapi_conn.cursor()
    cursor.execute("SAVEPOINT a")
    with pytest.raises(ProgrammingError):
        cursor.execute("SELECT nothing")
    cursor.execute("ROLLBACK TO a")
    first = fail(dbapi_conn)
    with pytest.raises(InternalError, match=FIRST) as caught:
        dbapi_conn.commit()
    assert caught.value.__cause__ is first
    with pytest.raises(ProgrammingError):
        cursor.execute("SELECT nothing")
    dbapi_conn.rollback()
    dbapi_conn.tpc_begin(dbapi_conn.xid(0, "lightvec", ""))
    cursor.execute("SELECT 1")
    first = fail(dbapi_conn)
    with pytest.raises(InternalError, match=FIRST) as caught:
        dbapi_conn.tpc_prepare()
    assert caught.value.__cause__ is first


def test_an_open_stream_does_not_hide_the_callers_error(conn: Connection) -> None:
    class Mine(Exception):
        pass

    rows = conn.stream("SELECT g FROM generate_series(1, 100000) g", batch=10)

    def give_up(_: Any) -> None:
        raise Mine

    with pytest.raises(Mine), conn.transaction():
        give_up(next(rows))
    assert not conn.in_transaction
    with conn.transaction():
        assert next(conn.stream("SELECT g FROM generate_series(1, 100000) g", batch=10)) == [1]
    assert not conn.in_transaction


def test_rolled_back_savepoints_do_not_pile_up(conn: Connection) -> None:
    count = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'CurTransactionContext'"
    with conn.transaction():
        before = conn.run(count)
        for _ in range(50):
            with pytest.raises(DataError), conn.transaction():
                conn.run("SELECT 1/0")
        assert conn.run(count) == before


def test_settings_with_a_copy_inside_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        conn.run("CREATE TEMPORARY TABLE cs (id int) ON COMMIT DROP")
        before = conn.run("SHOW work_mem")
        conn.run("COPY cs FROM STDIN", stream=["1\n", "2\n"], settings={"work_mem": "7MB"})
        assert conn.run("SHOW work_mem") == before
        assert conn.run("SELECT count(*) FROM cs") == [[2]]


def test_a_former_setting_that_is_empty_comes_back_as_it_was(url: str) -> None:
    with connect(url, application_name="foo") as conn, conn.transaction():
        conn.run("SET LOCAL application_name = ''")
        conn.run("SELECT 1", settings={"application_name": "bar"})
        assert conn.run("SHOW application_name") == [[""]]


def test_settings_end_with_a_stream_whose_rows_cannot_be_read(conn: Connection) -> None:
    with conn.transaction():
        before = conn.run("SHOW work_mem")
        with pytest.raises(DataError):
            list(conn.stream("SELECT '24:00'::time", settings={"work_mem": "7MB"}))
        assert conn.run("SHOW work_mem") == before


@pytest.mark.parametrize("sql", [None, b"SELECT 1", 5])
def test_sql_that_is_no_text(sql: Any, conn: Connection) -> None:
    with pytest.raises(InterfaceError, match="expected SQL as a str"):
        conn.run(sql)
    with pytest.raises(InterfaceError):
        conn.run("SELECT 1", settings={"work_mem": None})


def test_two_threads_at_once_are_refused_not_mixed_up(url: str) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for i in range(200):
            try:
                answer = conn.run("SELECT :i::int", i=number * 1000 + i)
            except InterfaceError:
                continue
            if answer != [[number * 1000 + i]]:
                wrong.append(answer)

    with connect(url) as conn:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert conn.run("SELECT 1") == [[1]]
