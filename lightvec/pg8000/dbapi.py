"""PEP 249 over lightvec's wire: ``connect``, connections, cursors, the exception classes.

Also the driver behind Peewee, and for SQLAlchemy:
``sqlalchemy.create_engine("postgresql+pg8000://", module=lightvec.pg8000.dbapi)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import pg8000.dbapi
from pg8000.converters import PY_PG
from pg8000.dbapi import (
    BINARY,
    INTERVAL,
    ROWID,
    STRING,
    UNKNOWN,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)
from pg8000.types import PGInterval, Range

from lightvec.pg8000.connecting import open_connection
from lightvec.pg8000.dialect import DialectWire
from lightvec.pg8000.exceptions import (
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
from lightvec.pg8000.identifiers import identifier
from lightvec.pg8000.placeholders import from_format
from lightvec.pg8000.results import Result
from lightvec.pg8000.wire import check_committed

__all__ = [
    "BINARY",
    "INTERVAL",
    "ISOLATION_LEVELS",
    "ROWID",
    "STRING",
    "UNKNOWN",
    "Arguments",
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

#: pg8000's version: SQLAlchemy's dialect asks the module for it.
__version__ = pg8000.dbapi.__version__

Values = Sequence[Any] | Mapping[str, Any]

#: The isolation levels by psycopg 3's numbers.
ISOLATION_LEVELS = {1: "READ UNCOMMITTED", 2: "READ COMMITTED", 3: "REPEATABLE READ", 4: "SERIALIZABLE"}


class Arguments(list[Any]):
    """The values of a statement's placeholders, with the settings that the statement is to run with.

    ``page`` is how many rows of the answer are read at once, the others when they are asked for; 0 reads all. Until the
    last is read the statement goes on, so this is for queries that change nothing.
    """

    def __init__(self, values: Iterable[Any], settings: Mapping[str, object] | None, page: int = 0) -> None:
        super().__init__(values)
        self.settings = settings
        self.page = page

    def __bool__(self) -> bool:
        """Whether there is something to pass on: always, also without values (Peewee writes ``params or ()``)."""
        return True


def connect(dsn: str | None = None, **params: Any) -> Connection:
    """Open a PEP 249 connection; the parameters are those of :func:`lightvec.pg8000.connect`."""
    return open_connection(Connection, dsn, params)


class Connection(DialectWire, pg8000.dbapi.Connection):
    """A PEP 249 connection. Rows are tuples; a transaction begins by itself unless ``autocommit`` is set.

    Beside PEP 249 it has ``copy_rows`` and ``copy_columns``, which load in such a transaction as any statement.

    >>> _ = db.cursor().execute("CREATE TEMPORARY TABLE part (id int)")
    >>> db.copy_rows("part", ["id"], [[1], [2]])
    2
    """

    row_class = tuple

    #: How a transaction that begins by itself is isolated, a key of ISOLATION_LEVELS; None is the server's default.
    isolation_level: int | None = None

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
        return Cursor(self) if name is None else ServerCursor(self, name, withhold=withhold)

    def commit(self) -> None:
        """Commit the transaction, if there is one; an error if a statement in it had failed and nothing is kept.

        On a connection that broke or was closed it is an error, too: what it was to commit may not be there.
        """
        if self.in_transaction or self.closed:
            check_committed(self.execute_unnamed("COMMIT"))

    def rollback(self) -> None:
        """Roll the transaction back, if there is one. Where the connection broke the server has done it."""
        if self.closed:
            self.forget_transaction()
        elif self.in_transaction:
            self.execute_unnamed("ROLLBACK")

    def beginning(self) -> str | None:
        """The statement that must go before the next one so that it is in a transaction, if any."""
        if self.autocommit or self.in_transaction:
            return None
        level = self.isolation_level
        return "BEGIN" if level is None else f"BEGIN ISOLATION LEVEL {ISOLATION_LEVELS[level]}"

    def set_isolation_level(self, level: int | str | None) -> None:
        """Isolate the transactions that begin from now on: a key or a name of ISOLATION_LEVELS, or None."""
        known = {name: number for number, name in ISOLATION_LEVELS.items()}
        number = known.get(level.upper().replace("_", " ")) if isinstance(level, str) else level
        if level is not None and number not in ISOLATION_LEVELS:
            raise ProgrammingError(f"expected an isolation level of {sorted(known)} or its number, got {level!r}")
        self.isolation_level = number


class Cursor:
    """A PEP 249 cursor, with pg8000's extensions (``execute(..., stream=)``, iteration) and ``settings=``.

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

    @property
    def connection(self) -> Connection:
        """The connection that the cursor works on."""
        if self._connection is None:
            raise InterfaceError("the cursor is closed")
        return self._connection

    @property
    def closed(self) -> bool:
        """Whether the cursor or its connection was closed."""
        return self._connection is None or self._connection.closed

    @property
    def rowcount(self) -> int:
        """How many rows the last statement gave or changed; -1 where that cannot be said, or not yet."""
        return self._rowcount

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """The columns of the last statement: name and type OID, then what PEP 249 calls optional, as None."""
        columns = self._result.columns if self._result else None
        if not columns:
            return None
        return [(column["name"], column["type_oid"], None, None, None, None, None) for column in columns]

    def execute(
        self,
        operation: str,
        args: Values | None = None,
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Cursor:
        """Run a statement with ``%s`` (and a sequence) or ``%(name)s`` (and a mapping).

        Without ``args`` a percent sign is itself, and there may be several statements; ``()`` says that there are
        placeholders to look for, and none.
        """
        connection = self.connection
        # SQLAlchemy's pool asks by an empty statement whether a connection is alive. A transaction that began there
        # would swallow what is run in autocommit afterwards.
        before, page = None if _is_empty(operation) else connection.beginning(), 0
        if isinstance(args, Arguments):
            settings = settings or args.settings
            page = args.page if before is None else 0
        if not args and stream is None:
            statement = operation if args is None else self._dollars(operation, args)[0]
            self._take(connection.execute_text(statement, settings, before, page), page)
            return self
        statement, values = self._dollars(operation, args) if args is not None else (operation, ())
        oids, self._input_oids = self._input_oids, ()
        self._take(
            connection.execute_unnamed(statement, values, oids, stream, settings=settings, before=before, page=page),
            page,
        )
        return self

    def executemany(self, operation: str, param_sets: Iterable[Values]) -> Cursor:
        """Run a statement once for each set of parameters, as one: without waiting in between, all of them or none.

        ``rowcount`` is the number of rows that they changed together; rows that they give are not kept.
        """
        connection = self.connection
        statements = (self._dollars(operation, args) for args in param_sets)
        oids, self._input_oids = self._input_oids, ()
        self._result = self._rows = None
        self._rowcount = connection.execute_many(statements, oids, connection.beginning())
        return self

    def callproc(self, procname: str, parameters: Sequence[Any] = ()) -> None:
        """Call a stored procedure by its name, which may be qualified by a schema."""
        marks = ", ".join(["%s"] * len(parameters))
        self.execute(f"CALL {identifier(*procname.split('.'))}({marks})", tuple(parameters))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        return next(self._fetching(), None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows, ``size`` of them (default ``arraysize``) or what is left."""
        return list(islice(self._fetching(), self.arraysize if size is None else size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self._fetching())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        return next(self._fetching())

    def setinputsizes(self, *sizes: Any) -> None:
        """The types of the next statement's parameters, as OIDs or as pg8000's Python types."""
        known = PY_PG
        self._input_oids = [size if isinstance(size, int) else known.get(size) for size in sizes]

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249 has it; there is nothing to set."""

    def close(self) -> None:
        """Close the cursor; its rows are let go."""
        self._connection = self._result = self._rows = None

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _dollars(self, operation: str, args: Values) -> tuple[str, Sequence[Any]]:
        # pg8000 looks into no string, psycopg into all; Peewee writes for the latter.
        return from_format(operation, args, keep_strings=self.connection.serves_sqlalchemy)

    def _take(self, result: Result, page: int = 0) -> None:
        self._result = result
        self._rowcount = result.row_count
        if result.rows is None:
            self._rows = None
        elif page and self.connection.has_unread_rows:
            self._rows = chain.from_iterable(self._pages(result, page))
        else:
            self._rows = iter(result.rows)

    def _pages(self, result: Result, page: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of an answer that was not read to its end."""
        return self.connection.rows_in_pages(result, page)

    def _fetching(self) -> Iterator[tuple[Any, ...]]:
        if self._connection is None:
            raise InterfaceError("the cursor is closed")
        if self._rows is None:
            raise ProgrammingError("there are no rows to fetch: the cursor has run no statement that gives any")
        return self._rows


def _is_empty(operation: str) -> bool:
    return isinstance(operation, str) and not operation.strip("; \t\r\n")


class ServerCursor(Cursor):
    """A cursor that lives on the server and hands its rows over in pages of ``itersize``."""

    itersize = 2_000

    def __init__(self, connection: Connection, name: str, *, withhold: bool = False) -> None:
        super().__init__(connection)
        self.name = name
        self._identifier = identifier(name)
        self._withhold = withhold
        self._declared = False
        self._formats: tuple[int, ...] = ()

    def execute(
        self,
        operation: str,
        args: Values | None = None,
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Cursor:
        """Declare the cursor for a query; rows are fetched when they are asked for."""
        if self._declared:
            raise ProgrammingError(f"the server-side cursor {self.name!r} has run its query: open another one")
        hold = "WITH HOLD" if self._withhold else "WITHOUT HOLD"
        super().execute(f"DECLARE {self._identifier} CURSOR {hold} FOR {operation}", args, settings=settings)
        self._declared = True
        self._rows = iter(())
        return self

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """The columns; asked for with an empty page where no page was fetched yet."""
        if self._declared and not (self._result and self._result.columns):
            self._fetch(0)
        return super().description

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows: what is left of the page at hand, and the rest in one round trip."""
        size = self.arraysize if size is None else size
        rows = list(islice(self._fetching(), size))
        return rows + self._fetch(size - len(rows)) if len(rows) < size else rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None; rows come in pages of ``itersize``."""
        row = super().fetchone()
        if row is None:
            self._rows = iter(self._fetch(self.itersize))
            row = super().fetchone()
        return row

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self)

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """Close the cursor, on the server too where it can still be there."""
        connection, declared = self._connection, self._declared
        super().close()
        if connection is None or not declared or connection.closed or connection.in_failed_transaction:
            return
        if self._withhold or connection.in_transaction:
            connection.execute_unnamed(f"CLOSE {self._identifier}")

    def _fetch(self, size: int) -> list[tuple[Any, ...]]:
        """One page. The columns of a cursor never change, so from the second page on vectors come as binary."""
        result = self.connection.execute_unnamed(
            f"FETCH FORWARD {int(size)} FROM {self._identifier}", formats=self._formats
        )
        self._result = result
        self._formats = self.connection.binary_formats(result)
        rows: list[tuple[Any, ...]] = result.rows or []
        return rows
