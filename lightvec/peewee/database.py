"""A Peewee database on pg8000."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peewee import (
    BaseQuery,
    Context,
    Database,
    Entity,
    Field,
    Model,
    ModelIndex,
    PostgresqlDatabase,
    RawQuery,
    SelectBase,
)
from peewee import __exception_wrapper__ as in_peewees_words  # type: ignore[attr-defined]

from lightvec.errors import InvalidOption
from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.peewee.adapter import PAGE, PagedCursor, Pg8000Adapter
from lightvec.peewee.indexes import check_entity, fitting
from lightvec.pg8000 import dbapi
from lightvec.pg8000.identifiers import check_name
from lightvec.pg8000.settings import WithSchema
from lightvec.types.columns import VECTOR_TYPES

if TYPE_CHECKING:
    from lightvec.pg8000.copying.load import Progress

__all__ = ["ENVIRONMENT", "Pg8000Database"]

#: A connection string that names nothing: all of it comes from DATABASE_URL, PG* and the defaults.
ENVIRONMENT = "postgresql://"


#: A call of a function; Peewee writes a blank behind its key words (``IN (``).
_CALL = re.compile(r"\w\"?\(")

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
        if isinstance(obj, Entity):
            check_entity(obj)
        elif isinstance(obj, ModelIndex):
            obj = fitting(obj)
        return super().sql(obj)


class Pg8000Database(PostgresqlDatabase):
    """A complete Peewee database for PostgreSQL, with no C driver.

    ``Pg8000Database("postgresql://user@host/name")`` takes what :func:`lightvec.pg8000.connect` takes, or Peewee's
    usual form, ``Pg8000Database("name", host=..., port=..., user=..., password=...)``. Without an argument everything
    comes from the environment (``DATABASE_URL``, ``PG*``); None, as everywhere in Peewee, leaves it to ``init()``.

    ``register_hstore`` and ``server_side_cursors`` are those of ``playhouse.postgres_ext.PostgresqlExtDatabase``. Each
    statement is one round trip and outside a transaction leaves nothing on the session, so transaction poolers
    (PgBouncer, RDS Proxy) are safe. A connection that broke is replaced at its next use when no transaction is open.

    ``deadline`` is a function that gives the milliseconds left for all that is done, or None; it can be set at any
    time, as when an AWS Lambda function is called: ``db.deadline = context.get_remaining_time_in_millis``.
    """

    #: What Peewee keeps of each thread's connection; its annotations leave it out.
    _state: Any

    #: What gives the milliseconds left, or None.
    deadline: Callable[[], float | None] | None = None

    context_class = _Context

    #: Index definitions cannot take parameters, so Peewee writes their values into the SQL.
    index_value_literals = True

    def __init__(self, *args: Any, **params: Any) -> None:
        self._hstore = params.pop("register_hstore", False)
        self._named_cursors = params.pop("server_side_cursors", False)
        if not args and "database" not in params:
            args = (params.pop("dsn", ENVIRONMENT),)
        super().__init__(*args, **params)

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
        conn.deadline = self._milliseconds_left
        if self._hstore:
            self._adapter.register_hstore(conn)
        return conn

    def cursor(self, named_cursor: bool | None = None) -> dbapi.Cursor:
        """A cursor on the open connection, which is replaced if it broke; ``named_cursor`` makes one on the server."""
        conn = self._live_connection()
        return self._adapter.server_side_cursor(conn) if named_cursor else PagedCursor(conn)

    def execute(
        self,
        query: Any,
        named_cursor: bool = False,
        array_size: int | None = None,
        **context_options: Any,
    ) -> dbapi.Cursor:
        """Run a query. One that carries settings (:meth:`~lightvec.peewee.Nearest.settings`) takes them along.

        The rows of a long answer are read as they are asked for, so that ``iterator()`` needs memory for a page only.
        Where functions are called all is read at once: what they do must be done when this returns.
        """
        context = self.context_to_run(**context_options)
        sql, params = context.sql(query).query()
        named_cursor = named_cursor or (self._named_cursors and isinstance(query, SelectBase))
        settings: Mapping[str, object] | None = None
        page = 0
        if context.nearest:
            from lightvec.peewee.nearest import settings_of

            settings = settings_of(context.nearest, self)
            # A cursor on the server searches when it is fetched from, when the settings are gone again.
            named_cursor = False
        elif isinstance(query, BaseQuery) and not isinstance(query, RawQuery):
            # Not for definitions, of which some cannot share a write, nor for SQL of the caller's own.
            settings = self._path_for(params)
        if isinstance(query, SelectBase) and not named_cursor and not _CALL.search(sql):
            page = PAGE
        if settings or page:
            params = dbapi.Arguments(params, settings, page)
        cursor = self.execute_sql(sql, params, named_cursor=named_cursor)
        if array_size and isinstance(cursor, dbapi.ServerCursor):
            cursor.itersize = array_size
        return cursor

    def context_to_run(self, **options: Any) -> Any:
        """Peewee's builder of a statement that is to run here."""
        context: Any = self.get_sql_context(**options)
        context.database = self
        return context

    def execute_sql(self, sql: str, params: Any = None, named_cursor: bool | None = None) -> dbapi.Cursor:
        """Run SQL with ``%s`` placeholders."""
        cursor: dbapi.Cursor
        if not named_cursor:
            cursor = super().execute_sql(sql, params)
        elif hasattr(self, "_execute_cursor"):  # Peewee 4.4 and newer: its query hooks see the statement.
            cursor = self._execute_cursor(sql, params, named_cursor=True)
        else:
            with in_peewees_words:
                cursor = self.cursor(named_cursor=True).execute(sql, params or ())
        return cursor

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
        if model is not None and on_conflict._conflict_target:
            from lightvec.peewee.citus import check_conflict_target

            check_conflict_target(model, on_conflict)
        return super().conflict_update(on_conflict, query)

    def sequence_exists(self, sequence: str, *schema: str | None) -> bool:
        """As in Peewee (4.3 takes no schema), which then writes the name unquoted into a column's default."""
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
        known = NO_EXTENSION if self.is_closed() else self._state.conn.known_types
        if known.oids:
            return known
        with in_peewees_words:
            return self._live_connection().extension()

    def path_to_extension(self) -> dict[str, object]:
        """The search path with pgvector's schema, as a setting for a statement, where the session's lacks it."""
        schema = self.extension().out_of_path
        return {"search_path": WithSchema(schema)} if schema else {}

    def _path_for(self, params: Sequence[Any]) -> dict[str, object] | None:
        """The same for a statement with these values, without a round trip that it does not need itself."""
        conn: dbapi.Connection | None = None if self.is_closed() else self._state.conn
        if conn is not None and conn.known_types.oids and not conn.known_types.out_of_path:
            return None
        conn = conn or self._live_connection()
        is_known = conn.known_types.oids or conn.lacks(params)
        return (self.path_to_extension() or None) if is_known else None

    def rollback(self) -> None:
        """Roll back. Where the connection broke the server has done it, and the error that broke it is what counts."""
        if not self.is_closed() and self._state.conn.closed:
            self._state.conn.forget_transaction()
        else:
            super().rollback()

    def commit(self) -> None:
        """Commit. A connection that broke is not replaced here: what it was to commit is lost, and that is an error."""
        if self.is_closed():
            super().commit()
        with in_peewees_words:
            self._state.conn.cursor().execute("COMMIT")

    def _milliseconds_left(self) -> float | None:
        return None if self.deadline is None else self.deadline()

    def _live_connection(self) -> dbapi.Connection:
        """The open connection; one that broke is replaced, unless a transaction was open on it."""
        if not self.is_closed() and not self.in_transaction():
            conn = self._state.conn
            # The server's word counts, too: who sends BEGIN as SQL is in a transaction that Peewee knows nothing of.
            if not conn.in_transaction and not conn.is_alive():
                self._reconnect()
        live: dbapi.Connection = super().cursor().connection
        return live

    def _reconnect(self) -> None:
        """Replace the connection; whoever stands in a ``connection_context()`` goes on with the new one."""
        contexts = self._state.ctx
        try:
            self.close()
            self.connect()
        finally:
            self._state.ctx = contexts
