"""Peewee models without a class: of an existing table, with its vector fields and indexes, or of given fields."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from peewee import SQL, BareField, CompositeKey, Field, Model, Node

from lightvec.errors import SchemaMismatch
from lightvec.index_options import OPTIONS
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.column_comments import origin_in
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.fields import FixedBitField, HalfVectorField, SparseVectorField, VectorField
from lightvec.peewee.indexes import (
    HnswIndex,
    IvfflatIndex,
    VectorIndex,
    declare_index,
    generated_name,
)
from lightvec.peewee.quantization import QUANTIZATIONS
from lightvec.pg8000 import Json, Jsonb
from lightvec.wire.identifiers import check_name, identifier

__all__ = [
    "VECTOR_FIELDS",
    "JsonColumn",
    "TextColumn",
    "column_of",
    "declare_existing",
    "default_metric",
    "index_like",
    "metric_by_name",
    "model_of",
    "model_with",
    "no_such_table",
    "plain_fields",
    "vector_field",
    "vector_fields",
]

#: Column type to field class.
VECTOR_FIELDS: Mapping[str, type[Any]] = MappingProxyType(
    {field.field_type: field for field in (VectorField, HalfVectorField, SparseVectorField, FixedBitField)}
)

# A column of a domain is one of the type below it.
_COLUMNS = """\
SELECT a.attname, t.typname, t.typcategory::text,
    CASE d.typbasetype WHEN 0 THEN a.atttypmod ELSE d.typtypmod END,
    coalesce(a.attnum = ANY(p.indkey), false), c.relkind::text,
    pg_catalog.col_description(a.attrelid, a.attnum)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
LEFT JOIN pg_catalog.pg_index p ON p.indrelid = a.attrelid AND p.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""

_JSON_TYPES: Mapping[str, type[Json]] = MappingProxyType({"json": Json, "jsonb": Jsonb})


class JsonColumn(BareField):
    """A ``json`` or ``jsonb`` column: every value is sent as JSON, a list, a text and a number too."""

    def __init__(self, value_type: type[Json], **options: Any) -> None:
        super().__init__(**options)
        self._value_type = value_type

    def db_value(self, value: Any) -> Any:
        if value is None or isinstance(value, (Node, Json)):
            return value
        return self._value_type(value, dumps=partial(json.dumps, default=float))


class TextColumn(BareField):
    """A column of text, which refuses lists and dicts."""

    def db_value(self, value: Any) -> Any:
        if isinstance(value, (list, dict)):
            raise SchemaMismatch(
                f"the column {self.model._meta.table_name}.{self.column_name} holds text, got {type(value).__name__}: "
                f"write it as one text, or make the column jsonb"
            )
        return value


#: How a column gets dimensions, by the kind of the relation.
_DIMENSIONS_REMEDIES = {
    "r": "run ALTER TABLE {table} ALTER COLUMN {column} TYPE {type}(384) with the number that your model gives",
    "m": "cast it in the query of this materialized view, such as avg(embedding)::{type}(384)",
    "v": "this is a view, so build the index on its table",
}


class _Column(NamedTuple):
    name: str
    type: str
    category: str
    modifier: int
    is_key: bool
    relation_kind: str
    comment: str | None

    def field(self, indexes: Sequence[ExistingIndex], names: Collection[str]) -> Field:
        """The field, in a table with columns of these names."""
        if self.type in VECTOR_FIELDS:
            size = self.modifier if self.modifier > 0 else None
            # An index of the vectors themselves comes first; one of their bits does not tell the metric.
            metrics = [index.metric for index in indexes if index.column == self.name and index.quantize != "bit"]
            origin = origin_in(self.comment)
            # A column that was renamed since leaves no way to tell whether a vector is of its text.
            has_source = origin and {f"{self.name}_hash", *origin.source} <= {*names}
            field: Any = VECTOR_FIELDS[self.type](
                size,
                metric=next(filter(None, metrics), None),
                model=origin and origin.model,
                source=origin.source if origin and has_source else (),
                null=True,
            )
            field.dimensions_remedy = _DIMENSIONS_REMEDIES.get(self.relation_kind, _DIMENSIONS_REMEDIES["r"])
            return field  # type: ignore[no-any-return]
        if self.type in _JSON_TYPES:
            return JsonColumn(_JSON_TYPES[self.type], null=True)
        # Category S: text, varchar, char, name, citext (PostgreSQL documentation, 52.64 "pg_type").
        return TextColumn(null=True) if self.category == "S" else BareField(null=True)


def model_of(database: Pg8000Database, table: str, schema: str | None = None) -> type[Model]:
    """A model with a field for each column; :class:`~lightvec.errors.SchemaMismatch` if there is no such table."""
    name = identifier(*filter(None, (schema, table)))
    columns = [_Column(*row) for row in database.execute_sql(_COLUMNS, (name,)).fetchall()]
    if not columns:
        raise no_such_table(database, table, schema)
    existing = [index for index in vector_indexes(database, table, schema) if index.valid and index.where is None]
    existing.sort(key=lambda index: index.quantize or "")
    names = [column.name for column in columns]
    fields = {column.name: column.field(existing, names) for column in columns}
    keys = [column.name for column in columns if column.is_key]
    model = model_with(table, fields, keys, database=database, schema=schema)
    for index in existing:
        if index.column is not None:
            declare_existing(model, index)
    return model


