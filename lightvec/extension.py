"""The query for pgvector in a database, in any schema, and for Citus. All drivers use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["NO_EXTENSION", "TYPES_BUT_NO_CITUS_SQL", "TYPES_SQL", "ExtensionTypes", "types_from", "version_numbers"]

#: Returns a row for each type of the extension, and none where it is not installed.
TYPES_SQL = """\
SELECT e.extversion, n.nspname, t.typname, t.oid, t.typarray,
    CASE WHEN n.nspname = ANY (pg_catalog.current_schemas(true)) THEN '' ELSE n.nspname END,
    (SELECT c.extversion FROM pg_catalog.pg_extension c WHERE c.extname = 'citus')
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
JOIN pg_catalog.pg_type t ON t.typnamespace = e.extnamespace
WHERE e.extname = 'vector' AND t.typname IN ('vector', 'halfvec', 'sparsevec')"""

#: The same, but fails (SQLSTATE 22P02) where Citus is installed, and with it everything up to the next Sync.
TYPES_BUT_NO_CITUS_SQL = TYPES_SQL.replace("(SELECT c.extversion", "(SELECT ('citus ' || c.extversion)::int::text")


class ExtensionTypes(NamedTuple):
    """pgvector in one database: OIDs by type name, which differ between databases, version and schema.

    ``out_of_path`` is the schema again if it is not on the session's search path, where statements must qualify
    pgvector's names; else empty. ``citus`` is the version of Citus, empty where that is not installed.
    """

    oids: Mapping[str, int]
    array_oids: Mapping[str, int]
    version: tuple[int, ...] = ()
    schema: str = ""
    out_of_path: str = ""
    citus: tuple[int, ...] = ()


NO_EXTENSION = ExtensionTypes(MappingProxyType({}), MappingProxyType({}))


def types_from(rows: Sequence[Sequence[Any]]) -> ExtensionTypes:
    """The result of :data:`TYPES_SQL`, whose OIDs may be numbers or texts."""
    if not rows:
        return NO_EXTENSION
    version, schema, _, _, _, out_of_path, citus = rows[0]
    oids = MappingProxyType({row[2]: int(row[3]) for row in rows})
    array_oids = MappingProxyType({row[2]: int(row[4]) for row in rows})
    citus_version = version_numbers(citus or "")
    return ExtensionTypes(oids, array_oids, version_numbers(version), schema, out_of_path, citus_version)


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of an extension's version.

    >>> version_numbers("0.8.6"), version_numbers("14.0-1")
    ((0, 8, 6), (14, 0, 1))
    """
    return tuple(int(part) for part in version.replace("-", ".").split(".") if part.isdigit())
