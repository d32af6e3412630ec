"""Who stands between clients and a server: listens, and serves each client in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

__all__ = ["CLIENT", "SERVER", "Listener", "socket_of"]

CLIENT, SERVER = "client", "server"

L = TypeVar("L", bound="Listener")


def socket_of(url: str) -> str:
    """The socket of the server of a URL, as the tests' server has it."""
    options = parse_qs(urlsplit(url).query)
    return f"{options['host'][0]}/.s.PGSQL.{options.get('port', ['5432'])[0]}"


class Listener:
    """As a context manager it listens inside the block; whoever inherits says where, and what is done with a client."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self: L) -> L:
        self._listener = self._listening()
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        # Who waits for a socket is woken by its shutdown, not by its being closed here.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for opened in [self._listener, *self._kept]:
            opened.close()

    def cut(self) -> None:
        """Break the connections that pass through here, as a network does."""
        for opened in list(self._kept):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _listening(self) -> socket.socket:
        raise NotImplementedError

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._kept.append(client)
                self._start(self._serve, client)

    def _start(self, task: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=task, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
