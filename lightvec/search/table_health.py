"""Tables with vectors: their columns, their indexes, and what many writes do to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lightvec.errors import InvalidOption
from lightvec.index_options import DEFAULTS
from lightvec.metrics import INDEX_DIMENSIONS
from lightvec.peewee.catalog import StandingIndex
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.estimates import estimate, usual_lists
from lightvec.peewee.indexes import HnswIndex, IvfflatIndex, VectorIndex
from lightvec.peewee.reflect import default_metric, model_of, vector_field
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding, index_command, shown_size
from lightvec.search.server_health import Server
from lightvec.search.tables import Part, Seen, Table, VectorColumn
from lightvec.wire.identifiers import identifier

__all__ = ["table_findings"]

#: Rows from which on a search without an index is slow: 10,000 vectors of 768 dimensions are 30 MB to read.
_MANY_ROWS = 10_000
#: Dead rows and updates from which on they count.
_MANY_DEAD, _MANY_UPDATES = 1_000, 1_000
#: How far, as a factor, the lists of an IVFFlat index may be from what is usual, or from this many on a small table.
_FAR, _FEW_LISTS = 4, 10
#: Lists of an IVFFlat index that was built before so much of the rows were there are of little use.
_LATE = 0.9


def table_findings(database: Pg8000Database, server: Server, tables: Sequence[Table]) -> list[Finding]:
    """What there is to say of tables with vectors, each by itself, and of all their indexes together."""
    found: list[Finding] = []
    for table in tables:
        for column in table.columns:
            found += _column(table, column)
        for index in table.indexes:
            found += _index(table, index)
        found += _duplicates(table)
        found += _metrics(table)
        found += _writes(table)
        found += _memory_of_builds(database, table)
    found += _memory_of_indexes(server, [index for table in tables for index in table.indexes])
    return found


# Columns


def _column(table: Table, column: VectorColumn) -> Iterator[Finding]:
    subject = f"{table.told}.{column.name}"
    if column.seen is None:
        yield Finding(
            NOTE,
            "not_readable",
            subject,
            "this user may not read it, so its rows were not looked at",
            f"have its owner GRANT USAGE ON SCHEMA {identifier(table.schema)} and GRANT SELECT ON "
            f"{identifier(table.schema, table.name)} to this user",
        )
    else:
        yield from _rows(table, column, column.seen, subject)
    if column.dimensions is None:
        yield _without_dimensions(table, column, subject)
    elif not table.indexes_of(column):
        yield _without_index(table, column, subject)


def _rows(table: Table, column: VectorColumn, seen: Seen, subject: str) -> Iterator[Finding]:
    about = "about " if table.is_sample else ""
    size = f"({column.dimensions})" if column.dimensions else ""
    yield Finding(OK, "column", subject, f"{column.type}{size}, {about}{table.rows:,.0f} rows")
    of = f" of the {seen.rows:,} rows of a sample" if table.is_sample else f" of {seen.rows:,} rows"
    if seen.nulls:
        yield Finding(
            NOTE,
            "null_vectors",
            subject,
            f"{seen.nulls:,}{of} have no vector, and no search finds them",
            f"UPDATE {identifier(table.schema, table.name)} with the vectors of the rows "
            f"WHERE {identifier(column.name)} IS NULL",
        )
    cosine = [index.name for index in table.indexes_of(column) if index.metric == "cosine"]
    if seen.zeros and cosine:
        yield Finding(
            PROBLEM,
            "zero_vectors",
            subject,
            f"{seen.zeros:,}{of} have a vector of zeros, which has no direction: the index by cosine ({cosine[0]}) "
            f"leaves them out",
            "look at where they come from (an empty text, a failed call), and store NULL or the right vector",
        )


def _without_dimensions(table: Table, column: VectorColumn, subject: str) -> Finding:
    dimensions = column.seen.dimensions if column.seen else None
    if dimensions is not None and dimensions[0] != dimensions[1]:
        return Finding(
            PROBLEM,
            "mixed_dimensions",
            subject,
            f"it declares no dimensions and holds vectors of {dimensions[0]:,} to {dimensions[1]:,}, of which only "
            f"those of the same number can be compared",
            "put the vectors of each model into a column of their own that declares its dimensions",
        )
    change = f"ALTER TABLE {identifier(table.schema, table.name)} ALTER COLUMN {identifier(column.name)} TYPE"
    declared = "one with dimensions" if dimensions is None else f"{column.type}({dimensions[0]})"
    return Finding(
        PROBLEM,
        "no_dimensions",
        subject,
        "it declares no dimensions, so it cannot be indexed, and vectors of another model can get into it",
        " ".join((change, declared)),
    )


def _without_index(table: Table, column: VectorColumn, subject: str) -> Finding:
    many = table.rows >= _MANY_ROWS
    most = INDEX_DIMENSIONS[column.type]
    command = index_command(table.name, table.schema, vector_column=column.name)
    if column.type in ("vector", "halfvec") and (column.dimensions or 0) > most:
        return Finding(
            PROBLEM if many else NOTE,
            "no_index_high_dimensions",
            subject,
            f"it has {column.dimensions:,} dimensions and no index, and one on the {column.type} itself takes {most:,}",
            f"build one on a coarser form of it, which {command} chooses: halfvec up to 4,000 dimensions, bit beyond",
        )
    return Finding(
        PROBLEM if many else NOTE,
        "no_index",
        subject,
        f"there is no vector index on it, so each search reads all of its {table.rows:,.0f} rows",
        f"create one ({command})" if many else f"nothing needs to be done; for many more rows create one ({command})",
    )


# Indexes


def _index(table: Table, index: StandingIndex) -> Iterator[Finding]:
    name = identifier(index.schema, index.name)
    if index.being_built and not index.valid:
        yield Finding(
            NOTE, "index_being_built", index.name, "it is being built at this moment", "wait until that is done"
        )
    elif not index.valid:
        command = index_command(index.table, index.table_schema, vector_column=index.column, metric=index.metric)
        yield Finding(
            PROBLEM,
            "invalid_index",
            index.name,
            "it is invalid, as an interrupted CREATE INDEX CONCURRENTLY leaves it: no query uses it, and each write "
            "pays for it",
            f"build it again (REINDEX INDEX CONCURRENTLY {name}, or {command})",
        )
    else:
        on = f"{table.told} ({index.expression or index.column})"
        yield Finding(OK, "index", index.name, f"{index.method} on {on} by {index.metric}, {shown_size(index.size)}")
        if index.method == "ivfflat":
            yield from _lists(table, index)


def _lists(table: Table, index: StandingIndex) -> Iterator[Finding]:
    name = identifier(index.schema, index.name)
    if not table.rows:
        yield Finding(
            NOTE,
            "ivfflat_built_early",
            index.name,
            "it was built on an empty table, so its lists are not those of the rows that will come",
            f"REINDEX INDEX CONCURRENTLY {name}, when the table has its rows",
        )
        return
    late = table.late.get(index.name, 0)
    # An update writes a row anew, and its age says nothing then.
    if late > _LATE and table.updated < table.rows / 2:
        yield Finding(
            PROBLEM,
            "ivfflat_built_early",
            index.name,
            f"{late:.0%} of the rows came after it was built, so its lists were chosen without them, and a search "
            f"misses much",
            f"REINDEX INDEX CONCURRENTLY {name}",
        )
    lists = index.lists
    wanted = usual_lists(int(table.rows))
    if not wanted / _FAR <= lists <= max(wanted, _FEW_LISTS) * _FAR:
        few_or_many = "few: a search reads too many rows" if lists < wanted else "many: a search finds too little"
        yield Finding(
            PROBLEM,
            "ivfflat_lists",
            index.name,
            f"it has {lists:,} lists for {table.rows:,.0f} rows, which is too {few_or_many}",
            f"ALTER INDEX {name} SET (lists = {wanted:d}), then REINDEX INDEX CONCURRENTLY {name}",
        )


def _duplicates(table: Table) -> Iterator[Finding]:
    def what(index: StandingIndex) -> tuple[str, ...]:
        on = (index.table_schema, index.table, index.column, index.expression, index.where)
        return tuple(map(str, (*on, index.method, index.operator_class)))

    for _, same in groupby(sorted((index for index in table.indexes if index.valid), key=what), what):
        first, *others = sorted(same, key=lambda index: index.name)
        for other in others:
            yield Finding(
                PROBLEM,
                "duplicate_index",
                other.name,
                f"it is the same as {first.name}: each write pays for both, and a query uses one",
                f"DROP INDEX CONCURRENTLY {identifier(other.schema, other.name)}",
            )


def _metrics(table: Table) -> Iterator[Finding]:
    """Indexes of one table by different metrics: one of them is often a slip."""
    metrics: dict[str, str] = {}
    for index in table.indexes:
        # Hamming is how bits stand for another metric.
        if index.valid and index.metric and index.quantize != "bit" and index.column_type != "bit":
            metrics.setdefault(index.metric, index.name)
    if len(metrics) > 1:
        built = ", ".join(f"{name} by {metric}" for metric, name in metrics.items())
        yield Finding(
            NOTE,
            "mixed_metrics",
            table.told,
            f"its vector indexes are for different metrics ({built}), and a query by another metric uses none of them",
            "see that each column is searched by the metric that its index is for (lightvec.search.explain)",
        )


# Writes


def _writes(table: Table) -> Iterator[Finding]:
    name = identifier(table.schema, table.name)
    if table.never_analyzed and table.rows:
        yield Finding(
            PROBLEM,
            "never_analyzed",
            table.told,
            "it was never analysed, so the planner guesses what is in it",
            f"ANALYZE {name}",
        )
    else:
        done = f"last analysed {_when(table.analyzed)}, last vacuumed {_when(table.vacuumed)}"
        yield Finding(OK, "statistics", table.told, done)
    has_graph = any(index.method == "hnsw" for index in table.indexes)
    for part in table.parts:
        yield from _dead_rows(part)
        yield from _updates(part) if has_graph else ()


def _dead_rows(part: Part) -> Iterator[Finding]:
    if part.dead >= _MANY_DEAD and part.dead > part.live / 5:
        yield Finding(
            PROBLEM,
            "dead_rows",
            part.told,
            f"{part.dead:,} dead rows beside {part.live:,} live ones: a search reads them, too, and finds fewer",
            f"VACUUM (ANALYZE) {identifier(part.schema, part.name)}; so that it happens by itself, "
            f"lower autovacuum_vacuum_scale_factor of the table",
        )


def _updates(part: Part) -> Iterator[Finding]:
    new = part.updated - part.updated_in_place
    if new >= _MANY_UPDATES and new > part.updated / 2:
        yield Finding(
            PROBLEM,
            "updates_not_hot",
            part.told,
            f"{new:,} of {part.updated:,} updates wrote the row into all of its indexes again, which is slow with "
            f"HNSW (fillfactor {part.fillfactor})",
            f"ALTER TABLE {identifier(part.schema, part.name)} SET (fillfactor = 70) keeps room for "
            f"updates of columns without an index; move columns that often change into a table of their own",
        )


def _when(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "at no time that the server knows"


# Memory


def _memory_of_indexes(server: Server, indexes: Sequence[StandingIndex]) -> Iterator[Finding]:
    size = sum(index.size for index in indexes)
    if size > server.cache:
        yield Finding(
            PROBLEM,
            "indexes_beyond_cache",
            "effective_cache_size",
            f"the vector indexes have {shown_size(size)}, and the server counts on {shown_size(server.cache)} of "
            f"memory for what it reads: searches wait for the disk",
            "give the server more memory, or halve the indexes (quantize='halfvec'); if it has the memory, say so in "
            "effective_cache_size",
        )
    elif size > server.shared_buffers:
        yield Finding(
            NOTE,
            "indexes_beyond_buffers",
            "shared_buffers",
            f"the vector indexes have {shown_size(size)}, and shared_buffers is {shown_size(server.shared_buffers)}: "
            f"searches read through the system's cache",
            "raise shared_buffers, to a quarter of the server's memory",
        )
    elif indexes:
        yield Finding(
            OK, "index_memory", "shared_buffers", f"the vector indexes have {shown_size(size)} and fit into it"
        )


def _memory_of_builds(database: Pg8000Database, table: Table) -> Iterator[Finding]:
    """Indexes that would not fit into what a build may use, were they built again."""
    columns = {column.name: column for column in table.columns if column.dimensions and column.seen}
    if not columns:
        return
    model = model_of(database, table.name, table.schema)
    for index in table.indexes:
        if index.column not in columns or index.metric is None:
            continue
        try:
            needed = estimate(database, _declared(index, vector_field(model, index.column)))
        except InvalidOption:  # An index on an expression of its own, which no model declares.
            continue
        if not needed.fits:
            yield Finding(
                NOTE,
                "maintenance_work_mem",
                index.name,
                f"to build it takes {shown_size(needed.needed)}, and maintenance_work_mem is "
                f"{shown_size(needed.allowed)}: a build is "
                f"{'many times slower' if index.method == 'hnsw' else 'refused'} then",
                f"SET maintenance_work_mem = '{(needed.needed >> 20) + 1:d}MB' in the session that builds it",
            )


def _declared(index: StandingIndex, field: Any) -> VectorIndex:
    """A standing index as a model declares it."""
    metric = default_metric(field) if index.quantize == "bit" else index.metric
    if index.method == "ivfflat":
        lists = index.lists
        return IvfflatIndex(field, metric=metric, quantize=index.quantize, lists=lists)
    options: dict[str, Any] = {name: int(index.options.get(name, DEFAULTS[name])) for name in ("m", "ef_construction")}
    return HnswIndex(field, metric=metric, quantize=index.quantize, **options)
