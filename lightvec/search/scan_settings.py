"""The settings with which an index is scanned: of the query, the session, or Citus's workers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from lightvec.peewee.database import Pg8000Database
from lightvec.search.findings import Finding, finding

__all__ = ["SETTINGS", "ScanSettings", "scan_settings"]

#: Index method to the setting that trades time for recall, and pgvector's default.
SETTINGS: Mapping[str, tuple[str, int]] = {"hnsw": ("ef_search", 40), "ivfflat": ("probes", 1)}

_HERE = "SELECT current_setting(%s, true), current_setting(%s, true)"

_ON_WORKERS = """\
SELECT result FROM run_command_on_workers((
    SELECT format('SELECT jsonb_build_object(%%s)',
        string_agg(format('%%1$L, current_setting(%%1$L, true)', name), ', '))
    FROM unnest(%s::text[]) name)) WHERE success"""


class ScanSettings(NamedTuple):
    """``effort`` is ``ef_search`` or ``probes``; ``iterative_scan`` is None where that is off.

    ``findings`` are on settings of the session that the workers of Citus do not have.
    """

    effort: int
    iterative_scan: str | None
    findings: Sequence[Finding] = ()


def scan_settings(database: Pg8000Database, method: str, settings: Mapping[str, object] | None = None) -> ScanSettings:
    """The settings of an index method for a query with these settings of its own."""
    name, default = SETTINGS[method]
    defaults = {f"{method}.{name}": str(default), f"{method}.iterative_scan": "off"}
    ((*values,),) = database.execute_sql(_HERE, [*defaults], settings=settings).fetchall()
    # They are unknown in a session that has not loaded pgvector yet.
    here = {name: value or defaults[name] for name, value in zip(defaults, values, strict=True)}
    findings: Sequence[Finding] = ()
    if database.extension().citus:
        here, findings = on_workers(here, defaults, settings or (), _workers(database, defaults))
    effort, iterative_scan = here.values()
    return ScanSettings(int(effort), None if iterative_scan == "off" else iterative_scan, findings)


def _workers(database: Pg8000Database, names: Collection[str]) -> list[Mapping[str, Any]]:
    rows = database.execute_sql(_ON_WORKERS, ([*names],)).fetchall()
    return [json.loads(result) for (result,) in rows]


def on_workers(
    here: Mapping[str, str],
    defaults: Mapping[str, str],
    sent: Collection[str],
    workers: Sequence[Mapping[str, str | None]],
) -> tuple[dict[str, str], list[Finding]]:
    """The settings that hold on the workers, where those that are sent along with a query do.

    Of several workers, the lowest value, which finds least.
    """
    found, findings = dict(here), []
    for name in here.keys() - set(sent) if workers else ():
        values = [worker.get(name) or defaults[name] for worker in workers]
        found[name] = min(values, key=lambda each: int(each) if each.isdigit() else each != "off")
        if found[name] != here[name]:
            values_of = {"here": here[name], "there": found[name]}
            findings.append(finding("setting_not_on_workers", name, **values_of))
    return found, findings
