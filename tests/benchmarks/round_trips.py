"""Round trips, counted on the socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightvec import Vector, connect
from lightvec.pg8000 import dbapi
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.workbench import Workbench
from tests.pg8000.roundtrips import CLIENT, Record, Relay

_LARGE = Vector([index / 7 for index in range(768)])
_SETTINGS = {"hnsw.ef_search": 100, "work_mem": "5MB"}
_QUERIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SELECT 1", {}),
    ("SELECT :a + 1", {"a": 41}),
    ("SELECT :v <-> :v", {"v": _LARGE}),
    ("SELECT :v", {"v": [_LARGE] * 40}),
    ("SELECT generate_series(1, 10000)", {}),
)
#: How often each query runs: later runs may be sent differently.
_TIMES = 8


def _round_trips(bench: Workbench, rounds: int) -> Sequence[Pair]:
    with Relay(bench.url) as relay:
        counts = (
            _queries(relay, {}),
            _queries(relay, {"settings": _SETTINGS}),
            _executemany(relay),
            _first_vector(relay),
        )
    return [Pair([count]) for count in counts]


def _queries(relay: Relay, options: dict[str, Any]) -> int:
    """The round trips of the query that takes most, outside of a transaction and inside."""
    most = 0
    with connect(relay.url) as conn:
        conn.extension()
        for statement in ("SELECT 1", "BEGIN"):
            conn.run(statement)
            for sql, values in _QUERIES * _TIMES:
                with relay.recording() as record:
                    conn.run(sql, **options, **values)
                most = max(most, _waits(record))
    return most


def _executemany(relay: Relay) -> int:
    rows = [(number, _LARGE) for number in range(100)]
    with dbapi.connect(relay.url) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE many (id int, embedding vector)")
        conn.commit()
        conn.extension()
        with relay.recording() as record:
            cursor.executemany("INSERT INTO many VALUES (%s, %s)", rows)
    return _waits(record)


def _first_vector(relay: Relay) -> int:
    with connect(relay.url) as conn, relay.recording() as record:
        assert conn.run("SELECT :v", v=_LARGE) == [[_LARGE]]
    return _waits(record)


def _waits(record: Record) -> int:
    """How often the client waited for the server.

    A server that replies while the client still writes is not waited for: count only as many
    replies as there are messages that request one (Sync, Flush, simple Query).
    """
    requests = sum(code in "SHQ" for code in record.codes(CLIENT))
    return min(record.round_trips, requests)


FIGURES = (
    Figure(
        "round-trips",
        (
            Limit("round trips: any query", "", 1),
            Limit("  any query with settings", "", 1),
            Limit("  executemany of 100", "", 1),
            Limit("  from login to first vector result", "", 2),
        ),
        _round_trips,
    ),
)
