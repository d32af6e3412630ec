"""What the tests of the Peewee layer share: tables for one test, and what goes over the wire."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peewee import Model

from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import connect

Use = Callable[..., None]

# peewee-migrate needs Python 3.11.
collect_ignore = [] if sys.version_info >= (3, 11) else ["test_peewee_migrate.py"]


@pytest.fixture
def use(db: Pg8000Database) -> Iterator[Use]:
    """Binds models to the suite's database and makes their tables, for one test."""
    used: list[type[Model]] = []

    def make(*models: type[Model]) -> None:
        db.bind(models)
        db.drop_tables(models, safe=True)
        db.create_tables(models)
        used.extend(models)

    yield make
    if not db.is_closed():
        db.close()
    db.drop_tables(used)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Pg8000Database]:
    """A new database with pgvector, for one test."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
    database = Pg8000Database(empty_url)
    with database.connection_context():
        yield database


def run_pwmigrate(folder: Path, url: str, *arguments: str) -> str:
    """What Peewee's own command for migrations prints, run in this folder."""
    main = "import sys, lightvec.peewee, playhouse.migrations as m; sys.exit(m.main())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", main, url, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
