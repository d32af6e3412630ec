"""How far the build of an index is, by the server's own counters."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lightvec.errors import LightvecError
from lightvec.pg8000.native import Connection
from lightvec.wire.identifiers import identifier

__all__ = ["Progress", "Watcher"]

#: The looks by which the time left is told.
_LOOKS = 120


@dataclass(frozen=True)
class Progress:
    """How far a build is: the server's word for what it does, the part of that which is done (None: it does not say),
    the seconds left for it, and the process that it waits for."""

    phase: str
    done: float | None = None
    seconds_left: float | None = None
    waits_for: int | None = None


_COUNTERS = """\
SELECT p.phase, p.tuples_done, p.tuples_total, p.blocks_done, p.blocks_total, p.lockers_total, p.current_locker_pid,
    (pg_catalog.pg_blocking_pids(CAST(:pid AS int)))[1]
FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_progress_create_index p
  ON p.command LIKE 'CREATE INDEX%' AND (p.pid = CAST(:pid AS int) OR CAST(:pid AS int) = 0
    AND (p.relid = to_regclass(:table)
      OR p.relid IN (SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(:table)))))
LIMIT 1"""


# On Citus the builds are on the nodes that have the shards, one for each shard at a time or all at once.
_BUILDS = """\
SELECT coalesce(jsonb_agg(jsonb_build_array(phase, coalesce(nullif(tuples_done, 0), blocks_done),
    coalesce(nullif(tuples_total, 0), blocks_total))), '[]')
FROM pg_stat_progress_create_index p JOIN unnest(%L::text[]) AS shard (name) ON p.relid = to_regclass(name)
WHERE command LIKE 'CREATE INDEX%%'"""
_COUNTERS_OF_SHARDS = """\
SELECT min(phase), sum(done), sum(total), count(*)::int, (SELECT count(*)::int FROM pg_catalog.pg_dist_shard
    WHERE logicalrelid = to_regclass(:table))
FROM run_command_on_all_nodes(pg_catalog.format(:builds, ARRAY(
    SELECT shard_name(logicalrelid, shardid) FROM pg_catalog.pg_dist_shard
    WHERE logicalrelid = to_regclass(:table)))) node
CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN node.success THEN node.result::jsonb ELSE '[]' END) build
CROSS JOIN LATERAL (SELECT build ->> 0, (build ->> 1)::float8, (build ->> 2)::float8) AS counted (phase, done, total)"""


class Watcher:
    """Looks at how far a build is: by its process, or behind a pooler by its table; on Citus on the nodes."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        pid: int | None,
        schema: str | None,
        table: str,
        *,
        on_shards: bool = False,
    ) -> None:
        self._on_shards = on_shards
        self._pid = pid or 0
        self._table = identifier(*filter(None, (schema, table)))
        self._phase = ""
        self._looks: deque[tuple[float, float]] = deque(maxlen=_LOOKS)
        self._conn: Connection | None = None
        try:
            self._conn = connect()
        except LightvecError as error:
            self._trouble: str | None = f"its progress cannot be read ({error})"
        else:
            self._trouble = None

    def look(self) -> Progress | None:
        """How far it is; None where there is nothing to say."""
        if self._conn is None:
            trouble, self._trouble = self._trouble, None
            return None if trouble is None else Progress(trouble)
        try:
            if self._on_shards:
                return self._progress_of_shards(self._conn)
            rows = self._conn.run(_COUNTERS, pid=self._pid, table=self._table)
        except LightvecError as error:
            self.close()
            return Progress(f"its progress cannot be read ({error})")
        return self._progress(*rows[0]) if rows else None

    def _progress_of_shards(self, conn: Connection) -> Progress | None:
        """How far the builds are that run at this moment, together."""
        rows = conn.run(_COUNTERS_OF_SHARDS, builds=_BUILDS, table=self._table) or [[None] * 5]
        phase, done, total, builds, shards = rows[0]
        if phase is None:
            return None
        return self._progress(f"{phase}, {builds} of {shards} shards at once", done, total, 0, 0, None, None, None)

    def close(self) -> None:
        """Leave the server."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _progress(
        self,
        phase: str | None,
        tuples: float | None,
        all_tuples: float | None,
        blocks: int | None,
        all_blocks: int | None,
        lockers: int | None,
        locker: int | None,
        blocker: int | None,
    ) -> Progress | None:
        if phase is None:
            return None if blocker is None else Progress("waiting for a lock", waits_for=blocker)
        if phase != self._phase:
            self._phase = phase
            self._looks.clear()
        if lockers and locker:
            return Progress(phase, waits_for=locker)
        done, total = (tuples, all_tuples) if all_tuples else (blocks, all_blocks)
        if not total:
            return Progress(phase)
        part = min((done or 0) / total, 1.0)
        return Progress(phase, part, self._left(part))

    def _left(self, part: float) -> float | None:
        """The seconds left at the speed of the last looks: a graph that no longer fits in memory slows down a lot."""
        now = time.monotonic()
        self._looks.append((now, part))
        since, before = self._looks[0]
        return (1 - part) * (now - since) / (part - before) if part > before and now - since > 1 else None
