"""Existing indexes, as PostgreSQL's catalog describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lightvec.index_options import DEFAULTS
from lightvec.metrics import METRICS
from lightvec.peewee.database import Pg8000Database
from lightvec.wire.identifiers import identifier

__all__ = ["ExistingIndex", "indexes_named", "metric_of", "sources_of_view", "vector_indexes"]


@dataclass(frozen=True)
class ExistingIndex:
    """An index: its table, its definition and its state.

    ``keys`` are the columns and expressions that are indexed, and ``expression`` those that are no columns;
    ``operator_class`` and ``dimensions`` are those of the first. ``column`` is the vector column behind it, or None.
    An index that is not ``valid`` serves no query: it is ``being_built``, or an interrupted CREATE INDEX CONCURRENTLY
    left it. ``size`` is in bytes, ``rows`` the server's last count (-1: never counted).
    """

    schema: str
    name: str
    table_schema: str
    table: str
    column: str | None
    column_type: str | None
    keys: list[str]
    unique: bool
    method: str
    operator_class: str
    dimensions: int | None
    expression: str | None
    where: str | None
    valid: bool
    being_built: bool
    options: Mapping[str, str]
    size: int
    rows: float

    @property
    def indexed_type(self) -> str:
        """The type that is indexed, which pgvector's operator classes begin with."""
        return self.operator_class.partition("_")[0]

    @property
    def metric(self) -> str | None:
        """The metric; None if the operator class is not one of pgvector's."""
        return metric_of(self.operator_class)

    @property
    def quantize(self) -> str | None:
        """``"halfvec"`` or ``"bit"`` if it holds its column in that form, as ``quantize=`` declares; else None."""
        return self.indexed_type if self.expression is not None and self.indexed_type != self.column_type else None

    @property
    def lists(self) -> int:
        """The lists of an IVFFlat index."""
        return self.option("lists")

    def option(self, name: str) -> int:
        """The value of ``m``, ``ef_construction`` or ``lists``."""
        return int(self.options.get(name, DEFAULTS[name]))


def metric_of(operator_class: str) -> str | None:
    """The metric of one of pgvector's operator classes.

    >>> metric_of("halfvec_cosine_ops"), metric_of("text_ops")
    ('cosine', None)
    """
    parts = operator_class.split("_")
    return parts[1] if len(parts) == 3 and parts[1] in METRICS else None


# The columns of an index on an expression are in pg_depend only, together with those of its condition. The session's
# own temporary tables are in pg_temp, as in EXPLAIN.
_INDEXES = """\
SELECT CASE n.oid WHEN pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END, c.relname,
    CASE tn.oid WHEN pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE tn.nspname END, t.relname,
    column_name, column_type,
    ARRAY(SELECT coalesce((SELECT ka.attname::text FROM pg_catalog.pg_attribute ka
            WHERE ka.attrelid = t.oid AND ka.attnum = i.indkey[k - 1] AND i.indkey[k - 1] <> 0),
        pg_catalog.pg_get_indexdef(c.oid, k, false)) FROM generate_series(1, i.indnkeyatts) k ORDER BY k),
    i.indisunique, m.amname, o.opcname, nullif(a.atttypmod, -1), pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
    pg_catalog.pg_get_expr(i.indpred, i.indrelid), i.indisvalid,
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid),
    coalesce(c.reloptions, '{}'), pg_catalog.pg_relation_size(c.oid), c.reltuples::float8
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am m ON m.oid = c.relam
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
LEFT JOIN LATERAL (
    SELECT ta.attname AS column_name, coalesce(base.typname, ty.typname) AS column_type
    FROM pg_catalog.pg_attribute ta
    JOIN pg_catalog.pg_type ty ON ty.oid = ta.atttypid
    LEFT JOIN pg_catalog.pg_type base ON base.oid = nullif(ty.typbasetype, 0)
    WHERE ta.attrelid = t.oid AND coalesce(base.typname, ty.typname) IN ('vector', 'halfvec', 'sparsevec', 'bit')
      AND (ta.attnum = i.indkey[0] OR i.indkey[0] = 0 AND EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
          AND d.refobjid = t.oid AND d.refobjsubid = ta.attnum))
    ORDER BY ta.attnum LIMIT 1) col ON true
WHERE """

_OF_TABLE = """m.amname IN ('hnsw', 'ivfflat') AND (%s::text IS NULL OR t.oid = to_regclass(%s))
ORDER BY tn.nspname, t.relname, c.relname"""

# An index is in the schema of its table, which may not exist yet.
_NAMED = """c.relname = ANY (%s) AND c.relnamespace = coalesce(
    (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)),
    to_regnamespace(coalesce(%s, quote_ident(current_schema()))))"""


def vector_indexes(
    database: Pg8000Database, table: str | None = None, schema: str | None = None
) -> list[ExistingIndex]:
    """The HNSW and IVFFlat indexes of a table, or of all tables, by the names of schema, table and index."""
    name = None if table is None else identifier(*filter(None, (schema, table)))
    return _indexes(database, _OF_TABLE, name, name)


def indexes_named(
    database: Pg8000Database, names: Iterable[str], table: str, schema: str | None = None
) -> dict[str, ExistingIndex]:
    """The indexes of these names in the schema that a table is in, or will be: of any kind, and on any table."""
    name = identifier(*filter(None, (schema, table)))
    found = _indexes(database, _NAMED, list(names), name, schema and identifier(schema))
    return {index.name: index for index in found}


def _indexes(database: Pg8000Database, condition: str, *values: object) -> list[ExistingIndex]:
    names = [field.name for field in fields(ExistingIndex)]
    indexes = []
    for row in database.execute_sql(_INDEXES + condition, values).fetchall():
        values_by_name: dict[str, Any] = dict(zip(names, row, strict=True))
        values_by_name["options"] = dict(option.split("=", 1) for option in values_by_name["options"])
        indexes.append(ExistingIndex(**values_by_name))
    return indexes


# Not to_regclass(): it raises without USAGE on the schema.
_SOURCES = """\
SELECT DISTINCT d.refobjid::regclass::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> c.oid
WHERE c.relkind = 'v' AND c.relname = %s
  AND CASE WHEN %s::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = %s END
ORDER BY 1"""


def sources_of_view(database: Pg8000Database, table: str, schema: str | None = None) -> list[str] | None:
    """The tables and views that a view reads, as SQL; None if it is not a view."""
    rows = database.execute_sql(_SOURCES, (table, schema, schema)).fetchall()
    return [name for (name,) in rows if name] if rows else None
