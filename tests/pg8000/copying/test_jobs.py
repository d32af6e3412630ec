"""Loads over several connections: all rows or none, what ends them, and what is said where commits are parted."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from lightvec import Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.copying import blocks, committing, parallel
from lightvec.pg8000.copying.load import copy_columns, copy_rows
from lightvec.pg8000.copying.parts import Part
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    PartlyLoaded,
)
from lightvec.pg8000.wire import Wire
from lightvec.server import Server
from tests.faults.proxy import Proxy
from tests.pg8000.test_interrupts import Interrupt, Striker
from tests.places import free_port, open_folder

COUNT = 3_000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are some for every part."""
    monkeypatch.setattr(blocks, "BLOCK", 4_096)


@pytest.fixture(autouse=True)
def table(url: str) -> Iterator[Connection]:
    """A table of its own; behind the test there is no connection left but this one's."""
    with connect(url) as owner:
        owner.run("CREATE TABLE jobbed (id int PRIMARY KEY, title text, v vector(2), span int4range)")
        before = others(owner)
        yield owner
        end = time.monotonic() + 5
        while others(owner) - before and time.monotonic() < end:
            gc.collect()  # Of connections that were struck as they were opened.
            time.sleep(0.01)
        assert others(owner) <= before
        owner.run("DROP TABLE jobbed")


def others(owner: Connection) -> set[int]:
    rows: Any = owner.run(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid()"
    )
    return {pid for (pid,) in rows}


def stored(table: Connection) -> Any:
    return table.run("SELECT id, title, v FROM jobbed ORDER BY id")


def row(number: int) -> tuple[Any, ...]:
    return number, f"title {number}", [number, 1]


def rows(count: int = COUNT) -> Iterator[Any]:
    return map(row, range(count))


EXPECTED = [[number, f"title {number}", Vector([number, 1])] for number in range(COUNT)]


def columns(count: int = COUNT) -> dict[str, Any]:
    return {
        "id": np.arange(count),
        "title": [f"title {number}" for number in range(count)],
        "v": np.stack([np.arange(count), np.ones(count)], axis=1),
    }


def only_arrays(count: int = COUNT) -> dict[str, Any]:
    return {name: values for name, values in columns(count).items() if name != "title"}


LOADS: dict[str, Callable[..., int]] = {
    "rows": lambda conn, **options: copy_rows(conn, "jobbed", ["id", "title", "v"], rows(), **options),
    "columns": lambda conn, **options: copy_columns(conn, "jobbed", columns(), **options),
    "lists": lambda conn, **options: copy_columns(
        conn, "jobbed", {name: list(values) for name, values in columns().items()}, **options
    ),
    "text": lambda conn, **options: copy_rows(
        conn, "jobbed", ["id", "title", "v", "span"], ((*each, "[1,2)") for each in rows()), **options
    ),
}


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("load", LOADS)
def test_rows(load: str, jobs: int, conn: Connection, table: Connection) -> None:
    seen: list[int] = []
    assert LOADS[load](conn, jobs=jobs, progress=seen.append) == COUNT
    assert stored(table) == EXPECTED
    assert seen == sorted(seen)
    assert seen[-1] == COUNT


@pytest.mark.parametrize("count", [0, 1, 2, 64, 65])
def test_fewer_rows_than_jobs(count: int, conn: Connection, table: Connection) -> None:
    assert copy_rows(conn, "jobbed", ["id", "title", "v"], rows(count), jobs=4) == count
    assert stored(table) == EXPECTED[:count]
    table.run("TRUNCATE jobbed")
    assert copy_columns(conn, "jobbed", columns(count), jobs=4) == count
    assert stored(table) == EXPECTED[:count]


def test_every_job_has_a_connection(conn: Connection, table: Connection) -> None:
    """Each with its rows, in a transaction of its own."""
    copy_columns(conn, "jobbed", only_arrays(), jobs=3)
    found: Any = table.run("SELECT min(id), max(id) FROM jobbed GROUP BY xmin::text ORDER BY 1")
    assert found == [[0, 999], [1000, 1999], [2000, 2999]]
    table.run("TRUNCATE jobbed")

    slow_rows(conn, jobs=3)
    assert table.run("SELECT count(DISTINCT xmin::text) FROM jobbed") == [[3]]


