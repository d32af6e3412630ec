"""Remedies for server errors that have to do with vectors, lists or placeholders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lightvec.extension import ExtensionTypes
from lightvec.metrics import METRICS
from lightvec.wire.placeholders import VECTORS, first_placeholder

__all__ = ["advice", "may_be_pgvectors", "newer_pgvector"]

_UNDEFINED_FUNCTION, _OUT_OF_RANGE = "42883", "22003"
_SYNTAX, _DATA = "42601", "22000"
_DATATYPE_MISMATCH, _INVALID_TEXT = "42804", "22P02"
_SETTING = "42602"
#: The first is for types, access methods and operator classes.
_MISSING = ("42704", _UNDEFINED_FUNCTION, _SETTING)

_AS_HALFVEC = re.compile(r"(?i:\bas\s+|::\s*)halfvec\b")

# Searched for in the statement, because the server's messages are in its own language.
_PGVECTORS = re.compile(
    r"(?i:vector|halfvec|sparsevec|hnsw|ivfflat|_ops\b|_distance\b|_product\b|binary_quantize|l2_norm)|"
    + "|".join(re.escape(metric.operator) for metric in METRICS.values())
)

#: Names and operators by the version of pgvector that brought them (its CHANGELOG.md).
_SINCE = {
    (0, 8): r"hnsw\.(?:iterative_scan|max_scan_tuples|scan_mem_multiplier)|ivfflat\.(?:iterative_scan|max_probes)",
    (0, 7): r"halfvec|sparsevec|binary_quantize|subvector|(?:hamming|jaccard)_distance|bit_(?:hamming|jaccard)_ops|"
    r"vector_l1_ops|l2_normalize|<~>|<%>|<\+>",
    (0, 5): r"hnsw|l1_distance",
}

_TOO_LARGE = (
    "a halfvec, as an index with quantize='halfvec' holds, has numbers up to 65,504: scale the vectors down "
    "(Vector(...).normalized()), or search with exact=True (--exact)"
)
_AS_DOCUMENT = (
    "a list is sent as an array: for a json or jsonb column write lightvec.pg8000.Jsonb([...]), "
    "for a multirange name its type (types=)"
)
_OTHER_DIMENSIONS = (
    "vectors of other dimensions are from another model than the column's: `lightvec doctor` shows the column's"
)


def may_be_pgvectors(statement: str) -> bool:
    """Whether a statement contains a name of pgvector's.

    >>> may_be_pgvectors("SELECT a <=> b"), may_be_pgvectors("SELECT a < b")
    (True, False)
    """
    return _PGVECTORS.search(statement) is not None


def advice(types: ExtensionTypes | None, statement: str, sqlstate: str, values: Sequence[Any]) -> str | None:
    """What to do about an error of this statement; ``types`` is None before they are looked up."""
    if sqlstate == _OUT_OF_RANGE:
        return _TOO_LARGE if _AS_HALFVEC.search(statement) else None
    if sqlstate == _SYNTAX:
        return _about_placeholder(statement)
    if sqlstate in (_DATATYPE_MISMATCH, _INVALID_TEXT):
        return _AS_DOCUMENT if any(isinstance(value, list) for value in values) else None
    is_pgvectors = may_be_pgvectors(statement)
    if types is not None and types.oids and sqlstate in _MISSING:
        newer = newer_pgvector(types, statement)
        if newer:
            return newer
    if sqlstate == _SETTING:
        return None
    if sqlstate == _DATA:
        # pgvector's SQLSTATE for every invalid vector; lightvec refuses what no column takes.
        is_about_vectors = is_pgvectors or any(isinstance(value, VECTORS) for value in values)
        return _OTHER_DIMENSIONS if is_about_vectors else None
    if is_pgvectors and types is not None and not types.oids:
        return "pgvector is not installed in this database: run `lightvec init-db` or CREATE EXTENSION vector"
    if is_pgvectors and types is not None and types.out_of_path:
        return (
            f"pgvector is in the schema {types.out_of_path}, which is not in the search path: `lightvec doctor` prints "
            f"the statement that adds it"
        )
    if sqlstate == _UNDEFINED_FUNCTION and any(isinstance(value, list) for value in values):
        return "a list is sent as an array: write lightvec.Vector([...]) for a vector"
    if is_pgvectors and types is None:
        return "check with `lightvec doctor` that pgvector is in this database and in its search path"
    return None


def newer_pgvector(types: ExtensionTypes, statement: str) -> str | None:
    """What to do where a statement, or the name of a setting, needs a newer version of pgvector."""
    for version, names in _SINCE.items():
        if types.version < version and (found := re.search(names, statement, re.IGNORECASE)):
            return (
                f"{found[0]} needs pgvector {'.'.join(map(str, version))}, this database has "
                f"{'.'.join(map(str, types.version))}: update it on the server, then ALTER EXTENSION vector UPDATE"
            )
    return None


def _about_placeholder(statement: str) -> str | None:
    placeholder = first_placeholder(statement)
    if placeholder is None:
        return None
    return (
        f"{placeholder} was sent unchanged: give its value with the statement, as conn.run(sql, name=value) for "
        f":name and cursor.execute(sql, values) for %s"
    )
