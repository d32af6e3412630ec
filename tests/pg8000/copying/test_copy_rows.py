"""Rows into a table: what goes over the wire, what is refused, and that a failed load leaves nothing behind."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pgvector
import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector, LightvecError
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from lightvec.wire.copy.load import copy_columns, copy_rows
from tests.pg8000.roundtrips import CLIENT, Relay

ROOT = Path(__file__).parents[3]
COLUMNS = ["id", "title", "embedding"]
ROWS = [(1, "a", Vector([1, 2])), [2, None, [3, 4]], (3, "c", None)]
STORED = [[1, "a", Vector([1, 2])], [2, None, Vector([3, 4])], [3, "c", None]]


@pytest.fixture(autouse=True)
def table(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, title text, embedding vector(2), span int4range)")


def stored(conn: Connection) -> Any:
    return conn.run("SELECT id, title, embedding FROM item ORDER BY id")


def is_good(conn: Connection) -> bool:
    return not conn.in_transaction and conn.run("SELECT count(*) FROM item") == [[0]]


def test_rows(conn: Connection) -> None:
    assert copy_rows(conn.session, "item", COLUMNS, ROWS) == 3
    assert stored(conn) == STORED


@pytest.mark.parametrize("make", [iter, tuple, list, lambda rows: (row for row in rows)])
def test_any_iterable(make: Any, conn: Connection) -> None:
    assert copy_rows(conn.session, "item", tuple(COLUMNS), make(ROWS)) == 3
    assert stored(conn) == STORED


@pytest.mark.parametrize("column", ["id int", "id int4range"], ids=["binary", "text"])
def test_values_of_pgvectors_package(column: str, conn: Connection) -> None:
    v, h, b = pgvector.Vector([1, 2]), pgvector.HalfVector([1, 2]), pgvector.Bit("101")
    s = pgvector.SparseVector({1: 2}, 4)
    conn.run(f"CREATE TEMPORARY TABLE theirs ({column}, v vector, h halfvec, s sparsevec, b bit(3), a vector[])")
    names = ["v", "h", "s", "b", "a"]
    copy_rows(conn.session, "theirs", ["id", *names], [(None, v, h, s, b, [v, None])])
    copy_columns(conn.session, "theirs", {"id": [None], "v": [v], "h": [h], "s": [s], "b": [b], "a": [[v, None]]})
    expected = [Vector([1, 2]), HalfVector([1, 2]), SparseVector({1: 2}, 4), Bit("101"), [Vector([1, 2]), None]]
    assert conn.run(f"SELECT {', '.join(names)} FROM theirs") == [expected, expected]


def test_nothing(conn: Connection) -> None:
    seen: list[int] = []
    assert copy_rows(conn.session, "item", COLUMNS, [], progress=seen.append) == 0
    assert copy_rows(conn.session, "item", COLUMNS, [], on_conflict="update") == 0
    assert (stored(conn), seen) == ([], [0])


def test_on_the_wire(relay: Relay) -> None:
    """Two round trips: the columns' types, the rows; a block is one CopyData message."""
    with connect(relay.url) as conn:
        conn.run("CREATE TEMPORARY TABLE small (id int, v vector(1))")
        with relay.recording() as record:
            copy_rows(conn.session, "small", ["id", "v"], [(1, [1.0]), (None, None)])
    codes = record.codes(CLIENT)
    assert codes == "PBDES" + "Q" + "ddd" + "c"
    rows = b"".join(message.body for message in record.messages(CLIENT) if message.code == "d")
    assert rows == bytes.fromhex(
        "5047434f50590aff0d0a00 00000000 00000000"
        "0002 00000004 00000001 00000008 0001 0000 3f800000"
        "0002 ffffffff ffffffff"
        "ffff"
    )


def test_progress(conn: Connection) -> None:
    seen: list[int] = []
    rows = ((number, "x" * 1000, None) for number in range(1000))
    assert copy_rows(conn.session, "item", COLUMNS, rows, progress=seen.append) == 1000
    assert seen == sorted(seen)
    assert len(seen) > 4
    assert seen[-1] == 1000


