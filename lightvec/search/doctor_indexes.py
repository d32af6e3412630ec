"""The checks of vector indexes: valid, used, not duplicated, fitting lists, small enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.estimates import usual_lists
from lightvec.search.doctor_server import ServerFacts
from lightvec.search.findings import (
    NOTE,
    OK,
    Finding,
    display_name,
    finding,
    format_size,
    one_probe,
    unusable_index,
)
from lightvec.search.table_statistics import Table
from lightvec.wire.identifiers import identifier

__all__ = ["index_findings", "memory_findings"]

#: How far, as a factor, IVFFlat lists may be from the usual number, or from this many.
_FAR, _FEW_LISTS = 4, 10
#: Rows from which a search uses an index if it can.
_MANY_ROWS = 10_000
#: The share of newer rows from which the lists of an IVFFlat index are of little use.
_MANY_NEWER = 0.9

#: Memory settings in bytes, by node of Citus; the name of a single server is empty.
Memory = Mapping[str, Mapping[str, int]]


def index_findings(server: ServerFacts, table: Table, memory: Memory) -> Iterator[Finding]:
    for partition in table.partitions:
        for build in partition["builds"]:
            subject = display_name(partition["schema"], partition["table"])
            yield finding("build_running", subject, **build)
    for index in table.indexes:
        unusable = unusable_index(index)
        if unusable is not None:
            yield unusable
            continue
        on = f"{table.display_name} ({index.expression or index.column})"
        what = f"{index.method} on {on} by {index.metric}, {format_size(index.size)}"
        yield Finding(OK, "index", index.name, what)
        # On a small table the planner compares all rows.
        if table.rows >= _MANY_ROWS and not table.scans(index):
            began = server.counted_since
            since = f"{began:%Y-%m-%d}" if began else "statistics began"
            name = identifier(index.schema, index.name)
            yield finding("unused_index", index.name, since=since, name=name)
        if index.method == "ivfflat" and index.lists > 1 and server.probes == 1:
            yield one_probe(index, NOTE)
        if index.method == "ivfflat":
            yield from _list_findings(table, index)
        else:
            yield from _build_memory_findings(table, index, memory)
    yield from _duplicate_findings([index for index in table.indexes if index.valid])


def _list_findings(table: Table, index: ExistingIndex) -> Iterator[Finding]:
    name = identifier(index.schema, index.name)
    if not table.rows:
        yield finding("ivfflat_built_empty", index.name, name=name)
        return
    share = table.newer.get(index.name, 0)
    updated = sum(partition["updated"] for partition in table.partitions)
    # An UPDATE writes a new row version, which then says nothing about the age of the row.
    if share > _MANY_NEWER and updated < table.rows / 2:
        yield finding("ivfflat_built_early", index.name, share=share, name=name)
    usual = usual_lists(int(table.rows))
    if not usual / _FAR <= index.lists <= max(usual, _FEW_LISTS) * _FAR:
        few, many = "few: a search reads too many rows", "many: a search finds too little"
        values: dict[str, Any] = {"lists": index.lists, "rows": table.rows, "usual": usual, "name": name}
        consequence = few if index.lists < usual else many
        yield finding("ivfflat_lists", index.name, consequence=consequence, **values)


def _build_memory_findings(table: Table, index: ExistingIndex, memory: Memory) -> Iterator[Finding]:
    """What a build allocates is about what the index has on disk."""
    parts = [(node, size) for node, size in table.index_parts(index) if node in memory]
    if not parts:
        return
    size = max(size for _, size in parts)
    least = min(memory[node]["maintenance_work_mem"] for node, _ in parts)
    if size > least:
        yield finding(
            "maintenance_work_mem",
            index.name,
            part="its largest shard" if table.shards else "it",
            size=format_size(size),
            memory=format_size(least),
            megabytes=(size >> 20) * 5 // 4 + 1,
            where="on each node, and build it again" if table.shards else "in the session that builds it again",
        )


def _duplicate_findings(indexes: Sequence[ExistingIndex]) -> Iterator[Finding]:
    def definition(index: ExistingIndex) -> tuple[str, ...]:
        on = (index.table_schema, index.table, index.column, index.expression, index.where)
        return tuple(map(str, (*on, index.method, index.operator_class)))

    for _, same in groupby(sorted(indexes, key=definition), definition):
        first, *others = sorted(same, key=lambda index: index.name)
        for other in others:
            name = identifier(other.schema, other.name)
            yield finding("duplicate_index", other.name, first=first.name, name=name)


def memory_findings(tables: Iterable[Table], memory: Memory) -> Iterator[Finding]:
    totals: Counter[str] = Counter()
    for table in tables:
        for index in table.indexes:
            for node, size in table.index_parts(index):
                totals[node] += size
    for node, total in totals.items():
        if node not in memory:
            continue
        of_node = f" of {node}" if node else ""
        for setting, code in _BEYOND.items():
            if total > memory[node][setting]:
                values = {"size": format_size(total), "memory": format_size(memory[node][setting])}
                yield finding(code, setting + of_node, **values)
                break
        else:
            what = f"the vector indexes have {format_size(total)} and fit into it"
            yield Finding(OK, "index_memory", f"shared_buffers{of_node}", what)


#: What the indexes may be larger than, the worst first.
_BEYOND = {
    "effective_cache_size": "indexes_beyond_cache",
    "shared_buffers": "indexes_beyond_buffers",
}
