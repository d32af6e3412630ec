"""Peewee's seam for PostgreSQL drivers, on lightvec's wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from peewee import _BasePsycopgAdapter

from lightvec.errors import InvalidOption
from lightvec.pg8000 import Json, Jsonb, dbapi

if TYPE_CHECKING:
    from lightvec.peewee.database import Pg8000Database

__all__ = ["Pg8000Adapter"]


class Pg8000Adapter(_BasePsycopgAdapter):
    """What Peewee asks of a driver, with the answers that it knows from psycopg 3."""

    isolation_levels = dbapi.ISOLATION_LEVELS
    json_type = Json
    jsonb_type = Jsonb
    cast_json_case = False

    def check_driver(self) -> None:
        """The driver is a requirement of lightvec, so it is there."""

    def get_binary_type(self) -> type[bytes]:
        return bytes

    def connect(self, db: Pg8000Database, **params: Any) -> dbapi.Connection:
        connection = dbapi.connect(db.database, deadline=db._milliseconds_left, **params)
        connection.paramstyle = "format"  # Which Peewee writes, whatever the module is set to.
        return connection

    def get_server_version(self, conn: dbapi.Connection) -> int:
        return conn.server_version

    def isolation_level_int(self, isolation_level: Any) -> Any:
        """The number of an isolation level that is given by its name, in any case, or by its number."""
        level = isolation_level
        if isinstance(level, str):
            level = self.isolation_levels_inv.get(level.upper().replace("_", " "))
        if level not in (None, *self.isolation_levels) or (level is None) != (isolation_level is None):
            names = ", ".join(self.isolation_levels.values())
            raise InvalidOption(f"expected an isolation level of {names}, or its number, got {isolation_level!r}")
        return level

    def isolation_level_str(self, isolation_level: Any) -> Any:
        """The name of an isolation level, which Peewee writes behind BEGIN as it is."""
        return self.isolation_levels[self.isolation_level_int(isolation_level)]

    def is_connection_usable(self, conn: dbapi.Connection) -> bool:
        return not conn.closed and not conn.in_failed_transaction

    def is_connection_reusable(self, conn: dbapi.Connection) -> bool:
        """Whether a pool may keep it; a transaction that was left open is rolled back, rows left unread are let go."""
        return not conn.is_streaming and self._idle(conn)

    def is_connection_closed(self, conn: dbapi.Connection) -> bool:
        """Whether a pool must not hand it out."""
        return not self._idle(conn)

    def server_side_cursor(self, conn: dbapi.Connection) -> dbapi.Cursor:
        """A named cursor: in a transaction it ends with it, outside one the server keeps its rows."""
        return conn.cursor(uuid4().hex, withhold=not conn.in_transaction)

    def register_hstore(self, conn: dbapi.Connection) -> None:
        from lightvec.pg8000.hstore import register_hstore

        register_hstore(conn)

    def _idle(self, conn: dbapi.Connection) -> bool:
        if not conn.belongs_here:
            conn.discard()
        if not conn.is_alive():
            return False
        try:
            conn.rollback()
        except dbapi.Error:
            return False
        return True