def test_text_where_a_type_has_no_binary_form(conn: Connection) -> None:
    conn.run("CREATE TYPE pg_temp.pair AS (a int, b text)")
    conn.run(
        "CREATE TEMPORARY TABLE other (r int4range, p pg_temp.pair, h hstore, i inet, v vector(2), t text, b bytea,"
        " j jsonb, n numeric, a text[], va vector[])"
    )
    columns = ["r", "p", "h", "i", "v", "t", "b", "j", "n", "a", "va"]
    awkward = "\\N\t\n\r\\.'\"{}é"
    row = [
        *("[1,3)", (1, awkward), "a=>1", "10.0.0.1", [1, 2], awkward),
        *(b"\\\x00\n", {"k": awkward}, 0.1 + 0.2, [awkward, None, "NULL"], [[1, 2], None]),
    ]
    assert (
        copy_rows(conn.session, "other", columns, [row, [None] * 11, ["empty", *[None] * 4, "\\.", *[None] * 5]]) == 3
    )
    rows = conn.run("SELECT r::text, (p).b, h -> 'a', i::text, v, t, b, j, n::text, a, va FROM other")
    assert rows is not None
    assert rows[0] == [
        *("[1,3)", awkward, "1", "10.0.0.1/32", Vector([1, 2]), awkward, b"\\\x00\n", {"k": awkward}, "0.3"),
        *([awkward, None, "NULL"], [Vector([1, 2]), None]),
    ]
    assert rows[1:] == [[None] * 11, ["empty", *[None] * 4, "\\.", *[None] * 5]]


def test_another_client_encoding(conn: Connection) -> None:
    conn.run("SET client_encoding = latin1")
    copy_rows(conn.session, "item", COLUMNS, [(1, "é€", [1, 2])])
    conn.run("SET client_encoding = utf8")
    assert stored(conn) == [[1, "é€", Vector([1, 2])]]


@pytest.mark.parametrize("name", ['a "b', "Item", "select", "x;drop table item", "é\\", "%s :a $1", "a.b"])
def test_hostile_names(name: str, conn: Connection) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    conn.run(f"CREATE TEMPORARY TABLE {quoted} ({quoted} int PRIMARY KEY, note text)")
    for on_conflict in (None, "ignore", "update"):
        expected = 0 if on_conflict == "ignore" else 1
        assert copy_rows(conn.session, name, [name, "note"], [(1, "x")], on_conflict=on_conflict) == expected
    assert copy_rows(conn.session, ("pg_temp", name), [name], [[2]]) == 1
    assert conn.run(f"SELECT {quoted} FROM {quoted} ORDER BY 1") == [[1], [2]]


def test_a_schema(conn: Connection) -> None:
    conn.run("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.item (id int)")
    try:
        assert copy_rows(conn.session, ("elsewhere", "item"), ["id"], [[1]]) == 1
        assert is_good(conn)
        with pytest.raises(ProgrammingError, match=r'no table "elsewhere"."thing": correct'):
            copy_rows(conn.session, ("elsewhere", "thing"), ["id"], [[1]])
    finally:
        conn.run("DROP SCHEMA elsewhere CASCADE")


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("name", "columns", "cls", "message"),
    [
        ("nowhere", ["id"], ProgrammingError, "no table \"nowhere\" in the search path: .*'public', 'nowhere'"),
        ("public.item", ["id"], ProgrammingError, r"in a schema is a tuple, \('public', 'item'\)"),
        ("a.b.c", ["id"], ProgrammingError, r"in a schema is a tuple, \('a', 'b.c'\)"),
        ("item", ["id", "titel"], ProgrammingError, "no column 'titel': it has 'id', 'title', 'embedding', 'span'"),
        ("item", "id", InterfaceError, "as a list of str, got 'id'"),
        ("item", [], InterfaceError, "names of the columns"),
        ("item", [1], InterfaceError, "names of the columns"),
        ("item", ["id", "id"], InterfaceError, "'id' more than once"),
        ("", ["id"], InvalidOption, "at least one character"),
    ],
)
def test_names_that_are_not_there(
    name: str, columns: Any, cls: type[Exception], message: str, conn: Connection
) -> None:
    def rows() -> Iterator[Any]:
        yield from failing(AssertionError("no row is asked for"), 0)

    with pytest.raises(cls, match=message):
        copy_rows(conn.session, name, columns, rows())
    assert is_good(conn)


