"""The checks of the server: versions of PostgreSQL and pgvector, and pgvector's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from lightvec.extension import version_numbers
from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import OK, Finding, finding
from lightvec.wire.identifiers import identifier

__all__ = ["ServerFacts", "read_server", "server_findings"]

_FACTS = """\
SELECT current_setting('server_version'), e.extversion, a.default_version, n.nspname,
    n.nspname IS NULL OR n.nspname = ANY (current_schemas(true)),
    current_setting('search_path'), current_database(),
    (SELECT jsonb_object_agg(name, pg_catalog.pg_size_bytes(current_setting(name))) FROM unnest(
        ARRAY['shared_buffers', 'effective_cache_size', 'maintenance_work_mem']) name),
    coalesce(nullif(current_setting('ivfflat.probes', true), ''), '1')::int,
    coalesce((SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = current_database()),
        (SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter))
FROM (VALUES ('vector')) wanted (name)
LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = wanted.name
LEFT JOIN pg_catalog.pg_extension e ON e.extname = wanted.name
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"""


class ServerFacts(NamedTuple):
    """Versions, pgvector's schema, settings (memory in bytes), and since when statistics count.

    ``installed`` is None where this database lacks pgvector, ``available`` where the server does.
    """

    version: str
    installed: str | None
    available: str | None
    schema: str | None
    is_in_path: bool
    search_path: str
    database: str
    memory: Mapping[str, int]
    probes: int
    counted_since: datetime | None


def read_server(database: Pg8000Database) -> ServerFacts:
    return ServerFacts(*database.execute_sql(_FACTS).fetchall()[0])


def server_findings(server: ServerFacts) -> Iterator[Finding]:
    values = server._asdict()
    if server.installed is None:
        code = "pgvector_missing" if server.available is None else "no_extension"
        yield finding(code, server.database, **values)
        return
    subject, installed = f"pgvector {server.installed}", version_numbers(server.installed)
    available = version_numbers(server.available or server.installed)
    if installed < (0, 8):
        yield finding("pgvector_old", subject)
    else:
        what = f"PostgreSQL {server.version}, pgvector {server.installed}"
        yield Finding(OK, "versions", subject, what)
    # An index is vacuumed by the library that the server has, whatever version the database uses.
    if available < (0, 8, 3):
        yield finding("hnsw_vacuum", subject)
    elif available < (0, 8, 4):
        yield finding("hnsw_vacuum_error", subject)
    if available > installed:
        yield finding("pgvector_update", subject, **values)
    if not server.is_in_path:
        values["database"] = identifier(server.database)
        path = ", ".join(filter(None, (server.search_path, identifier(server.schema or ""))))
        yield finding("extension_out_of_path", subject, **values, path=path)
