"""Other answers that no server gives: to loads, to many statements, to streams, and from the catalog."""

from __future__ import annotations

from contextlib import suppress
from struct import pack
from typing import Any

import pytest

from lightvec.errors import InvalidVector, LightvecError
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import (
    DataError,
    InternalError,
)
from lightvec.pg8000.hstore import register_hstore
from tests.fuzz.judging import check_in_step, in_memory, in_time
from tests.fuzz.messages import (
    BIND_COMPLETE,
    LOGIN,
    NO_DATA,
    NO_ROWS,
    PARSE_COMPLETE,
    READY,
    answer,
    codes_of,
    complete,
    data_row,
    message,
    notification,
    parameter_status,
    row_description,
)
from tests.fuzz.player import URL, playing

pytestmark = pytest.mark.usefixtures("in_time_at_all")

COLUMN = row_description(("a", 25))
ONE = COLUMN + data_row(b"x")

# --- loads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [complete("COPY 2"), READY, data_row(b"x"), b"d" + pack("!i", 2), message("A", b"x")], ids=codes_of
)
def test_an_answer_in_the_middle_of_a_load(said: bytes) -> None:
    """It is heard before the last row is sent, and taken for no fault of the rows."""
    columns = answer(
        row_description(*[(name, 25) for name in "abcdefgh"]),
        data_row(b"n", b"23", None, b"integer", b"-1", None, b"f", b""),
        complete("SELECT 1"),
    )
    begun = PARSE_COMPLETE + BIND_COMPLETE + NO_DATA + message("G", b"\1\0\1\0\1")
    with playing([LOGIN, columns, begun, said, complete("COPY 2") + READY], eager=True):
        conn = connect(URL)
        with pytest.raises(InternalError):
            conn.copy_rows("t", ["n"], [[1], [2]])
        assert conn.closed


def test_a_load_that_is_done_before_it_began() -> None:
    columns = answer(
        row_description(*[(name, 25) for name in "abcdefgh"]),
        data_row(b"n", b"23", None, b"integer", b"-1", None, b"f", b""),
        complete("SELECT 1"),
    )
    with playing([LOGIN, columns, answer(NO_DATA, complete("COPY 2"))]) as played:
        conn = connect(URL)
        with pytest.raises(InternalError, match="did not ask for the rows"):
            conn.copy_rows("t", ["n"], [[1], [2]])
        check_in_step(conn, played)


def looked_up(*row: bytes | None) -> bytes:
    """The answer to the look-up of pgvector's types."""
    first = answer(row_description(("t", 25)), data_row(b"120000000001"), complete("SELECT 1")).removesuffix(READY)
    columns = row_description(*[(name, 25) for name in "abcdefghi"[: 2 + len(row)]])
    return first + answer(columns, data_row(b"7", b"120000000001", *row), complete("SELECT 1"))


# --- many statements, streams, columns -----------------------------------------------------------------------------


def many(conn: Connection) -> Any:
    return conn.execute_many([("UPDATE t SET a = $1", [n]) for n in range(3)])


THREE = PARSE_COMPLETE + (BIND_COMPLETE + complete("UPDATE 2")) * 3


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "turn",
    [READY, THREE.removesuffix(complete("UPDATE 2")) + READY, THREE + complete("UPDATE 2")],
    ids=codes_of,
)
def test_other_answers_than_statements(turn: bytes, eager: bool) -> None:
    with playing([LOGIN, turn, READY], eager=eager) as played:
        conn = connect(URL)
        conn.session.catalog_is_read = True
        with pytest.raises(InternalError):
            many(conn)
        assert conn.closed
        check_in_step(conn, played)


def test_a_notification_right_behind_the_answers() -> None:
    """It is no answer of theirs, and is heard with the next statement."""
    with playing([LOGIN, THREE + READY + notification("a", "b")], eager=True) as played:
        conn = connect(URL)
        conn.session.catalog_is_read = True
        assert many(conn) == 6
        check_in_step(conn, played)
        assert len(conn.notifications) == 1


def test_a_batch_that_is_not_full() -> None:
    described, batch = PARSE_COMPLETE + message("t", b"\0\0") + COLUMN, BIND_COMPLETE + ONE + message("s")
    with playing([LOGIN, described, batch, READY]) as played:
        conn = connect(URL)
        conn.session.catalog_is_read = True
        with pytest.raises(InternalError, match="rows were lost"):
            list(conn.stream("SELECT a FROM t", batch=2))
        check_in_step(conn, played)


def fetched(columns: bytes, *said: bytes) -> Any:
    """What fetch_columns gives for a query whose rows are these."""
    with playing([LOGIN, PARSE_COMPLETE + columns, BIND_COMPLETE + b"".join(said) + READY]) as played:
        conn = connect(URL)
        conn.session.catalog_is_read = True
        try:
            return {name: list(values) for name, values in conn.fetch_columns("SELECT a FROM t").items()}
        finally:
            check_in_step(conn, played)


NUMBER = row_description(("a", 23), form=1)
FLAG = row_description(("a", 16), form=1)
NUMBERS = b"".join(data_row(pack("!i", number)) for number in (1, 2))


