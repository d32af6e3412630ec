"""The reading end of the socket: messages in pieces, too long, too short, cut off, and an interrupt in the middle."""

from __future__ import annotations

import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import ConnectionLost, InternalError
from lightvec.wire.protocol import BUFFER_SIZE as _BUFFER
from lightvec.wire.timeouts import Deadline
from lightvec.wire.transport import Transport


@pytest.fixture
def pair() -> Iterator[tuple[Transport, socket.socket]]:
    near, far = socket.socketpair()
    near.settimeout(10)
    stream = Transport(near)
    yield stream, far
    stream.close()
    far.close()


def message(code: bytes, body: bytes) -> bytes:
    return code + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize("length", [0, 3, -1, 0x7FFFFFFF, 0x40000000])
def test_lengths_that_cannot_be(length: int, pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    far.sendall(b"D" + length.to_bytes(4, "big", signed=True) + bytes(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InternalError, match=f"got a length of {length}:"):
        stream.read_message()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "kilobytes"


def test_a_long_message_takes_memory_only_as_it_comes(pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    far.sendall(b"D" + (0x3FFFFFFF).to_bytes(4, "big") + bytes(1000))
    far.shutdown(socket.SHUT_WR)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConnectionLost, match="closed the connection"):
        stream.read_message()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "kilobytes"


@pytest.mark.parametrize("piece", [1, 3, 7])
def test_pieces(piece: int, pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    sent = [(b"D", bytes([number]) * number) for number in range(60)]
    data = b"".join(message(code, body) for code, body in sent)

    def deliver() -> None:
        for start in range(0, len(data), piece):
            far.sendall(data[start : start + piece])

    thread = threading.Thread(target=deliver)
    thread.start()
    assert [stream.read_message() for _ in sent] == sent
    thread.join()


@pytest.mark.parametrize("size", [_BUFFER - 6, _BUFFER - 5, _BUFFER - 4, _BUFFER, _BUFFER + 1, 5 * _BUFFER + 17])
def test_messages_about_as_long_as_the_buffer(size: int, pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sent = [(b"1", b"first"), (b"D", body), (b"2", b""), (b"C", b"last")]
    data = b"".join(message(code, body) for code, body in sent * 3)
    thread = threading.Thread(target=far.sendall, args=[data])
    thread.start()
    assert [stream.read_message() for _ in sent * 3] == sent * 3
    thread.join()


@pytest.mark.parametrize(
    "sent", [b"", b"D", b"D\x00\x00\x00\x09", b"D\x00\x00\x00\x09abc", b"D\x00\x0f\x00\x00" + b"x" * 99]
)
def test_the_end_in_the_middle(sent: bytes, pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    far.sendall(sent)
    far.close()
    with pytest.raises(ConnectionLost, match="closed the connection before it had answered"):
        stream.read_message()


def test_nobody_answers(pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    stream.limit = Deadline(0.05, "patience")
    with pytest.raises(ConnectionLost, match=r"did not answer within 0.05 s \(patience\)"):
        stream.read_message()
    stream.limit = Deadline(0.05)
    with pytest.raises(ConnectionLost, match=r"took no data within 0.05 s"):
        stream.send(bytes(50_000_000))
    assert far.fileno() >= 0


def test_sending_into_a_closed_socket(pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    far.close()
    with pytest.raises(ConnectionLost, match="broke while sending"):
        stream.send(bytes(1000))


def test_what_has_come_without_waiting(pair: tuple[Transport, socket.socket]) -> None:
    stream, far = pair
    assert not stream.poll(0)
    assert stream.peek() == b""
    far.sendall(message(b"N", b"kept")[:-1])
    assert stream.poll(0)
    assert stream.peek() == b"", "half a message is none"
    far.sendall(b"t")
    assert stream.peek() == b"N"
    assert stream.read_message() == (b"N", b"kept"), "what came meanwhile is not lost"
    assert stream.socket.gettimeout() == 10
    far.close()
    assert stream.poll(0)
    with pytest.raises(ConnectionLost, match="closed the connection"):
        stream.peek()


def test_a_time_out_of_the_callers_own_is_passed_on(pair: tuple[Transport, socket.socket]) -> None:
    """A handler of a signal may raise TimeoutError: nobody's time was up."""
    stream, _ = pair

    def expire(*_: Any) -> None:
        raise TimeoutError("the caller's")

    former = signal.signal(signal.SIGALRM, expire)
    try:
        for limit in (None, Deadline(60)):
            stream.limit = limit
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError, match="the caller's"):
                stream.read_message()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


# --- an interrupt in the middle of an answer ---------------------------------------------------------------------


class Interrupt(BaseException):
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise Interrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("sql", ["SELECT pg_sleep(5)", "BEGIN; SELECT pg_sleep(5)"])
def test_an_interrupt_leaves_no_answer_for_the_next_statement(sql: str, url: str, alarm: None) -> None:
    connection = connect(url)
    started = time.monotonic()
    with pytest.raises(Interrupt):
        connection.run(sql)
    assert time.monotonic() - started < 3
    assert connection.closed
    assert not connection.in_transaction
    with pytest.raises(ConnectionLost, match="connect again"):
        connection.run("SELECT 1")
    connection.close()


def test_an_interrupt_in_the_source_of_a_copy(conn: Connection, url: str) -> None:
    def rows() -> Iterator[str]:
        yield "1\n" * 100_000
        raise Interrupt

    conn.run("DROP TABLE IF EXISTS interrupted; CREATE TABLE interrupted (id int)")
    with connect(url) as connection:
        with pytest.raises(Interrupt):
            connection.run("COPY interrupted FROM STDIN", stream=rows())
        assert connection.run("SELECT 'still good'") == [["still good"]]
    assert conn.run("SELECT count(*) FROM interrupted") == [[0]]
    conn.run("DROP TABLE interrupted")
