"""Citus: its nodes, and how the tables with vectors stand on them."""

from __future__ import annotations

from collections.abc import Iterator

from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding, shown_size
from lightvec.search.shards import Shards
from lightvec.search.tables import Table
from lightvec.wire.identifiers import identifier, text_literal

__all__ = ["node_findings", "shard_findings"]

#: Each search asks all shards. On 2 cores one of 20,000 embeddings took 6 ms over 4 shards, 12 over 8, 36 over 16 and
#: 49 over 32, which is Citus's default; of the 10 nearest it found 0.998 over 4 and all over 8.
_MANY_SHARDS = 15
#: By which factor the largest shard may have more rows than the mean, from so many rows on.
_UNEVEN, _MANY_ROWS = 3, 10_000

_NODES = """\
SELECT nodename || ':' || nodeport, isactive, shouldhaveshards, groupid = 0,
    (SELECT count(*) FROM pg_catalog.pg_dist_placement p WHERE p.groupid = n.groupid)::int
FROM pg_catalog.pg_dist_node n WHERE noderole = 'primary' ORDER BY groupid"""


def node_findings(database: Pg8000Database) -> Iterator[Finding]:
    """What there is to say of the nodes; nothing where there is no Citus."""
    version = database.extension().citus
    if not version:
        return
    subject = f"Citus {'.'.join(map(str, version))}"
    nodes = database.execute_sql(_NODES).fetchall()
    workers = [name for name, _, _, is_coordinator, _ in nodes if not is_coordinator]
    shown = ", ".join(f"{name} with {count:,} shards" for name, *_, count in nodes if count)
    yield Finding(OK, "citus", subject, f"{len(workers)} workers beside the coordinator; {shown or 'no shards yet'}")
    for name, is_active, *_ in nodes:
        if not is_active:
            yield Finding(
                PROBLEM,
                "citus_node_inactive",
                name,
                "the node is not active: searches that need it fail",
                "start it, then SELECT citus_activate_node(...), or take it out by citus_remove_node(...)",
            )
    if not workers:
        yield Finding(
            NOTE,
            "citus_no_workers",
            subject,
            "there is no worker, so all shards are on the coordinator",
            "SELECT citus_add_node(host, port)",
        )


def shard_findings(table: Table) -> Iterator[Finding]:
    """What there is to say of a table's shards; nothing where it has none."""
    shards = table.shards
    if shards is None:
        return
    yield _stands(table, shards)
    number = len(shards.shards)
    if number > _MANY_SHARDS:
        call = f"alter_distributed_table({text_literal(identifier(table.schema, table.name))}, shard_count => 8)"
        yield Finding(
            NOTE,
            "many_shards",
            table.told,
            f"each search that is not for one value of {_column(shards)} asks all of its {number} shards",
            f"where searches are slow take fewer (SELECT {call})",
        )
    yield from _even(table, shards)
    for index in table.indexes:
        sizes = [shard.indexes[index.name][0] for shard in shards.shards if index.name in shard.indexes]
        if sizes:
            yield Finding(OK, "index_on_shards", index.name, f"{_sizes(sizes)} on each of {len(sizes)} shards")
    for name, shard in shards.wrong_indexes([index.name for index in table.indexes]):
        state = "is invalid" if name in shard.indexes else "is missing"
        yield Finding(
            PROBLEM,
            "index_not_on_shard",
            name,
            f"it {state} on the shard {shard.id} ({', '.join(shard.nodes)}), which each search reads whole",
            f"DROP INDEX {identifier(table.schema, name)}, and create it again",
        )


def _stands(table: Table, shards: Shards) -> Finding:
    number, nodes = len(shards.shards), shards.nodes
    on = f"on {len(nodes)} node{'s' if len(nodes) != 1 else ''} ({', '.join(nodes)})"
    rows = _range([shard.rows for shard in shards.shards])
    sizes = _sizes([shard.total for shard in shards.shards])
    number_of = f"{number} shard{'s' if number != 1 else ''}"
    what = f"{_kind(shards)}, {number_of} {on}: {rows} rows, {sizes} each"
    return Finding(OK, "shards", table.told, what)


def _even(table: Table, shards: Shards) -> Iterator[Finding]:
    rows = [shard.rows for shard in shards.shards]
    mean = sum(rows) / len(rows) if rows else 0
    if sum(rows) >= _MANY_ROWS and max(rows) > _UNEVEN * mean:
        largest = max(shards.shards, key=lambda shard: shard.rows)
        yield Finding(
            PROBLEM,
            "uneven_shards",
            table.told,
            f"the shard {largest.id} has {largest.rows:,.0f} rows, and the mean is {mean:,.0f}: a search waits for the "
            f"slowest shard",
            f"distribute by a column with more values than {_column(shards)}, of which none has many rows, or give the "
            f"large ones a shard of their own (isolate_tenant_to_new_shard)",
        )


def _kind(shards: Shards) -> str:
    distribution = shards.standing.distribution
    return f"distributed by {distribution.by}" if distribution and distribution.by else str(shards.standing)


def _column(shards: Shards) -> str:
    distribution = shards.standing.distribution
    return str(distribution.by if distribution else None)


def _range(numbers: list[float] | list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"


def _sizes(numbers: list[int]) -> str:
    least, most = shown_size(min(numbers)), shown_size(max(numbers))
    return least if least == most else f"{least} to {most}"
