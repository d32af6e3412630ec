"""A relay between client and server that writes down what passes, so that round trips and bytes can be counted.

Everything is written down before it is passed on: once the client has its answer, the record is complete.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from tests.relay import CLIENT, SERVER, Listener, socket_of

__all__ = ["CLIENT", "SERVER", "Message", "Record", "Relay"]


class Chunk(NamedTuple):
    """What one side said in one piece."""

    side: str
    data: bytes


class Message(NamedTuple):
    """A message of the protocol: its one-letter code and what follows its length."""

    code: str
    body: bytes


class Record:
    """What passed during a block."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    @property
    def round_trips(self) -> int:
        """How often the client spoke and the server then answered."""
        sides = [chunk.side for chunk in self.chunks]
        return sum(pair == (CLIENT, SERVER) for pair in pairwise(sides))

    def data(self, side: str) -> bytes:
        """All that one side said."""
        return b"".join(chunk.data for chunk in self.chunks if chunk.side == side)

    def messages(self, side: str) -> list[Message]:
        """The messages of one side; a client's StartupMessage has the code ``startup``."""
        data = self.data(side)
        found = []
        while data:
            code = "startup" if data[0] == 0 else chr(data[0])
            start = 0 if code == "startup" else 1
            end = start + int.from_bytes(data[start : start + 4], "big")
            assert end <= len(data), "whole messages pass"
            found.append(Message(code, data[start + 4 : end]))
            data = data[end:]
        return found

    def codes(self, side: str) -> str:
        """The codes of one side's messages, in one text."""
        return "".join(message.code for message in self.messages(side))


class Relay(Listener):
    """The relay; as a context manager, it listens on a socket of its own in front of the server of ``url``."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._server = socket_of(url)
        self._folder = Path(tempfile.mkdtemp(prefix="lightvec-relay-"))
        self.url = urlsplit(url)._replace(query=f"host={quote(str(self._folder))}").geturl()
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self._folder)

    @contextmanager
    def recording(self) -> Iterator[Record]:
        """Write down what passes during the block."""
        record = Record()
        with self._lock:
            self._records.append(record)
        try:
            yield record
        finally:
            with self._lock:
                self._records.remove(record)

    def _listening(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._folder / ".s.PGSQL.5432"))
        listener.listen()
        return listener

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        self._kept.append(server)
        self._start(self._pass_on, SERVER, server, client)
        self._pass_on(CLIENT, client, server)

    def _pass_on(self, side: str, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                with self._lock:
                    for record in self._records:
                        record.chunks.append(Chunk(side, data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
