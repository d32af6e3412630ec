"""Who stands between client and server: passes everything on, takes something away, or puts something in."""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from tests.relay import CLIENT, SERVER, Listener

__all__ = ["CLIENT", "SERVER", "SSL_REQUEST", "Between", "answering", "forging", "handing_on", "passing", "watching"]

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL documentation, 54.7: length 8, code 80877103

#: What is done with a client's connection; the other function opens one to the server.
Behaviour = Callable[[socket.socket, Callable[[], socket.socket]], None]


class Between(Listener):
    """Listens on a loopback port in front of the server's; as a context manager, inside the block."""

    def __init__(self, server_port: int, behave: Behaviour) -> None:
        super().__init__()
        self._server_port = server_port
        self._behave = behave

    def _listening(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        return listener

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(10)
        # When the test is over, its sockets are closed.
        with suppress(OSError, ValueError), ExitStack() as opened:
            opened.enter_context(client)

            def to_server() -> socket.socket:
                return opened.enter_context(socket.create_connection(("127.0.0.1", self._server_port), 10))

            self._behave(client, to_server)


def pass_on(client: socket.socket, server: socket.socket, sides: list[str] | None = None) -> None:
    """Pass everything on, in both directions, until one side ends; in one thread, as one TLS connection wants it.

    Who speaks is added to ``sides``, before the other side hears it.
    """
    ends = {client: server, server: client}
    with selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while ready := selector.select(20):
            for key, _ in ready:
                source: Any = key.fileobj
                if sides is not None:
                    sides.append(CLIENT if source is client else SERVER)
                if not _hand_over(source, ends[source]):
                    return


def _hand_over(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what is there; False at the end."""
    source.settimeout(0)
    try:
        while data := source.recv(1 << 16):
            target.settimeout(10)
            target.sendall(data)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    return False


def passing(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
    """Nothing but passing on."""
    pass_on(client, to_server())


def watching(sides: list[str]) -> Behaviour:
    """Passing on, and noting who speaks."""

    def behave(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
        pass_on(client, to_server(), sides)

    return behave


def answering(answer: bytes, then: Behaviour) -> Behaviour:
    """Answers the request for TLS himself; a client that does not ask is passed on."""

    def behave(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
        first = client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
        if first != SSL_REQUEST:
            passing(client, to_server)
            return
        client.recv(8, socket.MSG_WAITALL)
        client.sendall(answer)
        then(client, to_server)

    return behave


def handing_on(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
    """Asks the server for TLS in the client's place, and passes on the handshake."""
    pass_on(client, asking_for_tls(to_server()))


def asking_for_tls(server: socket.socket) -> socket.socket:
    """The connection to the server, when the handshake can begin."""
    server.sendall(SSL_REQUEST)
    if server.recv(1) != b"S":
        raise ConnectionError("the server has no TLS, or the test is over")
    return server


def forging(context: ssl.SSLContext) -> Behaviour:
    """TLS with a certificate of his own to the client, and TLS that verifies nothing to the server."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    def then(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
        server = asking_for_tls(to_server())
        with context.wrap_socket(client, server_side=True) as near, trusting.wrap_socket(server) as far:
            pass_on(near, far)

    return answering(b"S", then)
