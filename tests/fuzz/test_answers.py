"""Answers that no server gives, one by one: what is wrong with each can be noticed, so it is an error and no answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    DatabaseError,
    DataError,
    InternalError,
    OperationalError,
)
from tests.fuzz.judging import check_in_step, in_time
from tests.fuzz.messages import (
    LOGIN,
    NO_DATA,
    NO_ROWS,
    PARSE_COMPLETE,
    READY,
    answer,
    authentication,
    codes_of,
    complete,
    data_row,
    error,
    message,
    notification,
    parameter_status,
    row_description,
    rows,
)
from tests.fuzz.player import URL, FloodingSocket, meeting, playing

COLUMN = row_description(("a", 25))
ONE = COLUMN + data_row(b"x")
#: A statement before which pgvector's types are not asked for.
SHOW = "SHOW a"


pytestmark = pytest.mark.usefixtures("in_time_at_all")


def asked(turn: bytes, ask: Callable[[Connection], Any] = lambda conn: conn.run(SHOW)) -> tuple[Any, bool, Connection]:
    """What is given for this answer, or the error; whether the connection is closed behind it, else it is in step."""
    with playing([LOGIN, turn]) as played:
        conn = connect(URL)
        try:
            given = ask(conn)
        except Exception as raised:
            given = raised
        closed = conn.closed
        check_in_step(conn, played)
        return given, closed, conn


# --- a statement and its rows --------------------------------------------------------------------------------------

#: What is wrong, and an answer that is so.
WRONG: dict[str, bytes] = {
    "nothing": READY,
    "no end": answer(ONE),
    "no description": answer(data_row(b"x"), complete("SELECT 1")),
    "NoData, and rows": answer(NO_DATA, data_row(b"x"), complete("SELECT 1")),
    "a row behind the end": answer(ONE, complete("SELECT 1"), data_row(b"y")),
    "two ends": answer(ONE, complete("SELECT 1"), complete("SELECT 1")),
    "another description behind rows": answer(ONE, row_description(("b", 23)), data_row(b"1"), complete("SELECT 2")),
    "other columns in the second description": answer(
        COLUMN, row_description(("b", 23)), data_row(b"1"), complete("SELECT 1")
    ),
    "rows behind an end": answer(complete("SELECT 1"), ONE),
    "no statement, and rows": answer(ONE, message("I")),
    "no statement, and an end": answer(complete("SELECT 1"), message("I")),
    "PortalSuspended without a limit": answer(ONE, message("s")),
    "fewer rows than it says": answer(ONE, complete("SELECT 2")),
    "more rows than it says": answer(ONE, data_row(b"y"), complete("SELECT 1")),
    "fewer rows than FETCH says": answer(ONE, complete("FETCH 2")),
    "a status that is none": answer(ONE, complete("SELECT 1"))[:-1] + b"X",
    "no status": answer(ONE, complete("SELECT 1")).removesuffix(READY) + message("Z"),
    "two statuses": answer(ONE, complete("SELECT 1")).removesuffix(READY) + message("Z", b"II"),
    "a tag without its NUL": answer(ONE, message("C", b"SELECT 12")),
    "a tag with two NULs": answer(ONE, message("C", b"SELECT 1\0\0")),
    "no tag": answer(ONE, message("C")),
    "a tag that is not ASCII": answer(ONE, message("C", b"S\xc9LECT 1\0")),
    "a count of 5,000 digits": answer(ONE, complete(f"SELECT {'1' * 5_000}")),
    "an unknown message": answer(message("y", b"x")),
    "a message without a code": answer(b"\0" + message("C")[1:]),
    "FunctionCallResponse": answer(message("V", pack("!i", -1))),
    "CopyBothResponse": answer(message("W", bytes(3))),
    "NegotiateProtocolVersion": answer(message("v", bytes(8))),
    "a login that is over": answer(authentication(0), ONE, complete("SELECT 1")),
    "a login that asks for the password": answer(authentication(3), ONE, complete("SELECT 1")),
    "a login that says nothing": answer(message("R"), ONE, complete("SELECT 1")),
    "another key to cancel with": answer(message("K", bytes(8)), ONE, complete("SELECT 1")),
    "rows of a COPY that was not begun": answer(message("d", b"x"), complete("COPY 1")),
    "a COPY in that says nothing": answer(message("G"), complete("COPY 1")),
    "a setting without a value": answer(message("S", b"a\0"), ONE, complete("SELECT 1")),
    "a setting without a NUL": answer(message("S", b"abc"), ONE, complete("SELECT 1")),
    "a setting with two values": answer(message("S", b"a\0b\0c\0"), ONE, complete("SELECT 1")),
    "an encoding that there is not": answer(parameter_status("client_encoding", "EVIL"), ONE, complete("SELECT 1")),
    "an encoding for which Python has no name": answer(
        parameter_status("client_encoding", "MULE_INTERNAL"), ONE, complete("SELECT 1")
    ),
    "an encoding that is no text's": answer(parameter_status("client_encoding", "hex"), ONE, complete("SELECT 1")),
    "an encoding at the end": answer(ONE, complete("SELECT 1"), parameter_status("client_encoding", "EVIL")),
    "a notification that is cut short": answer(message("A", b"\0\0"), ONE, complete("SELECT 1")),
    "a notification without NULs": answer(message("A", b"\0\0\0\7abc"), ONE, complete("SELECT 1")),
    "a length that cannot be": answer(COLUMN, b"D" + pack("!i", 3)),
    "a length below zero": answer(COLUMN, b"D" + pack("!i", -1)),
    "a length of 2 GB": answer(COLUMN, b"D" + pack("!i", 2_000_000_000) + b"x"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_answers(what: str) -> None:
    given, closed, _ = asked(WRONG[what])
    assert isinstance(given, InternalError), given
    assert closed
    assert len(str(given)) < 400


RIGHT: dict[str, tuple[bytes, Any]] = {
    "a row": (answer(ONE, complete("SELECT 1")), [["x"]]),
    "two descriptions that agree": (answer(COLUMN, ONE, complete("SELECT 1")), [["x"]]),
    "no rows": (answer(COLUMN, complete("SELECT 0")), []),
    "no columns": (answer(row_description(), data_row(), complete("SELECT 1")), [[]]),
    "a command": (answer(NO_DATA, complete("SET")), None),
    "an empty statement": (answer(NO_DATA, message("I")), None),
    "a table from rows": (answer(NO_DATA, complete("SELECT 5")), None),
    "rows of a rule": (answer(ONE, complete("INSERT 0 7")), [["x"]]),
    "a notice without fields": (answer(message("N"), ONE, complete("SELECT 1")), [["x"]]),
    "a notification that is not ASCII": (answer(notification("ch", "é"), ONE, complete("SELECT 1")), [["x"]]),
    "another encoding": (
        answer(parameter_status("client_encoding", "LATIN1"), COLUMN, data_row(b"\xe9"), complete("SELECT 1")),
        [["é"]],
    ),
}


@pytest.mark.parametrize("what", RIGHT)
def test_unusual_answers(what: str) -> None:
    turn, expected = RIGHT[what]
    given, closed, _ = asked(turn)
    assert (given, closed) == (expected, False)


def test_a_payload_that_is_not_ascii(conn: Connection) -> None:
    """Anybody can send it."""
    conn.run("LISTEN lantern; NOTIFY lantern, 'é'")
    assert [notification[1:] for notification in conn.notifications] == [("lantern", "é")]
    assert not conn.closed


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0", b"C", b"C22012", b"\xff\xff\0", b"C\xff\0\0"])
def test_errors_without_what_they_should_have(body: bytes) -> None:
    given, closed, _ = asked(PARSE_COMPLETE + message("E", body) + READY)
    assert isinstance(given, DatabaseError)
    assert "SQLSTATE" in str(given)
    assert not closed


def test_an_error_and_the_rows_all_the_same() -> None:
    given, closed, _ = asked(error() + answer(ONE, complete("SELECT 1")))
    assert isinstance(given, DataError)
    assert not closed


@pytest.mark.parametrize(
    "behind", [READY, answer(ONE, complete("SELECT 1")), complete("SELECT 1"), data_row(b"y")], ids=codes_of
)
def test_what_was_said_before_it_was_asked(behind: bytes) -> None:
    with playing([LOGIN, answer(ONE, complete("SELECT 1")) + behind]) as played:
        conn = connect(URL)
        assert conn.run(SHOW) == [["x"]]
        played.play(answer(rows(b"y")))
        with pytest.raises(InternalError):
            conn.run(SHOW)
        assert conn.closed


def test_what_a_server_says_of_itself_is_heard_before_it_is_asked() -> None:
    said = notification("ch", "x") + parameter_status("a", "b") + message("N", b"Mx\0\0")
    with playing([LOGIN, answer(ONE, complete("SELECT 1")) + said]) as played:
        conn = connect(URL)
        conn.run(SHOW)
        played.play(answer(rows(b"y")))
        assert conn.run(SHOW) == [["y"]]
        assert (len(conn.notifications), conn.parameter_statuses["a"], len(conn.notices)) == (1, "b", 1)


def test_a_server_that_ends_the_connection_before_it_is_asked() -> None:
    with playing([LOGIN, answer(ONE, complete("SELECT 1")) + error("57P01", "FATAL")]):
        conn = connect(URL)
        conn.run(SHOW)
        with pytest.raises(OperationalError, match="57P01"):
            conn.run(SHOW)
        assert conn.closed


NOTICES = message("N", b"Mx\0\0") * 2_000


@pytest.mark.parametrize("cut", [0, 1], ids=["lost", "unasked"])
def test_a_flood_of_what_is_no_answer(cut: int) -> None:
    """It is not read to its end, which there is none of: not for the last word of a server that is lost, nor, where a
    statement's time is bounded, before it is sent."""
    begun = NOTICES[:-1] * cut
    with FloodingSocket([LOGIN, answer(ONE, complete("SELECT 1")) + begun], NOTICES[-cut:] + begun) as near:
        with meeting(near):
            conn = connect(URL, command_timeout=0.3)
        assert conn.run(SHOW) == [["x"]]
        with in_time(5), pytest.raises(ConnectionLost) as lost:
            conn.run(SHOW)
    assert lost.value.in_doubt == (not cut)


