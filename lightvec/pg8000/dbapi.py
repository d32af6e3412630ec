"""PEP 249, for Peewee and ``sqlalchemy.create_engine("postgresql+pg8000://", module=lightvec.pg8000.dbapi)``, too."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date as Date
from datetime import datetime as Timestamp
from datetime import time as Time
from itertools import islice
from typing import TYPE_CHECKING, Any

from lightvec.pg8000.connection import BaseConnection
from lightvec.types.arrays import parse_array
from lightvec.wire.connecting import open_session
from lightvec.wire.datatypes import TYPES
from lightvec.wire.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from lightvec.wire.execute import execute, execute_text
from lightvec.wire.identifiers import identifier, text_literal
from lightvec.wire.placeholders import check_backslashes, convert
from lightvec.wire.portal import stream as stream_rows
from lightvec.wire.results import Result

if TYPE_CHECKING:
    from pg8000.types import PGInterval, Range

__all__ = [
    "BINARY",
    "INTERVAL",
    "ISOLATION_LEVELS",
    "ROWID",
    "STRING",
    "UNKNOWN",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "PGInterval",
    "ProgrammingError",
    "Range",
    "ServerCursor",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 1
paramstyle = "format"

#: The version of pg8000 that this module is compatible with; SQLAlchemy's dialect reads it.
__version__ = "1.31.6"

#: Types for :meth:`Cursor.setinputsizes`, by pg8000's names.
STRING, BINARY, NUMBER, DATETIME, ROWID, UNKNOWN, INTERVAL = 1043, bytes, 1700, 1114, 26, 705, 1186

Values = Sequence[Any] | Mapping[str, Any]

#: The isolation levels by psycopg 3's numbers.
ISOLATION_LEVELS = {1: "READ UNCOMMITTED", 2: "READ COMMITTED", 3: "REPEATABLE READ", 4: "SERIALIZABLE"}

_BEGIN = {number: "BEGIN ISOLATION LEVEL " + name for number, name in ISOLATION_LEVELS.items()}

#: Binary data.
Binary = bytes
#: The local date of seconds since the epoch.
DateFromTicks = Date.fromtimestamp
#: The local timestamp of seconds since the epoch.
TimestampFromTicks = Timestamp.fromtimestamp

#: SQLAlchemy's dialect writes FETCH itself.
_PAGE = re.compile(r"FETCH FORWARD (?:[0-9]+|ALL) FROM ([A-Za-z0-9_]+)")

#: A transaction ID of two-phase commit: format, global transaction ID, branch qualifier.
Xid = tuple[Any, str, Any]


def __getattr__(name: str) -> Any:
    if name in ("PGInterval", "Range"):  # pg8000 takes 20 ms to load.
        from pg8000 import types

        return getattr(types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def TimeFromTicks(ticks: float) -> Time:
    """The local time of seconds since the epoch."""
    return Timestamp.fromtimestamp(ticks).time()


def connect(dsn: str | None = None, **params: Any) -> Connection:
    """Open a PEP 249 connection; the parameters are those of :func:`lightvec.pg8000.connect`."""
    return Connection.open(open_session(dsn, params))


class Connection(BaseConnection):
    """A PEP 249 connection. Rows are tuples; transactions begin implicitly unless ``autocommit`` is set.

    ``copy_rows`` and ``copy_columns`` begin a transaction as statements do.

    >>> _ = db.cursor().execute("CREATE TEMPORARY TABLE part (id int)")
    >>> db.copy_rows("part", ["id"], [[1], [2]])
    2
    """

    _pg8000_class = ("pg8000.dbapi", "Connection")
    _row_class = tuple

    autocommit = False
    #: Of transactions that begin implicitly, a key of ISOLATION_LEVELS; None is the server's default.
    isolation_level: int | None = None
    #: The placeholders of this connection's cursors; None is the module's.
    paramstyle: str | None = None
    _is_of_dialect = False
    _xid: Xid | None = None

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def cursor(self, name: str | None = None, *, withhold: bool = False) -> Cursor:
        """A cursor; with a name, one on the server (``withhold`` lets it outlive its transaction)."""
        if name is not None:
            return ServerCursor(self, name, withhold=withhold)
        if not self._is_of_dialect and "sqlalchemy.dialects.postgresql.pg8000" in sys.modules:
            self._detect_dialect()
        return Cursor(self)

    def _detect_dialect(self) -> None:
        """SQLAlchemy's dialect registers its class of quoted names on the connections that it sets up."""
        names = getattr(sys.modules.get("sqlalchemy.sql.elements"), "quoted_name", None)
        self._is_of_dialect = names in self.py_types
        bit = TYPES["bit"]
        if self._is_of_dialect and bit.oid not in self.pg_types:
            # SQLAlchemy's own type for bits reads text, lightvec's reads either.
            self.register_in_adapter(bit.oid, str)
            self.register_in_adapter(bit.array_oid, lambda data: parse_array(data, str))

    def _convert(self, operation: str, args: Values) -> tuple[str, Sequence[Any]]:
        """A statement with ``$1``, and its values in order."""
        if self.session.escapes_strings:
            check_backslashes(operation, args)
        # SQLAlchemy's dialect doubles no percent sign within a string, and passes a multirange as a list of ranges.
        statement, values = convert(self.paramstyle or paramstyle, operation, args, keep_strings=self._is_of_dialect)
        if self._is_of_dialect:
            text = self.session.adapters.multirange_text
            values = [text(value) if _holds_ranges(value) else value for value in values]
        return statement, values

    def commit(self) -> None:
        """Commit the open transaction, if any; an error if it failed, or the connection broke or was closed."""
        if self.in_transaction or self.closed:
            self.execute_unnamed("COMMIT")

    def rollback(self) -> None:
        """Roll back the open transaction, if any; the server has done so if the connection broke."""
        if self.closed:
            self.session.forget_transaction()
        elif self.in_transaction:
            self.execute_unnamed("ROLLBACK")

    def _begin_command(self) -> str | None:
        """What begins a transaction for the next statement; None if it needs none."""
        if self.autocommit or self.session.in_transaction:
            return None
        return "BEGIN" if self.isolation_level is None else _BEGIN[self.isolation_level]

    def _begin_transaction(self) -> None:
        if begin := self._begin_command():
            self.execute_unnamed(begin)

    def set_isolation_level(self, level: int | str | None) -> None:
        """Set the isolation of further transactions: a key or a name of ISOLATION_LEVELS, or None."""
        known = {name: number for number, name in ISOLATION_LEVELS.items()}
        number = known.get(level.upper().replace("_", " ")) if isinstance(level, str) else level
        if level is not None and number not in ISOLATION_LEVELS:
            raise ProgrammingError(f"expected an isolation level of {sorted(known)} or its number, got {level!r}")
        self.isolation_level = number

    # --- two-phase commit -----------------------------------------------------------------------

    def xid(self, format_id: Any, global_transaction_id: str, branch_qualifier: Any) -> Xid:
        """A transaction ID; PostgreSQL uses the global part only."""
        return (format_id, global_transaction_id, branch_qualifier)

    def tpc_begin(self, xid: Xid) -> None:
        """Begin a transaction of two-phase commit."""
        self._xid = xid
        if self.autocommit:
            self.execute_unnamed("BEGIN")

    def tpc_prepare(self) -> None:
        """Prepare the transaction that ``tpc_begin`` began."""
        self.execute_unnamed(f"PREPARE TRANSACTION {text_literal(self._current_xid()[1])}")

    def tpc_commit(self, xid: Xid | None = None) -> None:
        """Commit the prepared or open transaction, or the one with this ID."""
        self._end_prepared(xid, "COMMIT PREPARED", self.commit)

    def tpc_rollback(self, xid: Xid | None = None) -> None:
        """Roll back the prepared or open transaction, or the one with this ID."""
        self._end_prepared(xid, "ROLLBACK PREPARED", self.rollback)

    def tpc_recover(self) -> list[Xid]:
        """The prepared transactions."""
        rows = self.execute_unnamed("SELECT gid FROM pg_catalog.pg_prepared_xacts").rows or []
        return [self.xid(0, row[0], "") for row in rows]

    def _end_prepared(self, xid: Xid | None, command: str, end: Any) -> None:
        wanted = self._current_xid() if xid is None else xid
        if not self.in_failed_transaction and wanted[1] in [each[1] for each in self.tpc_recover()]:
            self.execute_unnamed(f"{command} {text_literal(wanted[1])}")
        else:
            end()
        self._xid = None

    def _current_xid(self) -> Xid:
        if self._xid is None:
            raise ProgrammingError("there is no transaction of two-phase commit: begin one by tpc_begin()")
        return self._xid


