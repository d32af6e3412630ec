"""The six distances."""

from __future__ import annotations

import pickle
from math import sqrt
from typing import Any

import pytest
from django.db import connection
from django.db.models import Exists, F, OuterRef, Subquery, Value
from django.db.models.functions import Cast

from lightvec import Bit, SparseVector, Vector
from lightvec.django import (
    CosineDistance,
    HalfVectorField,
    HammingDistance,
    JaccardDistance,
    L1Distance,
    L2Distance,
    MaxInnerProduct,
)
from lightvec.errors import InvalidOption, InvalidVector
from tests.django.gallery.models import Picture, Sketch
from tests.django.test_fields import SAME, SAME_BITS, same


@pytest.fixture(autouse=True)
def pictures(rolled_back: None) -> None:
    rows: list[tuple[list[int], str]] = [([1, 1, 1], "000"), ([2, 2, 2], "101"), ([1, 1, 2], "111")]
    for pk, (numbers, bits) in enumerate(rows, 1):
        Picture.objects.create(
            pk=pk, embedding=numbers, other=[1, 2, 3], half=numbers, sparse=[*numbers, 0, 0], bits=bits
        )


def ranked(distance: Any) -> tuple[list[int], list[float]]:
    found = Picture.objects.annotate(distance=distance).order_by(distance, "pk").values_list("pk", "distance")
    return [pk for pk, _ in found], [distance for _, distance in found]


NUMERIC = [
    (L2Distance, [1, 3, 2], [0, 1, sqrt(3)]),
    (MaxInnerProduct, [2, 3, 1], [-6, -4, -3]),
    (CosineDistance, [1, 2, 3], [0, 0, pytest.approx(0.0571909584)]),
    (L1Distance, [1, 3, 2], [0, 1, 3]),
]


@pytest.mark.parametrize(("distance", "order", "distances"), NUMERIC)
def test_distances(distance: Any, order: list[int], distances: list[float]) -> None:
    for column in ("embedding", "half"):
        assert ranked(distance(column, [1, 1, 1])) == (order, distances)
    assert ranked(distance("sparse", SparseVector([1, 1, 1, 0, 0]))) == (order, distances)
    assert ranked(distance("sparse", [1, 1, 1, 0, 0])) == (order, distances)


@pytest.mark.parametrize("value", SAME, ids=same)
def test_whatever_is_a_vector(value: Any) -> None:
    for column in ("embedding", "half"):
        assert Picture.objects.filter(pk=1).values_list(L2Distance(column, value), flat=True).get() == sqrt(5)
        assert Picture.objects.alias(d=L2Distance(column, value)).filter(d__lt=1.5).count() == 2


@pytest.mark.parametrize("value", SAME_BITS, ids=same)
def test_bit_distances(value: Any) -> None:
    assert ranked(HammingDistance("bits", value)) == ([2, 3, 1], [0, 1, 2])
    assert ranked(JaccardDistance("bits", value)) == ([2, 3, 1], [0, pytest.approx(1 / 3), 1])


def test_between_columns() -> None:
    assert ranked(L2Distance("embedding", "other")) == ranked(L2Distance(F("embedding"), F("other")))
    assert ranked(L1Distance("embedding", "other")) == ([2, 3, 1], [2, 2, 3])
    assert ranked(HammingDistance("bits", "bits"))[1] == [0, 0, 0]
    assert ranked(L2Distance([1, 1, 1], "embedding")) == ([1, 3, 2], [0, 1, sqrt(3)])


def test_expressions() -> None:
    cast = Cast("embedding", HalfVectorField(dimensions=3))
    assert ranked(L2Distance(cast, [1, 1, 1])) == ([1, 3, 2], [0, 1, sqrt(3)])
    first = Subquery(Picture.objects.filter(pk=1).values("embedding"))
    assert ranked(L2Distance("embedding", first)) == ([1, 3, 2], [0, 1, sqrt(3)])
    near = Picture.objects.exclude(pk=OuterRef("pk")).alias(d=L2Distance("embedding", OuterRef("embedding")))
    assert Picture.objects.filter(Exists(near.filter(d__lte=1))).count() == 2
    assert ranked(L2Distance("embedding", Value([1, 1, 1]))) == ([1, 3, 2], [0, 1, sqrt(3)])