def test_rows_are_read_in_the_callers_thread(conn: Connection) -> None:
    """What they come from, such as a cursor of sqlite3, may be of this thread only."""
    threads: set[int] = set()

    def read() -> Iterator[Any]:
        for each in rows():
            threads.add(threading.get_ident())
            yield each

    copy_rows(
        conn, "jobbed", ["id", "title", "v"], read(), jobs=2, progress=lambda _: threads.add(threading.get_ident())
    )
    assert threads == {threading.get_ident()}


def test_what_is_like_the_given_connection(url: str, table: Connection) -> None:
    """Parameters and limits are; what was SET is not, but the table is the one that is meant here."""
    table.run("CREATE SCHEMA aside; CREATE TABLE aside.jobbed (id int)")
    seen: list[tuple[Any, ...]] = []
    usual = Part.__init__

    def part(self: Part, conn: Wire) -> None:
        usual(self, conn)
        seen.append(
            (type(conn), conn.command_timeout, conn.deadline, conn.execute_simple("SHOW application_name").rows)
        )

    def left() -> float:
        return 60_000

    try:
        with connect(url, application_name="loader") as conn, pytest.MonkeyPatch.context() as patch:
            conn.command_timeout, conn.deadline = 50, left
            conn.run("SET search_path = aside, public")
            patch.setattr(Part, "__init__", part)
            assert copy_rows(conn, "jobbed", ["id"], [[1], [2]], jobs=2) == 2
        assert table.run("SELECT count(*) FROM aside.jobbed") == [[2]]
        assert seen == [(Connection, 50, left, [["loader"]])] * 2
    finally:
        table.run("DROP SCHEMA aside CASCADE")


def test_the_password_is_asked_for_each(table: Connection, guarded: str) -> None:
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return "secret"

    with connect(guarded, password=password) as conn:
        assert len(asked) == 1
        assert conn.copy_rows("guarded", ["id"], [[1]], jobs=3) == 1
    assert len(asked) == 4


@pytest.fixture
def guarded() -> Iterator[str]:
    """A server that asks for a password."""
    folder = open_folder("jobs")
    port = free_port()
    try:
        with Server(folder / "db", settings={"listen_addresses": "127.0.0.1", "port": str(port)}) as server:
            with connect(server.url) as admin:
                admin.run("ALTER ROLE postgres PASSWORD 'secret'; CREATE TABLE guarded (id int)")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        shutil.rmtree(folder)


# What is refused


def test_refused(url: str, conn: Connection, table: Connection) -> None:
    def refused(cls: type[Exception], message: str, **options: Any) -> None:
        with pytest.raises(cls, match=message):
            copy_rows(conn, options.pop("table", "jobbed"), ["id"], [[1]], **{"jobs": 2, **options})
        assert not conn.closed

    for jobs in (0, -1, 1.5, True, "2", None):
        refused(InvalidOption, "to be at least 1", jobs=jobs)
    for on_conflict in ("ignore", "update"):
        refused(InvalidOption, "goes with one job", on_conflict=on_conflict)
    with conn.transaction():
        refused(InterfaceError, "no part of the transaction that is open here")
        assert conn.run("SELECT 1") == [[1]]
    conn.run("CREATE TEMPORARY TABLE passing (id int)")
    refused(NotSupportedError, "temporary table", table="passing")
    conn.run("CREATE ROLE loader; GRANT ALL ON jobbed TO loader; SET ROLE loader")
    try:
        refused(NotSupportedError, "SET ROLE")
    finally:
        conn.run("RESET ROLE; DROP OWNED BY loader; DROP ROLE loader")
    with dbapi.connect(url) as other:
        with pytest.raises(InterfaceError, match="set autocommit"):
            other.copy_rows("jobbed", ["id"], [[1]], jobs=2)
        other.autocommit = True
        assert other.copy_rows("jobbed", ["id"], [[1]], jobs=2) == 1


def test_more_jobs_than_the_server_has_connections(conn: Connection, table: Connection) -> None:
    with pytest.raises(OperationalError, match="53300"):
        copy_columns(conn, "jobbed", only_arrays(), jobs=200)
    assert stored(table) == []


# What ends it


class Broken(RuntimeError):
    pass


def nothing_is_kept(conn: Connection, table: Connection) -> None:
    assert stored(table) == []
    assert not conn.in_transaction
    assert conn.run("SELECT 1") == [[1]]


