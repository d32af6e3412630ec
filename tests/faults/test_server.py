"""The server's end of it: sessions ended by an administrator, servers that stop, are killed or crash."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import pytest

from lightvec.errors import LightvecError
from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server import Server, start, status, stop
from tests.faults.judging import TALLY
from tests.faults.scenarios import COLUMNS, KINDS, TABLES, rows, written_on
from tests.places import open_folder
from tests.scale import scaled
from tests.server.conftest import is_gone

#: How many sessions are ended while others work.
ENDED = scaled(60, 3_000)
THREADS = 4


# Sessions that an administrator ends


class Worker:
    """Writes row by row and reads each again, until it is told to stop; what fails is done with another row."""

    errors: type[Exception]

    def __init__(self, run: int, stop: threading.Event) -> None:
        self.run = run
        self.written: set[int] = set()
        self.in_doubt: set[int] = set()
        self.states: list[str | None] = []
        self._stop = stop

    def work(self) -> None:
        """In a thread of its own."""
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self.write(number)
            except self.errors as error:
                self._note(error, number)
            else:
                self.written.add(number)
                self._read_again(number)

    def _read_again(self, number: int) -> None:
        try:
            assert self.read(number) == f"text {number}", "the answer is that to another statement"
        except self.errors as error:
            self._note(error, None)

    def _note(self, error: Exception, number: int | None) -> None:
        cause: Any = getattr(error, "orig", error)
        self.states.append(cause.sqlstate)
        if number is not None and getattr(cause, "in_doubt", False):
            self.in_doubt.add(number)

    def write(self, number: int) -> None:
        """Write a row, alone or in a transaction."""
        raise NotImplementedError

    def read(self, number: int) -> str:
        """The text of a row."""
        raise NotImplementedError


class Native(Worker):
    """On a connection of its own, which it replaces when it is closed."""

    errors = LightvecError

    def __init__(self, run: int, stop: threading.Event, url: str) -> None:
        super().__init__(run, stop)
        self._url = url
        self._connection: Connection | None = None

    def write(self, number: int) -> None:
        _, _, text, v = rows(self.run, number + 1)[number]
        sql = "INSERT INTO faults_written VALUES (:run, :number, :text, :v)"
        connection = self._live()
        if number % 2:
            connection.run(sql, run=self.run, number=number, text=text, v=v)
        else:
            with connection.transaction():
                connection.run(sql, run=self.run, number=number, text=text, v=v)

    def read(self, number: int) -> str:
        sql = "SELECT text FROM faults_written WHERE run = :run AND id = :number"
        found = self._live().run(sql, run=self.run, number=number)
        assert found, "a row that was written is not there"
        return str(found[0][0])

    def work(self) -> None:
        super().work()
        self._live().close()

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url)
        return self._connection


class Pooled(Worker):
    """On the connections of a pool, which replaces them itself."""

    errors = peewee.PeeweeException

    def __init__(self, run: int, stop: threading.Event, database: PooledPg8000Database) -> None:
        super().__init__(run, stop)
        self._database = database
        self._model = written_on(database)

    def write(self, number: int) -> None:
        row = dict(zip(COLUMNS, rows(self.run, number + 1)[number], strict=True))
        with self._database.connection_context():
            if number % 2:
                self._model.create(**row)
            else:
                with self._database.atomic():
                    self._model.create(**row)

    def read(self, number: int) -> str:
        model = self._model
        with self._database.connection_context():
            return str(model.get((model.run == self.run) & (model.id == number)).text)


def make_native(url: str, stop: threading.Event) -> tuple[list[Worker], Callable[[], object]]:
    return [Native(number, stop, url) for number in range(THREADS)], lambda: None


def make_pooled(url: str, stop: threading.Event) -> tuple[list[Worker], Callable[[], object]]:
    database = PooledPg8000Database(url, max_connections=THREADS, timeout=20)
    return [Pooled(THREADS + number, stop, database) for number in range(THREADS)], database.close_all


@pytest.mark.parametrize("make", [make_native, make_pooled], ids=["native", "pool"])
def test_sessions_are_ended_at_any_moment(make: Any, tables: str) -> None:
    """57P01 is reported, answers are right, what is said not to be written is not, and all go on."""
    stop = threading.Event()
    url = f"{tables}&application_name=faults_worker"
    workers, close = make(url, stop)
    with connect(tables) as direct, ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(worker.work) for worker in workers]
        try:
            end_sessions(direct, stop)
        finally:
            stop.set()
        for future in running:
            future.result(30)
        close()
        for worker in workers:
            found = direct.run("SELECT id FROM faults_written WHERE run = :run", run=worker.run) or []
            standing = {number for (number,) in found}
            assert worker.written <= standing <= worker.written | worker.in_doubt
        direct.run("DELETE FROM faults_written WHERE run = ANY(:runs)", runs=[worker.run for worker in workers])
    states = [state for worker in workers for state in worker.states]
    assert set(states) <= {"57P01", None}
    assert "57P01" in states


def end_sessions(direct: Connection, stop: threading.Event) -> None:
    """One after the other, so far from each other that work is done in between."""
    dice = random.Random(1)
    ended = 0
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'faults_worker' ORDER BY pid"
    while ended < ENDED:
        pids = direct.run(sql)
        if pids:
            ended += bool(
                (direct.run("SELECT pg_terminate_backend(:pid)", pid=dice.choice(pids)[0]) or [[False]])[0][0]
            )
        assert not stop.wait(dice.uniform(0, 0.02))
    TALLY.cuts += ended


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("kind", ["native", "peewee"])
def test_a_session_ends_with_its_statement(kind: str, deferred: bool, tables: str) -> None:
    """What was answered before the end, and not confirmed, is in doubt, and what was not answered is not."""
    when = "DEFERRABLE INITIALLY DEFERRED" if deferred else "NOT DEFERRABLE"
    how = KINDS[kind]
    opened = how.open(tables)
    how.log_in(opened)
    with connect(tables) as direct:
        direct.run(
            "CREATE TABLE faults_ended (id int); "
            "CREATE FUNCTION faults_end() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'; "
            f"CREATE CONSTRAINT TRIGGER t AFTER INSERT ON faults_ended {when} "
            "FOR EACH ROW EXECUTE FUNCTION faults_end()"
        )
        try:
            execute = opened.run if kind == "native" else opened.execute_sql
            with pytest.raises(how.errors, match="57P01") as caught:
                execute("INSERT INTO faults_ended VALUES (1)")
            error: Any = getattr(caught.value, "orig", caught.value)
            assert error.in_doubt == deferred == ("is not known" in str(caught.value))
            assert direct.run("SELECT count(*) FROM faults_ended") == [[0]]
        finally:
            direct.run("DROP TABLE faults_ended; DROP FUNCTION faults_end()")
    how.check_after(opened, 1)
    how.close(opened)


# Servers that go


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    folder = open_folder("faults")
    with connect(start(folder / "db", settings={"fsync": "off"}).url) as connection:
        connection.run("CREATE EXTENSION IF NOT EXISTS vector")
        connection.run(TABLES)
    yield folder / "db"
    stop(folder / "db")
    shutil.rmtree(folder)


@pytest.fixture
def own_server(path: Path) -> Server:
    """One that runs, whatever the test before did to it."""
    return start(path, settings={"fsync": "off"})


def stop_it(path: Path) -> None:
    """SIGINT, which PostgreSQL calls fast: sessions end, loads in them too."""
    assert stop(path)


def kill_it(path: Path) -> None:
    """SIGKILL: no process of it says a word, the sessions' notice and go."""
    pid = status(path).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert is_gone(pid)
    time.sleep(0.5)  # A session that is in a statement notices when it next waits.