def test_an_unknown_on_conflict(conn: Connection) -> None:
    with pytest.raises(InvalidOption, match='None, "ignore" or "update", got \'replace\''):
        copy_rows(conn.session, "item", COLUMNS, ROWS, on_conflict="replace")


# What fails on the way


@pytest.mark.parametrize("columns", [["id", "title"], ["id", "span"]])
def test_the_row_that_the_server_refuses(columns: list[str], conn: Connection) -> None:
    with pytest.raises(IntegrityError, match=r"duplicate key.*; it was row 3,001 of the load"):
        copy_rows(conn.session, "item", columns, ((number % 3_000, None) for number in range(5_000)))
    assert is_good(conn)


def test_an_error_that_is_not_about_a_row_names_none(conn: Connection) -> None:
    """As where Citus cannot send to a worker: it happens at a row, whose values are good."""
    conn.run("""
        CREATE FUNCTION pg_temp.fails() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'cannot send' USING ERRCODE = TG_ARGV[0]; END $$;
        CREATE TEMPORARY TABLE sent (id int);
        CREATE TRIGGER fails BEFORE INSERT ON sent FOR EACH ROW EXECUTE FUNCTION pg_temp.fails('58030')""")
    with pytest.raises(OperationalError) as caught:
        copy_rows(conn.session, "sent", ["id"], [(1,)])
    assert "COPY sent, line 1" in caught.value.args[0]["W"]
    assert "row 1" not in str(caught.value)


class Broken(RuntimeError):
    pass


def failing(error: BaseException, after: int = 3000) -> Iterator[Any]:
    for number in range(after):
        yield number, "x" * 100, [1, 2]
    raise error


@pytest.mark.parametrize("on_conflict", [None, "ignore", "update"])
@pytest.mark.parametrize("after", [0, 1, 3000])
@pytest.mark.parametrize("error", [Broken("theirs"), ConnectionLost("of another connection"), ZeroDivisionError()])
def test_a_source_that_breaks(error: Exception, after: int, on_conflict: str | None, conn: Connection) -> None:
    with pytest.raises(type(error)) as caught:
        copy_rows(conn.session, "item", COLUMNS, failing(error, after), on_conflict=on_conflict)
    assert caught.value is error
    assert is_good(conn)


def test_progress_that_raises(conn: Connection) -> None:
    def progress(rows: int) -> None:
        raise Broken

    with pytest.raises(Broken):
        copy_rows(conn.session, "item", COLUMNS, ((n, "x" * 100, None) for n in range(5000)), progress=progress)
    assert is_good(conn)


def test_rows_that_come_from_the_same_connection(conn: Connection) -> None:
    def rows() -> Iterator[Any]:
        yield from conn.run("SELECT 1, 'x', NULL") or ()

    with pytest.raises(InterfaceError, match="on this connection"):
        copy_rows(conn.session, "item", COLUMNS, rows())
    assert is_good(conn)


@pytest.mark.parametrize(
    ("row", "cls", "message"),
    [
        ((1, "a"), DataError, r"row 5,001: expected 3 values \(id, title, embedding\), got 2"),
        ((1, "a", None, 4), DataError, "got 4"),
        ((), DataError, "got 0"),
        ("abc", DataError, "in a list or tuple, got 'abc'"),
        ({"id": 1, "title": 2, "embedding": 3}, DataError, "in a list or tuple"),
        (7, DataError, "in a list or tuple, got 7"),
        (None, DataError, "in a list or tuple, got None"),
        ((1, "a", [1, float("nan")]), InvalidVector, "row 5,001, column 'embedding': .*finite number at index 1"),
        ((1, "a", [1]), InvalidVector, "row 5,001, column 'embedding': expected 2 dimensions and got 1"),
        (("x", "a", None), DataError, r"row 5,001, column 'id' \(integer\): expected an int"),
    ],
)
def test_a_row_that_cannot_be_sent(row: Any, cls: type[LightvecError], message: str, conn: Connection) -> None:
    def rows() -> Iterator[Any]:
        for number in range(5000):
            yield number, "x", [1, 2]
        yield row

    with pytest.raises(cls, match=message) as caught:
        copy_rows(conn.session, "item", COLUMNS, rows())
    assert type(caught.value) is cls
    assert is_good(conn)


