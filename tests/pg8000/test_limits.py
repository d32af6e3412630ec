"""Time: statements that take too long, servers that say nothing, deadlines, and cancelling from another thread."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lightvec.errors import InvalidOption
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import ConnectionLost, OperationalError
from lightvec.wire.timeouts import GRACE, Limits

#: A message that a server may send at any time.
NOTICE = b"N\x00\x00\x00\x05\x00"
SLOW = "SELECT pg_sleep(30)"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block takes no longer than this."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def is_running(conn: Connection, pid: int) -> bool:
    rows = conn.run("SELECT state = 'active' FROM pg_stat_activity WHERE pid = :pid", pid=pid)
    return bool(rows and rows[0][0])


def backend(connection: Connection) -> int:
    rows: Any = connection.run("SELECT pg_backend_pid()")
    return int(rows[0][0])


def waiting_rows(connection: Connection) -> Iterator[list[int]]:
    """More rows than the sockets hold, for a table that another connection has locked."""
    yield from ([number] for number in range(1_000_000))


WAYS: dict[str, Callable[[Connection], object]] = {
    "run": lambda conn: conn.run(SLOW),
    "run with parameters": lambda conn: conn.run("SELECT pg_sleep(:n)", n=30),
    "several statements": lambda conn: conn.run(f"SELECT 1; {SLOW}"),
    "settings": lambda conn: conn.run(SLOW, settings={"work_mem": "7MB"}),
    "stream": lambda conn: list(conn.stream("SELECT pg_sleep(0.01 * g) FROM generate_series(1, 1000) g", batch=100)),
    "fetch_columns": lambda conn: conn.fetch_columns(SLOW),
    "executemany": lambda conn: conn.execute_many([("SELECT pg_sleep($1)", [30])] * 2),
    "copy out": lambda conn: conn.run(f"COPY ({SLOW}) TO STDOUT", stream=_Sink()),
    "copy_rows": lambda conn: conn.copy_rows("limited", ["id"], waiting_rows(conn)),
}


class _Sink:
    def write(self, data: bytes) -> None:
        pass


@pytest.fixture(scope="module")
def limited(url: str) -> Iterator[Connection]:
    """A table whose lock is held, so that a load into it waits."""
    with connect(url) as owner:
        owner.run("CREATE TABLE limited (id int)")
        owner.run("BEGIN; LOCK TABLE limited IN ACCESS EXCLUSIVE MODE")
        yield owner
        owner.run("ROLLBACK; DROP TABLE limited")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("way", WAYS)
def test_a_statement_that_takes_too_long_is_cancelled(way: str, url: str, conn: Connection) -> None:
    with connect(url) as patient:
        pid = backend(patient)
        patient.extension()
        patient.command_timeout = 0.2
        with (
            within(3),
            pytest.raises(OperationalError, match=r"it took longer than 0.2 s \(command_timeout\)") as caught,
        ):
            WAYS[way](patient)
        assert caught.value.sqlstate == "57014"
        assert not is_running(conn, pid), "the server does not go on for nobody"
        assert patient.run("SELECT 'still here'") == [["still here"]]
        assert not patient.closed


def test_in_a_transaction_it_fails_the_transaction(url: str) -> None:
    with connect(url, command_timeout=0.2) as patient:
        with pytest.raises(OperationalError, match="took longer"), patient.transaction():
            patient.run(SLOW)
        assert not patient.in_transaction
        assert patient.run("SELECT 1") == [[1]]


def test_a_timeout_by_the_server_says_nothing_of_ours(url: str) -> None:
    with connect(url, command_timeout=20) as patient:
        with pytest.raises(OperationalError, match="longer than statement_timeout"):
            patient.run(SLOW, settings={"statement_timeout": 100})
        assert patient.run("SHOW statement_timeout") == [["0"]]


def test_a_source_of_rows_may_take_its_time(url: str) -> None:
    """The time-out is for the server."""

    def rows() -> Iterator[list[int]]:
        for number in range(4):
            time.sleep(0.15)
            yield [number]

    with connect(url, command_timeout=0.3) as patient:
        patient.run("CREATE TEMPORARY TABLE slow_source (id int)")
        assert patient.copy_rows("slow_source", ["id"], rows()) == 4
        patient.run("COPY slow_source FROM STDIN", stream=(f"{row[0]}\n" for row in rows()))
        assert patient.run("SELECT count(*) FROM slow_source") == [[8]]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A server process that says nothing and takes nothing, as behind a network that lost its way."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy_rows"])
def test_a_server_that_says_nothing_is_given_up(way: str, url: str) -> None:
    patient = connect(url, command_timeout=0.2)
    patient.extension()
    with frozen(backend(patient)), within(0.2 + GRACE + 1), pytest.raises(ConnectionLost) as caught:
        WAYS[way](patient)
    # Streams and columns have sent no Sync, without which nothing takes effect.
    has_sent_sync = way not in ("stream", "fetch_columns")
    assert caught.value.in_doubt == has_sent_sync == ("not known" in str(caught.value))
    assert patient.closed
    with pytest.raises(ConnectionLost, match="connect again") as again:
        patient.run("SELECT 1")
    assert not again.value.in_doubt
    patient.close()


def test_a_server_that_takes_nothing_is_given_up(url: str) -> None:
    patient = connect(url, command_timeout=0.2)
    with (
        frozen(backend(patient)),
        within(2),
        pytest.raises(ConnectionLost, match=r"took no data within 0\.2 s") as caught,
    ):
        patient.run("SELECT :a::text", a="x" * 10_000_000)
    assert not caught.value.in_doubt
    assert patient.closed


def test_a_load_whose_server_takes_nothing_any_more_is_given_up(url: str) -> None:
    patient = connect(url, command_timeout=0.2)
    patient.run("CREATE TEMPORARY TABLE taken (id int)")
    pid = backend(patient)

    def rows() -> Iterator[list[int]]:
        os.kill(pid, signal.SIGSTOP)
        yield from ([number] for number in range(1_000_000))

    try:
        with within(0.2 + GRACE + 2), pytest.raises(ConnectionLost, match="took no data"):
            patient.copy_rows("taken", ["id"], rows())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert patient.closed


# --- deadlines ------------------------------------------------------------------------------------------------


class Clock:
    """A function's remaining time, which can be set."""

    def __init__(self, milliseconds: float | None) -> None:
        self.set(milliseconds)

    def set(self, milliseconds: float | None) -> None:
        self._end = None if milliseconds is None else time.monotonic() + milliseconds / 1000

    def __call__(self) -> float | None:
        return None if self._end is None else (self._end - time.monotonic()) * 1000


