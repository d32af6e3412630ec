"""Tables with vector columns: what the catalog and the statistics say of them, and what a look at their rows shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightvec.peewee.catalog import StandingIndex, vector_indexes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.reflect import no_table
from lightvec.search.findings import told_name
from lightvec.search.shards import Shards, behind
from lightvec.wire.identifiers import identifier

__all__ = ["NEVER_ANALYZED", "Part", "Seen", "Table", "VectorColumn", "vector_tables"]

#: What is read of a table to count its rows; of a larger one that much is taken, page by page at random.
_MOST_BYTES = 64 << 20

# Whether a table p in the schema pn was surely never analysed. The server counts the rows of one that it never counted
# as -1; CREATE INDEX counts them, too, and leaves the columns without statistics. Those are shown to who may read the
# table, and not where policies hide rows. Nobody analyses an empty partition.
NEVER_ANALYZED = """(p.relkind <> 'p' AND pg_catalog.pg_relation_size(p.oid) > 0 AND (
    p.reltuples < 0 OR p.reltuples > 0 AND pg_catalog.has_any_column_privilege(p.oid, 'SELECT')
    AND NOT pg_catalog.row_security_active(p.oid) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stats ps WHERE ps.schemaname = pn.nspname AND ps.tablename = p.relname)))"""

# A column of bits is one of vectors where it has a vector index. The partitions of a table count as the table.
_COLUMNS = f"""\
SELECT c.oid::int8, n.nspname, c.relname, a.attname, t.typname,
    nullif(CASE d.typbasetype WHEN 0 THEN a.atttypmod ELSE d.typtypmod END, -1),
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
    size.bytes, size.rows, size.parts, size.unseen,
    size.analyzed, size.vacuumed
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
                WHERE option_name = 'fillfactor'), 100)) ORDER BY pn.nspname, p.relname) AS parts,
        max(greatest(s.last_analyze, s.last_autoanalyze)) AS analyzed,
        max(greatest(s.last_vacuum, s.last_autovacuum)) AS vacuumed,
        bool_or({NEVER_ANALYZED}) AS unseen
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

#: Column type to pgvector's function for the length of a vector, and to that for its dimensions.
_NORMS: Mapping[str, str] = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}
_COUNTABLE = ("vector", "halfvec")


@dataclass(frozen=True)
class Seen:
    """What a look at a table's rows showed: how many they were, how many have no vector and how many one of zeros.

    ``dimensions`` are the least and the most; None where there is no vector or nobody can say.
    """

    rows: int
    nulls: int = 0
    zeros: int = 0
    dimensions: tuple[int, int] | None = None


@dataclass(frozen=True)
class VectorColumn:
    """A vector column; ``dimensions`` are those that it declares. ``seen`` is None where it may not be read."""

    name: str
    type: str
    dimensions: int | None
    is_readable: bool
    seen: Seen | None = None


@dataclass(frozen=True)
class Part:
    """A table or a partition, and what was written to it: rows, live and dead, and updates, some of them in place."""

    schema: str
    name: str
    live: int
    dead: int
    updated: int
    updated_in_place: int
    fillfactor: int

    @property
    def told(self) -> str:
        """Its name as it is told."""
        return told_name(self.schema, self.name)


@dataclass(frozen=True)
class Table:
    """A table with vector columns, its partitions included.

    ``rows`` is exact where ``is_sample`` is false, else what the server last counted; ``late`` is, by the name of an
    IVFFlat index, the share of the rows that are newer than it. ``parts`` are its partitions, or itself. ``shards`` are
    Citus's, of which the numbers are sums then.
    """

    schema: str
    name: str
    size: int
    rows: float
    never_analyzed: bool
    analyzed: Any
    vacuumed: Any
    parts: tuple[Part, ...]
    columns: tuple[VectorColumn, ...]
    indexes: tuple[StandingIndex, ...]
    is_sample: bool = False
    late: Mapping[str, float] = field(default_factory=dict)
    shards: Shards | None = None

    @property
    def told(self) -> str:
        """Its name as it is told."""
        return told_name(self.schema, self.name)

    @property
    def updated(self) -> int:
        """How many updates there were."""
        return sum(part.updated for part in self.parts)

    def indexes_of(self, column: VectorColumn) -> list[StandingIndex]:
        """The vector indexes on a column."""
        return [index for index in self.indexes if index.column == column.name]


def vector_tables(
    database: Pg8000Database, tables: Collection[str] | None = None, schema: str | None = None
) -> list[Table]:
    """The tables with vector columns, of these names or all; their rows have been looked at.

    :class:`~lightvec.errors.SchemaMismatch` for a name that no table has.
    """
    oids = [_oid(database, table, schema) for table in tables or ()]
    rows = database.execute_sql(_COLUMNS, (bool(oids), oids, schema, schema)).fetchall()
    indexes = vector_indexes(database) if rows else []
    found: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return [_looked_at(database, _spread(database, _table(each, indexes))) for each in found.values()]


