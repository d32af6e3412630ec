"""COPY FROM STDIN as a context manager, and COPY from and to the caller's files.

The statement is sent as a Query: pgpool-II does not forward CopyData after a COPY of the extended protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.errors import InterfaceError, InternalError, NotSupportedError
from lightvec.wire.execute import ask, end_transaction
from lightvec.wire.protocol import COPY_DONE
from lightvec.wire.results import CopyResult, Result, RowClass
from lightvec.wire.session import Session

__all__ = ["CopyIn", "copy_in", "copy_stream"]

#: NoticeResponse, NotificationResponse and ParameterStatus, which a server may send at any time.
_EXPECTED = b"NAS"
#: Small pieces are joined to messages of this many bytes, because each message is a system call.
_BLOCK = 64 * 1024
#: PGlite's process ID. Its process ends at CopyData (pglite-socket 0.2.17); a COPY TO works.
_PGLITE = 42
_FROM_STDIN = re.compile(r"\bFROM\s+STDIN\b", re.IGNORECASE)


def copy_stream(session: Session, sql: str, values: Sequence[Any], stream: Any, row_class: RowClass = list) -> Result:
    """Run a COPY from or to the caller's file, or from an iterable of str or bytes."""
    if values:
        raise InterfaceError("COPY takes no parameters: write the values into the statement, or load them by copy_rows")
    result = CopyResult(sql, row_class, stream, session.adapters.encoding)
    with copy_in(session, result) as copy:
        if copy.is_open:
            for block in _blocks(stream, result):
                copy.write(protocol.copy_data(block))
    return result


@contextmanager
def copy_in(session: Session, result: CopyResult) -> Iterator[CopyIn]:
    """Run a COPY; its data is written in the ``with`` block, where an exception ends it with CopyFail."""
    session.check_usable()
    if session.backend_pid == _PGLITE and _FROM_STDIN.search(result.sql):
        _refuse_pglite(session)
    was_inside = session.in_transaction
    copy = CopyIn(session, result)
    try:
        copy.begin()
        yield copy
        copy.finish()
        if not was_inside and result.command == "COPY":
            end_transaction(session, "COMMIT")
    except BaseException:
        try:
            copy.abandon()
        finally:
            session.abandon()  # In case of an interrupt before the end.
        raise


def _refuse_pglite(session: Session) -> None:
    if ask(session, "SELECT pg_catalog.version()", read=lambda version: "PGlite" in version) == [True]:
        raise NotSupportedError("PGlite does not implement COPY FROM STDIN: insert the rows, as with insert_many()")


class CopyIn:
    """A COPY, which is open while the server takes data."""

    def __init__(self, session: Session, result: CopyResult) -> None:
        self._session = session
        self.result = result
        self.is_open = False

    def begin(self) -> None:
        """Send the statement. A COPY TO STDOUT, or another statement, takes effect at once."""
        session, result = self._session, self.result
        ends = protocol.COPY_IN_RESPONSE + protocol.READY_FOR_QUERY
        with session.turn("idle", [result]):
            session.send(protocol.query(session.encode(result.sql)), takes_effect=True)
            code = session.read_until(ends, result)
            if code == protocol.ERROR_RESPONSE:
                session.read_ready([result])
            elif code == protocol.COPY_IN_RESPONSE:
                session.begin_copy()
            elif not result.is_done and result.error is None:
                raise InternalError("the server did not answer the statement; the connection is closed")
        if result.error is not None:
            raise result.error
        self.is_open = code == protocol.COPY_IN_RESPONSE

    def write(self, message: bytes | bytearray | memoryview) -> None:
        """Send a complete CopyData message without copying it."""
        with self._session.turn("copying", [self.result]):
            has_failed = self._session.transport.send_reading(message, self._has_error)
        if has_failed:
            self._end(b"")

    def finish(self) -> None:
        """End the COPY before the end of the block does: the server stores the rows."""
        if self.is_open:
            self._end(COPY_DONE, takes_effect=True)

    def abandon(self) -> None:
        """Have the server discard the rows; the error that it reports for that is ignored."""
        if self.is_open and not self._session.closed:
            self._end(protocol.copy_fail("the client's source of rows failed"), ignored=True)

    def _end(self, message: bytes, *, takes_effect: bool = False, ignored: bool = False) -> None:
        self.is_open = False
        with self._session.turn("idle", [self.result]):
            if message:
                self._session.send(message, takes_effect=takes_effect)
            self._session.read_ready([self.result])
        if self.result.error is not None and not ignored:
            raise self.result.error

    def _has_error(self) -> bool:
        """Handle the messages that have arrived; whether there is an error, which is left unread."""
        session = self._session
        while code := session.transport.peek():
            if code == b"E":
                return True
            if code not in _EXPECTED:
                raise InternalError(
                    f"the server sent {bytes(code)!r} in the middle of a COPY; the connection is closed"
                )
            session.read(self.result)
            session.transport.check_time()
        return False


def _blocks(source: Any, result: CopyResult) -> Iterator[bytes]:
    """The data of a file or an iterable, as bytes, in blocks."""
    if source is None:
        raise InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
    block = bytearray()
    for piece in iter(lambda: source.read(_BLOCK) or None, None) if hasattr(source, "read") else source:
        if isinstance(piece, str) and result.is_binary:
            raise InterfaceError("a binary COPY needs a source of bytes, got str: open a file with mode 'rb'")
        block += piece.encode(result.encoding) if isinstance(piece, str) else piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
