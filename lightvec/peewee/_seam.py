"""The only module that uses private names of Peewee; ``tests/peewee/test_seam.py`` lists them.

A subclass of one of Peewee's classes may use, on ``self``, listed names that it inherits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from logging import DEBUG, getLogger
from threading import Condition, Lock, RLock
from time import perf_counter
from typing import Any, TypeVar

from peewee import CTE, Field, JSONPath, Proxy, SchemaManager, SelectBase
from peewee import __exception_wrapper__ as peewee_errors  # type: ignore[attr-defined]
from peewee import _BasePsycopgAdapter as DriverAdapter
from playhouse.pool import _PooledPostgresqlDatabase as PooledDatabase

from lightvec.types.inputs import shortened
from lightvec.wire.identifiers import identifier
from lightvec.wire.placeholders import from_format

__all__ = ["DriverAdapter", "PooledDatabase", "peewee_errors"]  # Peewee's


Q = TypeVar("Q")
T = TypeVar("T")

_logger = getLogger("peewee")

# Statements


def run_logged(database: Any, sql: str, params: Any, run: Callable[[], T]) -> T:
    """Call ``run`` with Peewee's exceptions, log and query hooks."""
    if _logger.isEnabledFor(DEBUG):
        is_sequence = isinstance(params, (list, tuple))
        _logger.debug((sql, type(params)(map(shortened, params)) if is_sequence else shortened(params)))
    if not database.query_hooks:
        with peewee_errors:
            return run()
    start = perf_counter()
    try:
        with peewee_errors:
            result = run()
    except Exception as error:
        database._notify_hooks(sql, params, start, error)
        raise
    database._notify_hooks(sql, params, start, None)
    return result


def execute_as_is(database: Any, sql: str) -> Any:
    """Run SQL in which percent signs are literal: :meth:`execute_sql` reads doubled ones, but not in names."""
    return run_logged(database, sql, None, lambda: database.cursor().execute(sql))


def is_nested(ctx: Any) -> bool:
    """Whether a statement has begun."""
    return bool(ctx._sql)


def entity_path(entity: Any) -> tuple[str, ...]:
    return tuple(entity._path)


def update_values(update: Any) -> Any:
    """The fields of an UPDATE or ON CONFLICT, and their values."""
    return update._update


def conflict_target(on_conflict: Any) -> list[Any]:
    target = on_conflict._conflict_target or []
    return list(target) if isinstance(target, (list, tuple)) else [target]


# Queries and their rows


_UNUSUAL_CLAUSES = (
    "_alias",
    "_cte_list",
    "_distinct",
    "_for_update",
    "_group_by",
    "_having",
    "_lateral",
    "_simple_distinct",
    "_windows",
)


def has_unusual_clauses(query: Any) -> bool:
    """Whether it has others than columns, FROM, WHERE, ORDER BY, LIMIT, OFFSET."""
    return any(query.__dict__.get(clause) is not None for clause in _UNUSUAL_CLAUSES)


def copy_with(query: Q, **clauses: Any) -> Q:
    """A copy of a query with other clauses, such as ``order_by``."""
    copy: Q = query.clone()  # type: ignore[attr-defined]
    for name, value in clauses.items():
        setattr(copy, f"_{name}", value)
    return copy


def selected_columns(source: Any) -> dict[Any, Any]:
    """What a subquery or CTE selects, by the names of its columns, or by their numbers where they have none."""
    query: Any = source
    if isinstance(source, CTE):
        query = None if query._columns else query._query
    selected: Any = getattr(query, "_returning", None) if isinstance(query, SelectBase) else None
    return {
        each.column_name if isinstance(each, Field) else getattr(each, "name", number): each
        for number, each in enumerate(selected or ())
    }


