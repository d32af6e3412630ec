"""The checks of ``lightvec doctor``: the connection, the server, pgvector, and each table with vectors.

>>> [finding.code for finding in examine(database, ["doc"]) if finding.level == "problem"]
[]
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lightvec.peewee.catalog import sources_of_view
from lightvec.peewee.database import Pg8000Database
from lightvec.search.citus_shards import node_findings, shard_findings
from lightvec.search.doctor_connection import connection_findings
from lightvec.search.doctor_indexes import index_findings, memory_findings
from lightvec.search.doctor_server import read_server, server_findings
from lightvec.search.doctor_tables import column_findings, write_findings
from lightvec.search.findings import Finding, display_name, finding
from lightvec.search.table_statistics import vector_tables

__all__ = ["examine"]


def examine(
    database: Pg8000Database, tables: Collection[str] | None = None, schema: str | None = None
) -> list[Finding]:
    """Everything that was checked of the connection, the server and these tables, in order, also what is well.

    Without ``tables``, all tables with a vector column, or those of ``schema``. Nothing is changed. Rows are counted
    on tables up to 64 MiB, and on a sample of that size of larger ones. :class:`~lightvec.errors.SchemaMismatch` for a
    name that no table has.
    """
    found = [*connection_findings(database)]
    server = read_server(database)
    found += server_findings(server)
    if server.installed is None:
        return found
    found += node_findings(database)
    checked = vector_tables(database, tables, schema)
    views = [*_view_findings(database, tables or (), schema)]
    found += views
    if not checked and not views:
        found.append(finding("no_vectors", ", ".join(tables or ())))
    for table in checked:
        found += column_findings(table)
        found += index_findings(server, table)
        found += write_findings(table)
        if table.shards is not None:
            found += shard_findings(table.schema, table.name, table.indexes, table.shards)
    return [*found, *memory_findings(server, [index for table in checked for index in table.indexes])]


def _view_findings(database: Pg8000Database, tables: Collection[str], schema: str | None) -> Iterator[Finding]:
    for table in tables:
        sources = sources_of_view(database, table, schema)
        if sources is not None:
            yield finding("view", display_name(schema or "public", table), sources=", ".join(sources) or "no table")
