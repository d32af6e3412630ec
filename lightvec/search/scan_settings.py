"""How far a query searches an index: pgvector's settings, as the server has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightvec.peewee.database import Pg8000Database

__all__ = ["SETTINGS", "ScanSettings", "scan_settings"]

#: Index method to the setting that trades time for recall, and pgvector's default.
SETTINGS: Mapping[str, tuple[str, int]] = {"hnsw": ("ef_search", 40), "ivfflat": ("probes", 1)}


class ScanSettings(NamedTuple):
    """``effort`` is ``ef_search`` or ``probes``; ``iterative_scan`` is None where that is off."""

    effort: int
    iterative_scan: str | None


def scan_settings(database: Pg8000Database, method: str, settings: Mapping[str, object] | None = None) -> ScanSettings:
    """The settings of an index method for a query with these settings of its own."""
    name, default = SETTINGS[method]
    names = (f"{method}.{name}", f"{method}.iterative_scan")
    sql = "SELECT nullif(current_setting(%s, true), ''), nullif(current_setting(%s, true), 'off')"
    # The settings are unknown in a session that has not loaded pgvector yet.
    ((value, iterative_scan),) = database.execute_sql(sql, names, settings=settings).fetchall()
    return ScanSettings(int(value or default), iterative_scan or None)
