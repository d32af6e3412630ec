"""Databases for the tests of programs that use lightvec: a new one for each test, with pgvector and the models' tables.

``lightvec.pytest_plugin`` makes fixtures of it; with another test framework these serve by themselves::

    from lightvec.server import temporary
    from lightvec.testing import Databases, pointed_at

    with temporary() as server, Databases(server.url, [Product]) as databases:
        with databases.new() as url, pointed_at(url, [Product]) as db:
            ...  # Product is empty here, and what is done to it is gone afterwards

A new database is a copy of one that was made once, which takes about 15 ms: commits, threads, several connections, COPY
and failed transactions are what they are in production, where a transaction that is rolled back at the end would not
let them be.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from peewee import DatabaseProxy, Model

from lightvec.peewee import Pg8000Database
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import connect
from lightvec.server import ensure
from lightvec.wire.identifiers import identifier

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Databases", "pointed_at"]

_EMBEDDED = "embedded:"

#: What a database's ``init`` sets, for what it was before to come back.
_WHERE = ("database", "connect_params", "deferred", "deadline", "_isolation_level")


class Databases:
    """Databases on one server for any number of tests: a pattern, made when the block is entered, and its copies.

    ``url`` is that of a server with pgvector, as a user who may create databases and the extension; what other
    databases it has is left alone. The pattern holds the extension, and the tables and indexes of ``models``, also in
    schemas of their own.

    >>> with Databases(database.database, [Doc]) as databases, databases.new() as url, pointed_at(url, [Doc]):
    ...     _ = Doc.create(embedding=[1, 2, 3])
    ...     Doc.select().count()
    1
    """

    def __init__(self, url: str, models: Sequence[type[Model]] = ()) -> None:
        self._url = ensure(url.removeprefix(_EMBEDDED)).url if url.startswith(_EMBEDDED) else url
        self._models = models
        # Several runs may share a server.
        self._pattern = f"lightvec_test_{secrets.token_hex(6)}"
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self._run(f"CREATE DATABASE {identifier(self._pattern)}")
        try:
            with pointed_at(_with_name(self._url, self._pattern), self._models) as database:
                for schema in sorted({model._meta.schema for model in self._models if model._meta.schema}):
                    database.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
                set_up(database, self._models)
        except BaseException:
            self._drop(self._pattern)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drop(self._pattern)

    @contextmanager
    def new(self) -> Iterator[str]:
        """The URL of a new database, which is dropped at the end of the block, whoever is still connected."""
        name = f"{self._pattern}_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {identifier(name)} TEMPLATE {identifier(self._pattern)}")
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
def pointed_at(url: str, models: Sequence[type[Model]] = ()) -> Iterator[Pg8000Database]:
    """The database that the models are bound to, at another place for a while: what the program itself uses.

    Where the models have one :class:`~lightvec.peewee.Pg8000Database` (or a ``DatabaseProxy`` of one), it is that
    object, so that the program's own ``database.atomic()`` goes there, too. Models of several databases, or of none,
    are bound to a new one. Afterwards all is as it was, and no connection to ``url`` is left open in this thread.
    """
    with ExitStack() as stack:
        database = _database_of(models, stack)
        before = {name: getattr(database, name) for name in _WHERE}
        stack.callback(_move, database, before)
        _move(database, before | {"connect_params": {}})
        database.init(url)
        yield database


def _database_of(models: Iterable[type[Model]], stack: ExitStack) -> Pg8000Database:
    models = list(models)
    theirs: list[Any] = []
    for model in models:
        if not any(model._meta.database is each for each in theirs):
            theirs.append(model._meta.database)
    if len(theirs) == 1:
        (bound,) = theirs
        if isinstance(bound, Pg8000Database):
            return bound
        if isinstance(bound, DatabaseProxy):
            return _database_of_proxy(bound, stack)
    database = Pg8000Database(None)
    stack.enter_context(database.bind_ctx(models))
    return database


def _database_of_proxy(proxy: Any, stack: ExitStack) -> Pg8000Database:
    if isinstance(proxy.obj, Pg8000Database):
        return proxy.obj
    stack.callback(proxy.initialize, proxy.obj)
    database = Pg8000Database(None)
    proxy.initialize(database)
    return database


def _move(database: Any, place: dict[str, Any]) -> None:
    """Leave where it is, transactions and pooled connections included, and be somewhere else."""
    while database.in_transaction():
        database.session_rollback()
    if hasattr(database, "close_all"):
        database.close_all()
    elif not database.is_closed():
        database.close()
    for name, value in place.items():
        setattr(database, name, value)


def _with_name(url: str, name: str) -> str:
    """The connection string of another database of the same server; in a keyword string the last one counts."""
    if "://" not in url:
        return f"{url if '=' in url else ''} dbname={name}".strip()
    return re.sub(r"^(\w+://[^/?#]*)(/[^?#]*)?", rf"\g<1>/{name}", url)
