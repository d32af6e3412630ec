"""Which formats a connection asks for, and what it does when tables, types and the extension change under it."""

from __future__ import annotations

import pytest

from lightvec import Bit, Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DatabaseError, DataError, MissingExtension, ProgrammingError
from lightvec.wire.protocol import BINARY, TEXT

V = Vector([1, 2, 3])


def formats(connection: Connection) -> list[int]:
    return [column["format"] for column in connection.columns or ()]


@pytest.mark.parametrize("inside", [False, True])
def test_a_column_more(inside: bool, conn: Connection, url: str) -> None:
    with connect(url, prepare=False) as unprepared:
        _check_a_column_more(unprepared, inside)
    if not inside:
        _check_a_column_more(conn, inside)


def _check_a_column_more(conn: Connection, inside: bool) -> None:
    conn.run("CREATE TEMPORARY TABLE wider (v vector, t text); INSERT INTO wider VALUES ('[1,2,3]', 'x')")
    for expected in (TEXT, BINARY):
        assert conn.run("SELECT * FROM wider") == [[V, "x"]]
        assert conn.run("SELECT * FROM wider WHERE t = :t", t="x") == [[V, "x"]]
        assert formats(conn) == [expected, TEXT]
    conn.run("ALTER TABLE wider ADD COLUMN n int DEFAULT 7")
    if inside:
        conn.run("BEGIN")
    for _ in range(3):
        assert conn.run("SELECT * FROM wider") == [[V, "x", 7]]
        assert conn.run("SELECT * FROM wider WHERE t = :t", t="x") == [[V, "x", 7]]
    if inside:
        assert formats(conn) == [TEXT] * 3, "a star is not trusted inside a transaction"
        conn.run("COMMIT")
        conn.run("SELECT * FROM wider")
    assert conn.run("SELECT * FROM wider") == [[V, "x", 7]]
    assert formats(conn) == [BINARY, TEXT, TEXT]


def test_a_column_more_beside_a_single_one(conn: Connection) -> None:
    """One format code holds for all columns (54.7, Bind): the server would not refuse it for two."""
    conn.run("CREATE TEMPORARY TABLE single (v vector); INSERT INTO single VALUES ('[1,2,3]')")
    for count in (1, 2):
        assert conn.run("SELECT * FROM single") == [[V]] * count
        assert conn.run("INSERT INTO single VALUES (:v) RETURNING *", v=V) == [[V]]
    conn.run("ALTER TABLE single ADD COLUMN n int DEFAULT 7")
    assert conn.run("SELECT * FROM single") == [[V, 7]] * 3
    assert conn.run("INSERT INTO single VALUES (:v) RETURNING *", v=V) == [[V, 7]]