@pytest.mark.parametrize("open_it", [connect, dbapi.connect])
def test_the_error_comes_before_the_deadline(open_it: Callable[..., Any], url: str) -> None:
    clock = Clock(800)
    with open_it(url, deadline=clock) as connection:
        with pytest.raises(OperationalError, match=r"it took longer than .* \(deadline\)") as caught:
            connection.execute_unnamed(SLOW)
        assert (clock() or 0) > 0, "there is time left to say so"
        assert caught.value.sqlstate == "57014"
        clock.set(None)
        connection.rollback() if isinstance(connection, dbapi.Connection) else None
        assert connection.execute_unnamed("SELECT 1").row_count == 1


def test_a_silent_server_is_given_up_before_the_deadline(url: str) -> None:
    clock = Clock(800)
    connection = connect(url, deadline=clock)
    with frozen(backend(connection)), pytest.raises(ConnectionLost):
        connection.run(SLOW)
    assert -100 < (clock() or 0) < 400
    assert connection.closed


def test_the_sooner_of_both_counts(url: str) -> None:
    with connect(url, deadline=Clock(60_000), command_timeout=0.2) as connection:
        with pytest.raises(OperationalError, match="command_timeout"):
            connection.run(SLOW)
        connection.command_timeout, connection.deadline = 60, Clock(400)
        with pytest.raises(OperationalError, match="deadline"):
            connection.run(SLOW)
        connection.command_timeout = connection.deadline = None
        assert connection.run("SELECT 1") == [[1]]
        assert connection.session.transport.socket.gettimeout() is None


def test_nothing_is_sent_when_no_time_is_left(url: str) -> None:
    clock = Clock(None)
    with connect(url, deadline=clock) as connection:
        connection.run("CREATE TEMPORARY TABLE untouched (id int)")
        clock.set(-5)
        for way in (
            lambda: connection.run("INSERT INTO untouched VALUES (1)"),
            lambda: connection.copy_rows("untouched", ["id"], [[1]]),
            lambda: list(connection.stream("INSERT INTO untouched VALUES (1) RETURNING id")),
            lambda: connection.fetch_columns("INSERT INTO untouched VALUES (1) RETURNING id"),
            lambda: connection.execute_many([("INSERT INTO untouched VALUES ($1)", [1])]),
        ):
            with pytest.raises(OperationalError, match="the deadline has passed"):
                way()
        clock.set(None)
        assert connection.run("SELECT count(*) FROM untouched") == [[0]]


def test_a_transaction_is_not_left_open_when_no_time_is_left(url: str, conn: Connection) -> None:
    clock = Clock(None)
    connection = connect(url, deadline=clock)
    pid = backend(connection)

    def run_out() -> None:
        with connection.transaction():
            connection.run("SELECT 1")
            clock.set(0)
            connection.run("SELECT 2")

    with pytest.raises(OperationalError, match="the deadline has passed"):
        run_out()
    assert connection.closed
    for _ in range(200):
        if conn.run("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid", pid=pid) == [[0]]:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the server still has the transaction open")


