"""The progress of an index build, from pg_stat_progress_create_index."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from lightvec.pg8000.native import Connection

__all__ = ["Progress", "read_progress"]

#: Samples that the time left is computed from.
_SAMPLES = 120


class Progress(NamedTuple):
    """The server's phase of a build, the part of it that is done (None: unknown), the seconds left for it, and the
    process that it waits for."""

    phase: str
    done: float | None = None
    seconds_left: float | None = None
    waits_for: int | None = None


# Behind a pooler the process is unknown (0), and the build is found by its table. A partitioned table builds on each
# partition in turn.
_COUNTERS = """\
SELECT p.phase, CASE WHEN p.tuples_total > 0 THEN p.tuples_done ELSE p.blocks_done END,
    coalesce(nullif(p.tuples_total, 0), p.blocks_total),
    CASE WHEN p.lockers_total > 0 THEN nullif(p.current_locker_pid, 0) END,
    (pg_catalog.pg_blocking_pids(CAST(:pid AS int)))[1]
FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_progress_create_index p
  ON p.command LIKE 'CREATE INDEX%' AND (p.pid = CAST(:pid AS int) OR CAST(:pid AS int) = 0
    AND (p.relid = to_regclass(:table)
      OR p.relid IN (SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(:table)))))
ORDER BY p.pid LIMIT 1"""

# On Citus each shard has a build of its own on the node that holds it.
_SHARD_BUILDS = """\
SELECT coalesce(jsonb_agg(jsonb_build_array(phase,
    CASE WHEN tuples_total > 0 THEN tuples_done ELSE blocks_done END,
    coalesce(nullif(tuples_total, 0), blocks_total))), '[]')
FROM pg_stat_progress_create_index p JOIN unnest(%L::text[]) AS shard (name) ON p.relid = to_regclass(name)
WHERE command LIKE 'CREATE INDEX%%'"""
_COUNTERS_OF_SHARDS = """\
WITH shard AS (SELECT shard_name(logicalrelid, shardid) AS name FROM pg_catalog.pg_dist_shard
    WHERE logicalrelid = to_regclass(:table))
SELECT min(build ->> 0) || ', ' || count(*) || ' of ' || (SELECT count(*) FROM shard) || ' shards at once',
    sum((build ->> 1)::float8), sum((build ->> 2)::float8), NULL, NULL
FROM run_command_on_all_nodes(pg_catalog.format(:builds, ARRAY(SELECT name FROM shard))) node
CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN node.success THEN node.result::jsonb ELSE '[]' END) build"""


def read_progress(
    connect: Callable[[], Connection], pid: int | None, table: str, *, on_shards: bool
) -> Generator[Progress | None, None, None]:
    """Yield the progress of the build on a table (as SQL), read over a connection of its own; None while there is none.

    ``pid`` is the process that builds, None if unknown.
    """
    params: dict[str, Any] = {"table": table, **({"builds": _SHARD_BUILDS} if on_shards else {"pid": pid or 0})}
    samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
    last_phase = None
    with connect() as conn:
        while True:
            rows = conn.run(_COUNTERS_OF_SHARDS if on_shards else _COUNTERS, **params) or [[None] * 5]
            phase, done, total, locker, blocker = rows[0]
            if phase != last_phase:
                last_phase = phase
                samples.clear()
            if phase is None:
                yield None if blocker is None else Progress("waiting for a lock", waits_for=blocker)
            elif locker or not total:
                yield Progress(phase, waits_for=locker)
            else:
                part = min((done or 0) / total, 1.0)
                samples.append((time.monotonic(), part))
                yield Progress(phase, part, _seconds_left(samples))


def _seconds_left(samples: Sequence[tuple[float, float]]) -> float | None:
    """By recent samples: a graph that no longer fits in memory slows down a lot."""
    (start, before), (now, part) = samples[0], samples[-1]
    return (1 - part) * (now - start) / (part - before) if part > before and now - start > 1 else None
