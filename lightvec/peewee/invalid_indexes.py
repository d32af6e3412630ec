"""Invalid indexes, which an interrupted CREATE INDEX CONCURRENTLY leaves: no query uses them, and the name is taken."""

from __future__ import annotations

from typing import Any

from lightvec.errors import SchemaMismatch
from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.database import Pg8000Database
from lightvec.wire.identifiers import identifier

__all__ = ["LEFT_INVALID", "LOCK_TIMEOUT", "drop_invalid_index", "drop_statement", "sqlstate_of"]

#: What a stopped CREATE INDEX CONCURRENTLY may leave.
LEFT_INVALID = "an index may be left invalid, which no query uses: run the command again, which drops and rebuilds it"

#: Seconds that a drop waits for other sessions.
LOCK_TIMEOUT = 5

_LOCK_NOT_AVAILABLE = "55P03"

_IS_INVALID = "SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"


def drop_statement(index: ExistingIndex, *, concurrently: bool) -> str:
    """The DROP INDEX."""
    word = "CONCURRENTLY " if concurrently else ""
    return f"DROP INDEX {word}IF EXISTS {identifier(index.schema, index.name)}"


def drop_invalid_index(database: Pg8000Database, index: ExistingIndex, *, concurrently: bool) -> None:
    """Drop an invalid index, unless another session is building it.

    A build holds the lock taken here; pg_stat_progress_create_index may hide the build from other users.
    :class:`~lightvec.errors.SchemaMismatch` if the lock is not free within :data:`LOCK_TIMEOUT`.
    """
    settings = {"lock_timeout": f"{LOCK_TIMEOUT}s"}
    drop = drop_statement(index, concurrently=concurrently)
    table = identifier(index.table_schema, index.table)
    try:
        with database.atomic():
            database.execute_sql(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE", settings=settings)
            name = identifier(index.schema, index.name)
            is_invalid = database.execute_sql(_IS_INVALID, (name,)).fetchone() is not None
            if is_invalid and not concurrently:
                database.execute_sql(drop, settings=settings)
    except Exception as error:
        if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
            raise SchemaMismatch(
                f"the invalid index {index.name} cannot be dropped, because another session builds an index on "
                f"{index.table} or uses it: wait until that is done"
            ) from error
        raise
    if is_invalid and concurrently:
        database.execute_sql(drop)


def sqlstate_of(error: Any) -> str | None:
    """The SQLSTATE of a driver's error, or of the one behind Peewee's; None if the server reported none."""
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state
