"""What stands behind a table on Citus: its shards, the nodes that have them, and what these say of rows and indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightvec.errors import SchemaMismatch
from lightvec.peewee.citus import Standing, standing
from lightvec.peewee.database import Pg8000Database
from lightvec.wire.identifiers import identifier

__all__ = ["Shard", "Shards", "behind", "shards_of"]

# Run for each shard, by its name. What Citus keeps of a table on the coordinator has no rows, and its indexes none.
_FACTS = """\
SELECT jsonb_build_object('size', pg_table_size(c.oid), 'total', pg_total_relation_size(c.oid),
    'rows', greatest(c.reltuples, 0), 'unseen', c.reltuples < 0 OR c.reltuples > 0 AND NOT EXISTS (
        SELECT FROM pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname),
    'live', coalesce(s.n_live_tup, 0), 'dead', coalesce(s.n_dead_tup, 0), 'updated', coalesce(s.n_tup_upd, 0),
    'in_place', coalesce(s.n_tup_hot_upd, 0), 'analyzed', greatest(s.last_analyze, s.last_autoanalyze),
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


@dataclass(frozen=True)
class Shard:
    """A shard: its number, the nodes that have it, and what the first of them says of it.

    Sizes are in bytes, ``total`` with all indexes; ``indexes`` are sizes, and whether they are valid, by the names that
    the indexes have on the whole table.
    """

    id: int
    nodes: tuple[str, ...]
    size: int
    total: int
    rows: float
    unseen: bool
    live: int
    dead: int
    updated: int
    in_place: int
    analyzed: str | None
    vacuumed: str | None
    indexes: Mapping[str, tuple[int, bool]]


@dataclass(frozen=True)
class Shards:
    """How a table stands, and its shards."""

    standing: Standing
    shards: Sequence[Shard]

    def total(self, what: str) -> Any:
        """The sum of a number of each shard; of a reference table, which is whole on each node, it is that number."""
        return sum(getattr(shard, what) for shard in self.shards)

    def index_size(self, name: str) -> int:
        """The bytes of an index on all shards."""
        return sum(shard.indexes[name][0] for shard in self.shards if name in shard.indexes)

    def latest(self, what: str) -> Any:
        """The earliest of a time of each shard; None where one has none."""
        times = [getattr(shard, what) for shard in self.shards]
        return None if None in times or not times else min(map(datetime.fromisoformat, times))

    @property
    def nodes(self) -> list[str]:
        """The nodes that have shards."""
        return sorted({node for shard in self.shards for node in shard.nodes})

    def wrong_indexes(self, names: Sequence[str]) -> Iterator[tuple[str, Shard]]:
        """Indexes of the table that a shard does not have, or has in an invalid state."""
        for name in names:
            for shard in self.shards:
                if not shard.indexes.get(name, (0, False))[1]:
                    yield name, shard


def behind(database: Pg8000Database, schema: str | None, table: str) -> Shards | None:
    """What stands behind a table; None where Citus has nothing to do with it."""
    if not database.extension().citus:
        return None
    name = identifier(*filter(None, (schema, table)))
    found = standing(database, name)
    if found.distribution is None and not found.is_in_schema:
        return None
    return Shards(found, shards_of(database, name))


def shards_of(database: Pg8000Database, table: str) -> list[Shard]:
    """The shards of a table, named as SQL, in the order of their numbers."""
    shards = []
    for number, success, result, nodes in database.execute_sql(_SHARDS, (table, _FACTS)).fetchall():
        if not success:
            raise SchemaMismatch(f"the shard {number} of {table} says nothing of itself: {result}")
        facts = json.loads(result)
        suffix = f"_{number}"
        indexes = {
            name.removesuffix(suffix): (int(size), bool(valid))
            for name, (size, valid) in (facts.pop("indexes") or {}).items()
        }
        shards.append(Shard(number, tuple(nodes or ()), indexes=indexes, **facts))
    return shards
