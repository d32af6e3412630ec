"""Behind pgpool-II, which ends transactions between two Executes: settings hold, COPY finishes, errors are told.

In the mode raw each Execute is a transaction of its own; see ``pgpool.py`` for what else it does.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import peewee
import psycopg
import pytest
from peewee import IntegerField, Model

from lightvec import Vector
from lightvec.peewee import Pg8000Database, PooledPg8000Database, VectorField
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.dbapi import DataError, Error, OperationalError
from lightvec.search.doctor import examine
from lightvec.server import Server
from tests.pg8000.faces import FACES, opened
from tests.pooler.pgpool import PgPool

MODES = ["raw", "streaming_replication"]
#: Nothing here takes a second; what hangs is cut off.
SECONDS = 2.0

_numbers = count(1)


@pytest.fixture(scope="module", params=MODES)
def pgpool(request: pytest.FixtureRequest, server: Server) -> Iterator[PgPool]:
    with PgPool(server, {"backend_clustering_mode": request.param}) as pgpool:
        yield pgpool


@pytest.fixture(params=["unix", "tcp"])
def pooled(request: pytest.FixtureRequest, pgpool: PgPool, url: str) -> str:
    return pgpool.url(url, tcp=request.param == "tcp")


@pytest.fixture
def unix(pgpool: PgPool, url: str) -> str:
    return pgpool.url(url)


@pytest.fixture
def conn(pooled: str) -> Iterator[Connection]:
    with connect(pooled, command_timeout=SECONDS) as connection:
        yield connection


@pytest.fixture
def table(url: str) -> str:
    """An empty table, made on the server itself; it stays, since what hangs may have a lock on it."""
    name = f"pgpool_{next(_numbers)}"
    with connect(url) as direct:
        direct.run(f"CREATE TABLE {name} (id int PRIMARY KEY, embedding vector(2))")
    return name


def rows_of(name: str, url: str) -> int:
    with connect(url) as direct:
        found: int = direct.run(f"SELECT count(*) FROM {name}")[0][0]
    return found


class Note(Model):
    number = IntegerField(primary_key=True)
    embedding = VectorField(2, metric="l2")

    class Meta:
        table_name = "pgpool_note"


@pytest.fixture(scope="module")
def notes(url: str) -> Iterator[None]:
    database = Pg8000Database(url)
    with database.bind_ctx([Note]), database.connection_context():
        database.create_tables([Note])
        Note.insert_many([{"number": n, "embedding": [n, 1]} for n in range(50)]).execute()
        yield
        database.drop_tables([Note])


def test_settings_hold_for_each_query(conn: Connection) -> None:
    sql = "SELECT current_setting('hnsw.ef_search', true), CAST(:number AS int)"
    found = [conn.run(sql, settings={"hnsw.ef_search": 100 + number}, number=number)[0] for number in range(20)]
    assert found == [[str(100 + number), number] for number in range(20)]


def test_settings_leave_nothing_behind(conn: Connection) -> None:
    ((_, begun),) = conn.run("SELECT '[1]'::vector, now()")  # loads the library
    conn.run("SELECT 1", settings={"hnsw.ef_search": 77})
    assert conn.run("SHOW hnsw.ef_search") == [["40"]]
    with pytest.raises(DataError, match="zero"):
        conn.run("SELECT 1 / CAST(:zero AS int)", settings={"hnsw.ef_search": 78}, zero=0)
    assert conn.run("SHOW hnsw.ef_search") == [["40"]]
    assert not conn.in_transaction
    assert conn.run("SELECT pg_current_xact_id_if_assigned() IS NULL, now() > :begun", begun=begun) == [[True, True]]


def test_settings_of_a_write(conn: Connection, table: str, url: str) -> None:
    """A statement without rows travels as the others do, is committed, and is done once."""
    conn.run(f"INSERT INTO {table} SELECT current_setting('hnsw.ef_search')::int", settings={"hnsw.ef_search": 99})
    with connect(url) as direct:
        assert direct.run(f"SELECT id FROM {table}") == [[99]]


@pytest.mark.parametrize("name", FACES)
def test_a_write_by_itself_is_committed(name: str, unix: str, table: str, url: str) -> None:
    """Also the first INSERT of a client, before which pgpool in the mode raw begins a transaction and never ends it."""
    with opened(name, unix, command_timeout=SECONDS) as face:
        for number in range(3):
            face.run(f"INSERT INTO {table} VALUES (:id)", id=number)
            assert rows_of(table, url) == number + 1
    assert rows_of(table, url) == 3


def test_a_write_that_fails_leaves_no_transaction(conn: Connection, table: str, url: str) -> None:
    with pytest.raises(DataError):
        conn.run(f"INSERT INTO {table} VALUES (1 / CAST(:zero AS int))", zero=0)
    assert not conn.in_transaction
    conn.run(f"INSERT INTO {table} VALUES (:id)", id=1)
    assert rows_of(table, url) == 1


def test_settings_within_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        conn.run("SELECT '[1]'::vector")
        for value in range(50, 60):
            row = conn.run("SELECT current_setting('hnsw.ef_search')", settings={"hnsw.ef_search": value})[0]
            assert row == [str(value)]
            assert conn.run("SHOW hnsw.ef_search") == [["40"]]


@pytest.mark.parametrize("autocommit", [True, False])
def test_settings_of_the_pep_249_cursor(autocommit: bool, unix: str) -> None:
    with dbapi.connect(unix, command_timeout=SECONDS) as connection:
        connection.autocommit = autocommit
        cursor = connection.cursor()
        for value in range(50, 70):
            cursor.execute("SELECT current_setting(%s)", ["hnsw.ef_search"], settings={"hnsw.ef_search": value})
            assert cursor.fetchall() == [(str(value),)]
        connection.rollback()


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("kind", [Pg8000Database, PooledPg8000Database])
def test_peewees_nearest(kind: Any, pooled: str) -> None:
    database = kind(pooled, command_timeout=SECONDS)
    seen = peewee.fn.current_setting("hnsw.ef_search")
    with database.bind_ctx([Note]), database.connection_context():
        for ef_search in range(100, 110):
            query: Any = Note.embedding.nearest([7, 1], 3, ef_search=ef_search)
            found = list(query.select_extend(seen.alias("seen")))
            assert [note.number for note in found][:1] == [7]
            assert {note.seen for note in found} == {str(ef_search)}
    if isinstance(database, PooledPg8000Database):
        database.close_all()


def test_copy_rows(conn: Connection, table: str, url: str) -> None:
    rows = [[number, Vector([number, 1])] for number in range(1_000)]
    assert conn.copy_rows(table, ["id", "embedding"], rows) == 1_000
    assert rows_of(table, url) == 1_000
    assert conn.run(f"SELECT embedding FROM {table} WHERE id = 7") == [[Vector([7, 1])]]


def test_copy_columns(conn: Connection, table: str, url: str) -> None:
    columns = {"id": list(range(1_000)), "embedding": [[float(number), 1.0] for number in range(1_000)]}
    with conn.transaction():
        assert conn.copy_columns(table, columns) == 1_000
        assert conn.run(f"SELECT count(*) FROM {table}") == [[1_000]]
    assert rows_of(table, url) == 1_000


def test_a_copy_that_fails_keeps_nothing(conn: Connection, table: str, url: str) -> None:
    def rows() -> Iterator[list[Any]]:
        yield [1, [1, 2]]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        conn.copy_rows(table, ["id", "embedding"], rows())
    with pytest.raises(Error, match="duplicate key"):
        conn.copy_rows(table, ["id", "embedding"], [[1, [1, 2]], [1, [1, 2]]])
    assert conn.run("SELECT 1") == [[1]]
    assert rows_of(table, url) == 0


def test_copies_by_run(conn: Connection, table: str) -> None:
    conn.run(f"COPY {table} FROM STDIN", stream=io.StringIO("1\t[1,2]\n2\t[3,4]\n"))
    target = io.BytesIO()
    conn.run(f"COPY {table} TO STDOUT", stream=target)
    assert target.getvalue() == b"1\t[1,2]\n2\t[3,4]\n"


def test_copy_rows_on_conflict(conn: Connection, table: str, url: str) -> None:
    assert conn.copy_rows(table, ["id", "embedding"], [[1, [1, 2]], [2, [1, 2]]], on_conflict="ignore") == 2
    assert conn.copy_rows(table, ["id", "embedding"], [[1, [1, 2]], [3, [1, 2]]], on_conflict="ignore") == 1
    assert rows_of(table, url) == 3


def test_transactions(conn: Connection, table: str, url: str) -> None:
    with conn.transaction():
        conn.run(f"INSERT INTO {table} VALUES (:id)", id=1)
        with pytest.raises(Error, match="duplicate"), conn.transaction():
            conn.run(f"INSERT INTO {table} VALUES (:id)", id=1)
        conn.run(f"INSERT INTO {table} VALUES (:id)", id=2)
        assert rows_of(table, url) == 0
    with pytest.raises(DataError), conn.transaction():
        conn.run(f"INSERT INTO {table} VALUES (:id), (CAST(1 / :zero AS int))", id=3, zero=0)
    assert rows_of(table, url) == 2


def test_executemany_is_all_or_nothing(unix: str, table: str, url: str) -> None:
    with dbapi.connect(unix, command_timeout=SECONDS) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        with pytest.raises(Error, match="duplicate"):
            cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(1,), (2,), (1,), (3,)])
        assert rows_of(table, url) == 0
        cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(number,) for number in range(500)])
        assert rows_of(table, url) == 500
        connection.autocommit = False
        cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(number,) for number in range(500, 600)])
        connection.rollback()
        assert rows_of(table, url) == 500


def test_errors(conn: Connection) -> None:
    for number in range(10):
        with pytest.raises(DataError) as caught:
            conn.run("SELECT CAST(:number AS int) / 0", number=number)
        assert caught.value.sqlstate == "22012"
        assert conn.run("SELECT CAST(:number AS int)", number=number) == [[number]]


def test_cancelling(conn: Connection) -> None:
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        conn.run("SELECT pg_sleep(1.8)")
    timer.join()
    assert caught.value.sqlstate == "57014"
    assert time.monotonic() - begun < 1.7
    assert conn.run("SELECT 1") == [[1]]


@pytest.mark.parametrize("within", [False, True])
def test_rows_in_batches(within: bool, conn: Connection, pgpool: PgPool, pooled: str) -> None:
    """Where pgpool-II is detected they are read whole; elsewhere it passes on no PortalSuspended."""
    if pgpool.mode != "raw":
        with (
            connect(pooled, command_timeout=0.3) as hurried,
            pytest.raises(OperationalError, match="did not answer"),
        ):
            list(hurried.stream("SELECT generate_series(1, :n)", n=1_000, batch=100))
        return
    conn.run("SELECT 1")
    if within:
        conn.run("BEGIN")
    assert sum(row[0] for row in conn.stream("SELECT generate_series(1, :n)", n=1_000, batch=100)) == 500_500
    for row in conn.stream("SELECT generate_series(1, :n)", n=1_000, batch=100):
        if row == [150]:
            break
    assert conn.run("SELECT 1") == [[1]]
    if within:
        conn.run("COMMIT")


def test_fetch_columns(conn: Connection) -> None:
    columns = conn.fetch_columns("SELECT g AS id, ARRAY[g, 1]::vector AS v FROM generate_series(1, 500) g")
    assert list(columns["id"]) == list(range(1, 501))
    assert columns["v"].shape == (500, 2)


def test_statements_that_come_again(unix: str) -> None:
    """Also of one client after another, who find the same sessions."""
    for client in range(6):
        with connect(unix, command_timeout=SECONDS) as connection:
            for number in range(20):
                sql = f"SELECT CAST(:number AS int), {client}, CAST(:v AS vector)"
                v = Vector([client, number])
                assert connection.run(sql, number=number, v=v) == [[number, client, v]]
            connection.run("DEALLOCATE ALL")
            assert connection.run(sql, number=7, v=v) == [[7, client, v]]


def test_clients_at_once(unix: str) -> None:
    wrong: list[Any] = []

    def work(client: int) -> None:
        with connect(unix, command_timeout=SECONDS) as connection:
            for number in range(100):
                value = 100 + client
                row = connection.run(
                    "SELECT CAST(:n AS int), CAST(:c AS int), current_setting('hnsw.ef_search', true)",
                    settings={"hnsw.ef_search": value} if number % 2 else None,
                    n=number,
                    c=client,
                )[0]
                if row[:2] != [number, client] or (number % 2 and row[2] != str(value)):
                    wrong.append(row)

    threads = [threading.Thread(target=work, args=[client]) for client in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_doctor_names_the_pooler(unix: str) -> None:
    database = Pg8000Database(unix, command_timeout=SECONDS)
    with database.connection_context():
        findings = [finding for finding in examine(database) if "pooler" in finding.code]
    assert len(findings) == 1
    assert "pgpool" in findings[0].what.lower()


def test_psycopg_works_here(pooled: str, table: str) -> None:
    """What is asked for here can be had: psycopg's COPY begins by a simple Query."""
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=0) as theirs:
        with theirs.cursor().copy(f"COPY {table} (id) FROM STDIN") as copy:
            for number in range(1_000):
                copy.write_row([number])
        assert theirs.execute(f"SELECT count(*) FROM {table}").fetchone() == (1_000,)
