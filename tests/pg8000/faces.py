"""One statement by each way that users have: the native connection, PEP 249, SQLAlchemy and Peewee."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy

from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import connect, dbapi

__all__ = ["FACES", "Face", "opened"]

_NAMED = re.compile(r"(?<!:):(\w+)")


class Face:
    """A connection in autocommit; statements have ``:name`` parameters."""

    def __init__(self, url: str, **options: Any) -> None:
        raise NotImplementedError

    def run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement; empty if it has none."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    def begin(self) -> None:
        """Begin a transaction."""
        self.run("BEGIN")

    def commit(self) -> None:
        """Commit it."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll it back."""
        self.run("ROLLBACK")


class Native(Face):
    """lightvec.pg8000.connect."""

    def __init__(self, url: str, **options: Any) -> None:
        self._connection = connect(url, **options)

    def run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._connection.run(sql, **params) or ()]

    def close(self) -> None:
        self._connection.close()


class Dbapi(Face):
    """lightvec.pg8000.dbapi."""

    def __init__(self, url: str, **options: Any) -> None:
        self._connection = dbapi.connect(url, **options)
        self._connection.autocommit = True

    def run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(_NAMED.sub(r"%(\1)s", sql), params or None)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def close(self) -> None:
        self._connection.close()


class SqlAlchemy(Face):
    """SQLAlchemy's dialect for pg8000 with lightvec's module."""

    def __init__(self, url: str, **options: Any) -> None:
        self._engine = sqlalchemy.create_engine(
            "postgresql+pg8000://",
            module=dbapi,
            creator=lambda: dbapi.connect(url, **options),
            isolation_level="AUTOCOMMIT",
        )
        self._connection = self._engine.connect()

    def run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        result = self._connection.execute(sqlalchemy.text(sql), params)
        return [tuple(row) for row in result] if result.returns_rows else []

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


class Peewee(Face):
    """lightvec.peewee's database."""

    def __init__(self, url: str, **options: Any) -> None:
        self._database = Pg8000Database(url, **options)

    def run(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        values = tuple(params[name] for name in _NAMED.findall(sql))
        cursor = self._database.execute_sql(_NAMED.sub("%s", sql), values)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def begin(self) -> None:
        self._database.begin()

    def commit(self) -> None:
        self._database.commit()

    def rollback(self) -> None:
        self._database.rollback()

    def close(self) -> None:
        self._database.close()


FACES: dict[str, type[Face]] = {"native": Native, "dbapi": Dbapi, "sqlalchemy": SqlAlchemy, "peewee": Peewee}


@contextmanager
def opened(name: str, url: str, **options: Any) -> Iterator[Face]:
    """One of the ways, inside the block."""
    face = FACES[name](url, **options)
    try:
        yield face
    finally:
        face.close()
