"""The pooled database: playhouse's pool over :class:`lightvec.peewee.Pg8000Database`."""

from __future__ import annotations

from threading import Condition, RLock
from typing import Any

from playhouse.pool import _PooledPostgresqlDatabase

from lightvec.peewee._seam import drop_pool
from lightvec.peewee.database import ENVIRONMENT, Pg8000Database

__all__ = ["PooledPg8000Database"]


class PooledPg8000Database(_PooledPostgresqlDatabase, Pg8000Database):  # type: ignore[misc]
    """A :class:`~lightvec.peewee.Pg8000Database` that keeps its connections open for the next user.

    ``max_connections``, ``stale_timeout`` and ``timeout`` are those of ``playhouse.pool``.
    """

    def __init__(self, *args: object, **params: object) -> None:
        if not args:
            args = (params.pop("database", params.pop("dsn", ENVIRONMENT)),)
        super().__init__(*args, **params)

    def _leave_to_parent(self) -> None:
        """As of any database, and of the connections that the pool has, used or not."""
        self._pool_lock: Any = RLock()
        self._pool_available: Any = Condition(self._pool_lock)
        for conn in drop_pool(self):
            conn.discard()
        super()._leave_to_parent()
