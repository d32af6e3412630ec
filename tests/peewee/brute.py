"""The distances by NumPy, to compare pgvector's answers with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def _jaccard(rows: Matrix, query: Matrix) -> Matrix:
    common = np.minimum(rows, query).sum(1)
    either = np.maximum(rows, query).sum(1)
    return np.asarray(1 - common / np.maximum(either, 1))


DISTANCES: dict[str, Callable[[Matrix, Matrix], Any]] = {
    "l2": lambda rows, query: np.sqrt(((rows - query) ** 2).sum(1)),
    "ip": lambda rows, query: -(rows @ query),
    "cosine": lambda rows, query: 1 - (rows @ query) / np.linalg.norm(rows, axis=1) / np.linalg.norm(query),
    "l1": lambda rows, query: np.abs(rows - query).sum(1),
    "hamming": lambda rows, query: np.abs(rows - query).sum(1),
    "jaccard": _jaccard,
}

SCORES: dict[str, Callable[[Any], Any]] = {
    "l2": lambda distance: 1 / (1 + distance),
    "ip": lambda distance: -distance,
    "cosine": lambda distance: 1 - distance,
    "l1": lambda distance: 1 / (1 + distance),
    "hamming": lambda distance: 1 / (1 + distance),
    "jaccard": lambda distance: 1 - distance,
}


def rounded(rows: Matrix, precision: Any) -> Matrix:
    """The numbers as the column holds them."""
    return rows.astype(precision).astype(np.float64)
