"""``HALFVEC``: a ``halfvec`` column."""

from __future__ import annotations

from lightvec.metrics import metrics_of
from lightvec.sqlalchemy.comparators import VectorComparator
from lightvec.sqlalchemy.types import VectorType
from lightvec.types import HalfVector

__all__ = ["HALFVEC"]


class HALFVEC(VectorType):
    """A ``halfvec`` column, half precision; values are :class:`lightvec.HalfVector`."""

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "HALFVEC"
    value_class = HalfVector
    metrics = metrics_of("halfvec")
    comparator_factory = VectorComparator
