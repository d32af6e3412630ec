"""The real server that every test uses: PostgreSQL with pgvector, started once, in a folder that goes away."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import count
from urllib.parse import urlsplit

import pytest

from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Connection, connect
from lightvec.server import Server, stop
from lightvec.wire.identifiers import identifier
from lightvec.wire.transport import Transport
from tests.places import open_folder, remove_abandoned

#: Room for the pooled and threaded tests. A test database may be lost in a crash. Each worker has a server: with the
#: default max_wal_size each would keep 1 GB of WAL, in memory where the data is in /dev/shm.
_SETTINGS = {
    "max_connections": "100",
    "fsync": "off",
    "full_page_writes": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
}


@pytest.fixture(autouse=True, scope="session")
def no_connection_from_outside() -> None:
    """What the caller's environment says about databases must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("PG")] + ["DATABASE_URL", "LIGHTVEC_URL"]:
        os.environ.pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_heeded() -> None:
    """Who runs the suite in the background of a shell has SIGINT ignored, which processes of tests would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def termination_is_an_interrupt() -> None:
    """SIGTERM, as timeout(1) sends it, must end the fixtures too: else servers would run on, and their data stay."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for the whole run."""
    remove_abandoned()
    folder = open_folder("suite")
    try:
        with Server(folder / "db", settings=_SETTINGS) as server:
            yield server
    finally:
        stop(folder / "db")  # A process that a test has killed may have left its share of the lock to a child.
        shutil.rmtree(folder)


_numbers = count(1)


@pytest.fixture(scope="session")
def make_database(server: Server) -> Callable[[], str]:
    """Creates an empty database, without pgvector, and gives its URL."""

    def make() -> str:
        name = f"test_{next(_numbers)}"
        with connect(server.url) as admin:
            # In memory a copy of the files takes half the time of a copy by WAL.
            admin.run(f"CREATE DATABASE {identifier(name)} TEMPLATE template0 STRATEGY file_copy")
        return server.url.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(scope="session")
def url(make_database: Callable[[], str]) -> str:
    """The suite's own database, with pgvector and hstore."""
    url = make_database()
    with connect(url) as admin:
        admin.run("CREATE EXTENSION vector; CREATE EXTENSION hstore")
    return url


@pytest.fixture
def empty_url(make_database: Callable[[], str], server: Server) -> Iterator[str]:
    """A new database for one test, without pgvector; dropped after the test, since each takes 8 MB."""
    url = make_database()
    yield url
    with connect(server.url) as admin:
        admin.run(f"DROP DATABASE IF EXISTS {identifier(urlsplit(url).path[1:])} WITH (FORCE)")


@pytest.fixture
def conn(url: str) -> Iterator[Connection]:
    """A connection to the suite's database."""
    with connect(url) as connection:
        yield connection


@pytest.fixture
def db(url: str) -> Iterator[Pg8000Database]:
    """A Peewee database on the suite's database."""
    database = Pg8000Database(url)
    yield database
    if not database.is_closed():
        database.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written to the server, a write each: as many as there were round trips."""
    writes: list[bytes] = []
    send = Transport.send

    def noted(stream: Transport, data: bytes) -> None:
        writes.append(bytes(data))
        send(stream, data)

    monkeypatch.setattr(Transport, "send", noted)
    return writes
