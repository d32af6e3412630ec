"""The socket of a connection: bytes out, and bytes in to the protocol's reader.

A wait ends at ``limit``. Then ``on_timeout`` is called, which cancels the statement and returns more
time for its end. A broken connection is a :class:`~lightvec.wire.errors.ConnectionLost`.
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

#: ``ssl.SSL_ERROR_WANT_READ`` and ``SSL_ERROR_WANT_WRITE``, without loading ssl.
_SSL_WAITS = (2, 3)

#: Seconds by which rounding may end a wait early.
_CLOCK_ERROR = 0.005

#: More than the kernel gives (net.core.wmem_max, 208 KB, doubled): it takes what it may.
_SEND_BUFFER = 1 << 20


class Transport:
    """An open socket and the reader of its bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = Reader()
        #: When waiting for the server ends; None is no limit.
        self.limit: Deadline | None = None
        self._has_timeout = False
        self.on_timeout: Callable[[], Deadline | None] = lambda: None
        #: Whether the socket has bytes or has ended, within a number of milliseconds: 0.3 µs.
        self.poll = _poll_of(sock, select.POLLIN)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``."""
        try:
            if self.limit is not None or self._has_timeout:
                self._set_timeout()
            self.socket.sendall(data)
        except TimeoutError as error:
            self._check_own_timeout(error)
            raise self._took_no_data() from None
        except OSError as error:
            raise _broke_sending(error) from None

    def receive(self) -> None:
        """Wait for bytes, and give them to the reader."""
        reader = self.reader
        view = reader.get_buffer()
        while True:
            try:
                if self.limit is not None or self._has_timeout:
                    self._set_timeout()
                received = self.socket.recv_into(view)
                break
            except TimeoutError as error:
                self._extend(error)
            except OSError as error:
                raise _broke_receiving(error) from None
        if not received:
            raise ConnectionLost("the server closed the connection before it had answered")
        reader.end += received

    def read_message(self) -> tuple[bytes, bytes]:
        """The code and the body of the next message."""
        while (message := self.reader.next_message()) is None:
            self.receive()
        return message

    def read_run(self, code: bytes) -> memoryview:
        """The next messages of this code and of one length; empty if the next has another code."""
        while not (run := self.reader.next_run(code)) and not self.reader.peek():
            self.receive()
        return run

    # --- without waiting ----------------------------------------------------------------------

    def receive_available(self) -> bool:
        """Give the reader what has arrived, without waiting; whether anything had."""
        timeout = self.socket.gettimeout()
        try:
            self.socket.settimeout(0)
            received = self.socket.recv_into(self.reader.get_buffer())
        except OSError as error:
            if _would_wait(error):
                return False
            reason = _reason(error)
            raise ConnectionLost(f"the connection broke while it was idle ({reason})") from None
        finally:
            with suppress(OSError):
                self.socket.settimeout(timeout)
        if not received:
            raise ConnectionLost("the server closed the connection")
        self.reader.buffer_updated(received)
        return True

    def peek(self) -> bytes:
        """The code of the next message; empty if it is incomplete."""
        code = self.reader.peek()
        while not code and self.receive_available():
            code = self.reader.peek()
        return code

    def send_reading(
        self,
        data: bytes | bytearray | memoryview,
        on_input: Callable[[], bool],
        *,
        ends: bool = False,
    ) -> bool:
        """Send all of ``data``, reading meanwhile; True as soon as ``on_input`` reports an error.

        A server with much to send (a notice for each row, the results of a thousand statements) stops
        reading until the client reads: a client that only writes would wait forever. ``on_input`` is
        called when bytes may have arrived, and handles them. ``ends`` says that ``data`` ends with a
        Sync, after which the caller waits for the results.
        """
        with memoryview(data) as whole:
            sent = 0
            while sent < len(whole):
                sent += self._send_some(whole[sent:])
                if sent < len(whole) and on_input():
                    self.send(whole[sent:])  # The server expects the rest of the message.
                    return True
        return not ends and on_input()

    def enlarge_send_buffer(self) -> None:
        """Give a Unix socket as much room as the kernel allows; TCP adapts its own.

        With the usual 208 KB the kernel let client and server take turns on one processor: lists of
        768 numbers went in at 59,000 rows/s, with twice as much at 88,000.
        """
        if self.socket.family == getattr(socket, "AF_UNIX", None):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def check_time(self) -> None:
        """Raise :class:`ConnectionLost` past the limit: input that never ends is read without waiting."""
        try:
            if self.limit is not None:
                self.limit.remaining()
        except TimeoutError as error:
            self._extend(error)

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self.socket.close()

    # --- waiting ------------------------------------------------------------------------------

    def _set_timeout(self) -> None:
        self._has_timeout = self.limit is not None
        self.socket.settimeout(None if self.limit is None else self.limit.remaining())

    def _send_some(self, data: memoryview) -> int:
        """Send what the socket takes now; if that is nothing, wait until it takes more or has input."""
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            return self.socket.send(data)
        except OSError as error:
            if not _would_wait(error):
                raise _broke_sending(error) from None
        finally:
            self.socket.settimeout(timeout)
        try:
            left = None if self.limit is None else self.limit.remaining()
            wait = _poll_of(self.socket, select.POLLIN | select.POLLOUT)
            if wait(None if left is None else left * 1000):
                return 0
        except TimeoutError as error:
            self._check_own_timeout(error)
        taken = self._took_no_data()
        self.limit = self.on_timeout()
        if self.limit is None:
            raise taken
        return 0

    def _extend(self, error: TimeoutError) -> None:
        """Go on waiting if ``on_timeout`` gives more time."""
        self._check_own_timeout(error)
        limit = self.limit
        self.limit = self.on_timeout()
        if self.limit is None:
            raise ConnectionLost(f"the server did not answer within {limit}; the connection is closed") from None

    def _check_own_timeout(self, error: TimeoutError) -> None:
        """Pass on a TimeoutError that the caller's signal handler raised: no limit has passed."""
        if error.errno == errno.ETIMEDOUT:  # TCP keepalive has failed.
            raise _broke_receiving(error) from None
        try:
            left = None if self.limit is None else self.limit.remaining()
        except TimeoutError:
            return
        if left is None or left > _CLOCK_ERROR:
            raise error

    def _took_no_data(self) -> ConnectionLost:
        return ConnectionLost(
            f"the server took no data within {self.limit}, so the statement did not take effect; "
            f"the connection is closed"
        )


def _poll_of(sock: socket.socket, events: int) -> Callable[[float | None], object]:
    poll = select.poll()
    poll.register(sock, events)
    return poll.poll


def _would_wait(error: OSError) -> bool:
    """Whether a non-blocking socket would have to wait; TLS may need to read in order to write."""
    return isinstance(error, BlockingIOError) or error.errno in _SSL_WAITS


def _broke_sending(error: OSError) -> ConnectionLost:
    # The Sync was not sent, and without it nothing takes effect.
    return ConnectionLost(
        f"the connection broke while sending ({_reason(error)}), so the statement did not take effect"
    )


def _broke_receiving(error: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection broke before the server had answered ({_reason(error)})")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
