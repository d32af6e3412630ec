"""Test databases: a new one for each test, with pgvector and the models' tables.

``lightvec.pytest_plugin`` has fixtures of them; other test frameworks can use this module::

    from lightvec.server import temporary
    from lightvec.testing import Databases, bound_to

    with temporary() as server, Databases(server.url, [Product]) as databases:
        with databases.new() as url, bound_to(url, [Product]) as db:
            ...  # Product is empty here; the database is dropped afterwards

A new database is a copy of a template, which takes about 15 ms. Unlike in a test that is rolled back, commits, threads,
several connections and failed transactions work as in production.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from peewee import DatabaseProxy, Model

from lightvec.peewee import Pg8000Database
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import connect
from lightvec.server import ensure, path_of
from lightvec.wire.identifiers import identifier

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Databases", "bound_to"]

#: The attributes that a database's ``init`` sets, to restore them.
_TARGET = ("database", "connect_params", "deferred", "deadline", "_isolation_level")


class Databases:
    """Test databases on one server: a template with the tables of ``models``, and copies of it.

    ``url`` is of a server with pgvector, and a user who may create databases and the extension.

    >>> with Databases(database.database, [Doc]) as databases, databases.new() as url, bound_to(url, [Doc]):
    ...     _ = Doc.create(embedding=[1, 2, 3])
    ...     Doc.select().count()
    1
    """

    def __init__(self, url: str, models: Sequence[type[Model]] = ()) -> None:
        path = path_of(url)
        self._url = url if path is None else ensure(path).url
        self._models = models
        # The random part lets several runs share a server.
        self._template = f"lightvec_test_{secrets.token_hex(6)}"
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self._run(f"CREATE DATABASE {identifier(self._template)}")
        try:
            with bound_to(_with_name(self._url, self._template), self._models) as database:
                for schema in sorted({model._meta.schema for model in self._models if model._meta.schema}):
                    database.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
                set_up(database, self._models)
        except BaseException:
            self._drop(self._template)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._drop(self._template)

    @contextmanager
    def new(self) -> Iterator[str]:
        """The URL of a new database, which is dropped at the end of the block."""
        name = f"{self._template}_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {identifier(name)} TEMPLATE {identifier(self._template)}")
        try:
            yield _with_name(self._url, name)
        finally:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {identifier(name)} WITH (FORCE)")

    def _run(self, sql: str) -> None:
        with connect(self._url) as connection:
            connection.run(sql)


@contextmanager
def bound_to(url: str, models: Sequence[type[Model]] = ()) -> Iterator[Pg8000Database]:
    """The models' database, connected to ``url`` within the block.

    If the models share one :class:`~lightvec.peewee.Pg8000Database` (or a ``DatabaseProxy`` of one), it is that object,
    so that the program's own ``database.atomic()`` uses ``url``, too; else they are bound to a new one. The end of the
    block restores everything and closes the connection to ``url``.
    """
    with ExitStack() as stack:
        database = _database_of(models, stack)
        before = {name: getattr(database, name) for name in _TARGET}
        stack.callback(_retarget, database, before)
        _retarget(database, before | {"connect_params": {}})
        database.init(url)
        yield database


def _database_of(models: Sequence[type[Model]], stack: ExitStack) -> Pg8000Database:
    theirs = {id(model._meta.database): model._meta.database for model in models}
    only: Any = theirs.popitem()[1] if len(theirs) == 1 else None
    bound = only.obj if isinstance(only, DatabaseProxy) else only
    if isinstance(bound, Pg8000Database):
        return bound
    database = Pg8000Database(None)
    if isinstance(only, DatabaseProxy):
        stack.callback(only.initialize, bound)
        only.initialize(database)
    else:
        stack.enter_context(database.bind_ctx(models))
    return database


def _retarget(database: Any, target: dict[str, Any]) -> None:
    """Close all connections, and set another target."""
    while database.in_transaction():
        database.session_rollback()
    if hasattr(database, "close_all"):
        database.close_all()
    elif not database.is_closed():
        database.close()
    for name, value in target.items():
        setattr(database, name, value)


def _with_name(url: str, name: str) -> str:
    """The connection string of another database on the same server."""
    if "://" not in url:
        return f"{url if '=' in url else ''} dbname={name}".strip()  # The last dbname counts.
    # A dbname in the query would take precedence over the one in the path.
    head, _, query = url.partition("?")
    given = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in ("dbname", "database")]
    head = re.sub(r"^(\w+://[^/]*).*", rf"\g<1>/{name}", head)
    return "?".join([head, "&".join(given)]) if given else head
