"""Servers that do not keep to SCRAM, or want too much: an error of ours, at once, and no word of the password."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire.scram import MAX_ITERATIONS
from tests.tls.sentences import check_remedy, check_silence

SECRET = "".join(("hunter", "2", "-", "secret"))
SALT = b"c2l4dGVlbiBieXRlcy4uLg=="
READY = b"Z\0\0\0\x05I"

#: What the server says at each step; the client's nonce is put in where there is an N.
Script = list[bytes]


def authentication(request: int, said: bytes = b"") -> bytes:
    return b"R" + (len(said) + 8).to_bytes(4, "big") + request.to_bytes(4, "big") + said


OFFER = authentication(10, b"SCRAM-SHA-256\0\0")
WELCOME = authentication(0) + READY


def first(said: bytes) -> bytes:
    return authentication(11, said)


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionError("the client is gone")
        data += piece
    return data


def nonce(message: bytes) -> bytes:
    """The client's nonce, if this message has it."""
    _, found, behind = message.partition(b"r=")
    return behind if found else b""


def play(connection: socket.socket, script: Script) -> None:
    """Say one thing after the other, each when the client has said something."""
    length = int.from_bytes(read(connection, 4), "big")
    read(connection, length - 4)
    known = b""
    for index, said in enumerate(script):
        connection.sendall(with_nonce(said, known))
        if index + 1 < len(script):
            header = read(connection, 5)
            known = nonce(read(connection, int.from_bytes(header[1:], "big") - 4)) or known
    with suppress(OSError):
        connection.recv(1)


def with_nonce(said: bytes, known: bytes) -> bytes:
    """The message with the nonce in it, and with a length that is right again."""
    if said[:1] != b"R" or b"<nonce>" not in said:
        return said
    request = int.from_bytes(said[5:9], "big")
    return authentication(request, said[9:].replace(b"<nonce>", known))


@contextmanager
def server(script: Script) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(10)
                    play(connection, script)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join(15)


def refusal(script: Script, **params: Any) -> str:
    """How a login to a server with this script ends: at once, and in our words."""
    given: dict[str, Any] = {"user": "me", "password": SECRET, "sslmode": "disable", "connect_timeout": 10}
    with server(script) as port:
        before = time.monotonic()
        with pytest.raises(OperationalError) as caught:
            connect(host="127.0.0.1", port=port, **given | params).close()
        assert time.monotonic() - before < 5
    check_silence(caught.value, SECRET)
    return check_remedy(caught.value)


FIRST = b"r=<nonce>abc,s=" + SALT + b",i=4096"

#: What is wrong with the server's first message.
WRONG_FIRST = {
    "nothing": b"",
    "no text": bytes(range(256)),
    "another nonce": FIRST.replace(b"<nonce>", b"x" * 24),
    "the client's nonce and no more": FIRST.replace(b"abc", b""),
    "an empty nonce": FIRST.replace(b"<nonce>abc", b""),
    "no nonce": FIRST.partition(b",")[2],
    "a nonce of other characters": FIRST.replace(b"abc", b"a c"),
    "a nonce with NUL": FIRST.replace(b"abc", b"a\0c"),
    "no salt": FIRST.replace(b",s=" + SALT, b""),
    "an empty salt": FIRST.replace(SALT, b""),
    "salt that is no base64": FIRST.replace(SALT, b"c2l4*GVlbg=="),
    "salt without its end": FIRST.replace(SALT, SALT[:-3]),
    "salt with too much of it": FIRST.replace(SALT, SALT + b"=="),
    "no iterations": FIRST.replace(b",i=4096", b""),
    "iterations that are no number": FIRST.replace(b"4096", b"4o96"),
    "no iteration": FIRST.replace(b"4096", b"0"),
    "fewer than none": FIRST.replace(b"4096", b"-1"),
    "iterations with zeros before them": FIRST.replace(b"4096", b"04096"),
    "iterations with an underscore": FIRST.replace(b"4096", b"4_096"),
    "iterations of other digits": FIRST.replace(b"4096", "\u0664".encode()),
    "iterations without an end": FIRST.replace(b"4096", b"9" * 5000),
    "another order": b"s=" + SALT + b",r=<nonce>abc,i=4096",
    "an extension that must be known": b"m=x," + FIRST,
    "that extension later": FIRST + b",m=x",
    "what is no attribute": FIRST + b",xyz",
    "a new line": FIRST + b"\n",
    "a NUL": FIRST + b"\0",
    "an error": b"e=other-error",
    "much": b"r=" + b"x" * 1_000_000,
}


