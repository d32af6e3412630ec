"""Two threads on one connection: one speaks, the other is told so; and the caller's own signal handler."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import peewee
import pytest

from lightvec import Vector
from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.dbapi import Error, InterfaceError
from tests.alarms import alarm
from tests.pg8000.faces import FACES, Face, opened
from tests.scale import scaled

STATEMENTS = scaled(1_000, 200_000)
#: How long a thread may take before it counts as waiting for ever.
PATIENCE = 20


@contextmanager
def running(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Another thread at work; its error is raised, and it must end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for ever"
    if errors:
        raise errors[0]


# is_alive()


def polled(is_alive: Callable[[], bool], thread: threading.Thread) -> list[bool]:
    answers = []
    end = time.monotonic() + PATIENCE
    while thread.is_alive() and time.monotonic() < end:
        answers.append(is_alive())
    return answers


@contextmanager
def looking(conn: Connection) -> Iterator[None]:
    """Two threads that look at the connection all the time, and meet its own thread at every step."""
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            conn.is_alive()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with running(look), running(look):
            try:
                yield
            finally:
                done.set()
    finally:
        sys.setswitchinterval(interval)


def test_looks_do_not_get_in_the_way_of_statements(conn: Connection) -> None:
    with looking(conn):
        for number in range(scaled(3_000, 100_000)):
            assert conn.run("SELECT :n", n=number) == [[number]]


def test_looks_do_not_get_in_the_way_of_a_copy(conn: Connection) -> None:
    """Between its messages the connection is not busy."""
    conn.run("CREATE TEMPORARY TABLE looked_at (id int, t text)")
    count = scaled(3_000, 100_000)
    with looking(conn):
        assert conn.copy_rows("looked_at", ["id", "t"], ((number, "x" * 20_000) for number in range(count))) == count


def test_looks_do_not_get_in_the_way_of_a_stream(conn: Connection) -> None:
    count = scaled(10_000, 1_000_000)
    with looking(conn):
        rows = conn.stream("SELECT generate_series(1, :n)", n=count, batch=5)
        assert sum(1 for _ in rows) == count


@pytest.mark.parametrize("threads", [1, 3])
def test_is_alive_while_another_thread_works(threads: int, conn: Connection) -> None:
    # Three that never wait leave the worker little of the interpreter's time.
    statements = STATEMENTS if threads == 1 else STATEMENTS // 20

    ready = threading.Barrier(threads + 1)

    def work() -> None:
        ready.wait(PATIENCE)
        for number in range(statements):
            assert conn.run("SELECT CAST(:n AS int), CAST(:v AS vector)", n=number, v=Vector([number])) == [
                [number, Vector([number])]
            ]

    def look() -> None:
        ready.wait(PATIENCE)
        answers.append(conn.is_alive())
        answers.extend(polled(conn.is_alive, worker))

    answers: list[bool] = []
    with running(work) as worker:
        others = [threading.Thread(target=look, daemon=True) for _ in range(threads)]
        for other in others:
            other.start()
        worker.join(PATIENCE)
        for other in others:
            other.join(PATIENCE)
            assert not other.is_alive(), "it waits for ever"
    assert answers
    assert all(answers)
    assert conn.run("SELECT 1") == [[1]]


@pytest.mark.parametrize("use", ["run", "stream"])
def test_an_interrupt_while_waiting_for_a_look(use: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the wait, not the connection, nor what another thread runs there."""
    looks, goes_on = threading.Event(), threading.Event()

    def slow_poll(timeout: float) -> bool:
        looks.set()
        goes_on.wait(PATIENCE)
        return False

    uses = {"run": lambda: conn.run("SELECT 1"), "stream": lambda: list(conn.stream("SELECT 1"))}
    conn.run("SELECT 1")
    with monkeypatch.context() as patch:
        patch.setattr(conn.session.transport, "poll", slow_poll)
        with running(conn.is_alive):
            assert looks.wait(PATIENCE)
            try:
                with pytest.raises(KeyboardInterrupt), alarm(0.2, KeyboardInterrupt()):
                    uses[use]()
            finally:
                goes_on.set()
    assert conn.run("SELECT 1") == [[1]]


def test_is_alive_while_another_thread_waits(conn: Connection) -> None:
    """It does not wait for the statement."""
    with running(lambda: conn.run("SELECT pg_sleep(1)")):
        time.sleep(0.2)
        begun = time.monotonic()
        assert conn.is_alive()
        assert time.monotonic() - begun < 0.5
    assert conn.run("SELECT 1") == [[1]]


