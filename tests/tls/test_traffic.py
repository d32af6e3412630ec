"""Everything that works over a socket works over TLS, of both versions, and through PgBouncer."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from peewee import IntegerField, Model, TextField

from lightvec import Vector
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import ConnectionLost, DataError, IntegrityError, OperationalError
from tests.scale import scaled
from tests.tls.between import CLIENT, SERVER, Between, watching
from tests.tls.conftest import Stand
from tests.tls.postgres import Postgres

ROWS = scaled(20_000, 300_000)
#: Still more than the sockets hold, in statements of a kilobyte.
FEWER = ROWS // 2
SECONDS = scaled(20, 300)
VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture(params=[f"{place} {version}" for place in ("direct", "pooled") for version in VERSIONS])
def stand(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How to connect; the command_timeout makes an error of what would wait for ever."""
    place, version = request.param.split()
    found: Stand = request.getfixturevalue(place)
    return found.has(ssl_min_protocol_version=version, ssl_max_protocol_version=version, command_timeout=SECONDS)


@pytest.fixture
def over_tls(stand: dict[str, Any]) -> Iterator[Connection]:
    with connect(**stand) as connection:
        yield connection


def in_time(work: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What ``work`` returns or raises, in a thread of its own; it fails if that takes for ever."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append((work(), None))
        except BaseException as error:
            answers.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        pytest.fail("it hangs")
    answer, error = answers[0]
    if error is not None:
        raise error
    return answer


def version_of(connection: Any) -> str:
    return str(connection.session.transport.socket.version())


def test_the_version_is_the_one_that_was_asked_for(over_tls: Connection, stand: dict[str, Any]) -> None:
    assert version_of(over_tls) == stand["ssl_max_protocol_version"]


# --- large and small -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 262_139, 262_144, 1 << 20, 1 << 24])
def test_a_value_of_any_size_goes_there_and_back(size: int, over_tls: Connection) -> None:
    """Around a record of TLS, around the buffer, and far beyond."""
    text = "é" * (size // 2) + "x" * (size % 2)
    assert in_time(lambda: over_tls.run("SELECT CAST(:text AS text), octet_length(:text)", text=text)) == [[text, size]]
    assert over_tls.run("SELECT 1") == [[1]]


def test_many_rows(over_tls: Connection) -> None:
    rows = in_time(lambda: over_tls.run("SELECT g, repeat('x', g % 1000) FROM generate_series(1, :n) g", n=FEWER))
    assert len(rows) == FEWER
    assert all(len(text) == number % 1000 for number, text in rows)


def test_an_error_leaves_the_connection_good(over_tls: Connection) -> None:
    for _ in range(3):
        with pytest.raises(DataError):
            over_tls.run("SELECT 1 / :zero", zero=0)
        assert over_tls.run("SELECT 1", settings={"work_mem": "5MB"}) == [[1]]


def test_streamed_rows(over_tls: Connection) -> None:
    rows = over_tls.stream("SELECT g, repeat('x', 200) FROM generate_series(1, :n) g", n=FEWER, batch=999)
    assert in_time(lambda: sum(row[0] for row in rows)) == FEWER * (FEWER + 1) // 2
    assert over_tls.run("SELECT 1") == [[1]]


def test_streamed_rows_that_nobody_wants(over_tls: Connection) -> None:
    rows = over_tls.stream("SELECT g, repeat('x', 2000) FROM generate_series(1, :n) g", n=FEWER, batch=10)
    assert next(rows)[0] == 1
    in_time(rows.close)
    assert over_tls.run("SELECT 1") == [[1]]


# --- Peewee --------------------------------------------------------------------------------------------------------


def database_of(stand: dict[str, Any]) -> Pg8000Database:
    params = dict(stand)
    return Pg8000Database(params.pop("dbname"), **params)


def test_paged_selects_with_others_in_between(stand: dict[str, Any]) -> None:
    class Line(Model):
        number = IntegerField()
        text = TextField()

        class Meta:
            database = database_of(stand)
            table_name = "tls_line"

    database = Line._meta.database

    def work() -> None:
        with database.connection_context(), database.atomic() as transaction:
            database.execute_sql("CREATE TEMPORARY TABLE tls_line (id serial, number int, text text) ON COMMIT DROP")
            assert database.copy_rows(Line, [(number, "x" * 100) for number in range(FEWER)], fields=["number", "text"])
            seen = 0
            for line in Line.select().order_by(Line.number).iterator():
                seen += line.number == seen
                if line.number % (FEWER // 4) == 0:
                    assert Line.select().where(Line.number == line.number).get().text == "x" * 100
            assert seen == FEWER
            transaction.rollback()

    in_time(work)


def test_nearest_over_tls(pooled: Stand) -> None:
    database = database_of(pooled.params)

    class Place(Model):
        embedding = VectorField(768, metric="l2", index="hnsw")

        class Meta:
            table_name = "tls_place"

    Place.bind(database)
    with database.connection_context():
        database.create_tables([Place])
        try:
            vectors = [[float(number == place) for place in range(768)] for number in range(50)]
            assert database.copy_rows(Place, [{"embedding": vector} for vector in vectors]) == 50
            query: Any = Place.embedding.nearest(vectors[7], k=3, ef_search=100)
            assert [round(place.distance, 3) for place in query] == [0.0, 1.414, 1.414]
        finally:
            database.drop_tables([Place])


# --- COPY ----------------------------------------------------------------------------------------------------------


def temporary(connection: Connection, columns: str) -> None:
    """A table for a transaction, which a pooler does not take away in the middle."""
    connection.run(f"CREATE TEMPORARY TABLE tls_copied ({columns}) ON COMMIT DROP")


def test_rows_and_columns_in_and_out(over_tls: Connection) -> None:
    rows = [(number, "x" * (number % 500), number / 3) for number in range(ROWS)]

    def work() -> None:
        with over_tls.transaction():
            temporary(over_tls, "id int, title text, weight float8")
            assert over_tls.copy_rows("tls_copied", ["id", "title", "weight"], rows) == ROWS
            columns = dict(zip(("id", "title", "weight"), map(list, zip(*rows, strict=True)), strict=True))
            assert over_tls.copy_columns("tls_copied", columns) == ROWS
            found = over_tls.fetch_columns("SELECT * FROM tls_copied ORDER BY id")
            assert list(found["id"][::2]) == columns["id"]
            assert list(found["title"][1::2]) == columns["title"]

    in_time(work)
    assert over_tls.run("SELECT 1") == [[1]]


def test_vectors_in_and_out(pooled: Stand) -> None:
    vectors = [Vector([number, *range(300)]) for number in range(2_000)]
    with connect(**pooled.params) as connection, connection.transaction():
        temporary(connection, "id int, embedding vector(301)")
        columns = {"id": list(range(len(vectors))), "embedding": vectors}
        assert in_time(lambda: connection.copy_columns("tls_copied", columns)) == len(vectors)
        found: Any = connection.run("SELECT embedding FROM tls_copied ORDER BY id")
        assert [row[0] for row in found] == vectors


@pytest.mark.parametrize("options", ["", "(FORMAT binary)"])
def test_copy_to_standard_output_and_back(options: str, over_tls: Connection) -> None:
    def work() -> None:
        with over_tls.transaction():
            temporary(over_tls, "id int, title text")
            over_tls.run("INSERT INTO tls_copied SELECT g, repeat('x', 100) FROM generate_series(1, :n) g", n=ROWS)
            out = io.BytesIO()
            over_tls.run(f"COPY tls_copied TO STDOUT {options}", stream=out)
            over_tls.run("TRUNCATE tls_copied")
            out.seek(0)
            over_tls.run(f"COPY tls_copied FROM STDIN {options}", stream=out)
            assert over_tls.run("SELECT count(*), sum(id) FROM tls_copied") == [[ROWS, ROWS * (ROWS + 1) // 2]]

    in_time(work)


def test_a_load_that_fails_in_the_middle(over_tls: Connection) -> None:
    """The error is heard while the client sends; what it has begun is sent to its end."""

    def rows() -> Iterator[tuple[int, str]]:
        for number in range(ROWS * 20):
            yield (1 if number == ROWS // 2 else number + 2, "x" * 1000)

    def work() -> None:
        with over_tls.transaction():
            temporary(over_tls, "id int CHECK (id <> 1), title text")
            over_tls.copy_rows("tls_copied", ["id", "title"], rows())

    with pytest.raises(IntegrityError, match="tls_copied_id_check"):
        in_time(work)
    assert over_tls.run("SELECT 1") == [[1]]


# --- both at once --------------------------------------------------------------------------------------------------

TALKATIVE = """
CREATE FUNCTION pg_temp.talk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE '%', repeat('x', {length}); RETURN NEW; END $$;
CREATE TRIGGER talk BEFORE INSERT ON tls_copied FOR EACH ROW EXECUTE FUNCTION pg_temp.talk()
"""


def test_many_statements_and_their_answers(stand: dict[str, Any]) -> None:
    """Parameters one way and answers the other, more than the sockets hold of either."""
    with dbapi.connect(**stand) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMPORARY TABLE tls_copied (id int, title text) ON COMMIT DROP")
        rows = [(number, "x" * 1000) for number in range(FEWER)]
        in_time(lambda: cursor.executemany("INSERT INTO tls_copied VALUES (%s, %s)", rows))
        assert cursor.rowcount == FEWER
        cursor.execute("SELECT count(*), sum(id) FROM tls_copied")
        assert cursor.fetchone() == (FEWER, FEWER * (FEWER - 1) // 2)
        connection.rollback()


@pytest.mark.parametrize("how", ["executemany", "copy_rows"])
def test_a_server_that_talks_while_it_is_written_to(how: str, stand: dict[str, Any]) -> None:
    rows = [(number, "x" * 2000) for number in range(FEWER // 4)]

    def work() -> None:
        with dbapi.connect(**stand) as connection:
            connection.cursor().execute("SELECT 1")
            make_talkative(connection, 2000)
            if how == "copy_rows":
                assert connection.copy_rows("tls_copied", ["id", "title"], rows) == len(rows)
            else:
                connection.cursor().executemany("INSERT INTO tls_copied VALUES (%s, %s)", rows)
            assert len(connection.notices) == 100
            connection.rollback()

    in_time(work)


def make_talkative(connection: Any, length: int) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TEMPORARY TABLE tls_copied (id int, title text) ON COMMIT DROP")
    for statement in TALKATIVE.format(length=length).split(";\n"):
        cursor.execute(statement)


def test_an_error_while_many_statements_are_sent(stand: dict[str, Any]) -> None:
    rows = ((number, "x" * 3000) for number in range(FEWER))

    def work() -> None:
        with dbapi.connect(**stand) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TEMPORARY TABLE tls_copied (id int CHECK (id <> 50), title text) ON COMMIT DROP")
            with pytest.raises(IntegrityError, match="tls_copied_id_check"):
                cursor.executemany("INSERT INTO tls_copied VALUES (%s, %s)", rows)
            connection.rollback()
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)

    in_time(work)
    assert next(rows)[0] < FEWER - 1, "it was noticed before all were sent"


@pytest.mark.parametrize("over", ["TLS", "a Unix socket"])
def test_a_server_that_says_more_than_the_buffer_holds(over: str, direct: Stand, url: str) -> None:
    """A message longer than the buffer is heard in the middle of sending, and so is what comes behind it."""
    rows = [(number, "x" * 400_000) for number in range(60)]
    with dbapi.connect(**direct.params) if over == "TLS" else dbapi.connect(url) as connection:
        make_talkative(connection, 300_000)
        cursor = connection.cursor()
        try:
            in_time(lambda: cursor.executemany("INSERT INTO tls_copied VALUES (%s, %s)", rows), 5)
        finally:
            connection.session.transport.close()  # which ends a thread that goes round in circles


@pytest.mark.parametrize("version", VERSIONS)
def test_a_query_is_one_round_trip(version: str, direct: Stand, postgres: Postgres) -> None:
    sides: list[str] = []
    with Between(postgres.port, watching(sides)) as between:
        params = direct.has(port=between.port, ssl_max_protocol_version=version)
        with connect(**params) as connection, dbapi.connect(**params) as other:
            connection.run("SELECT 1")
            cursor = other.cursor()
            cursor.execute("CREATE TEMPORARY TABLE few (n int)")
            cursor.execute("SELECT 1")
            for work in (
                lambda: connection.run("SELECT :n + 1", n=1),
                lambda: connection.run("SELECT :text", text="x" * 10_000, settings={"work_mem": "5MB"}),
                lambda: cursor.executemany("INSERT INTO few VALUES (%s)", [(n,) for n in range(100)]),
            ):
                sides.clear()
                work()
                assert [side for side, before in zip(sides, [None, *sides], strict=False) if side != before] == [
                    CLIENT,
                    SERVER,
                ]


# --- idle ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_alive(over_tls: Connection) -> None:
    """TLS 1.3 sends its tickets after the handshake: they wait in the socket, and are no word of the server."""
    for _ in range(3):
        assert over_tls.is_alive()
        time.sleep(0.02)
    assert over_tls.run("SELECT 1") == [[1]]
    assert over_tls.is_alive()


def test_a_connection_that_has_ended_is_not_alive(direct: Stand, postgres: Postgres) -> None:
    for version in VERSIONS:
        with connect(**direct.has(ssl_max_protocol_version=version)) as connection:
            end(connection, postgres)
            assert not connection.is_alive()
            with pytest.raises(ConnectionLost):
                connection.run("SELECT 1")


def end(connection: Any, postgres: Postgres) -> None:
    """Have the server end it, and wait until it has."""
    rows = connection.execute_simple("SELECT pg_backend_pid()::int").rows
    with connect(postgres.admin_url) as admin:
        assert admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=rows[0][0]) == [[True]]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_servers_last_words_are_heard(version: str, direct: Stand, postgres: Postgres) -> None:
    with connect(**direct.has(ssl_max_protocol_version=version)) as connection:
        end(connection, postgres)
        with pytest.raises(OperationalError) as caught:
            connection.run("SELECT :text", text="x" * 1000)
        assert caught.value.sqlstate == "57P01"
        assert connection.closed


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_in_the_middle_of_an_answer(version: str, direct: Stand, postgres: Postgres) -> None:
    with connect(**direct.has(ssl_max_protocol_version=version)) as connection:
        rows: Any = connection.run("SELECT pg_backend_pid()")

        def later() -> None:
            time.sleep(0.2)
            with connect(postgres.admin_url) as admin:
                admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=rows[0][0])

        thread = threading.Thread(target=later)
        thread.start()
        with pytest.raises(OperationalError) as caught:
            in_time(lambda: connection.run("SELECT pg_sleep(30)"))
        thread.join(SECONDS)
        assert caught.value.sqlstate == "57P01"


def test_what_comes_while_it_is_idle_is_kept(direct: Stand) -> None:
    with connect(**direct.params) as connection, connect(**direct.params) as other:
        connection.run("LISTEN tls")
        for number in range(50):
            other.run(f"NOTIFY tls, '{number}'")
        deadline = time.monotonic() + 5
        while connection.is_alive() and time.monotonic() < deadline and not connection.session.transport.peek():
            time.sleep(0.01)
        assert connection.run("SELECT 1") == [[1]]
        assert [payload for _, _, payload in connection.notifications] == [str(number) for number in range(50)]


@pytest.mark.parametrize("version", VERSIONS)
def test_peewee_reconnects(version: str, direct: Stand, postgres: Postgres) -> None:
    database = database_of(direct.has(ssl_max_protocol_version=version))
    with database.connection_context():
        for _ in range(3):
            connection: Any = database.connection()
            end(connection, postgres)
            assert database.execute_sql("SELECT 1").fetchone() == (1,)
            assert database.connection() is not connection
            assert version_of(database.connection()) == version


def test_peewee_reconnects_when_the_server_was_restarted(direct: Stand, postgres: Postgres) -> None:
    database = database_of(direct.params)
    with database.connection_context():
        database.execute_sql("SELECT 1")
        postgres.restart()
        assert database.execute_sql("SELECT 1").fetchone() == (1,)
        with pytest.raises(peewee.OperationalError):
            in_a_transaction(database, postgres.restart)
        assert database.execute_sql("SELECT 1").fetchone() == (1,)


def in_a_transaction(database: Pg8000Database, work: Callable[[], object]) -> None:
    with database.atomic():
        work()
        database.execute_sql("SELECT 1")
