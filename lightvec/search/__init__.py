"""Hybrid search, and tools that explain, measure and tune index searches.

>>> from lightvec.search import recall
>>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
>>> recall(Doc.embedding, k=2).recall
1.0

``hybrid_search`` is :func:`hybrid`. ``explaining`` is :func:`explain`, over ``query_plan`` and ``plan_expressions``,
which read the output of EXPLAIN. ``recall_measurement`` and ``tuning`` are :func:`recall` and :func:`tune`, and
``plots`` draws them. ``doctor`` runs the checks in ``doctor_connection``,
``doctor_server``, ``doctor_tables`` and ``doctor_indexes`` on what ``table_statistics`` reads, and
``doctor_embeddings`` with the user's function; ``citus_shards`` is for Citus. ``switching`` moves to another
embedding model.
``scan_settings`` reads the settings of index scans, and ``findings`` has the texts of everything that
explain and doctor report.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightvec.search.explaining import explain
    from lightvec.search.hybrid_search import Hybrid, hybrid
    from lightvec.search.recall_measurement import recall
    from lightvec.search.tuning import tune

__all__ = ["Hybrid", "explain", "hybrid", "recall", "tune"]

#: Name to its module, loaded on first use.
_MODULES = {
    "Hybrid": "hybrid_search",
    "explain": "explaining",
    "hybrid": "hybrid_search",
    "recall": "recall_measurement",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"lightvec.search.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
