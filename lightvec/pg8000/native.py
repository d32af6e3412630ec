"""The connection for scripts: pg8000's native connection on lightvec's wire."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pg8000.native

from lightvec.pg8000.exceptions import Error
from lightvec.pg8000.fetching import fetch_columns
from lightvec.pg8000.identifiers import identifier
from lightvec.pg8000.loading import LoadingWire
from lightvec.pg8000.placeholders import from_named
from lightvec.pg8000.wire import check_committed

__all__ = ["Connection", "PreparedStatement"]


class Connection(LoadingWire, pg8000.native.Connection):
    """A connection for scripts, as :func:`lightvec.pg8000.connect` opens it.

    It is a :class:`pg8000.native.Connection`: what its documentation says holds here, in one round trip a statement and
    with vectors as :class:`lightvec.Vector`, :class:`~lightvec.HalfVector`, :class:`~lightvec.SparseVector` and
    :class:`~lightvec.Bit`. Parameters are typed by psycopg 3's rules (an ``int`` is an integer, not a text).

    >>> conn.run("SELECT :a + 1", a=41)
    [[42]]
    >>> conn.run("SELECT CAST(:v AS vector) <-> '[1,2,5]'", v=Vector([1, 2, 3]))
    [[2.0]]
    """

    def run(
        self,
        sql: str,
        stream: Any = None,
        types: Mapping[str, int] | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        **params: Any,
    ) -> list[list[Any]] | Any:
        """Run a statement with ``:name`` parameters; its rows, or None if it has none.

        Without parameters, ``sql`` may hold several statements. ``stream`` is the source or target of a COPY, ``types``
        maps parameter names to OIDs where the server cannot infer a type. ``settings`` hold for this statement only, in
        the same round trip, and leave nothing behind on the session. Type checkers see Any in place of None, so that
        rows can be taken without asking whether there are some.

        >>> conn.run("SELECT current_setting('hnsw.ef_search')", settings={"hnsw.ef_search": 100})
        [['100']]
        """
        if not params and stream is None:
            self._context = self.execute_text(sql, settings)
        else:
            statement, values, oids = self._ordered(sql, params, types)
            self._context = self.execute_unnamed(statement, values, oids, stream, settings=settings)
        check_committed(self._context)
        rows: list[list[Any]] | None = self._context.rows
        return rows

    def stream(
        self,
        sql: str,
        *,
        batch: int = 1_000,
        types: Mapping[str, int] | None = None,
        settings: Mapping[str, object] | None = None,
        **params: Any,
    ) -> Generator[list[Any], None, None]:
        """The rows of a statement one by one, with no more than ``batch`` of them in memory, a round trip a batch.

        The connection is taken until the rows end or the iterator is closed; the statement is one transaction, or part
        of the one that is open.

        >>> sum(row[0] for row in conn.stream("SELECT generate_series(1, :n)", n=10_000, batch=500))
        50005000
        """
        statement, values, oids = self._ordered(sql, params, types)
        return self.stream_rows(statement, values, oids, batch=batch, settings=settings)

    def fetch_columns(self, sql: str, *, types: Mapping[str, int] | None = None, **params: Any) -> dict[str, Any]:
        """The rows of a query as columns by name.

        Where NumPy is installed, a column of vectors is one float32 matrix of the shape (rows, dimensions), of halfvecs
        a float16 one, and integers, floats and booleans are arrays of their type. A column with NULLs, or with vectors
        of different dimensions, is a list, as are all other columns; without NumPy every column is one.

        >>> columns = conn.fetch_columns("SELECT g AS id, ARRAY[g, 1]::vector AS v FROM generate_series(1, 3) g")
        >>> [[float(number) for number in row] for row in columns["v"]]
        [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
        """
        statement, values, oids = self._ordered(sql, params, types)
        return fetch_columns(self, statement, values, oids)

    def _ordered(
        self, sql: str, params: Mapping[str, Any], types: Mapping[str, int] | None
    ) -> tuple[str, tuple[Any, ...], tuple[Any, ...]]:
        """A statement with ``$1``, its values in order, and their OIDs where ``types`` has some."""
        statement, values = from_named(sql, params)
        return statement, values, from_named(sql, dict.fromkeys(params) | dict(types))[1] if types else ()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if an exception leaves it.

        Inside another one it is a savepoint.

        >>> with conn.transaction():
        ...     _ = conn.run("CREATE TEMPORARY TABLE seen (id int) ON COMMIT DROP")
        ...     conn.run("INSERT INTO seen VALUES (:id) RETURNING id", id=1)
        [[1]]
        """
        rollback: tuple[str | None, str]
        if self.in_transaction:
            self._savepoints += 1
            name = identifier(f"lightvec_{self._savepoints}")
            begin, commit = f"SAVEPOINT {name}", f"RELEASE {name}"
            # A savepoint that was rolled back to is still there, and so is its memory on the server.
            rollback = (f"ROLLBACK TO {name}", f"RELEASE {name}")
        else:
            begin, commit, rollback = "BEGIN", "COMMIT", (None, "ROLLBACK")
        self.execute_unnamed(begin)
        try:
            yield self
            self.end_streams()
        except BaseException:
            # The caller's error is what counts, also where the connection does not even take the rollback.
            with suppress(Error):
                self.end_streams()
                self.execute_unnamed(rollback[1], before=rollback[0])
            raise
        check_committed(self.execute_unnamed(commit))

    _savepoints = 0

    def prepare(self, sql: str) -> PreparedStatement:
        """A statement to run again and again; see :class:`PreparedStatement`."""
        return PreparedStatement(self, sql)


class PreparedStatement:
    """pg8000's interface of a prepared statement, without a named statement on the server.

    A transaction pooler runs each use on whichever server is free, where a named statement would not be. One round trip
    a use it is anyway.

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
        columns: list[dict[str, Any]] | None = self.con.columns
        return columns

    def run(self, stream: Any = None, **params: Any) -> list[list[Any]] | Any:
        """Run it with these parameters."""
        return self.con.run(self.statement, stream, **params)

    def close(self) -> None:
        """Nothing is held on the server, so there is nothing to give back."""