def json_path(node: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """The field and the keys of a path into a JSON field, such as ``Product.meta["lang"]``."""
    keys: tuple[Any, ...] = ()
    if isinstance(node, JSONPath):
        path: Any = node
        return path._field, path._keys
    while hasattr(node, "parts"):  # playhouse.postgres_ext
        keys, node = (*node.parts, *keys), node.node
    return (node, keys) if keys else None


def limit_of(query: Any) -> Any:
    return query._limit


class RowCursor:
    """A cursor over rows; ``is_nested`` if the query was part of another statement."""

    def __init__(self, description: Any, rows: Iterable[Any], is_nested: bool = False) -> None:
        self.description = description
        self.rows = iter(rows)
        self.is_nested = is_nested

    def fetchone(self) -> Any:
        return next(self.rows, None)

    def close(self) -> None:
        """Nothing to close."""


def cursor_wrapper(query: Any, cursor: Any) -> Any:
    return query._get_cursor_wrapper(cursor)


def set_rows(query: Any, cursor: Any) -> None:
    query._cursor_wrapper = cursor_wrapper(query, cursor)


def database_of(model: Any) -> Any:
    """The model's database, if any, also behind a proxy."""
    database = model._meta.database
    return database.obj if isinstance(database, Proxy) else database


def database_of_query(query: Any) -> Any:
    return query._database


# Definitions


# ``database`` writes the statement, if it is not the model's own; ``safe`` is IF NOT EXISTS.


def table_sql(model: Any) -> str:
    """The name of a model's table, as SQL."""
    return identifier(*filter(None, (model._meta.schema, model._meta.table_name)))


def create_table_sql(model: Any, database: Any = None, *, safe: bool = False) -> str:
    return _definition(_manager(model, database)._create_table(safe=safe))


def create_index_sql(
    model: Any, index: Any, database: Any = None, *, concurrently: bool = False, safe: bool = False
) -> str:
    sql = _definition(_manager(model, database)._create_index(index, safe=safe))
    # Peewee cannot say it of an index of its own.
    return sql.replace("INDEX ", "INDEX CONCURRENTLY ", 1) if concurrently else sql


def create_sequence_sql(field: Any, database: Any = None) -> str:
    return _definition(_manager(field.model, database)._create_sequence(field))


def create_foreign_key_sql(field: Any, database: Any = None) -> str:
    return _definition(_manager(field.model, database)._create_foreign_key(field))


def _manager(model: Any, database: Any) -> Any:
    return model._schema if database is None else SchemaManager(model, database)


def _definition(context: Any) -> str:
    sql, params = context.query()
    assert not params, "Peewee writes values into the SQL of definitions"
    # As the driver reads it: a doubled percent sign is one.
    return from_format(sql, ())[0]


def sequence_parts(field: Any) -> tuple[str | None, str]:
    return field._sequence_parts()  # type: ignore[no-any-return]


def index_name(index: Any) -> str:
    return index._name  # type: ignore[no-any-return]


def generated_index_name(index: Any) -> str:
    """The name of an index that was declared without one."""
    return str(index._generate_name_from_fields(index._model, index._expressions))


def rename_index(index: Any, name: str) -> Any:
    return copy_with(index, name=name)


def index_parts(index: Any) -> tuple[list[Any], bool, str, Any]:
    """Columns and expressions, whether unique, method and condition."""
    method = (getattr(index, "_using", None) or "btree").lower()
    return list(index._expressions), bool(index._unique), method, index._where


def index_using(index: Any) -> Any:
    return index._using


def index_table(index: Any) -> tuple[str, str | None]:
    return index._table.__name__, index._table._schema


def unique_fields(index: Any) -> list[Field]:
    """The fields of a unique index; [] of others."""
    expressions = index._expressions if getattr(index, "_unique", False) else []
    return [each for each in expressions if isinstance(each, Field)]


# Connections


def open_connection(database: Any) -> Any:
    state = database._state
    return None if state.closed else state.conn


def reconnect(database: Any) -> None:
    """Replace the connection, also in an open ``connection_context()``."""
    contexts = database._state.ctx
    try:
        database.close()
        database.connect()
    finally:
        database._state.ctx = contexts


def inherited_blocks(database: Any) -> int:
    """The number of open ``atomic()`` blocks that were entered before a fork."""
    return int(getattr(database._state, "inherited_blocks", 0))


def end_inherited_block(database: Any) -> bool:
    """Whether the block that ends now is one of them; it no longer counts."""
    state = database._state
    if state.transactions or not inherited_blocks(database):
        return False
    state.inherited_blocks -= 1
    return True


def forget_connection(database: Any) -> list[Any]:
    """Drop the connection without closing it, and return it."""
    state = database._state
    conn = state.conn
    state.inherited_blocks = inherited_blocks(database) + len(state.transactions)
    state.reset()
    if database.thread_safe:
        database._lock = Lock()  # Another thread of the parent may have held it.
    return [] if conn is None else [conn]


def forget_pool(database: Any) -> list[Any]:
    database._pool_lock = RLock()
    database._pool_available = Condition(database._pool_lock)
    idle = [conn for *_, conn in database._connections]
    taken = [each.connection for each in database._in_use.values()]
    database._connections, database._in_use = [], {}
    return idle + taken


# Playhouse


def extend_playhouse() -> None:
    """Have the tools for reflection and migrations know vector fields, where they are loaded."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    is_run = main is not None and main.name == "playhouse.migrations"
    tools = ("playhouse.reflection", "playhouse.migrations", "playhouse.schema_diff")
    if is_run or not sys.modules.keys().isdisjoint(tools):
        import_module("lightvec.peewee.playhouse_hooks").extend(sys.modules["__main__"] if is_run else None)
    if "peewee_migrate.router" in sys.modules:
        import_module("lightvec.peewee.peewee_migrate_hooks").extend()


def altering(database: Any, sql: str, fields: list[Any]) -> AbstractContextManager[None]:
    """A block for an ALTER TABLE, which takes along what belongs to a vector column."""
    block: AbstractContextManager[None]
    block = import_module("lightvec.peewee.altered_tables").taking_along(database, sql, fields)
    return block
