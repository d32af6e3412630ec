"""Vector fields and their indexes in the files of peewee-migrate.

It writes a field by the nearest class that Peewee has, which is Field, and knows indexes as names
of fields. Its functions are wrapped like those of playhouse.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Any

from lightvec.peewee._seam import index_name
from lightvec.peewee.embedding_source import HashField, PendingIndex
from lightvec.peewee.indexes import HnswIndex, IvfflatIndex, VectorIndex, bind_indexes, definition_sql
from lightvec.peewee.playhouse_hooks import declaring_words, wrap
from lightvec.peewee.reflect import VECTOR_FIELDS
from lightvec.wire.identifiers import identifier

__all__ = ["extend"]

_IMPORTS = "import peewee as pw\n"
_KINDS = (HnswIndex, IvfflatIndex, *VECTOR_FIELDS.values())
_NAMES = ", ".join(sorted(kind.__name__ for kind in _KINDS))
_OWN_IMPORTS = f"from lightvec.peewee import {_NAMES}\nfrom peewee import SQL\n"


def extend() -> None:
    """Wrap the functions of peewee-migrate, which is loaded."""
    modules: dict[str, Any] = sys.modules
    names = ("auto", "migrator", "router")
    auto, migrator, router = (modules[f"peewee_migrate.{name}"] for name in names)
    wrap(auto, "field_to_code", _field_code)
    wrap(auto, "compare_fields", _field_differences)
    wrap(auto, "model_to_code", _model_code)
    wrap(auto, "diff_model", _model_changes)
    wrap(migrator.Migrator, "add_index", _add_index)
    wrap(migrator.Migrator, "drop_index", _drop_index)
    if _OWN_IMPORTS not in router.TEMPLATE:
        router.TEMPLATE = router.TEMPLATE.replace(_IMPORTS, _OWN_IMPORTS + _IMPORTS)


# Generated code


def _code(field: Any) -> str:
    options = {
        "null": field.null or None,
        "column_name": None if field.column_name == field.name else field.column_name,
    }
    words = declaring_words(field)
    words += [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{type(field).__name__}({', '.join(words)})"


def _field_code(original: Any, field: Any, *, space: bool = True, **options: Any) -> str:
    if not hasattr(field, "value_class"):
        return str(original(field, space=space, **options))
    return f"{field.name} = {_code(field)}" if space else f"{field.name}={_code(field)}"


def _field_differences(original: Any, new: Any, old: Any) -> Any:
    if not hasattr(new, "value_class") or not hasattr(old, "value_class"):
        return original(new, old)
    if _code(new) == _code(old):
        return {}
    return {"type": True, **({"null": new.null} if new.null != old.null else {})}


def _model_code(original: Any, model: Any, **options: Any) -> str:
    indexes = [
        index
        for index in model._meta.indexes
        if not isinstance(index, PendingIndex)
        if not isinstance(index, VectorIndex) or not index.is_declared_by_field
    ]
    return str(original(_with_indexes(model, indexes), **options))


def _model_changes(original: Any, model: Any, source: Any, **options: Any) -> list[str]:
    meta, new, old = model._meta, _vector_indexes(model), _vector_indexes(source)
    both = new.keys() & old.keys()
    same = {name for name in both if definition_sql(new[name]) == definition_sql(old[name])}
    # Before the fields change, and with them the names of their indexes in the migrations' models.
    dropped = [
        f"migrator.drop_index({meta.table_name!r}, {name!r})"
        for name, index in old.items()
        if name not in same and index.field.name in meta.fields
    ]
    plain = [_with_indexes(each, _plain_indexes(each)) for each in (model, source)]
    added = [
        f"migrator.add_index({meta.table_name!r}, {index!r})"
        for name, index in new.items()
        if name not in same
        if not index.is_declared_by_field or index.field.name in source._meta.fields
    ]
    return [*dropped, *original(*plain, **options), *added]


def _with_indexes(model: Any, indexes: list[Any]) -> Any:
    """A model with these indexes, and without the columns that come with a vector field."""
    meta = copy(model._meta)
    meta.indexes = indexes
    meta.sorted_fields = [each for each in meta.sorted_fields if not isinstance(each, HashField)]
    meta.fields = {field.name: field for field in meta.sorted_fields}
    return type(model.__name__, (), {"_meta": meta})


def _plain_indexes(model: Any) -> list[Any]:
    ours = (VectorIndex, PendingIndex)
    return [index for index in model._meta.indexes if not isinstance(index, ours)]


def _vector_indexes(model: Any) -> dict[str, VectorIndex]:
    """The model's vector indexes by name; removing a field leaves its indexes with the model."""
    meta = model._meta
    indexes = [each for each in meta.indexes if isinstance(each, VectorIndex) and each.is_bound]
    return {index_name(each): each for each in indexes if each.field.name in meta.fields}


# Migrations that run


def _add_index(original: Any, migrator: Any, model: Any, *columns: Any, **options: Any) -> Any:
    """``migrator.add_index("doc", HnswIndex("embedding"))``."""
    if not columns or not isinstance(columns[0], VectorIndex):
        return original(migrator, model, *columns, **options)
    model = migrator.__get_model__(model)
    model._meta.indexes.append(columns[0])
    for field in list(model._meta.sorted_fields):
        if hasattr(field, "value_class"):
            bind_indexes(model, field)
    migrator.run(migrator.__database__.execute, model._meta.indexes[-1])
    return model


def _drop_index(original: Any, migrator: Any, model: Any, *columns: str) -> Any:
    """``migrator.drop_index("doc", "doc_embedding_cosine_hnsw")``, a vector index by its name."""
    model = migrator.__get_model__(model)
    meta = model._meta
    ours = [each for each in meta.indexes if isinstance(each, (VectorIndex, PendingIndex))]
    if len(columns) == 1 and columns[0] not in meta.fields:
        kept = [each for each in ours if index_name(each) != columns[0]]
        meta.indexes = kept + _plain_indexes(model)
        migrator.sql(f"DROP INDEX {identifier(*filter(None, (meta.schema, *columns)))}")
        return model
    # It takes all of them for pairs of columns and whether it is unique.
    meta.indexes = _plain_indexes(model)
    original(migrator, model, *columns)
    meta.indexes += ours
    return model
