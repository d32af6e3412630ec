"""A Peewee model for a table that stands, with its vector fields and the metric that its index is built for."""

from __future__ import annotations

from typing import Any, NamedTuple

from peewee import BareField, CompositeKey, Field, Model

from lightvec.errors import SchemaMismatch
from lightvec.metrics import METRICS
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.fields import FixedBitField, HalfVectorField, SparseVectorField, VectorField
from lightvec.pg8000.identifiers import identifier

__all__ = ["model_of", "plain_fields", "vector_field", "vector_fields"]

_FIELDS: dict[str, type[Any]] = {
    field.field_type: field for field in (VectorField, HalfVectorField, SparseVectorField, FixedBitField)
}

_COLUMNS = """\
SELECT a.attname, t.typname, a.atttypmod, coalesce(a.attnum = ANY(p.indkey), false), o.opcname
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_index p ON p.indrelid = a.attrelid AND p.indisprimary
LEFT JOIN LATERAL (
    SELECT c.opcname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[0]
    WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid
      AND t.typname IN ('vector', 'halfvec', 'sparsevec', 'bit')
    ORDER BY i.indexrelid LIMIT 1) o ON true
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""


class _Column(NamedTuple):
    name: str
    type: str
    modifier: int
    is_key: bool
    operator_class: str | None

    def field(self) -> Field:
        cls = _FIELDS.get(self.type)
        if cls is None:
            return BareField(column_name=self.name, null=True)
        size = self.modifier if self.modifier > 0 else None
        return cls(size, metric=self._metric(), column_name=self.name, null=True)  # type: ignore[no-any-return]

    def _metric(self) -> str | None:
        """The metric by the operator class of the column's index."""
        for metric in METRICS.values():
            if self.operator_class == f"{self.type}_{metric.name}_ops":
                return metric.name
        return None


def model_of(database: Pg8000Database, table: str, schema: str | None = None) -> type[Model]:
    """A model with a field for each column, named as the column is, with a ``_`` behind where that name is taken.

    :class:`~lightvec.errors.SchemaMismatch` where there is no such table.
    """
    name = identifier(*filter(None, (schema, table)))
    columns = [_Column(*row) for row in database.execute_sql(_COLUMNS, (name,)).fetchall()]
    if not columns:
        known = ", ".join(database.get_tables(schema)) or "none"
        raise SchemaMismatch(f"there is no table {table}; the tables there are: {known}")
    fields: dict[str, Any] = {_attribute(column.name): column.field() for column in columns}
    keys = [_attribute(column.name) for column in columns if column.is_key]
    meta = type("Meta", (), {"database": database, "table_name": table, "schema": schema, "primary_key": False})
    if len(keys) > 1:
        meta.primary_key = CompositeKey(*keys)  # type: ignore[attr-defined]
    elif keys:
        del meta.primary_key  # type: ignore[attr-defined]
        fields[keys[0]].primary_key = True
    return type(table, (Model,), {**fields, "Meta": meta})


def vector_fields(model: type[Model]) -> list[Any]:
    """The model's vector fields, in the order of its columns."""
    return [field for field in model._meta.sorted_fields if hasattr(field, "value_class")]


def plain_fields(model: type[Model]) -> list[Field]:
    """The model's other fields, in the order of its columns."""
    return [field for field in model._meta.sorted_fields if not hasattr(field, "value_class")]


def vector_field(model: type[Model], column: str | None = None) -> Any:
    """The vector field of this column, or the model's only one; else :class:`~lightvec.errors.SchemaMismatch`."""
    fields = {field.column_name: field for field in vector_fields(model)}
    if column is None and len(fields) == 1:
        return next(iter(fields.values()))
    if column in fields:
        return fields[column]
    wanted = "one of them must be named" if column is None else f"{column} is none of them"
    raise SchemaMismatch(
        f"the vector columns of the table {model._meta.table_name} are: {', '.join(fields) or 'none'}; {wanted}"
    )


def _attribute(column: str) -> str:
    return f"{column}_" if hasattr(Model, column) else column
