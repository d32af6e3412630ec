"""The server: its version and its memory, pgvector's version and schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lightvec.extension import version_numbers
from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding
from lightvec.wire.identifiers import identifier

__all__ = ["Server", "ask_server", "extension_findings"]

_QUESTION = """\
SELECT current_setting('server_version'), e.extversion, a.default_version, n.nspname,
    n.nspname IS NULL OR n.nspname = ANY (current_schemas(true)), current_setting('search_path'), current_database(),
    pg_catalog.pg_size_bytes(current_setting('shared_buffers')),
    pg_catalog.pg_size_bytes(current_setting('effective_cache_size'))
FROM (VALUES ('vector')) wanted (name)
LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = wanted.name
LEFT JOIN pg_catalog.pg_extension e ON e.extname = wanted.name
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"""

#: The first pgvector with iterative scans.
_ITERATIVE = (0, 8)


class Server(NamedTuple):
    """What the server says of itself: versions, pgvector's schema, and its memory in bytes.

    ``installed`` is None where pgvector is not in this database, ``available`` where it is not on the server.
    """

    version: str
    installed: str | None
    available: str | None
    schema: str | None
    is_in_path: bool
    search_path: str
    database: str
    shared_buffers: int
    cache: int


def ask_server(database: Pg8000Database) -> Server:
    """Ask it."""
    return Server(*database.execute_sql(_QUESTION).fetchall()[0])


def extension_findings(server: Server) -> Iterator[Finding]:
    """What there is to say of the versions and of pgvector's schema."""
    if server.installed is None:
        yield _missing(server)
        return
    subject = f"pgvector {server.installed}"
    versions = f"PostgreSQL {server.version}, pgvector {server.installed}"
    if version_numbers(server.installed) < _ITERATIVE:
        yield Finding(
            PROBLEM,
            "pgvector_old",
            subject,
            f"{versions}: before 0.8 a search with a filter gives fewer rows than it should (no iterative scans)",
            "install pgvector 0.8 or newer on the server, then ALTER EXTENSION vector UPDATE",
        )
    else:
        yield Finding(OK, "versions", subject, versions)
    if server.available and version_numbers(server.available) > version_numbers(server.installed):
        yield Finding(
            NOTE,
            "pgvector_update",
            subject,
            f"the server has pgvector {server.available}, and this database uses {server.installed}",
            "ALTER EXTENSION vector UPDATE",
        )
    if not server.is_in_path:
        path = ", ".join(identifier(name) for name in (*_names(server.search_path), str(server.schema)))
        yield Finding(
            PROBLEM,
            "extension_out_of_path",
            subject,
            f"pgvector is in the schema {server.schema}, which is not in the search path ({server.search_path}), so "
            f"its operators are not found",
            f"ALTER DATABASE {identifier(server.database)} SET search_path = {path}",
        )


def _names(search_path: str) -> list[str]:
    """The schemas of a search path, as the setting has them.

    >>> _names('"$user", public,"the ext"')
    ['$user', 'public', 'the ext']
    """
    names = re.findall(r'"(?:[^"]|"")+"|[^\s,"]+', search_path)
    return [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]


def _missing(server: Server) -> Finding:
    if server.available is None:
        return Finding(
            PROBLEM,
            "pgvector_missing",
            server.database,
            f"PostgreSQL {server.version} without pgvector",
            "its administrator must install the package first (Debian: postgresql-<version>-pgvector)",
        )
    return Finding(
        PROBLEM,
        "no_extension",
        server.database,
        f"the server has pgvector {server.available}, and this database does not use it",
        "CREATE EXTENSION vector, or lightvec init-db",
    )
