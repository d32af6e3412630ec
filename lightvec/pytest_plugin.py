"""A pytest plugin, active wherever lightvec is installed: test databases with pgvector.

lightvec_db
    A :class:`~lightvec.peewee.Pg8000Database` for one test, new, with pgvector and the tables of ``lightvec_models``::

        def test_search(lightvec_db):
            Product.create(name="tea", embedding=[0.9, 0.1, 0])
            assert Product.embedding.nearest([1, 0, 0], k=1).get().name == "tea"

lightvec_models
    The models, which a ``conftest.py`` defines; they and their own ``database`` object then use that database::

        @pytest.fixture(scope="session")
        def lightvec_models():
            return [Product, Order]

lightvec_url
    The connection string of that database, for scripts, other drivers and other processes.
lightvec_server
    The :class:`~lightvec.server.Server` of the run. Each process of a parallel run has its own.

``--lightvec-url URL``, or ``LIGHTVEC_TEST_URL``, names a server with pgvector to use instead, on which databases with
new names are created and dropped.
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
        help="create the databases of lightvec's fixtures on this server (default: $LIGHTVEC_TEST_URL, else an "
        "embedded server)",
    )


@pytest.fixture(scope="session")
def lightvec_models() -> Sequence[type[Model]]:
    """The models whose tables each test's database has: none, unless a conftest.py overrides this."""
    return ()


@pytest.fixture(scope="session")
def lightvec_server() -> Iterator[Server]:
    """The embedded server of this run."""
    from lightvec.server import temporary

    with ExitStack() as stack:
        yield _entered(stack, temporary(), "lightvec_server")


@pytest.fixture(scope="session")
def _lightvec_databases(request: pytest.FixtureRequest, lightvec_models: Sequence[type[Model]]) -> Iterator[Databases]:
    """The template of all tests' databases."""
    from lightvec.testing import Databases

    url: str = request.config.getoption("--lightvec-url") or request.getfixturevalue("lightvec_server").url
    with ExitStack() as stack:
        yield _entered(stack, Databases(url, lightvec_models), "lightvec_url")


def _entered(stack: ExitStack, context: AbstractContextManager[T], fixture: str) -> T:
    """Enter a context; an error fails the test with one sentence, without a traceback."""
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
    """A Peewee database for this test: the models' own, connected to a new database."""
    from lightvec.testing import bound_to

    with bound_to(lightvec_url, lightvec_models) as database:
        yield database
