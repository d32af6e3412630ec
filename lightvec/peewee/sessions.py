"""Settings of a session, for statements that cannot share a transaction with what sets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["server_process", "session_settings"]


@contextmanager
def session_settings(conn: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """These settings on the session, and the former ones again behind it."""
    former = _exchange(conn, settings)
    try:
        yield
    finally:
        if not conn.closed:
            _exchange(conn, former)


def server_process(conn: Any) -> int | None:
    """The server's process behind this connection; None where a pooler is between, whose key is one of its own."""
    pid: int = conn.execute_unnamed("SELECT pg_catalog.pg_backend_pid()").rows[0][0]
    return pid if pid == conn.backend_pid else None


def _exchange(conn: Any, settings: Mapping[str, str]) -> dict[str, str]:
    """Set these for the session; their former values."""
    former = {}
    for name, value in settings.items():
        asked = "SELECT current_setting($1), set_config($1, $2, false)"
        former[name] = conn.execute_unnamed(asked, [name, value]).rows[0][0]
    return former
