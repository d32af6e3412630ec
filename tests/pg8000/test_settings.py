"""Settings of one statement: it sees them, and nothing of them is there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lightvec import Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import DataError, Error, InterfaceError, NotSupportedError, ProgrammingError
from lightvec.wire.settings import AtLeast

SHOWN = "SELECT current_setting('work_mem'), current_setting('hnsw.ef_search', true)"
WANTED: Mapping[str, object] = {"work_mem": "5MB", "hnsw.ef_search": 77}


@pytest.fixture
def usual(conn: Connection) -> list[list[str]]:
    """What the settings are when nobody has set them, with pgvector's library loaded."""
    conn.run("SELECT '[1]'::vector")
    rows = conn.run(SHOWN)
    assert rows is not None
    assert rows[0][1] == "40"
    return rows


def test_they_hold_for_one_statement(conn: Connection, usual: list[list[str]]) -> None:
    for _ in range(2):
        assert conn.run(SHOWN, settings=WANTED) == [["5MB", "77"]]
        assert conn.run(SHOWN) == usual
        assert conn.run(SHOWN + ", :v", settings=WANTED, v=Vector([1])) == [["5MB", "77", Vector([1])]]
        assert conn.run(SHOWN + ", :a", a=1) == [[*usual[0], 1]]
    assert not conn.in_transaction


def test_they_hold_before_the_library_is_loaded(url: str) -> None:
    """hnsw.* are placeholders until then, and become real settings with this value."""
    with connect(url) as connection:
        sql = "SELECT current_setting('hnsw.ef_search'), '[1]'::vector"
        assert connection.run(sql, settings={"hnsw.ef_search": 55}) == [["55", Vector([1])]]
        assert connection.run("SHOW hnsw.ef_search") == [["40"]]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_inside_a_transaction_the_former_values_come_back(end: str, conn: Connection, usual: list[list[str]]) -> None:
    conn.run("BEGIN; SET LOCAL work_mem = '6MB'; SET LOCAL hnsw.ef_search = 66")
    for _ in range(2):
        assert conn.run(SHOWN, settings=WANTED) == [["5MB", "77"]]
        assert conn.run(SHOWN) == [["6MB", "66"]]
    conn.run(end)
    assert conn.run(SHOWN) == usual


def test_inside_a_transaction_what_nobody_set_is_the_default_again(conn: Connection, usual: list[list[str]]) -> None:
    with conn.transaction():
        assert conn.run(SHOWN, settings=WANTED) == [["5MB", "77"]]
        assert conn.run(SHOWN) == usual
    assert conn.run(SHOWN) == usual


def test_a_setting_that_did_not_exist(conn: Connection) -> None:
    sql = "SELECT nullif(current_setting('my.own', true), '')"
    for _ in range(2):
        assert conn.run(sql, settings={"my.own": "here"}) == [["here"]]
        assert conn.run(sql) == [[None]]
        with conn.transaction():
            assert conn.run(sql, settings={"my.own": "here"}) == [["here"]]
            assert conn.run(sql) == [[None]]


def test_the_sessions_own_values_stay(conn: Connection) -> None:
    conn.run("SELECT '[1]'::vector; SET work_mem = '7MB'; SET hnsw.ef_search = 70")
    for inside in (False, True):
        if inside:
            conn.run("BEGIN")
        assert conn.run(SHOWN, settings=WANTED) == [["5MB", "77"]]
        assert conn.run(SHOWN) == [["7MB", "70"]]
    conn.run("COMMIT")
    assert conn.run(SHOWN) == [["7MB", "70"]]


def test_a_transaction_that_began_by_itself(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    cursor.execute("SELECT '[1]'::vector")
    former = cursor.execute(SHOWN).fetchall()
    dbapi_conn.commit()
    assert cursor.execute(SHOWN, settings=WANTED).fetchall() == [("5MB", "77")]
    assert cursor.execute(SHOWN).fetchall() == former
    dbapi_conn.rollback()
    assert cursor.execute(SHOWN).fetchall() == former
    sql = f"{SHOWN}, %s"
    assert cursor.execute(sql, [1], settings=WANTED).fetchall() == [("5MB", "77", 1)]


def test_at_least(conn: Connection, usual: list[list[str]]) -> None:
    sql = "SELECT current_setting('hnsw.ef_search')"
    assert conn.run(sql, settings={"hnsw.ef_search": AtLeast(100, 40)}) == [["100"]]
    assert conn.run(sql, settings={"hnsw.ef_search": AtLeast(10, 40)}) == [["40"]]
    conn.run("SET hnsw.ef_search = 300")
    assert conn.run(sql, settings={"hnsw.ef_search": AtLeast(100, 40)}) == [["300"]]
    with conn.transaction():
        assert conn.run(sql, settings={"hnsw.ef_search": AtLeast(400, 40)}) == [["400"]]
        assert conn.run(sql) == [["300"]]


def test_at_least_before_the_library_is_loaded(url: str) -> None:
    sql = "SELECT current_setting('hnsw.ef_search')"
    for value, expected in ((10, "40"), (100, "100")):
        with connect(url) as connection:
            for _ in range(2):
                assert connection.run(sql, settings={"hnsw.ef_search": AtLeast(value, 40)}) == [[expected]]


def test_booleans(conn: Connection) -> None:
    for value, expected in ((True, "on"), (False, "off")):
        assert conn.run("SHOW enable_seqscan", settings={"enable_seqscan": value}) == [[expected]]
    assert conn.run("SHOW enable_seqscan") == [["on"]]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"work_mem": "5MB", "no_such_setting": 1}, ProgrammingError),
        ({"hnsw.ef_search": 1_000_000}, DataError),
        ({"work_mem": "much"}, DataError),
        ({"work_mem": "5MB", "max_connections": 5}, Error),
        ({"": 1}, Error),
        ({"work_mem": "a\x00"}, DataError),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_setting_that_cannot_be(
    settings: dict[str, object], error: type[Exception], inside: bool, conn: Connection, usual: list[list[str]]
) -> None:
    conn.run("CREATE TEMPORARY TABLE ran (id int)")
    if inside:
        conn.run("BEGIN; SAVEPOINT here")
    with pytest.raises(error):
        conn.run("INSERT INTO ran VALUES (1)", settings=settings)
    if inside:
        conn.run("ROLLBACK TO here")
    assert conn.run("SELECT count(*) FROM ran") == [[0]]
    assert conn.run(SHOWN) == usual


