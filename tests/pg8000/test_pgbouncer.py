"""Behind a transaction pooler, each answer belongs to its query, and no setting stays on the server's session.

Eight clients share two server connections, so that PgBouncer hands them over at every Sync.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator

import pg8000.exceptions
import pg8000.native
import pytest

from lightvec import Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DataError
from lightvec.server import Server
from tests.pg8000.pgbouncer import PgBouncer

THREADS, QUERIES = 8, 1_000
DEFAULT = "40"
#: Each client has a text of its own: with one text for all, a stranger's statement would give the right answer.
ECHO = "SELECT CAST(:token AS text), CAST(:v AS vector), {}, current_setting('hnsw.ef_search', true)"


@pytest.fixture(scope="module")
def pooler(server: Server) -> Iterator[PgBouncer]:
    with PgBouncer(server) as pooler:
        yield pooler


@pytest.fixture
def pooled(pooler: PgBouncer, url: str) -> str:
    return pooler.url(url)


def at_once(work: Callable[[int], int]) -> int:
    """Run ``work(number)`` in all threads at once; the sum of what they return. The first error is raised."""
    start = threading.Barrier(THREADS)
    answers: list[int] = []
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(20)
            answers.append(work(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    assert len(answers) == THREADS
    return sum(answers)


def vector_of(number: int, step: int) -> Vector:
    return Vector([number + 1, *(step + index for index in range(24))])


def check_echo(connection: Connection, number: int, step: int, settings: dict[str, object] | None) -> None:
    token, sent = f"{number}-{step}", vector_of(number, step)
    rows = connection.run(ECHO.format(number), settings=settings, token=token, v=sent)
    assert rows is not None
    assert rows[0][:3] == [token, sent, number]
    if settings:
        assert rows[0][3] == str(settings["hnsw.ef_search"])
    else:
        assert rows[0][3] in (None, "", DEFAULT), "nobody else's setting is seen"


def check_no_setting_is_left(pooled: str) -> None:
    with connect(pooled) as first, connect(pooled) as second:
        first.run("BEGIN")  # holds one of the two sessions, so that the other one is asked, too
        for connection in (first, second):
            connection.run("SELECT '[1]'::vector")
            assert connection.run("SHOW hnsw.ef_search") == [[DEFAULT]]
            assert connection.run("SELECT count(*) FROM pg_settings WHERE name LIKE 'lightvec.%'") == [[0]]
        first.run("COMMIT")


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_every_answer_belongs_to_its_query(tcp: bool, pooler: PgBouncer, url: str) -> None:
    def work(number: int) -> int:
        settings: dict[str, object] = {"hnsw.ef_search": 100 + number}
        with connect(pooler.url(url, tcp=tcp)) as connection:
            for step in range(QUERIES):
                check_echo(connection, number, step, settings if step % 3 == 0 else None)
        return QUERIES

    assert at_once(work) == THREADS * QUERIES
    check_no_setting_is_left(pooler.url(url))


def test_errors_in_between(pooled: str) -> None:
    def work(number: int) -> int:
        with connect(pooled) as connection:
            for step in range(QUERIES // 8):
                with pytest.raises(DataError):
                    connection.run("SELECT CAST(:a AS int) / 0", a=step, settings={"hnsw.ef_search": 200 + number})
                check_echo(connection, number, step, None)
        return QUERIES // 8

    assert at_once(work) == THREADS * (QUERIES // 8)
    check_no_setting_is_left(pooled)


def test_transactions_and_copy(pooled: str) -> None:
    with connect(pooled) as connection:
        connection.run("DROP TABLE IF EXISTS pooled; CREATE TABLE pooled (client int, step int, embedding vector)")

    def work(number: int) -> int:
        with connect(pooled) as connection:
            for step in range(40):
                with connection.transaction():
                    connection.run(
                        "INSERT INTO pooled VALUES (:n, :s, :v)", n=number, s=step, v=vector_of(number, step)
                    )
                    check_echo(connection, number, step, {"hnsw.ef_search": 300 + number})
                    check_echo(connection, number, step, None)
                lines = io.StringIO(f"{number}\t{step}\t{vector_of(number, step).to_text()}\n")
                connection.run("COPY pooled FROM STDIN", stream=lines)
                rows = connection.run("SELECT embedding FROM pooled WHERE client = :n AND step = :s", n=number, s=step)
                assert rows == [[vector_of(number, step)]] * 2
        return 40

    assert at_once(work) == THREADS * 40
    check_no_setting_is_left(pooled)
    with connect(pooled) as connection:
        assert connection.run("SELECT count(*), count(DISTINCT (client, step)) FROM pooled") == [[640, 320]]
        connection.run("DROP TABLE pooled")


def test_a_copy_that_fails_gives_its_session_back(pooled: str) -> None:
    def rows() -> Iterator[str]:
        yield "1\n"
        raise RuntimeError("the source broke")

    with connect(pooled) as connection:
        connection.run("CREATE TABLE pooled_copy (id int)")
        for _ in range(5):
            with pytest.raises(RuntimeError, match="the source broke"):
                connection.run("COPY pooled_copy FROM STDIN", stream=rows())
            with pytest.raises(DataError):
                connection.run("COPY pooled_copy FROM STDIN", stream=["x\n"])
        with connect(pooled) as second, connect(pooled) as third:
            for other in (connection, second, third):
                assert other.run("SELECT count(*) FROM pooled_copy") == [[0]]
        connection.run("DROP TABLE pooled_copy")


@pytest.mark.parametrize("autocommit", [False, True])
def test_the_pep_249_connection(autocommit: bool, pooled: str) -> None:
    def work(number: int) -> int:
        with dbapi.connect(pooled) as connection:
            connection.autocommit = autocommit
            cursor = connection.cursor()
            for step in range(QUERIES // 8):
                cursor.execute(
                    f"SELECT %s::text, %s, %s, {number}", (f"{number}-{step}", vector_of(number, step), number)
                )
                assert cursor.fetchall() == [(f"{number}-{step}", vector_of(number, step), number, number)]
                if step % 5 == 0:
                    connection.commit()
            connection.rollback()
        return QUERIES // 8

    assert at_once(work) == THREADS * (QUERIES // 8)


def test_plain_pg8000_goes_wrong_here(pooler: PgBouncer) -> None:
    """What all this is for: 94 of 100 answers are another client's. It also shows that these tests would notice."""
    stop = threading.Event()

    def work(number: int) -> int:
        connection = pg8000.native.Connection("postgres", unix_sock=pooler.socket_path, timeout=10)
        try:
            for _ in range(5_000):
                if stop.is_set():
                    break
                try:
                    if connection.run(f"SELECT {number}, CAST(:token AS text)", token=str(number)) != [
                        [number, str(number)]
                    ]:
                        stop.set()
                except pg8000.exceptions.Error:
                    stop.set()
        finally:
            connection.close()
        return int(stop.is_set())

    assert at_once(work) > 0