@pytest.mark.parametrize("after", [0, 1, 100, 2_999])
def test_a_source_that_breaks(after: int, conn: Connection, table: Connection) -> None:
    def failing() -> Iterator[Any]:
        yield from rows(after)
        raise Broken

    with pytest.raises(Broken):
        copy_rows(conn, "jobbed", ["id", "title", "v"], failing(), jobs=3)
    nothing_is_kept(conn, table)


@pytest.mark.parametrize("load", LOADS)
def test_progress_that_raises(load: str, conn: Connection, table: Connection) -> None:
    def stop(_: int) -> None:
        raise Broken

    with pytest.raises(Broken):
        LOADS[load](conn, jobs=2, progress=stop)
    nothing_is_kept(conn, table)


@pytest.mark.parametrize("place", [0, 999, 1_500, 2_999])
def test_a_value_at_fault_is_named_by_its_row(place: int, conn: Connection, table: Connection) -> None:
    def faulty() -> Iterator[Any]:
        return ((number, None, [1, 2] if number != place else [1]) for number in range(COUNT))

    with pytest.raises(InvalidVector, match=f"row {place + 1:,}, column 'v'"):
        copy_rows(conn, "jobbed", ["id", "title", "v"], faulty(), jobs=3)
    matrix = np.ones((COUNT, 2))
    matrix[place, 1] = np.nan
    for ids in (np.arange(COUNT), list(range(COUNT))):
        with pytest.raises(InvalidVector, match=f"row {place + 1:,}, column 'v'"):
            copy_columns(conn, "jobbed", {"id": ids, "v": matrix}, jobs=3)
    with pytest.raises(InvalidVector, match=f"row {place + 1:,}, column 'v'"):
        copy_columns(conn, "jobbed", {"id": range(COUNT), "v": [each[2] for each in faulty()]}, jobs=3)
    nothing_is_kept(conn, table)


def test_a_row_that_the_server_refuses_is_named(conn: Connection, table: Connection) -> None:
    table.run("ALTER TABLE jobbed ADD CHECK (id <> 2345)")
    for load in LOADS.values():
        with pytest.raises(IntegrityError, match="it was row 2,346 of the load"):
            load(conn, jobs=3)
        nothing_is_kept(conn, table)


def test_a_key_in_two_parts(conn: Connection, table: Connection) -> None:
    """The second would wait for the first, which is committed when the second is done."""
    begun = time.monotonic()
    with pytest.raises(OperationalError, match=r"one waits for the other.*nothing was kept, load with one job"):
        copy_columns(conn, "jobbed", {"id": np.arange(COUNT) % 2_000}, jobs=2)
    assert time.monotonic() - begun < 10
    nothing_is_kept(conn, table)


def test_a_trigger_that_writes_one_row_for_all(conn: Connection, table: Connection) -> None:
    table.run(
        "CREATE TABLE counter (n int); INSERT INTO counter VALUES (0); "
        "CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN UPDATE counter SET n = n + 1; RETURN NULL; END'; "
        "CREATE TRIGGER counts AFTER INSERT ON jobbed FOR EACH STATEMENT EXECUTE FUNCTION count_up()"
    )
    try:
        with pytest.raises(OperationalError, match="or a trigger does"):
            copy_columns(conn, "jobbed", only_arrays(), jobs=2)
        nothing_is_kept(conn, table)
        assert copy_columns(conn, "jobbed", only_arrays(), jobs=1) == COUNT
    finally:
        table.run("DROP TABLE counter; DROP FUNCTION count_up CASCADE")


def test_waiting_for_somebody_else_is_no_fault(url: str, conn: Connection, table: Connection) -> None:
    with connect(url) as other:
        other.run("BEGIN; INSERT INTO jobbed VALUES (7, 'theirs')")
        waiting = threading.Timer(2.5 * parallel._PATIENCE, lambda: other.run("ROLLBACK"))
        waiting.start()
        assert copy_columns(conn, "jobbed", only_arrays(), jobs=2) == COUNT
        waiting.join()


def test_a_row_that_refers_to_another_part(conn: Connection, table: Connection) -> None:
    table.run("ALTER TABLE jobbed ADD parent int REFERENCES jobbed")
    with pytest.raises(IntegrityError, match="that may be in another part: load with one job"):
        copy_columns(conn, "jobbed", {"id": range(COUNT), "parent": [0] * COUNT}, jobs=2)
    nothing_is_kept(conn, table)


