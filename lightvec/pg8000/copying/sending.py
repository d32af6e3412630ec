"""Blocks of a COPY onto the wire, with an ear for what the server says meanwhile.

A server that has something to say, a notice for each row from a trigger, stops taking rows when nobody listens: who
only writes then waits for it as it waits for him. An error is heard here too, so a long load ends when it has failed.
"""

from __future__ import annotations

import selectors
import socket

from lightvec.pg8000.exceptions import ConnectionLost
from lightvec.pg8000.wire import Wire

__all__ = ["make_room", "send_block"]

#: More than the kernel gives (net.core.wmem_max, 208 KB, doubled): it takes what it may.
_SOCKET_ROOM = 1 << 20
#: ``ssl.SSL_ERROR_WANT_READ`` and ``SSL_ERROR_WANT_WRITE``, without loading ssl where no TLS is used.
_SSL_WAITS = (2, 3)


def make_room(conn: Wire) -> None:
    """Give a local socket as much room as the kernel allows; TCP finds its own, and would stop to if it were told.

    With the usual 208 KB the kernel let client and server take turns on one processor: lists of 768 numbers went in at
    59,000 rows/s, with twice as much at 88,000 (an array: 112,000 and 124,000; psycopg 3 with C beside it: 92,000).
    """
    sock = conn._stream.socket
    if sock.family == getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_ROOM)


def send_block(conn: Wire, message: bytes | bytearray | memoryview) -> bool:
    """Send a message; whether the server said meanwhile that it takes no more."""
    with memoryview(message) as whole:
        sent = 0
        while sent < len(whole):
            with whole[sent:] as rest:
                count = _send_some(conn, rest)
                sent += count
                if count < len(rest) and _has_failed(conn):
                    conn._stream.send(whole[sent:])  # type: ignore[arg-type]  # a message is begun and must be ended
                    return True
    return _has_failed(conn)


def _send_some(conn: Wire, data: memoryview) -> int:
    """Send what the socket takes now; if that is nothing, wait until it takes more or the server speaks."""
    sock = conn._stream.socket
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        return sock.send(data)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and error.errno not in _SSL_WAITS:
            raise ConnectionLost(f"the connection broke while sending: {error.strerror or error!r}") from error
    finally:
        sock.settimeout(timeout)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        if not selector.select(timeout):
            raise ConnectionLost(f"the server took no data for {timeout:g} seconds; the connection is closed")
    return 0


def _has_failed(conn: Wire) -> bool:
    """Whether an error is what the server said; its notices are taken in."""
    stream = conn._stream
    while not stream.has_ended():
        if not stream.has_buffered:
            return False
        code, data = stream.read_message()
        conn.message_types[code](data, None)
    return True
