"""Vector fields and their indexes in playhouse's reflection (and pwiz) and migrations (pwmigrate).

Playhouse asks nobody about other fields than its own, so its functions are wrapped, when a vector field or a
Pg8000Database is used together with them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any

from lightvec.peewee._seam import index_name
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.reflect import VECTOR_FIELDS, declare_existing, model_with

__all__ = ["extend"]

_VECTOR_TYPE = re.compile(r"(?:.*\.)?(vector|halfvec|sparsevec|bit)(?:\((\d+)\))?")


def extend(main: ModuleType | None) -> None:
    """Wrap the functions of the modules that are loaded; ``main`` is playhouse.migrations run as a program."""
    reflection = sys.modules.get("playhouse.reflection")
    if reflection is not None:
        _wrap(reflection.PostgresqlMetadata, "get_columns", partial(_reflected_columns, reflection))
        _wrap(reflection.Introspector, "generate_models", _generated_models)
    schema_diff = sys.modules.get("playhouse.schema_diff")
    if schema_diff is not None:
        _wrap(schema_diff, "_database_indexes", _compared_indexes)
    for migrations in filter(None, (sys.modules.get("playhouse.migrations"), main)):
        _wrap(migrations, "_build_field", _field_source)
        _wrap(migrations, "_build_model", _model_source)
        _wrap(migrations, "template", _migration_source)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    if not hasattr(original, "lightvec"):

        @wraps(original)
        def wrapper(*args: Any, **options: Any) -> Any:
            return around(original, *args, **options)

        wrapper.lightvec = True  # type: ignore[attr-defined]
        setattr(owner, name, wrapper)


# Reflection


class _Text(str):
    """A text that is written into generated code with its quotes."""

    __slots__ = ()

    __str__ = str.__repr__


def _reflected_columns(reflection: Any, original: Any, metadata: Any, table: str, schema: str | None = None) -> Any:
    columns = original(metadata, table, schema)
    if not isinstance(metadata.database, Pg8000Database):
        return columns
    metadata.requires_extension = True
    metadata.extension_import = f"{type(metadata).extension_import}\nfrom lightvec.peewee import *"
    indexes = vector_indexes(metadata.database, table, schema)
    for described in metadata.database.get_columns(table, schema):
        found = _VECTOR_TYPE.fullmatch(described.full_type or "")
        if found is not None:
            own = [index for index in indexes if index.column == described.name]
            _set_vector_field(reflection, table, columns[described.name], found[1], found[2], own)
    return columns


def _set_vector_field(
    reflection: Any, table: str, column: Any, kind: str, size: str | None, indexes: list[ExistingIndex]
) -> None:
    """Make a reflected column one of a vector field."""
    plain = [index for index in indexes if index.quantize != "bit" and index.metric is not None]
    options: dict[str, Any] = {"max_length" if kind == "bit" else "dimensions": int(size) if size else None}
    if plain:
        options["metric"] = _Text(plain[0].metric)
    column.field_class = VECTOR_FIELDS[kind]
    column.extra_parameters = options

    def source() -> str:
        """The line of pwiz: the field with its usual index, the other indexes in a comment."""
        parameters = reflection.Column.get_field_parameters(column)
        parameters.pop("unique", None)
        parameters.pop("index", None)
        dimensions = parameters.pop("max_length" if kind == "bit" else "dimensions")
        field = VECTOR_FIELDS[kind](int(size) if size else None, metric=options.get("metric"))
        model: Any = model_with(table, {column.column_name: field})
        _declare(model, indexes)
        declared = model._meta.indexes
        usual = [index for index in declared if not index.options and _is_usual(index, field)]
        if usual:
            parameters["index"] = repr(usual[0].method)
        words = [str(dimensions)] if dimensions else []
        words += [f"{name}={value}" for name, value in sorted(parameters.items())]
        others = "; ".join(index.source() for index in declared if index not in usual[:1])
        comment = f"  # Meta.indexes: {others}" if others else ""
        return f"{column.name} = {VECTOR_FIELDS[kind].__name__}({', '.join(words)}){comment}"

    column.get_field = source


def _is_usual(index: VectorIndex, field: Any) -> bool:
    """Whether ``index=`` on the field would declare it, under the same name."""
    again = type(index)(field, quantize=index.quantization.name if index.quantization else None)  # type: ignore[call-arg]
    return index_name(again) == index_name(index) and index.metric.name == field.metric


def _declare(model: Any, indexes: list[ExistingIndex]) -> None:
    for existing in indexes:
        field = model._meta.columns.get(existing.column)
        if existing.valid and existing.where is None and hasattr(field, "value_class"):
            declare_existing(model, existing)


def _generated_models(original: Any, introspector: Any, *args: Any, **options: Any) -> Any:
    models = original(introspector, *args, **options)
    database = introspector.metadata.database
    if isinstance(database, Pg8000Database):
        for table, model in models.items():
            for field in model._meta.sorted_fields:
                if hasattr(field, "value_class"):
                    # Playhouse takes an HNSW index on the column for one of its own.
                    field.index = field.unique = False
            _declare(model, vector_indexes(database, table, introspector.schema))
    return models


# Migrations


def _compared_indexes(original: Any, database: Any, table: str, schema: str | None = None) -> Any:
    """A vector index has a name and no signature, so that ``down()`` does not restore it as a B-tree."""
    indexes = original(database, table, schema)
    if isinstance(database, Pg8000Database):
        indexes.update((index.name, None) for index in vector_indexes(database, table, schema))
    return indexes


def _field_source(original: Any, field: Any, imports: set[str], *args: Any, **options: Any) -> str:
    if not hasattr(field, "value_class"):
        return str(original(field, imports, *args, **options))
    new: set[str] = set()
    name, _, rest = original(field, new, *args, **options).partition("(")
    imports |= {line.replace(" lightvec.peewee.fields ", " lightvec.peewee ") for line in new}
    words = [] if field.dimensions is None else [repr(field.dimensions)]
    declared = {"metric": field.metric, "index": field.index_method}
    words += [f"{key}={value!r}" for key, value in declared.items() if value is not None]
    return f"{name}({', '.join([*words, rest] if rest != ')' else words)}{')' if rest == ')' else ''}"


def _model_source(original: Any, model: Any, imports: set[str], todos: list[str], targets: Any) -> list[str]:
    lines: list[str] = original(model, imports, todos, targets)
    sources = []
    for index in model._meta.indexes:
        if isinstance(index, VectorIndex) and index.source():
            todo = f"{model._meta.table_name}: index {index_name(index)} must be added by hand"
            todos[:] = [each for each in todos if each != todo]
            if not index.is_declared_by_field:
                imports.add(f"from lightvec.peewee import {type(index).__name__}")
                sources.append(index.source())
    if sources:
        start = "        indexes = ("
        others = lines.pop()[len(start) : -1].rstrip(",") if lines[-1].startswith(start) else ""
        lines.append(f"{start}{', '.join(filter(None, [others, *sources]))},)")
    return lines


def _migration_source(original: Any, diff: Any) -> str:
    """The file; adding a column creates the index that its field declares."""
    created = {
        (field.model._meta.table_name, index_name(index))
        for field in diff.add_columns
        for index in field.model._meta.indexes
        if isinstance(index, VectorIndex) and index.field is field and index.is_declared_by_field
    }
    indexes = [index for index in diff.add_indexes if (index.table, index.name) not in created]
    return str(original(diff._replace(add_indexes=indexes)))
