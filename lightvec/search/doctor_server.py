"""The checks of the server: versions of PostgreSQL and pgvector, and pgvector's schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lightvec.extension import version_numbers
from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import OK, Finding, finding
from lightvec.wire.identifiers import identifier

__all__ = ["ServerFacts", "read_server", "server_findings"]

_FACTS = """\
SELECT current_setting('server_version'), e.extversion, a.default_version, n.nspname,
    n.nspname IS NULL OR n.nspname = ANY (current_schemas(true)), current_setting('search_path'), current_database(),
    pg_catalog.pg_size_bytes(current_setting('shared_buffers')),
    pg_catalog.pg_size_bytes(current_setting('effective_cache_size')),
    pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem'))
FROM (VALUES ('vector')) wanted (name)
LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = wanted.name
LEFT JOIN pg_catalog.pg_extension e ON e.extname = wanted.name
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"""

#: The first pgvector with iterative scans.
_ITERATIVE_SCANS = (0, 8)


class ServerFacts(NamedTuple):
    """Versions, pgvector's schema, and memory settings in bytes.

    ``installed`` is None where this database lacks pgvector, ``available`` where the server does.
    """

    version: str
    installed: str | None
    available: str | None
    schema: str | None
    is_in_path: bool
    search_path: str
    database: str
    shared_buffers: int
    effective_cache_size: int
    maintenance_work_mem: int


def read_server(database: Pg8000Database) -> ServerFacts:
    """Read them from the server."""
    return ServerFacts(*database.execute_sql(_FACTS).fetchall()[0])


def server_findings(server: ServerFacts) -> Iterator[Finding]:
    """Findings on the versions and pgvector's schema."""
    values = server._asdict()
    if server.installed is None:
        code = "pgvector_missing" if server.available is None else "no_extension"
        yield finding(code, server.database, **values)
        return
    subject, installed = f"pgvector {server.installed}", version_numbers(server.installed)
    if installed < _ITERATIVE_SCANS:
        yield finding("pgvector_old", subject)
    else:
        yield Finding(OK, "versions", subject, f"PostgreSQL {server.version}, pgvector {server.installed}")
    if server.available and version_numbers(server.available) > installed:
        yield finding("pgvector_update", subject, **values)
    if not server.is_in_path:
        path = ", ".join(identifier(name) for name in (*_schemas(server.search_path), str(server.schema)))
        yield finding(
            "extension_out_of_path", subject, **{**values, "database": identifier(server.database)}, path=path
        )


def _schemas(search_path: str) -> list[str]:
    """The schemas of a search_path setting.

    >>> _schemas('"$user", public,"the ext"')
    ['$user', 'public', 'the ext']
    """
    names = re.findall(r'"(?:[^"]|"")+"|[^\s,"]+', search_path)
    return [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]
