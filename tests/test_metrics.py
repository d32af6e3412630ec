"""The table of metrics against itself and against the server."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidOption
from lightvec.metrics import INDEX_DIMENSIONS, METRICS, metric_for
from lightvec.pg8000 import Connection

EXAMPLES = {"vector": "[1,2,3]", "halfvec": "[1,2,3]", "sparsevec": "{1:1}/3", "bit": "101"}


def test_names() -> None:
    assert list(METRICS) == ["l2", "ip", "cosine", "l1", "hamming", "jaccard"]
    assert all(metric.name == name for name, metric in METRICS.items())


@pytest.mark.parametrize("name", METRICS)
def test_operators_exist_for_the_types(conn: Connection, name: str) -> None:
    metric = METRICS[name]
    for column_type in metric.indexed_types["hnsw"]:
        example = f"'{EXAMPLES[column_type]}'::{column_type}{'(3)' if column_type == 'bit' else ''}"
        rows: Any = conn.run(f"SELECT {example} {metric.operator} {example}")
        ((distance,),) = rows
        assert isinstance(distance, float)


@pytest.mark.parametrize("name", METRICS)
def test_operators_are_those_of_the_operator_classes(conn: Connection, name: str) -> None:
    metric = METRICS[name]
    for method, column_types in metric.indexed_types.items():
        for column_type in column_types:
            rows = conn.run(
                "SELECT o.oprname FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod "
                "JOIN pg_amop p ON p.amopfamily = c.opcfamily JOIN pg_operator o ON o.oid = p.amopopr "
                "WHERE a.amname = :method AND c.opcname = :name",
                method=method,
                name=metric.operator_class(column_type, method),
            )
            assert rows == [[metric.operator]]


def test_the_most_dimensions_are_the_servers(conn: Connection) -> None:
    classes = {"vector": "vector_l2_ops", "halfvec": "halfvec_l2_ops", "bit": "bit_hamming_ops"}
    for column_type, operator_class in classes.items():
        most = INDEX_DIMENSIONS[column_type]
        for dimensions, taken in ((most, True), (most + 1, False)):
            conn.run("BEGIN")
            conn.run(f"CREATE TEMP TABLE wide (v {column_type}({dimensions}))")
            try:
                conn.run(f"CREATE INDEX ON wide USING hnsw (v {operator_class})")
            except Exception:
                assert not taken
            else:
                assert taken
            finally:
                conn.run("ROLLBACK")


def test_a_class_that_pgvector_does_not_have() -> None:
    with pytest.raises(InvalidOption, match="no hnsw index on bit columns by l2; it has none for this type and metric"):
        METRICS["l2"].operator_class("bit", "hnsw")
    with pytest.raises(InvalidOption, match="no ivfflat index on vector columns by l1; it has hnsw"):
        METRICS["l1"].operator_class("vector", "ivfflat")
    with pytest.raises(InvalidOption, match="no gin index"):
        METRICS["l2"].operator_class("vector", "gin")


def test_metric_for() -> None:
    assert metric_for("l1") is METRICS["l1"]
    with pytest.raises(InvalidOption, match="'jaccard' is not a metric here: expected 'l2' or 'ip'"):
        metric_for("jaccard", ["l2", "ip"])


@pytest.mark.parametrize("name", METRICS)
@given(distance=st.floats(0, 1e6))
def test_scores_go_back_to_distances(name: str, distance: float) -> None:
    score = METRICS[name].score
    assert score.to_distance(score.of(distance)) == pytest.approx(distance, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
@given(near=st.floats(0, 1e6), far=st.floats(0, 1e6))
def test_nearer_is_never_a_lower_score(name: str, near: float, far: float) -> None:
    near, far = sorted((near, far))
    assert METRICS[name].score.of(near) >= METRICS[name].score.of(far)


@pytest.mark.parametrize(("name", "best"), [("l2", 1), ("l1", 1), ("hamming", 1), ("cosine", 1), ("jaccard", 1)])
def test_the_same_vector_scores_best(name: str, best: float) -> None:
    assert METRICS[name].score.of(0) == best


def test_a_score_that_no_distance_has() -> None:
    assert METRICS["l2"].score.to_distance(0) == math.inf
    assert METRICS["l1"].score.to_distance(-1) == math.inf
    assert METRICS["l2"].score.to_distance(2) < 0
