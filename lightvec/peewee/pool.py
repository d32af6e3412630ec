"""The pooled database: playhouse's pool over :class:`lightvec.peewee.Pg8000Database`."""

from __future__ import annotations

from typing import Any

from lightvec.peewee._seam import PooledDatabase, forget_pool
from lightvec.peewee.database import ENVIRONMENT, Pg8000Database

__all__ = ["PooledPg8000Database"]


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
