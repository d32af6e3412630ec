"""The nearest-neighbour query through Peewee."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.apps import ours as our_app
from tests.benchmarks.apps import theirs as their_app
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.measuring import Sample, cpus, in_turn, timed, walls
from tests.benchmarks.stand import Stand

Search = Callable[[list[float]], list[Any]]


def _nearest(stand: Stand, rounds: int) -> Sequence[Pair]:
    _check_index(stand)
    our_app.database.init(stand.url)
    their_app.database.init(stand.url, prefer_psycopg3=True)
    for vector in stand.searches:
        assert _rows(our_app.nearest(vector)) == _rows(their_app.nearest(vector))
    ours, theirs = in_turn(
        rounds,
        lambda: _all(our_app.nearest, stand.searches),
        lambda: _all(their_app.nearest, stand.searches),
    )
    our_app.database.close()
    their_app.database.close()
    each = 1e6 / len(stand.searches)
    cpu = [median(cpus(samples, each)) for samples in (ours, theirs)]
    return [Pair(walls(ours, each), walls(theirs, each), "client CPU: {:.0f} against {:.0f} µs".format(*cpu))]


def _all(search: Search, vectors: list[list[float]]) -> Sample:
    return timed(lambda: [search(vector) for vector in vectors])


def _rows(found: list[Any]) -> list[tuple[Any, ...]]:
    """What both sides must have found."""
    return [(row.id, row.synset, row.lemma, row.pos, row.category, row.text, row.distance) for row in found]


def _check_index(stand: Stand) -> None:
    with stand.lightvec() as conn:
        plan = conn.run(
            f"EXPLAIN SELECT id, embedding <=> :v::vector AS distance FROM {stand.glosses} ORDER BY distance LIMIT 10",
            v=str(stand.searches[0]),
        )
    assert "hnsw" in str(plan) or "embedding_idx" in str(plan), plan


FIGURES = (
    Figure(
        "nearest",
        (Limit("Peewee nearest(k=10) over HNSW, model rows out", "µs", 1.0, "Peewee on psycopg 3 (C)"),),
        _nearest,
        rounds=60,
    ),
)
