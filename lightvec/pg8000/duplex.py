"""Sending with an ear for what the server says meanwhile.

A server that has something to say, a notice for each row from a trigger or the answers to a thousand statements, stops
reading when nobody listens: who only writes then waits for it as it waits for him. An error is heard here too, so what
is long ends when it has failed.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from lightvec.pg8000.stream import Stream, not_sent, not_taken, would_wait

__all__ = ["make_room", "send_listening"]

#: More than the kernel gives (net.core.wmem_max, 208 KB, doubled): it takes what it may.
_SOCKET_ROOM = 1 << 20

#: Takes in a message of the server: its code, and what follows its length.
Hear = Callable[[bytes, bytes], None]


def make_room(stream: Stream) -> None:
    """Give a local socket as much room as the kernel allows; TCP finds its own, and would stop to if it were told.

    With the usual 208 KB the kernel let client and server take turns on one processor: lists of 768 numbers went in at
    59,000 rows/s, with twice as much at 88,000 (an array: 112,000 and 124,000; psycopg 3 with C beside it: 92,000).
    """
    sock = stream.socket
    if sock.family == getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_ROOM)


def send_listening(stream: Stream, message: bytes | bytearray | memoryview, hear: Hear, *, ends: bool = False) -> bool:
    """Send it whole; True if an error is what the server said meanwhile, which is left to be read.

    ``ends`` says that a Sync is the end of it: once that is sent the statement may take effect, and it is the reading
    of the answers that says so if the connection breaks.
    """
    with memoryview(message) as whole:
        sent = 0
        while sent < len(whole):
            with whole[sent:] as rest:
                count = _send_some(stream, rest)
                sent += count
                if count < len(rest) and _has_failed(stream, hear):
                    stream.send(whole[sent:])  # type: ignore[arg-type]  # a message is begun and must be ended
                    return True
    return not ends and _has_failed(stream, hear)


def _send_some(stream: Stream, data: memoryview) -> int:
    """Send what the socket takes now; if that is nothing, wait until it takes more or the server speaks."""
    sock, limit = stream.socket, stream.limit
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        return sock.send(data)
    except OSError as error:
        if not would_wait(error):
            raise not_sent(error) from error
    finally:
        sock.settimeout(timeout)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            ready = selector.select(timeout if limit is None else limit.remaining())
        except TimeoutError:
            ready = []
    if not ready:
        stream.limit = stream.when_over()
        if stream.limit is None:
            raise not_taken(limit)
    return 0


def _has_failed(stream: Stream, hear: Hear) -> bool:
    """Whether an error is what the server said; what it said before is taken in."""
    while code := stream.peek():
        if code == b"E":
            return True
        hear(*stream.read_message())
        stream.check_time(has_sent=True)
    return False
