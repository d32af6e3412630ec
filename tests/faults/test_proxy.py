"""The proxy itself: what goes through before the fault arrives, and nothing after it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.proxy import FIN, RST, STALL, Fault, Proxy
from tests.places import open_folder
from tests.relay import CLIENT, SERVER

_SAID = {CLIENT: b"what the client says", SERVER: b"what the server says"}


class Talk:
    """A client and a server, and the proxy between them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = {CLIENT: client, SERVER: server}
        for end in self.ends.values():
            end.settimeout(10)

    def say(self, side: str) -> None:
        """One side says what it has to say."""
        self.ends[side].sendall(_SAID[side])

    def heard(self, side: str, size: int) -> bytes:
        """What comes from a side, up to so many bytes."""
        (other,) = self.ends.keys() - {side}
        heard = b""
        while len(heard) < size and (data := self.ends[other].recv(size - len(heard))):
            heard += data
        return heard


@contextmanager
def talking(proxy: Proxy, listener: socket.socket) -> Iterator[Talk]:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        server, _ = listener.accept()
        with server:
            yield Talk(client, server)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    folder: Path = open_folder("proxy")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / ".s.PGSQL.5432"))
        listener.listen()
        listener.settimeout(10)
        yield listener
    (folder / ".s.PGSQL.5432").unlink()
    folder.rmdir()


def url(listener: socket.socket) -> str:
    return f"postgresql://user@/name?host={Path(listener.getsockname()).parent}"


@pytest.mark.parametrize("after", [0, 1, 7, 20])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("how", [FIN, RST, STALL])
def test_fault(how: str, side: str, after: int, listener: socket.socket) -> None:
    with Proxy(url(listener), Fault(how, side, after)) as proxy:
        with talking(proxy, listener) as talk:
            if after:
                talk.say(side)
            assert talk.heard(side, after) == _SAID[side][:after]
            assert proxy.strikes()
            client = talk.ends[CLIENT]
            if how == FIN:
                assert client.recv(1) == b""
            elif how == RST:
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            else:
                # Nothing more goes through, either way.
                for end in talk.ends.values():
                    end.setblocking(False)
                for each in (CLIENT, SERVER):
                    talk.say(each)
                    with pytest.raises(BlockingIOError):
                        talk.heard(each, 1)
            talk.ends[SERVER].close()
        check_passing(proxy, listener)


def test_without_a_fault(listener: socket.socket) -> None:
    with Proxy(url(listener)) as proxy:
        check_passing(proxy, listener)
        assert not proxy.strikes()
        assert proxy.passed == [{side: len(said) for side, said in _SAID.items()}]


def test_one_byte_at_a_time(listener: socket.socket) -> None:
    with Proxy(url(listener), piece=1) as proxy:
        check_passing(proxy, listener)


def test_it_ends_after_the_server(listener: socket.socket) -> None:
    """Only when the server has hung up, the block is over."""
    with Proxy(url(listener), Fault(FIN, CLIENT, 0)) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port))
        server, _ = listener.accept()
        assert server.recv(1) == b""
        assert proxy._threads[1].is_alive()
        server.close()
        client.close()
    assert not proxy._threads[1].is_alive()


def check_passing(proxy: Proxy, listener: socket.socket) -> None:
    with talking(proxy, listener) as talk:
        for side, said in _SAID.items():
            talk.say(side)
            assert talk.heard(side, len(said)) == said
        talk.ends[CLIENT].shutdown(socket.SHUT_WR)
        assert talk.heard(CLIENT, 1) == b""
