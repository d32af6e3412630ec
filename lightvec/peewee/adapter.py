"""The driver as Peewee's PostgresqlDatabase uses it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import DriverAdapter
from lightvec.pg8000 import Json, Jsonb, dbapi


class Pg8000Adapter(DriverAdapter):
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
        """Whether a pool can keep it."""
        return conn.session.phase != "streaming" and self._idle(conn)

    def is_connection_closed(self, conn: dbapi.Connection) -> bool:
        """Whether a pool must discard it."""
        return not self._idle(conn)

    def server_side_cursor(self, conn: dbapi.Connection) -> dbapi.Cursor:
        return conn.cursor(uuid4().hex, withhold=not conn.in_transaction)

    def register_hstore(self, conn: dbapi.Connection) -> None:
        from lightvec.pg8000.hstore import register_hstore

        register_hstore(conn)

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
