"""Index options, and operator classes from a metric."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.indexes import OpClass
from django.db import connection
from django.db.models.functions import Cast

from lightvec.django import HalfVectorField, HnswIndex, IvfflatIndex
from lightvec.errors import InvalidOption
from tests.django.gallery.models import Picture


def sql(index: Any) -> str:
    with connection.schema_editor(collect_sql=True) as editor:
        editor.add_index(Picture, index)
    (statement,) = editor.collected_sql
    return str(statement)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (HnswIndex, {"m": 1}, "expected m from 2 to 100, got 1"),
        (HnswIndex, {"m": 40}, "expected ef_construction of at least twice m"),
        (HnswIndex, {"ef_construction": "64"}, "expected ef_construction from 4 to 1,000, got '64'"),
        (IvfflatIndex, {"lists": 0}, "expected lists from 1 to 32,768, got 0"),
        (HnswIndex, {"metric": "euclid"}, "'euclid' is not a metric here"),
        (HnswIndex, {"metric": "l2", "opclasses": ["vector_l2_ops"]}, "takes metric='l2' with fields"),
    ],
)
def test_options_that_pgvector_would_refuse(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        kind(name="i", fields=["embedding"], **options)


def test_sql() -> None:
    hnsw = HnswIndex(name="i", fields=["embedding"], opclasses=["vector_ip_ops"], m=24, ef_construction=64)
    assert sql(hnsw) == (
        'CREATE INDEX "i" ON "gallery_picture" USING hnsw ("embedding" vector_ip_ops) '
        "WITH (m = 24, ef_construction = 64);"
    )
    ivfflat = IvfflatIndex(name="i", fields=["embedding"], opclasses=["vector_l2_ops"])
    assert sql(ivfflat) == 'CREATE INDEX "i" ON "gallery_picture" USING ivfflat ("embedding" vector_l2_ops);'
    half = HnswIndex(OpClass(Cast("embedding", HalfVectorField(dimensions=3)), name="halfvec_l2_ops"), name="i", m=8)
    assert sql(half) == (
        'CREATE INDEX "i" ON "gallery_picture" USING hnsw ((("embedding")::halfvec(3)) halfvec_l2_ops) WITH (m = 8);'
    )


@pytest.mark.parametrize(
    ("kind", "field", "metric", "operator_class"),
    [
        (HnswIndex, "embedding", "l2", "vector_l2_ops"),
        (HnswIndex, "half", "cosine", "halfvec_cosine_ops"),
        (HnswIndex, "sparse", "l1", "sparsevec_l1_ops"),
        (HnswIndex, "bits", "jaccard", "bit_jaccard_ops"),
        (IvfflatIndex, "embedding", "ip", "vector_ip_ops"),
        (IvfflatIndex, "bits", "hamming", "bit_hamming_ops"),
    ],
)
def test_operator_class_by_metric(kind: Any, field: str, metric: str, operator_class: str) -> None:
    index = kind(name="i", fields=[field], metric=metric)
    assert f'("{field}" {operator_class})' in sql(index)
    with connection.schema_editor() as editor:
        editor.add_index(Picture, index)
    assert index.clone() == index


def test_metrics_without_an_index() -> None:
    with pytest.raises(InvalidOption, match="pgvector has no ivfflat index on vector columns by l1; it has hnsw"):
        sql(IvfflatIndex(name="i", fields=["embedding"], metric="l1"))
    with pytest.raises(InvalidOption, match=r"HnswIndex 'i' expected a vector field, got Picture\.title"):
        sql(HnswIndex(name="i", fields=["title"], metric="l1"))


def test_a_name_is_found_where_none_is_given() -> None:
    index = HnswIndex(fields=["embedding"], metric="l2")
    index.set_name_with_model(Picture)
    assert index.name.endswith("_hnsw")
