"""Whatever a server says to whatever is done: an error of ours or an answer, soon, and no connection out of step."""

from __future__ import annotations

from collections.abc import Sequence

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import LightvecError
from lightvec.pg8000 import connect
from tests.fuzz.judging import TALLY, check_in_step, in_time, tried
from tests.fuzz.messages import LOGIN, answer, complete, data_row, messages_of, row_description
from tests.fuzz.mutations import Change, changed, changes, strange_messages
from tests.fuzz.player import URL, playing
from tests.fuzz.uses import USES, Opener, Recordings

by_use = pytest.mark.parametrize("name", USES)


def converse(name: str, turns: Sequence[bytes], *, eager: bool = False) -> None:
    """Do it with a server that says this."""
    TALLY.count(*turns)
    opener = Opener(URL)
    with playing(turns, eager=eager) as played, in_time():
        try:
            USES[name](opener)
        except LightvecError:
            pass
        except peewee.PeeweeException:
            assert name.startswith("peewee")
        for connection in opener.connections:
            check_in_step(connection, played)


@by_use
def test_what_a_server_said_can_be_played_again(name: str, recordings: Recordings) -> None:
    with playing(recordings[name]) as played:
        opener = Opener(URL)
        USES[name](opener)
        check_in_step(opener.connections[0], played)


@by_use
@tried(60, 2_000)
@given(to_do=changes, eager=st.booleans())
def test_changed_answers(name: str, recordings: Recordings, to_do: list[Change], eager: bool) -> None:
    converse(name, changed(recordings[name], to_do), eager=eager)


@by_use
@tried(15, 500)
@given(said=st.lists(strange_messages, max_size=12), eager=st.booleans())
def test_well_formed_messages(name: str, said: list[bytes], eager: bool) -> None:
    converse(name, [LOGIN, *said] if eager else [LOGIN, b"".join(said)], eager=eager)


@by_use
@tried(10, 500)
@given(said=st.lists(st.binary(max_size=60), max_size=4))
def test_bytes(name: str, said: list[bytes]) -> None:
    converse(name, [LOGIN, *said])
    converse(name, said)


# --- right or not ----------------------------------------------------------------------------------------------------

COLUMNS = row_description(("a", 25), ("b", 25))
TOLD = [(b"x", None), (b"", "é".encode()), (None, b"long" * 20)]
ANSWER = answer(COLUMNS, *(data_row(*row) for row in TOLD), complete("SELECT 3"))


def told(turn: bytes) -> list[tuple[bytes | None, ...]] | None:
    """The rows that this is the answer of, read by the rules alone; None where it is none."""
    rows: list[tuple[bytes | None, ...]] = []
    described = ended = False
    for code, body in messages_of(turn):
        if code == "T":
            described, ended = True, False
        elif code == "D" and not described:
            return None
        elif code == "D":
            rows.append(_values(body))
        elif code == "C":
            described, ended = False, True
        elif code == "Z":
            return rows if ended else None
    return None


def _values(body: bytes) -> tuple[bytes | None, ...]:
    values: list[bytes | None] = []
    body = body[2:]
    while body:
        length = int.from_bytes(body[:4], "big", signed=True)
        values.append(None if length == -1 else body[4 : 4 + length])
        body = body[4 + max(length, 0) :]
    return tuple(values)


@tried(300, 40_000)
@given(to_do=changes)
def test_what_is_taken_for_an_answer_is_what_was_told(to_do: list[Change]) -> None:
    (turn,) = changed([ANSWER], to_do)
    TALLY.count(turn)
    with playing([LOGIN, turn]), in_time():
        connection = connect(URL)
        try:
            given = connection.run("SHOW a")
        except LightvecError:
            return
        # Of other columns, or in another encoding, the values are other ones.
        are_texts = all(body == COLUMNS[5:] for code, body in messages_of(turn) if code == "T")
        if given is not None and are_texts and connection.session.adapters.encoding == "utf-8":
            assert given == _texts(told(turn))


def _texts(rows: list[tuple[bytes | None, ...]] | None) -> list[list[str | None]] | None:
    if rows is None:
        return None
    return [[None if value is None else value.decode() for value in row] for row in rows]
