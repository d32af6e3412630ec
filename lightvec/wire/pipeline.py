"""Many statements under one Sync, whose answers are read while further ones are written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.errors import InterfaceError, InternalError
from lightvec.wire.execute import check_count, end_transaction, lacks_types, refresh_after, step
from lightvec.wire.lookup import read_catalog
from lightvec.wire.protocol import DESCRIBE_PORTAL, SYNC
from lightvec.wire.results import Result, RowClass
from lightvec.wire.session import Session
from lightvec.wire.settings import EXPLICIT
from lightvec.wire.statements import gives_rows

#: Bytes of one write: few system calls, and less than the buffers of sockets.
_PIECE = 32 * 1024

_EXECUTE = protocol.execute()
#: A syntax error, which rolls back the statements before it.
_ABANDON = protocol.parse(b"the client abandons the statements before this one", ())

Statements = Iterable[tuple[str, Sequence[Any]]]


def execute_many(
    session: Session,
    statements: Statements,
    oids: Sequence[int | None] = (),
    *,
    begin: str | None = None,
    row_class: RowClass = list,
) -> Result:
    """Run statements, each with its values; the result of the last, with the ``row_count`` of all.

    If one fails, or a value cannot be sent, none takes effect, and an open transaction block has
    failed. ``row_count`` is -1 if one of them has no count.
    """
    session.check_usable()
    iterator = iter(statements)
    first = next(iterator, None)
    if first is None:
        return Result(row_class=row_class)
    session.check_usable()  # The caller's iterable may have used the connection.
    if (not session.catalog_is_read or lacks_types(session, first[1])) and not session.in_failed_transaction:
        read_catalog(session)
    was_inside = session.in_transaction
    is_framed = session.settings_scope is EXPLICIT and begin is None and not was_inside
    pipeline = _Pipeline(session, oids, row_class)
    if begin is not None or is_framed:
        pipeline.add_step(begin or "BEGIN")
    try:
        result = pipeline.run(chain((first,), iterator), "COMMIT" if is_framed else None)
    except Exception as error:
        if begin is None and not was_inside and not session.closed:
            end_transaction(session, "ROLLBACK")
        if isinstance(statements, Sequence) and begin is None and refresh_after(session, error):
            return execute_many(session, statements, oids, row_class=row_class)
        raise
    if begin is None and not was_inside:
        end_transaction(session, "COMMIT")
    return result


class _Pipeline:
    """A pipeline: unsent messages, and results whose answers are unread."""

    def __init__(self, session: Session, oids: Sequence[int | None], row_class: RowClass) -> None:
        self._session = session
        self._oids = oids
        self._row_class = row_class
        self._unsent = bytearray()
        self._unread: deque[Result] = deque()
        self._parsed: tuple[str, list[int]] | None = None
        self._describe = b""
        self._counts: list[int] = []
        self._last = Result(row_class=row_class)
        self._error: BaseException | None = None

    def add_step(self, sql: str) -> None:
        """Add a statement of lightvec's own."""
        request = step(self._session, sql)
        self._unsent += b"".join(request.parts)
        request.on_complete = lambda result: None
        self._unread.append(request)

    def run(self, statements: Statements, commit: str | None) -> Result:
        """Send them all and read all answers."""
        session = self._session
        with session.turn("idle", [self._last]):
            failure = self._send_all(iter(statements))
            if failure is not None:
                self._unsent[:] = _ABANDON
            elif commit is not None:
                self.add_step(commit)
            session.transport.send_reading(self._unsent + SYNC, self._read_available, ends=True)
            session.is_sent = True
            while self._read() != protocol.READY_FOR_QUERY:
                pass
            if self._unread and self._error is None:
                raise _other_answers()
        if failure is not None or self._error is not None:
            raise failure or self._error or AssertionError
        self._last.row_count = -1 if -1 in self._counts else sum(self._counts)
        return self._last

    def _send_all(self, statements: Iterator[tuple[str, Sequence[Any]]]) -> Exception | None:
        """Send all statements, or up to the server's error; an error of the caller's is returned."""
        while True:
            try:
                pair = self._next(statements)
                if pair is None:
                    return None
                self._add(*pair)
            except Exception as error:
                return error
            if len(self._unsent) >= _PIECE:
                piece, self._unsent = self._unsent, bytearray()
                if self._session.transport.send_reading(piece, self._read_available):
                    return None

    def _next(self, statements: Iterator[tuple[str, Sequence[Any]]]) -> tuple[str, Sequence[Any]] | None:
        """The caller's next statement; its iterable must not use this connection."""
        session = self._session
        session.phase = "pipelining"
        try:
            return next(statements, None)
        finally:
            if session.phase == "pipelining":  # Else another thread has closed the connection.
                session.phase = "busy"

    def _add(self, sql: str, values: Sequence[Any]) -> None:
        if sql.lstrip()[:4].upper() == "COPY":
            raise InterfaceError("expected a statement with values, got COPY, which reads a stream: use copy_rows")
        check_count(values)
        parameters = self._session.adapters.parameters(values, self._oids)
        oids = [parameter.oid for parameter in parameters]
        if (sql, oids) != self._parsed:
            self._unsent += protocol.parse(self._session.encode(sql), oids)
            self._parsed = sql, oids
            self._describe = DESCRIBE_PORTAL if gives_rows(sql) else b""
        self._unsent += protocol.bind(parameters)
        self._unsent += self._describe
        self._unsent += _EXECUTE
        self._unread.append(Result(sql, self._row_class))
        self._last.is_done = False

    def _read_available(self) -> bool:
        """Handle what has arrived, up to an error; whether there is one."""
        session = self._session
        while code := session.transport.peek():
            if code == b"E":
                return True
            if self._read() == protocol.READY_FOR_QUERY:
                raise _other_answers()
            session.transport.check_time()
        return False

    def _read(self) -> bytes:
        """Read a message of an answer, or a notice or notification after the last one."""
        result = self._unread[0] if self._unread else self._last
        code = self._session.read(result)
        ends = code in (protocol.COMMAND_COMPLETE, protocol.EMPTY_QUERY)
        if ends and not self._unread:
            raise _other_answers()
        if result.error is not None:
            self._error = self._last.error = self._error or result.error
        if ends:
            self._unread.popleft()
            self._last.is_done = not self._unread
            if result.on_complete is None:
                self._counts.append(result.row_count)
                self._last, result.is_done = result, not self._unread
        return code


def _other_answers() -> InternalError:
    return InternalError("the server gave other answers than there were statements; the connection is closed")
