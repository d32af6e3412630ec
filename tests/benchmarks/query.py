"""A query that only sends one large parameter."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.timing import Side, alternate, cpus, repeated, walls
from tests.benchmarks.workbench import Workbench

#: Queries in a round.
_COUNT = 100


def _measure(bench: Workbench, rounds: int, *, tcp: bool) -> Sequence[Pair]:
    vector = bench.matrix[0]
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(bench.one_core())
        ours = _ours(enter(bench.lightvec(tcp=tcp)), vector)
        theirs = _theirs(enter(bench.psycopg(tcp=tcp)), vector)
        ours_unprepared = _ours(enter(bench.lightvec(tcp=tcp, prepare=False)), vector)
        theirs_unprepared = _theirs(enter(bench.psycopg(tcp=tcp, prepare_threshold=None)), vector)
        pg8000 = bench.pg8000(tcp=tcp)
        stack.callback(pg8000.close)
        # pg8000 leaves TCP_NODELAY off: a query over TCP waits some 40 ms.
        few = 10 if tcp else _COUNT
        return [
            _pair(rounds, ours, theirs),
            _pair(rounds, ours_unprepared, theirs_unprepared),
            _pair(max(rounds // 20, 3), ours, partial(repeated, partial(_run, pg8000, vector), few)),
        ]


def _pair(rounds: int, our_side: Side, their_side: Side) -> Pair:
    ours, theirs = alternate(rounds, our_side, their_side)
    note = f"client CPU: {median(cpus(ours, 1e6)):.1f} µs against {median(cpus(theirs, 1e6)):.1f}"
    return Pair(walls(ours, 1e6), walls(theirs, 1e6), note)


def _ours(conn: Any, vector: Any) -> Side:
    return partial(repeated, partial(_run, conn, vector), _COUNT)


def _theirs(conn: Any, vector: Any) -> Side:
    def execute() -> Any:
        return conn.execute("SELECT %b::vector IS NULL", (vector,), binary=True).fetchall()

    return partial(repeated, execute, _COUNT)


def _run(conn: Any, vector: Any) -> Any:
    return conn.run("SELECT :v::vector IS NULL", v=vector)


def _limits(what: str) -> Sequence[Limit]:
    return (
        Limit(what, "µs", 0.8, "psycopg 3 (C), prepared"),
        Limit("  with prepare=False", "µs", 0.9, "prepare_threshold=None"),
        Limit("  the query, prepared", "µs", 0.1, "pg8000, pgvector's adapter"),
    )


FIGURES = (
    Figure("query", _limits("query with a 768-d parameter"), partial(_measure, tcp=False), rounds=100),
    Figure("query-tcp", _limits("the same over TCP"), partial(_measure, tcp=True), rounds=100),
)
