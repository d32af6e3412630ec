"""One write and one Sync a statement, on pg8000's own seams.

What pg8000 does is kept: start-up, and the handlers by message name. What is replaced is the login, how a statement
travels (three round trips there, one here), how vectors do (text there, binary here) and how errors are told.

A transaction pooler may hand the server to another client at each Sync. With one Sync at the end of one write there is
no moment in which half of a statement is there.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.pg8000 import citus, messages
from lightvec.pg8000.conversation import Conversation
from lightvec.pg8000.exceptions import (
    ConnectionLost,
    DatabaseError,
    ErrorFields,
    InterfaceError,
    InternalError,
    OperationalError,
)
from lightvec.pg8000.extension import LookUp
from lightvec.pg8000.formats import Formats, Kind, binary_formats, gives_rows, kind_of
from lightvec.pg8000.many import Pipeline
from lightvec.pg8000.messages import BINARY, SYNC, Parameter
from lightvec.pg8000.parameters import Dumper, Dumpers
from lightvec.pg8000.placeholders import may_be_several
from lightvec.pg8000.results import Result
from lightvec.pg8000.settings import restoring, setting
from lightvec.pg8000.stream import Stream
from lightvec.pg8000.streaming import paged, streamed

__all__ = ["Wire", "check_committed"]


class Statement(NamedTuple):
    """A statement that is ready to be written, and the result that its answer goes to."""

    data: bytes
    result: Result


class Frame(NamedTuple):
    """What goes before a statement and behind it in its write, so that its settings hold for it, and for it only."""

    before: Sequence[Statement] = ()
    after: Sequence[Statement] = ()


class Wire(Conversation):
    """pg8000's connection with the wire of lightvec: the base of the native and the PEP 249 connection."""

    row_class: type[list[Any]] | type[tuple[Any, ...]] = list

    def __init__(self, stream: Stream, **start_up: Any) -> None:
        self.is_streaming = False
        self._formats = Formats()
        self._streams: WeakSet[Generator[Any, None, None]] = WeakSet()
        super().__init__(stream, **start_up)
        self.dumpers = Dumpers(self.py_types)

    def extension(self) -> ExtensionTypes:
        """What this database says of pgvector: OIDs, version, schema; a round trip if it is not yet known."""
        if not self._types.oids:
            self.check_usable()
            self.run_all([self.statement(LookUp())])
        return self._types

    @property
    def known_types(self) -> ExtensionTypes:
        """What is known of pgvector by now, without asking."""
        return self._types

    def wanted_formats(self, kind: Kind) -> Sequence[int]:
        """The formats to ask for, as far as the statement's columns are remembered."""
        return self._formats.of(kind, in_transaction=self.in_transaction)

    def binary_formats(self, result: Result) -> tuple[int, ...]:
        """The formats that bring the vectors of this result as binary; empty where it has none."""
        return self.binary_formats_of(result.columns or ())

    def binary_formats_of(self, columns: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
        """The same for columns that RowDescription describes so."""
        return binary_formats(columns, self._decoders)

    def register_dumper(self, cls: type, dumper: Dumper) -> None:
        """Send the values of ``cls`` on this connection by ``dumper``."""
        self.dumpers.register(cls, dumper)

    def check_usable(self) -> None:
        """Raise where no statement can be sent: closed, broken, or in the middle of streamed rows."""
        if self._usock is None:
            raise InterfaceError("connection is closed")
        if self._broken:
            lost = ", and with it the transaction that was open" if self.forget_transaction() else ""
            raise ConnectionLost(f"the connection is closed, because it broke earlier{lost}: connect again")
        if self._limits.is_over():
            if self.in_transaction:
                self._break()  # The server rolls back, instead of keeping its locks for who cannot go on.
            raise OperationalError("no time is left by the deadline, so the statement was not sent")
        if self.is_streaming:
            raise InterfaceError("rows are being streamed on this connection: read them to their end or close them")

    # Statements

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
        page: int = 0,
    ) -> Result:
        """Run one statement: one write, one Sync, one round trip.

        ``settings`` hold for this statement only. ``before`` is a statement that goes ahead in the same write.
        ``formats`` are the columns' formats, where the caller knows them better than the connection. ``page`` leaves
        the rows behind so many unread (:meth:`rows_in_pages`).
        """
        self.check_usable()
        self.meet(vals)
        may_be_citus = bool(settings) and not self._looked_up
        if may_be_citus and (self.in_transaction or stream is not None or not gives_rows(statement)):
            self.meet_citus()
            may_be_citus = False
        result = Result(statement, self.row_class, stream)
        parameters = self.parameters(vals, oids)
        kind = kind_of(statement, parameters)
        wanted = self.wanted_formats(kind) if formats is None else formats
        main = self.statement(result, parameters, wanted)
        keep = self.in_transaction or before is not None
        frame = self.frame(settings, keep)
        # Behind a COPY only rows can follow: what puts the settings back goes out when they are over.
        later = frame.after if stream is not None else ()
        ahead = self.ahead(statement, before, may_be_citus=may_be_citus)
        try:
            self.run_all([*ahead, *frame.before, main, *(() if later else frame.after)], page=page)
            if later:
                self.run_all(later)
        except DatabaseError as error:
            if self._is_to_be_framed_anew(ahead, before):
                return self.execute_unnamed(statement, vals, oids, stream, settings=settings, before=before, page=page)
            self._doubt_types(error)
            self._explain(statement, error, vals)
            if not self._columns_changed(kind, error):
                raise
            return self.execute_unnamed(statement, vals, oids, stream, settings=settings, before=before, page=page)
        if formats is None:
            self._check_readable(kind, result)
            self._formats.remember(kind, self.binary_formats(result))
        return result

    def rows_in_pages(self, result: Result, page: int) -> Generator[list[Any], None, None]:
        """The rows of a statement that was run with ``page``, as lists of at most so many.

        The server goes on sending as they are read. If the connection is needed for another statement, the rest is
        read into memory first and comes as one list; what nobody waits for any more is passed over.
        """
        return paged(self, result, self._unread, page)

    def execute_many(
        self,
        statements: Iterable[tuple[str, Sequence[Any]]],
        oids: Sequence[int | None] = (),
        before: str | None = None,
    ) -> int:
        """Run statements, each with its values, as one: one Sync, no waiting in between; how many rows they changed.

        Without a transaction block they take effect together or not at all. If one fails, or a value cannot be sent,
        none does, and a transaction block that is open has failed.
        """
        return Pipeline(self, before).run(statements, oids)

    def stream_rows(
        self,
        statement: str,
        vals: Sequence[Any] = (),
        oids: Sequence[int | None] = (),
        *,
        batch: int,
        settings: Mapping[str, object] | None = None,
    ) -> Generator[Any, None, None]:
        """The rows of a statement, ``batch`` at a time; the connection is taken until they end or are closed."""
        if not isinstance(batch, int) or batch < 1:
            raise InterfaceError(f"expected a batch of at least 1 row, got {batch!r}")
        rows = streamed(self, statement, vals, oids, batch, settings)
        self._streams.add(rows)
        return rows

    def end_streams(self) -> None:
        """Close the rows that are being streamed, so that other statements can follow."""
        for rows in list(self._streams):
            rows.close()

    def execute_simple(self, statement: str) -> Result:
        """Run one or more statements without parameters by a simple Query; results come as text."""
        self.check_usable()
        result = Result(statement, self.row_class)
        result.after_copy = b""  # A simple Query needs no Sync.
        self.run_all([Statement(messages.query(self.encode(statement)), result)], sync=b"")
        return result

    def execute_text(
        self, statement: str, settings: Mapping[str, object] | None = None, before: str | None = None, page: int = 0
    ) -> Result:
        """Run a text without parameters; one that may hold several statements goes as a simple Query."""
        if not isinstance(statement, str) or not may_be_several(statement):
            return self.execute_unnamed(statement, settings=settings, before=before, page=page)
        if settings:
            raise InterfaceError("settings hold for one statement: run the statements one by one")
        if before is not None:
            self.execute_simple(before)
        return self.execute_simple(statement)

    def ahead(self, statement: str, before: str | None, *, may_be_citus: bool = False) -> list[Statement]:
        """What goes before a statement in its write: the look-up of pgvector's types costs no round trip there.

        It goes only before statements with rows of their own, since what cannot run inside a transaction block
        (VACUUM, CREATE INDEX CONCURRENTLY) cannot share its Sync with another statement either. If settings go with a
        statement, it must not run on what turns out to be Citus (``may_be_citus``): they would not reach the workers.
        """
        ahead = [] if before is None else [self.statement(Result(before, list))]
        if not self._looked_up and not self.in_failed_transaction and gives_rows(statement):
            ahead.append(self.statement(LookUp(not_on_citus=may_be_citus)))
        return ahead

    def _is_to_be_framed_anew(self, ahead: Sequence[Statement], before: str | None) -> bool:
        """Whether nothing ran, because this is Citus, which is known from now on."""
        if not any(isinstance(each.result, LookUp) and each.result.found_citus for each in ahead):
            return False
        if before is not None:
            self.run_all([self.statement(Result("ROLLBACK", list))])
        self.extension()
        return True

    def frame(self, settings: Mapping[str, object] | None, keep: bool) -> Frame:
        """What applies a statement's settings and, in a transaction, puts them back; on Citus on the workers, too."""
        if not settings:
            return Frame()
        if self._types.citus:
            return Frame(*map(self._statements, citus.around(settings, keep=keep)))
        sql, values = setting(settings, keep=keep)
        before = self.statement(Result(sql, list), self.parameters(values))
        if not keep:
            return Frame([before])
        sql, values = restoring(settings)
        return Frame([before], [self.statement(Result(sql, list), self.parameters(values))])

    def _statements(self, parts: Iterable[tuple[Result, Sequence[Any]]]) -> list[Statement]:
        return [self.statement(result, self.parameters(values)) for result, values in parts]

    def statement(self, result: Result, parameters: Sequence[Parameter] = (), formats: Sequence[int] = ()) -> Statement:
        """A statement that is ready to be written."""
        return Statement(messages.statement(self.encode(result.statement), parameters, formats), result)

    def encode(self, text: str) -> bytes:
        """SQL as it is sent."""
        if not isinstance(text, str):
            raise InterfaceError(f"expected SQL as a str, got {type(text).__name__}")
        if "\x00" in text:
            raise InterfaceError("expected SQL without NUL characters, got one: send such a value as a parameter")
        try:
            return text.encode(self._client_encoding)
        except UnicodeEncodeError as error:
            raise InterfaceError(f"expected SQL that can be sent, got {text[error.start]!a} in it") from error

    def meet(self, vals: Sequence[Any]) -> None:
        """Have what these values need to be sent: a round trip if pgvector's types are not yet known."""
        if self.lacks(vals):
            self.extension()

    def meet_citus(self) -> None:
        """Learn whether this is Citus: a round trip if that is not yet known."""
        if not self._looked_up:
            self.extension()

    def lacks(self, vals: Sequence[Any]) -> bool:
        """Whether these values need pgvector's types, and they are not yet known."""
        return not self._types.oids and any(map(self.dumpers.needs_extension, vals))

    def parameters(self, vals: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
        if len(vals) > messages.MAX_PARAMETERS:
            raise InterfaceError(
                f"a statement takes at most {messages.MAX_PARAMETERS} parameters, got {len(vals)}: "
                f"send fewer rows in one statement, or send an array"
            )
        parameters = [self.dumpers.parameter(value, self._types) for value in vals]
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

    def _explain(self, statement: str, error: DatabaseError, vals: Sequence[Any]) -> None:
        """Say what to do about what vectors or placeholders have to do with."""
        if error.sqlstate not in _ADVISED or not isinstance(error.fields, ErrorFields):
            return
        from lightvec.pg8000.advice import advice, may_be_pgvectors

        if (
            error.sqlstate in _NOT_FOUND
            and not (self._looked_up or self.in_transaction or self.closed)
            and may_be_pgvectors(statement)
        ):
            self.extension()
        remedy = advice(self._types if self._looked_up else None, statement, error.sqlstate, vals)
        error.fields.remedy = remedy or error.fields.remedy

    def _columns_changed(self, kind: Kind, error: DatabaseError) -> bool:
        """Whether Bind was refused because the statement has other columns than remembered, which are then forgotten.

        It was refused before it ran, so outside a transaction block it can be sent again.
        """
        if error.sqlstate != "08P01" or self.closed:
            return False
        return self._formats.forget(kind) and not self.in_transaction

    def run_all(self, statements: Sequence[Statement], sync: bytes = SYNC, page: int = 0) -> None:
        """Write the statements at once, read all their answers, then raise the first error among them."""
        results = [statement.result for statement in statements]
        self.exchange(b"".join([*(statement.data for statement in statements), sync]), results, page=page)
        for result in results:
            if result.error is not None:
                raise result.error


#: Functions and operators; types, operator classes and index methods.
_NOT_FOUND = ("42883", "42704")
#: And numbers that are too large, vectors of other dimensions, placeholders that were left.
_ADVISED = (*_NOT_FOUND, "22003", "22000", "42601")

_COMMIT = re.compile(r"\s*(COMMIT|END)\b", re.IGNORECASE)


def check_committed(result: Result) -> None:
    """Raise after a COMMIT of a transaction in which a statement had failed: the server only rolls back then."""
    if result.command == "ROLLBACK" and _COMMIT.match(result.statement):
        raise InternalError(
            "the transaction was rolled back, not committed, because a statement in it had failed: nothing of it is "
            "kept, so run it again"
        )
