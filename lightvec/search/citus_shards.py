"""Tables on Citus: their shards, what each reports of its rows and indexes, and what doctor says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from lightvec.errors import SchemaMismatch
from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.citus import TableDistribution, table_distribution
from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import OK, Finding, display_name, finding, format_size
from lightvec.wire.identifiers import identifier, text_literal

__all__ = ["Shard", "Shards", "node_findings", "shard_findings", "shards_of"]

#: Each search reads all shards. On 2 cores one of 20,000 embeddings took 6 ms over 4 shards, 12 over 8, 36 over 16 and
#: 49 over 32, which is Citus's default; of the 10 nearest it found 0.998 over 4 and all over 8.
_MANY_SHARDS = 15
#: How many times the mean the largest shard may have, on tables of at least this many rows.
_UNEVEN, _MANY_ROWS = 3, 10_000

# Run on each shard, by its name: the table on the coordinator has no rows, and its indexes are empty.
_FACTS = """\
SELECT jsonb_build_object('size', pg_table_size(c.oid), 'total', pg_total_relation_size(c.oid),
    'rows', greatest(c.reltuples, 0), 'never_analyzed', c.reltuples < 0 OR c.reltuples > 0 AND NOT EXISTS (
        SELECT FROM pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname),
    'live', coalesce(s.n_live_tup, 0), 'dead', coalesce(s.n_dead_tup, 0), 'updated', coalesce(s.n_tup_upd, 0),
    'updated_in_place', coalesce(s.n_tup_hot_upd, 0), 'analyzed', greatest(s.last_analyze, s.last_autoanalyze),
    'vacuumed', greatest(s.last_vacuum, s.last_autovacuum),
    'indexes', (SELECT jsonb_object_agg(ic.relname, jsonb_build_array(pg_relation_size(ic.oid), i.indisvalid))
        FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
        WHERE i.indrelid = c.oid AND m.amname IN ('hnsw', 'ivfflat')))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = to_regclass(%1$L)"""

_SHARDS = """\
SELECT r.shardid, r.success, r.result, p.nodes
FROM run_command_on_shards(to_regclass(%s), %s) r
CROSS JOIN LATERAL (
    SELECT array_agg(s.nodename || ':' || s.nodeport ORDER BY s.nodename, s.nodeport) AS nodes
    FROM pg_catalog.citus_shards s WHERE s.shardid = r.shardid) p
ORDER BY r.shardid"""

_NODES = """\
SELECT nodename || ':' || nodeport, isactive, groupid = 0,
    (SELECT count(*) FROM pg_catalog.pg_dist_placement p WHERE p.groupid = n.groupid)::int
