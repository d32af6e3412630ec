"""Tables with vector columns: what the catalog, the statistics and a sample of their rows say of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.reflect import no_such_table
from lightvec.search.citus_shards import Shards, shards_of
from lightvec.search.findings import display_name
from lightvec.wire.identifiers import identifier

__all__ = ["NEVER_ANALYZED", "Partition", "Sample", "Table", "VectorColumn", "vector_tables"]

#: How much of a table is read; of a larger one, that much in random pages.
_SAMPLE_BYTES = 64 << 20

# Whether a table p in the schema pn was surely never analyzed: reltuples is -1, or CREATE INDEX counted the rows, and
# the columns have no statistics. pg_stats hides those of tables that the user may not read, and under row-level
# security. Nobody analyzes an empty partition.
NEVER_ANALYZED = """(p.relkind <> 'p' AND pg_catalog.pg_relation_size(p.oid) > 0 AND (
    p.reltuples < 0 OR p.reltuples > 0 AND pg_catalog.has_any_column_privilege(p.oid, 'SELECT')
    AND NOT pg_catalog.row_security_active(p.oid) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stats ps WHERE ps.schemaname = pn.nspname AND ps.tablename = p.relname)))"""

# A bit column counts as vectors where it has a vector index. A table includes its partitions.
_COLUMNS = f"""\
SELECT c.oid::int8, n.nspname, c.relname, a.attname, t.typname,
    nullif(CASE d.typbasetype WHEN 0 THEN a.atttypmod ELSE d.typtypmod END, -1),
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
    size.*
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
CROSS JOIN LATERAL (
    SELECT sum(pg_catalog.pg_table_size(p.oid))::int8 AS bytes, sum(greatest(p.reltuples, 0))::float8 AS rows,
        jsonb_agg(jsonb_build_array(pn.nspname, p.relname, coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0),
            coalesce(s.n_tup_upd, 0), coalesce(s.n_tup_hot_upd, 0),
            coalesce((SELECT option_value::int FROM pg_catalog.pg_options_to_table(p.reloptions)
                WHERE option_name = 'fillfactor'), 100)) ORDER BY pn.nspname, p.relname),
        bool_or({NEVER_ANALYZED}),
        max(greatest(s.last_analyze, s.last_autoanalyze)), max(greatest(s.last_vacuum, s.last_autovacuum))
    FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
    LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = p.oid
    WHERE p.oid = c.oid OR p.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) size
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND (t.typname IN ('vector', 'halfvec', 'sparsevec') AND t.typnamespace = (
        SELECT extnamespace FROM pg_catalog.pg_extension WHERE extname = 'vector')
    OR t.typname = 'bit' AND EXISTS (
        SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
        JOIN pg_catalog.pg_am m ON m.oid = ic.relam AND m.amname IN ('hnsw', 'ivfflat')
        WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum))
  AND CASE WHEN %s THEN c.oid = ANY (%s::oid[]) ELSE NOT c.relispartition AND (%s::text IS NULL OR n.nspname = %s) END
