"""A connection through the relay that counts, and one for PEP 249."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightvec.pg8000 import Connection, connect, dbapi
from tests.pg8000.roundtrips import Relay


@pytest.fixture
def relay(url: str) -> Iterator[Relay]:
    """A relay in front of the suite's database."""
    with Relay(url) as relay:
        yield relay


@pytest.fixture
def relayed(relay: Relay) -> Iterator[Connection]:
    """A connection through the relay that knows pgvector's types already."""
    with connect(relay.url) as connection:
        connection.extension()
        yield connection


@pytest.fixture
def dbapi_conn(url: str) -> Iterator[dbapi.Connection]:
    """A PEP 249 connection to the suite's database."""
    with dbapi.connect(url) as connection:
        yield connection
