"""Running the statements of differences, and migrations of them for Peewee's runner.

A migration that :func:`write_migration` writes calls :func:`run`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from peewee import OperationalError

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import execute_as_is
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.differences import Difference
from lightvec.peewee.invalid_indexes import sqlstate_of

__all__ = ["run", "write_migration"]

#: Seconds that a statement waits for a lock, in which others wait behind it, and the attempts.
LOCK_TIMEOUT, _ATTEMPTS = 3, 20
_LOCK_NOT_AVAILABLE = "55P03"

_ALONE = re.compile(r"(CREATE|DROP) (UNIQUE )?INDEX CONCURRENTLY ")


def run(database: Pg8000Database, statements: Iterable[str]) -> None:
    """Run statements one after the other, each in a transaction of its own where it can be.

    None waits long for a lock, behind which the users of the table would wait: it is tried again.
    """
    for statement in statements:
        for attempt in range(_ATTEMPTS):
            try:
                _run(database, statement)
                break
            except OperationalError as error:
                if sqlstate_of(error) != _LOCK_NOT_AVAILABLE or attempt + 1 == _ATTEMPTS:
                    raise
                if database.in_transaction():
                    raise
                time.sleep(random.uniform(0.5, 1.5) * min(attempt + 1, 5))


def _run(database: Pg8000Database, statement: str) -> None:
    if _ALONE.match(statement):
        execute_as_is(database, statement)
        return
    with database.atomic():
        database.execute_sql(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)",
            (f"{LOCK_TIMEOUT}s",),
        )
        execute_as_is(database, statement)


_TEMPLATE = '''\
"""{title}

Written by `lightvec diff --migration`. It can be run again where it was interrupted.
"""

from lightvec.peewee.schema_changes import run

# Indexes are built without blocking writes, which cannot be done in a transaction.
atomic = False

UP = [
{up}]

DOWN = [
{down}]


def up(migrator, db):
    run(db, UP)


def down(migrator, db):
    run(db, DOWN)
'''


def write_migration(name: str, differences: Sequence[Difference], directory: str | Path = "migrations") -> Path:
    """Write a migration that ``pwmigrate up`` and ``down`` run, and return its path.

    :class:`~lightvec.errors.InvalidOption` where a difference has no statements: a person must
    decide first.
    """
    undecided = [each for each in differences if not each.sql]
    if undecided:
        first = undecided[0]
        raise InvalidOption(f"no migration can be written for the {first.kind} {first.name}: {first.differs}")
    slug = re.sub(r"\W+", "_", name).strip("_").lower() or "migration"
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]_*.py")]
    path = folder / f"{max(numbers, default=0) + 1:04}_{slug}.py"
    up = "".join(_lines((each, each.sql) for each in differences))
    down = "".join(_lines((each, each.undo) for each in reversed(differences)))
    title = re.sub(r'["\\]', "", " ".join(name.split()))
    path.write_text(_TEMPLATE.format(title=title, up=up, down=down), encoding="utf-8")
    return path


def _lines(parts: Iterable[tuple[Difference, Sequence[str]]]) -> Iterator[str]:
    for difference, statements in parts:
        lossy = " (loses data)" if difference.loses_data else ""
        what = " ".join(f"{difference.kind} {difference.name}: {difference.differs}{lossy}".split())
        yield f"    # {what}\n" if statements else f"    # not taken back: {what}\n"
        for statement in statements:
            yield f"    {statement!r},\n"
