"""An engine for each driver, and a table with every type."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import ARRAY, URL, Column, Engine, Integer, MetaData, Table, create_engine, delete, event

import lightvec.pg8000.dbapi
from lightvec.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR
from tests.relay import socket_of

DRIVERS = ("psycopg", "psycopg registered", "psycopg2", "psycopg2 registered", "pg8000", "lightvec")

metadata = MetaData()
item = Table(
    "sqla_item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dense", VECTOR(3, metric="cosine")),
    Column("half", HALFVEC(3, metric="l2")),
    Column("sparse", SPARSEVEC(3, metric="ip")),
    Column("bits", BIT(3, metric="jaccard")),
    Column("any_size", VECTOR()),
    Column("pages", ARRAY(VECTOR(3))),
    Column("deep", ARRAY(HALFVEC(2), dimensions=2)),
    Column("masks", ARRAY(BIT(3))),
)


def database_url(driver: str, url: str) -> URL:
    """The database of the suite, as SQLAlchemy's dialect for a driver names it."""
    parts = urlsplit(url)
    socket = socket_of(url)
    query = {"unix_sock": socket} if driver == "pg8000" else {"host": socket.rpartition("/")[0]}
    assert set(parse_qs(parts.query)) == {"host"}
    return URL.create(f"postgresql+{driver}", username=parts.username, database=parts.path[1:], query=query)


def engine_of(driver: str, url: str, **options: Any) -> Engine:
    """A new engine; ``lightvec`` is SQLAlchemy's dialect for pg8000 on lightvec's wire."""
    if driver == "lightvec":
        module = lightvec.pg8000.dbapi
        return create_engine("postgresql+pg8000://", module=module, connect_args={"dsn": url}, **options)
    name, _, registered = driver.partition(" ")
    engine = create_engine(database_url(name, url), **options)
    if registered:
        event.listen(engine, "connect", _register(name))
    return engine


def _register(driver: str) -> Any:
    register_vector = import_module(f"lightvec.{driver}").register_vector
    return lambda connection, record: register_vector(connection)


@pytest.fixture(scope="session")
def engines(url: str) -> Iterator[dict[str, Engine]]:
    """An engine for each driver, with the table made."""
    engines = {driver: engine_of(driver, url) for driver in DRIVERS}
    metadata.create_all(engines["lightvec"])
    yield engines
    metadata.drop_all(engines["lightvec"])
    for engine in engines.values():
        engine.dispose()


@pytest.fixture(params=DRIVERS)
def engine(engines: dict[str, Engine], request: pytest.FixtureRequest) -> Engine:
    """One engine after the other, the table empty."""
    engine = engines[request.param]
    with engine.begin() as connection:
        connection.execute(delete(item))
    return engine


@pytest.fixture
def wire(engines: dict[str, Engine]) -> Engine:
    """The engine on lightvec's wire, the table empty."""
    with engines["lightvec"].begin() as connection:
        connection.execute(delete(item))
    return engines["lightvec"]
