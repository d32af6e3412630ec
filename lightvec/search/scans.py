"""How far an index is searched: pgvector's settings, as the server has them for a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lightvec.peewee.database import Pg8000Database

__all__ = ["SETTINGS", "Scan", "scan_of"]

#: Index method to the setting that trades time for recall, and its value where nobody has set it (pgvector 0.8).
SETTINGS: Mapping[str, tuple[str, int]] = {"hnsw": ("ef_search", 40), "ivfflat": ("probes", 1)}


class Scan(NamedTuple):
    """``effort`` is ``ef_search`` or ``probes``, ``order`` that of an iterative scan; None where there is none."""

    effort: int
    order: str | None


def scan_of(database: Pg8000Database, method: str, settings: Mapping[str, object] | None = None) -> Scan:
    """How an index of this method is searched by a query with these settings of its own, whoever made the others."""
    name, default = SETTINGS[method]
    names = (f"{method}.{name}", f"{method}.iterative_scan")
    sql = "SELECT nullif(current_setting(%s, true), ''), nullif(current_setting(%s, true), 'off')"
    # Nothing is known of them in a session that has not used pgvector yet, such as a pooler may give.
    ((value, order),) = database.execute_sql(sql, names, settings=settings).fetchall()
    return Scan(int(value or default), order or None)
