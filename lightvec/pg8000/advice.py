"""What to do where the server does not find a type, a function or an operator: it may be one of pgvector's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lightvec.extension import ExtensionTypes
from lightvec.metrics import METRICS

__all__ = ["may_be_pgvectors", "not_found"]

_UNDEFINED_FUNCTION = "42883"

# By what was asked: the server's words are in its own language.
_PGVECTORS = re.compile(
    "|".join(
        (
            r"(?i:vector|halfvec|sparsevec|hnsw|ivfflat|_ops\b|_distance\b|_product\b|binary_quantize|l2_norm)",
            *(re.escape(metric.operator) for metric in METRICS.values()),
        )
    )
)


def may_be_pgvectors(statement: str) -> bool:
    """Whether a statement holds a name of pgvector's.

    >>> may_be_pgvectors("SELECT a <=> b"), may_be_pgvectors("SELECT a < b")
    (True, False)
    """
    return _PGVECTORS.search(statement) is not None


def not_found(types: ExtensionTypes | None, statement: str, sqlstate: str, values: Sequence[Any]) -> str | None:
    """What to do about a name in this statement that was not found; ``types`` are None where nobody has asked."""
    is_pgvectors = may_be_pgvectors(statement)
    if is_pgvectors and types is not None and not types.oids:
        return "pgvector is not installed in this database: run `lightvec init-db` or CREATE EXTENSION vector"
    if is_pgvectors and types is not None and types.out_of_path:
        return (
            f"pgvector is in the schema {types.out_of_path}, which is not in the search path: `lightvec doctor` prints "
            f"the statement that puts it there"
        )
    if sqlstate == _UNDEFINED_FUNCTION and any(isinstance(value, list) for value in values):
        return "a list is sent as an array: write lightvec.Vector([...]) for a vector"
    if is_pgvectors and types is None:
        return "see by `lightvec doctor` whether pgvector is in this database and in its search path"
    return None
