"""A session with a server: tracks its state and matches responses to requests in order.

Statements, pipelines, portals and COPY are made of what is here: :meth:`Session.run` sends requests
under one Sync and reads their answers; :meth:`Session.turn` is for exchanges of several steps. Any
exception in an exchange, KeyboardInterrupt included, leaves unread replies, so the connection is closed.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import getpid
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Literal

from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.wire import protocol
from lightvec.wire.adapters import Adapters
from lightvec.wire.errors import (
    ConnectionLost,
    DatabaseError,
    Error,
    ErrorFields,
    InterfaceError,
    InternalError,
    OperationalError,
    error_from_fields,
    lost_commit,
)
from lightvec.wire.protocol import IDLE, IN_FAILED_TRANSACTION, SYNC
from lightvec.wire.results import CopyResult, Result
from lightvec.wire.statements import Request, Statements
from lightvec.wire.timeouts import GRACE, Deadline, Limits

if TYPE_CHECKING:
    from lightvec.wire.auth import Backend
    from lightvec.wire.cancel import Canceller
    from lightvec.wire.settings import SettingsScope
    from lightvec.wire.transport import Transport

__all__ = ["Phase", "Session", "in_doubt"]

#: ``idle``: a statement can be sent. ``busy``: an answer is awaited. ``streaming``: the rows of a
#: portal are read in batches. ``copying``: the server takes the rows of a COPY. ``pipelining``: the
#: caller's iterable returns the values of executemany. ``broken``: the connection was lost or is out of
#: step. ``closed``: the caller closed it.
Phase = Literal["idle", "busy", "streaming", "copying", "pipelining", "broken", "closed"]

#: Phases in which no thread has the turn, except to look at the socket (``is_alive``).
_QUIET = ("idle", "streaming", "copying")
_BUSY = "the connection is in use by another thread: one thread at a time can use it"
_NOT_IDLE: dict[str, str] = {
    "streaming": "rows are being streamed on this connection: read them to their end or close them",
    "pipelining": "executemany is taking its values from an iterable: that cannot use the same "
    "connection; collect the values in a list first, or use another connection",
    "copying": "rows are being copied on this connection: wait for the end of the COPY",
}
#: Idle seconds after which the socket is polled before sending. Polling takes 0.4 µs of a query's 20,
#: and unsolicited messages rarely arrive on a busy connection.
_GAP = 0.001
_QUERY_CANCELED = "57014"
#: Seconds to search what has arrived for the error by which the server ended the connection.
_LAST_WORDS = 0.2
_COMPLETE = protocol.COMMAND_COMPLETE + protocol.EMPTY_QUERY
_READY = {b"Z\x00\x00\x00\x05" + status: status for status in (b"I", b"T", b"E")}
#: What a server may send at any time: NoticeResponse, NotificationResponse, ParameterStatus; an
#: ErrorResponse of an idle server is its last message.
_UNASKED = b"NASE"

#: The process, without a system call (0.2 of 16 µs). A fork in C is noticed after the next gap.
_process = getpid()


def _after_fork() -> None:
    global _process
    _process = getpid()


os.register_at_fork(after_in_child=_after_fork)


def in_doubt(
    *,
    sent: bool,
    ready: bool = False,
    failed: bool = False,
    completed: bool = False,
    fatal: str | None = None,
) -> bool:
    """Whether statements whose exchange ended in an error may have taken effect.

    ``sent``: the message that makes them take effect (Sync, Query, CopyDone) was sent whole.
    ``ready``: ReadyForQuery followed them. ``failed``: the server reported an error of a statement,
    which undoes all of them. ``completed``: it reported the end of the last one. ``fatal``: who sent a
    FATAL error, ``"server"`` or ``"pooler"``.

    PostgreSQL also ends a session (57P01) between the end of a COMMIT and ReadyForQuery: once in 300
    times. A pooler does not know what became of the statement that it passed on.
    """
    if not sent or ready or failed:
        return False
    return completed if fatal == "server" else True


class Session:
    """A connection that is logged in, with what is known of its server and its statements."""

    def __init__(
        self,
        transport: Transport,
        backend: Backend,
        *,
        limits: Limits | None = None,
        canceller: Canceller | None = None,
        prepare: bool = True,
    ) -> None:
        self.transport = transport
        self.adapters = Adapters()
        self.statements = Statements()
        self.limits = limits or Limits()
        self.prepare = prepare
        #: Whether a backslash escapes in every string (standard_conforming_strings is off).
        self.escapes_strings = False
        #: A connection for replication takes simple queries only.
        self.is_for_replication = False
        self.phase: Phase = "idle"
        self.transaction_status = IDLE
        self.parameter_statuses: dict[str, str] = {}
        self.notices: deque[dict[bytes, bytes]] = deque(backend.notices, maxlen=100)
        self.notifications: deque[tuple[int, str, str]] = deque(maxlen=100)
        #: Whether the server was asked for pgvector's types, and how settings hold for one statement.
        self.catalog_is_read = False
        self.settings_scope: SettingsScope | None = None
        #: Whether what makes the statements of the exchange take effect was sent.
        self.is_sent = False
        self._canceller = canceller
        self._key_data = backend.key_data
        self._process = getpid()
        # Reentrant, because only its owner can release it: an interrupt can come before or after acquire().
        self._turn = RLock()
        #: What ends the requests.
        self._end = b""
        self._last_used = 0.0
        self._next_phase: Phase = "idle"
        self._overrun: Deadline | None = None
        self._unknown_types: set[int] = set()
        #: How many transaction blocks have ended.
        self.transactions_ended = 0
        #: The first error of the failed transaction that is open.
        self._first_error: DatabaseError | None = None
        #: Whether a rollback may undo what was altered.
        self._has_altered = False
        for name, value in backend.parameter_statuses.items():
            self._set_parameter_status(name, value)
        transport.on_timeout = self._cancel_overrun

    # --- what is known ------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or broke; it cannot be used again."""
        return self.phase in ("broken", "closed")

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, a failed one too."""
        return self.transaction_status != IDLE

    @property
    def in_failed_transaction(self) -> bool:
        """Whether a statement failed in the open transaction block: only a rollback can follow."""
        return self.transaction_status == IN_FAILED_TRANSACTION

    @property
    def extension(self) -> ExtensionTypes:
        """What is known of pgvector so far."""
        return self.adapters.extension

    @property
    def server_version(self) -> int:
        """The server's version as libpq writes it: 180006 for 18.6.

        Text may follow the number ("15.4 (Debian 15.4-1)").
        """
        version = self.parameter_statuses.get("server_version", "")
        major, minor = re.match(r"(\d{0,9})\.?(\d{0,9})", version).groups()  # type: ignore[union-attr]
        return int(major or 0) * 10_000 + int(minor or 0)

    @property
    def backend_pid(self) -> int | None:
        """The process ID reported at login; poolers report one of their own."""
        return int.from_bytes(self._key_data[:4], "big") if self._key_data else None

    @property
    def belongs_here(self) -> bool:
        """Whether this process opened the connection, not one that it was forked from."""
        return self._process == getpid()

    def check_usable(self) -> None:
        """Raise if no statement can be sent now."""
        self._check_process()
        if self.phase == "closed":
            raise InterfaceError("connection is closed")
        if self.phase == "broken":
            lost = ", and with it the transaction that was open" if self.forget_transaction() else ""
            raise ConnectionLost(f"the connection is closed, because it broke earlier{lost}: connect again")
        if self.phase != "idle":
            raise InterfaceError(_NOT_IDLE.get(self.phase, _BUSY))
        if self.limits.is_over():
            if self.in_transaction:
                self._break()  # The server rolls back and releases its locks.
            raise OperationalError("the deadline has passed, so the statement was not sent")

    def _check_process(self) -> None:
        if not self.belongs_here:
            self.discard()
            raise InterfaceError(
                "the connection belongs to another process, which this one was forked from: connect in each process"
            )

    def forget_transaction(self) -> bool:
        """Note that the server rolled back the transaction of a broken connection; whether one was open."""
        was_open, self.transaction_status = self.in_transaction, IDLE
        return was_open

    def encode(self, sql: object) -> bytes:
        """SQL as it is sent."""
        if not isinstance(sql, str):
            raise InterfaceError(f"expected SQL as a str, got {type(sql).__name__}")
        if "\x00" in sql:
            raise InterfaceError("expected SQL without NUL characters, got one: send such a value as a parameter")
        try:
            return sql.encode(self.adapters.encoding)
        except UnicodeEncodeError as error:
            raise InterfaceError(
                f"expected SQL that can be sent as {self.adapters.encoding}, the client_encoding, got "
                f"{sql[error.start]!a} in it: SET client_encoding TO 'UTF8'"
            ) from None

    # --- exchanges ----------------------------------------------------------------------------

    def run(self, requests: Sequence[Request], end: bytes = SYNC) -> None:
        """Send requests under one Sync, read their answers, raise the first error among them."""
        transport, limits, closing = self.transport, self.limits, self.statements.closing
        reader = transport.reader
        parts: list[bytes] = []
        for request in requests:
            parts += request.parts
            request.parts = ()
        parts.append(end)
        began = False
        try:
            if not self._turn.acquire(False):
                self._await_turn()
            has_gap = monotonic() - self._last_used > _GAP or reader.start != reader.end
            is_limited = limits.deadline is not None or limits.command_timeout is not None
            if has_gap or is_limited or self.phase != "idle" or self._process != _process:
                self.check_usable()
            began = True
            self.phase = "busy"
            self._end, self._overrun = end, None
            if is_limited or transport.limit is not None:
                transport.limit = limits.statement()
            if closing:
                parts[:0] = closing
                closing.clear()
            if has_gap:
                self._read_unasked()  # What this closes, parts may still name.
            transport.send(b"".join(parts))
            self.is_sent = True
            transport.receive()
            if not self._read_expected(requests):
                self.read_ready(requests)
            if self.phase == "busy":  # Else another thread has closed the connection.
                self.phase = "idle"
            self.is_sent = began = False
            self._last_used = monotonic()
            self._turn.release()
        except BaseException as error:
            self._fail(error, began, requests)
            raise
        for request in requests:
            if request.error is not None:
                raise request.error

    def _await_turn(self) -> None:
        """Wait for a thread that only looks at the socket; refuse if it does more."""
        while self.phase in _QUIET:
            if self._turn.acquire(timeout=0.01):
                return
        self.check_usable()
        raise InterfaceError(_BUSY)

    def _read_expected(self, requests: Sequence[Request]) -> bool:
        """Read answers that are as expected in one go; False if they must be read message by message."""
        reader = self.transport.reader
        data = reader.view[reader.start : reader.end].tobytes()
        position = 0
        try:
            for request in requests:
                position = request.statement.read(data, position, request)
            self.transaction_status = _READY[data[position:]]
        except OSError:
            raise  # From the caller's signal handler, such as a TimeoutError.
        except Exception:
            # Raised again where the message that it is about is read.
            for request in requests:
                request.begin_reading()
            return False
        reader.start = reader.end = 0
        return True

    def read_ready(self, results: Iterable[Result]) -> None:
        """Read up to ReadyForQuery; what follows the last result still belongs to it."""
        following = iter(results)
        result = next(following)
        while (code := self.read(result)) != protocol.READY_FOR_QUERY:
            if code == protocol.PORTAL_SUSPENDED:
                raise InternalError("the server suspended a statement without being asked; the connection is closed")
            if code in _COMPLETE:
                result = next(following, result)
        if not result.is_done and result.error is None:
            raise InternalError("the server gave other answers than there were statements; the connection is closed")

    @contextmanager
    def turn(self, phase: Phase, results: Sequence[Result] = ()) -> Iterator[None]:
        """The turn, for an exchange of several steps; an exception in it closes the connection.

        ``phase`` is the next one. ``results`` are those that show whether a statement took effect.
        """
        began = False
        try:
            if not self._turn.acquire(False):
                self._await_turn()
            if self.phase not in _QUIET or self._process != _process:
                self.check_usable()
            began = True
            was_idle, self.phase = self.phase == "idle", "busy"
            self._end, self._next_phase = b"", phase
            self.transport.limit = self.limits.statement()
            if was_idle:
                self.is_sent = False
                self._overrun = None
                self._read_unasked()
            yield
            if self.phase == "busy":
                self.phase = self._next_phase
            began = False
            self._turn.release()
        except BaseException as error:
            self._fail(error, began, results)
            raise

    def send(self, data: bytes | bytearray | memoryview, *, takes_effect: bool = False) -> None:
        """Send, in a turn; ``takes_effect`` if ``data`` ends with a Sync, a Query or a CopyDone."""
        self.transport.send(data)
        self.is_sent = self.is_sent or takes_effect

    def read_until(self, ends: bytes, result: Result) -> bytes:
        """Read until a message with one of these codes, or an error; its code."""
        while (code := self.read(result)) not in ends and code != protocol.ERROR_RESPONSE:
            pass
        return code

    def begin_copy(self) -> None:
        """Take in, in a turn, that a COPY has begun: nothing takes effect before the CopyDone."""
        self._next_phase = "copying"
        self.is_sent = False

    def read(self, result: Result) -> bytes:
        """Read a message, or all the rows that have arrived, for this result; its code."""
        reader = self.transport.reader
        while True:
            if rows := reader.next_rows():
                result.add_rows(rows)
                return protocol.DATA_ROW
            if message := reader.next_message():
                self._handle(*message, result)
                return message[0]
            self.transport.receive()

    def _handle(self, code: bytes, body: bytes, result: Result) -> None:
        handle = _HANDLERS.get(code)
        if handle is not None:
            handle(self, body, result)
        elif code not in protocol.PLAIN:
            raise InternalError(f"the server sent an unexpected message {code!r}; the connection is closed")

    def _read_unasked(self) -> None:
        """Take in what an idle server sent: notices, notifications, settings, or its last error."""
        transport = self.transport
        while (transport.reader.has_bytes or transport.poll(0)) and (code := transport.peek()):
            if code not in _UNASKED:
                raise InternalError(f"the server sent {code!r} before it was asked; the connection is closed")
            result = Result()
            self.read(result)
            if result.error is not None:
                raise result.error
            transport.check_time()

    # --- how an exchange ends before its answers do ---------------------------------------------

    def _fail(self, error: BaseException, began: bool, results: Sequence[Result]) -> None:
        """Close the connection, unless nothing was sent; raise what says more than the error."""
        try:
            if not began:
                return
            if not isinstance(error, Exception):
                self._interrupt()
                return
            last = self._final_error() if isinstance(error, ConnectionLost) else None
            self._break()
            fatal = last or error
            if isinstance(fatal, Error) and self._is_doubtful(fatal, results):
                fatal.mark_in_doubt()
            if last is not None:
                raise last from None
        finally:
            self._release()

    def _release(self) -> None:
        """Give the turn back, if this thread has it."""
        with suppress(RuntimeError):
            self._turn.release()

    def _is_doubtful(self, error: Error, results: Sequence[Result]) -> bool:
        fatal = None
        if error.fields:
            # PgBouncer sends S (the severity in the server's language) only.
            fatal = "server" if "V" in error.fields else "pooler"
        return in_doubt(
            sent=self.is_sent,
            failed=any(each.error is not None and each.error is not error for each in results),
            completed=bool(results) and results[-1].is_done,
            fatal=fatal,
        )

    def _final_error(self) -> DatabaseError | None:
        """The error by which the server ended the connection, if it has arrived."""
        result, patience = Result(), Deadline(_LAST_WORDS)
        try:
            self.transport.limit = None
            while result.error is None and patience.remaining() and self.transport.peek():
                code, body = self.transport.read_message()
                if code == protocol.ERROR_RESPONSE:
                    self._on_error_response(body, result)
        except (OSError, Error):
            pass  # There is no more, or it is the error just read.
        return result.error if isinstance(result.error, DatabaseError) else None

    def abandon(self) -> None:
        """Close the connection if streamed or copied rows are unread."""
        if not self.belongs_here:
            self.discard()
        elif self.phase in _NOT_IDLE:
            self._break()

    def _interrupt(self) -> None:
        """Cancel the statement that an interrupt left, without waiting for its end."""
        try:
            if self._canceller is not None and not self.closed:
                self._canceller.cancel(Deadline(GRACE))
        except Error:
            pass  # The server will notice the end of the connection.
        finally:
            self._break()

    def _break(self) -> None:
        if self.phase != "closed":
            self.phase = "broken"
        self.transaction_status = IDLE
        self.transport.close()

    # --- messages -----------------------------------------------------------------------------

    def _on_row_description(self, body: bytes, result: Result) -> None:
        adapters = self.adapters
        columns = protocol.row_description(body, adapters.encoding)
        for column in columns:
            oid = column.type_oid
            if adapters.is_unknown(oid) and oid not in self._unknown_types:
                # Perhaps a vector of an extension created since: ask again, once for each type.
                self._unknown_types.add(oid)
                self.catalog_is_read = False
        decoders = [adapters.decoder(column.type_oid, column.format) for column in columns]
        result.describe(columns, decoders)

    def _on_command_complete(self, body: bytes, result: Result) -> None:
        result.complete(protocol.command_tag(body, "ascii"))
        (result.on_complete or self._forget_changed)(result)

    def _on_error_response(self, body: bytes, result: Result) -> None:
        fields = protocol.error_fields(body, self.adapters.encoding)
        error = error_from_fields(fields)
        is_overrun = self._overrun is not None and error.sqlstate == _QUERY_CANCELED
        if is_overrun and isinstance(error.fields, ErrorFields):
            error.fields.remedy = f"it took longer than {self._overrun}: allow it more time, or ask for less"
        result.error = result.error or error
        if not self.in_failed_transaction:
            self._first_error = error
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            raise error  # The server closes the connection.

    def _on_notice_response(self, body: bytes, result: Result) -> None:
        self.notices.append(protocol.notice_fields(body))

    def _on_notification_response(self, body: bytes, result: Result) -> None:
        self.notifications.append(protocol.notification(body, self.adapters.encoding))

    def _on_parameter_status(self, body: bytes, result: Result) -> None:
        self._set_parameter_status(*protocol.parameter_status(body, "utf-8"))

    def _set_parameter_status(self, name: str, value: str) -> None:
        self.parameter_statuses[name] = value
        if name == "client_encoding":
            self.adapters.encoding = protocol.python_encoding(value)
            self.statements.clear()
        elif name == "standard_conforming_strings":
            self.escapes_strings = value == "off"
        elif name in ("DateStyle", "IntervalStyle", "TimeZone"):
            self.statements.clear()  # Literals of prepared statements were read under the former one.

    def _on_ready_for_query(self, body: bytes, result: Result) -> None:
        status = protocol.transaction_status(body, "ascii")
        if self.in_transaction and status == IDLE:
            self.transactions_ended += 1
        self.transaction_status = status
        if status != IN_FAILED_TRANSACTION:
            self._first_error = None

    def _on_copy_in_response(self, body: bytes, result: Result) -> None:
        is_binary = protocol.copy_is_binary(body, "ascii")
        if isinstance(result, CopyResult):
            result.is_binary = is_binary
            return
        result.error = InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
        # The server ignored the Sync after the statement.
        self.transport.send(protocol.copy_fail("the client has no rows") + self._end)

    def _on_copy_out_response(self, body: bytes, result: Result) -> None:
        is_binary = protocol.copy_is_binary(body, "ascii")
        if isinstance(result, CopyResult):
            result.is_binary, result.is_out = is_binary, True
            return
        result.error = InterfaceError("COPY TO STDOUT needs a stream to write to: run(sql, stream=file)")

    def _on_copy_data(self, body: bytes, result: Result) -> None:
        if isinstance(result, CopyResult) and result.is_out:
            result.write(body)
        elif result.error is None:
            raise InternalError("the server sent rows of a COPY that had not begun; the connection is closed")

    def _on_empty_query(self, body: bytes, result: Result) -> None:
        result.complete_empty()

    def _forget_changed(self, result: Result) -> None:
        """Forget the statements that this command may have changed, lest they fail a transaction."""
        command = result.command
        if command.startswith(("ALTER", "CREATE", "DROP")):
            self.statements.clear()
            self._has_altered = True
            if command.endswith("EXTENSION"):
                self.forget_extension()
        elif command in ("DISCARD ALL", "DEALLOCATE ALL"):
            self.statements.clear(on_server=True)
        elif command == "COMMIT":
            self._has_altered = False
            self.transactions_ended += 1
        elif command == "ROLLBACK":  # To a savepoint, too.
            if self.in_failed_transaction:
                result.error = result.error or lost_commit(result.sql, self._first_error)
            if self._has_altered:
                self.statements.clear()

    def forget_extension(self) -> None:
        """Look pgvector's types up again before they are needed."""
        self.adapters.extension = NO_EXTENSION
        self.catalog_is_read = False
        self.statements.clear()

    # --- time, and the end --------------------------------------------------------------------

    def cancel(self, *, timeout: float = 10.0) -> None:
        """Have the server cancel what another thread runs here: that thread gets 57014.

        The request goes over a second connection, verified as the first. If nothing runs, nothing
        happens. ``OperationalError`` if the request is not delivered within ``timeout`` seconds.
        """
        if self._canceller is not None and not self.closed:
            self._canceller.cancel(Deadline(timeout, "timeout"))

    def _cancel_overrun(self) -> Deadline | None:
        """Cancel, once, what takes longer than its limit; how long to wait for its end."""
        if self._overrun is not None or self._canceller is None:
            return None
        self._overrun = self.transport.limit
        grace = self.limits.grace()
        try:
            self._canceller.cancel(grace)
        except Error:
            return None  # The server cannot be reached.
        return grace

    def is_alive(self) -> bool:
        """Whether the connection can be used, as far as is known without a round trip.

        A transaction that was open counts as open until the next statement or the commit reports that
        it is lost.
        """
        if self.closed or not self.belongs_here:
            return False
        if self.phase not in _QUIET:
            return True  # It is in use.
        try:
            if not self._turn.acquire(False):
                return True
            transport = self.transport
            if (transport.reader.has_bytes or transport.poll(0)) and transport.peek() == b"E":
                raise ConnectionLost("the server ended the connection")
        except Error:
            status = self.transaction_status
            self._break()
            self.transaction_status = status
        except BaseException:
            self._break()  # An interrupt may come between reading bytes and keeping them.
            raise
        finally:
            self._release()
        return not self.closed

    def close(self) -> None:
        """Close the connection. It never raises; closing twice is harmless."""
        try:
            if not self.closed and self.belongs_here:
                self.transport.send(protocol.TERMINATE)
        except Error:
            pass  # It is closed either way.
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the socket without a message: another process may use the connection."""
        self.phase = "closed"
        self.transport.close()


_HANDLERS: dict[bytes, Callable[[Session, bytes, Result], None]] = {
    protocol.ROW_DESCRIPTION: Session._on_row_description,
    protocol.COMMAND_COMPLETE: Session._on_command_complete,
    protocol.EMPTY_QUERY: Session._on_empty_query,
    protocol.ERROR_RESPONSE: Session._on_error_response,
    protocol.NOTICE_RESPONSE: Session._on_notice_response,
    protocol.NOTIFICATION_RESPONSE: Session._on_notification_response,
    protocol.PARAMETER_STATUS: Session._on_parameter_status,
    protocol.READY_FOR_QUERY: Session._on_ready_for_query,
    protocol.COPY_IN_RESPONSE: Session._on_copy_in_response,
    protocol.COPY_OUT_RESPONSE: Session._on_copy_out_response,
    protocol.COPY_DATA: Session._on_copy_data,
}
