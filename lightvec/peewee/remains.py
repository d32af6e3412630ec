"""Indexes that an interrupted CREATE INDEX CONCURRENTLY left: nothing uses them, and their name is taken."""

from __future__ import annotations

from typing import Any, NamedTuple

from lightvec.errors import SchemaMismatch
from lightvec.peewee.database import Pg8000Database
from lightvec.wire.identifiers import identifier

__all__ = ["PATIENCE", "Remains", "drop_remains", "sqlstate_of"]

#: Seconds that others may be in the way of a drop.
PATIENCE = 5

_LOCK_NOT_AVAILABLE = "55P03"

_IS_INVALID = """\
SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"""


class Remains(NamedTuple):
    """Such an index: its schema and name, and its table as SQL."""

    schema: str
    name: str
    table: str

    def drop(self, *, concurrently: bool) -> str:
        """The statement that drops it."""
        word = "CONCURRENTLY " if concurrently else ""
        return f"DROP INDEX {word}IF EXISTS {identifier(self.schema, self.name)}"


def drop_remains(database: Pg8000Database, remains: Remains, *, concurrently: bool) -> None:
    """Drop an index that is not valid, once it is sure that nobody is building it.

    Who builds it has this lock on the table until it is done, and the server may not let us see that somebody does.
    :class:`~lightvec.errors.SchemaMismatch` where somebody is in the way for longer than a few seconds.
    """
    patience = {"lock_timeout": f"{PATIENCE}s"}
    try:
        with database.atomic():
            # For a statement only: what follows in the caller's transaction waits as it would.
            database.execute_sql(f"LOCK TABLE {remains.table} IN SHARE UPDATE EXCLUSIVE MODE", settings=patience)
            is_there = database.execute_sql(_IS_INVALID, (identifier(remains.schema, remains.name),)).fetchone()
            if is_there is not None and not concurrently:
                database.execute_sql(remains.drop(concurrently=False), settings=patience)
    except Exception as error:
        if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
            raise SchemaMismatch(
                f"the index {remains.name} is not valid, and somebody builds, changes or reads something on "
                f"{remains.table} at this moment, so that it cannot be dropped: wait until that is done"
            ) from error
        raise
    if is_there is not None and concurrently:
        database.execute_sql(remains.drop(concurrently=True))


def sqlstate_of(error: Any) -> str | None:
    """The SQLSTATE of a driver's error, or of the one behind Peewee's; None where the server reported none."""
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state