ORDER BY n.nspname, c.relname, a.attnum"""

# Not to_regclass(): it raises without USAGE on the schema, which doctor must report.
_OID = """\
SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s
  AND CASE WHEN %s::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = %s END"""

#: Column type to pgvector's function for the length of a vector.
_NORMS: Mapping[str, str] = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}


class Sample(NamedTuple):
    """What a sample of rows showed of a column: its rows, those without a vector, those with one of zeros, and the
    least and the most dimensions (None where unknown)."""

    rows: int
    nulls: int
    zeros: int
    least: int | None
    most: int | None


@dataclass(frozen=True)
class VectorColumn:
    """A vector column and the dimensions that it declares; ``sample`` is None where the user may not read it."""

    name: str
    type: str
    dimensions: int | None
    is_readable: bool
    sample: Sample | None = None


class Partition(NamedTuple):
    """A table or a partition: its rows, live and dead, its updates, and those that are HOT updates."""

    schema: str
    name: str
    live: int
    dead: int
    updated: int
    updated_in_place: int
    fillfactor: int


@dataclass(frozen=True)
class Table:
    """A table with vector columns, its partitions included.

    ``rows`` is exact unless ``is_sample``, else the server's estimate. ``newer`` is the share of rows that are newer
    than an IVFFlat index, by its name. ``partitions`` are the table itself where it has none. On Citus, numbers are
    sums over ``shards``.
    """

    schema: str
    name: str
    size: int
    rows: float
    partitions: Sequence[Partition]
    never_analyzed: bool
    analyzed: Any
    vacuumed: Any
    columns: Sequence[VectorColumn]
    indexes: Sequence[ExistingIndex]
    is_sample: bool = False
    newer: Mapping[str, float] = field(default_factory=dict)
    shards: Shards | None = None

    @property
    def display_name(self) -> str:
        """Its name as messages show it."""
        return display_name(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return identifier(self.schema, self.name)

    def indexes_of(self, column: VectorColumn) -> list[ExistingIndex]:
        """The vector indexes on a column."""
        return [index for index in self.indexes if index.column == column.name]


def vector_tables(
    database: Pg8000Database, tables: Collection[str] | None = None, schema: str | None = None
) -> list[Table]:
    """The tables with vector columns, of these names or all, with a sample of their rows.

    :class:`~lightvec.errors.SchemaMismatch` for a name that no table has.
    """
    oids = [_oid(database, table, schema) for table in tables or ()]
    rows = database.execute_sql(_COLUMNS, (bool(oids), oids, schema, schema)).fetchall()
    indexes = vector_indexes(database) if rows else []
    found: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return [_sampled(database, _on_shards(database, _table(each, indexes))) for each in found.values()]


def _oid(database: Pg8000Database, table: str, schema: str | None) -> int:
    row = database.execute_sql(_OID, (table, schema, schema)).fetchone()
    if row is None:
        raise no_such_table(database, table, schema)
    return int(row[0])


def _table(rows: Sequence[Sequence[Any]], indexes: Sequence[ExistingIndex]) -> Table:
    _, schema, name, _, _, _, _, size, count, partitions, never_analyzed, analyzed, vacuumed = rows[0]
    partitions = [Partition(*partition) for partition in partitions]
    names = {(partition.schema, partition.name) for partition in partitions}
    return Table(
        schema,
        name,
        size or 0,
        count,
        partitions,
        bool(never_analyzed),
        analyzed,
        vacuumed,
        columns=[VectorColumn(*row[3:7]) for row in rows],
        indexes=[index for index in indexes if (index.table_schema, index.table) in names],
    )


def _on_shards(database: Pg8000Database, table: Table) -> Table:
    """The table with the sums over its shards, if it has any: on the coordinator it has no rows."""
    shards = shards_of(database, table.schema, table.name)
    if shards is None:
        return table
    written = {name: shards.total(name) for name in ("live", "dead", "updated", "updated_in_place")}
    return replace(
        table,
        size=shards.total("size"),
        rows=shards.total("rows"),
        partitions=[partition._replace(**written) for partition in table.partitions],
        never_analyzed=any(shards.all("never_analyzed")),
        analyzed=shards.earliest("analyzed"),
        vacuumed=shards.earliest("vacuumed"),
        indexes=[replace(index, size=sum(shards.index_sizes(index.name))) for index in table.indexes],
        shards=shards,
    )


def _sampled(database: Pg8000Database, table: Table) -> Table:
    """The table with a sample of its rows, which is all of them on a small one."""
    share = min(1.0, _SAMPLE_BYTES / max(table.size, 1))
    columns = [
        replace(column, sample=_sample(database, table, column, share)) if column.is_readable else column
        for column in table.columns
    ]
    samples = [column.sample for column in columns if column.sample]
    if not samples:
        return table
    # On Citus the coordinator does not know which transaction wrote a row.
    lists = [index for index in table.indexes if index.method == "ivfflat" and index.valid and not table.shards]
    rows = samples[0].rows if share == 1 else table.rows
    newer = {index.name: _newer(database, table, index, share) for index in lists if rows}
    return replace(table, columns=columns, rows=rows, is_sample=share < 1, newer=newer)


def _sample(database: Pg8000Database, table: Table, column: VectorColumn, share: float) -> Sample:
    schema, name = database.extension().schema, identifier(column.name)
    norm, dimensions = _NORMS.get(column.type), f"{identifier(schema, 'vector_dims')}({name})"
    is_zero = f"{identifier(schema, norm)}({name}) = 0" if norm else "false"
    if column.type not in ("vector", "halfvec"):
        dimensions = "NULL::int"
    sql = (
        f"SELECT count(*), count(*) - count({name}), count(*) FILTER (WHERE {is_zero}), min({dimensions}), "
        f"max({dimensions}) FROM {table.sql} TABLESAMPLE SYSTEM (%s)"
    )
    return Sample(*database.execute_sql(sql, (100 * share,)).fetchall()[0])


def _newer(database: Pg8000Database, table: Table, index: ExistingIndex, share: float) -> float:
    """The share of rows that a later transaction wrote than the one that built the index, or ran REINDEX."""
    sql = (
        "SELECT coalesce(avg((age(xmin) < (SELECT age(xmin) FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)))::int"
        f"), 0)::float8 FROM {table.sql} TABLESAMPLE SYSTEM (%s)"
    )
    return float(database.execute_sql(sql, (identifier(index.schema, index.name), 100 * share)).fetchall()[0][0])
