"""A Peewee database on pg8000."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from peewee import (
    BaseQuery,
    Context,
    Database,
    DatabaseError,
    Entity,
    Field,
    Model,
    ModelIndex,
    Node,
    PostgresqlDatabase,
    ProgrammingError,
    RawQuery,
    SelectBase,
)

from lightvec.errors import InvalidOption
from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.peewee._seam import (
    RowCursor,
    conflict_target,
    cursor_wrapper,
    end_inherited_block,
    forget_connection,
    inherited_blocks,
    open_connection,
    peewee_errors,
    reconnect,
    run_logged,
)
from lightvec.peewee.adapter import Pg8000Adapter
from lightvec.peewee.indexes import check_entity, with_short_name
from lightvec.pg8000 import dbapi
from lightvec.types.columns import VECTOR_TYPES
from lightvec.wire.identifiers import check_name
from lightvec.wire.settings import WithSchema

if TYPE_CHECKING:
    from lightvec.pg8000.dbapi import Values
    from lightvec.wire.copy.load import Progress

__all__ = ["ENVIRONMENT", "Pg8000Database"]

#: A connection string that names nothing: all of it comes from DATABASE_URL, PG* and the defaults.
ENVIRONMENT = "postgresql://"

#: The most searches whose SQL a database remembers.
_MOST_SEARCHES = 100

#: A name that means itself where it is not quoted.
_PLAIN_NAME = re.compile(r"[^\WA-Z]+")


class _Context(Context):
    """Peewee's builder of a statement, which also keeps the nearest-neighbour queries that stand in it.

    Names that the server would cut off, or cannot have, are refused.
    """

    # Peewee's own; its annotations leave them out.
    _sql: Any
    _values: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.nearest: list[Any] = []
        #: Vectors of stored rows that stand ahead of what is being written.
        self.materialized: list[Any] = []
        #: The schema of pgvector, where vectors are to be written as texts that are cast to its types.
        self.vectors_as_text = ""
        #: Where the statement is to run; None where it is only to be looked at.
        self.database: Pg8000Database | None = None

    def value(self, value: Any, converter: Any = None, add_param: bool = True) -> Any:
        """As in Peewee; and as a text that is cast, where that is asked for."""
        if not self.vectors_as_text:
            return super().value(value, converter, add_param)
        count = len(self._values)
        super().value(value, converter, add_param)
        if len(self._values) > count:
            vector = self._values[-1]
            name = next((name for name, kind in VECTOR_TYPES.items() if isinstance(vector, kind)), None)
            if name is not None:
                placeholder, self._values[-1] = self._sql.pop(), vector.to_text()
                self.literal("CAST(CAST(").literal(placeholder).literal(" AS text) AS ")
                self.sql(Entity(self.vectors_as_text, name)).literal(")")
        return self

    def is_on_citus(self) -> bool:
        """Whether the statement is to run on Citus; a round trip where that is not yet known."""
        return self.database is not None and bool(self.database.extension().citus)

    def sql(self, obj: Any) -> Any:
        if not isinstance(obj, Node):
            return super().sql(obj)
        if isinstance(obj, Entity):
            check_entity(obj)
        elif isinstance(obj, ModelIndex):
            obj = with_short_name(obj)
        return obj.__sql__(self)


class Pg8000Database(PostgresqlDatabase):
    """A complete Peewee database for PostgreSQL, with no C driver.

    ``Pg8000Database("postgresql://user@host/name")`` takes what :func:`lightvec.pg8000.connect` takes, or Peewee's
    usual form, ``Pg8000Database("name", host=..., port=..., user=..., password=...)``. Without an argument everything
    comes from the environment (``DATABASE_URL``, ``PG*``); None, as everywhere in Peewee, leaves it to ``init()``.

    ``register_hstore`` and ``server_side_cursors`` are those of ``playhouse.postgres_ext.PostgresqlExtDatabase``. Each
    statement is one round trip and outside a transaction leaves nothing on the session, so transaction poolers
    (PgBouncer, RDS Proxy) are safe. A connection that broke is replaced at its next use when no transaction is open. A
    forked process connects anew; the connections and transactions of its parent stay the parent's.

    ``deadline`` is a function that gives the milliseconds left for all that is done, or None; it can be set at any
    time, as when an AWS Lambda function is called: ``db.deadline = context.get_remaining_time_in_millis``.
    """

    #: What gives the milliseconds left, or None.
    deadline: Callable[[], float | None] | None = None

    context_class = _Context

    #: Index definitions cannot take parameters, so Peewee writes their values into the SQL.
    index_value_literals = True

    def __init__(self, *args: Any, **params: Any) -> None:
        self._hstore = params.pop("register_hstore", False)
        self._named_cursors = params.pop("server_side_cursors", False)
        #: The SQL of plain searches that were run, by what it follows from.
        self._searches: dict[Any, str] = {}
        if not args and "database" not in params:
            args = (params.pop("dsn", ENVIRONMENT),)
        super().__init__(*args, **params)
        _databases.add(self)

    def init(  # type: ignore[override]
        self, database: str | None, *, isolation_level: str | int | None = None, **params: Any
    ) -> None:
        """Say which database it is, as Peewee's ``init`` does; what chooses a psycopg has no meaning here."""
        params.pop("prefer_psycopg3", None)
        params.pop("register_unicode", None)
        if (encoding := params.pop("encoding", None)) is not None:
            params["client_encoding"] = encoding
        self.deadline = params.pop("deadline", None)
        # PostgresqlDatabase.init only chooses between psycopg 2 and 3.
        Database.init(self, database, **params)
        self._adapter = Pg8000Adapter()
        self._isolation_level = self._adapter.isolation_level_int(isolation_level)

    def _connect(self) -> dbapi.Connection:
        conn: dbapi.Connection = super()._connect()  # type: ignore[misc]
        conn.deadline = self.milliseconds_left
        if self._hstore:
            self._adapter.register_hstore(conn)
        return conn

    def cursor(self, named_cursor: bool | None = None) -> dbapi.Cursor:
        """A cursor on the open connection, which is replaced if it broke; ``named_cursor`` makes one on the server."""
        conn = self.live_connection()
        return self._adapter.server_side_cursor(conn) if named_cursor else conn.cursor()

    def execute(
        self,
        query: Any,
        named_cursor: bool = False,
        array_size: int | None = None,
        **context_options: Any,
    ) -> dbapi.Cursor:
        """Run a query. One that carries settings (:meth:`~lightvec.peewee.Nearest.settings`) takes them along.

        Its rows are read whole. Server-side cursors (``ServerSide(query)``, ``server_side_cursors=True``) and
        :meth:`stream` read a part at a time.
        """
        sql, params, settings, is_search = self._written(query, **context_options)
        # A cursor on the server searches when it is fetched from, when the settings are gone again.
        is_named = not is_search and (named_cursor or (self._named_cursors and isinstance(query, SelectBase)))
        cursor = self.execute_sql(sql, params, settings=settings, named_cursor=is_named)
        if array_size and isinstance(cursor, dbapi.ServerCursor):
            cursor.itersize = array_size
        return cursor

    def stream(self, query: Any, batch: int = 1_000) -> Iterator[Any]:
        """The rows of a query as it makes them, with no more than ``batch`` of them in memory.

        The connection is taken until the rows end or are closed: other statements meanwhile are errors, so loop with a
        server-side cursor where they are needed. A nearest-neighbour query takes its settings along.

        >>> Doc.create_table()
        >>> _ = Doc.insert_many([{"embedding": [1, 0, 0]}, {"embedding": [0, 1, 0]}]).execute()
        >>> [row["id"] for row in database.stream(Doc.select(Doc.id).order_by(Doc.id).dicts())]
        [1, 2]
        >>> Doc.drop_table()
        """
        if not isinstance(query, BaseQuery):
            raise InvalidOption(f"expected a Peewee query, got {type(query).__name__}")
        return self._streamed(query, batch)

    def _streamed(self, query: Any, batch: int) -> Iterator[Any]:
        sql, params, settings, _ = self._written(query)
        with peewee_errors:
            cursor = self.cursor()
        source: Any = cursor.stream(sql, params, batch=batch, settings=settings)
        try:
            first = run_logged(self, sql, params, lambda: next(source, None))
            rows = RowCursor(cursor.description or (), _rows_from(first, source))
            yield from cursor_wrapper(query, rows).iterator()
        finally:
            with peewee_errors:
                source.close()

    def _written(self, query: Any, **context_options: Any) -> tuple[str, Any, Mapping[str, object] | None, bool]:
        """A query's SQL, values and settings, and whether it is one that searches."""
        key = None if context_options else getattr(query, "statement_key", None)
        sql = self._searches.get(key)
        if sql is None:
            context = self.context_to_run(**context_options)
            sql, params = context.sql(query).query()
            searches = context.nearest
            if key is not None and len(self._searches) < _MOST_SEARCHES:
                self._searches[key] = sql
        else:
            params, searches = [query.vector], [query]
        settings: Mapping[str, object] | None = None
        if searches:
            from lightvec.peewee.nearest import settings_of

            settings = settings_of(searches, self)
        elif isinstance(query, BaseQuery) and not isinstance(query, RawQuery):
            # Not for definitions, of which some cannot share a write, nor for SQL of the caller's own.
            settings = self._path_for(params)
        return sql, params, settings, bool(searches)

    def context_to_run(self, **options: Any) -> Any:
        """Peewee's builder of a statement that is to run here."""
        context: Any = self.get_sql_context(**options)
        context.database = self
        return context

    def execute_sql(
        self,
        sql: str,
        params: Values | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        named_cursor: bool | None = None,
    ) -> dbapi.Cursor:
        """Run SQL with ``%s`` placeholders; ``settings`` hold for this statement only."""
        return run_logged(
            self, sql, params, lambda: self.cursor(named_cursor).execute(sql, params or (), settings=settings)
        )

    def create_tables(self, models: Iterable[type[Model]], **options: Any) -> None:
        """As in Peewee; creates the extension if a model needs it and this user may create it."""
        models = list(models)
        fields: list[Any] = [field for model in models for field in model._meta.sorted_fields]
        # An array has the type of its elements.
        if not any(hasattr(field, "value_class") or field.field_type in VECTOR_TYPES for field in fields):
            return super().create_tables(models, **options)
        if not self.extension().oids:
            with suppress(DatabaseError), self.atomic():
                self.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
        if self.extension().oids:
            return super().create_tables(models, **options)
        try:
            return super().create_tables(models, **options)
        except ProgrammingError as error:
            raise error from None

    def copy_rows(
        self,
        model: type[Model],
        rows: Iterable[Any],
        fields: Iterable[Field | str] | None = None,
        on_conflict: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Load rows into a model's table by binary COPY; :func:`lightvec.peewee.loading.copy_rows` says it all."""
        from lightvec.peewee.loading import copy_rows

        return copy_rows(self, model, rows, fields, on_conflict=on_conflict, progress=progress)

    def conflict_update(self, on_conflict: Any, query: Any) -> Any:
        """As in Peewee; on a model that is distributed the column it is by must be among those of the conflict."""
        model = getattr(query, "model", None)
        if model is not None:
            from lightvec.peewee.distribution import check_conflict_target

            check_conflict_target(model, conflict_target(on_conflict))
        return super().conflict_update(on_conflict, query)

    def sequence_exists(self, sequence: str, *schema: str | None) -> bool:
        """As in Peewee, which then writes the name unquoted into a column's default."""
        for name in filter(None, (*schema, sequence)):
            if not all(map(_PLAIN_NAME.fullmatch, name.split("."))):
                raise InvalidOption(
                    f"expected a sequence, and its schema, with a name of lower-case letters, digits and _, "
                    f"got {name!r}: Peewee cannot quote it"
                )
            check_name(name)
        return bool(super().sequence_exists(sequence, *schema))

    def extension(self) -> ExtensionTypes:
        """What the database says of pgvector: its version, schema and the OIDs of its types."""
        # Without a look at the socket, which the statement that follows has: it takes 7 of 470 µs of a search.
        conn = open_connection(self)
        known = NO_EXTENSION if conn is None else conn.known_types
        if known.oids:
            return known
        with peewee_errors:
            return self.live_connection().extension()

    def path_to_extension(self) -> dict[str, object]:
        """The search path with pgvector's schema, as a setting for a statement, where the session's lacks it."""
        schema = self.extension().out_of_path
        return {"search_path": WithSchema(schema)} if schema else {}

    def _path_for(self, params: Sequence[Any]) -> dict[str, object] | None:
        """The same for a statement with these values, without a round trip that it does not need itself."""
        conn: dbapi.Connection | None = open_connection(self)
        if conn is not None and conn.known_types.oids and not conn.known_types.out_of_path:
            return None
        conn = conn or self.live_connection()
        is_known = conn.known_types.oids or conn.needs_types(params)
        return (self.path_to_extension() or None) if is_known else None

    def rollback(self) -> None:
        """Roll back. A connection that broke needs none: the server has rolled back."""
        conn = open_connection(self)
        if conn is None and inherited_blocks(self):
            return  # The block was begun by the process that this one was forked from.
        if conn is not None and conn.closed:
            conn.forget_transaction()
        else:
            super().rollback()

    def pop_transaction(self) -> Any:
        """As in Peewee, but a block that was begun before a fork is not the child's."""
        return None if end_inherited_block(self) else super().pop_transaction()

    def commit(self) -> Any:
        """Commit. A connection that broke is not replaced here: its transaction is lost, and that is an error."""
        conn = open_connection(self)
        if conn is None:
            return super().commit()
        with peewee_errors:
            return conn.cursor().execute("COMMIT")

    def milliseconds_left(self) -> float | None:
        """The milliseconds until ``deadline``, or None."""
        return None if self.deadline is None else self.deadline()

    def live_connection(self) -> dbapi.Connection:
        """The open connection. One that broke is replaced, unless a transaction was open on it."""
        conn = open_connection(self)
        if conn is not None and not conn.belongs_here:
            self.discard_connections()
        # BEGIN as SQL opens a transaction that Peewee does not count.
        elif conn and not self.in_transaction() and not conn.in_transaction and not conn.is_alive():
            reconnect(self)
        live: dbapi.Connection = super().cursor().connection
        return live

    def forget_connections(self) -> list[Any]:
        """Forget all connections of this thread, or of the pool, without closing them; they are returned."""
        return forget_connection(self)

    def discard_connections(self) -> None:
        """After a fork: leave the parent's connections to the parent."""
        for conn in self.forget_connections():
            conn.discard()


def _rows_from(row: Any, rows: Iterator[Any]) -> Iterator[Any]:
    """A row and those after it; None is the end."""
    while row is not None:
        yield row
        with peewee_errors:
            row = next(rows, None)


def _after_fork() -> None:
    for database in list(_databases):
        database.discard_connections()


#: The databases that may have connections when the process forks.
_databases: WeakSet[Pg8000Database] = WeakSet()

if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_after_fork)
