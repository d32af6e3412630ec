"""``SPARSEVEC``: a ``sparsevec`` column."""

from __future__ import annotations

from lightvec.metrics import metrics_of
from lightvec.sqlalchemy.comparators import VectorComparator
from lightvec.sqlalchemy.types import VectorType
from lightvec.types import SparseVector

__all__ = ["SPARSEVEC"]


class SPARSEVEC(VectorType):
    """A ``sparsevec`` column; values are :class:`lightvec.SparseVector`."""

    __module__ = "lightvec.sqlalchemy"
    cache_ok = True
    name = "SPARSEVEC"
    value_class = SparseVector
    metrics = metrics_of("sparsevec")
    comparator_factory = VectorComparator
