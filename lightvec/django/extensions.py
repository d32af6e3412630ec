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
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

__all__ = ["MissingExtension", "VectorExtension"]

_INSUFFICIENT_PRIVILEGE = "42501"
#: feature_not_supported from PostgreSQL 15 on, undefined_file before.
_NOT_AVAILABLE = ("0A000", "58P01")


class MissingExtension(errors.MissingExtension, ProgrammingError):
    """pgvector is not in the database and could not be created: lightvec's error and Django's."""

    def __init__(self, remedy: str) -> None:
        Exception.__init__(self, remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class VectorExtension(CreateExtension):
    """``CREATE EXTENSION vector``, where it does not stand yet: the first operation of the first migration.

    ``hints`` go to the database routers. :class:`MissingExtension` says what to do where the server has no pgvector or
    the user may not create it.

    >>> VectorExtension().describe()
    'Creates extension vector'
    """

    def __init__(self, hints: Mapping[str, Any] | None = None) -> None:
        # Django's own operation takes no hints before 6.0, and does not pass them on.
        self.name = "vector"
        self.hints = dict(hints or {})

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        connection = schema_editor.connection
        if not self._concerns(connection, app_label):
            return
        with remedies(connection):
            if not self.extension_exists(schema_editor, self.name):
                schema_editor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        _refresh(connection)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if self._concerns(schema_editor.connection, app_label):
            schema_editor.execute("DROP EXTENSION IF EXISTS vector")
            _refresh(schema_editor.connection)

    def _concerns(self, connection: BaseDatabaseWrapper, app_label: str) -> bool:
        return connection.vendor == "postgresql" and router.allow_migrate(connection.alias, app_label, **self.hints)


def _refresh(connection: BaseDatabaseWrapper) -> None:
    """The operations that follow use the same connection."""
    connections.forget(connection)
    connections.teach(connection)


@contextmanager
def remedies(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """An error of the database for which there is a remedy becomes :class:`MissingExtension`, which says it."""
    try:
        yield
    except Error as error:
        sqlstate = _sqlstate(error)
        if sqlstate == _INSUFFICIENT_PRIVILEGE:
            raise MissingExtension(
                f"this user may not create the extension vector: the database's owner or an administrator must run "
                f"CREATE EXTENSION vector in the database {connection.settings_dict['NAME']}, then migrate again"
            ) from error
        if sqlstate in _NOT_AVAILABLE:
            raise MissingExtension(
                "the server has no extension vector to create: install pgvector on the server (Debian's package is "
                "postgresql-NN-pgvector; at a cloud, allow the extension), then migrate again"
            ) from error
        raise


def _sqlstate(error: Error) -> str:
    """As psycopg 3 or psycopg2 say it."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