def test_the_statement_fails(conn: Connection, usual: list[list[str]]) -> None:
    with pytest.raises(DataError):
        conn.run("SELECT 1/0", settings=WANTED)
    assert conn.run(SHOWN) == usual
    with conn.transaction():
        with pytest.raises(DataError), conn.transaction():
            conn.run("SELECT 1/0", settings=WANTED)
        assert conn.run(SHOWN) == usual


def test_several_statements_are_refused(conn: Connection, usual: list[list[str]]) -> None:
    with pytest.raises(InterfaceError, match="one by one"):
        conn.run("SELECT 1; SELECT 2", settings=WANTED)
    assert conn.run(SHOWN) == usual


def test_one_setting_twice_in_a_row_within_a_transaction(conn: Connection, usual: list[list[str]]) -> None:
    """The place where the former value is kept is used again, for another setting."""
    with conn.transaction():
        assert conn.run("SHOW work_mem", settings={"work_mem": "5MB", "hnsw.ef_search": 77}) == [["5MB"]]
        assert conn.run("SHOW hnsw.ef_search", settings={"hnsw.ef_search": 78}) == [["78"]]
        assert conn.run("SHOW hnsw.ef_search", settings={"hnsw.ef_search": 79, "work_mem": "8MB"}) == [["79"]]
        assert conn.run(SHOWN) == usual


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "/* a */ start transaction",
        "SAVEPOINT b",
        "ROLLBACK TO a",
        "RELEASE a",
        "END",
        "PREPARE TRANSACTION 'c'",
    ],
)
def test_the_ends_of_a_transaction_are_refused(sql: str, conn: Connection, usual: list[list[str]]) -> None:
    """They would keep the settings for what follows, or restore those of an earlier statement."""
    if sql not in ("BEGIN", "/* a */ start transaction"):
        conn.run("BEGIN; SAVEPOINT a")
    status = conn.in_transaction
    with pytest.raises(InterfaceError, match="begins or ends a transaction"):
        conn.run(sql, settings=WANTED)
    with pytest.raises(InterfaceError, match="begins or ends a transaction"):
        list(conn.stream(sql, settings=WANTED))
    assert conn.in_transaction == status
    assert conn.run(SHOWN) == usual
    conn.run("ROLLBACK")


@pytest.mark.parametrize("sql", ["VACUUM", "CREATE INDEX CONCURRENTLY ON lone (id)", "CALL ends()"])
def test_what_cannot_run_in_a_transaction_says_what_to_do(sql: str, conn: Connection, url: str) -> None:
    conn.run("CREATE TABLE IF NOT EXISTS lone (id int)")
    conn.run("CREATE OR REPLACE PROCEDURE ends() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
    with pytest.raises(Error, match="run it without, between SET and RESET") as caught:
        conn.run(sql, settings={"work_mem": "5MB"})
    assert getattr(caught.value, "sqlstate", None) in ("25001", "2D000")
    with dbapi.connect(url) as implicit, pytest.raises(Error, match="set autocommit = True"):
        implicit.cursor().execute(sql)
    conn.run("DROP TABLE lone; DROP PROCEDURE ends")


@pytest.mark.parametrize("name", ["hnsw.iterative_scan", "ivfflat.max_probes"])
def test_settings_of_a_newer_pgvector(make_database: Callable[[], str], name: str) -> None:
    """Where pgvector is not loaded yet, the server would take them, and drop them when it is."""
    version = "UPDATE pg_extension SET extversion = :version WHERE extname = 'vector'"
    url = make_database()
    with connect(url) as admin, connect(url) as conn:
        admin.run("CREATE EXTENSION vector")
        ((installed,),) = admin.run("SELECT extversion FROM pg_extension WHERE extname = 'vector'") or []
        admin.run(version, version="0.7.4")
        message = rf"{name} needs pgvector 0\.8, this database has 0\.7\.4: .*ALTER EXTENSION vector UPDATE"
        for sql in ("SELECT 1", "SELECT '[1]'::vector"):
            with pytest.raises(NotSupportedError, match=message):
                conn.run(sql, settings={name: 1})
            with pytest.raises(NotSupportedError, match=message):
                list(conn.stream(sql, settings={"work_mem": "5MB", name: 1}))
        assert conn.run("SELECT 1", settings={"hnsw.ef_search": 50}) == [[1]]
        with conn.transaction(), pytest.raises(NotSupportedError, match=message):
            conn.run("SELECT 1", settings={name: 1})
        admin.run(version, version=installed)
        value = "7" if name.endswith("probes") else "strict_order"
        shown = f"SELECT current_setting('{name}')"
        assert conn.run(shown, settings={name: value}) == [[value]], "it was updated meanwhile"
