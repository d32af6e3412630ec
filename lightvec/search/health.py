"""What ``lightvec doctor`` looks at: the connection, the server, pgvector, and each table with vectors.

>>> [finding.code for finding in examine(database, ["doc"]) if finding.level == "problem"]
[]
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lightvec.peewee.catalog import sources_of_view
from lightvec.peewee.database import Pg8000Database
from lightvec.search.citus_health import node_findings, shard_findings
from lightvec.search.connection_health import connection_findings
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding, told_name
from lightvec.search.server_health import ask_server, extension_findings
from lightvec.search.table_health import table_findings
from lightvec.search.tables import vector_tables

__all__ = ["NOTE", "OK", "PROBLEM", "Finding", "examine"]


def examine(
    database: Pg8000Database, tables: Collection[str] | None = None, schema: str | None = None
) -> list[Finding]:
    """All that was looked at and found, problems and what is well: of the connection, the server and these tables.

    Without ``tables`` it is all with a vector column, those of ``schema`` where that is given. Nothing is changed. Rows
    are counted on a table of up to 64 MiB, and on as much of a larger one. :class:`~lightvec.errors.SchemaMismatch` for
    a name that no table has.
    """
    found = [*connection_findings(database)]
    server = ask_server(database)
    found += extension_findings(server)
    if server.installed is None:
        return found
    found += node_findings(database)
    looked_at = vector_tables(database, tables, schema)
    views = [*_views(database, tables or (), schema)]
    found += views
    if not looked_at and not views:
        found.append(Finding(NOTE, "no_vectors", ", ".join(tables or ()), "no table here has a vector column"))
    found += table_findings(database, server, looked_at)
    return found + [finding for table in looked_at for finding in shard_findings(table)]


def _views(database: Pg8000Database, tables: Collection[str], schema: str | None) -> Iterator[Finding]:
    """A view has no rows and no indexes of its own."""
    for table in tables:
        sources = sources_of_view(database, table, schema)
        if sources is not None:
            of = ", ".join(sources) or "no table"
            what = f"it is a view: its vectors and their indexes are those of what it reads ({of})"
            yield Finding(NOTE, "view", told_name(schema or "public", table), what, "look at that in its place")
