"""What goes wrong is an exception by its SQLSTATE, a sentence, and what code for pg8000 expects to catch."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pg8000.dbapi
import pg8000.exceptions
import pytest

from lightvec import HalfVector, errors
from lightvec.errors import LightvecError
from lightvec.pg8000 import Connection, connect, dbapi, exceptions
from lightvec.pg8000.exceptions import ConnectionLost, DatabaseError, ProgrammingError, error_from_fields
from tests.pg8000.roundtrips import Relay


@pytest.fixture(autouse=True)
def tables(conn: Connection) -> None:
    conn.run("""
        CREATE TEMPORARY TABLE parent (id int PRIMARY KEY, name text NOT NULL, CONSTRAINT positive CHECK (id > 0));
        CREATE TEMPORARY TABLE child (parent int CONSTRAINT has_parent REFERENCES parent);
        INSERT INTO parent VALUES (1, 'a')""")


@pytest.mark.parametrize(
    ("sql", "sqlstate", "name"),
    [
        ("INSERT INTO parent VALUES (1, 'b')", "23505", "IntegrityError"),
        ("INSERT INTO child VALUES (7)", "23503", "IntegrityError"),
        ("INSERT INTO parent VALUES (2, NULL)", "23502", "IntegrityError"),
        ("INSERT INTO parent VALUES (-1, 'x')", "23514", "IntegrityError"),
        ("SELECT 1/0", "22012", "DataError"),
        ("SELECT 'x'::int", "22P02", "DataError"),
        ("SELECT 40000::int2", "22003", "DataError"),
        ("SELECT '[1,2]'::vector <-> '[1]'::vector", "22000", "DataError"),
        ("SELECT * FROM nowhere", "42P01", "ProgrammingError"),
        ("SELECT nothing", "42703", "ProgrammingError"),
        ("SELECT no_such_function()", "42883", "ProgrammingError"),
        ("SELEC 1", "42601", "ProgrammingError"),
        ("CREATE TABLE nowhere.t ()", "3F000", "ProgrammingError"),
        ("EXECUTE nothing", "26000", "ProgrammingError"),
        ("DO $$ BEGIN RAISE 'mine'; END $$", "P0001", "ProgrammingError"),
        ("DO $$ BEGIN RAISE SQLSTATE 'ZZ001'; END $$", "ZZ001", "DatabaseError"),
        ("DROP DATABASE nowhere", "3D000", "OperationalError"),
        ("BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT; FETCH c", "34000", "OperationalError"),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", "53300", "OperationalError"),
        ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", "55P03", "OperationalError"),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", "40P01", "OperationalError"),
        ("DO $$ BEGIN RAISE SQLSTATE 'XX000'; END $$", "XX000", "InternalError"),
        ("VALUES (1) FOR UPDATE", "0A000", "NotSupportedError"),
        ("DROP TYPE nowhere", "42704", "ProgrammingError"),
    ],
)
def test_the_class_follows_from_the_sqlstate(sql: str, sqlstate: str, name: str, conn: Connection) -> None:
    with pytest.raises(DatabaseError) as caught:
        conn.run(sql)
    error = caught.value
    assert (error.sqlstate, type(error).__name__) == (sqlstate, name)
    assert type(error) is getattr(exceptions, name) is getattr(dbapi, name)
    assert isinstance(error, LightvecError)
    assert isinstance(error, getattr(pg8000.dbapi, name))
    assert isinstance(error, pg8000.exceptions.DatabaseError)
    assert isinstance(error.args[0], dict)
    assert error.args[0]["C"] == sqlstate
    assert f"(SQLSTATE {sqlstate})" in str(error)
    assert "\n" not in str(error)
    assert "{" not in str(error)
    conn.run("ROLLBACK")
    assert conn.run("SELECT 1") == [[1]]


def test_what_an_integrity_error_says(conn: Connection) -> None:
    with pytest.raises(exceptions.IntegrityError) as caught:
        conn.run("INSERT INTO parent VALUES (:id, 'b')", id=1)
    error = caught.value
    assert (error.table, error.constraint, error.column) == ("parent", "parent_pkey", None)
    assert error.schema is not None
    assert error.schema.startswith("pg_temp")
    assert error.detail == "Key (id)=(1) already exists."
    assert str(error) == (
        'duplicate key value violates unique constraint "parent_pkey" (SQLSTATE 23505); Key (id)=(1) already exists'
    )
    with pytest.raises(exceptions.IntegrityError) as caught:
        conn.run("INSERT INTO parent (id) VALUES (2)")
    assert (caught.value.table, caught.value.column, caught.value.constraint) == ("parent", "name", None)


def test_hints(conn: Connection) -> None:
    with pytest.raises(exceptions.ProgrammingError) as caught:
        conn.run("SELECT nam FROM parent")
    assert caught.value.hint == 'Perhaps you meant to reference the column "parent.name".'
    assert "Perhaps you meant" in str(caught.value)


def test_what_the_client_raises_has_no_fields() -> None:
    error = exceptions.InterfaceError("a sentence")
    assert (error.sqlstate, error.detail, error.fields, str(error)) == (None, None, {}, "a sentence")


def test_an_answer_without_a_sqlstate() -> None:
    error = error_from_fields({})
    assert type(error) is DatabaseError
    assert str(error) == "the server reported an error (SQLSTATE unknown)"


def test_a_failed_transaction_says_what_to_do(conn: Connection) -> None:
    conn.run("BEGIN")
    with pytest.raises(exceptions.DataError):
        conn.run("SELECT 1/0")
    with pytest.raises(exceptions.InternalError, match="roll the transaction back") as caught:
        conn.run("SELECT 1")
    assert caught.value.sqlstate == "25P02"


def test_a_serialization_failure_says_what_to_do(url: str) -> None:
    with connect(url) as first, connect(url) as second:
        first.run("CREATE TABLE contested (n int); INSERT INTO contested VALUES (1)")
        for connection in (first, second):
            connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM contested")
        first.run("UPDATE contested SET n = 2; COMMIT")
        with pytest.raises(exceptions.OperationalError, match="run the transaction again") as caught:
            second.run("UPDATE contested SET n = 3")
        assert caught.value.sqlstate == "40001"
        second.run("ROLLBACK")
        first.run("DROP TABLE contested")


def test_statement_timeout(conn: Connection) -> None:
    with pytest.raises(exceptions.OperationalError, match="statement_timeout") as caught:
        conn.run("SELECT pg_sleep(10)", settings={"statement_timeout": "20ms"})
    assert caught.value.sqlstate == "57014"
    assert conn.run("SHOW statement_timeout") == [["0"]]


# --- connections that break --------------------------------------------------------------------------------------


@pytest.fixture
def doomed(url: str) -> Iterator[Connection]:
    with connect(url) as connection:
        yield connection


def terminate(conn: Connection, doomed: Connection) -> None:
    key: bytes = doomed.session._key_data or b""
    pid = int.from_bytes(key[:4], "big")
    conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)


def check_broken(connection: Connection) -> None:
    assert connection.closed
    assert not connection.in_transaction
    assert not connection.is_alive()
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="connect again") as caught:
            connection.run("SELECT 1")
        assert isinstance(caught.value, pg8000.exceptions.InterfaceError), "as pg8000 calls it"
    connection.close()
    connection.close()
    with pytest.raises(exceptions.InterfaceError):
        connection.run("SELECT 1")


@pytest.mark.parametrize("inside", [False, True])
def test_a_backend_that_is_terminated(inside: bool, conn: Connection, doomed: Connection) -> None:
    if inside:
        doomed.run("BEGIN; SELECT 1")
    terminate(conn, doomed)
    with pytest.raises(exceptions.OperationalError) as caught:
        doomed.run("SELECT 1")
    assert caught.value.sqlstate == "57P01", "also where the socket broke before the message was read"
    check_broken(doomed)


def test_a_backend_that_terminates_itself_says_why(doomed: Connection) -> None:
    with pytest.raises(exceptions.OperationalError, match="connect again") as caught:
        doomed.run("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    assert caught.value.sqlstate == "57P01"
    assert isinstance(caught.value.args[0], dict)
    check_broken(doomed)


def test_a_dead_connection_is_seen_before_it_is_used(conn: Connection, doomed: Connection) -> None:
    assert doomed.is_alive()
    terminate(conn, doomed)
    assert not doomed.is_alive()
    check_broken(doomed)


def test_a_network_that_breaks(relay: Relay, relayed: Connection) -> None:
    assert relayed.run("SELECT 1") == [[1]]
    relay.cut()
    with pytest.raises(ConnectionLost) as caught:
        relayed.run("SELECT 1")
    assert caught.value.sqlstate is None
    check_broken(relayed)


def test_closing_a_dead_connection_is_quiet(relay: Relay) -> None:
    connection = connect(relay.url)
    relay.cut()
    connection.close()
    assert connection.closed


def test_a_transaction_block_raises_what_broke_its_connection(conn: Connection, doomed: Connection) -> None:
    with pytest.raises(exceptions.OperationalError, match="connect again"), doomed.transaction():
        doomed.run("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    check_broken(doomed)


# --- the tree ----------------------------------------------------------------------------------------------------


def test_the_tree_of_the_documentation_is_the_tree() -> None:
    """The drawing in lightvec.errors names every class, each below its base."""
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([ │├└─]*)([\w.]+)", line):
            drawn.append((len(found[1]) // 4, found[2].rpartition(".")[2]))
    path: list[type[Exception]] = []
    named = set()
    for depth, name in drawn:
        # The driver has a MissingExtension of its own, drawn behind the one that knows no driver.
        found_in = (getattr(module, name, None) for module in (errors, exceptions))
        cls = next(each for each in found_in if each is not None and each not in named)
        del path[depth:]
        if path:
            assert path[-1] in cls.__mro__, f"{name} below {path[-1].__name__}"
        path.append(cls)
        named.add(cls)
    for module in (errors, exceptions):
        for name in module.__all__:
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, Exception) and cls is not exceptions.Warning:
                assert cls in named or cls is ConnectionLost, name
                assert issubclass(cls, LightvecError)


def test_peewee_finds_the_pep_249_class_among_the_first_bases() -> None:
    """Peewee maps an exception by the names of its class and of its first base only."""
    names = {"DatabaseError", "DataError", "IntegrityError", "InterfaceError", "InternalError", "NotSupportedError"}
    names |= {"OperationalError", "ProgrammingError"}
    for name in exceptions.__all__:
        cls = getattr(exceptions, name)
        if isinstance(cls, type) and issubclass(cls, exceptions.Error) and cls is not exceptions.Error:
            assert cls.__name__ in names or cls.__bases__[0].__name__ in names, name


def test_a_list_where_a_vector_was_meant(conn: Connection) -> None:
    with pytest.raises(ProgrammingError, match=r"write lightvec\.Vector\(\[\.\.\.\]\) for a vector"):
        conn.run("SELECT '[1,2]'::vector <-> :v", v=[1.0, 2.0])
    with pytest.raises(ProgrammingError) as caught:
        conn.run("SELECT no_such_function(:a)", a=1)
    assert "lightvec.Vector" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [errors.MissingExtension("halfvec"), exceptions.MissingExtension(), errors.MissingExtra("plot", "a plot")],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_their_own_making_are_pickled(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.fixture
def old_url(empty_url: str) -> str:
    """A database whose pgvector looks like 0.6.2: halfvec is not there."""
    with connect(empty_url) as admin:
        admin.run("""
            CREATE EXTENSION vector;
            ALTER TYPE halfvec RENAME TO renamed;
            UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector'""")
    return empty_url


def test_a_type_that_only_a_newer_pgvector_has(old_url: str) -> None:
    remedy = "update it on the server, then ALTER EXTENSION vector UPDATE"
    with connect(old_url) as connection:
        with pytest.raises(exceptions.MissingExtension, match=r"pgvector 0\.6\.2 .* no type halfvec, 0\.7 has") as sent:
            connection.run("SELECT :v", v=HalfVector([1]))
        with pytest.raises(ProgrammingError, match=r"halfvec needs pgvector 0\.7, this database has 0\.6\.2") as named:
            connection.run("CREATE TABLE old (v halfvec(3))")
        assert str(sent.value).endswith(remedy)
        assert str(named.value).endswith(remedy)
