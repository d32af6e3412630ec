"""The question for pgvector's types on this wire."""

from __future__ import annotations

from lightvec.extension import TYPES_BUT_NO_CITUS_SQL, TYPES_SQL, ExtensionTypes, types_from
from lightvec.pg8000.exceptions import DatabaseError
from lightvec.pg8000.results import CatalogQuestion

__all__ = ["LookUp"]

_INVALID_TEXT = "22P02"


class LookUp(CatalogQuestion):
    """The question for pgvector's types, and its answer.

    ``not_on_citus`` lets nothing that was sent behind it run on Citus, where that has to be sent otherwise.
    """

    def __init__(self, *, not_on_citus: bool = False) -> None:
        super().__init__(TYPES_BUT_NO_CITUS_SQL if not_on_citus else TYPES_SQL)
        self._not_on_citus = not_on_citus

    @property
    def types(self) -> ExtensionTypes:
        """The answer; without OIDs where pgvector is not installed."""
        return types_from(self.rows or [])

    @property
    def found_citus(self) -> bool:
        """Whether it has stopped what was behind it."""
        error = self.error
        return self._not_on_citus and isinstance(error, DatabaseError) and error.sqlstate == _INVALID_TEXT