def no_such_table(database: Pg8000Database, table: str, schema: str | None = None) -> SchemaMismatch:
    """The error for a table that does not exist."""
    known = ", ".join(database.get_tables(schema)) or "none"
    return SchemaMismatch(
        f"there is no table {table}; the tables there are: {known} (`lightvec init-db` creates tables, --schema and "
        f"--url say where to look)"
    )


def declare_existing(model: Any, existing: ExistingIndex) -> None:
    """Declare an existing index, so that ``nearest`` writes the query that it serves."""
    index = index_like(existing, model._meta.columns[existing.column], existing.quantize)
    if index is not None:
        declare_index(model, index)


def index_like(existing: ExistingIndex, field: Any, quantize: str | None) -> VectorIndex | None:
    """An index on the field that is like an existing one; None if no index of ours is.

    It is named by its field if the existing one is by its own.
    """
    named = metric_by_name(existing)
    # An index of bits serves each of their metrics.
    metric = named or existing.metric
    if existing.quantize == "bit":
        metric = named or QUANTIZATIONS["bit"].metrics[-1]
    is_known = existing.quantize in (None, *QUANTIZATIONS)
    if field.dimensions is None or metric not in field.metrics or not is_known:
        return None

    options: dict[str, Any] = {
        name: int(existing.options[name]) for name in OPTIONS[existing.method] if name in existing.options
    }
    if existing.where is not None:
        options["where"] = SQL(existing.where.replace("%", "%%"))
    kind: Any = HnswIndex if existing.method == "hnsw" else IvfflatIndex
    name = None if named else existing.name
    index: VectorIndex = kind(field, metric=metric, quantize=quantize, name=name, **options)
    return index


def metric_by_name(existing: ExistingIndex) -> str | None:
    """The metric in the name of an index, if a declaration without a name gives that name."""
    is_bit = existing.quantize == "bit"
    for metric in QUANTIZATIONS["bit"].metrics if is_bit else filter(None, [existing.metric]):
        rest = metric, existing.quantize, existing.method
        if existing.name == generated_name(existing.table, existing.column or "", *rest):
            return metric
    return None


def model_with(table: str, fields: Mapping[str, Field], keys: Sequence[str] = (), **meta: Any) -> type[Model]:
    """A model with these fields, by the names of their columns; ``keys`` are the columns of the primary key.

    A field has the name of its column, with ``_`` appended where Peewee has an attribute of that name.
    """
    for name in (table, *fields):
        check_name(name)
    options = type("Meta", (), {"table_name": table, "primary_key": False, **meta})
    model: Any = type(table, (Model,), {"Meta": options})
    # Not as attributes of the class: a column could be named Meta, or as one of Peewee's methods.
    for column, field in fields.items():
        if column in model._meta.columns:
            continue  # The hash of a vector's source came with the vector.
        field.column_name = column
        field.primary_key = field.primary_key or [column] == list(keys)
        add = model._meta.set_primary_key if field.primary_key else model._meta.add_field
        name = column
        while hasattr(model, name) or (name != column and name in fields):
            name += "_"
        add(name, field)
    if len(keys) > 1:
        names = (model._meta.columns[column].name for column in keys)
        model._meta.set_primary_key("__composite_key__", CompositeKey(*names))
    return model  # type: ignore[no-any-return]


def vector_fields(model: type[Model]) -> list[Any]:
    """The model's vector fields, in the order of its columns."""
    return [field for field in model._meta.sorted_fields if hasattr(field, "value_class")]


def plain_fields(model: type[Model]) -> list[Field]:
    """The model's other fields, in the order of its columns."""
    return [field for field in model._meta.sorted_fields if not hasattr(field, "value_class")]


def column_of(model: Any, name: str) -> Any:
    """The field of a column; :class:`~lightvec.errors.SchemaMismatch` if there is none."""
    columns: Mapping[str, Any] = model._meta.columns
    if name not in columns:
        table = model._meta.table_name
        raise SchemaMismatch(f"the table {table} has no column {name}: it has {', '.join(columns)}")
    return columns[name]


def vector_field(model: type[Model], column: str | None = None) -> Any:
    """The vector field of a column, or the only one; :class:`~lightvec.errors.SchemaMismatch` if there is none."""
    fields = {field.column_name: field for field in vector_fields(model)}
    if column is None and len(fields) == 1:
        return next(iter(fields.values()))
    if column in fields:
        return fields[column]
    table = model._meta.table_name
    if not fields:
        raise SchemaMismatch(
            f"the table {table} has no vector column: `lightvec init-db --table NAME --dimensions N` creates a table "
            f"with one"
        )
    wanted = "one of them must be named (--vector-column)" if column is None else f"{column} is none of them"
    raise SchemaMismatch(f"the vector columns of the table {table} are: {', '.join(fields)}; {wanted}")


def default_metric(field: Any) -> str:
    """The metric of a field, or a field class, that declares none and has no index."""
    return "hamming" if "hamming" in field.metrics else "cosine"
