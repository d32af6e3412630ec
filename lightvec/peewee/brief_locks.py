"""Changes of a table that others use: each waits for its lock for a moment only, and is tried again.

A statement that waits for ACCESS EXCLUSIVE has all later ones wait behind it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from peewee import OperationalError

from lightvec.peewee._seam import execute_as_is
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.invalid_indexes import sqlstate_of
from lightvec.pg8000 import exceptions

__all__ = ["run_briefly"]

#: Milliseconds to wait for a lock, and seconds until giving up.
_LOCK_TIMEOUT, _PATIENCE = 50, 60
#: Seconds between two attempts: the first and the longest.
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0

_LOCK_NOT_AVAILABLE, _DEADLOCK = "55P03", "40P01"

_SETTINGS = "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)"

_HOLDERS = """\
SELECT a.pid, a.state, coalesce(a.application_name, '')
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.relation = to_regclass(%s) AND a.datname = current_database() AND l.granted
    AND l.pid <> pg_backend_pid()
ORDER BY a.xact_start, a.pid LIMIT 1"""


def run_briefly(
    database: Pg8000Database, table: str, statements: Sequence[str], *, patience: float = _PATIENCE
) -> None:
    """Run the statements in one transaction, whose locks are waited for 50 ms, until it succeeds.

    The table is named as SQL. After ``patience`` seconds the error names who holds a lock on it.
    """
    give_up, pause = time.monotonic() + patience, _PAUSE
    while statements:
        try:
            with database.atomic():
                database.execute_sql(_SETTINGS, (f"{_LOCK_TIMEOUT}ms",))
                for statement in statements:
                    execute_as_is(database, statement)
            return
        except OperationalError as error:
            if sqlstate_of(error) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
            if time.monotonic() > give_up:
                raise exceptions.OperationalError(_blocked(database, table)) from error
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _blocked(database: Pg8000Database, table: str) -> str:
    holder: Any = database.execute_sql(_HOLDERS, (table,)).fetchone()
    who = "another session holds a lock on it"
    if holder is not None:
        pid, state, name = holder
        who = f"process {pid} of the server ({', '.join(filter(None, (name, state)))}) holds a lock on it"
    return f"the table {table} could not be changed, because {who}: run this again when that has ended"