def test_deferred_constraints_are_checked_before_any_commit(conn: Connection, table: Connection) -> None:
    table.run(
        "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(0, 2998); "
        "ALTER TABLE jobbed ADD FOREIGN KEY (id) REFERENCES other DEFERRABLE INITIALLY DEFERRED"
    )
    try:
        with pytest.raises(IntegrityError, match=r"\(id\)=\(2999\)"):
            copy_columns(conn, "jobbed", only_arrays(), jobs=3)
        nothing_is_kept(conn, table)
    finally:
        table.run("DROP TABLE other CASCADE")


def test_idle_parts_are_not_ended_by_the_server(url: str, table: Connection) -> None:
    where = f"{url}&options=-c%20idle_in_transaction_session_timeout%3D100ms"

    def slowly() -> Iterator[Any]:
        yield from rows(2_000)
        time.sleep(0.5)
        yield row(2_000)

    with connect(where) as conn:
        assert copy_rows(conn, "jobbed", ["id", "title", "v"], slowly(), jobs=3) == 2_001


def test_a_connection_that_breaks(url: str, conn: Connection, table: Connection) -> None:
    def breaking() -> Iterator[Any]:
        yield from rows(1_000)
        for pid in others(table) - mine:
            table.run("SELECT pg_terminate_backend(:pid)", pid=pid)
            break
        for number in range(1_000, 200_000):
            yield row(number)

    mine = others(table)
    with pytest.raises(OperationalError, match=r"57P01|broke|ended"):
        copy_rows(conn, "jobbed", ["id", "title", "v"], breaking(), jobs=3)
    nothing_is_kept(conn, table)


def test_a_network_that_breaks(url: str, table: Connection) -> None:
    with Proxy(url) as proxy, connect(proxy.url, sslmode="disable") as conn:

        def breaking() -> Iterator[Any]:
            for number in range(200_000):
                if number == 5_000:
                    proxy.cut()
                yield row(number)

        with pytest.raises(ConnectionLost):
            copy_rows(conn, "jobbed", ["id", "title", "v"], breaking(), jobs=3)
    assert stored(table) == []


@pytest.mark.parametrize("limit", ["command_timeout", "deadline"])
def test_time(limit: str, url: str, conn: Connection, table: Connection) -> None:
    """Against a lock that somebody else has."""
    with connect(url) as other, other.transaction():
        other.run("LOCK TABLE jobbed")
        begun = time.monotonic()
        if limit == "command_timeout":
            conn.command_timeout = 0.5
        else:
            end = time.monotonic() + 1
            conn.deadline = lambda: max(end - time.monotonic(), 0) * 1000
        with pytest.raises(OperationalError, match=limit):
            copy_columns(conn, "jobbed", only_arrays(), jobs=2)
        assert time.monotonic() - begun < 5
    assert stored(table) == []


@pytest.mark.parametrize("load", ["rows", "columns"])
def test_an_interrupt(load: str, url: str, conn: Connection, table: Connection) -> None:
    with connect(url) as other, other.transaction():
        other.run("LOCK TABLE jobbed")
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            LOADS[load](conn, jobs=3)
        assert time.monotonic() - begun < 3
    nothing_is_kept(conn, table)


