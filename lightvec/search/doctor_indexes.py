"""The checks of vector indexes: valid, not duplicated, with fitting lists, and small enough for the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.estimates import usual_lists
from lightvec.search.doctor_server import ServerFacts
from lightvec.search.findings import OK, Finding, finding, format_size, unusable_index
from lightvec.search.table_statistics import Table
from lightvec.wire.identifiers import identifier

__all__ = ["index_findings", "memory_findings"]

#: How far, as a factor, the lists of an IVFFlat index may be from what is usual, or from this many on a small table.
_FAR, _FEW_LISTS = 4, 10
#: The share of newer rows from which the lists of an IVFFlat index are of little use.
_MANY_NEWER = 0.9


def index_findings(server: ServerFacts, table: Table) -> Iterator[Finding]:
    """Findings on the indexes of a table."""
    for index in table.indexes:
        unusable = unusable_index(index)
        if unusable is not None:
            yield unusable
            continue
        on = f"{table.display_name} ({index.expression or index.column})"
        yield Finding(OK, "index", index.name, f"{index.method} on {on} by {index.metric}, {format_size(index.size)}")
        if index.method == "ivfflat":
            yield from _list_findings(table, index)
        elif index.size > server.maintenance_work_mem and table.shards is None:
            # What a build allocates is about what the index has on disk.
            size, memory = format_size(index.size), format_size(server.maintenance_work_mem)
            megabytes = (index.size >> 20) * 5 // 4 + 1
            yield finding("maintenance_work_mem", index.name, size=size, memory=memory, megabytes=megabytes)
    valid = [index for index in table.indexes if index.valid]
    yield from _duplicate_findings(valid)
    metrics: dict[str, str] = {}
    for index in valid:
        # Hamming is the metric of bits that stand for vectors of another.
        if index.metric and index.quantize != "bit" and index.column_type != "bit":
            metrics.setdefault(index.metric, index.name)
    if len(metrics) > 1:
        shown = ", ".join(f"{name} by {metric}" for metric, name in metrics.items())
        yield finding("mixed_metrics", table.display_name, metrics=shown)


def _list_findings(table: Table, index: ExistingIndex) -> Iterator[Finding]:
    name = identifier(index.schema, index.name)
    if not table.rows:
        yield finding("ivfflat_built_empty", index.name, name=name)
        return
    share, updated = table.newer.get(index.name, 0), sum(partition.updated for partition in table.partitions)
    # An UPDATE writes a new row version, which then says nothing about the age of the row.
    if share > _MANY_NEWER and updated < table.rows / 2:
        yield finding("ivfflat_built_early", index.name, share=share, name=name)
    usual = usual_lists(int(table.rows))
    if not usual / _FAR <= index.lists <= max(usual, _FEW_LISTS) * _FAR:
        few, many = "few: a search reads too many rows", "many: a search finds too little"
        yield finding(
            "ivfflat_lists",
            index.name,
            lists=index.lists,
            rows=table.rows,
            consequence=few if index.lists < usual else many,
            usual=usual,
            name=name,
        )


def _duplicate_findings(indexes: Sequence[ExistingIndex]) -> Iterator[Finding]:
    def definition(index: ExistingIndex) -> tuple[str, ...]:
        on = (index.table_schema, index.table, index.column, index.expression, index.where)
        return tuple(map(str, (*on, index.method, index.operator_class)))

    for _, same in groupby(sorted(indexes, key=definition), definition):
        first, *others = sorted(same, key=lambda index: index.name)
        for other in others:
            yield finding("duplicate_index", other.name, first=first.name, name=identifier(other.schema, other.name))


def memory_findings(server: ServerFacts, indexes: Sequence[ExistingIndex]) -> Iterator[Finding]:
    """Findings on the memory for all these indexes together."""
    total = sum(index.size for index in indexes)
    size = format_size(total)
    if total > server.effective_cache_size:
        memory = format_size(server.effective_cache_size)
        yield finding("indexes_beyond_cache", "effective_cache_size", size=size, memory=memory)
    elif total > server.shared_buffers:
        memory = format_size(server.shared_buffers)
        yield finding("indexes_beyond_buffers", "shared_buffers", size=size, memory=memory)
    elif indexes:
        yield Finding(OK, "index_memory", "shared_buffers", f"the vector indexes have {size} and fit into it")