def test_a_row_of_the_wrong_width_in_a_text_load(conn: Connection) -> None:
    with pytest.raises(DataError, match="row 1: expected 2 values"):
        copy_rows(conn.session, "item", ["id", "span"], [(1,)])
    with pytest.raises(DataError, match="invalid input syntax") as caught:
        copy_rows(conn.session, "item", ["id", "span"], [("x", None)])
    assert caught.value.sqlstate == "22P02"
    assert is_good(conn)


@pytest.mark.parametrize("second", [1, 100_000])
def test_a_row_that_the_server_refuses(second: int, conn: Connection) -> None:
    """However many rows would follow: the load ends when the server says that it failed."""
    taken = 0

    def rows() -> Iterator[Any]:
        nonlocal taken
        for taken in range(10**9):
            yield taken % second, "x" * 100, None

    with pytest.raises(IntegrityError) as caught:
        copy_rows(conn.session, "item", COLUMNS, rows())
    assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "item_pkey")
    assert taken < second + 100_000
    assert is_good(conn)


def test_notices_on_the_way(conn: Connection) -> None:
    """More of them than the sockets hold: the server takes no more rows until they are read."""
    conn.run(
        "CREATE FUNCTION pg_temp.say() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE NOTICE '%', repeat('x', 5000); RETURN NEW; END$$"
    )
    conn.run("CREATE TRIGGER say BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION pg_temp.say()")
    conn.session.transport.socket.settimeout(20)
    assert copy_rows(conn.session, "item", ["id"], ([number] for number in range(20_000))) == 20_000
    assert conn.run("SELECT count(*) FROM item") == [[20_000]]


