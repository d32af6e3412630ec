"""The two directions of an open socket: one write a statement, one large buffer for what comes back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from struct import Struct

from lightvec.pg8000.exceptions import ConnectionLost, InternalError
from lightvec.pg8000.limits import Deadline

__all__ = ["Stream", "not_sent", "not_taken", "would_wait"]

#: ``ssl.SSL_ERROR_WANT_READ`` and ``SSL_ERROR_WANT_WRITE``, without loading ssl where no TLS is used.
_SSL_WAITS = (2, 3)

_header = Struct("!ci").unpack_from

#: Room for the answers: large enough that a page of vectors is a handful of reads.
_BUFFER = 256 * 1024
#: The longest message that PostgreSQL sends (MaxAllocSize, src/include/utils/memutils.h).
_MAX_MESSAGE = 0x3FFFFFFF


class Stream:
    """A socket as pg8000's start-up expects it (``read``, ``write``, ``flush``) and as the wire uses it.

    Nothing that the server sent is read twice or left in a second buffer: start-up and statements read from here.

    ``when_over`` is asked for more time when a wait has come to its limit; None from it ends the wait.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.when_over: Callable[[], Deadline | None] = lambda: None
        self._limit: Deadline | None = None
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._unsent: list[bytes] = []

    @property
    def limit(self) -> Deadline | None:
        """When waiting for the other side ends; None waits for ever."""
        return self._limit

    @limit.setter
    def limit(self, limit: Deadline | None) -> None:
        if limit is None and self._limit is not None:
            self.socket.settimeout(None)
        self._limit = limit

    def write(self, data: bytes) -> None:
        """Keep ``data`` until :meth:`flush`."""
        self._unsent.append(bytes(data))

    def flush(self) -> None:
        """Send what was kept, in one write."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send ``data`` whole, in one write; :class:`ConnectionLost` if the connection does not take it."""
        try:
            if self._limit is not None:
                self.socket.settimeout(self._limit.remaining())
            self.socket.sendall(data)
        except TimeoutError as error:
            raise not_taken(self._limit) from error
        except OSError as error:
            raise not_sent(error) from error

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, what follows the length of a message; :class:`ConnectionLost` if they do not come."""
        if not 0 <= size <= _MAX_MESSAGE - 4:
            raise InternalError(
                f"expected a protocol message of 4 bytes to 1 GiB, got a length of {size + 4}: "
                f"this is not a PostgreSQL server, or bytes were lost; the connection is closed"
            )
        if size <= _BUFFER:
            self._fill(size)
            start, self._start = self._start, self._start + size
            return bytes(self._view[start : self._start])
        return self._read_long(size)

    def read_message(self) -> tuple[bytes, bytes]:
        """The next message: its one-letter code and what follows its length."""
        start, here = self._start, self._end - self._start
        if here >= 5:
            # Six of them answer a query, and they come together: this saves it 1 of 26 µs.
            code, length = _header(self._buffer, start)
            if 4 <= length < here:
                self._start = start + 1 + length
                return code, bytes(self._view[start + 5 : self._start])
        self._fill(5)
        code, length = _header(self._buffer, self._start)
        self._start += 5
        return code, self.read(length - 4)

    def read_run(self, wanted: bytes) -> tuple[bytes, memoryview, int]:
        """The next messages of the wanted code, as many of one length as are whole in the buffer, and their length.

        The bytes have each message's code and length in them, and are good until the next read. There are none where
        the next message has another code, which comes first, or is longer than the buffer: :meth:`read_message` has it.
        """
        self._fill(5)
        code, length = _header(self._buffer, self._start)
        size = length + 1
        if code != wanted or not 5 <= size <= _BUFFER:
            return code, self._view[:0], size
        self._fill(size)
        start, header = self._start, self._buffer[self._start : self._start + 5]
        end = start + size
        while end + size <= self._end and self._buffer[end : end + 5] == header:
            end += size
        self._start = end
        return code, self._view[start:end], size

    def peek(self) -> bytes:
        """The code of the next message if the whole of it is here; nothing, without waiting for more, if it is not.

        The part of a message that is here may be followed by the rest only when the server has got something else.
        """
        if not self._has_message():
            self._compact()
            self._end += self._receive_what_is_there()
        return bytes(self._view[self._start : self._start + 1]) if self._has_message() else b""

    def check_time(self, *, has_sent: bool) -> None:
        """Raise :class:`ConnectionLost` when the limit has passed: what is read without waiting may still never end."""
        try:
            if self._limit is not None:
                self._limit.remaining()
        except TimeoutError as error:
            if not has_sent:
                raise not_taken(self._limit) from error
            self._prolong(error)

    @property
    def has_bytes(self) -> bool:
        """Whether something was read that nobody has taken yet."""
        return self._start < self._end

    def has_ended(self) -> bool:
        """Whether an idle connection has ended, as far as this machine knows; no round trip.

        An idle server says nothing but notices and notifications, which are kept for later. An ErrorResponse then is
        its last word.
        """
        try:
            self.peek()
        except ConnectionLost:
            return True
        return self._start < self._end and self._buffer[self._start] == ord("E")

    def close(self) -> None:
        """Close the socket; what was kept or not yet read is forgotten."""
        self._unsent.clear()
        self.socket.close()

    def _fill(self, size: int) -> None:
        """Have at least ``size`` bytes, at most a buffer, ready at the start."""
        if self._end - self._start >= size:
            return
        if self._start + size > _BUFFER or self._start == self._end:
            self._compact()
        while self._end - self._start < size:
            self._end += self._receive_into(self._view[self._end :])

    def _compact(self) -> None:
        """Move what is left to the front of the buffer."""
        left = self._end - self._start
        self._buffer[:left] = self._buffer[self._start : self._end]
        self._start, self._end = 0, left

    def _has_message(self) -> bool:
        here = self._end - self._start
        if here < 5:
            return False
        length: int = _header(self._buffer, self._start)[1]
        # One that is longer than the buffer will never be whole in it: who waited for that would wait for ever.
        return here > length or length >= _BUFFER

    def _receive_what_is_there(self) -> int:
        """How many bytes came into the buffer without waiting; :class:`ConnectionLost` at the connection's end."""
        if self._end == _BUFFER:
            return 0
        timeout = self.socket.gettimeout()
        try:
            self.socket.settimeout(0)
            received = self.socket.recv_into(self._view[self._end :])
        except OSError as error:
            if would_wait(error):
                return 0
            raise ConnectionLost(f"the connection broke while nothing was asked of it ({_reason(error)})") from error
        finally:
            with suppress(OSError):
                self.socket.settimeout(timeout)
        if not received:
            raise ConnectionLost("the server closed the connection")
        return received

    def _read_long(self, size: int) -> bytes:
        """A message longer than the buffer, in memory that grows as its bytes really arrive."""
        data = bytearray(self._view[self._start : self._end])
        self._start = self._end = 0
        while len(data) < size:
            received = self._receive_into(self._view[: min(_BUFFER, size - len(data))])
            data += self._view[:received]
        return bytes(data)

    def _receive_into(self, view: memoryview) -> int:
        while True:
            try:
                if self._limit is not None:
                    self.socket.settimeout(self._limit.remaining())
                received = self.socket.recv_into(view)
            except TimeoutError as error:
                self._prolong(error)
            except OSError as error:
                raise _no_answer(f"the connection broke before the server had answered ({_reason(error)})") from error
            else:
                if not received:
                    raise _no_answer("the server closed the connection before it had answered")
                return received

    def _prolong(self, error: TimeoutError) -> None:
        """Go on waiting if there is a reason to; what was read until now is kept."""
        limit = self._limit
        self._limit = self.when_over()
        if self._limit is None:
            raise _no_answer(f"the server did not answer within {limit}; the connection is closed") from error


def would_wait(error: OSError) -> bool:
    """Whether a socket that must not wait would have to, to read or to write; TLS may need the other one for either."""
    return isinstance(error, BlockingIOError) or error.errno in _SSL_WAITS


def not_sent(error: OSError) -> ConnectionLost:
    """What is said where a connection breaks before the Sync has left, without which nothing takes effect."""
    return ConnectionLost(
        f"the connection broke while sending ({_reason(error)}), so the statement did not take effect"
    )


def not_taken(limit: Deadline | None) -> ConnectionLost:
    """The same where the server stops reading."""
    return ConnectionLost(
        f"the server took no data within {limit}, so the statement did not take effect; the connection is closed"
    )


def _no_answer(what: str) -> ConnectionLost:
    return ConnectionLost(what, in_doubt=True)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
