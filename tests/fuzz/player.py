"""A server that plays what it is given: for each turn the bytes of one answer, whatever was asked.

It is a socket in this process and on this thread: a turn is there for the client to read once the client waits for an
answer, and behind the last one the connection has ended. So a client that waits for what never comes is told so at
once and cannot hang, and a thousand conversations take a second.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire import connecting

__all__ = ["URL", "FloodingSocket", "PlayedSocket", "Recorder", "meeting", "playing", "recording"]

#: What is connected to when a server is played; nothing listens there.
URL = "postgresql://me:secret@127.0.0.1/played?sslmode=disable"

#: Reads of a connection that has ended, after which the client is said to go round in circles.
_MOST_READS = 50


class PlayedSocket(socket.socket):
    """The client's end of a connection to a server that is played; what it sends is kept in ``sent``.

    A server that is ``eager`` answers as soon as something was sent, also while the client is still sending.
    """

    def __init__(self, turns: Iterable[bytes], *, eager: bool = False) -> None:
        near, self._far = socket.socketpair()
        super().__init__(fileno=near.detach())
        self._far.sendall(b"!")  # Whoever asks the system is told that there is something to read.
        self._turns = [turn for turn in turns if turn][::-1]
        self._eager = eager
        self._answered = 0
        self._ready = b""
        self._timeout: float | None = None
        self._reads_at_end = 0
        self.sent = bytearray()

    def play(self, turn: bytes) -> None:
        """Have this turn behind what was said, in place of what was yet to be said."""
        self._turns = [turn]

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._check_open()
        self.sent += data
        return len(data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.send(data)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        self._check_open()
        if not self._ready:
            self._ready = self._next_turn()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer)])

    def close(self) -> None:
        self._far.close()
        super().close()

    def _next_turn(self) -> bytes:
        may_answer = self._timeout != 0 or (self._eager and len(self.sent) > self._answered)
        if self._turns and may_answer:
            self._answered = len(self.sent)
            return self._turns.pop()
        if self._timeout == 0:
            raise BlockingIOError
        self._reads_at_end += 1
        assert self._reads_at_end < _MOST_READS, "the client reads on and on behind the end of the connection"
        return b""

    def _check_open(self) -> None:
        if self.fileno() < 0:
            raise OSError(9, "the played socket is closed")


class FloodingSocket(PlayedSocket):
    """Behind its turns there is always more to be had without waiting, and nothing for who waits."""

    def __init__(self, turns: Iterable[bytes], flood: bytes) -> None:
        super().__init__(turns)
        self._flood = flood

    def _next_turn(self) -> bytes:
        if self._turns:
            return super()._next_turn()
        if self._timeout != 0:
            raise ConnectionResetError(104, "the flood has ended")
        return self._flood


class Recorder(socket.socket):
    """The client's end of a connection to a real server, which writes down in turns what that says."""

    def __init__(self, opened: socket.socket) -> None:
        timeout = opened.gettimeout()
        super().__init__(fileno=opened.detach())
        self.settimeout(timeout)
        self.turns = [b""]

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._end_turn()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self._end_turn()
        super().sendall(data, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self.turns[-1] += bytes(buffer[:count])
        return count

    def _end_turn(self) -> None:
        if self.turns[-1]:
            self.turns.append(b"")


@contextmanager
def playing(turns: Iterable[bytes], *, eager: bool = False) -> Iterator[PlayedSocket]:
    """Let the next connection meet this server; a second one finds none."""
    played = PlayedSocket(turns, eager=eager)
    with played, meeting(played):
        yield played


@contextmanager
def meeting(near: socket.socket) -> Iterator[None]:
    """Let the next connection have this socket; a second one finds no server."""
    waiting = [near]

    def opened(*args: object, **options: object) -> socket.socket:
        if not waiting:
            raise OperationalError("a server that is played takes one connection")
        return waiting.pop()

    with _meeting(opened):
        yield


@contextmanager
def recording() -> Iterator[list[Recorder]]:
    """Write down what the servers of the connections say that are opened meanwhile."""
    recorders: list[Recorder] = []
    really_open = vars(connecting)["open_socket"]

    def opened(*args: Any, **options: Any) -> socket.socket:
        recorders.append(Recorder(really_open(*args, **options)))
        return recorders[-1]

    with _meeting(opened):
        yield recorders


@contextmanager
def _meeting(opened: Callable[..., socket.socket]) -> Iterator[None]:
    """Open sockets so, and say the same nonce each time, so that a login can be played again."""
    with patch.object(connecting, "open_socket", opened), patch("os.urandom", bytes):
        yield
