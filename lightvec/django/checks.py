"""The check that tells what is missing before ``migrate`` fails for it: ``manage.py check --database default``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.operations import CreateExtension
from django.core.checks import CheckMessage, Tags, Warning
from django.core.checks import register as register_check
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from lightvec.django.connections import types_of
from lightvec.django.fields import ValueField

__all__ = ["check_extension", "register"]

_CREATES = re.compile(r"create\s+extension\b.*\bvector\b", re.IGNORECASE | re.DOTALL)


def register() -> None:
    """Have Django run the check whenever it checks a database, ``migrate`` included."""
    register_check(check_extension, Tags.database)


def check_extension(app_configs: Any = None, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A warning for each database that is to hold vectors, in which pgvector's types cannot be reached."""
    return [warning for alias in databases or () for warning in _check(connections[alias])]


def _check(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    needed = _types_needed(connection.alias)
    if connection.vendor != "postgresql" or not needed:
        return
    types = types_of(connection)
    name = connection.settings_dict["NAME"]
    if types.oids:
        yield from _out_of_reach(connection, needed, types.schema)
    elif not any(_creates_extension(operation) for operation in _operations()):
        yield Warning(
            f"The database {name} has no pgvector, and no migration creates it.",
            hint="Put VectorExtension() first in a migration's operations, or run CREATE EXTENSION vector there.",
            id="lightvec.W001",
        )


def _out_of_reach(connection: BaseDatabaseWrapper, needed: set[str], schema: str) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM unnest(%s::text[]) AS name WHERE to_regtype(name) IS NULL", [sorted(needed)])
        missing = [row[0] for row in cursor.fetchall()]
    if not missing:
        return
    options = f"'OPTIONS': {{'options': '-c search_path=public,{schema}'}}"
    yield Warning(
        f"The database {connection.settings_dict['NAME']} has pgvector in the schema {schema}, "
        f"where the type {missing[0]} is not found by its name.",
        hint=f"Put the schema on the search path ({options}); for an old pgvector, ALTER EXTENSION vector UPDATE.",
        id="lightvec.W002",
    )


def _types_needed(alias: str) -> set[str]:
    """The types of the extension that models of this database have."""
    return {
        field.column_type
        for model in apps.get_models()
        if router.allow_migrate_model(alias, model)
        for field in map(_element, model._meta.local_concrete_fields)
        if isinstance(field, ValueField) and field.column_type != "bit"
    }


def _element(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    while isinstance(field, ArrayField):
        field = field.base_field
    return field


def _operations() -> Iterator[Operation]:
    """The operations of all migrations on disk."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    for migration in loader.disk_migrations.values():
        yield from _flat(migration.operations)


def _flat(operations: Iterable[Operation]) -> Iterator[Operation]:
    for operation in operations:
        yield operation
        yield from _flat(getattr(operation, "database_operations", ()))


def _creates_extension(operation: Operation) -> bool:
    if isinstance(operation, CreateExtension):
        return operation.name == "vector"
    return isinstance(operation, RunSQL) and _CREATES.search(str(operation.sql)) is not None
