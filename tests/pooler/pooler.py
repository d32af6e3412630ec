"""PgBouncer as badly as it can be for a client: three sessions for all, and each transaction on the next one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect
from lightvec.server import Server
from tests.pg8000.pgbouncer import PgBouncer

#: How many of the server's sessions PgBouncer has for its clients.
SESSIONS = 3

_SETTINGS = {
    "admin_users": "postgres",
    "default_pool_size": str(SESSIONS),
    "server_round_robin": "1",
    "query_wait_timeout": "20",
    "server_login_retry": "1",
}

#: What PgBouncer itself sets on a session, as each client has it.
_TRACKED = ["application_name", "client_encoding", "DateStyle", "standard_conforming_strings", "TimeZone"]

#: What is asked of each session. Settings that no library has declared are in no view, so they are asked for by name.
_LEFT = """\
SELECT 'setting ' || name || ' = ' || setting FROM pg_settings WHERE source = 'session' AND NOT name = ANY(:tracked)
UNION ALL
SELECT 'placeholder ' || name || ' = ' || current_setting(name, true)
FROM (SELECT 'lightvec.former_' || n AS name FROM generate_series(0, 20) n) former
WHERE current_setting(name, true) <> ''
UNION ALL
SELECT 'statement ' || name FROM pg_prepared_statements
UNION ALL
SELECT 'portal ' || name FROM pg_cursors WHERE name <> ''
UNION ALL
SELECT 'table ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
UNION ALL
SELECT 'lock ' || objid FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'"""

_DEFAULTS = {"hnsw.ef_search": "40", "hnsw.iterative_scan": "off", "ivfflat.probes": "1", "statement_timeout": "0"}


class Pooler(PgBouncer):
    """PgBouncer that can be stopped, started again and spoken to."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, settings=_SETTINGS)

    def __enter__(self) -> Pooler:
        self.start()
        return self

    def start(self) -> None:
        """Start it, also again, where it was before."""
        super().__enter__()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, with whatever goes through it."""
        self._process.send_signal(how)
        self._process.wait(10)

    def ask(self, command: str) -> list[list[Any]]:
        """What the administrator's console says to a command; it takes simple queries only."""
        with connect(f"postgresql://postgres@/pgbouncer?host={self.folder}&port={self.port}") as console:
            return console.execute_simple(command).rows or []

    def set(self, name: str, value: object) -> None:
        """Change one of its settings while it runs."""
        self.ask(f"SET {name} = '{value}'")


@contextmanager
def every_session(url: str) -> Iterator[list[Connection]]:
    """A connection on each of the sessions behind the pooler, which transactions hold."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in range(SESSIONS)]
        for connection in connections:
            connection.run("BEGIN")
        yield connections
        for connection in connections:
            connection.run("ROLLBACK")


def sessions(url: str) -> set[int]:
    """The processes of the sessions."""
    with every_session(url) as connections:
        return {_first(connection, "SELECT pg_backend_pid()") for connection in connections}


def left_behind(url: str) -> list[str]:
    """What was left on the sessions that the next client would find."""
    with every_session(url) as connections:
        return [found for connection in connections for found in _left_on(connection)]


def _left_on(connection: Connection) -> list[str]:
    rows = connection.run(_LEFT, tracked=_TRACKED) or []
    connection.run("SELECT '[1]'::vector")  # loads the library, whose settings have a value then
    changed = [
        f"{name} is {value}"
        for name, default in _DEFAULTS.items()
        if (value := _first(connection, f"SHOW {name}")) != default
    ]
    return [str(row[0]) for row in rows] + changed


def _first(connection: Connection, question: str) -> Any:
    rows = connection.run(question)
    assert rows is not None
    return rows[0][0]


def until(is_so: Any, what: str, seconds: float = 10) -> None:
    """Wait until it is so; the test fails where it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} seconds it is not yet so: {what}")
        time.sleep(0.01)
