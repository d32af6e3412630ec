"""The socket of a connection: bytes out, and what comes in goes to the protocol's reader.

A wait ends at ``limit``; ``on_timeout`` is asked then for more time, which it gives after it has
asked the server to cancel. Whatever breaks is a :class:`~lightvec.wire.errors.ConnectionLost`.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from lightvec.wire.errors import ConnectionLost
from lightvec.wire.protocol import Reader

if TYPE_CHECKING:
    from lightvec.wire.timeouts import Deadline

__all__ = ["Transport"]

#: ``ssl.SSL_ERROR_WANT_READ`` and ``SSL_ERROR_WANT_WRITE``, without loading ssl where no TLS is used.
_SSL_WAITS = (2, 3)

#: Seconds by which a time-out may come before its time, by rounding.
_CLOCK_ERROR = 0.005

#: More than the kernel gives (net.core.wmem_max, 208 KB, doubled): it takes what it may.
_SEND_BUFFER = 1 << 20


class Transport:
    """An open socket and the reader of what comes from it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = Reader()
        self.on_timeout: Callable[[], Deadline | None] = lambda: None
        self._limit: Deadline | None = None
        #: Whether the socket has something to read, or has ended, within so many milliseconds: 0.3 µs.
        self.poll = _poll_of(sock, select.POLLIN)

    @property
    def limit(self) -> Deadline | None:
        """When waiting for the server ends; None waits for ever."""
        return self._limit

    @limit.setter
    def limit(self, limit: Deadline | None) -> None:
        if limit is not None or self._limit is not None:
            self.socket.settimeout(None)
            self._limit = limit

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; :class:`ConnectionLost` if the connection does not take it."""
        try:
            if self._limit is not None:
                self.socket.settimeout(self._limit.remaining())
            self.socket.sendall(data)
        except TimeoutError as error:
            self._check_own_timeout(error)
            raise _took_no_data(self._limit) from error
        except OSError as error:
            raise _broke_sending(error) from error

    def receive(self) -> None:
        """Wait for bytes, and give them to the reader."""
        reader = self.reader
        if self._limit is None and reader.start == reader.end and not reader.has_bytes:
            # The way of nearly every answer: it saves 0.4 of 20 µs.
            try:
                reader.start, reader.end = 0, self.socket.recv_into(reader.buffer)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    self._check_own_timeout(error)
                raise ConnectionLost(
                    f"the connection broke before the server had answered ({_reason(error)})"
                ) from error
            if reader.end:
                return
            raise ConnectionLost("the server closed the connection before it had answered")
        reader.buffer_updated(self._receive_into(reader.get_buffer()))

    def read_message(self) -> tuple[bytes, bytes]:
        """The code and the body of the next message."""
        while (message := self.reader.next_message()) is None:
            self.receive()
        return message

    def read_run(self, code: bytes) -> memoryview:
        """The next messages of this code, as many of one length as have come; empty where another one is next."""
        while not (run := self.reader.next_run(code)) and not self.reader.peek():
            self.receive()
        return run

    # --- without waiting ----------------------------------------------------------------------

    def receive_available(self) -> bool:
        """Give the reader what has come, without waiting; whether anything had.

        :class:`ConnectionLost` where the connection has ended.
        """
        timeout = self.socket.gettimeout()
        try:
            self.socket.settimeout(0)
            received = self.socket.recv_into(self.reader.get_buffer())
        except OSError as error:
            if _would_wait(error):
                return False
            raise ConnectionLost(f"the connection broke while it was idle ({_reason(error)})") from error
        finally:
            with suppress(OSError):
                self.socket.settimeout(timeout)
        if not received:
            raise ConnectionLost("the server closed the connection")
        self.reader.buffer_updated(received)
        return True

    def peek(self) -> bytes:
        """The code of the next message if all of it has come; nothing if it has not."""
        code = self.reader.peek()
        while not code and self.receive_available():
            code = self.reader.peek()
        return code

    def send_reading(
        self, data: bytes | bytearray | memoryview, on_input: Callable[[], bool], *, ends: bool = False
    ) -> bool:
        """Send all of ``data``, reading meanwhile; True as soon as ``on_input`` says that the server failed.

        A server that has something to say (a notice for each row, the results of a thousand
        statements) stops reading when nobody listens: a client that only writes would wait for it
        for ever. ``on_input`` is called when bytes may have come, and handles them. ``ends`` says that
        a Sync is the end of ``data``: behind it, waiting for the results is the way to read.
        """
        with memoryview(data) as whole:
            sent = 0
            while sent < len(whole):
                count = self._send_some(whole[sent:])
                sent += count
                if sent < len(whole) and on_input():
                    self.send(whole[sent:])  # The server expects the rest of the message.
                    return True
        return not ends and on_input()

    def enlarge_send_buffer(self) -> None:
        """Give a Unix socket as much room as the kernel allows; TCP adapts its own.

        With the usual 208 KB the kernel let client and server take turns on one processor: lists of
        768 numbers went in at 59,000 rows/s, with twice as much at 88,000 (an array: 112,000 and 124,000).
        """
        if self.socket.family == getattr(socket, "AF_UNIX", None):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def check_time(self) -> None:
        """Raise :class:`ConnectionLost` past the limit: input that never ends is read without waiting, too."""
        try:
            if self._limit is not None:
                self._limit.remaining()
        except TimeoutError as error:
            self._extend(error)

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self.socket.close()

    # --- waiting ------------------------------------------------------------------------------

    def _receive_into(self, view: memoryview) -> int:
        while True:
            try:
                if self._limit is not None:
                    self.socket.settimeout(self._limit.remaining())
                received = self.socket.recv_into(view)
            except TimeoutError as error:
                self._extend(error)
            except OSError as error:
                raise ConnectionLost(
                    f"the connection broke before the server had answered ({_reason(error)})"
                ) from error
            else:
                if not received:
                    raise ConnectionLost("the server closed the connection before it had answered")
                return received

    def _send_some(self, data: memoryview) -> int:
        """Send what the socket takes now; if that is nothing, wait until it takes more or has input."""
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            return self.socket.send(data)
        except OSError as error:
            if not _would_wait(error):
                raise _broke_sending(error) from error
        finally:
            self.socket.settimeout(timeout)
        try:
            ready = self._wait_to_send()
        except TimeoutError as error:
            self._check_own_timeout(error)
            ready = False
        if not ready:
            limit = self._limit
            self._limit = self.on_timeout()
            if self._limit is None:
                raise _took_no_data(limit)
        return 0

    def _wait_to_send(self) -> bool:
        left = None if self._limit is None else self._limit.remaining()
        wait = _poll_of(self.socket, select.POLLIN | select.POLLOUT)
        return bool(wait(None if left is None else left * 1000))

    def _extend(self, error: TimeoutError) -> None:
        """Go on waiting if ``on_timeout`` gives more time."""
        self._check_own_timeout(error)
        limit = self._limit
        self._limit = self.on_timeout()
        if self._limit is None:
            raise ConnectionLost(f"the server did not answer within {limit}; the connection is closed") from error

    def _check_own_timeout(self, error: TimeoutError) -> None:
        """Let a TimeoutError pass that the caller's own signal handler raised: nobody's time was up."""
        if error.errno == errno.ETIMEDOUT:  # The kernel gave the peer up (TCP keepalive).
            raise _broke_receiving(error) from error
        try:
            left = None if self._limit is None else self._limit.remaining()
        except TimeoutError:
            return
        if left is None or left > _CLOCK_ERROR:
            raise error


def _poll_of(sock: socket.socket, events: int) -> Callable[[float | None], object]:
    """What waits for these events, for so many milliseconds."""
    poll = select.poll()
    poll.register(sock, events)
    return poll.poll


def _would_wait(error: OSError) -> bool:
    """Whether a non-blocking socket would have to wait; TLS may need to read in order to write."""
    return isinstance(error, BlockingIOError) or error.errno in _SSL_WAITS


def _broke_sending(error: OSError) -> ConnectionLost:
    # The Sync has not left, and without it nothing takes effect.
    return ConnectionLost(
        f"the connection broke while sending ({_reason(error)}), so the statement did not take effect"
    )


def _broke_receiving(error: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection broke before the server had answered ({_reason(error)})")


def _took_no_data(limit: Deadline | None) -> ConnectionLost:
    return ConnectionLost(
        f"the server took no data within {limit}, so the statement did not take effect; the connection is closed"
    )


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