FROM pg_catalog.pg_dist_node n WHERE noderole = 'primary' ORDER BY groupid"""


class Shard(NamedTuple):
    """A shard: its number, the nodes that have it, and what the first of them reports (``_FACTS``).

    ``indexes`` are sizes in bytes and whether they are valid, by the names of the indexes on the whole table.
    """

    id: int
    nodes: Sequence[str]
    facts: Mapping[str, Any]
    indexes: Mapping[str, tuple[int, bool]]


class Shards(NamedTuple):
    """How a table is distributed, and its shards."""

    standing: TableDistribution
    shards: Sequence[Shard]

    def all(self, fact: str) -> list[Any]:
        """A fact of each shard."""
        return [shard.facts[fact] for shard in self.shards]

    def total(self, fact: str) -> Any:
        """The sum of a number of each shard; of a reference table, which is whole on each node, that number."""
        return sum(self.all(fact))

    def earliest(self, fact: str) -> datetime | None:
        """The earliest of a time of each shard; None where one has none."""
        times = self.all(fact)
        return None if None in times or not times else min(map(datetime.fromisoformat, times))

    def index_sizes(self, name: str) -> list[int]:
        """The bytes of an index on each shard that has it."""
        return [shard.indexes[name][0] for shard in self.shards if name in shard.indexes]

    @property
    def column(self) -> str:
        """The distribution column."""
        distribution = self.standing.distribution
        return str(distribution.by if distribution else None)


def shards_of(database: Pg8000Database, schema: str, table: str) -> Shards | None:
    """How a table is distributed; None without Citus, and for a local table."""
    if not database.extension().citus:
        return None
    name = identifier(schema, table)
    found = table_distribution(database, name)
    if found.distribution is None and not found.in_distributed_schema:
        return None
    shards = []
    for number, success, result, nodes in database.execute_sql(_SHARDS, (name, _FACTS)).fetchall():
        if not success:
            raise SchemaMismatch(f"could not read the shard {number} of {name}: {result}")
        facts = json.loads(result)
        sizes = (facts.pop("indexes") or {}).items()
        indexes = {index.removesuffix(f"_{number}"): (int(size), bool(valid)) for index, (size, valid) in sizes}
        shards.append(Shard(number, nodes or (), facts, indexes))
    return Shards(found, shards)


def node_findings(database: Pg8000Database) -> Iterator[Finding]:
    """Findings on the nodes; none without Citus."""
    version = database.extension().citus
    if not version:
        return
    subject = f"Citus {'.'.join(map(str, version))}"
    nodes = database.execute_sql(_NODES).fetchall()
    workers = sum(not is_coordinator for _, _, is_coordinator, _ in nodes)
    shown = ", ".join(f"{name} with {shards:,} shards" for name, _, _, shards in nodes if shards)
    yield Finding(OK, "citus", subject, f"{workers} workers beside the coordinator; {shown or 'no shards yet'}")
    for name, is_active, *_ in nodes:
        if not is_active:
            yield finding("citus_node_inactive", name)
    if not workers:
        yield finding("citus_no_workers", subject)


def shard_findings(schema: str, table: str, indexes: Sequence[ExistingIndex], shards: Shards) -> Iterator[Finding]:
    """Findings on the shards of a table."""
    subject, number = display_name(schema, table), len(shards.shards)
    yield Finding(OK, "shards", subject, _distribution(shards))
    if number > _MANY_SHARDS:
        literal = text_literal(identifier(schema, table))
        yield finding("many_shards", subject, column=shards.column, shards=number, table=literal)
    rows = shards.all("rows")
    if sum(rows) >= _MANY_ROWS and max(rows) > _UNEVEN * sum(rows) / number:
        largest = shards.shards[rows.index(max(rows))].id
        values = {"rows": max(rows), "mean": sum(rows) / number, "column": shards.column}
        yield finding("uneven_shards", subject, shard=largest, **values)
    for index in indexes:
        if sizes := shards.index_sizes(index.name):
            what = f"{_range(sizes, format_size)} on each of {len(sizes)} shards"
            yield Finding(OK, "index_on_shards", index.name, what)
        for shard in shards.shards:
            _, is_valid = shard.indexes.get(index.name, (0, False))
            if not is_valid:
                state = "invalid" if index.name in shard.indexes else "missing"
                values = {"state": state, "shard": shard.id, "nodes": ", ".join(shard.nodes)}
                yield finding("index_not_on_shard", index.name, name=identifier(schema, index.name), **values)


def _distribution(shards: Shards) -> str:
    distribution, number = shards.standing.distribution, len(shards.shards)
    nodes = sorted({node for shard in shards.shards for node in shard.nodes})
    kind = f"distributed by {distribution.by}" if distribution and distribution.by else str(shards.standing)
    where = f"{number} shard{'s' if number != 1 else ''} on {len(nodes)} node{'s' if len(nodes) != 1 else ''}"
    rows, sizes = _range(shards.all("rows"), "{:,.0f}".format), _range(shards.all("total"), format_size)
    return f"{kind}, {where} ({', '.join(nodes)}): {rows} rows, {sizes} each"


def _range(numbers: Sequence[float], shown: Any) -> str:
    least, most = shown(min(numbers)), shown(max(numbers))
    return least if least == most else f"{least} to {most}"