@pytest.mark.parametrize("wrong", WRONG_FIRST)
def test_a_first_message_that_cannot_be(wrong: str) -> None:
    message = refusal([OFFER, first(WRONG_FIRST[wrong]), WELCOME])
    assert message.startswith("the server violates the protocol of the login that it offers (SCRAM): ")


@pytest.mark.parametrize("iterations", [MAX_ITERATIONS + 1, 10_000_000, 2**31 - 1, 9_999_999_999])
def test_too_many_iterations(iterations: int) -> None:
    message = refusal([OFFER, first(FIRST.replace(b"4096", str(iterations).encode())), WELCOME])
    assert message.startswith(f"the server wants {iterations:,} iterations for the password, more than the ")


def test_as_many_iterations_as_are_allowed_take_no_time() -> None:
    """A server that does not know the password: refused, but only when the client has computed."""
    script = [OFFER, first(FIRST.replace(b"4096", str(MAX_ITERATIONS).encode())), WELCOME]
    assert "without a proof" in refusal(script)


WRONG_FINAL = {
    "nothing": b"",
    "an error": b"e=invalid-proof",
    "no base64": b"v=****",
    "half of base64": b"v=YWJ",
    "no attribute": b"xyz",
    "a new line": b"v=YWJj\n",
}


@pytest.mark.parametrize("wrong", WRONG_FINAL)
def test_a_last_message_that_cannot_be(wrong: str) -> None:
    message = refusal([OFFER, first(FIRST), authentication(12, WRONG_FINAL[wrong]) + WELCOME])
    assert message.startswith("the server violates the protocol of the login that it offers (SCRAM): ")


def test_a_proof_that_is_wrong() -> None:
    message = refusal([OFFER, first(FIRST), authentication(12, b"v=" + SALT) + WELCOME])
    assert message.startswith("the server does not know the password that it asks for (SCRAM): ")


ORDERS: dict[str, Script] = {
    "welcome at once behind the offer": [OFFER, WELCOME],
    "welcome without a last message": [OFFER, first(FIRST), WELCOME],
    "the first message before the offer": [first(FIRST), WELCOME],
    "the last message before the offer": [authentication(12, b"v=" + SALT) + WELCOME],
    "the last message before the first": [OFFER, authentication(12, b"v=" + SALT) + WELCOME],
    "the first message twice": [OFFER, first(FIRST), first(FIRST), WELCOME],
    "ready without welcome": [READY],
    "ready behind the offer": [OFFER, READY],
    "an offer of nothing": [authentication(10, b"\0"), WELCOME],
    "an offer of what is not known": [authentication(10, b"OAUTHBEARER\0SCRAM-SHA-1\0\0"), WELCOME],
    "an offer that is no text": [authentication(10, bytes(range(1, 256)) + b"\0\0"), WELCOME],
    "only what is bound": [authentication(10, b"SCRAM-SHA-256-PLUS\0\0"), WELCOME],
    "Kerberos": [authentication(7), WELCOME],
    "what nobody knows": [authentication(99), WELCOME],
    "half a request": [b"R\0\0\0\x06\0\0", WELCOME],
    "another offer in between": [OFFER, first(FIRST), OFFER, WELCOME],
}


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_cannot_be(order: str) -> None:
    refusal(ORDERS[order])


@pytest.mark.parametrize("later", [authentication(3), authentication(5, b"salt"), OFFER], ids=["clear", "MD5", "SCRAM"])
def test_the_password_is_asked_for_once(later: bytes) -> None:
    asked: list[str] = []

    def password() -> str:
        asked.append("asked")
        return SECRET

    assert "it asks for the password a second time" in refusal([OFFER, later, WELCOME], password=password)
    assert asked == ["asked"]
