"""The migration operation that creates pgvector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.operations import CreateExtension
from django.db import Error, ProgrammingError, router

from lightvec import errors
from lightvec.django import connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["MissingExtension", "VectorExtension"]

_INSUFFICIENT_PRIVILEGE = "42501"
#: feature_not_supported from PostgreSQL 15 on, undefined_file before.
_NOT_AVAILABLE = ("0A000", "58P01")


class MissingExtension(errors.MissingExtension, ProgrammingError):
    """pgvector is not in the database and could not be created."""

    def __init__(self, remedy: str) -> None:
        Exception.__init__(self, remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class VectorExtension(CreateExtension):
    """``CREATE EXTENSION vector`` unless it exists: the first operation of the first migration.

    ``hints`` go to the database routers. Raises :class:`MissingExtension`, with the remedy, where the
    server has no pgvector or the user lacks the privilege.

    >>> VectorExtension().describe()
    'Creates extension vector'
    """

    def __init__(self, hints: Mapping[str, Any] | None = None) -> None:
        # Django's own operation takes no hints before 6.0, and does not pass them on.
        self.name = "vector"
        self.hints = dict(hints or {})

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if not self._applies_to(connection, app_label):
            return
        with remedies(connection):
            if not self.extension_exists(schema_editor, self.name):
                schema_editor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        _refresh(connection)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if self._applies_to(schema_editor.connection, app_label):
            schema_editor.execute("DROP EXTENSION IF EXISTS vector")
            _refresh(schema_editor.connection)

    def _applies_to(self, connection: BaseDatabaseWrapper, app_label: str) -> bool:
        return connection.vendor == "postgresql" and router.allow_migrate(connection.alias, app_label, **self.hints)


def _refresh(connection: BaseDatabaseWrapper) -> None:
    """The operations that follow use the same connection."""
    connections.forget(connection)
    connections.register_types(connection)


@contextmanager
def remedies(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Turn a database error that has a remedy into :class:`MissingExtension`."""
    try:
        yield
    except Error as error:
        sqlstate = _sqlstate(error)
        if sqlstate == _INSUFFICIENT_PRIVILEGE:
            raise MissingExtension(
                f"this user may not create the extension vector: run CREATE EXTENSION vector in the "
                f"database {connection.settings_dict['NAME']} as its owner or a superuser, then migrate again"
            ) from error
        if sqlstate in _NOT_AVAILABLE:
            raise MissingExtension(
                "the server has no extension vector to create: install pgvector on the server "
                "(Debian's package is postgresql-NN-pgvector) or allow the extension at your provider, "
                "then migrate again"
            ) from error
        raise


def _sqlstate(error: Error) -> str:
    """From psycopg 3 or psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
