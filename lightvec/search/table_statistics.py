"""Tables with vector columns: the catalog, the statistics and a sample of their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from peewee import SCOPE_VALUES, DatabaseError

from lightvec.errors import InvalidOption
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.column_comments import Origin, origin_in
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.embedding_source import is_pending
from lightvec.peewee.reflect import model_of, no_such_table
from lightvec.search.citus_shards import BUILDS, Shards, shards_of
from lightvec.search.findings import display_name
from lightvec.wire.identifiers import identifier

__all__ = ["NEVER_ANALYZED", "Table", "VectorColumn", "vector_tables"]

#: How much of a table is read; of a larger one, this much in random pages.
_SAMPLE_BYTES = 64 << 20

# Whether a table p in the schema pn was surely never analyzed: reltuples is -1, or CREATE INDEX
# counted the rows, and the columns have no statistics. pg_stats hides those of tables that the
# user may not read, and under row-level security. Nobody analyzes an empty partition.
NEVER_ANALYZED = """(p.relkind <> 'p' AND pg_catalog.pg_relation_size(p.oid) > 0 AND (
    p.reltuples < 0 OR p.reltuples > 0 AND pg_catalog.has_any_column_privilege(p.oid, 'SELECT')
    AND NOT pg_catalog.row_security_active(p.oid) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stats ps
        WHERE ps.schemaname = pn.nspname AND ps.tablename = p.relname)))"""

# A bit column counts as vectors where it has a vector index. A table includes its partitions.
_COLUMNS = f"""\
SELECT c.oid::int8, n.nspname, c.relname, a.attname, t.typname,
    nullif(CASE d.typbasetype WHEN 0 THEN a.atttypmod ELSE d.typtypmod END, -1),
    pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
    pg_catalog.col_description(c.oid, a.attnum),
    size.*
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
CROSS JOIN LATERAL (
    SELECT sum(pg_catalog.pg_table_size(p.oid))::float8, sum(greatest(p.reltuples, 0))::float8,
        jsonb_agg(jsonb_build_object('schema', pn.nspname, 'table', p.relname,
            'live', coalesce(s.n_live_tup, 0), 'dead', coalesce(s.n_dead_tup, 0),
            'updated', coalesce(s.n_tup_upd, 0), 'hot', coalesce(s.n_tup_hot_upd, 0),
            'builds', {BUILDS}, 'scans', coalesce((
                SELECT jsonb_object_agg(x.indexrelname, x.idx_scan)
                FROM pg_catalog.pg_stat_all_indexes x WHERE x.relid = p.oid), '{{}}'),
            'fillfactor', coalesce((
                SELECT option_value::int FROM pg_catalog.pg_options_to_table(p.reloptions)
                WHERE option_name = 'fillfactor'), 100)) ORDER BY pn.nspname, p.relname),
        coalesce(bool_or({NEVER_ANALYZED}), false),
        max(greatest(s.last_analyze, s.last_autoanalyze)),
        max(greatest(s.last_vacuum, s.last_autovacuum))
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
  AND CASE WHEN %s THEN c.oid = ANY (%s::oid[])
      ELSE NOT c.relispartition AND (%s::text IS NULL OR n.nspname = %s) END
ORDER BY n.nspname, c.relname, a.attnum"""

# Not to_regclass(): it raises without USAGE on the schema, which doctor must report.
_OID = """\
SELECT c.oid::int8
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s AND CASE WHEN %s::text IS NULL
    THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = %s END"""

#: Column type to pgvector's function for the length of a vector.
_NORMS: Mapping[str, str] = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}


class Sample(NamedTuple):
    """Rows of a sample, those without a vector and with zeros, and the least and most dimensions.

    ``pending`` are those whose vector was not made of their present text.
    """

    rows: int
    nulls: int
    zeros: int
    least: int | None
    most: int | None
    pending: int


@dataclass
class VectorColumn:
    """A vector column and its declared dimensions; ``sample`` is None where it was not read."""

    name: str
    type: str
    dimensions: int | None
    is_readable: bool
    comment: str | None
    sample: Sample | None = None

    @property
    def origin(self) -> Origin | None:
        """The embedding model and the source that the comment names."""
        return origin_in(self.comment)


@dataclass
class Table:
    """A table with vector columns, its partitions included.

    ``rows`` is exact unless ``is_sample``, else the server's estimate. ``partitions`` are rows of
    statistics: of the table itself where it has none. ``newer`` is the share of rows that are newer
    than an IVFFlat index, by its name. ``error`` says why the rows could not be read. On Citus,
    numbers are sums over ``shards``.
    """

    schema: str
    name: str
    size: float
    rows: float
    partitions: Sequence[Mapping[str, Any]]
    never_analyzed: bool
    analyzed: Any
    vacuumed: Any
    columns: Sequence[VectorColumn]
    indexes: Sequence[ExistingIndex]
    is_sample: bool = False
    newer: dict[str, float] = field(default_factory=dict)
    shards: Shards | None = None
    error: str = ""

    @property
    def display_name(self) -> str:
        return display_name(self.schema, self.name)

    @property
    def sql(self) -> str:
        return identifier(self.schema, self.name)

    @property
    def sampling(self) -> str:
        """The clause after the table that reads a sample, which is all rows of a small table."""
        share = min(1.0, _SAMPLE_BYTES / max(self.size, 1))
        # Not a parameter: Citus does not pass one on to the only shard of a table.
        return f"TABLESAMPLE SYSTEM ({100 * share:.9f})"

    def indexes_of(self, column: str) -> list[ExistingIndex]:
        return [index for index in self.indexes if index.column == column]

    def index_parts(self, index: ExistingIndex) -> list[tuple[str, int]]:
        """The bytes of an index and the node that has them, by shard; without shards, one unnamed."""
        if self.shards is None:
            return [("", index.size)]
        parts = self.shards.indexes(index.name)
        return [(node, part.size) for shard, part in parts for node in shard.nodes]

    def scans(self, index: ExistingIndex) -> int:
        if self.shards is not None:
            return sum(part.scans for _, part in self.shards.indexes(index.name))
        own = (index.table_schema, index.table)
        scans = (each["scans"] for each in self.partitions if (each["schema"], each["table"]) == own)
        return sum(each.get(index.name, 0) for each in scans)


def vector_tables(
    database: Pg8000Database, tables: Collection[str] | None = None, schema: str | None = None
) -> list[Table]:
    """The tables with vector columns, of these names or all, with a sample of their rows.

    :class:`~lightvec.errors.SchemaMismatch` for a name that no table has.
    """
    oids = [_oid(database, table, schema) for table in tables or ()]
    rows = database.execute_sql(_COLUMNS, (bool(oids), oids, schema, schema)).fetchall()
    indexes = vector_indexes(database) if rows else []
    by_table: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        by_table.setdefault(row[0], []).append(row)
    found = [_table(each, indexes) for each in by_table.values()]
    for table in found:
        try:
            # In a transaction of the caller, an error must not abort the rest of it.
            with database.atomic():
                _add_shards(database, table)
                _add_sample(database, table)
        except InvalidOption as error:  # A source that was renamed.
            table.error = str(error)
        except DatabaseError as error:
            if not database.is_connection_usable():
                raise
            table.error = str(error)
    return found


def _oid(database: Pg8000Database, table: str, schema: str | None) -> int:
    row = database.execute_sql(_OID, (table, schema, schema)).fetchone()
    if row is None:
        raise no_such_table(database, table, schema)
    return int(row[0])


def _table(rows: Sequence[Sequence[Any]], indexes: Sequence[ExistingIndex]) -> Table:
    _, schema, name, *_, size, count, partitions, never_analyzed, analyzed, vacuumed = rows[0]
    names = {(partition["schema"], partition["table"]) for partition in partitions}
    return Table(
        schema,
        name,
        size or 0,
        count,
        partitions,
        never_analyzed,
        analyzed,
        vacuumed,
        columns=[VectorColumn(*row[3:8]) for row in rows],
        indexes=[index for index in indexes if (index.table_schema, index.table) in names],
    )


def _add_shards(database: Pg8000Database, table: Table) -> None:
    """The sums over the shards of a table, if it has any: on the coordinator it has no rows."""
    shards = table.shards = shards_of(database, table.schema, table.name)
    if shards is None:
        return
    written: dict[str, Any] = {name: shards.total(name) for name in ("live", "dead", "updated", "hot")}
    written["builds"] = [build for builds in shards.all("builds") for build in builds]
    table.partitions = [{**partition, **written} for partition in table.partitions]
    table.size, table.rows = shards.total("size"), shards.total("rows")
    table.never_analyzed = any(shards.all("never_analyzed"))
    table.analyzed, table.vacuumed = shards.earliest("analyzed"), shards.earliest("vacuumed")
    table.indexes = [
        replace(index, size=sum(part.size for _, part in shards.indexes(index.name))) for index in table.indexes
    ]


def _add_sample(database: Pg8000Database, table: Table) -> None:
    """A sample of the rows, which is all of them on a small table."""
    sampled = f"{table.sql} {table.sampling}"
    for column in table.columns:
        if column.is_readable:
            column.sample = _sample(database, table, column, sampled)
    samples = [column.sample for column in table.columns if column.sample]
    if not samples:
        return
    table.is_sample = table.size > _SAMPLE_BYTES
    if not table.is_sample:
        table.rows = samples[0].rows
    for index in table.indexes:
        # On Citus the coordinator does not know which transaction wrote a row.
        if index.method == "ivfflat" and index.valid and table.rows and not table.shards:
            table.newer[index.name] = _newer(database, index, sampled)


def _sample(database: Pg8000Database, table: Table, column: VectorColumn, sampled: str) -> Sample:
    schema, name = database.extension().schema, identifier(column.name)
    norm, dimensions = _NORMS.get(column.type), f"{identifier(schema, 'vector_dims')}({name})"
    is_zero = f"{identifier(schema, norm)}({name}) = 0" if norm else "false"
    if column.type not in ("vector", "halfvec"):
        dimensions = "NULL::int"
    sql = (
        f"SELECT count(*), count(*) - count({name}), count(*) FILTER (WHERE {is_zero}), "
        f"min({dimensions}), max({dimensions}), "
        f"count(*) FILTER (WHERE {_pending(database, table, column)}) FROM {sampled}"
    )
    return Sample(*database.execute_sql(sql).fetchall()[0])


def _pending(database: Pg8000Database, table: Table, column: VectorColumn) -> str:
    """The condition of the rows whose vector was not made of their present text."""
    if not (column.origin and column.origin.source):
        return "false"
    model: Any = model_of(database, table.name, table.schema)
    field = model._meta.columns[column.name]
    if not field.source:
        names = ", ".join(column.origin.source)
        raise InvalidOption(
            f"the comment of the column {column.name} says that its vectors are of {names}, "
            f"and there is no such column, or no {column.name}_hash"
        )
    context = database.get_sql_context(scope=SCOPE_VALUES)
    sql, _ = context.sql(is_pending(field)).query()
    return str(sql)


def _newer(database: Pg8000Database, index: ExistingIndex, sampled: str) -> float:
    """The share of rows that a later transaction wrote than the one that built the index."""
    sql = (
        "SELECT coalesce(avg((age(xmin) < (SELECT age(xmin) FROM pg_catalog.pg_class "
        f"WHERE oid = to_regclass(%s)))::int), 0)::float8 FROM {sampled}"
    )
    return float(database.execute_sql(sql, (identifier(index.schema, index.name),)).fetchall()[0][0])
