"""The question for pgvector's types on this wire."""

from __future__ import annotations

from lightvec.extension import TYPES_SQL, ExtensionTypes, types_from
from lightvec.pg8000.results import CatalogQuestion

__all__ = ["LookUp"]


class LookUp(CatalogQuestion):
    """The question for pgvector's types, and its answer."""

    def __init__(self) -> None:
        super().__init__(TYPES_SQL)

    @property
    def types(self) -> ExtensionTypes:
        """The answer; without OIDs where pgvector is not installed."""
        return types_from(self.rows or [])
