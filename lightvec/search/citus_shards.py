"""Tables and nodes of Citus: what each shard and node reports, and what doctor finds in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.citus import TableDistribution, table_distribution
from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import OK, Finding, display_name, finding, format_size
from lightvec.wire.identifiers import identifier, text_literal

__all__ = ["BUILDS", "Node", "Shards", "node_findings", "read_nodes", "shard_findings", "shards_of"]

#: Each search reads all shards. On 2 cores one of 20,000 embeddings took 6 ms over 4 shards, 12
#: over 8, 36 over 16 and 49 over 32, the default; it found 0.998 of the 10 nearest over 4.
_MANY_SHARDS = 15
#: How many times the mean the largest shard may have, on tables of at least this many rows.
_UNEVEN, _MANY_ROWS = 3, 10_000

# The running builds on a table p whose index other sessions do not see yet. A plain CREATE INDEX
# goes on when its client is gone.
BUILDS = """\
coalesce((SELECT jsonb_agg(jsonb_build_object('pid', b.pid, 'phase', b.phase,
        'since', to_char(a.query_start, 'YYYY-MM-DD HH24:MI')) ORDER BY b.pid)
    FROM pg_catalog.pg_stat_progress_create_index b
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
    WHERE b.relid = p.oid AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = b.index_relid)), '[]')"""

# Run on each shard, by its name: the table on the coordinator has no rows, and its indexes are
# empty.
_FACTS = f"""\
SELECT jsonb_build_object('size', pg_table_size(p.oid), 'total', pg_total_relation_size(p.oid),
    'rows', greatest(p.reltuples, 0), 'builds', {BUILDS},
    'never_analyzed', p.reltuples < 0 OR p.reltuples > 0 AND NOT EXISTS (
        SELECT FROM pg_stats ps WHERE ps.schemaname = n.nspname AND ps.tablename = p.relname),
    'live', coalesce(s.n_live_tup, 0), 'dead', coalesce(s.n_dead_tup, 0),
    'updated', coalesce(s.n_tup_upd, 0), 'hot', coalesce(s.n_tup_hot_upd, 0),
    'analyzed', greatest(s.last_analyze, s.last_autoanalyze),
    'vacuumed', greatest(s.last_vacuum, s.last_autovacuum),
    'indexes', (SELECT jsonb_object_agg(ic.relname, jsonb_build_array(
            pg_relation_size(ic.oid), i.indisvalid, coalesce(si.idx_scan, 0)))
        FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
        LEFT JOIN pg_stat_all_indexes si ON si.indexrelid = ic.oid
        WHERE i.indrelid = p.oid AND m.amname IN ('hnsw', 'ivfflat')))
FROM pg_class p JOIN pg_namespace n ON n.oid = p.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = p.oid WHERE p.oid = to_regclass(%1$L)"""

# Not citus_shards, which asks every node for sizes.
_SHARDS = """\
SELECT r.shardid, r.success, r.result, p.nodes
FROM run_command_on_shards(to_regclass(%s), %s) r
CROSS JOIN LATERAL (
    SELECT array_agg(n.nodename || ':' || n.nodeport ORDER BY n.nodename, n.nodeport) AS nodes
    FROM pg_catalog.pg_dist_placement d JOIN pg_catalog.pg_dist_node n USING (groupid)
    WHERE d.shardid = r.shardid AND n.noderole = 'primary') p
ORDER BY r.shardid"""

_NODES = """\
SELECT nodename || ':' || nodeport, isactive, groupid = 0,
    (SELECT count(*) FROM pg_catalog.pg_dist_placement p WHERE p.groupid = n.groupid)::int,
    r.success, r.result
