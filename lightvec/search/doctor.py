"""The checks of ``lightvec doctor``: the connection, the server, pgvector, and tables with vectors.

>>> [finding.code for finding in examine(database, ["doc"]) if finding.level == "problem"]
[]
"""

from __future__ import annotations

from collections.abc import Collection

from peewee import DatabaseError

from lightvec.peewee.catalog import sources_of_view
from lightvec.peewee.database import Pg8000Database
from lightvec.search.citus_shards import node_findings, read_nodes, shard_findings
from lightvec.search.doctor_connection import connection_findings
from lightvec.search.doctor_embeddings import Embedder, embedding_findings
from lightvec.search.doctor_indexes import index_findings, memory_findings
from lightvec.search.doctor_server import read_server, server_findings
from lightvec.search.doctor_tables import column_findings, write_findings
from lightvec.search.findings import Finding, display_name, finding
from lightvec.search.table_statistics import vector_tables

__all__ = ["examine"]


def examine(
    database: Pg8000Database,
    tables: Collection[str] | None = None,
    schema: str | None = None,
    embedder: Embedder | None = None,
) -> list[Finding]:
    """All that was checked of the connection, the server and these tables, in order.

    Without ``tables``, all tables with a vector column, or those of ``schema``. Nothing is changed.
    Rows are counted on tables up to 64 MiB, and on a sample of that size of larger ones.
    ``embedder`` is compared with the vectors of the one table in ``tables``.
    :class:`~lightvec.errors.SchemaMismatch` for a name that no table has.
    """
    found = [*connection_findings(database)]
    server = read_server(database)
    found += server_findings(server)
    if server.installed is None:
        return found
    memory = {"": server.memory}
    if citus := database.extension().citus:
        try:
            with database.atomic():
                nodes = read_nodes(database)
        except DatabaseError as error:
            found.append(finding("not_checked", "nodes of Citus", error=error))
        else:
            found += node_findings(citus, nodes)
            memory |= {node.name: node.memory for node in nodes if node.memory}
    checked = vector_tables(database, tables, schema)
    views = {table: sources_of_view(database, table, schema) for table in tables or ()}
    for view, sources in views.items():
        if sources is not None:
            name = display_name(schema or "public", view)
            found.append(finding("view", name, sources=", ".join(sources) or "no table"))
    if not checked and not any(sources is not None for sources in views.values()):
        found.append(finding("no_vectors", ", ".join(tables or ())))
    for table in checked:
        if table.error:
            found.append(finding("not_checked", table.display_name, error=table.error))
        found += column_findings(table)
        found += index_findings(server, table, memory)
        found += write_findings(table)
        if table.shards is not None:
            found += shard_findings(table.schema, table.name, table.indexes, table.shards)
    if embedder is not None:
        (name,) = tables or ()
        known = next(iter(checked), None)
        found += embedding_findings(database, embedder, name, schema, known)
    return [*found, *memory_findings(checked, memory)]
