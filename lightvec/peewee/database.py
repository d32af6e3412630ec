"""A Peewee database on pg8000."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from peewee import (
    SQL,
    BaseQuery,
    Case,
    Context,
    Database,
    DatabaseError,
    Entity,
    Expression,
    Field,
    Function,
    Index,
    Model,
    ModelIndex,
    Node,
    PostgresqlDatabase,
    ProgrammingError,
    RawQuery,
    SelectBase,
    Update,
)

from lightvec.errors import InvalidOption
from lightvec.extension import NO_EXTENSION, ExtensionTypes
from lightvec.peewee._seam import (
    DriverAdapter,
    PooledDatabase,
    RowCursor,
    altering,
    conflict_target,
    copy_with,
    cursor_wrapper,
    end_inherited_block,
    extend_playhouse,
    forget_connection,
    forget_pool,
    inherited_blocks,
    open_connection,
    peewee_errors,
    reconnect,
    run_logged,
    update_values,
)
from lightvec.peewee.indexes import VectorIndex, check_entity, index_of_added_column, with_short_name
from lightvec.peewee.nearest import settings_of
from lightvec.peewee.vector_values import convert_lists, convert_update
from lightvec.pg8000 import Json, Jsonb, dbapi
from lightvec.types.columns import VECTOR_TYPES
from lightvec.wire.execute import lacks_types
from lightvec.wire.identifiers import check_name
from lightvec.wire.settings import WithSchema

#: A connection string that leaves everything to DATABASE_URL, PG* and the defaults.
ENVIRONMENT = "postgresql://"

_MAX_CACHED_SEARCHES = 100

#: A name that needs no quotes.
_PLAIN_NAME = re.compile(r"[^\WA-Z]+")

_VECTOR_NAMES = {kind: name for name, kind in VECTOR_TYPES.items()}


class _Context(Context):
    """Peewee's builder of a statement; it checks names, and collects the searches."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.nearest: list[Any] = []
        #: Nodes by their ID, each with the one that has lists converted.
        self._converted: dict[int, tuple[Node, Node]] = {}
        self.database: Pg8000Database | None = None
        #: Whether a column of a type of pgvector's is defined.
        self.has_vector_types = False
        #: The vector fields that a table is defined with.
        self.defined_fields: list[Any] = []
        #: pgvector's schema, to cast texts to its types.
        self.vectors_as_text = ""

    def value(self, value: Any, converter: Any = None, add_param: bool = True) -> Any:
        if not self.vectors_as_text or type(value) not in _VECTOR_NAMES:
            return super().value(value, converter, add_param)
        name = Entity(self.vectors_as_text, _VECTOR_NAMES[type(value)])
        self.literal("CAST(CAST(")
        super().value(value.to_text(), converter=False)
        return self.literal(" AS text) AS ").sql(name).literal(")")

    def sql(self, obj: Any) -> Any:
        if not isinstance(obj, Node):
            return super().sql(obj)
        if isinstance(obj, Entity):
            check_entity(obj)
        elif type(obj) is SQL:
            # As Field.ddl_datatype() and ArrayField write it.
            if obj.sql.partition("(")[0].rstrip("[]") in VECTOR_TYPES:
                self.has_vector_types = True
        elif isinstance(obj, Index):
            obj = self._index(obj)
        elif isinstance(obj, (Case, Function, Expression)):
            obj = self._with_vectors(obj)
        elif isinstance(obj, Update):
            obj = copy_with(obj, update=convert_update(update_values(obj)))
        return obj.__sql__(self)

    def _index(self, index: Any) -> Any:
        if isinstance(index, ModelIndex):
            return with_short_name(index)
        if not isinstance(index, VectorIndex):
            return index_of_added_column(index)
        if not index.concurrently or self.database is None or open_connection(self.database) is None:
            return index
        # The search path cannot be set for it.
        schema = self.database.extension().out_of_path
        return index.qualified(schema) if schema else index

    def _with_vectors(self, node: Node) -> Node:
        # Once a node: GROUP BY needs the very parameter that SELECT has.
        if id(node) not in self._converted:
            self._converted[id(node)] = (node, convert_lists(node))
        return self._converted[id(node)][1]


