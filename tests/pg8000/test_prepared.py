"""Statements that come again are prepared on a direct connection, and nobody notices but by the time they take."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import peewee
import pytest
import sqlalchemy.exc

from lightvec import HalfVector, Vector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.dbapi import DataError, Error
from tests.pg8000.faces import FACES, Face, opened

#: Often enough for a statement to be prepared, whatever the threshold is.
AGAIN = 6

#: What the four ways raise for what the server reports.
DRIVERS_ERRORS = (Error, sqlalchemy.exc.DBAPIError, peewee.PeeweeException)

_numbers = count(1)


@pytest.fixture
def other(url: str) -> Iterator[Connection]:
    """Another connection, which changes what the first one has seen."""
    with connect(url) as connection:
        yield connection


@pytest.fixture
def table(other: Connection) -> Iterator[str]:
    """A table with two rows."""
    name = f"prepared_{next(_numbers)}"
    create(other, name)
    yield name
    ((kind,),) = other.run("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:name)", name=name)
    other.run(f"DROP {'VIEW' if kind == 'v' else 'TABLE'} {name}")


def create(connection: Any, name: str) -> None:
    connection.run(f"CREATE TABLE {name} (id serial, name text, v vector(2), note text)")
    connection.run(f"INSERT INTO {name} (name, v) VALUES ('a', '[1,2]'), ('b', '[3,4]')")


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, url: str) -> Iterator[Face]:
    with opened(request.param, url) as face:
        yield face


def named(face: Any, part: str) -> list[str]:
    """The names of the statements on this session whose text has this part."""
    rows = face.run(f"SELECT name, statement FROM pg_prepared_statements WHERE statement LIKE '%' || '{part}' || '%'")
    return [name for name, statement in rows if "pg_prepared_statements" not in statement]


def run_often(face: Any, sql: str, **params: Any) -> Any:
    rows = None
    for _ in range(AGAIN):
        rows = face.run(sql, **params)
    return rows


# What is prepared


def test_a_statement_that_comes_again_is_prepared(face: Face) -> None:
    sql = "SELECT CAST(:a AS int) + 1 AS marked_one, CAST(:v AS vector) AS w"
    face.run(sql, a=1, v=Vector([1]))
    assert named(face, "marked_one") == [], "once is not again"
    for number in range(AGAIN):
        assert face.run(sql, a=number, v=Vector([number])) == [(number + 1, Vector([number]))]
    assert len(named(face, "marked_one")) == 1


@pytest.mark.parametrize("name", FACES)
def test_nothing_is_prepared_where_it_is_switched_off(name: str, url: str) -> None:
    with opened(name, url, prepare=False) as face:
        for number in range(AGAIN):
            assert face.run("SELECT CAST(:a AS int) AS marked_off", a=number) == [(number,)]
        assert face.run("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


@pytest.mark.parametrize("dsn", ["{}&prepare=false", "{}&prepare=true"])
def test_prepare_is_no_parameter_of_a_url(dsn: str, url: str) -> None:
    with pytest.raises(ValueError, match="prepare"):
        connect(dsn.format(url))


def test_no_more_round_trips(relayed: Connection, relay: Any) -> None:
    for number in range(2 * AGAIN):
        with relay.recording() as record:
            assert relayed.run("SELECT CAST(:a AS int) AS marked_trip", a=number) == [[number]]
        assert record.round_trips == 1
    assert len(named(relayed, "marked_trip")) == 1
    assert b"marked_trip" not in record.data("client"), "the text goes no more"


def test_names_are_no_other_connections(url: str) -> None:
    """A session that is shared without a word (PGlite) has statements of strangers: none may have the same name."""
    names = []
    for number in range(5):
        with connect(url) as connection:
            for text in ("a", "b"):
                run_often(connection, f"SELECT CAST(:n AS int) AS marked_name_{text}", n=number)
            names += named(connection, "marked_name")
    assert len(names) == 10
    assert len(set(names)) == 10
    for first in names[:2]:
        for second in names[2:]:
            assert first[:6] != second[:6], "the random part stands in front"


def test_only_so_many_are_kept(conn: Connection) -> None:
    kept = []
    for number in range(600):
        sql = f"SELECT CAST(:n AS int) AS marked_many_{number}_"
        for _ in range(AGAIN):
            assert conn.run(sql, n=number) == [[number]]
        if number % 100 == 99:
            kept.append(len(named(conn, "marked_many_")))
    assert 0 < kept[-1] <= 300
    assert kept[-1] == kept[-2], "no more than that"
    assert len(named(conn, "marked_many_599_")) == 1
    assert named(conn, "marked_many_0_") == [], "the oldest was closed"
    for _ in range(AGAIN):
        assert conn.run("SELECT CAST(:n AS int) AS marked_many_0_", n=7) == [[7]]
    assert len(named(conn, "marked_many_0_")) == 1


def test_the_one_in_use_is_kept(conn: Connection) -> None:
    for number in range(400):
        run_often(conn, f"SELECT CAST(:n AS int) AS marked_rare_{number}", n=number)
        assert conn.run("SELECT CAST(:n AS int) AS marked_often", n=number) == [[number]]
    assert len(named(conn, "marked_often")) == 1


def test_several_statements_are_not_prepared(conn: Connection) -> None:
    for _ in range(AGAIN):
        conn.run("SELECT 1 AS marked_several; SELECT 2")
    assert named(conn, "marked_several") == []


def test_utilities_that_come_again(conn: Connection) -> None:
    """They may be prepared or not; each takes effect."""
    for number in range(AGAIN):
        conn.run("BEGIN")
        conn.run("CREATE TEMPORARY TABLE utility (id int) ON COMMIT DROP")
        conn.run("INSERT INTO utility VALUES (:id)", id=number)
        assert conn.run("SELECT id FROM utility") == [[number]]
        conn.run("COMMIT")
        conn.run("VACUUM pg_namespace")


# Values


def test_other_types_for_the_same_text(face: Face, url: str) -> None:
    """The type of a parameter is a part of what is prepared."""
    values: list[Any] = [1, "x", 2**40, Decimal("1.5"), date(2024, 1, 2), True, None, Vector([1]), HalfVector([1])]
    sql = "SELECT CAST(:value AS text) AS value"
    expected = [fresh_rows(url, sql, value=value) for value in values]
    for _ in range(AGAIN):
        assert [face.run(sql, value=value) for value in values] == expected


def test_nulls(face: Face) -> None:
    sql = "SELECT CAST(:a AS int), CAST(:b AS text), CAST(:v AS vector), CAST(:c AS int) IS NULL"
    for number in range(2 * AGAIN):
        a, b, v, c = (None if number >> place & 1 else value for place, value in enumerate((1, "x", Vector([1, 2]), 2)))
        assert face.run(sql, a=a, b=b, v=v, c=c) == [(a, b, v, c is None)]


def test_values_of_all_lengths(face: Face) -> None:
    for size in (0, 1, 100, 10_000, 200_000, 3):
        text = "é" * size
        assert face.run("SELECT CAST(:a AS text), CAST(:a AS text)", a=text) == [(text, text)]


def test_rows_of_all_numbers(face: Face) -> None:
    for number in (1, 0, 1, 2, 0, 5_000, 1, 0):
        rows = face.run("SELECT g, g::text FROM generate_series(1, :n) g", n=number)
        assert rows == [(each, str(each)) for each in range(1, number + 1)]


def test_settings(url: str) -> None:
    with connect(url) as connection:
        for number in range(2 * AGAIN):
            settings = {"hnsw.ef_search": 100 + number} if number % 3 else None
            row = connection.run(
                "SELECT coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40'), CAST(:n AS int)",
                settings=settings,
                n=number,
            )[0]
            assert row == [str(100 + number) if settings else "40", number]


def test_no_counting_of_what_ran_is_lost(face: Face, table: str) -> None:
    for number in range(AGAIN):
        face.run(f"UPDATE {table} SET name = :name", name=str(number))
        assert face.run(f"SELECT DISTINCT name FROM {table}") == [(str(number),)]


# Errors


def test_errors_of_prepared_statements(face: Face) -> None:
    sql = "SELECT 1 / CAST(:n AS int)"
    for _ in range(AGAIN):
        assert face.run(sql, n=1) == [(1,)]
        with pytest.raises(Exception, match="division by zero"):
            face.run(sql, n=0)
    assert face.run("SELECT count(*) FROM pg_prepared_statements") != []


def test_nothing_is_prepared_in_a_failed_transaction(conn: Connection) -> None:
    """What the server refuses to parse there is not believed to be prepared afterwards."""
    sql = "SELECT CAST(:n AS int) AS marked_failed"
    conn.run("BEGIN")
    with pytest.raises(DataError):
        conn.run("SELECT 1 / 0")
    for _ in range(AGAIN):
        with pytest.raises(Error) as caught:
            conn.run(sql, n=1)
        assert caught.value.sqlstate == "25P02"
    conn.run("ROLLBACK")
    for _ in range(AGAIN):
        assert conn.run(sql, n=1) == [[1]]
    conn.run("BEGIN")
    with pytest.raises(DataError):
        conn.run("SELECT 1 / 0")
    with pytest.raises(Error) as caught:
        conn.run(sql, n=1)
    assert caught.value.sqlstate == "25P02"
    conn.run("ROLLBACK")
    assert conn.run(sql, n=1) == [[1]]


def test_statements_that_cannot_be_parsed(conn: Connection) -> None:
    for _ in range(AGAIN):
        with pytest.raises(Error) as caught:
            conn.run("SELECT :n FROM not_there", n=1)
        assert caught.value.sqlstate == "42P01"
    conn.run("CREATE TEMPORARY TABLE not_there AS SELECT 1 AS id")
    assert run_often(conn, "SELECT CAST(:n AS int) FROM not_there", n=1) == [[1]]


def test_prepared_within_what_was_rolled_back(conn: Connection) -> None:
    """Statements outlive the transaction that they were prepared in, on the server and here."""
    sql = "SELECT CAST(:n AS int) AS marked_back"
    conn.run("BEGIN")
    run_often(conn, sql, n=1)
    conn.run("ROLLBACK")
    assert run_often(conn, sql, n=2) == [[2]]
    assert len(named(conn, "marked_back")) == 1


# What others change

CHANGES = {
    "add": ["ALTER TABLE {t} ADD COLUMN extra text DEFAULT 'x'"],
    "add_vector": ["ALTER TABLE {t} ADD COLUMN extra vector(1) DEFAULT '[7]'"],
    "drop": ["ALTER TABLE {t} DROP COLUMN note"],
    "drop_vector": ["ALTER TABLE {t} DROP COLUMN v"],
    "swap": ["ALTER TABLE {t} DROP COLUMN v", "ALTER TABLE {t} ADD COLUMN w text DEFAULT 'x'"],
    "swap_into_vector": ["ALTER TABLE {t} DROP COLUMN note", "ALTER TABLE {t} ADD COLUMN w vector DEFAULT '[5]'"],
    "type": ["ALTER TABLE {t} ALTER COLUMN name TYPE int USING 7"],
    "vector_to_halfvec": ["ALTER TABLE {t} ALTER COLUMN v TYPE halfvec(2)"],
    "vector_to_text": ["ALTER TABLE {t} ALTER COLUMN v TYPE text"],
    "text_to_vector": ["ALTER TABLE {t} ALTER COLUMN name TYPE vector USING '[5]'"],
    "rename": ["ALTER TABLE {t} RENAME COLUMN note TO remark"],
    "new_table": [
        "DROP TABLE {t}",
        "CREATE TABLE {t} (v vector, id int)",
        "INSERT INTO {t} VALUES ('[9]', 1), (NULL, 2)",
    ],
    "table_to_view": ["DROP TABLE {t}", "CREATE VIEW {t} AS SELECT 5 AS id, '[1]'::vector AS v", "SELECT 1"],
}
OWN_CHANGES = {
    "discard": ["DISCARD ALL"],
    "deallocate": ["DEALLOCATE ALL"],
    "search_path": ["SET search_path TO elsewhere, public"],
}


def change(by: Any, sqls: list[str], table: str, *, hidden: bool = False) -> None:
    for sql in sqls:
        text = sql.format(t=table)
        if hidden and not text.startswith(("DISCARD", "SELECT")):
            by.run(f"DO $do$ BEGIN EXECUTE $sql${text}$sql$; END $do$")
        else:
            by.run(text)


@pytest.fixture
def elsewhere(other: Connection, table: str) -> Iterator[None]:
    """A schema with a table of the same name and other columns."""
    other.run("DROP SCHEMA IF EXISTS elsewhere CASCADE; CREATE SCHEMA elsewhere")
    other.run(f"CREATE TABLE elsewhere.{table} AS SELECT 3 AS id, 'there' AS text, '[8]'::vector AS w")
    yield
    other.run("DROP SCHEMA elsewhere CASCADE")


def fresh_rows(url: str, sql: str, path: str | None = None, **params: Any) -> list[tuple[Any, ...]]:
    with opened("native", url) as fresh:
        if path:
            fresh.run(path)
        return fresh.run(sql, **params)


@pytest.mark.parametrize("hidden", [False, True], ids=["told", "hidden"])
@pytest.mark.parametrize("own", [False, True], ids=["by_another", "by_itself"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_table_that_changes(
    kind: str, own: bool, hidden: bool, face: Face, other: Connection, table: str, url: str
) -> None:
    """Outside a transaction the caller notices nothing."""
    sql = f"SELECT * FROM {table} WHERE id >= :least ORDER BY id"
    first = run_often(face, sql, least=0)
    assert first == fresh_rows(url, sql, least=0)
    change(face if own else other, CHANGES[kind], table, hidden=hidden)
    expected = fresh_rows(url, sql, least=0)
    for _ in range(AGAIN):
        assert face.run(sql, least=0) == expected


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("hidden", [False, True], ids=["told", "hidden"])
@pytest.mark.parametrize("kind", OWN_CHANGES)
def test_a_session_that_changes(kind: str, hidden: bool, face: Face, table: str, url: str) -> None:
    sql = f"SELECT * FROM {table} WHERE id >= :least ORDER BY id"
    run_often(face, sql, least=0)
    change(face, OWN_CHANGES[kind], table, hidden=hidden)
    expected = fresh_rows(url, sql, OWN_CHANGES[kind][0], least=0)
    for _ in range(AGAIN):
        assert face.run(sql, least=0) == expected


@pytest.mark.parametrize("kind", [*CHANGES, "deallocate"])
def test_within_a_transaction(kind: str, face: Face, other: Connection, table: str, url: str) -> None:
    """It cannot be sent again there: an error, or the right rows. The connection goes on after the rollback."""
    sql = f"SELECT * FROM {table} WHERE id >= :least ORDER BY id"
    run_often(face, sql, least=0)
    if kind == "deallocate":
        face.run("DEALLOCATE ALL")
    else:
        change(other, CHANGES[kind], table)
    expected = fresh_rows(url, sql, least=0)
    face.begin()
    face.run("SELECT 1")
    try:
        assert face.run(sql, least=0) == expected
    except DRIVERS_ERRORS as error:
        check_is_clear(error)
    face.rollback()
    for _ in range(AGAIN):
        assert face.run(sql, least=0) == expected


def check_is_clear(error: Exception) -> None:
    """Peewee and SQLAlchemy wrap what the driver says."""
    assert "run it again" in str(error), f"an error that says what to do, not {error!r}"
    inner = getattr(error, "orig", None) or error
    assert not getattr(inner, "in_doubt", False)


def test_a_transaction_that_changes_its_own_table(face: Face, table: str, url: str) -> None:
    sql = f"SELECT * FROM {table} WHERE id >= :least ORDER BY id"
    run_often(face, sql, least=0)
    before = fresh_rows(url, sql, least=0)
    face.begin()
    face.run(f"ALTER TABLE {table} ADD COLUMN extra int DEFAULT 5")
    try:
        assert face.run(sql, least=0) == [(*row, 5) for row in before]
    except DRIVERS_ERRORS as error:
        check_is_clear(error)
    face.rollback()
    assert face.run(sql, least=0) == before


# Writes whose columns changed

SWAPS = {
    "text_for_text": ("note", "ADD COLUMN w text DEFAULT 'x'"),
    "text_for_int": ("note", "ADD COLUMN w int DEFAULT 5"),
    "vector_for_text": ("v", "ADD COLUMN w text DEFAULT 'x'"),
    "vector_for_bytea": ("v", "ADD COLUMN w bytea DEFAULT 'x'"),
    "vector_for_halfvec": ("v", "ADD COLUMN w halfvec DEFAULT '[1]'"),
    "text_for_vector": ("note", "ADD COLUMN w vector DEFAULT '[1]'"),
}


@pytest.mark.parametrize("within", [False, True], ids=["autocommit", "transaction"])
@pytest.mark.parametrize("prepare", [None, False], ids=["prepared", "unprepared"])
@pytest.mark.parametrize("kind", SWAPS)
@pytest.mark.parametrize("name", FACES)
def test_a_write_is_done_once_or_not_at_all(
    name: str, kind: str, prepare: bool | None, within: bool, other: Connection, table: str, url: str
) -> None:
    """Each call stores one row and returns it, or stores none and raises."""
    options = {} if prepare is None else {"prepare": prepare}
    gone, added = SWAPS[kind]
    sql = f"INSERT INTO {table} (name) VALUES (:name) RETURNING *"
    with opened(name, url, **options) as face:
        for number in range(2):
            assert face.run(sql, name=f"before {number}") == [(3 + number, f"before {number}", None, None)]
        other.run(f"ALTER TABLE {table} DROP COLUMN {gone}, {added}")
        done = 0
        for number in range(3):
            done += stored(face, sql, f"after {number}", other, table, within=within)
        assert done >= (2 if within else 3), "it goes on with the new columns"


def stored(face: Face, sql: str, name: str, other: Connection, table: str, *, within: bool) -> bool:
    """Whether the row was stored; the test fails if the call said something else."""
    question = f"SELECT * FROM {table} WHERE name = :name"
    rows, error = None, None
    if within:
        face.begin()
    try:
        rows = face.run(sql, name=name)
    except DRIVERS_ERRORS as raised:
        error = raised
    if within:
        face.commit() if error is None else face.rollback()
    found = [tuple(row) for row in other.run(question, name=name)]
    assert found == (rows or []), f"stored once and returned, or not at all: {error}"
    assert not getattr(getattr(error, "orig", None) or error, "in_doubt", False)
    return error is None
