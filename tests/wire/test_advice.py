"""Remedies for errors of statements that use pgvector."""

from __future__ import annotations

import pytest

from lightvec.extension import ExtensionTypes
from lightvec.wire.advice import advice


def extension(*version: int) -> ExtensionTypes:
    return ExtensionTypes({"vector": 1}, {"vector": 2}, version, "public")


@pytest.mark.parametrize(
    ("sql", "sqlstate", "version", "start"),
    [
        ("CREATE TABLE t (v halfvec(3))", "42704", (0, 6, 2), "halfvec needs pgvector 0.7, this database has 0.6.2: "),
        ("SELECT '{1:1}/3'::sparsevec", "42704", (0, 6, 0), "sparsevec needs pgvector 0.7"),
        ("SELECT B'1' <~> B'0'", "42883", (0, 6, 0), "<~> needs pgvector 0.7"),
        ("SELECT hamming_distance(B'1', B'0')", "42883", (0, 6, 0), "hamming_distance needs pgvector 0.7"),
        ("CREATE INDEX ON t USING hnsw (v vector_l1_ops)", "42704", (0, 6, 0), "vector_l1_ops needs pgvector 0.7"),
        ("CREATE INDEX ON t USING HNSW (v vector_l2_ops)", "42704", (0, 4, 4), "HNSW needs pgvector 0.5"),
        ("SET hnsw.iterative_scan = 'on'", "42602", (0, 7, 4), "hnsw.iterative_scan needs pgvector 0.8"),
    ],
)
def test_what_only_a_newer_pgvector_has(sql: str, sqlstate: str, version: tuple[int, ...], start: str) -> None:
    remedy = advice(extension(*version), sql, sqlstate, ())
    assert remedy is not None
    assert remedy.startswith(start)
    assert remedy.endswith("ALTER EXTENSION vector UPDATE")
    assert advice(extension(0, 8, 6), sql, sqlstate, ()) is None
    assert advice(extension(*version), sql, "42601", ()) is None


def test_a_setting_that_no_version_has() -> None:
    off_path = extension(0, 8, 6)._replace(out_of_path="extensions")
    assert advice(off_path, "SET hnsw.nothing = 1", "42602", ()) is None