def test_a_column_more_within_a_transaction_that_began_by_itself(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    cursor.execute("CREATE TEMPORARY TABLE growing (v vector)")
    cursor.execute("INSERT INTO growing VALUES (%s)", (V,))
    dbapi_conn.commit()
    for _ in range(3):
        assert cursor.execute("SELECT * FROM growing").fetchall() == [(V,)]
    cursor.execute("ALTER TABLE growing ADD COLUMN n int")
    assert cursor.execute("SELECT * FROM growing").fetchall() == [(V, None)]


@pytest.mark.parametrize("prepare", [False, True])
def test_a_column_of_another_type(prepare: bool, url: str) -> None:
    with connect(url, prepare=prepare) as conn:
        conn.run("CREATE TEMPORARY TABLE changed (v vector); INSERT INTO changed VALUES ('[1,2,3]')")
        for _ in range(3):
            conn.run("SELECT v FROM changed")
        conn.run("ALTER TABLE changed ALTER COLUMN v TYPE text USING v::text")
        for _ in range(3):
            assert conn.run("SELECT v FROM changed") == [["[1,2,3]"]]


def test_memory_of_statements_is_bounded(url: str) -> None:
    with connect(url, prepare=False) as conn:
        _check_memory(conn)


def _check_memory(conn: Connection) -> None:
    for number in range(1_100):
        conn.run(f"SELECT '[1,2,3]'::vector, {number}")
    assert len(conn.session.statements) == 1_000
    assert conn.run("SELECT '[1,2,3]'::vector, 1099") == [[V, 1099]]
    assert formats(conn) == [BINARY, TEXT]
    assert conn.run("SELECT '[1,2,3]'::vector, 0") == [[V, 0]]
    assert formats(conn) == [TEXT, TEXT]


def test_the_extension_goes_and_comes_on_the_same_connection(empty_url: str) -> None:
    with connect(empty_url) as connection:
        for _ in range(3):
            connection.run("CREATE EXTENSION vector; CREATE TABLE IF NOT EXISTS after (id int)")
            for _ in range(2):
                assert connection.run("SELECT '[1,2,3]'::vector") == [[V]]
                assert connection.run("SELECT :v", v=V) == [[V]]
            connection.run("DROP EXTENSION vector")
            with pytest.raises(MissingExtension):
                connection.run("SELECT :v", v=V)
            with pytest.raises(ProgrammingError):
                connection.run("SELECT '[1,2,3]'::vector")


def test_the_extension_is_created_again_by_another_connection(empty_url: str) -> None:
    """Its types have other OIDs then: what was sent by the old ones is sent again by the new ones."""
    with connect(empty_url) as writer, connect(empty_url) as reader, connect(empty_url) as other:
        other.run("CREATE EXTENSION vector")
        for _ in range(3):
            for _ in range(3):
                assert writer.run("SELECT :v", v=V) == [[V]]
                assert reader.run("SELECT '[1,2,3]'::vector") == [[V]]
            other.run("DROP EXTENSION vector; CREATE EXTENSION vector")
        for _ in range(2):
            assert writer.run("SELECT :v", v=V) == [[V]]
            assert reader.run("SELECT '[1,2,3]'::vector") == [[V]]


def test_another_schema(empty_url: str) -> None:
    with connect(empty_url) as connection:
        connection.run("CREATE SCHEMA elsewhere; CREATE EXTENSION vector SCHEMA elsewhere")
        assert connection.extension().schema == "elsewhere"
        assert connection.extension().version >= (0, 8)
        for _ in range(2):
            assert connection.run("SELECT :v, '[1,2,3]'::elsewhere.vector", v=V) == [[V, V]]


def test_a_database_without_pgvector(empty_url: str) -> None:
    with connect(empty_url) as connection:
        for _ in range(2):
            assert connection.run("SELECT :a, 'x', B'101'", a=1) == [[1, "x", Bit("101")]]
        for _ in range(2):
            with pytest.raises(MissingExtension, match="lightvec init-db") as caught:
                connection.run("SELECT :v", v=V)
            assert "CREATE EXTENSION vector" in str(caught.value)
        assert connection.run("SELECT 1") == [[1]]
        assert connection.extension().oids == {}


def test_the_extension_comes_later_from_another_connection(empty_url: str) -> None:
    with connect(empty_url) as connection, connect(empty_url) as reader:
        for early in (connection, reader):
            early.run("SELECT 1")
            assert early.extension().oids == {}
        with connect(empty_url) as other:
            other.run("CREATE EXTENSION vector")
        for _ in range(2):
            assert connection.run("SELECT :v", v=V) == [[V]]
        # One who only reads vectors sees the text of an unknown type once, and asks what it is.
        assert reader.run("SELECT '[1,2,3]'::vector") == [["[1,2,3]"]]
        for _ in range(2):
            assert reader.run("SELECT '[1,2,3]'::vector") == [[V]]


def test_a_type_that_stays_unknown_is_asked_for_once(empty_url: str, conn: Connection) -> None:
    with connect(empty_url) as connection:
        connection.run("CREATE TYPE mood AS ENUM ('good')")
        for _ in range(3):
            assert connection.run("SELECT 'good'::mood") == [["good"]]
        assert connection.session.catalog_is_read


def test_the_look_up_does_not_read_what_the_caller_registered(url: str) -> None:
    with connect(url) as connection:
        for oid in (19, 25, 26):
            connection.register_in_adapter(oid, lambda text: f"<{text}>")
        assert connection.run("SELECT '[1,2,3]'::vector, 'x'::text") == [[V, "<x>"]]


def test_a_decoder_that_fails_fails_its_statement_only(conn: Connection) -> None:
    def broken(text: str) -> int:
        raise KeyError(text)

    conn.register_in_adapter(23, broken)
    with pytest.raises(DataError, match="cannot be read: '42'") as caught:
        conn.run("SELECT 42, generate_series(1, 1000)")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(DataError, match="cannot be read"):
        conn.run("SELECT '24:00'::time")
    assert conn.run("SELECT 'still good'") == [["still good"]]


def test_pg8000s_other_types_still_come_as_pg8000_has_them(conn: Connection) -> None:
    rows = conn.run("""SELECT 1.50, 'a'::"char", '{"a": [1]}'::jsonb, '{1,NULL}'::int[], true, '10:20'::time""")
    assert [str(value) for value in (rows or [[]])[0]] == ["1.50", "a", "{'a': [1]}", "[1, None]", "True", "10:20:00"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT v FROM given",
        " ( SELECT v FROM given)",
        "/* traceparent='00-1' */ SELECT v FROM given",
        "-- a comment\nSELECT v FROM given",
        "SELECT v FROM given WHERE 1 * 2 > 0",
        "values ('[1,2,3]'::vector)",
        "with w as (SELECT v FROM given) SELECT v FROM w",
        "UPDATE given SET v = v RETURNING v",
    ],
)
def test_whatever_gives_rows(sql: str, url: str) -> None:
    """What may change rows asks for binary when it is prepared: before, other columns could not be read any more."""
    with connect(url) as connection:
        connection.run("CREATE TEMPORARY TABLE given AS SELECT '[1,2,3]'::vector AS v")
        for expected in (TEXT, TEXT, BINARY) if sql.startswith(("UPDATE", "with")) else (TEXT, BINARY, BINARY):
            assert connection.run(sql) == [[V]]
            assert formats(connection) == [expected]


