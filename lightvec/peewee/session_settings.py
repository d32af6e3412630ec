"""Settings for statements that cannot run in a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightvec.peewee._seam import peewee_errors

_EXCHANGE = "SELECT current_setting($1), set_config($1, $2, false)"


@contextmanager
def session_settings(conn: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """Set these, and restore the former values at the end."""
    former = _exchange(conn, settings)
    try:
        yield
    finally:
        if not conn.closed:
            _exchange(conn, former)


@contextmanager
def no_statement_timeout(database: Any) -> Iterator[None]:
    """For builds that take long; behind a pooler, where the next statement may run on another session, it stays."""
    with peewee_errors:
        conn = database.live_connection()
        settings = {} if backend_pid(conn) is None else {"statement_timeout": "0"}
        with session_settings(conn, settings):
            yield


def _exchange(conn: Any, settings: Mapping[str, str]) -> dict[str, str]:
    former = {}
    for name, value in settings.items():
        former[name] = conn.execute_unnamed(_EXCHANGE, [name, value]).rows[0][0]
    return former


def backend_pid(conn: Any) -> int | None:
    """The server's process ID; None behind a pooler, which gives clients its own."""
    pid: int = conn.execute_unnamed("SELECT pg_catalog.pg_backend_pid()").rows[0][0]
    return pid if pid == conn.backend_pid else None
