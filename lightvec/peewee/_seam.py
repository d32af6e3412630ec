"""Private names of Peewee, each used in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from logging import DEBUG, getLogger
from time import perf_counter
from typing import Any, TypeVar

from peewee import Proxy
from peewee import __exception_wrapper__ as in_peewees_words  # type: ignore[attr-defined]

__all__ = [
    "Answer",
    "cursor_wrapper",
    "database_of",
    "drop_pool",
    "drop_state",
    "end_left_block",
    "in_peewees_words",
    "left_blocks",
    "run_logged",
]

T = TypeVar("T")

_logger = getLogger("peewee")


def run_logged(database: Any, sql: str, params: Any, run: Callable[[], T]) -> T:
    """``run()``, whose errors become Peewee's; the log and the query hooks (Peewee 4.5) see the statement."""
    if _logger.isEnabledFor(DEBUG):
        _logger.debug((sql, params))
    if not getattr(database, "query_hooks", None):
        with in_peewees_words:
            return run()
    start = perf_counter()
    try:
        with in_peewees_words:
            result = run()
    except Exception as error:
        database._notify_hooks(sql, params, start, error)
        raise
    database._notify_hooks(sql, params, start, None)
    return result


class Answer:
    """Rows as a cursor that Peewee reads; ``is_nested`` says that the query stood in another statement."""

    def __init__(self, description: Sequence[Any], rows: Iterable[Any], *, is_nested: bool = False) -> None:
        self.description = description
        self.rows: Iterator[Any] = iter(rows)
        self.is_nested = is_nested

    def fetchone(self) -> Any:
        return next(self.rows, None)

    def close(self) -> None:
        """There is nothing to close."""


def cursor_wrapper(query: Any, cursor: Any) -> Any:
    """What makes the rows of a query: model instances, dicts, tuples."""
    return query._get_cursor_wrapper(cursor)


def database_of(model: Any) -> Any:
    """The database that a model is bound to, if any; what a proxy stands for (Peewee 4.4 has a method for it)."""
    database = model._meta.database
    return database.obj if isinstance(database, Proxy) else database


def left_blocks(database: Any) -> int:
    """How many blocks of transactions stand open that :func:`drop_state` has forgotten."""
    left: int = getattr(database._state, "left_blocks", 0)
    return left


def drop_state(database: Any) -> Any:
    """Forget the open connection, its transactions and contexts; the connection, if there was one."""
    state = database._state
    conn, left = state.conn, left_blocks(database) + len(state.transactions)
    state.reset()
    state.left_blocks = left
    return conn


def end_left_block(database: Any) -> None:
    """Take in that one of them has ended."""
    database._state.left_blocks -= 1


def drop_pool(database: Any) -> list[Any]:
    """Forget the connections of a pool; they are returned."""
    idle = [conn for *_, conn in database._connections]
    taken = [each.connection for each in database._in_use.values()]
    database._connections, database._in_use = [], {}
    return idle + taken
