"""A query with one large parameter, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.measuring import Sample, cpus, in_turn, timed, walls
from tests.benchmarks.stand import Stand

#: Queries a round.
_COUNT = 100
#: Of plain pg8000 over TCP, which waits some 40 ms in each, since it leaves TCP_NODELAY off.
_FEW = 10
_WHAT = "query with a 768-d parameter, nothing else"


def _parameter(stand: Stand, rounds: int) -> Sequence[Pair]:
    vector = stand.matrix[0]
    with stand.lightvec() as conn, stand.psycopg() as peer, stand.psycopg() as pooled:
        # A connection through a transaction pooler may prepare nothing; lightvec's never does.
        pooled.prepare_threshold = None
        plain = stand.pg8000()
        ours, theirs, unprepared, old = in_turn(
            rounds,
            lambda: _repeated(lambda: conn.run("SELECT :v::vector IS NULL", v=vector)),
            lambda: _repeated(lambda: _psycopg(peer, vector)),
            lambda: _repeated(lambda: _psycopg(pooled, vector)),
            lambda: _repeated(lambda: plain.run("SELECT :v::vector IS NULL", v=vector)),
        )
        plain.close()
    each = 1e6 / _COUNT
    without = median(walls(unprepared, each))
    note = (
        f"{without:.3g} µs with prepare_threshold=None, {median(walls(ours, each)) / without:.2f} x; "
        f"client CPU: {_cpu(ours)} against {_cpu(theirs)} and {_cpu(unprepared)} µs"
    )
    return [
        Pair(walls(ours, each), walls(theirs, each), note),
        Pair(walls(ours, each), walls(old, each)),
    ]


def _over_tcp(stand: Stand, rounds: int) -> Sequence[Pair]:
    vector = stand.matrix[0]
    with stand.lightvec(tcp=True) as conn, stand.psycopg(tcp=True) as peer:

        def run() -> Sample:
            return _repeated(lambda: conn.run("SELECT :v::vector IS NULL", v=vector))

        ours, theirs = in_turn(rounds, run, lambda: _repeated(lambda: _psycopg(peer, vector)))
        # By itself: whoever comes behind the one that waits comes to cold caches.
        plain = stand.pg8000(tcp=True)
        again, old = in_turn(
            rounds // 20,
            run,
            lambda: _repeated(lambda: plain.run("SELECT :v::vector IS NULL", v=vector), _FEW),
        )
        plain.close()
    each = 1e6 / _COUNT
    return [Pair(walls(ours, each), walls(theirs, each)), Pair(walls(again, each), walls(old, 1e6 / _FEW))]


def _psycopg(conn: Any, vector: Any) -> Any:
    return conn.cursor(binary=True).execute("SELECT %b::vector IS NULL", (vector,)).fetchall()


def _repeated(query: Callable[[], Any], count: int = _COUNT) -> Sample:
    def action() -> None:
        for _ in range(count):
            query()

    return timed(action)


def _cpu(samples: list[Sample]) -> int:
    return round(median(cpus(samples, 1e6 / _COUNT)))


FIGURES = (
    Figure(
        "query",
        (
            Limit(_WHAT, "µs", 1.0, "psycopg 3 (C), binary"),
            Limit("the same", "µs", 0.1, "pg8000, pgvector's adapter"),
        ),
        _parameter,
        rounds=100,
    ),
    Figure(
        "query-tcp",
        (
            Limit("the same query over TCP (loopback)", "µs", 1.0, "psycopg 3 (C), binary"),
            Limit("the same", "µs", 0.1, "pg8000, pgvector's adapter"),
        ),
        _over_tcp,
        rounds=100,
    ),
)
