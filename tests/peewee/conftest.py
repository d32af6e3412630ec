"""What the tests of the Peewee layer share: tables for one test, and what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from peewee import Model

from lightvec.peewee import Pg8000Database

Use = Callable[..., None]


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
