"""SELECT of vectors into a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.timing import alternate, rates, timed
from tests.benchmarks.workbench import ROWS, Workbench

_SQL = "SELECT id, embedding FROM fetched"


def _matrix(bench: Workbench, rounds: int) -> Sequence[Pair]:
    bench.make_table("fetched")
    bench.fill("fetched")
    with bench.lightvec() as conn, bench.psycopg() as peer:
        _check(_ours(conn), bench)
        _check(_theirs(peer), bench)
        ours, theirs = alternate(
            rounds,
            lambda: timed(lambda: _ours(conn)),
            lambda: timed(lambda: _theirs(peer)),
        )
    return [Pair(rates(ours, ROWS), rates(theirs, ROWS))]


def _ours(conn: Any) -> tuple[Any, Any]:
    columns = conn.fetch_columns(_SQL)
    return columns["id"], columns["embedding"]


def _theirs(conn: Any) -> tuple[Any, Any]:
    rows = conn.execute(_SQL, binary=True).fetchall()
    return [number for number, _ in rows], np.stack([vector.to_numpy() for _, vector in rows])


def _check(fetched: tuple[Any, Any], bench: Workbench) -> None:
    ids, matrix = fetched
    assert np.array_equal(ids, bench.ids)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, bench.matrix)


FIGURES = (
    Figure(
        "fetch",
        (
            Limit(
                "fetch of id and 768-d vector, as a matrix",
                "rows/s",
                1.5,
                "psycopg 3 (C), numpy.stack",
                at_least=True,
            ),
        ),
        _matrix,
        rounds=15,
    ),
)
