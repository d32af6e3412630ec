"""A conversation with the server: what is sent, what is heard, and how it ends.

The handlers have the names of the protocol's messages (PostgreSQL documentation, 54.7), as pg8000's have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from string import ascii_uppercase
from threading import Lock
from typing import Any

from pg8000.converters import PG_PY_ENCODINGS
from pg8000.core import IDLE, IN_FAILED_TRANSACTION, IN_TRANSACTION

from lightvec.extension import NO_EXTENSION
from lightvec.pg8000 import messages
from lightvec.pg8000.citus import Begin
from lightvec.pg8000.copy import copy_in_messages
from lightvec.pg8000.duplex import Hear, send_listening
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    DatabaseError,
    Error,
    ErrorFields,
    InterfaceError,
    InternalError,
    error_from_fields,
)
from lightvec.pg8000.extension import LookUp
from lightvec.pg8000.libpq.cancel import Canceller
from lightvec.pg8000.limits import GRACE, Deadline, Limits
from lightvec.pg8000.login import LoggedIn
from lightvec.pg8000.messages import BINARY
from lightvec.pg8000.results import Decoder, Result, column_descriptions, text_decoder, unreadable, vector_decoders
from lightvec.pg8000.stream import Stream

__all__ = ["Answers", "Conversation"]

#: Types of extensions and users begin here (PostgreSQL, src/include/access/transam.h, FirstNormalObjectId).
_FIRST_USER_OID = 16_384

_BUSY = "the connection is in the middle of another statement: one thread at a time can use it"
_CANCELLED = "57014"
#: Seconds in which what has come already is looked through for the server's last words.
_LAST_WORDS = 0.2


class Answers:
    """How far the answers to one write are read: the results that they go to, and the one that they are at."""

    __slots__ = ("_following", "are_over", "result")

    def __init__(self, results: Iterable[Result]) -> None:
        self._following = iter(results)
        self.result = next(self._following)
        self.are_over = False

    def next_result(self) -> Result:
        """The result of the next statement; after the last one, what comes still belongs to that."""
        self.result = next(self._following, self.result)
        return self.result


def _strings(data: bytes, count: int) -> list[bytes]:
    """So many strings, each with a NUL behind it."""
    *strings, rest = data.split(b"\0")
    if len(strings) != count or rest:
        raise InternalError(f"expected {count} strings in a message, got {data[:40]!r}; the connection is closed")
    return strings


def _is_encoding(name: bytes) -> bool:
    """Whether Python knows an encoding of PostgreSQL."""
    wanted = name.decode("ascii", "replace").lower()
    try:
        return bytes(range(65, 91)).decode(str(PG_PY_ENCODINGS.get(wanted, wanted))) == ascii_uppercase
    except (LookupError, TypeError, UnicodeError):
        return False


class _Busy(Exception):
    """Another thread is speaking."""


class Conversation(LoggedIn):
    """A logged-in connection that reads answers into results, and closes itself when it is out of step."""

    def __init__(
        self, stream: Stream, *, trusted: bool = True, channel_binding: str = "prefer", **start_up: Any
    ) -> None:
        self._broken = False
        self._in_step = True
        self._turn = Lock()
        self._unread: Answers | None = None
        self._limits = Limits()
        self._canceller: Canceller | None = None
        self._overran: Deadline | None = None
        self._types = NO_EXTENSION
        self._looked_up = self._is_logged_in = False
        #: Whether a transaction is open that the caller knows nothing of.
        self._is_in_ours = False
        self._decoders: Mapping[tuple[int, int], Decoder] = vector_decoders(NO_EXTENSION)
        super().__init__(stream, trusted=trusted, channel_binding=channel_binding, **start_up)
        self._transaction_status = IDLE
        self._is_logged_in = True
        stream.when_over = self._cancel_overrun

    def bound_by(self, limits: Limits, canceller: Canceller) -> None:
        """Take over, after the login, what bounds each statement and what can cancel it."""
        self._limits = limits
        self._canceller = canceller

    @property
    def command_timeout(self) -> float | None:
        """Seconds that a statement may take, until it is cancelled; None is for ever. It can be set at any time."""
        return self._limits.command_timeout

    @command_timeout.setter
    def command_timeout(self, seconds: float | None) -> None:
        self._limits.command_timeout = seconds or None

    @property
    def deadline(self) -> Callable[[], float | None] | None:
        """What gives the milliseconds left for all statements; it can be set at any time, as for each call of a
        function that keeps its connection."""
        return self._limits.deadline

    @deadline.setter
    def deadline(self, deadline: Callable[[], float | None] | None) -> None:
        self._limits.deadline = deadline

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or broke; it cannot be used again."""
        return self._broken or self._usock is None

    def is_alive(self) -> bool:
        """Whether the connection can be used, as far as this machine knows; it asks the socket, not the server.

        Rows that were left unread are read first: what ended the connection may stand behind them. A transaction that
        was open counts as open until somebody was told that it is lost: by the next statement, or by the commit.
        """
        if self._turn.locked():
            return not self.closed  # Another thread is hearing from it right now.
        if self.has_unread_rows:
            with suppress(Error):
                self.exchange(b"", (), until=b"")
        status = self._transaction_status
        try:
            if not self.closed and self._stream.has_ended():
                self._break()
                self._transaction_status = status
        except BaseException:
            self._break()  # An interrupt may have come between reading bytes and keeping them.
            raise
        return not self.closed

    @property
    def has_unread_rows(self) -> bool:
        """Whether rows of the last statement were left to be read when they are asked for."""
        return self._unread is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, a failed one too."""
        return self._transaction_status in (IN_TRANSACTION, IN_FAILED_TRANSACTION)

    def forget_transaction(self) -> bool:
        """Take in that the server rolled back what a broken connection had begun; whether that was open until now."""
        was_open, self._transaction_status = self.in_transaction, IDLE
        return was_open

    @property
    def in_failed_transaction(self) -> bool:
        """Whether a transaction block is open in which a statement failed: only a rollback can follow."""
        return bool(self._transaction_status == IN_FAILED_TRANSACTION)

    @property
    def server_version(self) -> int:
        """The server's version as libpq writes it: 180006 for 18.6.

        Servers and poolers write what they like behind the number ("15.4 (Debian 15.4-1)", "19beta1"): only the
        number is read.
        """
        major, minor = re.match(r"(\d{0,9})\.?(\d{0,9})", self.parameter_statuses.get("server_version", "")).groups()  # type: ignore[union-attr]
        return int(major or 0) * 10_000 + int(minor or 0)

    @property
    def backend_pid(self) -> int | None:
        """The server's process, as the login named it; behind a pooler it is a number that the pooler made up."""
        key = self._backend_key_data
        return int.from_bytes(key[:4], "big") if key else None

    # Answers in

    def exchange(
        self,
        data: bytes,
        results: Iterable[Result] | Answers,
        until: bytes = b"Z",
        take_run: Callable[[memoryview, int], None] | None = None,
        hear: Hear | None = None,
        page: int = 0,
    ) -> bytes:
        """Send, and read into the results until a message of one of these codes came; that code. Without codes: send.

        ``take_run`` takes DataRows instead of the results: as many of one length as are there, and that length.
        ``hear`` takes what the server says while it is sent to; if that is an error, it is left and the code is E.
        ``page`` stops after so many rows, with the code D. The rest is read by an exchange with the same answers, or
        into their result before the next exchange: it is never in the way of another statement.

        Whatever stops this, an interrupt too, leaves the conversation out of step: the connection is closed, so that no
        later statement can read the rest of this one's answer. Who interrupts it does not wait for the server either,
        which is told to stop.
        """
        if self._turn.locked():
            raise InterfaceError(_BUSY)
        try:
            if not self._turn.acquire(blocking=False):
                raise _Busy
            if data:
                self._overran = None
            self.wait_anew()
            code = self._speak(data, results, until, take_run, hear, page)
            # Not in a finally: an interrupt before it closes the connection, which frees the turn, too.
            self._turn.release()
            return code
        except _Busy:
            raise InterfaceError(_BUSY) from None
        except ConnectionLost as lost:
            said = self._last_words()
            self._break()
            if said is not None:
                if lost.in_doubt:
                    said.leave_in_doubt()
                raise said from lost
            raise
        except Error as error:
            self._break()
            if not error.fields:
                self._leave_in_doubt(error)
            raise
        except Exception as error:
            self._break()
            failure = InternalError(f"the server's answer could not be read ({error!r}); the connection is closed")
            self._leave_in_doubt(failure)
            raise failure from error
        except BaseException:
            self.cut_short()
            raise

    def _speak(
        self,
        data: bytes,
        results: Iterable[Result] | Answers,
        until: bytes,
        take_run: Callable[[memoryview, int], None] | None,
        hear: Hear | None,
        page: int,
    ) -> bytes:
        if self._unread is not None and results is not self._unread:
            self._read_answers(self._unread, b"Z")
        if hear is not None:
            self._in_step = False
            if send_listening(self._stream, data, hear, ends=bool(until)):
                return b"E"
        elif data:
            self._hear_unasked()
            self._in_step = False
            self._stream.send(data)
        if take_run is not None:
            self._read_runs(take_run)
        if not until:
            return b""
        return self._read_answers(results if isinstance(results, Answers) else Answers(results), until, page)

    def _leave_in_doubt(self, error: Error) -> None:
        """Have an error that ends the conversation say that a statement is open, if one is."""
        if not self._in_step:
            error.leave_in_doubt()

    def close_unless_in_step(self) -> None:
        """End a statement of several exchanges that was left by an interrupt between two of them."""
        if not self._in_step and self._unread is None:
            self._break()

    def _last_words(self) -> DatabaseError | None:
        """What a server that ended the connection said of it, if that came before the end was noticed (57P01)."""
        context, patience = Result(None, list), Deadline(_LAST_WORDS)
        try:
            self._stream.limit = None
            self._stream.socket.settimeout(0)
            while context.error is None and patience.remaining():
                code, data = self._stream.read_message()
                if code == b"E":
                    self.handle_ERROR_RESPONSE(data, context)
        except (OSError, Error):
            pass  # Nothing more is there, or what was just read says it.
        return context.error if isinstance(context.error, DatabaseError) else None

    def _read_runs(self, take_run: Callable[[memoryview, int], None]) -> None:
        """Read up to a message that is no DataRow."""
        code = b"D"
        while code == b"D":
            code, run, size = self._stream.read_run(b"D")
            if code == b"D" and not run:
                run = memoryview(b"".join((code, (size - 1).to_bytes(4, "big"), self._stream.read_message()[1])))
            if run:
                take_run(run, size)

    def _read_answers(self, answers: Answers, until: bytes, page: int = 0) -> bytes:
        read_message, handlers = self._stream.read_message, self.message_types
        result, code = answers.result, b""
        while code == b"" or code not in until:
            code, data = read_message()
            if code in b"ZsI":
                self._check_end(code, result, until)
            handlers[code](data, result)
            # CommandComplete, EmptyQueryResponse and PortalSuspended end an answer; after an error all is silent.
            if code in b"CIs":
                self.take_up(result)
                result = answers.next_result()
            elif page and code == b"D":
                page -= 1
                if not page:
                    self._unread = answers
                    return code
        answers.are_over = True
        self._unread = None
        if code == b"Z" and self._is_in_ours:
            self._leave_ours()
        return code

    def _leave_ours(self) -> None:
        """Roll back a transaction of ours in which the caller's statement failed; one that did not is committed."""
        self._is_in_ours = False
        if self.in_failed_transaction:
            self._stream.limit = self._limits.grace()
            self._in_step = False
            self._stream.send(messages.query(b"ROLLBACK"))
            self._read_answers(Answers([Result("ROLLBACK", list)]), b"Z")

    def _check_end(self, code: bytes, result: Result, until: bytes) -> None:
        """Refuse ReadyForQuery and PortalSuspended where they were not asked for, or before the answers are over."""
        if code == b"I":
            result.be_empty()
        elif code not in until or (code == b"Z" and not result.is_answered and result.error is None):
            raise InternalError("the server gave other answers than there were statements; the connection is closed")

    def _hear_unasked(self) -> None:
        """Take in what the server said of itself and is no answer: a notice, a notification, a parameter, its end."""
        while self._stream.has_bytes and (code := self._stream.peek()):
            if code not in b"NASE":
                raise InternalError(f"the server said {code!r} before it was asked; the connection is closed")
            context = Result(None, list)
            self.message_types[code](self._stream.read_message()[1], context)
            if context.error is not None:
                raise context.error
            self._stream.check_time(has_sent=False)

    def handle_READY_FOR_QUERY(self, data: bytes, context: Any) -> None:
        """The server waits for the next statement, in a transaction or not."""
        if data not in (IDLE, IN_TRANSACTION, IN_FAILED_TRANSACTION):
            raise InternalError(f"expected a status of I, T or E, got {data[:9]!r}; the connection is closed")
        super().handle_READY_FOR_QUERY(data, context)
        self._in_step = True

    def handle_BACKEND_KEY_DATA(self, data: bytes, context: Any) -> None:
        """What statements are cancelled with, said at the login only."""
        self._check_logging_in()
        super().handle_BACKEND_KEY_DATA(data, context)

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Any) -> None:
        """As at the login, and only there."""
        self._check_logging_in()
        super().handle_AUTHENTICATION_REQUEST(data, context)

    def _check_logging_in(self) -> None:
        if self._is_logged_in:
            raise InternalError("the server began a login in the middle of a connection; the connection is closed")

    def handle_PARAMETER_STATUS(self, data: bytes, context: Any) -> None:
        """A setting that the client should know, and its value."""
        name, value = _strings(data, 2)
        if name == b"client_encoding" and not _is_encoding(value):
            raise InternalError(f"the server changed client_encoding to {value[:40]!r}, which is not known here")
        super().handle_PARAMETER_STATUS(data, context)

    def handle_NOTIFICATION_RESPONSE(self, data: bytes, context: Any) -> None:
        """A NOTIFY: the process that sent it, its channel and its payload."""
        channel, payload = (text.decode(self._client_encoding) for text in _strings(data[4:], 2))
        self.notifications.append((int.from_bytes(data[:4], "big"), channel, payload))

    def take_up(self, result: Result) -> None:
        """Learn pgvector's types from the answer that says them, in time for the rows of the next one."""
        if isinstance(result, LookUp):
            self._looked_up = True
            self._types = result.types
            self._decoders = vector_decoders(self._types)
        elif isinstance(result, Begin):
            self._is_in_ours = True
        elif result.command in ("CREATE EXTENSION", "DROP EXTENSION"):
            self._types, self._looked_up = NO_EXTENSION, False
            self._decoders = vector_decoders(NO_EXTENSION)

    def handle_ROW_DESCRIPTION(self, data: bytes, context: Result) -> None:
        """Which columns come, of which type and in which format."""
        columns = [*column_descriptions(data, self._client_encoding)]
        context.describe(columns, [self.decoder(column) for column in columns])

    def decoder(self, column: Mapping[str, Any]) -> Decoder:
        """How the values of a column are read that RowDescription describes so."""
        oid, column_format = column["type_oid"], column["format"]
        ours = self._decoders.get((oid, column_format))
        if ours is not None:
            return ours
        if oid >= _FIRST_USER_OID and oid not in self.pg_types:
            # Perhaps a vector: pgvector came since the types were asked for. Ask again, once for each such type.
            self._looked_up = False
        convert = self.pg_types[oid]
        return bytes if column_format == BINARY else text_decoder(convert, self._client_encoding)

    def handle_DATA_ROW(self, data: bytes, context: Result) -> None:
        """One row."""
        context.add_row(data)

    def handle_COMMAND_COMPLETE(self, data: bytes, context: Result) -> None:
        """The statement is done; its tag says what it did, and to how many rows."""
        (tag,) = _strings(data, 1)
        context.complete(tag.decode("ascii"))

    def handle_ERROR_RESPONSE(self, data: bytes, context: Any) -> None:
        """The statement failed; the fields say why."""
        fields = {
            part[:1].decode("ascii", "replace"): part[1:].decode(self._client_encoding, "replace")
            for part in data.split(b"\x00")
            if part
        }
        error = error_from_fields(fields)
        if self._overran is not None and error.sqlstate == _CANCELLED and isinstance(error.fields, ErrorFields):
            error.fields.remedy = f"it took longer than {self._overran}: allow it more time, or ask for less"
        context.error = context.error or error
        # The severity in English is V; PgBouncer says S only. Nothing more comes: the connection is closed behind it.
        if isinstance(context, Result) and fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            # PostgreSQL ends a session (57P01) also between a COMMIT, which it has answered, and ReadyForQuery: once in
            # 300 that it ended. A pooler does not know what has become of the statement that it passed on.
            if context.is_answered or "V" not in fields:
                self._leave_in_doubt(error)
            raise error

    # COPY

    def handle_COPY_IN_RESPONSE(self, data: bytes, context: Result) -> None:
        """The server wants the rows. If the caller's source of them fails, CopyFail makes the server forget all."""
        is_binary = data[0] == BINARY
        try:
            for message in copy_in_messages(context.stream, is_binary, self._client_encoding):
                self.wait_anew()
                self._stream.send(message)
        except ConnectionLost:
            raise
        except Exception as error:
            context.error = error
            self._stream.send(messages.copy_fail("the client's source of rows failed") + context.after_copy)
        else:
            self._stream.send(messages.COPY_DONE + context.after_copy)

    def handle_COPY_OUT_RESPONSE(self, data: bytes, context: Result) -> None:
        """Rows come; without a stream to write them to they are passed over and the statement fails."""
        if context.stream is None:
            context.error = InterfaceError("COPY TO STDOUT needs a stream to write to: run(sql, stream=file)")
        else:
            super().handle_COPY_OUT_RESPONSE(data, context)

    def handle_COPY_DATA(self, data: bytes, context: Result) -> None:
        """A row or a part of one. A stream that takes no more fails the statement; the rest is passed over."""
        if context.error is not None:
            return
        if not hasattr(context, "stream_write"):
            raise InternalError("the server sent rows of a COPY that it had not begun; the connection is closed")
        try:
            super().handle_COPY_DATA(data, context)
        except UnicodeDecodeError as error:
            context.error = unreadable(error)
        except Exception as error:
            context.error = error

    # Time

    def wait_anew(self) -> None:
        """Begin the time in which the server must answer. In a COPY each piece that is sent has the whole of it."""
        self._stream.limit = self._limits.statement()

    def cancel(self, *, timeout: float = 10.0) -> None:
        """Stop the statement that another thread runs here: that thread gets an ``OperationalError`` (57014).

        The server is asked on a second connection, verified as the first. Where nothing runs, nothing happens. An
        ``OperationalError`` says that the request did not get through within ``timeout`` seconds.
        """
        if self._canceller is not None and not self.closed:
            self._canceller.cancel(Deadline(timeout, "timeout"))

    def _cancel_overrun(self) -> Deadline | None:
        """Cancel what is over its time, once; how long the server has to say that it did."""
        if self._overran is not None or self._canceller is None:
            return None
        self._overran = self._stream.limit
        grace = self._limits.grace()
        try:
            self._canceller.cancel(grace)
        except Error:
            return None  # Where the server cannot even be told, no more is to be expected on this connection.
        return grace

    def cut_short(self) -> None:
        """End a conversation that was interrupted."""
        try:
            if self._canceller is not None and not self._broken:
                self._canceller.cancel(Deadline(GRACE))
        except Error:
            pass  # The server will notice that the connection has ended.
        finally:
            self._break()

    # The end

    def close(self) -> None:
        """Close the connection. It never raises, however the connection is; closing twice is harmless."""
        if self._usock is None:
            return
        try:
            if not self._broken:
                self._stream.send(messages.TERMINATE)
        except ConnectionLost:
            pass  # It is closed either way.
        finally:
            self._stream.close()
            self._sock = self._usock = None

    def _break(self) -> None:
        """Close the socket of a conversation that is out of step."""
        self._broken = True
        self._turn = Lock()
        self._unread = None
        self._transaction_status = IDLE
        self._stream.close()