def test_a_flood_while_more_is_sent() -> None:
    with FloodingSocket([LOGIN], NOTICES) as near:
        with meeting(near):
            conn = connect(URL, command_timeout=0.3)
        with in_time(5), pytest.raises(ConnectionLost):
            conn.execute_many([("UPDATE t SET a = $1", ["x" * 40_000]) for _ in range(5)])


# --- rows that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", NO_ROWS)
@pytest.mark.parametrize("oid", [25, 23, 17])
def test_rows_that_are_none(oid: int, what: str) -> None:
    """Also where the value that can be made out cannot be read."""
    turn = answer(row_description(("a", oid)), message("D", NO_ROWS[what]), complete("SELECT 1"))
    given, closed, _ = asked(turn)
    assert isinstance(given, InternalError)
    assert closed


DESCRIPTIONS: dict[str, bytes] = {
    "nothing": b"",
    "no columns": pack("!H", 1),
    "65,535 columns": pack("!H", 65_535),
    "a name without NUL": pack("!H", 1) + b"a" * 30,
    "half a field": COLUMN[5:-1],
    "more behind the last column": COLUMN[5:] + b"\0",
    "a column too many": pack("!H", 2) + COLUMN[7:],
    "a format that there is not": COLUMN[5:-1] + b"\2",
    "a format below zero": COLUMN[5:-2] + b"\xff\xff",
    "a name that is no text": COLUMN[5:].replace(b"a", b"\xff"),
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_descriptions_that_are_none(what: str) -> None:
    given, closed, _ = asked(answer(message("T", DESCRIPTIONS[what]), complete("SELECT 0")))
    assert isinstance(given, InternalError)
    assert closed


def test_a_value_that_cannot_be_read_fails_its_statement_only() -> None:
    turn = answer(row_description(("a", 23)), data_row(b"x" * 100_000), data_row(b"1"), complete("SELECT 2"))
    given, closed, _ = asked(turn)
    assert isinstance(given, DataError)
    assert len(str(given)) < 400, "the value may be long"
    assert not closed


def test_a_copy_to_text_that_is_none() -> None:
    turn = answer(message("H", b"\0\0\1\0\0"), message("d", b"\xff\n"), message("c"), complete("COPY 1"))
    given, closed, _ = asked(turn, lambda conn: conn.run("COPY a TO STDOUT", stream=io.StringIO()))
    assert isinstance(given, DataError), given
    assert not closed