def kill_sessions(path: Path) -> None:
    """SIGKILL of a session: PostgreSQL ends all the others and recovers."""
    url = status(path).url
    with connect(url) as direct:
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'faults_load'"
        pids = [pid for (pid,) in direct.run(sql) or []]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert all(map(is_gone, pids))


def load_native(conn: Connection, loaded: Iterator[Any]) -> int:
    return conn.copy_rows("faults_written", COLUMNS, loaded)


def load_peewee(database: Pg8000Database, loaded: Iterator[Any]) -> int:
    return database.copy_rows(written_on(database), loaded)


_LOADS: dict[str, Callable[[Any, Iterator[Any]], int]] = {
    "native": load_native,
    "pep249": load_native,
    "peewee": load_peewee,
    "pool": load_peewee,
}


@pytest.mark.parametrize("end", [stop_it, kill_it, kill_sessions])
@pytest.mark.parametrize("kind", ["native", "pep249", "peewee", "pool"])
def test_server_goes_in_the_middle_of_a_load(
    kind: str, end: Callable[[Path], None], own_server: Server, path: Path
) -> None:
    """Nothing of it stands; what replaces its connection itself is good again when the server is."""

    def loaded() -> Iterator[Any]:
        for row in rows(1, 20_000):
            if row[1] == 10_000:
                end(path)
            yield row

    how = KINDS[kind]
    opened = how.open(f"{own_server.url}&application_name=faults_load")
    how.log_in(opened)
    assert how.ask(opened, 7) == 7
    with pytest.raises(how.errors) as caught:
        _LOADS[kind](opened, loaded())
    assert isinstance(caught.value, (OperationalError, peewee.OperationalError))
    again = start(path, settings={"fsync": "off"})
    with recovered(again.url) as direct:
        assert direct.run("SELECT count(*) FROM faults_written") == [[0]]
    how.check_after(opened, 8)
    how.close(opened)
    TALLY.cuts += 1


@pytest.mark.parametrize("end", [stop_it, kill_it])
@pytest.mark.parametrize("kind", ["native", "pep249", "peewee", "pool"])
def test_server_goes_while_nothing_is_asked(
    kind: str, end: Callable[[Path], None], own_server: Server, path: Path
) -> None:
    """The next use is as good as the first, where connections are replaced, and says what to do where not."""
    how = KINDS[kind]
    opened = how.open(own_server.url)
    how.log_in(opened)
    assert how.ask(opened, 7) == 7
    end(path)
    start(path, settings={"fsync": "off"})
    if kind in ("native", "pep249"):
        with pytest.raises(OperationalError):
            how.ask(opened, 8)
        assert opened.closed
    how.check_after(opened, 9)
    how.close(opened)
    TALLY.cuts += 1


def recovered(url: str, seconds: float = 20) -> Connection:
    """A connection to a server that may still be ending the other sessions, or recovering (57P03)."""
    waiting, left = threading.Event(), int(seconds / 0.02)
    while True:
        try:
            return connect(url)
        except OperationalError:
            left -= 1
            if not left:
                raise
        waiting.wait(0.02)
