"""The wire: pg8000 with one round trip a statement, binary vectors, libpq's connection strings and errors by SQLSTATE.

>>> conn.run("SELECT CAST(:v AS vector)", v=Vector([1, 2, 3]))
[[Vector([1.0, 2.0, 3.0])]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightvec.pg8000.lazily import load_pg8000

load_pg8000()  # Before the modules below import it.

from lightvec.pg8000.connecting import open_connection  # noqa: E402
from lightvec.pg8000.native import Connection  # noqa: E402
from lightvec.pg8000.register import register_vector  # noqa: E402

if TYPE_CHECKING:
    from lightvec.pg8000 import dbapi

__all__ = ["Connection", "connect", "dbapi", "register_vector"]


def connect(dsn: str | None = None, **params: Any) -> Connection:
    """Open a connection for scripts.

    ``dsn`` is a libpq URI (``postgresql://user@host/name``), a keyword string (``host=... dbname=...``),
    ``embedded:PATH`` or a database name; ``params`` are libpq's parameters (``host port user password dbname sslmode
    sslrootcert connect_timeout application_name options target_session_attrs``, several hosts too). What is missing
    comes from ``DATABASE_URL`` and the ``PG*`` variables. ``password`` may be a function that is asked for it (an IAM
    token). On hosts that are not this machine ``sslmode`` is ``verify-full`` unless said otherwise.

    ``command_timeout`` is the seconds that a statement may take, ``deadline`` a function that gives the milliseconds
    left for everything, connecting too, or None (``get_remaining_time_in_millis`` of an AWS Lambda context). A
    statement that is over its time is cancelled on the server; a server that does not even answer that is given up a
    second later.

    :class:`~lightvec.errors.InvalidOption` for a string or parameter that cannot be,
    :class:`~lightvec.pg8000.exceptions.OperationalError` when no server accepts the connection.
    """
    return open_connection(Connection, dsn, params)


def __getattr__(name: str) -> Any:
    if name == "dbapi":
        from importlib import import_module

        return import_module("lightvec.pg8000.dbapi")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
