"""One session with a server: a phase, and requests whose answers come in their order.

Statements, pipelines, portals and COPY are made of what is here: :meth:`Session.run` sends requests
under one Sync and reads all of their answers; :meth:`Session.turn` is for exchanges of several steps.
One thread at a time has the turn. Whatever ends an exchange before its answers are over (an
exception of any kind, KeyboardInterrupt included) leaves unread replies, so the connection is closed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import getpid
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

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
)
from lightvec.wire.protocol import IDLE, IN_FAILED_TRANSACTION, SYNC, ColumnDescription
from lightvec.wire.results import CopyResult, Result
from lightvec.wire.statements import Request, Statements
from lightvec.wire.timeouts import GRACE, Deadline, Limits

if TYPE_CHECKING:
    from lightvec.wire.auth import Backend
    from lightvec.wire.cancel import Canceller
    from lightvec.wire.framing import Framing
    from lightvec.wire.transport import Transport

__all__ = ["Phase", "Session", "in_doubt"]

#: ``idle``: a statement can be sent. ``busy``: an answer is awaited. ``streaming``: the rows of a
#: portal are read in batches. ``copying``: the server takes the rows of a COPY. ``pipelining``: the
#: caller's iterable gives the values of executemany. ``broken``: the connection was lost or is out of
#: step. ``closed``: the caller closed it.
Phase = Literal["idle", "busy", "streaming", "copying", "pipelining", "broken", "closed"]

_BUSY = "the connection is in use by another thread: one thread at a time can use it"
_NOT_IDLE: dict[str, str] = {
    "streaming": "rows are being streamed on this connection: read them to their end or close them",
    "pipelining": "executemany is taking its values from an iterable: that cannot use the same connection; "
    "collect the values in a list first, or use another connection",
    "copying": "rows are being copied on this connection: wait for the end of the COPY",
}
#: Seconds behind which the socket is looked at before it is used again. A look is 0.4 µs of 20, and what
#: ends a connection, or comes unasked, does not come while the connection is used.
_GAP = 0.001
_QUERY_CANCELED = "57014"
#: Seconds in which what has come already is searched for the server's last words.
_LAST_WORDS = 0.2
_READY = b"Z\x00\x00\x00\x05"
_STATUSES = frozenset({b"I", b"T", b"E"})
#: What a server may send at any time: NoticeResponse, NotificationResponse, ParameterStatus; an
#: ErrorResponse of an idle server is its last word.
_UNASKED = b"NASE"


def in_doubt(
    *, sent: bool, ready: bool = False, failed: bool = False, completed: bool = False, fatal: str | None = None
) -> bool:
    """Whether statements whose exchange ended in an error may have taken effect.

    ``sent``: the message that makes them take effect (Sync, Query, CopyDone) was handed over whole.
    ``ready``: the server said ReadyForQuery behind them. ``failed``: it reported an error of a
    statement, which undoes all of them. ``completed``: it reported the end of the last one. ``fatal``:
    who sent a FATAL error, ``"server"`` or ``"pooler"``.

    PostgreSQL ends a session (57P01) also between the end of a COMMIT and ReadyForQuery: once in 300
    that it ended. A pooler does not know what became of the statement that it passed on.
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
        #: A connection for replication knows simple queries only.
        self.is_for_replication = False
        self.phase: Phase = "idle"
        self.transaction_status = IDLE
        self.parameter_statuses: dict[str, str] = {}
        self.notices: deque[dict[bytes, bytes]] = deque(backend.notices, maxlen=100)
        self.notifications: deque[tuple[int, str, str]] = deque(maxlen=100)
        #: Whether the server was asked for pgvector's types, and how settings hold for one statement.
        self.is_looked_up = False
        self.framing: Framing | None = None
        self._canceller = canceller
        self._key_data = backend.key_data
        self._process = getpid()
        self._turn = Lock()
        #: What ends the exchange, and whether it, or what else makes statements take effect, was sent.
        self._end = b""
        self._is_sent = False
        self._last_used = 0.0
        self._next_phase: Phase = "idle"
        self._overrun: Deadline | None = None
        self._unknown_types: set[int] = set()
        #: The first error of the failed transaction that is open.
        self._first_error: DatabaseError | None = None
        #: Whether a rollback may undo what was altered.
        self._has_altered = False
        self._handlers: dict[type, Callable[[Any, Result], None]] = {
            protocol.RowDescription: self._on_row_description,
            protocol.DataRows: self._on_data_rows,
            protocol.CommandComplete: self._on_command_complete,
            protocol.ErrorResponse: self._on_error_response,
            protocol.NoticeResponse: self._on_notice_response,
            protocol.NotificationResponse: self._on_notification_response,
            protocol.ParameterStatus: self._on_parameter_status,
            protocol.ReadyForQuery: self._on_ready_for_query,
            protocol.CopyInResponse: self._on_copy_in_response,
            protocol.CopyOutResponse: self._on_copy_out_response,
            protocol.CopyData: self._on_copy_data,
            protocol.Plain: self._on_plain,
        }
        for name, value in backend.parameter_statuses.items():
            self._on_parameter_status(protocol.ParameterStatus(name, value), Result())
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
        """What is known of pgvector by now."""
        return self.adapters.extension

    @property
    def server_version(self) -> int:
        """The server's version as libpq writes it: 180006 for 18.6.

        Servers and poolers write what they like behind the number ("15.4 (Debian 15.4-1)").
        """
        version = self.parameter_statuses.get("server_version", "")
        major, minor = re.match(r"(\d{0,9})\.?(\d{0,9})", version).groups()  # type: ignore[union-attr]
        return int(major or 0) * 10_000 + int(minor or 0)

    @property
    def backend_pid(self) -> int | None:
        """The process ID that the login gave; poolers make one up."""
        return int.from_bytes(self._key_data[:4], "big") if self._key_data else None

    @property
    def belongs_here(self) -> bool:
        """Whether this process opened the connection, not one that it was forked from."""
        return self._process == getpid()

    def check_usable(self) -> None:
        """Raise where no statement can be sent now."""
        if self.phase != "idle" or self._process != getpid() or self.limits.deadline is not None:
            self._check_usable()

    def _check_usable(self) -> None:
        self._check_process()
        if self.phase != "idle":
            self._refuse()
        if self.limits.is_over():
            if self.in_transaction:
                self._break()  # The server rolls back and releases its locks.
            raise OperationalError("the deadline has passed, so the statement was not sent")

    def _check_process(self) -> None:
        if self._process != getpid():
            self.discard()
            raise InterfaceError(
                "the connection belongs to another process, which this one was forked from: connect in each process"
            )

    def _refuse(self) -> None:
        if self.phase == "closed":
            raise InterfaceError("connection is closed")
        if self.phase == "broken":
            lost = ", and with it the transaction that was open" if self.forget_transaction() else ""
            raise ConnectionLost(f"the connection is closed, because it broke earlier{lost}: connect again")
        raise InterfaceError(_NOT_IDLE.get(self.phase, _BUSY))

    def forget_transaction(self) -> bool:
        """Take in that the server rolled back what a broken connection had begun; whether it was open."""
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
            ) from error

    # --- exchanges ----------------------------------------------------------------------------

    def run(self, requests: Sequence[Request], end: bytes = SYNC) -> None:
        """Send requests under one Sync, read their answers, raise the first error among them.

        What is expected is read as a whole, anything else message by message.
        """
        transport, closing = self.transport, self.statements.closing
        parts: list[bytes] = []
        for request in requests:
            parts += request.parts
        parts.append(end)
        with_turn = False
        try:
            with_turn = self._turn.acquire(blocking=False) or self._outwait_look()
            if not with_turn or self.phase != "idle":
                raise InterfaceError(_BUSY)
            self.phase = "busy"
            self._end = end
            if self.limits.are_set or transport.limit is not None:
                transport.limit = self.limits.statement()
            if closing:
                parts[:0] = closing
                closing.clear()
            if monotonic() - self._last_used > _GAP or transport.reader.has_bytes:
                self._read_unasked()  # What this closes, parts may still name.
            self._overrun = None
            transport.send(b"".join(parts))
            self._is_sent = True
            transport.receive()
            if not self._read_expected(requests):
                self.read_ready([request.result for request in requests])
            if self.phase == "busy":  # Else another thread has closed the connection.
                self.phase = "idle"
            self._is_sent = False
            self._last_used = monotonic()
            self._turn.release()
        except BaseException as error:
            if not with_turn and isinstance(error, Exception):
                raise  # Another thread has the turn.
            ended = self._ended_by(error, [request.result for request in requests])
            if ended is error:
                raise
            raise ended from error
        for request in requests:
            if request.result.error is not None:
                raise request.result.error

    def _outwait_look(self) -> bool:
        """Take the turn from a thread that only looks at the socket (``is_alive``); False where it runs something."""
        while self.phase != "busy" and not self.closed:
            if self._turn.acquire(timeout=0.01):
                return True
        return False

    def _read_expected(self, requests: Sequence[Request]) -> bool:
        """Read answers that are as expected, in one go; False where they are to be read message by message."""
        reader = self.transport.reader
        data = bytes(reader.view[reader.start : reader.end])
        position = 0
        try:
            for request in requests:
                statement = request.statement
                position = -1 if statement is None else statement.read(data, position, request.result)
                if position < 0:
                    break
            status = data[position + 5 :]
            if position >= 0 and status in _STATUSES and data.startswith(_READY, position):
                reader.start = reader.end = 0
                self.transaction_status = status
                return True
        except OSError:
            raise  # A signal handler's of the caller's own, such as a TimeoutError.
        except Exception:
            position = -1  # It is raised again, where the message that it is about is read.
        for request in requests:
            request.begin_reading()
        return False

    def read_ready(self, results: Iterable[Result]) -> None:
        """Read up to ReadyForQuery; after the last result, what comes still belongs to that."""
        following = iter(results)
        result = next(following)
        while True:
            event = self.next_event()
            self.handle(event, result)
            if event is protocol.PORTAL_SUSPENDED:
                raise InternalError("the server suspended a statement without being asked; the connection is closed")
            if type(event) is protocol.ReadyForQuery:
                if not result.is_done and result.error is None:
                    raise InternalError(
                        "the server gave other answers than there were statements; the connection is closed"
                    )
                return
            if type(event) is protocol.CommandComplete or event is protocol.EMPTY_QUERY:
                result = next(following, result)

    @contextmanager
    def turn(self, phase: Phase, results: Sequence[Result] = ()) -> Iterator[None]:
        """The turn, for an exchange of several steps; an exception in it closes the connection.

        ``phase`` is the one that the session has behind it. ``results`` are those that tell whether
        a statement has taken effect.
        """
        with_turn = False
        try:
            with_turn = self._turn.acquire(blocking=False) or self._outwait_look()
            if not with_turn or self.phase == "busy":
                raise InterfaceError(_BUSY)
            self._check_process()
            if self.closed:
                self._refuse()
            was_idle, self.phase = self.phase == "idle", "busy"
            self._end, self._next_phase = b"", phase
            self.transport.limit = self.limits.statement()
            if was_idle:
                self._is_sent = False
                self._overrun = None
                self._read_unasked()
            yield
            if self.phase == "busy":
                self.phase = self._next_phase
            self._turn.release()
        except BaseException as error:
            if not with_turn and isinstance(error, Exception):
                raise  # Another thread has the turn.
            ended = self._ended_by(error, results)
            if ended is error:
                raise
            raise ended from error

    def send(self, data: bytes | bytearray | memoryview, *, takes_effect: bool = False) -> None:
        """Send, in a turn; ``takes_effect`` where a Sync, a Query or a CopyDone ends it."""
        self.transport.send(data)
        self._is_sent = self._is_sent or takes_effect

    def takes_effect(self) -> None:
        """Take in, in a turn, that what makes the statements take effect was sent."""
        self._is_sent = True

    def read_until(self, ends: Sequence[object], result: Result) -> protocol.Event:
        """Read in a turn until one of these events, given as types or as plain ones, or an error; that event."""
        while True:
            event = self.next_event()
            self.handle(event, result)
            if type(event) is protocol.ErrorResponse or type(event) in ends or event in ends:
                return event

    def read_results(self, requests: Iterable[Request]) -> protocol.Event | None:
        """Read in a turn to the ends of these statements; the error that stopped it, if one did."""
        for request in requests:
            request.begin_reading()
            event = self.read_until((protocol.CommandComplete, protocol.EMPTY_QUERY), request.result)
            if type(event) is protocol.ErrorResponse:
                return event
        return None

    def begin_copy(self) -> None:
        """Take in, in a turn, that the server takes the rows of a COPY: nothing takes effect before the CopyDone."""
        self._next_phase = "copying"
        self._is_sent = False

    def next_event(self) -> protocol.Event:
        """The next event, waited for."""
        reader = self.transport.reader
        while (event := reader.next_event()) is None:
            self.transport.receive()
        return event

    def handle(self, event: protocol.Event, result: Result) -> None:
        """Take in an event that belongs to this result, or to none."""
        self._handlers[type(event)](event, result)

    def _read_unasked(self) -> None:
        """Take in what an idle server said: notices, notifications, settings, or its end."""
        transport = self.transport
        while (transport.reader.has_bytes or transport.poll(0)) and (code := transport.peek()):
            if code not in _UNASKED:
                raise InternalError(f"the server sent {bytes(code)!r} before it was asked; the connection is closed")
            result = Result()
            self.handle(self.next_event(), result)
            if result.error is not None:
                raise result.error
            transport.check_time()

    # --- how an exchange ends before its answers are over ---------------------------------------

    def _ended_by(self, error: BaseException, results: Iterable[Result]) -> BaseException:
        """Close the connection; the error to raise."""
        if isinstance(error, InterfaceError) and self.phase != "busy":
            self._turn.release()  # Nothing was sent.
            return error
        if isinstance(error, Error):
            said = self._last_words() if isinstance(error, ConnectionLost) else None
            self._break()
            fatal = error if said is None else said
            if self._is_doubtful(fatal, results):
                fatal.leave_in_doubt()
            return fatal
        if isinstance(error, Exception):
            self._break()
            return error
        self._interrupt()
        return error

    def _is_doubtful(self, error: Error, results: Iterable[Result]) -> bool:
        results = list(results)
        fatal = None
        if error.fields:
            # PgBouncer says S (the severity in the server's language) only.
            fatal = "server" if "V" in error.fields else "pooler"
        return in_doubt(
            sent=self._is_sent,
            failed=any(result.error is not None and result.error is not error for result in results),
            completed=bool(results) and results[-1].is_done,
            fatal=fatal,
        )

    def _last_words(self) -> DatabaseError | None:
        """The error by which the server ended the connection, if it came before the end was noticed."""
        result, patience = Result(), Deadline(_LAST_WORDS)
        try:
            self.transport.limit = None
            while result.error is None and patience.remaining() and self.transport.peek():
                event = self.next_event()
                if type(event) is protocol.ErrorResponse:
                    self.handle(event, result)
        except (OSError, Error):
            pass  # Nothing more is there, or the error just read says it.
        return result.error if isinstance(result.error, DatabaseError) else None

    def abandon(self) -> None:
        """Close the connection where it was left in the middle of streamed or copied rows."""
        if not self.belongs_here:
            self.discard()
        elif self.phase in _NOT_IDLE:
            self._break()

    def _interrupt(self) -> None:
        """End an exchange that an interrupt left: the server is told to stop, and not waited for."""
        try:
            if self._canceller is not None and not self.closed:
                self._canceller.cancel(Deadline(GRACE))
        except Error:
            pass  # The server will notice that the connection has ended.
        finally:
            self._break()

    def _break(self) -> None:
        if self.phase != "closed":
            self.phase = "broken"
        self._turn = Lock()
        self.transaction_status = IDLE
        self.transport.close()

    # --- events -------------------------------------------------------------------------------

    def describe(self, result: Result, columns: Sequence[ColumnDescription]) -> None:
        """Take in the columns of a result."""
        decoder = self.adapters.decoder
        result.describe(columns, [decoder(column.type_oid, column.format) for column in columns])

    def _on_row_description(self, event: protocol.RowDescription, result: Result) -> None:
        for column in event.columns:
            if self.adapters.is_unknown(column.type_oid) and column.type_oid not in self._unknown_types:
                # Perhaps a vector, of an extension that was created since: ask again, once for each such type.
                self._unknown_types.add(column.type_oid)
                self.is_looked_up = False
        self.describe(result, event.columns)

    def _on_data_rows(self, event: protocol.DataRows, result: Result) -> None:
        result.add_rows(event.bodies)

    def _on_command_complete(self, event: protocol.CommandComplete, result: Result) -> None:
        result.complete(event.tag)
        (result.on_complete or self._forget_changed)(result)

    def _on_error_response(self, event: protocol.ErrorResponse, result: Result) -> None:
        fields = event.fields
        error = error_from_fields(fields)
        if self._overrun is not None and error.sqlstate == _QUERY_CANCELED and isinstance(error.fields, ErrorFields):
            error.fields.remedy = f"it took longer than {self._overrun}: allow it more time, or ask for less"
        result.error = result.error or error
        if not self.in_failed_transaction:
            self._first_error = error
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            raise error  # The server closes the connection behind it.

    def _on_notice_response(self, event: protocol.NoticeResponse, result: Result) -> None:
        self.notices.append(event.fields)

    def _on_notification_response(self, event: protocol.NotificationResponse, result: Result) -> None:
        self.notifications.append((event.process_id, event.channel, event.payload))

    def _on_parameter_status(self, event: protocol.ParameterStatus, result: Result) -> None:
        self.parameter_statuses[event.name] = event.value
        if event.name == "client_encoding":
            encoding = protocol.python_encoding(event.value)
            self.transport.reader.encoding = self.adapters.encoding = encoding
            self.statements.clear()
        elif event.name == "standard_conforming_strings":
            self.escapes_strings = event.value == "off"
        elif event.name in ("DateStyle", "IntervalStyle", "TimeZone"):
            self.statements.clear()  # Literals of prepared statements were read under the former one.

    def _on_ready_for_query(self, event: protocol.ReadyForQuery, result: Result) -> None:
        self.transaction_status = event.status
        if event.status != IN_FAILED_TRANSACTION:
            self._first_error = None

    def _on_copy_in_response(self, event: protocol.CopyInResponse, result: Result) -> None:
        if isinstance(result, CopyResult):
            result.is_binary = event.is_binary
            return
        result.error = InterfaceError("COPY FROM STDIN needs a source of rows: run(sql, stream=file or iterable)")
        # The server ignores the Sync that was sent behind the statement.
        self.transport.send(protocol.copy_fail("the client has no rows") + self._end)

    def _on_copy_out_response(self, event: protocol.CopyOutResponse, result: Result) -> None:
        if isinstance(result, CopyResult):
            result.begin_out(event.is_binary)
            return
        result.error = InterfaceError("COPY TO STDOUT needs a stream to write to: run(sql, stream=file)")

    def _on_copy_data(self, event: protocol.CopyData, result: Result) -> None:
        if isinstance(result, CopyResult) and result.is_out:
            result.write(event.data)
        elif result.error is None:
            raise InternalError("the server sent rows of a COPY that had not begun; the connection is closed")

    def _on_plain(self, event: protocol.Plain, result: Result) -> None:
        if event is protocol.EMPTY_QUERY:
            result.complete_empty()

    def _forget_changed(self, result: Result) -> None:
        """Forget the statements that this command may have changed, so that no transaction fails by them."""
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
        elif command == "ROLLBACK":  # To a savepoint, too.
            result.rolled_back_by = self._first_error
            if self._has_altered:
                self.statements.clear()

    def forget_extension(self) -> None:
        """Ask for pgvector's types again before they are needed."""
        self.adapters.extension = NO_EXTENSION
        self.is_looked_up = False
        self.statements.clear()

    # --- time, and the end --------------------------------------------------------------------

    def cancel(self, *, timeout: float = 10.0) -> None:
        """Have the server stop what another thread runs here: that thread gets 57014.

        The server is asked on a second connection, verified as the first. Where nothing runs, nothing
        happens. An ``OperationalError`` says that the request did not get through in ``timeout`` seconds.
        """
        if self._canceller is not None and not self.closed:
            self._canceller.cancel(Deadline(timeout, "timeout"))

    def _cancel_overrun(self) -> Deadline | None:
        """Cancel, once, what takes longer than its limit; how long the server has to say that it did."""
        if self._overrun is not None or self._canceller is None:
            return None
        self._overrun = self.transport.limit
        grace = self.limits.grace()
        try:
            self._canceller.cancel(grace)
        except Error:
            return None  # Where the server cannot even be told, nothing more is to be expected.
        return grace

    def is_alive(self) -> bool:
        """Whether the connection can be used, as far as this machine knows; no round trip.

        A transaction that was open counts as open until the next statement or the commit says that it
        is lost.
        """
        if self.closed or not self.belongs_here:
            return False
        turn, with_turn = self._turn, False
        try:
            with_turn = turn.acquire(blocking=False)
            if not with_turn:
                return True  # Another thread reads from it right now.
            transport = self.transport
            if (transport.reader.has_bytes or transport.poll(0)) and transport.peek() == b"E":
                raise ConnectionLost("the server ended the connection")
            turn.release()
        except Error:
            status = self.transaction_status
            self._break()
            self.transaction_status = status
        except BaseException:
            if with_turn:
                self._break()  # An interrupt may have come between reading bytes and keeping them.
            raise
        return not self.closed

    def close(self) -> None:
        """Close the connection. It never raises, however the connection is; closing twice is harmless."""
        try:
            if not self.closed and self.belongs_here:
                self.transport.send(protocol.TERMINATE)
        except Error:
            pass  # It is closed either way.
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the socket without a word to the server, which may talk to another process on it."""
        self.phase = "closed"
        self.transport.close()
