"""COPY FROM STDIN as a context manager, and COPY from and to the caller's files.

The statement is sent as a Query: pgpool-II does not forward CopyData after a COPY of the extended protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.errors import InterfaceError, InternalError
from lightvec.wire.execute import end_transaction
from lightvec.wire.protocol import COPY_DONE
from lightvec.wire.results import CopyResult, Result, RowClass
from lightvec.wire.session import Session

__all__ = ["CopyIn", "copy_in", "copy_stream"]

#: NoticeResponse, NotificationResponse and ParameterStatus, which a server may send at any time.
_EXPECTED = b"NAS"
#: Small pieces are joined to messages of this many bytes, because each message is a system call.
_BLOCK = 64 * 1024


@contextmanager
def copy_in(session: Session, sql: str) -> Iterator[CopyIn]:
    """A COPY FROM STDIN, whose data is written in the ``with`` block.

    An exception in the block ends the COPY with CopyFail: nothing is stored, and the connection stays
    usable. An error of the server is raised by :meth:`CopyIn.write`, or at the end of the block.
    """
    with _begun(session, CopyResult(sql)) as copy:
        if copy is None:
            raise InternalError(f"the server did not ask for the rows of {sql[:40]!r}")
        yield copy


def copy_stream(session: Session, sql: str, values: Sequence[Any], stream: Any, row_class: RowClass = list) -> Result:
    """Run a COPY from or to the caller's file, or from an iterable of str or bytes."""
    if values:
        raise InterfaceError("COPY takes no parameters: write the values into the statement, or load them by copy_rows")
    result = CopyResult(sql, row_class, stream, session.adapters.encoding)
    with _begun(session, result) as copy:
        if copy is not None:
            for block in _blocks(stream, result):
                copy.write(block)
    return result


@contextmanager
def _begun(session: Session, result: CopyResult) -> Iterator[CopyIn | None]:
    """Send the statement; None where it is complete because the server requests no data."""
    session.check_usable()
    was_inside = session.in_transaction
    copy = None
    try:
        if _begin(session, result):
            copy = CopyIn(session, result)
        yield copy
        if copy is not None:
            copy.finish()
        if not was_inside and result.command == "COPY":
            end_transaction(session, "COMMIT")
    except BaseException:
        try:
            if copy is not None:
                copy.abandon()
        finally:
            session.abandon()  # In case of an interrupt before the end.
        raise


def _begin(session: Session, result: CopyResult) -> bool:
    """Send the statement; whether the server requests data."""
    ends = (protocol.CopyInResponse, protocol.ReadyForQuery)
    with session.turn("idle", [result]):
        # A COPY TO STDOUT or another statement takes effect without further messages.
        session.send(protocol.query(session.encode(result.sql)), takes_effect=True)
        event = session.read_until(ends, result)
        if type(event) is protocol.ErrorResponse:
            session.read_ready([result])
        elif type(event) is protocol.CopyInResponse:
            session.begin_copy()
        elif not result.is_done and result.error is None:
            raise InternalError("the server did not answer the statement; the connection is closed")
    if result.error is not None:
        raise result.error
    return type(event) is protocol.CopyInResponse


class CopyIn:
    """A COPY FROM STDIN that has begun; see :func:`copy_in`."""

    def __init__(self, session: Session, result: CopyResult) -> None:
        self._session = session
        self.result = result
        self._is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data as one CopyData message."""
        self.write_message(protocol.copy_data(bytes(data)))

    def write_message(self, message: bytes | bytearray | memoryview) -> None:
        """Send a complete CopyData message without copying it."""
        with self._session.turn("copying", [self.result]):
            has_failed = self._session.transport.send_reading(message, self._has_error)
        if has_failed:
            self._end(b"")

    def finish(self) -> None:
        """End the COPY before the end of the block does: the server stores the rows."""
        if not self._is_over:
            self._end(COPY_DONE)

    def _end(self, data: bytes) -> None:
        """End the COPY and read the answer."""
        self._is_over = True
        with self._session.turn("idle", [self.result]):
            if data:
                self._session.send(data, takes_effect=True)
            self._session.read_ready([self.result])
        if self.result.error is not None:
            raise self.result.error

    def abandon(self) -> None:
        """Have the server discard the rows, and ignore the error that it reports for that."""
        if self._is_over or self._session.closed:
            return
        self._is_over = True
        with self._session.turn("idle", [self.result]):
            self._session.send(protocol.copy_fail("the client's source of rows failed"))
            self._session.read_ready([self.result])

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
            session.handle(session.next_event(), self.result)
            session.transport.check_time()
        return False


def _blocks(source: Any, result: CopyResult) -> Iterator[bytes]:
    """The data of a file or an iterable, as bytes, in blocks."""
    if source is None:
        raise InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
    block = bytearray()
    for piece in _read(source) if hasattr(source, "read") else source:
        if isinstance(piece, str) and result.is_binary:
            raise InterfaceError("a binary COPY needs a source of bytes, got str: open a file with mode 'rb'")
        block += piece.encode(result.encoding) if isinstance(piece, str) else piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _read(file: Any) -> Iterator[Any]:
    while piece := file.read(_BLOCK):
        yield piece
