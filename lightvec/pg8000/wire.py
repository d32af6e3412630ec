"""One write and one Sync a statement, on pg8000's own seams.

What pg8000 does is kept: start-up, authentication, the handlers by message name. What is replaced is how a statement
travels (three round trips there, one here), how vectors do (text there, binary here) and how errors are told.

A transaction pooler may hand the server to another client at each Sync. With one Sync at the end of one write there is
no moment in which half of a statement is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pg8000.core import IDLE, IN_FAILED_TRANSACTION, IN_TRANSACTION

from lightvec.pg8000 import messages
from lightvec.pg8000.copy import copy_in_messages
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    DatabaseError,
    Error,
    ErrorFields,
    InterfaceError,
    InternalError,
    OperationalError,
    error_from_fields,
)
from lightvec.pg8000.extension import LookUp
from lightvec.pg8000.formats import Formats, Kind, binary_formats, gives_rows, kind_of
from lightvec.pg8000.login import LoggedIn
from lightvec.pg8000.messages import BINARY, SYNC, Parameter
from lightvec.pg8000.parameters import NO_EXTENSION, Dumper, Dumpers, ExtensionTypes
from lightvec.pg8000.placeholders import may_be_several
from lightvec.pg8000.results import Decoder, Result, column_descriptions, text_decoder, vector_decoders
from lightvec.pg8000.settings import restoring, setting
from lightvec.pg8000.stream import Stream

__all__ = ["Wire"]

#: Types of extensions and users begin here (PostgreSQL, src/include/access/transam.h, FirstNormalObjectId).
_FIRST_USER_OID = 16_384


class Statement(NamedTuple):
    """A statement that is ready to be written, and the result that its answer goes to."""

    data: bytes
    result: Result


class Wire(LoggedIn):
    """pg8000's connection with the wire of lightvec: the base of the native and the PEP 249 connection."""

    row_class: type[list[Any]] | type[tuple[Any, ...]] = list

    def __init__(
        self, stream: Stream, *, trusted: bool = True, channel_binding: str = "prefer", **start_up: Any
    ) -> None:
        self._broken = False
        self._pipeline: list[Result] = []
        self._types = NO_EXTENSION
        self._looked_up = False
        self._decoders: Mapping[tuple[int, int], Decoder] = vector_decoders(NO_EXTENSION)
        self._formats = Formats()
        super().__init__(stream, trusted=trusted, channel_binding=channel_binding, **start_up)
        self._transaction_status = IDLE
        self._dumpers = Dumpers(self.py_types)

    # What the connection is

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or broke; it cannot be used again."""
        return self._broken or self._usock is None

    def is_alive(self) -> bool:
        """Whether the connection can be used, as far as this machine knows; it asks the socket, not the server."""
        if not self.closed and self._stream.has_ended():
            self._break()
        return not self.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, a failed one too."""
        return self._transaction_status in (IN_TRANSACTION, IN_FAILED_TRANSACTION)

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
        major, minor = re.match(r"(\d*)\.?(\d*)", self.parameter_statuses.get("server_version", "")).groups()  # type: ignore[union-attr]
        return int(major or 0) * 10_000 + int(minor or 0)

    def extension(self) -> ExtensionTypes:
        """What this database says of pgvector: OIDs, version, schema; a round trip if it is not yet known."""
        if not self._types.oids:
            self._check_usable()
            self._run([self._statement(LookUp())])
        return self._types

    def binary_formats(self, result: Result) -> tuple[int, ...]:
        """The formats that bring the vectors of this result as binary; empty where it has none."""
        return binary_formats(result.columns, self._decoders)

    def register_dumper(self, cls: type, dumper: Dumper) -> None:
        """Send the values of ``cls`` on this connection by ``dumper``."""
        self._dumpers.register(cls, dumper)

    # Statements out

    def execute_unnamed(
        self,
        statement: str,
        vals: Sequence[Any] = (),
        oids: Sequence[int | None] = (),
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
        before: str | None = None,
        formats: Sequence[int] | None = None,
    ) -> Result:
        """Run one statement: one write, one Sync, one round trip.

        ``settings`` hold for this statement only. ``before`` is a statement that goes ahead in the same write.
        ``formats`` are the columns' formats, where the caller knows them better than the connection.
        """
        self._check_usable()
        if any(map(self._dumpers.needs_extension, vals)):
            self.extension()
        result = Result(statement, self.row_class, stream)
        parameters = self._parameters(vals, oids)
        kind = kind_of(statement, parameters)
        wanted = self._formats.of(kind, in_transaction=self.in_transaction) if formats is None else formats
        main = self._statement(result, parameters, wanted)
        keep = self.in_transaction or before is not None
        try:
            self._run([*self._ahead(statement, before), *self._framed(main, settings, keep)])
        except DatabaseError as error:
            self._doubt_types(error)
            _explain(error, vals)
            if not self._columns_changed(kind, error):
                raise
            return self.execute_unnamed(statement, vals, oids, stream, settings=settings, before=before)
        if formats is None:
            self._check_readable(kind, result)
            self._formats.remember(kind, self.binary_formats(result))
        return result

    def execute_simple(self, statement: str) -> Result:
        """Run one or more statements without parameters by a simple Query; results come as text."""
        self._check_usable()
        result = Result(statement, self.row_class)
        self._run([Statement(messages.query(self._encode(statement)), result)], sync=b"")
        return result

    def execute_text(
        self, statement: str, settings: Mapping[str, object] | None = None, before: str | None = None
    ) -> Result:
        """Run a text without parameters; one that may hold several statements goes as a simple Query."""
        if not may_be_several(statement):
            return self.execute_unnamed(statement, settings=settings, before=before)
        if settings:
            raise InterfaceError("settings hold for one statement: run the statements one by one")
        if before is not None:
            self.execute_simple(before)
        return self.execute_simple(statement)

    def _ahead(self, statement: str, before: str | None) -> list[Statement]:
        """What goes before a statement in its write: the look-up of pgvector's types costs no round trip there.

        It goes only before statements with rows of their own, since what cannot run inside a transaction block
        (VACUUM, CREATE INDEX CONCURRENTLY) cannot share its Sync with another statement either.
        """
        ahead = [] if before is None else [self._statement(Result(before, list))]
        if not self._looked_up and not self.in_failed_transaction and gives_rows(statement):
            ahead.append(self._statement(LookUp()))
        return ahead

    def _framed(self, main: Statement, settings: Mapping[str, object] | None, keep: bool) -> list[Statement]:
        """A statement between the one that applies its settings and, in a transaction, the one that puts them back."""
        if not settings:
            return [main]
        sql, values = setting(settings, keep=keep)
        framed = [self._statement(Result(sql, list), self._parameters(values)), main]
        if keep:
            sql, values = restoring(settings)
            framed.append(self._statement(Result(sql, list), self._parameters(values)))
        return framed

    def _statement(
        self, result: Result, parameters: Sequence[Parameter] = (), formats: Sequence[int] = ()
    ) -> Statement:
        return Statement(messages.statement(self._encode(result.statement), parameters, formats), result)

    def _encode(self, text: str) -> bytes:
        if "\x00" in text:
            raise InterfaceError("expected SQL without NUL characters, got one: send such a value as a parameter")
        try:
            return text.encode(self._client_encoding)
        except UnicodeEncodeError as error:
            raise InterfaceError(f"expected SQL that can be sent, got {text[error.start]!a} in it") from error

    def _parameters(self, vals: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
        if len(vals) > messages.MAX_PARAMETERS:
            raise InterfaceError(
                f"a statement takes at most {messages.MAX_PARAMETERS} parameters, got {len(vals)}: "
                f"send fewer rows in one statement, or send an array"
            )
        parameters = [self._dumpers.parameter(value, self._types) for value in vals]
        for index, oid in enumerate(oids):
            if oid is not None and oid >= 0:
                parameters[index] = parameters[index]._replace(oid=oid)
        return parameters

    # Columns that are not what they were

    def _check_readable(self, kind: Kind, result: Result) -> None:
        """Refuse rows in which something else than a vector came as binary, because the table was altered.

        The statement took effect, so it is not sent again here; the next run asks anew.
        """
        for column in result.columns or ():
            if column["format"] == BINARY and (column["type_oid"], BINARY) not in self._decoders:
                self._formats.forget(kind)
                raise OperationalError(
                    f"the column {column['name']!r} is of another type than when this connection ran the statement "
                    f"before, so its rows cannot be read: run it again"
                )

    def _doubt_types(self, error: DatabaseError) -> None:
        """Ask for pgvector's types again after what a server says of OIDs that are gone with their extension."""
        if error.sqlstate in ("XX000", "42704"):
            self._types, self._looked_up = NO_EXTENSION, False

    def _columns_changed(self, kind: Kind, error: DatabaseError) -> bool:
        """Whether Bind was refused because the statement has other columns than remembered, which are then forgotten.

        It was refused before it ran, so outside a transaction block it can be sent again.
        """
        if error.sqlstate != "08P01" or self.closed:
            return False
        return self._formats.forget(kind) and not self.in_transaction

    # Answers in

    def _run(self, statements: Sequence[Statement], sync: bytes = SYNC) -> None:
        """Write the statements at once, read all their answers, then raise the first error among them."""
        results = [statement.result for statement in statements]
        self._pipeline = results
        self._exchange(b"".join([*(statement.data for statement in statements), sync]))
        for result in results:
            if result.error is not None:
                raise result.error

    def _exchange(self, data: bytes) -> None:
        """Send and read until the server is ready again.

        Whatever stops this, an interrupt too, leaves the conversation out of step: the connection is closed, so that no
        later statement can read the rest of this one's answer.
        """
        try:
            self._stream.send(data)
            self._read_answers()
        except ConnectionLost as lost:
            said = self._last_words()
            self._break()
            if said is not None:
                raise said from lost
            raise
        except Error:
            self._break()
            raise
        except Exception as error:
            self._break()
            raise InternalError(
                f"the server's answer could not be read ({error!r}); the connection is closed"
            ) from error
        except BaseException:
            self._break()
            raise

    def _last_words(self) -> DatabaseError | None:
        """What a server that ended the connection said of it, if that came before the end was noticed (57P01)."""
        context = Result(None, list)
        try:
            self._stream.socket.settimeout(0)
            while context.error is None:
                code, data = self._stream.read_message()
                if code == b"E":
                    self.handle_ERROR_RESPONSE(data, context)
        except (OSError, Error):
            pass  # Nothing more is there, or what was just read says it.
        return context.error if isinstance(context.error, DatabaseError) else None

    def _read_answers(self) -> None:
        read_message, handlers = self._stream.read_message, self.message_types
        results = iter(self._pipeline)
        result, code = next(results), b""
        while code != b"Z":
            code, data = read_message()
            handlers[code](data, result)
            # CommandComplete, EmptyQueryResponse and PortalSuspended end an answer; after an error all is silent.
            if code in b"CIs":
                self._take_up(result)
                result = next(results, result)

    def _take_up(self, result: Result) -> None:
        """Learn pgvector's types from the answer that says them, in time for the rows of the next one."""
        if isinstance(result, LookUp):
            self._looked_up = True
            self._types = result.types
            self._decoders = vector_decoders(self._types)
        elif result.command in ("CREATE EXTENSION", "DROP EXTENSION"):
            self._types, self._looked_up = NO_EXTENSION, False
            self._decoders = vector_decoders(NO_EXTENSION)

    def handle_ROW_DESCRIPTION(self, data: bytes, context: Result) -> None:
        """Which columns come, of which type and in which format."""
        columns = column_descriptions(data, self._client_encoding)
        context.describe(columns, [self._decoder(column) for column in columns])

    def _decoder(self, column: Mapping[str, Any]) -> Decoder:
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
        context.complete(data[:-1].decode("ascii"))

    def handle_ERROR_RESPONSE(self, data: bytes, context: Any) -> None:
        """The statement failed; the fields say why."""
        fields = {
            part[:1].decode("ascii", "replace"): part[1:].decode(self._client_encoding, "replace")
            for part in data.split(b"\x00")
            if part
        }
        error = error_from_fields(fields)
        context.error = context.error or error
        if isinstance(context, Result) and fields.get("V") in ("FATAL", "PANIC"):
            raise error  # Nothing more comes: the server closes the connection behind this message.

    # COPY

    def handle_COPY_IN_RESPONSE(self, data: bytes, context: Result) -> None:
        """The server wants the rows. If the caller's source of them fails, CopyFail makes the server forget all."""
        try:
            for message in copy_in_messages(context.stream, data[0] == BINARY, self._client_encoding):
                self._stream.send(message)
        except ConnectionLost:
            raise
        except Exception as error:
            context.error = error
            self._stream.send(messages.copy_fail("the client's source of rows failed") + SYNC)
        else:
            self._stream.send(messages.COPY_DONE + SYNC)

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
        try:
            super().handle_COPY_DATA(data, context)
        except Exception as error:
            context.error = error

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
        self._transaction_status = IDLE
        self._stream.close()

    def _check_usable(self) -> None:
        if self._usock is None:
            raise InterfaceError("connection is closed")
        if self._broken:
            raise ConnectionLost("the connection broke earlier and is closed: connect again")


_UNDEFINED_FUNCTION = "42883"


def _explain(error: DatabaseError, vals: Sequence[Any]) -> None:
    """Say what to do about an operator that is missing for an array, where a vector was meant."""
    fields = error.fields
    has_list = any(isinstance(value, list) for value in vals)
    if has_list and error.sqlstate == _UNDEFINED_FUNCTION and isinstance(fields, ErrorFields):
        fields.remedy = "a list is sent as an array: write lightvec.Vector([...]) for a vector"