FROM pg_catalog.pg_dist_node n LEFT JOIN run_command_on_all_nodes(%s) r USING (nodeid)
WHERE noderole = 'primary' ORDER BY groupid"""

_MEMORY = """\
SELECT jsonb_object_agg(name, pg_size_bytes(current_setting(name)))
FROM unnest(ARRAY['shared_buffers', 'effective_cache_size', 'maintenance_work_mem']) name"""


class ShardIndex(NamedTuple):
    """An index on a shard: its bytes, whether it is valid, and how many searches used it."""

    size: int
    valid: bool
    scans: int


class Shard(NamedTuple):
    """A shard: its number, its nodes, and what the first of them reports.

    ``indexes`` are by the names of the indexes on the whole table.
    """

    id: int
    nodes: Sequence[str]
    facts: Mapping[str, Any]
    indexes: Mapping[str, ShardIndex]


class Shards(NamedTuple):
    """How a table is distributed, its shards, and the errors of those that could not be read."""

    standing: TableDistribution
    shards: Sequence[Shard]
    errors: Mapping[int, str]

    def all(self, fact: str) -> list[Any]:
        return [shard.facts[fact] for shard in self.shards]

    def total(self, fact: str) -> Any:
        """The sum of a number; a reference table, which is whole on each node, is one shard."""
        return sum(self.all(fact))

    def earliest(self, fact: str) -> datetime | None:
        """The earliest of a time of each shard; None where one has none."""
        times = self.all(fact)
        return None if None in times or not times else min(map(datetime.fromisoformat, times))

    def indexes(self, name: str) -> list[tuple[Shard, ShardIndex]]:
        return [(shard, shard.indexes[name]) for shard in self.shards if name in shard.indexes]


class Node(NamedTuple):
    """A node, how many shards it has, and its memory settings in bytes, or why it did not answer."""

    name: str
    is_active: bool
    is_coordinator: bool
    shards: int
    memory: Mapping[str, int]
    error: str


def shards_of(database: Pg8000Database, schema: str, table: str) -> Shards | None:
    """How a table is distributed; None without Citus, and for a local table."""
    if not database.extension().citus:
        return None
    name = identifier(schema, table)
    found = table_distribution(database, name)
    if found.distribution is None and not found.in_distributed_schema:
        return None
    return read_shards(found, database.execute_sql(_SHARDS, (name, _FACTS)).fetchall())


def read_shards(found: TableDistribution, rows: Sequence[Sequence[Any]]) -> Shards:
    """The shards from the number, success, result and nodes of each."""
    shards, errors = [], {}
    for number, success, result, nodes in rows:
        if not success:
            errors[number] = f"{', '.join(nodes or ())}: {result}"
            continue
        facts = json.loads(result)
        indexes = {
            index.removesuffix(f"_{number}"): ShardIndex(*values)
            for index, values in (facts.pop("indexes") or {}).items()
        }
        shards.append(Shard(number, nodes or (), facts, indexes))
    return Shards(found, shards, errors)


def read_nodes(database: Pg8000Database) -> list[Node]:
    if not database.extension().citus:
        return []
    nodes = []
    for row in database.execute_sql(_NODES, (_MEMORY,)).fetchall():
        # An inactive node is not asked: success is NULL.
        name, is_active, is_coordinator, shards, success, result = row
        memory = json.loads(result) if success else {}
        error = result if success is False else ""
        nodes.append(Node(name, is_active, is_coordinator, shards, memory, error))
    return nodes


def node_findings(version: Sequence[int], nodes: Sequence[Node]) -> Iterator[Finding]:
    subject = f"Citus {'.'.join(map(str, version))}"
    workers = sum(not node.is_coordinator for node in nodes)
    shown = ", ".join(f"{node.name} with {node.shards:,} shards" for node in nodes if node.shards)
    what = f"{workers} workers beside the coordinator; {shown or 'no shards yet'}"
    yield Finding(OK, "citus", subject, what)
    for node in nodes:
        if not node.is_active:
            yield finding("citus_node_inactive", node.name)
        elif node.error:
            yield finding("citus_node_unreachable", node.name, error=node.error)
    if not workers:
        yield finding("citus_no_workers", subject)


def shard_findings(schema: str, table: str, indexes: Sequence[ExistingIndex], shards: Shards) -> Iterator[Finding]:
    subject = display_name(schema, table)
    for number, error in shards.errors.items():
        yield finding("shard_unreachable", subject, shard=number, error=error)
    if not shards.shards:
        return
    yield Finding(OK, "shards", subject, _distribution(shards))
    count, rows = len(shards.shards), shards.all("rows")
    column = str(shards.standing.distribution and shards.standing.distribution.by)
    if count > _MANY_SHARDS:
        literal = text_literal(identifier(schema, table))
        yield finding("many_shards", subject, column=column, shards=count, table=literal)
    mean = sum(rows) / count
    if sum(rows) >= _MANY_ROWS and max(rows) > _UNEVEN * mean:
        largest = shards.shards[rows.index(max(rows))].id
        values = {"rows": max(rows), "mean": mean, "column": column}
        yield finding("uneven_shards", subject, shard=largest, **values)
    for index in indexes:
        if sizes := [part.size for _, part in shards.indexes(index.name)]:
            what = f"{_range(sizes, format_size)} on each of {len(sizes)} shards"
            yield Finding(OK, "index_on_shards", index.name, what)
        for shard in shards.shards:
            part = shard.indexes.get(index.name)
            if part is None or not part.valid:
                state = "invalid" if part else "missing"
                values = {"state": state, "shard": shard.id, "nodes": ", ".join(shard.nodes)}
                name = identifier(schema, index.name)
                yield finding("index_not_on_shard", index.name, name=name, **values)


def _distribution(shards: Shards) -> str:
    distribution, count = shards.standing.distribution, len(shards.shards)
    nodes = sorted({node for shard in shards.shards for node in shard.nodes})
    column = distribution.by if distribution else None
    kind = f"distributed by {column}" if column else str(shards.standing)
    where = f"{count} shard{'s'[: count != 1]} on {len(nodes)} node{'s'[: len(nodes) != 1]}"
    rows = _range(shards.all("rows"), "{:,.0f}".format)
    sizes = _range(shards.all("total"), format_size)
    return f"{kind}, {where} ({', '.join(nodes)}): {rows} rows, {sizes} each"


def _range(numbers: Sequence[float], shown: Any) -> str:
    least, most = shown(min(numbers)), shown(max(numbers))
    return least if least == most else f"{least} to {most}"
