"""The vector indexes that stand, as PostgreSQL's catalog has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightvec.index_options import DEFAULTS
from lightvec.metrics import METRICS
from lightvec.peewee.database import Pg8000Database
from lightvec.wire.identifiers import identifier

__all__ = ["ExistingIndex", "metric_of", "sources_of_view", "vector_indexes"]

# An index on an expression names its columns in pg_depend only; those of its condition are among them. The session's
# own temporary tables are in pg_temp, as EXPLAIN says, too.
_INDEXES = """\
SELECT CASE n.oid WHEN pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END, c.relname,
    CASE tn.oid WHEN pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE tn.nspname END, t.relname,
    column_name, column_type, m.amname, o.opcname,
    nullif(a.atttypmod, -1), pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
    pg_catalog.pg_get_expr(i.indpred, i.indrelid), i.indisvalid,
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid),
    coalesce(c.reloptions, '{}'), pg_catalog.pg_relation_size(c.oid), c.reltuples::float8
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat')
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
WHERE %s::text IS NULL OR t.oid = to_regclass(%s)
ORDER BY tn.nspname, t.relname, c.relname"""


@dataclass(frozen=True)
class ExistingIndex:
    """A vector index that stands: on what, built how, and whether it can be used.

    ``column`` is the vector column, and ``column_type`` its type; both are None where an expression has none.
    ``expression`` and ``where`` are SQL, None for an index on the column itself and on all rows. ``dimensions`` are
    those of what is indexed. An index that is not ``valid`` serves no query: it is ``being_built``, or an interrupted
    CREATE INDEX CONCURRENTLY left it. ``size`` is in bytes, and ``rows`` what the server last counted (-1: never).
    """

    schema: str
    name: str
    table_schema: str
    table: str
    column: str | None
    column_type: str | None
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
        """The type that is indexed, which the operator class begins with."""
        return self.operator_class.partition("_")[0]

    @property
    def metric(self) -> str | None:
        """The metric that it is built for; None for an operator class that pgvector does not have."""
        return metric_of(self.operator_class)

    @property
    def quantize(self) -> str | None:
        """``"halfvec"`` or ``"bit"`` where it indexes a coarser form of its column, as ``quantize=`` declares."""
        return self.indexed_type if self.expression is not None and self.indexed_type != self.column_type else None

    @property
    def lists(self) -> int:
        """The lists of an IVFFlat index."""
        return int(self.options.get("lists", DEFAULTS["lists"]))


def metric_of(operator_class: str) -> str | None:
    """The metric of one of pgvector's operator classes.

    >>> metric_of("halfvec_cosine_ops"), metric_of("text_ops")
    ('cosine', None)
    """
    parts = operator_class.split("_")
    return parts[1] if len(parts) == 3 and parts[1] in METRICS else None


def vector_indexes(
    database: Pg8000Database, table: str | None = None, schema: str | None = None
) -> list[ExistingIndex]:
    """The HNSW and IVFFlat indexes of a table, or of all tables, by the names of schema, table and index."""
    name = None if table is None else identifier(*filter(None, (schema, table)))
    return [_standing(row) for row in database.execute_sql(_INDEXES, (name, name)).fetchall()]


# Not by to_regclass, which fails for a schema that the user may not use.
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
    """The tables and views that a view reads, as SQL has them; None for what is no view."""
    rows = database.execute_sql(_SOURCES, (table, schema, schema)).fetchall()
    return [name for (name,) in rows if name] if rows else None


def _standing(row: Sequence[Any]) -> ExistingIndex:
    fields: dict[str, Any] = dict(zip(ExistingIndex.__dataclass_fields__, row, strict=True))
    fields["options"] = dict(option.split("=", 1) for option in fields["options"])
    return ExistingIndex(**fields)