class Cursor:
    """A PEP 249 cursor, with pg8000's ``execute(..., stream=)``, iteration, and ``settings=``.

    >>> with db.cursor() as cursor:
    ...     cursor.execute("SELECT %s + 1, %s", (41, "x")).fetchone()
    (42, 'x')
    """

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._result: Result | None = None
        self._rows: Iterator[tuple[Any, ...]] | None = None
        self._input_oids: Sequence[int | None] = ()
        self._rowcount = -1
        #: The server-side cursor that was read last, and the formats of its columns.
        self._page: tuple[str, Sequence[int]] = ("", ())

    @property
    def connection(self) -> Connection:
        """The cursor's connection."""
        if self._connection is None:
            raise InterfaceError("the cursor is closed")
        return self._connection

    @property
    def closed(self) -> bool:
        """Whether the cursor or its connection was closed."""
        return self._connection is None or self._connection.closed

    @property
    def rowcount(self) -> int:
        """The number of rows that the last statement returned or changed, or -1."""
        return self._rowcount

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """The columns of the last statement: name, type OID, five times None."""
        columns = self._result.columns if self._result else None
        if not columns:
            return None
        return [(column.name, column.type_oid, None, None, None, None, None) for column in columns]

    def execute(
        self,
        operation: str,
        args: Values | None = None,
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Cursor:
        """Run a statement with ``%s`` (and a sequence) or ``%(name)s`` (and a mapping).

        Without ``args`` percent signs are literal, and there may be several statements.
        ``dbapi.paramstyle`` can be set to another style. ``stream`` is the source or target of a COPY,
        ``settings`` hold for this statement only.
        """
        connection = self.connection
        session = connection.session
        # SQLAlchemy's pool pings by an empty statement: no transaction may begin there.
        begin = None if connection.autocommit or _is_empty(operation) else connection._begin_command()
        statement, values = (operation, ()) if args is None else connection._convert(operation, args)
        if stream is not None:
            connection._begin_transaction()
            result = connection._copy(statement, values, stream)
        elif args:
            oids, self._input_oids = self._input_oids, ()
            result = execute(session, statement, values, oids, settings=settings, begin=begin, row_class=tuple)
        elif connection._is_of_dialect and begin is None and (page := _PAGE.fullmatch(str(statement))):
            result = self._fetch_page(statement, page[1])
        else:
            result = execute_text(session, statement, settings=settings, begin=begin, row_class=tuple)
        self._take(result)
        return self

    def executemany(self, operation: str, param_sets: Iterable[Values]) -> Cursor:
        """Run a statement for each set of parameters, in one round trip: all take effect or none.

        ``param_sets`` is read while statements are sent, so it must not use the same connection.
        ``rowcount`` is the total; the rows of the last statement can be fetched.
        """
        from lightvec.wire.pipeline import execute_many

        connection = self.connection
        statements = (connection._convert(operation, args) for args in param_sets)
        oids, self._input_oids = self._input_oids, ()
        self._result = self._rows = None
        begin = connection._begin_command()
        self._take(execute_many(connection.session, statements, oids, begin=begin, row_class=tuple))
        return self

    def stream(
        self,
        operation: str,
        args: Values | None = None,
        *,
        batch: int = 1_000,
        settings: Mapping[str, object] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement one by one, as :meth:`lightvec.pg8000.Connection.stream` gives them."""
        connection = self.connection
        statement, values = (operation, ()) if args is None else connection._convert(operation, args)
        oids, self._input_oids = self._input_oids, ()
        connection._begin_transaction()
        self._rows, self._result = None, Result(statement, tuple)
        return stream_rows(connection.session, self._result, values, oids, batch=batch, settings=settings)

    def callproc(self, procname: str, parameters: Sequence[Any] = ()) -> None:
        """Call a stored procedure by its name, which may be qualified by a schema."""
        marks = ", ".join(f"${number}" for number in range(1, len(parameters) + 1))
        name = identifier(*procname.split("."))
        connection, begin = self.connection, self.connection._begin_command()
        call = f"CALL {name}({marks})"
        self._take(execute(connection.session, call, tuple(parameters), begin=begin, row_class=tuple))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        return next(self._fetching(), None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next ``size`` rows (default ``arraysize``), fewer at the end."""
        return list(islice(self._fetching(), self.arraysize if size is None else size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All remaining rows."""
        return list(self._fetching())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        return next(self._fetching())

    def setinputsizes(self, *sizes: Any) -> None:
        """The types of the next statement's parameters, as OIDs or Python types."""
        types = self.connection.session.adapters
        self._input_oids = [size if isinstance(size, int) else types.oid_of(size) for size in sizes]

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """It does nothing."""

    def close(self) -> None:
        """Close the cursor, and release its rows."""
        self._connection = self._result = self._rows = None

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take(self, result: Result) -> None:
        self._result = result
        self._rowcount = result.row_count
        self._rows = None if result.rows is None else iter(result.rows)

    def _fetch_page(self, statement: str, name: str) -> Result:
        """Run a FETCH. A cursor's columns never change, so vectors are binary from the second page on."""
        known, formats = self._page
        self._page = "", ()
        session = self.connection.session
        result = execute(session, statement, row_class=tuple, result_formats=formats if name == known else ())
        self._page = name, session.adapters.result_formats(result.columns)
        return result

    def _fetching(self) -> Iterator[tuple[Any, ...]]:
        if self._connection is None:
            raise InterfaceError("the cursor is closed")
        if self._rows is None:
            raise ProgrammingError("there are no rows to fetch: execute a statement that returns rows first")
        return self._rows


def _is_empty(operation: str) -> bool:
    return isinstance(operation, str) and not operation.strip("; \t\r\n")


class ServerCursor(Cursor):
    """A server-side cursor, whose rows are fetched in pages of ``itersize``."""

    itersize = 2_000

    def __init__(self, connection: Connection, name: str, *, withhold: bool = False) -> None:
        super().__init__(connection)
        self.name = name
        self._identifier = identifier(name)
        self._withhold = withhold
        self._declared = False

    def execute(
        self,
        operation: str,
        args: Values | None = None,
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Cursor:
        """Declare the cursor for a query."""
        if self._declared:
            raise ProgrammingError(f"the server-side cursor {self.name!r} has a query already: open another one")
        hold = "WITH HOLD" if self._withhold else "WITHOUT HOLD"
        super().execute(f"DECLARE {self._identifier} CURSOR {hold} FOR {operation}", args, settings=settings)
        self._declared = True
        self._rows = iter(())
        return self

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """The columns; a round trip if no row was fetched yet."""
        if self._declared and not (self._result and self._result.columns):
            self._fetch(0)
        return super().description

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next ``size`` rows, fewer at the end."""
        size = self.arraysize if size is None else size
        rows = list(islice(self._fetching(), size))
        return rows + self._fetch(size - len(rows)) if len(rows) < size else rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        row = super().fetchone()
        if row is None:
            self._rows = iter(self._fetch(self.itersize))
            row = super().fetchone()
        return row

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All remaining rows."""
        return list(self)

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """Close the cursor, on the server, too."""
        connection, declared = self._connection, self._declared
        super().close()
        if connection is None or not declared or connection.closed or connection.in_failed_transaction:
            return
        if self._withhold or connection.in_transaction:
            connection.execute_unnamed(f"CLOSE {self._identifier}")

    def _fetch(self, size: int) -> list[tuple[Any, ...]]:
        self._result = self._fetch_page(f"FETCH FORWARD {int(size)} FROM {self._identifier}", self.name)
        return self._result.rows or []


def _holds_ranges(value: Any) -> bool:
    types = sys.modules.get("pg8000.types")
    if types is None or not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, types.Range) for each in value)