class _Adapter(DriverAdapter):
    """The driver as PostgresqlDatabase uses it."""

    isolation_levels = dbapi.ISOLATION_LEVELS
    json_type = Json
    jsonb_type = Jsonb
    cast_json_case = False

    def check_driver(self) -> None:
        """Always there."""

    def get_binary_type(self) -> type[bytes]:
        return bytes

    def connect(self, db: Any, **params: Any) -> dbapi.Connection:
        connection = dbapi.connect(db.database, deadline=db.milliseconds_left, **params)
        connection.paramstyle = "format"  # Peewee's, whatever dbapi.paramstyle is.
        return connection

    def get_server_version(self, conn: dbapi.Connection) -> int:
        return conn.server_version

    def isolation_level_int(self, isolation_level: Any) -> Any:
        """The number of an isolation level, or of its name in any case."""
        level = isolation_level
        if isinstance(level, str):
            level = self.isolation_levels_inv.get(level.upper().replace("_", " "))
        if level in self.isolation_levels or isolation_level is None:
            return level
        names = ", ".join(self.isolation_levels.values())
        wanted = f"an isolation level of {names}, or its number"
        raise InvalidOption(f"expected {wanted}, got {isolation_level!r}")

    def isolation_level_str(self, isolation_level: Any) -> Any:
        """The name, which Peewee writes after BEGIN."""
        return self.isolation_levels[self.isolation_level_int(isolation_level)]

    def is_connection_usable(self, conn: dbapi.Connection) -> bool:
        return not conn.closed and not conn.in_failed_transaction

    def is_connection_reusable(self, conn: dbapi.Connection) -> bool:
        return conn.session.phase != "streaming" and self._idle(conn)

    def is_connection_closed(self, conn: dbapi.Connection) -> bool:
        return not self._idle(conn)

    def server_side_cursor(self, conn: dbapi.Connection) -> dbapi.Cursor:
        return conn.cursor(uuid4().hex, withhold=not conn.in_transaction)

    def _idle(self, conn: dbapi.Connection) -> bool:
        if not conn.session.belongs_here:
            conn.session.discard()
        if not conn.is_alive():
            return False
        try:
            conn.rollback()
        except dbapi.Error:
            return False
        return True


