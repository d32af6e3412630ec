"""COPY by pushing: begin it, write the data, and the end of the block ends it.

It begins by a Query: pgpool-II forwards no CopyData behind a COPY of the extended protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOBase
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.errors import InterfaceError, InternalError
from lightvec.wire.execute import end_transaction
from lightvec.wire.protocol import COPY_DONE
from lightvec.wire.results import CopyResult, Result, RowClass
from lightvec.wire.session import Session

__all__ = ["CopyIn", "copy_in", "copy_stream"]

#: What a server may send at any time, and the error that ends the COPY.
_EXPECTED = b"NAS"
#: Small pieces are put together to messages of about this many bytes: a message a row is a system call a row.
_BLOCK = 64 * 1024


@contextmanager
def copy_in(session: Session, sql: str) -> Iterator[CopyIn]:
    """A COPY FROM STDIN, whose data is written in the ``with`` block.

    An exception that leaves the block ends the COPY with CopyFail: nothing is kept, and the
    connection stays good. An error of the server is raised by :meth:`CopyIn.write`, or at the end.
    """
    with _begun(session, CopyResult(sql)) as copy:
        if copy is None:
            raise InternalError(f"the server did not ask for the rows of {sql[:40]!r}")
        yield copy


def copy_stream(session: Session, sql: str, values: Sequence[Any], stream: Any, row_class: RowClass = list) -> Result:
    """Run a COPY from or to what the caller gives: a file, or an iterable of text or bytes."""
    if values:
        raise InterfaceError("COPY takes no parameters: write the values into the statement, or load them by copy_rows")
    result = CopyResult(sql, row_class, stream, session.adapters.encoding)
    with _begun(session, result) as copy:
        if copy is not None:
            for block in _blocks(_as_bytes(_pieces(stream, result.is_binary), result)):
                copy.write(block)
    return result


@contextmanager
def _begun(session: Session, result: CopyResult) -> Iterator[CopyIn | None]:
    """A statement that was sent as a Query; None where the server asks for no data and its answer is over."""
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
            session.abandon()  # An interrupt may have come ahead of the end.
        raise


def _begin(session: Session, result: CopyResult) -> bool:
    """Send the statement; whether the server asks for data, else its answer is over."""
    ends = (protocol.CopyInResponse, protocol.ReadyForQuery)
    with session.turn("idle", [result]):
        # A COPY TO STDOUT, and whatever else it may be, takes effect without more ado.
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
        """Send a CopyData message that is complete, without a copy of it."""
        with self._session.turn("copying", [self.result]):
            has_failed = self._session.transport.send_reading(message, self._has_error)
        if has_failed:
            self._end(b"")

    def finish(self) -> None:
        """End the COPY, which the end of the block does else: the server stores what it was sent."""
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
        """Have the server discard what it was sent; the error that this makes is not the caller's."""
        if self._is_over or self._session.closed:
            return
        self._is_over = True
        with self._session.turn("idle", [self.result]):
            self._session.send(protocol.copy_fail("the client's source of rows failed"))
            self._session.read_ready([self.result])

    def _has_error(self) -> bool:
        """Take in what has come; whether it is an error, which is left to be read."""
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


def _pieces(source: Any, is_binary: bool) -> Iterable[Any]:
    if source is None:
        raise InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
    if is_binary and isinstance(source, TextIOBase):
        raise InterfaceError("a binary COPY needs a source of bytes, got a text file: open it with mode 'rb'")
    return _read(source) if hasattr(source, "read") else source


def _read(file: Any) -> Iterator[Any]:
    while piece := file.read(_BLOCK):
        yield piece


def _as_bytes(pieces: Iterable[Any], result: CopyResult) -> Iterator[bytes]:
    for piece in pieces:
        if not isinstance(piece, str):
            yield piece
        elif result.is_binary:
            raise InterfaceError("a binary COPY needs a source of bytes, got a str in it")
        else:
            yield piece.encode(result.encoding)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