def test_is_alive_while_peewee_works(url: str) -> None:
    database = Pg8000Database(url, thread_safe=False)
    database.connect()
    connection: Any = database.connection()

    def work() -> None:
        for number in range(STATEMENTS):
            assert database.execute_sql("SELECT %s::int", (number,)).fetchone() == (number,)

    with running(work) as worker:
        answers = polled(connection.is_alive, worker)
    assert answers
    assert all(answers)
    database.close()


# A second statement


@pytest.mark.parametrize("name", FACES)
def test_a_second_statement_is_refused(name: str, url: str) -> None:
    """At once, and the first one is not harmed."""
    options: dict[str, Any] = {"thread_safe": False} if name == "peewee" else {}
    with opened(name, url, **options) as face:
        face.run("SELECT 1")
        rows: list[Any] = []
        with running(lambda: rows.extend(face.run("SELECT pg_sleep(0.7)::text, CAST(:n AS int)", n=7))):
            time.sleep(0.2)
            begun = time.monotonic()
            error = refused(face)
            assert time.monotonic() - begun < 0.3, "at once"
        assert "in use by another thread" in str(error)
        assert rows == [("", 7)]
        assert face.run("SELECT CAST(:n AS int)", n=8) == [(8,)]


def refused(face: Face) -> Exception:
    with pytest.raises((InterfaceError, peewee.InterfaceError, Exception)) as caught:
        face.run("SELECT CAST(:n AS int)", n=1)
    error = getattr(caught.value, "orig", None) or caught.value
    assert isinstance(error, (InterfaceError, peewee.InterfaceError)), error
    return error


USES: dict[str, Callable[[Connection], Any]] = {
    "several": lambda conn: conn.run("SELECT 1; SELECT 2"),
    "transaction": lambda conn: conn.transaction().__enter__(),
    "stream": lambda conn: next(conn.stream("SELECT 1")),
    "copy_rows": lambda conn: conn.copy_rows("in_use", ["id"], [[1]]),
    "fetch_columns": lambda conn: conn.fetch_columns("SELECT 1"),
    "settings": lambda conn: conn.run("SELECT 1", settings={"work_mem": "5MB"}),
}


