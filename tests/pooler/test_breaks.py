"""A pooler that is stopped, hangs up or makes its clients wait: errors are lightvec's, and then all goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import peewee
import pytest
from peewee import InterfaceError, Model, TextField

from lightvec.peewee import Pg8000Database, PooledPg8000Database, VectorField
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import ConnectionLost, OperationalError
from tests.pooler.pooler import Pooler, every_session, left_behind, until
from tests.scale import scaled

#: How often the pooler is stopped and started while clients work.
STOPS = scaled(3, 60)
THREADS = 6


class Note(Model):
    text = TextField(unique=True)
    embedding = VectorField(2, metric="l2")

    class Meta:
        table_name = "pooler_note"


@pytest.fixture(params=[Pg8000Database, PooledPg8000Database], ids=["peewee", "peewee_pool"])
def database(request: pytest.FixtureRequest, own_pooler: Pooler, url: str) -> Iterator[Pg8000Database]:
    """Peewee on a pooler of its own, with a table."""
    options = {"max_connections": THREADS + 1, "timeout": 20} if request.param is PooledPg8000Database else {}
    database: Pg8000Database = request.param(own_pooler.url(url), **options)
    with connect(url) as direct, database.bind_ctx([Note]):
        direct.run("DROP TABLE IF EXISTS pooler_note")
        database.create_tables([Note])
        yield database
        if isinstance(database, PooledPg8000Database):
            database.close_all()
        elif not database.is_closed():
            database.close()
        direct.run("DROP TABLE pooler_note")


def answers(database: Pg8000Database) -> bool:
    row: Any = database.execute_sql("SELECT %s", ("here",)).fetchone()
    return bool(row == ("here",))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_peewee_works_again_after_a_restart(how: signal.Signals, database: Pg8000Database, own_pooler: Pooler) -> None:
    assert answers(database)
    own_pooler.stop(how)
    with pytest.raises(peewee.OperationalError, match="socket"):
        answers(database)
    own_pooler.start()
    assert answers(database)


def test_a_script_is_told_that_the_pooler_has_gone(own_pooler: Pooler, url: str) -> None:
    with connect(own_pooler.url(url)) as connection:
        connection.run("SELECT 1")
        own_pooler.stop()
        with pytest.raises(OperationalError):
            connection.run("SELECT 1")
        own_pooler.start()
        with pytest.raises(ConnectionLost, match="connect again"):
            connection.run("SELECT 1")


def test_a_transaction_that_the_restart_ends_is_not_gone_on_with(database: Pg8000Database, own_pooler: Pooler) -> None:
    def write() -> None:
        with database.atomic():
            Note.create(text="lost", embedding=[1, 2])
            own_pooler.stop()
            own_pooler.start()
            Note.create(text="alone", embedding=[1, 2])

    with pytest.raises(peewee.OperationalError):
        write()
    assert Note.select().count() == 0


class Writer:
    """A thread that writes and searches while the pooler comes and goes."""

    def __init__(self, number: int, database: Pg8000Database, stop: threading.Event) -> None:
        self.number = number
        self.written: list[str] = []
        self.in_doubt: list[str] = []
        self.wrong: list[str] = []
        self.errors: list[Exception] = []
        self._database = database
        self._stop = stop

    def run(self) -> None:
        """Note by note, until it is told to stop."""
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                with self._database.connection_context():
                    self._write(f"{self.number}-{count}", nested=count % 2 == 0)
                    self._search()
            except (peewee.OperationalError, InterfaceError) as error:
                self.errors.append(error)
                time.sleep(0.01)

    def _write(self, text: str, *, nested: bool) -> None:
        self.in_doubt.append(text)
        if nested:
            with self._database.atomic(), self._database.atomic():
                Note.create(text=text, embedding=[self.number, 1])
        else:
            Note.create(text=text, embedding=[self.number, 1])
        self.written.append(self.in_doubt.pop())

    def _search(self) -> None:
        query: Any = Note.embedding.nearest([self.number, 1], 1, ef_search=100)
        row = query.where(Note.text == self.written[-1]).get()
        if (row.text, row.embedding) != (self.written[-1], [self.number, 1]):
            self.wrong.append(f"expected {self.written[-1]}, got {row.text}")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_it_is_stopped_again_and_again(
    how: signal.Signals, database: Pg8000Database, own_pooler: Pooler, url: str
) -> None:
    """What was written stands once; of what failed it is not known, but it stands no more than once either."""
    stop = threading.Event()
    writers = [Writer(number, database, stop) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(writer.run) for writer in writers]
        try:
            for _ in range(STOPS):
                time.sleep(0.15)
                own_pooler.stop(how)
                time.sleep(0.05)
                own_pooler.start()
            marks = [len(writer.written) for writer in writers]
            until(lambda: all(len(w.written) > mark for w, mark in zip(writers, marks, strict=True)), "all write again")
        finally:
            stop.set()
        for future in running:
            future.result(20)
    assert [wrong for writer in writers for wrong in writer.wrong] == []
    assert all(writer.errors for writer in writers), "everybody has noticed"
    stored = [note.text for note in Note.select()]
    written = {text for writer in writers for text in writer.written}
    in_doubt = {text for writer in writers for text in writer.in_doubt}
    assert len(stored) == len(set(stored))
    assert written <= set(stored) <= written | in_doubt
    assert left_behind(own_pooler.url(url)) == []


def test_peewee_waits_no_longer_than_the_pooler_lets_it(database: Pg8000Database, own_pooler: Pooler, url: str) -> None:
    own_pooler.set("query_wait_timeout", 1)
    with every_session(own_pooler.url(url)), pytest.raises(peewee.OperationalError, match="query_wait_timeout"):
        answers(database)
    assert answers(database)


def test_idle_sessions_that_the_pooler_closes(database: Pg8000Database, own_pooler: Pooler, url: str) -> None:
    own_pooler.set("server_idle_timeout", 1)
    with every_session(own_pooler.url(url)):
        pass
    Note.create(text="a", embedding=[1, 2])
    connection = database.connection()
    until(lambda: own_pooler.ask("SHOW SERVERS") == [], "the sessions are closed")
    found: Any = Note.embedding.nearest([1, 2], 1)
    assert [note.text for note in found] == ["a"]
    assert database.connection() is connection, "the client has not noticed"


@pytest.mark.parametrize(("setting", "within"), [("client_idle_timeout", False), ("idle_transaction_timeout", True)])
def test_clients_that_the_pooler_hangs_up_on(
    setting: str, within: bool, database: Pg8000Database, own_pooler: Pooler
) -> None:
    def use_later() -> None:
        connection = database.connection()
        until(lambda: not connection.is_alive(), "PgBouncer has hung up")
        assert answers(database)

    own_pooler.set(setting, 1)
    database.connect(reuse_if_open=True)
    if within:
        database.begin()
        Note.create(text="a", embedding=[1, 2])
        with pytest.raises(peewee.OperationalError):
            use_later()
        database.rollback()
        assert Note.select().count() == 0
    else:
        use_later()


def test_a_query_that_is_too_long_for_the_pooler(database: Pg8000Database, own_pooler: Pooler) -> None:
    own_pooler.set("query_timeout", 1)
    with pytest.raises(peewee.OperationalError, match="query timeout"):
        database.execute_sql("SELECT pg_sleep(10)")
    assert answers(database)


def test_reconnect_is_not_noticed(database: Pg8000Database, own_pooler: Pooler, url: str) -> None:
    with database.atomic():
        Note.create(text="a", embedding=[1, 2])
        own_pooler.ask("RECONNECT")
        Note.create(text="b", embedding=[1, 2])
    query: Any = Note.embedding.nearest([1, 2], 2, ef_search=77)
    assert sorted(note.text for note in query) == ["a", "b"]
    assert left_behind(own_pooler.url(url)) == []


def test_kill_and_resume(database: Pg8000Database, own_pooler: Pooler, url: str) -> None:
    assert answers(database)
    name = url.partition("?")[0].rpartition("/")[2]
    own_pooler.ask(f"KILL {name}")
    with ThreadPoolExecutor(1) as threads:

        def ask() -> bool:
            with database.connection_context():
                return answers(database)

        waiting = threads.submit(ask)
        time.sleep(0.1)
        assert not waiting.done(), "a killed database makes its clients wait"
        own_pooler.ask(f"RESUME {name}")
        assert waiting.result(10)
    assert answers(database)


def test_kill_in_the_middle_of_a_query(database: Pg8000Database, own_pooler: Pooler, url: str) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(in_context, database, lambda: database.execute_sql("SELECT pg_sleep(10)"))
        until(lambda: is_active(own_pooler), "the query runs")
        own_pooler.ask(f"KILL {name}")
        own_pooler.ask(f"RESUME {name}")
        with pytest.raises(peewee.OperationalError):
            running.result(10)
    assert answers(database)


def test_pause_and_resume(database: Pg8000Database, own_pooler: Pooler) -> None:
    assert answers(database)
    own_pooler.ask("PAUSE")
    with ThreadPoolExecutor(THREADS) as threads:
        waiting = [threads.submit(in_context, database, lambda: answers(database)) for _ in range(THREADS)]
        until(lambda: waiting_clients(own_pooler) == THREADS, "all wait")
        own_pooler.ask("RESUME")
        assert [future.result(10) for future in waiting] == [True] * THREADS


def test_no_more_clients_than_the_pooler_takes(own_pooler: Pooler, url: str) -> None:
    own_pooler.set("max_client_conn", 3)
    with ExitStack() as stack:
        for _ in range(2):  # the console is the third
            stack.enter_context(connect(own_pooler.url(url)))
        stack.enter_context(connect(own_pooler.url(url)))
        with pytest.raises(OperationalError, match="max_client_conn"):
            connect(own_pooler.url(url))
    assert left_behind(own_pooler.url(url)) == []


def in_context(database: Pg8000Database, work: Callable[[], Any]) -> Any:
    with database.connection_context():
        return work()


def waiting_clients(pooler: Pooler) -> int:
    """How many clients wait for a session (``cl_waiting`` of SHOW POOLS)."""
    return sum(int(row[3]) for row in pooler.ask("SHOW POOLS"))


def is_active(pooler: Pooler) -> bool:
    """Whether a session is at work (``sv_active``)."""
    return any(row[0] != "pgbouncer" and int(row[6]) for row in pooler.ask("SHOW POOLS"))
