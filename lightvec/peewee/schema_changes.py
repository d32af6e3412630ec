"""Running the statements of differences, and migrations of them for Peewee's runner.

A migration that :func:`write_migration` writes calls :func:`run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import execute_as_is
from lightvec.peewee.brief_locks import run_briefly
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.differences import Difference
from lightvec.peewee.session_settings import no_statement_timeout

__all__ = ["run", "write_migration"]

_CONCURRENTLY = re.compile(r"(CREATE|DROP) (UNIQUE )?INDEX CONCURRENTLY ")
_TABLE = re.compile(r"""ALTER TABLE ((?:"(?:[^"]|"")+"\.?)+)""")


def run(database: Pg8000Database, statements: Iterable[str]) -> None:
    """Run statements one after the other, each in a transaction of its own where it can be.

    None waits long for a lock, behind which the users of the table would wait: it is tried again
    for a minute.
    """
    for statement in statements:
        if _CONCURRENTLY.match(statement):
            with no_statement_timeout(database):
                execute_as_is(database, statement)
        else:
            table = _TABLE.match(statement)
            run_briefly(database, table[1] if table else "pg_class", [statement])


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
