"""A relay over TCP that breaks one connection after so many bytes of one side, and lets the others pass."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.relay import CLIENT, SERVER, Listener, socket_of

__all__ = ["FIN", "RST", "STALL", "Fault", "Proxy"]

FIN, RST, STALL = "fin", "rst", "stall"

#: Close without a good-bye: what is not yet sent is dropped, and the other side gets a RST.
_NO_LINGER = struct.pack("ii", 1, 0)
#: Seconds for a server to notice that its client has gone.
_PATIENCE = 20.0


class Fault(NamedTuple):
    """What happens to the first connection, right after so many bytes of this side have been passed on.

    ``fin`` closes it, ``rst`` resets it, ``stall`` keeps it and passes nothing on any more.
    """

    how: str
    side: str
    after: int


class Proxy(Listener):
    """Stands in front of the server of ``url``. Behind its block the server is done with all that came through here.

    ``piece`` is how many bytes are passed on at once.
    """

    def __init__(self, url: str, fault: Fault | None = None, piece: int = 1 << 16) -> None:
        super().__init__()
        self._server = socket_of(url)
        self._parts = urlsplit(url)
        self._fault = fault
        self._piece = piece
        self._struck, self._released = threading.Event(), threading.Event()
        #: How many bytes each side has said, by connection.
        self.passed: list[dict[str, int]] = []

    @property
    def url(self) -> str:
        """The way to the server through here."""
        user = self._parts.netloc.rpartition("@")[0]
        return self._parts._replace(netloc=f"{user}@127.0.0.1:{self.port}", query="").geturl()

    def strikes(self) -> bool:
        """Whether the fault took place; where the last byte before it has just been passed on, once it is done."""
        fault = self._fault
        comes = fault is not None and bool(self.passed) and self.passed[0][fault.side] == fault.after
        return comes and self._struck.wait(_PATIENCE)

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        super().__exit__(*exc)

    def _listening(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        return listener

    def _serve(self, client: socket.socket) -> None:
        fault = None if self.passed else self._fault
        passed = {CLIENT: 0, SERVER: 0}
        self.passed.append(passed)
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(_PATIENCE)
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.connect(self._server)
                with suppress(OSError):
                    self._pass_on(client, server, passed, fault)
                if fault is not None and passed[fault.side] == fault.after:
                    self._strike(client, fault.how)
                else:
                    _hang_up(client)
            _outlive(server)

    def _pass_on(
        self, client: socket.socket, server: socket.socket, passed: dict[str, int], fault: Fault | None
    ) -> None:
        """Until one side ends, or the fault is there."""
        ends = {client: (CLIENT, server), server: (SERVER, client)}
        with selectors.DefaultSelector() as selector:
            for end in ends:
                selector.register(end, selectors.EVENT_READ)
            while fault is None or passed[fault.side] < fault.after:
                for key, _ in selector.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    side, target = ends[source]
                    is_counted = fault is not None and fault.side == side
                    left = fault.after - passed[side] if fault is not None and is_counted else self._piece
                    data = source.recv(min(self._piece, left))
                    if not data:
                        return
                    # Counted first: who has its answer finds it counted.
                    passed[side] += len(data)
                    target.sendall(data)
                    if is_counted and len(data) == left:
                        return

    def _strike(self, client: socket.socket, how: str) -> None:
        if how == RST:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            client.close()
        elif how == FIN:
            _hang_up(client)
        self._struck.set()
        if how == STALL:
            self._released.wait()


def _hang_up(client: socket.socket) -> None:
    """By FIN; a plain close would be a RST where something was left unread."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _outlive(server: socket.socket) -> None:
    """Hang up, and wait until the server has noticed: what it was told before is done then, or undone."""
    with suppress(ConnectionError):
        server.shutdown(socket.SHUT_WR)
        while server.recv(1 << 16):
            pass
