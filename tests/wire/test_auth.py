"""The login against a server that is played: what it may say, and what is said then."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from lightvec.wire.auth import Backend, log_in
from lightvec.wire.errors import CannotConnect, DatabaseError, InternalError
from lightvec.wire.transport import Transport

OK, READY = b"R\0\0\0\x08\0\0\0\0", b"Z\0\0\0\5I"


def message(code: bytes, body: bytes) -> bytes:
    return code + (len(body) + 4).to_bytes(4, "big") + body


def login(said: bytes, **params: Any) -> tuple[Backend, bytes]:
    """What a server tells that says this, and the StartupMessage that it got."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(5)
        far.sendall(said)
        given: dict[str, Any] = {"user": "me", "database": "db", "password": None, "startup": {"a": "b"}}
        backend = log_in(Transport(near), **given | {"trusted": True, "channel_binding": "prefer"} | params)
        return backend, far.recv(1000)


def test_a_login() -> None:
    said = OK + message(b"S", b"TimeZone\0UTC\0") + message(b"N", b"SNOTICE\0Mhello\0\0")
    backend, sent = login(said + message(b"K", b"12345678") + READY)
    assert backend == ({"TimeZone": "UTC"}, b"12345678", [{b"S": b"NOTICE", b"M": b"hello"}])
    assert sent == b"\0\0\0\x21\0\3\0\0user\0me\0database\0db\0a\0b\0\0"


def test_protocol_options_that_the_server_ignores() -> None:
    login(message(b"v", bytes(8)) + OK + READY)
    with pytest.raises(CannotConnect, match=r"the protocol options .*: leave them out of startup_params"):
        login(message(b"v", bytes(7) + b"\1_pq_.x\0"))


@pytest.mark.parametrize(
    "said",
    [
        READY,
        OK + OK,
        OK + message(b"R", b"\0\0\0\3"),
        OK + message(b"S", b"TimeZone\0UTC"),
        OK + message(b"T", b"\0\0"),
        OK + message(b"Z", b"X"),
        message(b"R", b"\0\0"),
        b"R\0\0\0\3",
    ],
    ids=repr,
)
def test_what_a_server_does_not_say(said: bytes) -> None:
    with pytest.raises(InternalError):
        login(said)


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        (b"SFATAL\0VFATAL\0C28000\0Mno line\0\0", "if it wants TLS, say sslmode=verify-full"),
        (b"SFATAL\0VFATAL\0C28000\0Mno role\0RInitializeSessionUserId\0\0", "as another user (user=, PGUSER)"),
        (b"SFATAL\0VFATAL\0C28000\0Mnot a peer\0Rauth_failed\0\0", "over TCP with a password (host=localhost)"),
        (b"SFATAL\0VFATAL\0C28P01\0Mwrong\0\0", "check the user and the password"),
        (b"SFATAL\0VFATAL\0C42501\0Mno CONNECT\0RCheckMyDatabase\0\0", "ask them to GRANT the privilege"),
        (b"SFATAL\0VFATAL\0C57P01\0Mstopping\0\0", "connect again when it is up"),
        (b"SFATAL\0VFATAL\0C57P03\0Mstarting\0\0", "connect again in a moment"),
        (b"SERROR\0C08P01\0MTLS required\0\0", "the pooler; if it wants TLS, say sslmode=verify-full"),
        (b"SFATAL\0VFATAL\0C22023\0Mbad option\0\0", ""),
    ],
)
def test_a_refusal_says_what_to_do(fields: bytes, remedy: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        login(message(b"E", fields))
    assert str(caught.value).endswith(remedy)
    assert "the connection is closed" not in str(caught.value)


def test_a_server_that_is_gone_before_it_is_spoken_to() -> None:
    """What it said tells more than that nothing could be sent."""
    near, far = socket.socketpair()
    far.sendall(message(b"E", b"SFATAL\0VFATAL\0C53300\0Mtoo many\0\0"))
    far.close()
    with near, pytest.raises(DatabaseError, match="too many") as caught:
        log_in(
            Transport(near),
            user="me",
            database="db",
            password=None,
            startup={},
            trusted=True,
            channel_binding="prefer",
        )
    assert caught.value.sqlstate == "53300"