def test_columns() -> None:
    assert fetched(NUMBER, NUMBER, NUMBERS, complete("SELECT 2")) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "said",
    [
        *(NUMBER + message("D", NO_ROWS[what]) + complete("SELECT 1") for what in NO_ROWS),
        *(NUMBER + NUMBERS + message("D", pack("!Hii", 1, length, 5)) + complete("SELECT 3") for length in (3, 5, -2)),
        NUMBER + NUMBERS + message("D", pack("!Hii", 2, 4, 5)) + complete("SELECT 3"),
        NUMBER + NUMBERS + message("D", pack("!Hii", 0, 4, 5)) + complete("SELECT 3"),
        NUMBER + NUMBERS + complete("SELECT 3"),
        NUMBER + NUMBERS,
        row_description(("a", 23)) + data_row(b"1234") + complete("SELECT 1"),
        row_description(("a", 25), form=1) + data_row(b"1234") + complete("SELECT 1"),
        NO_DATA + data_row(b"1234") + complete("SELECT 1"),
    ],
    ids=codes_of,
)
def test_columns_of_rows_that_are_none(said: bytes) -> None:
    """As the first row or behind others of the same length, with which it would be taken."""
    with pytest.raises(InternalError):
        fetched(NUMBER, said)


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        (NUMBER, b"12345678"),
        (NUMBER, b"123"),
        (NUMBER, b""),
        (FLAG, b"\2"),
        (FLAG, b"\1\1"),
    ],
    ids=codes_of,
)
def test_columns_of_values_that_are_none(columns: bytes, value: bytes) -> None:
    """Alone, and behind a NULL, which makes the column a list."""
    for before in ([], [None]):
        said = b"".join(map(data_row, [*before, value]))
        with pytest.raises(DataError):
            fetched(columns, columns + said + complete(f"SELECT {len(before) + 1}"))


@pytest.mark.parametrize("numbers", [20_000, 70_000])
def test_columns_of_vectors_with_too_many_dimensions(numbers: int) -> None:
    vectors = looked_up(b"0.8.6", b"public", b"vector", b"16385", b"16390", b"", None)
    columns = row_description(("a", 16385), form=1)
    value = pack("!HH", numbers % 65_536, 0) + bytes(4 * numbers)
    turns = [LOGIN, vectors, PARSE_COMPLETE + columns, BIND_COMPLETE + columns + data_row(value) + complete("SELECT 1")]
    with playing([*turns, READY]):
        conn = connect(URL)
        conn.extension()
        with pytest.raises(InvalidVector):
            conn.fetch_columns("SELECT a FROM t")


def test_columns_of_a_statement_without_any_run_it_all_the_same(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE filled (id int)")
    assert conn.fetch_columns("INSERT INTO filled VALUES (1)") == {}
    assert conn.run("SELECT count(*) FROM filled") == [[1]]


# --- what the catalog says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [(), (b"n",), (b"n", b"x", None, b"integer", b"-1", None, b"f", b""), (b"n", *[None] * 7)],
    ids=["nothing", "a name", "an OID that is none", "NULLs"],
)
def test_a_catalog_that_cannot_be_understood(row: tuple[bytes | None, ...]) -> None:
    columns = row_description(*[(name, 25) for name in "abcdefgh"[: len(row)]])
    with playing([LOGIN, answer(columns, data_row(*row), complete("SELECT 1"))]) as played:
        conn = connect(URL)
        with pytest.raises(InternalError, match="catalog"):
            conn.copy_rows("t", ["n"], [])
        check_in_step(conn, played)


@pytest.mark.parametrize("row", [(), (b"1",), (b"1", None), (b"x", b"2")], ids=len)
def test_an_hstore_that_cannot_be_understood(row: tuple[bytes | None, ...]) -> None:
    columns = row_description(*[(name, 26) for name in "ab"[: len(row)]])
    said = [LOGIN, answer(columns, data_row(*row), complete("SELECT 1"))]
    with playing(said), pytest.raises(InternalError, match="catalog"):
        register_hstore(connect(URL))


@pytest.mark.parametrize("row", [(), (None,)], ids=len)
def test_a_server_that_does_not_say_whether_it_is_a_primary(row: tuple[bytes | None, ...]) -> None:
    columns = row_description(*[(name, 16) for name in "a"[: len(row)]])
    with playing([LOGIN, answer(columns, data_row(*row), complete("SELECT 1"))]), suppress(LightvecError):
        connect(URL, target_session_attrs="primary")


def test_a_version_of_5_000_digits() -> None:
    version = parameter_status("server_version", "9" * 5_000)
    with playing([LOGIN.replace(parameter_status("server_version", "18.0"), version)]), suppress(LightvecError):
        assert connect(URL).server_version >= 0


def test_where_a_load_failed_is_looked_for_in_little_time() -> None:
    """In what the server says of it, which may be long."""
    columns = answer(
        row_description(*[(name, 25) for name in "abcdefgh"]),
        data_row(b"n", b"23", None, b"integer", b"-1", None, b"f", b""),
        complete("SELECT 1"),
    )
    where = b"COPY" + b" , " * 300_000
    failed = message("E", b"SERROR\0VERROR\0C22P04\0Mm\0W" + where + b"\0\0") + READY
    with playing([LOGIN, columns, PARSE_COMPLETE + BIND_COMPLETE + failed]), in_time(3), pytest.raises(DataError):
        connect(URL).copy_rows("t", ["n"], [[1]])


def test_one_row_takes_the_room_of_one() -> None:
    """A vector of 16,000 dimensions is 64 KB, and 1,024 of them were made room for."""
    vectors = looked_up(b"0.8.6", b"public", b"vector", b"16385", b"16390", b"", None)
    columns, value = row_description(("a", 16385), form=1), pack("!HH", 16_000, 0) + bytes(64_000)
    turns = [
        vectors,
        PARSE_COMPLETE + columns,
        BIND_COMPLETE + columns + data_row(value) + complete("SELECT 1") + READY,
    ]
    with playing([LOGIN, *turns]):
        conn = connect(URL)
        conn.extension()
        with in_memory(2 << 20):
            assert conn.fetch_columns("SELECT a FROM t")["a"].shape == (1, 16_000)
