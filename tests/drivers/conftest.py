"""Databases in which pgvector is not where, or not what, one expects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lightvec.pg8000 import connect


@pytest.fixture(scope="session")
def moved_url(make_database: Callable[[], str]) -> str:
    """A database with pgvector in a schema that is not on the search path and needs quotes."""
    url = make_database()
    with connect(url) as admin:
        admin.run('CREATE SCHEMA "Odd ""one"; CREATE EXTENSION vector SCHEMA "Odd ""one"')
    return url


@pytest.fixture(scope="session")
def old_url(make_database: Callable[[], str]) -> str:
    """A database as pgvector before 0.7 left it: with the type vector only."""
    url = make_database()
    with connect(url) as admin:
        admin.run("CREATE EXTENSION vector; ALTER TYPE halfvec RENAME TO h; ALTER TYPE sparsevec RENAME TO s")
    return url