class Pg8000Database(PostgresqlDatabase):
    """A Peewee database for PostgreSQL, without a C driver.

    ``Pg8000Database("postgresql://user@host/name")`` takes what :func:`lightvec.pg8000.connect`
    takes, or Peewee's form, ``Pg8000Database("name", host=..., user=..., password=...)``. Without
    an argument everything comes from the environment (``DATABASE_URL``, ``PG*``); None leaves it to
    ``init()``. ``register_hstore`` and ``server_side_cursors`` are those of
    ``playhouse.postgres_ext.PostgresqlExtDatabase``.

    Each statement is one round trip and, outside a transaction, leaves nothing on the session, so
    transaction poolers (PgBouncer, RDS Proxy) are safe. A broken connection is replaced at its next
    use if no transaction is open. A forked process connects anew, and leaves its parent's
    connections alone.

    ``deadline`` is a function that returns the milliseconds left, or None. It can be set at any
    time, as in AWS Lambda: ``db.deadline = context.get_remaining_time_in_millis``.
    """

    deadline: Callable[[], float | None] | None = None

    context_class = _Context

    #: Index definitions take no parameters.
    index_value_literals = True

    def __init__(self, *args: Any, **params: Any) -> None:
        self._hstore = params.pop("register_hstore", False)
        self._named_cursors = params.pop("server_side_cursors", False)
        #: The SQL of plain searches, by their ``statement_key``.
        self._searches: dict[Any, str] = {}
        if not args and "database" not in params:
            args = (params.pop("dsn", ENVIRONMENT),)
        super().__init__(*args, **params)
        _databases.add(self)

    def init(  # type: ignore[override]
        self, database: str | None, *, isolation_level: str | int | None = None, **params: Any
    ) -> None:
        """As in Peewee; what chooses a psycopg is ignored."""
        params.pop("prefer_psycopg3", None)
        params.pop("register_unicode", None)
        if (encoding := params.pop("encoding", None)) is not None:
            params["client_encoding"] = encoding
        self.deadline = params.pop("deadline", None)
        # PostgresqlDatabase.init only chooses between psycopg 2 and 3.
        Database.init(self, database, **params)
        self._adapter = _Adapter()
        self._isolation_level = self._adapter.isolation_level_int(isolation_level)

    def _connect(self) -> dbapi.Connection:
        extend_playhouse()
        conn: dbapi.Connection = super()._connect()  # type: ignore[misc]
        if self._hstore:
            from lightvec.pg8000.hstore import register_hstore

            register_hstore(conn)
        return conn

    def cursor(self, named_cursor: bool | None = None) -> dbapi.Cursor:
        """A cursor on the open connection; with ``named_cursor`` a server-side one."""
        conn = self.live_connection()
        return self._adapter.server_side_cursor(conn) if named_cursor else conn.cursor()

    def execute(
        self,
        query: Any,
        named_cursor: bool = False,
        array_size: int | None = None,
        **context_options: Any,
    ) -> dbapi.Cursor:
        """Run a query, with the settings of the searches in it, and read all rows.

        Server-side cursors (``ServerSide(query)``, ``server_side_cursors=True``) and :meth:`stream`
        use bounded memory.
        """
        if isinstance(query, (_Context, Index)):
            return self._define(query)
        sql, params, settings, searches = self._written(query, **context_options)
        # A server-side cursor would search when it is fetched from, without the settings.
        is_named = named_cursor or (self._named_cursors and isinstance(query, SelectBase))
        is_named = is_named and not searches
        cursor = self.execute_sql(sql, params, settings=settings, named_cursor=is_named)
        if searches and searches[0] is query:
            fallback = query.exact_fallback(cursor.rowcount, self)
            if fallback is not None:
                return self.execute(fallback)
        if array_size and isinstance(cursor, dbapi.ServerCursor):
            cursor.itersize = array_size
        return cursor

    def _define(self, query: Any) -> dbapi.Cursor:
        """Run the definition of a table, a column or an index, which finds pgvector in any schema."""
        from lightvec.wire.advice import may_be_pgvectors

        extend_playhouse()
        context = query if isinstance(query, _Context) else self.get_sql_context().sql(query)
        sql, params = context.query()
        if context.has_vector_types and not self.extension().oids:
            with suppress(DatabaseError), self.atomic():
                self.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
        is_missing = context.has_vector_types and not self.extension().oids
        settings = None
        # A setting would need a transaction.
        if may_be_pgvectors(sql) and "CONCURRENTLY" not in sql:
            settings = self.path_to_extension()
        fields = context.defined_fields
        is_migration = sql.startswith("ALTER TABLE ")
        try:
            with altering(self, sql, fields) if is_migration else nullcontext():
                cursor = self.execute_sql(sql, params, settings=settings)
        except ProgrammingError as error:
            if is_missing:
                raise error from None
            raise
        if not is_migration and any(field.embedding_model for field in fields):
            from lightvec.peewee.column_comments import record_origins

            record_origins(self, fields[0].model)
        return cursor

    def get_sql_context(self, **options: Any) -> Any:
        context: Any = super().get_sql_context(**options)
        context.database = self
        return context

    def stream(self, query: Any, batch: int = 1_000) -> Iterator[Any]:
        """The rows of a query, with no more than ``batch`` of them in memory.

        Until the last row is read, or the iterator is closed, other statements on the connection
        are errors. Use a server-side cursor where they are needed.
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

    def _written(self, query: Any, **context_options: Any) -> tuple[str, Any, Any, list[Any]]:
        """SQL, values, settings and searches."""
        key = None if context_options else getattr(query, "statement_key", None)
        sql = self._searches.get(key)
        if sql is None:
            context: Any = self.get_sql_context(**context_options)
            sql, params = context.sql(query).query()
            searches = context.nearest
            if key is not None and len(self._searches) < _MAX_CACHED_SEARCHES:
                self._searches[key] = sql
        else:
            params, searches = [query.vector], [query]
        settings = None
        if searches:
            settings = settings_of(searches, self)
        elif isinstance(query, BaseQuery) and not isinstance(query, RawQuery):
            # Not for the caller's own SQL.
            settings = self._path_for(params)
        return sql, params, settings, searches

    def execute_sql(
        self,
        sql: str,
        params: dbapi.Values | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        named_cursor: bool | None = None,
    ) -> dbapi.Cursor:
        """Run SQL with ``%s`` placeholders; ``settings`` hold for this statement only."""

        def run() -> dbapi.Cursor:
            return self.cursor(named_cursor).execute(sql, params or (), settings=settings)

        return run_logged(self, sql, params, run)

    def get_tables(self, schema: str | None = None) -> list[str]:
        """As in Peewee, whose reflection and migrations begin with it."""
        extend_playhouse()
        return super().get_tables(schema)

    def copy_rows(
        self,
        model: type[Model],
        rows: Iterable[Any],
        fields: Iterable[Field | str] | None = None,
        on_conflict: str | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Load rows into a model's table by binary COPY, and return the number of rows.

        ``rows`` is any iterable, and never held as a whole. All are of one kind:

        - dicts by names of fields or columns, or by fields; the first one's keys are the fields to
          load, unless ``fields`` names some of them;
        - instances of the model, all with a value of an auto-incrementing key or all without;
        - sequences of the values of ``fields``, or of all fields in the model's order, with or
          without an auto-incrementing key.

        As with ``insert_many``, missing fields have their ``default`` or NULL, and values go
        through the field's ``db_value``. SQL expressions cannot be loaded.

        ``on_conflict="ignore"`` skips rows that violate a unique constraint. ``"update"`` updates
        the row with the same primary key (or the only unique key among the fields); of rows with
        the same key the last one wins. The result is then the number of rows inserted or updated.
        ``progress`` is called with the number of rows sent so far, and at the end with the total.

        After an exception nothing is stored and the connection is usable. ``peewee.DataError`` and
        :class:`~lightvec.errors.InvalidVector` name the row, counted from 1; exceptions of ``rows``
        and ``progress`` are passed on.
        """
        from lightvec.peewee.copy_rows import copy_rows

        return copy_rows(self, model, rows, fields, on_conflict, progress)

    def conflict_update(self, on_conflict: Any, query: Any) -> Any:
        """As in Peewee; checks the target on a distributed table."""
        if values := update_values(on_conflict):
            on_conflict = copy_with(on_conflict, update=convert_update(values))
        model = getattr(query, "model", None)
        if model is not None:
            from lightvec.peewee.distribution import check_conflict_target

            check_conflict_target(model, conflict_target(on_conflict))
        return super().conflict_update(on_conflict, query)

    def sequence_exists(self, sequence: str, *schema: str | None) -> bool:
        for name in filter(None, (*schema, sequence)):
            if not all(map(_PLAIN_NAME.fullmatch, name.split("."))):
                raise InvalidOption(
                    f"expected names of lower-case letters, digits and _ for a sequence and its "
                    f"schema, got {name!r}: Peewee cannot quote it"
                )
            check_name(name)
        return bool(super().sequence_exists(sequence, *schema))

    def extension(self) -> ExtensionTypes:
        """pgvector's version, schema and the OIDs of its types."""
        # The next statement checks the socket, which is 7 of 470 µs of a search.
        conn = open_connection(self)
        known = NO_EXTENSION if conn is None else conn.session.extension
        if known.oids:
            return known
        with peewee_errors:
            return self.live_connection().extension()

    def path_to_extension(self) -> dict[str, object]:
        """The setting that adds pgvector's schema to a search path without it."""
        schema = self.extension().out_of_path
        return {"search_path": WithSchema(schema)} if schema else {}

    def _path_for(self, params: Sequence[Any]) -> dict[str, object] | None:
        """The same for a statement with these values, without a needless round trip."""
        session = (open_connection(self) or self.live_connection()).session
        is_known = session.extension.oids or lacks_types(session, params)
        return self.path_to_extension() if is_known else None

    def rollback(self) -> None:
        """Roll back. On a broken connection the server has done it."""
        conn = open_connection(self)
        if conn is None and inherited_blocks(self):
            return  # The parent process began it.
        if conn is not None and conn.closed:
            conn.session.forget_transaction()
        else:
            super().rollback()

    def pop_transaction(self) -> Any:
        """As in Peewee; a block begun before a fork stays the parent's."""
        return None if end_inherited_block(self) else super().pop_transaction()

    def commit(self) -> Any:
        """Commit, or end a failed transaction. A broken connection is an error: its transaction is lost."""
        conn = open_connection(self)
        if conn is None:
            return super().commit()
        with peewee_errors:
            # Peewee's drivers pass over a COMMIT that rolls back.
            return conn.cursor().execute("ROLLBACK" if conn.in_failed_transaction else "COMMIT")

    def milliseconds_left(self) -> float | None:
        return None if self.deadline is None else self.deadline()

    def live_connection(self) -> dbapi.Connection:
        """The open connection; a broken one is replaced unless a transaction was open."""
        conn = open_connection(self)
        if conn is not None and not conn.session.belongs_here:
            self.discard_connections()
        # BEGIN as SQL opens a transaction that Peewee does not count.
        elif conn and not self.in_transaction() and not conn.in_transaction and not conn.is_alive():
            reconnect(self)
        live: dbapi.Connection = super().cursor().connection
        return live

    def forget_connections(self) -> list[Any]:
        return forget_connection(self)

    def discard_connections(self) -> None:
        """After a fork, leave the connections to the parent."""
        for conn in self.forget_connections():
            conn.session.discard()


class PooledPg8000Database(PooledDatabase, Pg8000Database):  # type: ignore[misc]
    """A :class:`~lightvec.peewee.Pg8000Database` that keeps its connections open for the next user.

    ``max_connections``, ``stale_timeout`` and ``timeout`` are those of ``playhouse.pool``.
    """

    def __init__(self, *args: object, **params: object) -> None:
        if not args:
            args = (params.pop("database", params.pop("dsn", ENVIRONMENT)),)
        super().__init__(*args, **params)

    def forget_connections(self) -> list[Any]:
        return forget_pool(self) + super().forget_connections()


def _rows_from(row: Any, rows: Iterator[Any]) -> Iterator[Any]:
    while row is not None:
        yield row
        with peewee_errors:
            row = next(rows, None)


def _after_fork() -> None:
    for database in list(_databases):
        database.discard_connections()


_databases: WeakSet[Pg8000Database] = WeakSet()

if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_after_fork)
