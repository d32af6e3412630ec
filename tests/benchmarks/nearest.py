"""The nearest-neighbor query through Peewee."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from pgvector.psycopg import register_vector

from tests.benchmarks.apps import on_lightvec, on_pgvector
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.timing import Sample, alternate, cpus, timed, walls
from tests.benchmarks.workbench import Workbench

Search = Callable[[Any], list[Any]]


def _nearest(bench: Workbench, rounds: int) -> Sequence[Pair]:
    _check_index(bench)
    on_lightvec.database.init(bench.url)
    on_pgvector.database.init(bench.url, prefer_psycopg3=True)
    on_pgvector.database.connect()
    register_vector(on_pgvector.database.connection())
    pairs = [
        _pair(rounds, on_pgvector.nearest_binary, list(bench.searches)),
        _pair(rounds, on_pgvector.nearest, bench.searches.tolist()),
    ]
    on_lightvec.database.close()
    on_pgvector.database.close()
    return pairs


def _pair(rounds: int, their_search: Search, vectors: list[Any]) -> Pair:
    for vector in vectors:
        assert _rows(on_lightvec.nearest(vector)) == _rows(their_search(vector))
    ours, theirs = alternate(
        rounds,
        partial(_search_all, on_lightvec.nearest, vectors),
        partial(_search_all, their_search, vectors),
    )
    each = 1e6 / len(vectors)
    note = f"client CPU: {median(cpus(ours, each)):.0f} µs against {median(cpus(theirs, each)):.0f}"
    return Pair(walls(ours, each), walls(theirs, each), note)


def _search_all(search: Search, vectors: list[Any]) -> Sample:
    return timed(lambda: [search(vector) for vector in vectors])


def _rows(found: list[Any]) -> list[tuple[Any, ...]]:
    """The columns that both sides must return alike."""
    return [(row.id, row.synset, row.lemma, row.pos, row.category, row.text, row.distance) for row in found]


def _check_index(bench: Workbench) -> None:
    with bench.lightvec() as conn:
        plan = conn.run(
            f"EXPLAIN SELECT id, embedding <=> :v AS distance FROM {bench.glosses} ORDER BY distance LIMIT 10",
            v=bench.searches[0],
        )
    assert "Index Scan" in str(plan), plan


FIGURES = (
    Figure(
        "nearest",
        (
            Limit("Peewee nearest(k=10), HNSW: array to rows", "µs", 0.9, "psycopg 3 (C), array in binary"),
            Limit("  list to rows", "µs", 0.6, "psycopg 3 (C), pgvector's field"),
        ),
        _nearest,
        rounds=60,
    ),
)
