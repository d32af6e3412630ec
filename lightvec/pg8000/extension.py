"""What one database says of pgvector: its types' OIDs, its version and schema.

OIDs of an extension's types differ from database to database. They are asked for by the extension, not by the search
path, so types in another schema are found too.
"""

from __future__ import annotations

from types import MappingProxyType

from lightvec.pg8000.parameters import ExtensionTypes
from lightvec.pg8000.results import CatalogQuestion

__all__ = ["LookUp"]

_SQL = """\
SELECT e.extversion, n.nspname, t.typname, t.oid, t.typarray
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
JOIN pg_catalog.pg_type t ON t.typnamespace = e.extnamespace
WHERE e.extname = 'vector' AND t.typname IN ('vector', 'halfvec', 'sparsevec')"""


class LookUp(CatalogQuestion):
    """The question for pgvector's types, and its answer."""

    def __init__(self) -> None:
        super().__init__(_SQL)

    @property
    def types(self) -> ExtensionTypes:
        """The answer; without OIDs where pgvector is not installed."""
        rows: list[tuple[str, ...]] = self.rows or []
        return ExtensionTypes(
            oids=MappingProxyType({row[2]: int(row[3]) for row in rows}),
            array_oids=MappingProxyType({row[2]: int(row[4]) for row in rows}),
            version=version_numbers(rows[0][0]) if rows else (),
            schema=rows[0][1] if rows else "",
        )


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of an extension's version.

    >>> version_numbers("0.8.6")
    (0, 8, 6)
    """
    return tuple(int(part) for part in version.split(".") if part.isdigit())
