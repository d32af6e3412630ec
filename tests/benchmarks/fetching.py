"""SELECT of vectors into a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.measuring import in_turn, rates, timed
from tests.benchmarks.stand import ROWS, Stand

_SQL = "SELECT id, embedding FROM fetched"


def _matrix(stand: Stand, rounds: int) -> Sequence[Pair]:
    stand.make_table("fetched")
    stand.fill("fetched")
    with stand.lightvec() as conn, stand.psycopg() as peer:
        _check(_ours(conn), stand)
        _check(_theirs(peer), stand)
        ours, theirs = in_turn(rounds, lambda: timed(lambda: _ours(conn)), lambda: timed(lambda: _theirs(peer)))
    return [Pair(rates(ours, ROWS), rates(theirs, ROWS))]


def _ours(conn: Any) -> tuple[Any, Any]:
    columns = conn.fetch_columns(_SQL)
    return columns["id"], columns["embedding"]


def _theirs(conn: Any) -> tuple[Any, Any]:
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(_SQL).fetchall()
    return [number for number, _ in rows], np.stack([vector.to_numpy() for _, vector in rows])


def _check(fetched: tuple[Any, Any], stand: Stand) -> None:
    ids, matrix = fetched
    assert np.array_equal(ids, stand.ids)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, stand.matrix)


FIGURES = (
    Figure(
        "fetch-matrix",
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
        needs=["fetch_columns"],
    ),
)
