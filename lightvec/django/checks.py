"""The check that warns of a missing pgvector before ``migrate`` fails: ``manage.py check --database default``."""

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
from lightvec.extension import ExtensionTypes

__all__ = ["check_extension", "register"]

_CREATES = re.compile(r"create\s+extension\b.*\bvector\b", re.IGNORECASE | re.DOTALL)


def register() -> None:
    """Have Django run the check with its database checks, ``migrate`` included."""
    register_check(check_extension, Tags.database)


def check_extension(app_configs: Any = None, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A warning for each database that models with vectors use and where pgvector's types cannot be used."""
    return [warning for alias in databases or () for warning in _check(connections[alias])]


def _check(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    needed = _types_needed(connection.alias)
    if connection.vendor != "postgresql" or not needed:
        return
    types = types_of(connection)
    name = str(connection.settings_dict["NAME"])
    if types.oids:
        yield from _too_old(name, needed, types)
        yield from _out_of_reach(connection, needed & types.oids.keys(), types.schema)
    elif not any(_creates_extension(operation) for operation in _operations()):
        yield Warning(
            f"The database {name} has no pgvector, and no migration creates it.",
            hint="Put VectorExtension() first in a migration's operations, or run CREATE EXTENSION vector there.",
            id="lightvec.W001",
        )


def _too_old(database: str, needed: set[str], types: ExtensionTypes) -> Iterator[CheckMessage]:
    missing = sorted(needed - types.oids.keys())
    if missing:
        version = ".".join(map(str, types.version))
        yield Warning(
            f"The database {database} has pgvector {version}, which has no type {missing[0]}.",
            hint="Run ALTER EXTENSION vector UPDATE there.",
            id="lightvec.W002",
        )


def _out_of_reach(connection: BaseDatabaseWrapper, present: set[str], schema: str) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM unnest(%s::text[]) AS name WHERE to_regtype(name) IS NULL", [sorted(present)])
        unreachable = cursor.fetchone()
    if unreachable is not None:
        database = connection.settings_dict["NAME"]
        yield Warning(
            f"The database {database} has pgvector in the schema {schema}, where {unreachable[0]} is not found.",
            hint=f"Put the schema on the search path: 'OPTIONS': {{'options': '-c search_path=public,{schema}'}}.",
            id="lightvec.W003",
        )


def _types_needed(alias: str) -> set[str]:
    """The extension's types in this database's models."""
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
