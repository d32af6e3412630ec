"""``VECTOR``: a ``vector`` column."""

from __future__ import annotations

from lightvec.metrics import metrics_of
from lightvec.sqlalchemy.comparators import VectorComparator
from lightvec.sqlalchemy.types import VectorType
from lightvec.types import Vector

__all__ = ["VECTOR"]


class VECTOR(VectorType):
    """A ``vector`` column, single precision; values are :class:`lightvec.Vector`.

    ``dim`` is how many dimensions its vectors have, None for any. ``metric`` (``"l2"``, ``"ip"``, ``"cosine"`` or
    ``"l1"``) is what ``distance()`` and ``score()`` go by.

    >>> VECTOR(3), VECTOR(3, metric="cosine")
    (VECTOR(dim=3), VECTOR(dim=3, metric='cosine'))
    """

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "VECTOR"
    value_class = Vector
    metrics = metrics_of("vector")
    comparator_factory = VectorComparator
