"""Hybrid search; whether an index serves a query, how much it finds, and the setting with which it finds enough.

>>> from lightvec.search import recall
>>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
>>> recall(Doc.embedding, k=2).recall
1.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightvec.search.explaining import explain
    from lightvec.search.hybrid_search import Hybrid, hybrid
    from lightvec.search.recalling import recall
    from lightvec.search.tuning import tune

__all__ = ["Hybrid", "explain", "hybrid", "recall", "tune"]

#: Name to the module that holds it; a function that only searches loads none that measures.
_MODULES = {
    "Hybrid": "lightvec.search.hybrid_search",
    "explain": "lightvec.search.explaining",
    "hybrid": "lightvec.search.hybrid_search",
    "recall": "lightvec.search.recalling",
    "tune": "lightvec.search.tuning",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