def test_a_table_by_its_name(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE named AS SELECT '[1,2,3]'::vector AS v")
    for _ in range(2):
        assert conn.run("TABLE named") == [[V]]
    conn.run("ALTER TABLE named ADD COLUMN n int DEFAULT 7")
    assert conn.run("TABLE named") == [[V, 7]]


def test_whatever_gives_rows_by_name(url: str) -> None:
    with connect(url) as connection:
        connection.run("PREPARE given AS SELECT '[1,2,3]'::vector")
        assert connection.run("EXECUTE given") == [[V]]


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("sql", ["SELECT id, e FROM m", "UPDATE m SET id = id RETURNING id, e"])
@pytest.mark.parametrize(("kind", "found"), [("real[]", [1.0, 2.0]), ("text", "[1,2]"), ("jsonb", [1, 2])])
def test_a_vector_that_became_something_else(
    kind: str, found: object, sql: str, runs: int, prepare: bool, empty_url: str
) -> None:
    """Nobody is given the bytes of a value that was asked for as a vector."""
    with connect(empty_url, prepare=prepare) as conn, connect(empty_url) as other:
        other.run("CREATE EXTENSION vector")
        other.run("CREATE TABLE m (id int, e vector(2)); INSERT INTO m VALUES (1, '[1,2]')")
        for _ in range(runs):
            assert conn.run(sql) == [[1, Vector([1, 2])]]
        other.run(
            f"ALTER TABLE m ALTER e TYPE {kind} USING e::text::{kind}"
            if kind == "jsonb"
            else f"ALTER TABLE m ALTER e TYPE {kind}"
        )
        for _ in range(4):
            assert conn.run(sql) == [[1, found]]


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("way", ["renamed", "path", "setting", "renewed"])
def test_a_query_of_other_columns(way: str, runs: int, prepare: bool, empty_url: str) -> None:
    sql, both = "SELECT id, e FROM m", Vector([1, 2])
    with connect(empty_url, prepare=prepare) as conn, connect(empty_url) as other:
        create = "CREATE TABLE m (id int, e vector(2)); INSERT INTO m VALUES (1, '[1,2]')"
        other.run(f"CREATE EXTENSION vector; {create}; CREATE SCHEMA s2; CREATE TABLE s2.m AS SELECT 2 AS id, 'x' AS e")
        for _ in range(runs):
            assert conn.run(sql) == [[1, both]]
        found: list[object] = [2, "x"]
        settings = {"search_path": "s2"} if way == "setting" else None
        if way == "renamed":
            other.run("ALTER TABLE m RENAME id TO f; ALTER TABLE m RENAME e TO id; ALTER TABLE m RENAME f TO e")
            found = [both, 1]
        elif way == "path":
            conn.run("SET search_path TO s2, public")
        elif way == "renewed":
            other.run(f"DROP TABLE m; DROP EXTENSION vector CASCADE; CREATE EXTENSION vector; {create}")
            found = [1, both]
        for _ in range(4):
            assert conn.run(sql, settings=settings) == [found]


def test_a_query_of_other_columns_within_a_transaction(empty_url: str) -> None:
    with connect(empty_url, prepare=False) as conn:
        conn.run("CREATE EXTENSION vector; CREATE SCHEMA s2; CREATE TABLE s2.m AS SELECT 'x' AS e")
        conn.run("CREATE TABLE m (e vector(2)); INSERT INTO m VALUES ('[1,2]')")
        for _ in range(2):
            assert conn.run("SELECT e, 1 FROM m") == [[Vector([1, 2]), 1]]
        with conn.transaction():
            conn.run("SET LOCAL search_path TO s2")
            for _ in range(3):
                assert conn.run("SELECT e, 1 FROM m") == [["x", 1]]


def test_what_a_function_raises_is_not_run_again(empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE SEQUENCE counter")
        for code in ("0A000", "26000", "XX000"):
            conn.run(
                f"CREATE OR REPLACE FUNCTION fails(b bool) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
                f"PERFORM nextval('counter'); IF b THEN RAISE EXCEPTION 'it' USING ERRCODE = '{code}'; END IF; "
                f"RETURN 1; END $$"
            )
            for _ in range(3):
                conn.run("SELECT fails(:b)", b=False)
            before = conn.run("SELECT last_value FROM counter")[0][0]
            with pytest.raises(DatabaseError) as caught:
                conn.run("SELECT fails(:b)", b=True)
            assert caught.value.sqlstate == code
            assert conn.run("SELECT last_value FROM counter") == [[before + 1]]


def test_a_long_statement_is_not_remembered(url: str) -> None:
    with connect(url) as conn:
        for _ in range(2):
            conn.run(f"SELECT '{'x' * 10_000}'")
        assert len(conn.session.statements) == 0


def prepared(conn: Connection) -> int:
    """How many statements the server has prepared for the connection."""
    count: int = conn.run("SELECT count(*) FROM pg_prepared_statements")[0][0]
    return count


def test_deallocate_leaves_no_prepared_statement_behind(url: str) -> None:
    with connect(url) as conn:
        for number in range(600):
            for _ in range(2):
                conn.run(f"SELECT {number % 50}+0")
            if number % 50 == 49:
                conn.run("PREPARE u AS SELECT 1")
                conn.run("DEALLOCATE u")
        assert prepared(conn) <= 101


@pytest.mark.parametrize("undo", ["ROLLBACK", "ROLLBACK TO s"])
def test_a_change_that_was_rolled_back(undo: str, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE TABLE z (i int); INSERT INTO z VALUES (1)")
        conn.run("BEGIN; SAVEPOINT s")
        conn.run("ALTER TABLE z ADD k int")
        for _ in range(3):
            assert conn.run("SELECT * FROM z") == [[1, None]]
        conn.run(undo)
        if undo == "ROLLBACK":
            conn.run("BEGIN")
        assert conn.run("SELECT * FROM z") == [[1]]
        conn.run("COMMIT")