def test_memory_stays_flat(conn: Connection) -> None:
    def rows() -> Iterator[Any]:
        for number in range(200_000):
            yield number, "x" * 500, [1.0, 2.0]
        raise Broken

    with pytest.raises(Broken):
        copy_rows(conn.session, "item", COLUMNS, failing(Broken(), 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Broken):
        copy_rows(conn.session, "item", COLUMNS, rows())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KiB; the rows are 100 MB
    assert is_good(conn)


def test_a_connection_that_breaks(relay: Relay) -> None:
    def rows() -> Iterator[Any]:
        for number in range(10**6):
            if number == 5000:
                relay.cut()
            yield number, "x" * 100

    with connect(relay.url) as conn:
        conn.run("CREATE TEMPORARY TABLE lost (id int, title text)")
        with pytest.raises(ConnectionLost):
            copy_rows(conn.session, "lost", ["id", "title"], rows())
        assert conn.closed


# Transactions


def test_inside_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        copy_rows(conn.session, "item", COLUMNS, ROWS)
        assert conn.in_transaction
        copy_rows(conn.session, "item", COLUMNS, ROWS, on_conflict="update")
        assert conn.in_transaction
        with pytest.raises(Broken):
            copy_rows(conn.session, "item", COLUMNS, failing(Broken()), on_conflict="ignore")
        assert not conn.in_failed_transaction
    assert stored(conn) == STORED
    conn.run("BEGIN")
    copy_rows(conn.session, "item", ["id"], [[9]])
    conn.run("ROLLBACK")
    assert stored(conn) == STORED


def test_on_a_connection_of_pep_249(dbapi_conn: dbapi.Connection) -> None:
    dbapi_conn.autocommit = True
    dbapi_conn.cursor().execute("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, title text)")
    assert dbapi_conn.copy_rows("item", ["id", "title"], [(1, "a")]) == 1
    assert dbapi_conn.copy_rows("item", ["id", "title"], [(1, "b")], on_conflict="update") == 1
    assert dbapi_conn.copy_columns("item", {"id": [2], "title": ["c"]}) == 1
    assert not dbapi_conn.in_transaction
    assert list(dbapi_conn.cursor().execute("SELECT * FROM item").fetchall()) == [(1, "b"), (2, "c")]


@pytest.mark.parametrize(
    "load",
    [
        lambda conn: conn.copy_rows("item", ["id"], [(2,)]),
        lambda conn: conn.copy_rows("item", ["id"], [(2,)], on_conflict="update"),
        lambda conn: conn.copy_columns("item", {"id": [2]}),
    ],
)
def test_on_a_connection_of_pep_249_a_transaction_begins(load: Any, dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    cursor.execute("CREATE TEMPORARY TABLE item (id int PRIMARY KEY)")
    cursor.execute("INSERT INTO item VALUES (1)")
    dbapi_conn.commit()
    dbapi_conn.set_isolation_level("serializable")
    assert load(dbapi_conn) == 1
    assert dbapi_conn.in_transaction
    assert cursor.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
    dbapi_conn.rollback()
    assert cursor.execute("SELECT * FROM item").fetchall() == [(1,)]
    load(dbapi_conn)
    dbapi_conn.commit()
    assert cursor.execute("SELECT count(*) FROM item").fetchone() == (2,)


# on_conflict


def test_ignore(conn: Connection) -> None:
    copy_rows(conn.session, "item", COLUMNS, ROWS)
    rows = [(3, "new", None), (4, "d", [5, 6]), (4, "again", None)]
    assert copy_rows(conn.session, "item", COLUMNS, rows, on_conflict="ignore") == 1
    assert stored(conn) == [*STORED, [4, "d", Vector([5, 6])]]


def test_update(conn: Connection) -> None:
    copy_rows(conn.session, "item", COLUMNS, ROWS)
    rows = [(3, "once", None), (4, "d", [5, 6]), (3, "twice", [7, 8]), (2, "b", None)]
    seen: list[int] = []
    assert copy_rows(conn.session, "item", COLUMNS, rows, on_conflict="update", progress=seen.append) == 3
    assert stored(conn) == [STORED[0], [2, "b", None], [3, "twice", Vector([7, 8])], [4, "d", Vector([5, 6])]]
    assert seen[-1] == 4


def test_update_of_some_columns(conn: Connection) -> None:
    copy_rows(conn.session, "item", COLUMNS, ROWS)
    rows = [(1, "A", [7, 8]), (4, "d", [5, 6])]
    assert copy_rows(conn.session, "item", COLUMNS, rows, on_conflict="update", left_alone=["embedding"]) == 2
    assert stored(conn) == [[1, "A", Vector([1, 2])], *STORED[1:], [4, "d", Vector([5, 6])]]


def test_update_touches_loaded_columns_only(conn: Connection) -> None:
    copy_rows(conn.session, "item", COLUMNS, ROWS)
    assert copy_rows(conn.session, "item", ["embedding", "id"], [([9, 9], 1)], on_conflict="update") == 1
    assert stored(conn)[0] == [1, "a", Vector([9, 9])]
    assert copy_rows(conn.session, "item", ["id"], [[1], [5], [5]], on_conflict="update") == 1
    assert stored(conn)[3:] == [[5, None, None]]


def test_update_of_much_as_text(conn: Connection) -> None:
    rows = [(number % 1000, "x" * 100, f"[{number},)") for number in range(5000)]
    assert copy_rows(conn.session, "item", ["id", "title", "span"], rows, on_conflict="update") == 1000
    assert conn.run("SELECT min(lower(span)), max(lower(span)) FROM item") == [[4000, 4999]]


def test_update_by_a_unique_constraint(conn: Connection) -> None:
    conn.run(
        "CREATE TEMPORARY TABLE doc (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b text, note text,"
        " UNIQUE (b, a)); CREATE UNIQUE INDEX ON doc (note) WHERE a > 0; CREATE UNIQUE INDEX ON doc (lower(note))"
    )
    rows = [(1, "x", "1"), (None, "x", "2"), (None, "x", "3"), (2, "y", "4"), (1, "x", "5")]
    assert copy_rows(conn.session, "doc", ["a", "b", "note"], rows, on_conflict="update") == 4
    assert copy_rows(conn.session, "doc", ["a", "b", "note"], [(1, "x", "6")], on_conflict="update") == 1
    assert conn.run("SELECT a, b, note FROM doc ORDER BY note") == [
        *([None, "x", "2"], [None, "x", "3"], [2, "y", "4"], [1, "x", "6"]),
    ]
    assert copy_rows(conn.session, "doc", ["id", "note"], [(77, "7"), (1, "8")], on_conflict="update") == 2
    assert conn.run("SELECT id FROM doc WHERE note = '7'") == [[77]]


def test_update_where_nulls_are_equal(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE doc (a int, note text, UNIQUE NULLS NOT DISTINCT (a))")
    assert copy_rows(conn.session, "doc", ["a", "note"], [(None, "1"), (None, "2")], on_conflict="update") == 1
    assert conn.run("SELECT * FROM doc") == [[None, "2"]]


def test_update_without_a_key(conn: Connection) -> None:
    with pytest.raises(ProgrammingError, match=r"\(title\): the table has \(id\)"):
        copy_rows(conn.session, "item", ["title"], [["x"]], on_conflict="update")
    conn.run("CREATE TEMPORARY TABLE bare (id int)")
    with pytest.raises(ProgrammingError, match=r'"bare" among the loaded columns \(id\): the table has none'):
        copy_rows(conn.session, "bare", ["id"], [[1]], on_conflict="update")
    conn.run("CREATE TEMPORARY TABLE two (id int PRIMARY KEY, a int UNIQUE, b int UNIQUE)")
    with pytest.raises(ProgrammingError, match=r"cannot choose among the keys .* columns: \(a\), \(b\)"):
        copy_rows(conn.session, "two", ["a", "b"], [[1, 1]], on_conflict="update")
    assert is_good(conn)


@pytest.mark.parametrize("on_conflict", ["ignore", "update"])
def test_another_constraint_is_still_one(on_conflict: str, conn: Connection) -> None:
    conn.run("ALTER TABLE item ADD CONSTRAINT named CHECK (title <> 'bad')")
    with pytest.raises(IntegrityError) as caught:
        copy_rows(conn.session, "item", COLUMNS, [(1, "good", None), (2, "bad", None)], on_conflict=on_conflict)
    assert caught.value.constraint == "named"
    assert is_good(conn)
    assert conn.run("SELECT count(*) FROM pg_class WHERE relname LIKE 'lightvec_%' AND pg_table_is_visible(oid)") == [
        [0]
    ]


# Without NumPy

SCRIPT = """
import sys
for name in ("numpy", "scipy"): sys.modules[name] = None
from array import array
from lightvec import HalfVector, Vector, connect
from lightvec.wire.copy.load import copy_columns, copy_rows
conn = connect(sys.argv[1])
conn.run("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, v vector(2), h halfvec(2), a float8[])")
vectors = [[1, 2], (1, 2), array("f", [1, 2]), array("d", [1, 2]), Vector([1, 2]), HalfVector([1, 2]), "[1,2]"]
rows = [(number, v, v, array("d", [1.5])) for number, v in enumerate(vectors)]
assert copy_rows(conn.session, "item", ["id", "v", "h", "a"], rows) == 7
columns = {"id": array("i", range(7)), "v": vectors, "h": vectors, "a": [[1.5]] * 7}
assert copy_columns(conn.session, "item", columns, on_conflict="update") == 7
assert conn.run("SELECT DISTINCT v, h, a FROM item") == [[Vector([1, 2]), HalfVector([1, 2]), [1.5]]]
conn.close()
"""


def test_without_numpy(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, url], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
