"""The interfaces of the driver, which are pg8000's.

- ``native``: :class:`Connection`, for scripts; ``dbapi``: the PEP 249 module; ``connection``: their common base.
- ``exceptions``: the classes of PEP 249; ``register``: vectors on connections of pg8000 itself.
- ``hstore``: the extension hstore, as Peewee's HStoreField uses it.

>>> conn.run("SELECT CAST(:v AS vector)", v=Vector([1, 2, 3]))
[[Vector([1.0, 2.0, 3.0])]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightvec.pg8000.native import Connection
from lightvec.wire.connecting import open_session
from lightvec.wire.jsonb import Json, Jsonb

if TYPE_CHECKING:
    from lightvec.pg8000 import dbapi
    from lightvec.pg8000.register import register_vector

__all__ = ["Connection", "Json", "Jsonb", "connect", "dbapi", "register_vector"]


def connect(dsn: str | None = None, **params: Any) -> Connection:
    """Open a connection for scripts.

    ``dsn`` is a libpq URI (``postgresql://user@host/name``), a keyword string (``host=... dbname=...``),
    ``embedded:PATH`` or a database name; ``params`` are libpq's parameters. Defaults come from
    ``DATABASE_URL`` and the ``PG*`` variables. ``password`` may be a function that returns it (an IAM
    token). For remote hosts ``sslmode`` is ``verify-full`` by default.

    ``command_timeout`` is the seconds that a statement may take; ``deadline`` is a function that returns
    the milliseconds left for everything, or None (``get_remaining_time_in_millis`` of an AWS Lambda
    context). A statement that takes longer is canceled on the server; if the server does not answer
    within another second, the connection is closed. ``prepare=False`` prepares no statement by name on
    the server, as behind a transaction pooler.

    Raises :class:`~lightvec.errors.InvalidOption` for a malformed string or an unknown parameter,
    :class:`~lightvec.pg8000.exceptions.OperationalError` when no server accepts the connection.
    """
    return Connection.open(open_session(dsn, params))


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "register_vector":
        return import_module("lightvec.pg8000.register").register_vector
    if name == "dbapi":
        return import_module("lightvec.pg8000.dbapi")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
