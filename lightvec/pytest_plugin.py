"""A pytest plugin, there as soon as lightvec is installed: databases with pgvector for the tests of its users.

lightvec_db
    A :class:`~lightvec.peewee.Pg8000Database` for one test: new, with pgvector and the tables of ``lightvec_models``.
    What the test does is gone after it, commits too::

        def test_search(lightvec_db):
            Product.create(name="tea", embedding=[0.9, 0.1, 0])
            assert Product.embedding.nearest([1, 0, 0], k=1).get().name == "tea"

lightvec_models
    The models, for a ``conftest.py`` to say; they and their own ``database`` object are then at that place::

        @pytest.fixture(scope="session")
        def lightvec_models():
            return [Product, Order]

lightvec_url
    The connection string of that database, for whatever else connects: scripts, other drivers, other processes.
lightvec_server
    The :class:`~lightvec.server.Server` of the run, which they are on. It starts when a test first uses it, and is
    stopped and removed when the run ends, unless the run is killed. Each process of a parallel run has its own.

``--lightvec-url URL``, or ``LIGHTVEC_TEST_URL``, names a server with pgvector to use instead, on which databases are
created and dropped. Who uses none of this loads none of it: the imports stand in the fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest

from lightvec.errors import LightvecError, MissingExtra

if TYPE_CHECKING:
    from peewee import Model

    from lightvec.peewee import Pg8000Database
    from lightvec.server import Server
    from lightvec.testing import Databases

T = TypeVar("T")

__all__ = ["lightvec_db", "lightvec_models", "lightvec_server", "lightvec_url"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that names a server."""
    parser.getgroup("lightvec").addoption(
        "--lightvec-url",
        metavar="URL",
        default=os.environ.get("LIGHTVEC_TEST_URL"),
        help="make the databases of lightvec's fixtures on this server (default: $LIGHTVEC_TEST_URL, else an embedded "
        "server that is started for the run)",
    )


@pytest.fixture(scope="session")
def lightvec_models() -> Sequence[type[Model]]:
    """The models whose tables each test's database has: none, until a conftest.py says which."""
    return ()


@pytest.fixture(scope="session")
def lightvec_server() -> Iterator[Server]:
    """The embedded server of this run."""
    from lightvec.server import temporary

    with ExitStack() as stack:
        yield _entered(stack, temporary(), "lightvec_server")


@pytest.fixture(scope="session")
def _lightvec_databases(request: pytest.FixtureRequest, lightvec_models: Sequence[type[Model]]) -> Iterator[Databases]:
    """The pattern of all tests' databases."""
    from lightvec.testing import Databases

    url: str = request.config.getoption("--lightvec-url") or request.getfixturevalue("lightvec_server").url
    with ExitStack() as stack:
        yield _entered(stack, Databases(url, lightvec_models), "lightvec_url")


def _entered(stack: ExitStack, context: AbstractContextManager[T], fixture: str) -> T:
    """What a context gives; where it cannot, the test fails with a sentence, since its user wrote none of this."""
    try:
        return stack.enter_context(context)
    except MissingExtra:
        why = str(MissingExtra("pytest", f"the fixture {fixture}"))
    except LightvecError as error:
        why = f"{fixture}: {error}"
    pytest.fail(why, pytrace=False)


@pytest.fixture
def lightvec_url(_lightvec_databases: Databases) -> Iterator[str]:
    """The connection string of a new database for this test, with pgvector and the models' tables."""
    with _lightvec_databases.new() as url:
        yield url


@pytest.fixture
def lightvec_db(lightvec_url: str, lightvec_models: Sequence[type[Model]]) -> Iterator[Pg8000Database]:
    """A Peewee database for this test: the models' own, which is a new and empty one meanwhile."""
    from lightvec.testing import pointed_at

    with pointed_at(lightvec_url, lightvec_models) as database:
        yield database
