"""A pooler for the tests that leave it as it was, and one for each that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightvec.server import Server
from tests.pooler.pooler import Pooler, left_behind


@pytest.fixture(scope="package")
def pooler(server: Server) -> Iterator[Pooler]:
    """PgBouncer for all tests of this folder."""
    with Pooler(server) as pooler:
        yield pooler


@pytest.fixture
def own_pooler(server: Server) -> Iterator[Pooler]:
    """PgBouncer for one test, which may stop it."""
    with Pooler(server) as pooler:
        yield pooler


@pytest.fixture(params=["unix", "tcp"])
def pooled(request: pytest.FixtureRequest, pooler: Pooler, url: str) -> Iterator[str]:
    """The suite's database through the pooler; when the test is over, nothing of it may be left on any session."""
    pooled = pooler.url(url, tcp=request.param == "tcp")
    left_behind(pooled)  # opens all sessions, so that transactions go from one to the next
    yield pooled
    assert left_behind(pooled) == []