# Not by to_regclass, which fails for a schema that the user may not use: of that doctor is to tell.
_OID = """\
SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s
  AND CASE WHEN %s::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = %s END"""


def _oid(database: Pg8000Database, table: str, schema: str | None) -> int:
    row = database.execute_sql(_OID, (table, schema, schema)).fetchone()
    if row is None:
        raise no_table(database, table, schema)
    return int(row[0])


def _table(rows: Sequence[Sequence[Any]], indexes: Sequence[StandingIndex]) -> Table:
    _, schema, name, *_, size, counted, members, unseen, analyzed, vacuumed = rows[0]
    parts = tuple(Part(*member) for member in members)
    names = {(part.schema, part.name) for part in parts}
    return Table(
        schema=schema,
        name=name,
        size=size or 0,
        rows=counted,
        never_analyzed=bool(unseen),
        analyzed=analyzed,
        vacuumed=vacuumed,
        parts=parts,
        columns=tuple(VectorColumn(*row[3:7]) for row in rows),
        indexes=tuple(index for index in indexes if (index.table_schema, index.table) in names),
    )


def _written(part: Part, shards: Shards) -> Part:
    """What was written to a table, by its shards."""
    written = {name: shards.total(name) for name in ("live", "dead", "updated")}
    return replace(part, **written, updated_in_place=shards.total("in_place"))


def _spread(database: Pg8000Database, table: Table) -> Table:
    """The table with what its shards say, where it has some: on the coordinator it has no rows."""
    shards = behind(database, table.schema, table.name)
    if shards is None:
        return table
    return replace(
        table,
        size=shards.total("size"),
        rows=shards.total("rows"),
        never_analyzed=any(shard.unseen for shard in shards.shards),
        parts=tuple(_written(part, shards) for part in table.parts),
        analyzed=shards.latest("analyzed"),
        vacuumed=shards.latest("vacuumed"),
        indexes=tuple(replace(index, size=shards.index_size(index.name)) for index in table.indexes),
        shards=shards,
    )


def _looked_at(database: Pg8000Database, table: Table) -> Table:
    """The table after a look at its rows, or at a sample of them, in one pass."""
    if not all(column.is_readable for column in table.columns):
        return table
    # Citus does not say which transaction wrote a row.
    lists = [index for index in table.indexes if index.method == "ivfflat" and index.valid and table.shards is None]
    share = min(1.0, _MOST_BYTES / max(table.size, 1))
    values = (*(identifier(index.schema, index.name) for index in lists), 100 * share)
    sql = _question(table, len(lists), database.extension().schema)
    ((rows, *counts),) = database.execute_sql(sql, values).fetchall()
    number = len(table.columns)
    nulls, zeros, dimensions = counts[:number], counts[number : 2 * number], counts[2 * number : 4 * number]
    columns = []
    for column, null, zero, least, most in zip(
        table.columns, nulls, zeros, dimensions[::2], dimensions[1::2], strict=True
    ):
        seen = Seen(rows, null, zero, None if least is None else (least, most))
        columns.append(replace(column, seen=seen))
    late = {index.name: newer / rows for index, newer in zip(lists, counts[4 * number :], strict=True) if rows}
    return replace(
        table, columns=tuple(columns), rows=rows if share == 1 else table.rows, is_sample=share < 1, late=late
    )


# Rows that a later transaction wrote than the one that built the index, which REINDEX does anew.
_NEWER = """\
, count(*) FILTER (WHERE age(xmin) < (SELECT age(xmin) FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)))"""


def _question(table: Table, lists: int, schema: str) -> str:
    """How many rows there are; for each column those without a vector, then those with one of zeros, then the least
    and the most dimensions; for each IVFFlat index the rows that are newer."""
    columns = table.columns
    nulls = ", ".join(f"count(*) - count({identifier(column.name)})" for column in columns)
    zeros = ", ".join(
        f"count(*) FILTER (WHERE {identifier(schema, _NORMS[column.type])}({identifier(column.name)}) = 0)"
        if column.type in _NORMS
        else "0"
        for column in columns
    )
    dimensions = ", ".join(
        f"min({identifier(schema, 'vector_dims')}({identifier(column.name)})), "
        f"max({identifier(schema, 'vector_dims')}({identifier(column.name)}))"
        if column.type in _COUNTABLE
        else "NULL::int, NULL::int"
        for column in columns
    )
    newer = "".join([_NEWER for _ in range(lists)])
    return (
        f"SELECT count(*), {nulls}, {zeros}, {dimensions}{newer} "
        f"FROM {identifier(table.schema, table.name)} TABLESAMPLE SYSTEM (%s)"
    )
