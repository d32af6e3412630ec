"""The checks of a table: its vector columns, their rows, and its updates and dead rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightvec.search.findings import NOTE, OK, PROBLEM, Finding, display_name, finding, index_command
from lightvec.search.table_statistics import Sample, Table, VectorColumn
from lightvec.wire.identifiers import identifier

__all__ = ["column_findings", "write_findings"]

#: Rows from which a search without an index is slow: 10,000 vectors of 768 dimensions are 30 MB.
_MANY_ROWS = 10_000
#: Dead rows and updates from which they count.
_MANY_DEAD, _MANY_UPDATES = 1_000, 1_000


def column_findings(table: Table) -> Iterator[Finding]:
    is_being_built = any(partition["builds"] for partition in table.partitions)
    for column in table.columns:
        subject = f"{table.display_name}.{column.name}"
        if column.sample is not None:
            yield from _row_findings(table, column, column.sample, subject)
        elif not column.is_readable:
            yield finding("not_readable", subject, schema=identifier(table.schema), name=table.sql)
        if column.dimensions is None:
            yield _no_dimensions(table, column, subject)
        elif not table.indexes_of(column.name) and not is_being_built:
            # Above the dimensions that an index takes, create-index chooses a coarser form.
            command = index_command(table.name, table.schema, vector_column=column.name)
            level = PROBLEM if table.rows >= _MANY_ROWS else NOTE
            yield finding("no_index", subject, level, command=command)


def _row_findings(table: Table, column: VectorColumn, sample: Sample, subject: str) -> Iterator[Finding]:
    dimensions = f"({column.dimensions})" if column.dimensions else ""
    about = "about " if table.is_sample else ""
    what = f"{column.type}{dimensions}, {about}{table.rows:,.0f} rows"
    model = f", of the model {column.origin.model}" if column.origin else ""
    yield Finding(OK, "column", subject, what + model)
    rows = f"the {sample.rows:,} rows of a sample" if table.is_sample else f"{sample.rows:,} rows"
    has_source = bool(column.origin and column.origin.source)
    if sample.pending:
        yield finding("pending_vectors", subject, count=sample.pending, rows=rows)
    # With a source, what is not pending has no text.
    if sample.nulls and not has_source:
        values = {"name": table.sql, "column": identifier(column.name)}
        yield finding("null_vectors", subject, count=sample.nulls, rows=rows, **values)
    by_cosine = [index.name for index in table.indexes_of(column.name) if index.metric == "cosine"]
    if sample.zeros and by_cosine:
        yield finding("zero_vectors", subject, count=sample.zeros, rows=rows, index=by_cosine[0])


def _no_dimensions(table: Table, column: VectorColumn, subject: str) -> Finding:
    least, most = (column.sample.least, column.sample.most) if column.sample else (None, None)
    if least != most:
        return finding("mixed_dimensions", subject, least=least, most=most)
    declared = "one with dimensions" if least is None else f"{column.type}({least})"
    values = {"name": table.sql, "column": identifier(column.name), "type": declared}
    return finding("no_dimensions", subject, **values)


def write_findings(table: Table) -> Iterator[Finding]:
    if table.never_analyzed and table.rows:
        yield finding("never_analyzed", table.display_name, name=table.sql)
    else:
        done = f"last analyzed: {_time(table.analyzed)}, last vacuumed: {_time(table.vacuumed)}"
        yield Finding(OK, "statistics", table.display_name, done)
    has_graph = any(index.method == "hnsw" for index in table.indexes)
    for partition in table.partitions:
        schema, name, updated = partition["schema"], partition["table"], partition["updated"]
        subject, values = display_name(schema, name), {**partition, "name": identifier(schema, name)}
        if partition["dead"] >= _MANY_DEAD and partition["dead"] > partition["live"] / 5:
            yield finding("dead_rows", subject, **values)
        new = updated - partition["hot"]
        if has_graph and new >= _MANY_UPDATES and new > updated / 2:
            yield finding("updates_not_hot", subject, new=new, **values)


def _time(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "never"
