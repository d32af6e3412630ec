"""The connection for scripts, with the interface of pg8000's native connection."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from lightvec.pg8000.connection import BaseConnection
from lightvec.wire.errors import Error, InterfaceError
from lightvec.wire.execute import execute, execute_text
from lightvec.wire.identifiers import identifier
from lightvec.wire.placeholders import check_backslashes, from_named
from lightvec.wire.portal import stream
from lightvec.wire.results import Result

__all__ = ["Connection", "PreparedStatement"]


class Connection(BaseConnection):
    """A connection for scripts, as :func:`lightvec.pg8000.connect` opens it, or by pg8000's own parameters.

    It is a :class:`pg8000.native.Connection` to ``isinstance``. A statement takes one round trip.
    Parameters are typed by psycopg 3's rules (an ``int`` is an integer, not a text).

    >>> conn.run("SELECT :a + 1", a=41)
    [[42]]
    >>> conn.run("SELECT CAST(:v AS vector) <-> '[1,2,5]'", v=Vector([1, 2, 3]))
    [[2.0]]
    """

    _pg8000_class = ("pg8000.native", "Connection")
    _row_class = list

    def _begin(self, session: Any) -> None:
        super()._begin(session)
        self._result: Result | None = None
        self._savepoints = 0
        self._streams: WeakSet[Generator[list[Any], None, None]] = WeakSet()

    @property
    def columns(self) -> list[dict[str, Any]] | None:
        """The columns of the last statement, as dicts of RowDescription's fields."""
        columns = self._result.columns if self._result else None
        return None if columns is None else [column._asdict() for column in columns]

    @property
    def row_count(self) -> int | None:
        """The number of rows that the last statement returned or changed, or -1."""
        return self._result.row_count if self._result else None

    def run(
        self,
        sql: str,
        stream: Any = None,
        types: Mapping[str, int] | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        **params: Any,
    ) -> list[list[Any]] | Any:
        """Run a statement with ``:name`` parameters; its rows, or None if it returns none.

        Without parameters, ``sql`` may hold several statements. ``stream`` is the source or target of
        a COPY, ``types`` maps parameter names to OIDs where the server cannot infer a type.
        ``settings`` hold for this statement only, in the same round trip.

        >>> conn.run("SELECT current_setting('hnsw.ef_search')", settings={"hnsw.ef_search": 100})
        [['100']]
        """
        if self.session.escapes_strings:
            check_backslashes(sql, params)
        if stream is not None:
            statement, values = from_named(sql, params)
            result = self._copy(statement, values, stream)
        elif params:
            statement, values = from_named(sql, params)
            oids = _oids(sql, params, types) if types else ()
            result = execute(self.session, statement, values, oids, settings=settings)
        else:
            result = execute_text(self.session, sql, settings=settings)
        self._result = result
        return result.rows

    def stream(
        self,
        sql: str,
        *,
        batch: int = 1_000,
        types: Mapping[str, int] | None = None,
        settings: Mapping[str, object] | None = None,
        **params: Any,
    ) -> Generator[list[Any], None, None]:
        """The rows of a statement one by one, ``batch`` of them in memory at a time, each batch a round trip.

        The connection is in use until the rows end or the iterator is closed.

        >>> sum(row[0] for row in conn.stream("SELECT generate_series(1, :n)", n=10_000, batch=500))
        50005000
        """
        statement, values = from_named(sql, params)
        rows = stream(
            self.session, Result(statement), values, _oids(sql, params, types), batch=batch, settings=settings
        )
        self._streams.add(rows)
        return rows

    def fetch_columns(self, sql: str, *, types: Mapping[str, int] | None = None, **params: Any) -> dict[str, Any]:
        """The rows of a query as columns by name.

        With NumPy, a column of vectors is a float32 matrix of the shape (rows, dimensions), of halfvecs
        a float16 one, and integers, floats and booleans are arrays. Other columns, those with NULLs and
        those with vectors of different dimensions are lists; without NumPy all are.

        >>> columns = conn.fetch_columns("SELECT g AS id, ARRAY[g, 1]::vector AS v FROM generate_series(1, 3) g")
        >>> [[float(number) for number in row] for row in columns["v"]]
        [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
        """
        from lightvec.wire.fetch import fetch_columns

        statement, values = from_named(sql, params)
        return fetch_columns(self.session, statement, values, _oids(sql, params, types))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that an exception rolls back; inside another one, a savepoint.

        >>> with conn.transaction():
        ...     _ = conn.run("CREATE TEMPORARY TABLE seen (id int) ON COMMIT DROP")
        ...     conn.run("INSERT INTO seen VALUES (:id) RETURNING id", id=1)
        [[1]]
        """
        begin, commit, rollback = self._transaction_commands()
        self.execute_unnamed(begin)
        ended = self.session.transactions_ended
        try:
            yield self
            self._close_streams()
            if self.session.transactions_ended != ended:
                raise InterfaceError(
                    "a COMMIT or ROLLBACK in the block ended its transaction, so what ran after it was not part of "
                    "it: leave the end to the block"
                )
        except BaseException:
            # The caller's error is raised even if the rollback fails.
            with suppress(Error):
                self._close_streams()
                for command in rollback:
                    self.execute_unnamed(command)
            raise
        self.execute_unnamed(commit)

    def _transaction_commands(self) -> tuple[str, str, tuple[str, ...]]:
        if not self.in_transaction:
            return "BEGIN", "COMMIT", ("ROLLBACK",)
        self._savepoints += 1
        name = identifier(f"lightvec_{self._savepoints}")
        # After ROLLBACK TO the savepoint still exists, and uses memory on the server.
        return f"SAVEPOINT {name}", f"RELEASE {name}", (f"ROLLBACK TO {name}", f"RELEASE {name}")

    def _close_streams(self) -> None:
        for rows in list(self._streams):
            rows.close()

    def prepare(self, sql: str) -> PreparedStatement:
        """A statement to run repeatedly; see :class:`PreparedStatement`."""
        return PreparedStatement(self, sql)


class PreparedStatement:
    """pg8000's interface only: every repeated statement is prepared on the server where that is safe.

    >>> statement = conn.prepare("SELECT :a * 2")
    >>> statement.run(a=21)
    [[42]]
    >>> statement.close()
    """

    def __init__(self, connection: Connection, sql: str) -> None:
        self.con = connection
        self.statement = sql

    @property
    def columns(self) -> list[dict[str, Any]] | None:
        """The columns of the last run."""
        return self.con.columns

    def run(self, stream: Any = None, **params: Any) -> list[list[Any]] | Any:
        """Run it with these parameters."""
        return self.con.run(self.statement, stream, **params)

    def close(self) -> None:
        """It does nothing."""


def _oids(sql: str, params: Mapping[str, Any], types: Mapping[str, int] | None) -> tuple[int | None, ...]:
    """The OIDs in ``types`` in the order of the statement's parameters."""
    return from_named(sql, dict.fromkeys(params) | dict(types))[1] if types else ()
