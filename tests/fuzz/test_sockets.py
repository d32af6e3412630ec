"""The same over real sockets: a server on a thread of its own that plays, drips, floods or is silent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import peewee
import pytest
from hypothesis import given

from lightvec.errors import LightvecError
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from tests.fuzz.judging import TALLY, in_memory, in_time, tried
from tests.fuzz.messages import LOGIN, answer, data_row, message, parameter_status, row_description
from tests.fuzz.mutations import Change, changed, changes
from tests.fuzz.player import URL, meeting
from tests.fuzz.uses import USES, Opener, Recordings

Converse = Callable[[socket.socket], None]


@contextmanager
def served(converse: Converse) -> Iterator[None]:
    """The next connection is answered so, on another thread, and then closed."""
    near, far = socket.socketpair()

    def serve() -> None:
        with far, suppress(OSError):
            converse(far)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with near, meeting(near):
            yield
    finally:
        near.close()
        thread.join(10)
        assert not thread.is_alive()


def plays(turns: Sequence[bytes]) -> Converse:
    """Says a turn whenever it was spoken to, and the rest once nobody does."""

    def converse(far: socket.socket) -> None:
        far.settimeout(0.02)
        for turn in turns:
            with suppress(TimeoutError):
                if not far.recv(1 << 20):
                    return
            far.sendall(turn)
        far.shutdown(socket.SHUT_WR)
        far.settimeout(10)
        while far.recv(1 << 20):
            pass

    return converse


def after_login(behind: Converse) -> Converse:
    def converse(far: socket.socket) -> None:
        far.recv(1 << 16)
        far.sendall(LOGIN)
        far.recv(1 << 16)
        behind(far)

    return converse


def drips(data: bytes) -> Converse:
    """A byte at a time, again and again, each soon enough to be waited for."""

    def converse(far: socket.socket) -> None:
        while True:
            for byte in data:
                far.sendall(bytes([byte]))
                time.sleep(0.02)

    return converse


def floods(data: bytes) -> Converse:
    """The same again and again, as quickly as it can."""

    def converse(far: socket.socket) -> None:
        while True:
            far.sendall(data)

    return converse


def is_silent(far: socket.socket) -> None:
    while far.recv(1 << 16):
        pass


ENDLESS: dict[str, Converse] = {
    "drips notices": drips(message("N", b"Mx\0\0")),
    "drips one message": drips(b"N\0\0\xff\xff"),
    "floods notices": floods(message("N", b"Mx\0\0") * 2_000),
    "floods settings": floods(parameter_status("a", "b") * 2_000),
    "floods notifications": floods(message("A", b"\0\0\0\1a\0b\0") * 2_000),
    "is silent": is_silent,
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_login_that_never_ends(what: str) -> None:
    with served(ENDLESS[what]), in_time(8), pytest.raises(OperationalError):
        connect(URL, connect_timeout=0.4)


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_that_never_ends(what: str) -> None:
    with served(after_login(ENDLESS[what])), in_time(8):
        connection = connect(URL, command_timeout=0.5)
        with pytest.raises(OperationalError):
            connection.run("SHOW a")
        assert connection.closed


@pytest.mark.parametrize("said", [b"D" + (1 << 29).to_bytes(4, "big"), b"T" + (1 << 29).to_bytes(4, "big")])
def test_a_message_of_half_a_gigabyte_that_does_not_come(said: bytes) -> None:
    turn = answer(row_description(("a", 25)), data_row(b"x"))[:-6] + said + bytes(1_000)
    with served(plays([LOGIN, turn])), in_memory(4 << 20), pytest.raises(LightvecError):
        connect(URL).run("SHOW a")


@pytest.mark.parametrize("name", USES)
@tried(3, 150)
@given(to_do=changes)
def test_changed_answers(name: str, recordings: Recordings, to_do: list[Change]) -> None:
    turns = changed(recordings[name], to_do)
    TALLY.count(*turns)
    opener = Opener(URL)
    with served(plays(turns)), in_time(), suppress(LightvecError, peewee.PeeweeException):
        USES[name](opener)
    opener.close()