@pytest.mark.parametrize(
    ("distance", "index"),
    [
        (lambda: L2Distance("embedding", [1, 1, 1]), "picture_hnsw"),
        (lambda: CosineDistance("half", [1, 1, 1]), "picture_half_hnsw"),
        (lambda: L2Distance(Cast("embedding", HalfVectorField(dimensions=3)), [1, 1, 1]), "picture_cast_hnsw"),
        (lambda: HammingDistance("bits", "101"), "picture_bits_ivfflat"),
    ],
)
def test_the_index_serves(distance: Any, index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    found = Picture.objects.annotate(distance=distance()).order_by("distance")[:2]
    assert f"Index Scan using {index} on" in found.explain()


def test_nothing() -> None:
    assert ranked(L2Distance("embedding", None))[1] == [None, None, None]
    assert ranked(HammingDistance("bits", None))[1] == [None, None, None]


def test_through_a_relation_and_a_pickle() -> None:
    found = Picture.objects.annotate(distance=L2Distance("embedding", [1, 1, 1])).order_by("distance")
    assert pickle.loads(pickle.dumps(found)).first().pk == 1
    again = Picture.objects.all()
    again.query = pickle.loads(pickle.dumps(found.query))
    assert again.first() == found.first()


def test_equality() -> None:
    assert L2Distance("embedding", [1, 2]) == L2Distance("embedding", (1.0, 2.0))
    assert L2Distance("embedding", [1, 2]) != L2Distance("embedding", [2, 1])
    distances = {
        L2Distance("embedding", [1, 2]),
        L2Distance("embedding", Vector([1, 2])),
        L1Distance("embedding", [1, 2]),
    }
    assert len(distances) == 2


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("embedding", [1, 2], "Picture.embedding expected 3 dimensions, not 2"),
        ("half", [1, 2, 3, 4], "Picture.half expected 3 dimensions, not 4"),
        ("sparse", SparseVector([1]), "Picture.sparse expected 5 dimensions, not 1"),
    ],
)
def test_what_does_not_fit(column: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidVector, match=message):
        Picture.objects.annotate(d=L2Distance(column, value))
    with pytest.raises(InvalidVector, match=r"Picture\.bits expected 3 dimensions, not 4"):
        Picture.objects.annotate(d=HammingDistance("bits", "1010"))


@pytest.mark.parametrize("value", [7, [], {"a": 1}, [[1, 2, 3]], object(), "[1,x]", "{1:x}/2"])
def test_what_is_no_vector(value: Any) -> None:
    with pytest.raises(InvalidVector):
        L2Distance("embedding", value)


def test_metrics_of_the_other_kind() -> None:
    with pytest.raises(InvalidOption, match="'l2' is not a metric here: expected 'hamming' or 'jaccard'"):
        Picture.objects.annotate(d=L2Distance("bits", "embedding"))
    with pytest.raises(InvalidOption, match="'hamming' is not a metric here"):
        Picture.objects.annotate(d=HammingDistance("embedding", Bit("101")))


def test_longer_than_a_vector_can_be() -> None:
    numbers = [0.0] * 20_000
    numbers[7] = 1.0
    Sketch.objects.create(sparse=SparseVector({7: 3}, 10**9))
    with pytest.raises(InvalidVector, match=r"Sketch\.sparse expected 1000000000 dimensions, not 20000"):
        Sketch.objects.annotate(d=L2Distance("sparse", numbers))
    distance = L2Distance("sparse", SparseVector({7: 1}, 10**9))
    assert Sketch.objects.values_list(distance, flat=True).get() == 2
