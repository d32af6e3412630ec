"""The one table of metrics: operator, operator classes, index methods and score.

Source of the operators and classes: ``sql/vector.sql`` of pgvector 0.8.

============  ========  ======================  ==================
metric        operator  distance method         score of distance d
============  ========  ======================  ==================
``l2``        ``<->``   ``l2_distance``         ``1 / (1 + d)``
``ip``        ``<#>``   ``max_inner_product``   ``-d``, the inner product
``cosine``    ``<=>``   ``cosine_distance``     ``1 - d``, the cosine
``l1``        ``<+>``   ``l1_distance``         ``1 / (1 + d)``
``hamming``   ``<~>``   ``hamming_distance``    ``1 / (1 + d)``
``jaccard``   ``<%>``   ``jaccard_distance``    ``1 - d``, the Jaccard index
============  ========  ======================  ==================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption

__all__ = ["INDEX_DIMENSIONS", "METRICS", "Metric", "Score", "metric_for", "metric_of_call", "metrics_of"]

#: The most dimensions that an index takes, by column type (of a sparsevec: non-zero elements).
INDEX_DIMENSIONS: Mapping[str, int] = MappingProxyType(
    {"vector": 2_000, "halfvec": 4_000, "bit": 64_000, "sparsevec": 1_000}
)


class Score(NamedTuple):
    """How a distance becomes a score (higher is better), and back.

    Both functions use plain arithmetic only, so they take numbers and SQL expressions alike.
    """

    of: Callable[[Any], Any]
    to_distance: Callable[[float], float]


_COMPLEMENT = Score(lambda distance: 1 - distance, lambda score: 1 - score)
_NEGATIVE = Score(lambda distance: 0 - distance, lambda score: 0 - score)
_RECIPROCAL = Score(
    lambda distance: 1.0 / (1.0 + distance),
    lambda score: 1.0 / score - 1.0 if score > 0 else float("inf"),
)


class Metric(NamedTuple):
    """A measure of the distance between two vectors.

    ``name`` is what a field declares, ``operator`` the SQL operator, ``method`` the distance method on
    fields (pgvector's). ``indexed_types`` maps an index method to the column types that it indexes.

    >>> METRICS["cosine"].operator
    '<=>'
    >>> METRICS["cosine"].operator_class("halfvec", "hnsw")
    'halfvec_cosine_ops'
    """

    name: str
    operator: str
    method: str
    score: Score
    indexed_types: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        return f"<Metric {self.name}>"

    def operator_class(self, column_type: str, index_method: str) -> str:
        """The operator class of an index; :class:`InvalidOption` where pgvector has none."""
        if column_type not in self.indexed_types.get(index_method, ()):
            methods = [method for method, types in self.indexed_types.items() if column_type in types]
            raise InvalidOption(
                f"pgvector has no {index_method} index on {column_type} columns by {self.name}; "
                f"it has {_listed(methods) or 'none for this type and metric'}"
            )
        return f"{column_type}_{self.name}_ops"


_NUMERIC = ("vector", "halfvec", "sparsevec")
_DENSE = ("vector", "halfvec")


def _metric(
    name: str, operator: str, method: str, score: Score, hnsw: tuple[str, ...], ivfflat: tuple[str, ...]
) -> Metric:
    return Metric(name, operator, method, score, MappingProxyType({"hnsw": hnsw, "ivfflat": ivfflat}))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _metric("l2", "<->", "l2_distance", _RECIPROCAL, _NUMERIC, _DENSE),
            _metric("ip", "<#>", "max_inner_product", _NEGATIVE, _NUMERIC, _DENSE),
            _metric("cosine", "<=>", "cosine_distance", _COMPLEMENT, _NUMERIC, _DENSE),
            _metric("l1", "<+>", "l1_distance", _RECIPROCAL, _NUMERIC, ()),
            _metric("hamming", "<~>", "hamming_distance", _RECIPROCAL, ("bit",), ("bit",)),
            _metric("jaccard", "<%>", "jaccard_distance", _COMPLEMENT, ("bit",), ()),
        )
    }
)


def metrics_of(column_type: str) -> tuple[str, ...]:
    """The names of pgvector's metrics for columns of a type, the usual one first.

    >>> metrics_of("bit")
    ('hamming', 'jaccard')
    """
    # HNSW supports every metric of a type.
    return tuple(name for name, metric in METRICS.items() if column_type in metric.indexed_types["hnsw"])


def metric_for(name: str, allowed: Iterable[str] = METRICS) -> Metric:
    """The metric of this name, if it is one of ``allowed``; else :class:`InvalidOption`.

    >>> metric_for("cosine").method
    'cosine_distance'
    >>> metric_for("euclid", ["l2", "cosine"])
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: 'euclid' is not a metric here: expected 'l2' or 'cosine'
    """
    allowed = tuple(allowed)
    if name not in allowed:
        raise InvalidOption(f"{name!r} is not a metric here: expected {_listed(map(repr, allowed))}")
    return METRICS[name]


def metric_of_call(name: str | None, column: str, kind: str, allowed: tuple[str, ...]) -> Metric:
    """The metric that a call or the column's declaration names; :class:`InvalidOption` for none.

    ``column`` and ``kind`` are the names of the column and of its type, for the error.
    """
    if name is None:
        raise InvalidOption(f"{column} declares no metric: write {kind}(metric={allowed[0]!r}) or name one in the call")
    return metric_for(name, allowed)


def _listed(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *front, last = list(words) or [""]
    return f"{', '.join(front)} or {last}" if front else last