# One that strikes between opening a socket and keeping it leaves it to Python's collector, as with any connect.
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("load", ["rows", "columns"])
def test_an_interrupt_at_any_line(load: str, url: str, table: Connection) -> None:
    """In the caller's thread: afterwards all rows are there or none; the connection is good, or says that it is not."""
    with connect(url) as conn:
        conn.extension()
        with Striker() as counter:
            LOADS[load](conn, jobs=2)
        stride = max(counter.count // 60, 1)
        for at in range(1, counter.count + 1, stride):
            table.run("TRUNCATE jobbed")
            with connect(url) as struck:
                with Striker(at), suppress(Interrupt):
                    LOADS[load](struck, jobs=2)
                assert struck.closed or struck.run("SELECT 1") == [[1]]
            wait_for_the_end(table)
            assert table.run(f"SELECT count(*) IN (0, {COUNT:d}) FROM jobbed") == [[True]], f"line {at}"


def wait_for_the_end(table: Connection) -> None:
    """Of transactions that the server has yet to notice the end of."""
    table.run("BEGIN; LOCK TABLE jobbed; COMMIT")


# Commits


class Commits:
    """Stands before the commits of parts: what happens at which."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **at: Callable[[Connection], object]) -> None:
        self.count = 0
        usual = Connection.execute_unnamed

        def execute(conn: Connection, statement: str, *rest: Any, **options: Any) -> Any:
            if statement != "COMMIT":
                return usual(conn, statement, *rest, **options)
            self.count += 1
            if (happens := at.get(f"before_{self.count}")) is not None:
                happens(conn)
            result = usual(conn, statement, *rest, **options)
            if (happens := at.get(f"behind_{self.count}")) is not None:
                happens(conn)
            return result

        monkeypatch.setattr(Connection, "execute_unnamed", execute)


def kill(table: Connection) -> Callable[[Connection], None]:
    def killed(conn: Connection) -> None:
        pid = conn.backend_pid
        table.run("SELECT pg_terminate_backend(:pid)", pid=pid)
        while table.run("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", pid=pid):
            time.sleep(0.005)

    return killed


def loses_the_answer(conn: Connection) -> None:
    conn._break()
    raise ConnectionLost("the network broke", in_doubt=True)


def test_the_first_commit_fails(conn: Connection, table: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    Commits(monkeypatch, before_1=kill(table))
    with pytest.raises(OperationalError) as caught:
        copy_columns(conn, "jobbed", only_arrays(), jobs=3)
    assert not isinstance(caught.value, PartlyLoaded)
    assert not caught.value.in_doubt
    assert "not known" not in str(caught.value)
    nothing_is_kept(conn, table)


def slow_rows(conn: Connection, **options: Any) -> int:
    """So slowly that no part takes them all."""

    def read() -> Iterator[Any]:
        for each in rows():
            yield each
            if each[0] % 100 == 0:
                time.sleep(0.005)

    return copy_rows(conn, "jobbed", ["id", "title", "v"], read(), **options)


@pytest.mark.parametrize("load", [slow_rows, LOADS["columns"]], ids=["rows", "columns"])
def test_a_later_commit_fails(
    load: Callable[..., int], conn: Connection, table: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    Commits(monkeypatch, before_2=kill(table))
    with pytest.raises(PartlyLoaded, match=r"of 3,000 rows .* are in \(.*, the others are not; DELETE FROM") as caught:
        load(conn, jobs=3)
    error = caught.value
    kept = {number for span in error.kept for number in span}
    assert 0 < len(kept) < COUNT
    assert {row[0] for row in stored(table)} == kept
    assert (error.unknown, error.in_doubt) == ([], False)
    assert f"{len(kept):,} are in" in str(error)
    # What the sentence says to do takes out these rows and no others.
    table.run("INSERT INTO jobbed VALUES (-1)")
    table.run(str(error)[str(error).index("DELETE FROM") :].partition(" takes")[0])
    assert stored(table) == [[-1, None, None]]


def test_a_commit_whose_answer_is_lost(conn: Connection, table: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked, and says that it took place."""
    commits = Commits(monkeypatch, behind_1=loses_the_answer, behind_3=loses_the_answer)
    assert copy_columns(conn, "jobbed", columns(), jobs=3) == COUNT
    assert commits.count == 3
    assert stored(table) == EXPECTED


def test_nobody_can_say(conn: Connection, table: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> str:
        raise Error("there is no server any more")

    monkeypatch.setattr(committing, "_fate_of", nobody)
    monkeypatch.setattr(committing, "_TRIES", 2)
    Commits(monkeypatch, behind_2=loses_the_answer)
    with pytest.raises(
        PartlyLoaded, match=r"1,000 are in \(1 to 1,000\), of 1,000 it is not known \(1,001 to 2,000\)"
    ) as caught:
        copy_columns(conn, "jobbed", only_arrays(), jobs=3)
    assert (caught.value.kept, caught.value.unknown) == ([range(1_000)], [range(1_000, 2_000)])
    assert caught.value.in_doubt


def test_an_interrupt_while_it_commits_says_that_the_rows_are_in(
    conn: Connection, table: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Connection) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

    Commits(monkeypatch, before_2=interrupt)
    with pytest.raises(KeyboardInterrupt, match="every row is in"):
        copy_columns(conn, "jobbed", columns(), jobs=3)
    assert stored(table) == EXPECTED


def test_no_thread_is_left() -> None:
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lightvec")]