@pytest.mark.parametrize("deadline", [5, "later", object()])
def test_a_deadline_that_is_no_function(deadline: Any, url: str) -> None:
    with pytest.raises(InvalidOption, match="a function without parameters that returns the milliseconds left"):
        connect(url, deadline=deadline)


def test_a_deadline_that_gives_no_number(url: str) -> None:
    with connect(url) as connection:
        soon: Any = lambda: "soon"  # noqa: E731
        connection.deadline = soon
        with pytest.raises(InvalidOption, match="expected the milliseconds left"):
            connection.run("SELECT 1")
        connection.deadline = None
        assert connection.run("SELECT 1") == [[1]]


# --- connecting -----------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("sslmode", ["disable", "require"])
@pytest.mark.parametrize("limit", [{"connect_timeout": 0.3}, {"deadline": lambda: 300}, {"deadline": Clock(300)}])
def test_a_server_that_never_lets_one_in(limit: dict[str, Any], sslmode: str, silent: int) -> None:
    if isinstance(limit.get("deadline"), Clock):
        limit["deadline"].set(300)
    with within(1.5), pytest.raises(OperationalError, match=r"within 0\.(3|29\d?) s"):
        connect(host="127.0.0.1", port=silent, user="me", sslmode=sslmode, **limit)


def test_a_login_that_drips_ends_in_time() -> None:
    """The limit is for the whole of it, not for each byte."""

    def drip() -> None:
        accepted, _ = listener.accept()
        with accepted:
            for _ in range(60):
                with suppress(OSError):
                    accepted.sendall(NOTICE)
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        port = listener.getsockname()[1]
        with within(1.5), pytest.raises(OperationalError, match="connect_timeout"):
            connect(host="127.0.0.1", port=port, user="me", sslmode="disable", connect_timeout=0.3)
        thread.join(10)


def test_hosts_share_what_the_deadline_leaves(silent: int, url: str) -> None:
    with within(2), pytest.raises(OperationalError) as caught:
        connect(host="127.0.0.1,127.0.0.1", port=silent, user="me", sslmode="disable", deadline=Clock(600))
    shares = [float(seconds) for seconds in re.findall(r"within (\S+) s \(deadline\)", str(caught.value))]
    assert len(shares) == 2
    assert all(0.2 < share <= 0.3 for share in shares), "half of it, less what a busy machine took"


def test_a_name_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: asked.wait(5) or [])
    with within(1.5), pytest.raises(OperationalError, match=r"'db.example' was not resolved within 0.3 s"):
        connect(host="db.example", user="me", connect_timeout=0.3)
    asked.set()


# --- cancel ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_it", [connect, dbapi.connect])
def test_cancel_from_another_thread(open_it: Callable[..., Any], url: str) -> None:
    with open_it(url) as connection:
        timer = threading.Timer(0.1, connection.cancel)
        timer.start()
        with within(5), pytest.raises(OperationalError) as caught:
            connection.execute_unnamed(SLOW)
        timer.join()
        assert caught.value.sqlstate == "57014"
        if connection.in_transaction:
            connection.rollback()
        assert connection.execute_unnamed("SELECT 1").row_count == 1


def test_cancel_where_nothing_runs_does_nothing(conn: Connection) -> None:
    for number in range(100):
        conn.cancel()
        assert conn.run("SELECT :n::int", n=number) == [[number]]
    conn.close()
    conn.cancel()


def test_cancel_at_any_moment_leaves_the_answers_in_step(url: str) -> None:
    stop = threading.Event()
    ends: list[str | None] = []

    def cancel() -> None:
        while not stop.is_set():
            connection.cancel()
            time.sleep(0.002)

    with connect(url) as connection:
        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            for number in range(300):
                try:
                    assert connection.run("SELECT :n::int, pg_sleep(0.002)", n=number) == [[number, ""]]
                except OperationalError as error:
                    ends.append(error.sqlstate)
        finally:
            stop.set()
            thread.join(20)
        assert connection.run("SELECT 'in step'") == [["in step"]]
    assert set(ends) == {"57014"}


def test_a_cancel_that_does_not_get_through_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(url) as connection:
        canceller: Any = connection.session._canceller
        key = canceller._key
        object.__setattr__(canceller, "_key", None)
        with pytest.raises(OperationalError, match="gave no key to cancel by"):
            connection.cancel()
        object.__setattr__(canceller, "_key", key)
        monkeypatch.setattr("socket.socket.recv", lambda *_: (_ for _ in ()).throw(TimeoutError()))
        with pytest.raises(OperationalError, match="did not take the request to cancel within 10 s"):
            connection.cancel()


def test_limits_without_limits() -> None:
    assert Limits().statement() is None
    assert not Limits().is_over()
    assert Limits().connecting(None).remaining() is None
    assert Limits(deadline=lambda: None).statement() is None
    assert Limits(deadline=lambda: 0).is_over()