@pytest.mark.parametrize("use", USES)
def test_every_other_use_is_refused(use: str, conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE in_use (id int)")
    with running(lambda: conn.run("SELECT pg_sleep(0.5)")):
        time.sleep(0.15)
        with pytest.raises(InterfaceError, match="in use by another thread"):
            USES[use](conn)
    assert conn.run("SELECT count(*) FROM in_use") == [[0]]
    assert not conn.in_transaction


def test_a_copy_is_one_use(conn: Connection) -> None:
    """From its first row to its last, also while it waits for the caller's."""
    conn.run("CREATE TEMPORARY TABLE in_use (id int)")
    half, go_on = threading.Event(), threading.Event()

    def rows() -> Iterator[list[int]]:
        yield [1]
        half.set()
        assert go_on.wait(PATIENCE)
        yield [2]

    with running(lambda: conn.copy_rows("in_use", ["id"], rows())):
        assert half.wait(PATIENCE)
        try:
            with pytest.raises(InterfaceError, match=r"in use by another thread|copied"):
                conn.run("SELECT 1")
        finally:
            go_on.set()
    assert conn.run("SELECT count(*) FROM in_use") == [[2]]


@pytest.mark.parametrize("name", FACES)
def test_threads_without_a_rule(name: str, url: str) -> None:
    """They speak when they like: each gets its own rows or is refused, and nothing breaks."""
    options: dict[str, Any] = {"thread_safe": False} if name == "peewee" else {}
    with opened(name, url, **options) as face:
        face.run("SELECT 1")
        counts = {"right": 0, "refused": 0}

        def work(client: int) -> None:
            for number in range(STATEMENTS // 20):
                try:
                    rows = face.run("SELECT CAST(:c AS int), CAST(:n AS int)", c=client, n=number)
                except Exception as error:
                    check_says(error, "in use by another thread")
                    counts["refused"] += 1
                else:
                    assert rows == [(client, number)]
                    counts["right"] += 1

        with running(lambda: work(1)), running(lambda: work(2)), running(lambda: work(3)):
            pass
        assert counts["right"] > 0
        assert face.run("SELECT CAST(:n AS int)", n=8) == [(8,)]


def test_a_cursors_rows_are_the_threads_own(url: str) -> None:
    """A cursor whose statement was run has its rows, whatever the other thread does then."""
    with dbapi.connect(url) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT generate_series(1, 3000)")
        with running(lambda: connection.cursor().execute("SELECT pg_sleep(0.3)")):
            time.sleep(0.1)
            assert len(cursor.fetchall()) == 3_000


def test_cancel_is_for_other_threads(conn: Connection) -> None:
    errors: list[Error] = []

    def work() -> None:
        try:
            conn.run("SELECT pg_sleep(10)")
        except Error as error:
            errors.append(error)

    begun = time.monotonic()
    with running(work):
        time.sleep(0.2)
        conn.cancel()
    assert time.monotonic() - begun < 5
    assert [error.sqlstate for error in errors] == ["57014"]


def test_close_while_another_thread_waits(url: str) -> None:
    """It raises nothing and does not wait; the other thread is told, or has its row."""
    connection = connect(url)
    told: list[Any] = []

    def work() -> None:
        try:
            told.append(connection.run("SELECT pg_sleep(1), 7"))
        except Error as error:
            told.append(error)

    with running(work):
        time.sleep(0.2)
        begun = time.monotonic()
        connection.close()
        assert time.monotonic() - begun < 0.5
    assert isinstance(told[0], Error) or told == [[["", 7]]]


# The caller's own signal handler


class Mine(TimeoutError):
    """The caller's."""


class Interrupt(BaseException):
    """The caller's, too."""


SLEEPS: dict[str, Callable[[Connection], Any]] = {
    "run": lambda conn: conn.run("SELECT pg_sleep(5)"),
    "parameter": lambda conn: conn.run("SELECT pg_sleep(:n)", n=5.0),
    "several": lambda conn: conn.run("SELECT 1; SELECT pg_sleep(5)"),
    "stream": lambda conn: list(conn.stream("SELECT pg_sleep(5)")),
    "fetch_columns": lambda conn: conn.fetch_columns("SELECT 1 AS a, pg_sleep(5)::text AS b"),
    "copy": lambda conn: conn.copy_rows("sleepy", ["id"], [[1]]),
}
SLEEPY = """\
CREATE TEMPORARY TABLE sleepy (id int);
CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_sleep(5); RETURN new; END$$;
CREATE TRIGGER sleep BEFORE INSERT ON sleepy FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep()"""


@pytest.mark.parametrize(
    ("how", "kind"), [*((how, TimeoutError) for how in SLEEPS), ("run", Mine), ("run", ValueError), ("run", Interrupt)]
)
def test_what_the_callers_signal_handler_raises_is_his(how: str, kind: type[BaseException], url: str) -> None:
    """It reaches him as it is: an alarm of 0.2 seconds is not what the server or the network did."""
    mine = kind("mine")
    with connect(url) as connection:
        connection.run(SLEEPY)
        begun = time.monotonic()
        with pytest.raises(kind) as caught, alarm(0.2, mine):
            SLEEPS[how](connection)
        assert caught.value is mine
        assert time.monotonic() - begun < 3
        check_usable_or_closed(connection)


def check_usable_or_closed(connection: Connection) -> None:
    """Afterwards it is good, or broken and says so; never out of step."""
    try:
        assert connection.run("SELECT CAST(:n AS int)", n=41) == [[41]]
    except Error as error:
        check_says(error, "connect again")


def check_says(error: Exception, text: str) -> None:
    assert text in str(error)


@pytest.mark.parametrize("name", ["dbapi", "sqlalchemy", "peewee"])
def test_his_timeout_through_the_other_ways(name: str, url: str) -> None:
    mine = TimeoutError("mine")
    with opened(name, url) as face:
        face.run("SELECT 1")
        with pytest.raises(TimeoutError) as caught, alarm(0.2, mine):
            face.run("SELECT pg_sleep(5)")
        assert caught.value is mine


def test_his_timeout_beside_our_limit(url: str) -> None:
    """A command_timeout of 10 seconds has nothing to do with it; that of 0.2 seconds is told as ever."""
    mine = TimeoutError("mine")
    with connect(url, command_timeout=10) as connection:
        with pytest.raises(TimeoutError) as caught, alarm(0.2, mine):
            connection.run("SELECT pg_sleep(5)")
        assert caught.value is mine
    with connect(url, command_timeout=0.2) as connection, pytest.raises(Error, match="command_timeout"):
        connection.run("SELECT pg_sleep(5)")


def test_his_timeout_while_connecting(url: str) -> None:
    """Where nobody answers."""
    mine = TimeoutError("mine")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TimeoutError) as caught,
        alarm(0.2, mine),
    ):
        connect(host="127.0.0.1", port=silent.getsockname()[1], user="x", dbname="x", sslmode="disable")
    assert caught.value is mine


def test_a_connection_that_another_thread_closes_stays_closed(url: str) -> None:
    with connect(url) as conn:
        timer = threading.Timer(0.2, conn.close)
        timer.start()
        with suppress(Error):  # Whether the answer still arrives is up to the kernel.
            conn.run("SELECT pg_sleep(0.6)")
        timer.join()
        assert conn.closed
        with pytest.raises(InterfaceError, match="connection is closed"):
            conn.run("SELECT 1")
