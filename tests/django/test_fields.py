"""Values into the database and back, in every way that Django has."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.postgres.aggregates import ArrayAgg
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Avg, F, Sum, Value
from django.db.models.functions import Cast

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.django import BitField, HalfVectorField, SparseVectorField, VectorField
from lightvec.errors import InvalidOption, InvalidVector
from tests.django.gallery.models import Picture, Sketch

#: What stands for the same vector; NumPy's where it can be loaded.
SAME: list[Any] = [[1, 2, 3], (1, 2, 3), array("d", [1, 2, 3]), Vector([1, 2, 3]), HalfVector([1, 2, 3]), "[1, 2, 3]"]
#: The same of bits.
SAME_BITS: list[Any] = ["101", [True, False, True], (1, 0, 1), Bit("101")]

with contextlib.suppress(ImportError):
    import numpy
    import pyarrow

    SAME += [numpy.array([1, 2, 3], numpy.float32), numpy.array([1, 2, 3]), pyarrow.array([1, 2, 3])]
    SAME_BITS += [numpy.array([True, False, True])]


def same(value: Any) -> str:
    return type(value).__name__


@pytest.mark.parametrize("value", SAME, ids=same)
@pytest.mark.parametrize(("name", "kind"), [("embedding", Vector), ("half", HalfVector)])
def test_round_trip(name: str, kind: type, value: Any) -> None:
    Picture.objects.create(pk=1, **{name: value})
    found = getattr(Picture.objects.get(**{name: value}), name)
    assert type(found) is kind
    assert found == [1, 2, 3]


@pytest.mark.parametrize("value", SAME_BITS, ids=same)
def test_bits(value: Any) -> None:
    Picture.objects.create(bits=value)
    found = Picture.objects.get(bits=value).bits
    assert type(found) is Bit
    assert found == "101"


@pytest.mark.parametrize("value", [[0, 1, 0, 0, 2], SparseVector({1: 1, 4: 2}, 5), "{2:1,5:2}/5"], ids=same)
def test_sparse(value: Any) -> None:
    Picture.objects.create(sparse=value)
    found = Picture.objects.get(sparse=value).sparse
    assert type(found) is SparseVector
    assert found == [0, 1, 0, 0, 2]


@pytest.mark.parametrize("value", SAME, ids=same)
def test_in(value: Any) -> None:
    Picture.objects.create(embedding=[1, 2, 3])
    assert Picture.objects.filter(embedding__in=[[9, 9, 9], value]).count() == 1
    assert Picture.objects.exclude(embedding__in=[value]).count() == 0
    assert Picture.objects.filter(embedding__in=Picture.objects.values("embedding")).count() == 1


def test_null() -> None:
    Picture.objects.create()
    assert Picture.objects.get(embedding__isnull=True, embedding=None).embedding is None


@pytest.mark.parametrize("value", SAME, ids=same)
def test_get_or_create(value: Any) -> None:
    _, created = Picture.objects.get_or_create(embedding=value)
    again, repeated = Picture.objects.get_or_create(embedding=value)
    assert (created, repeated) == (True, False)
    _, updated = Picture.objects.update_or_create(embedding=value, defaults={"half": value, "title": "t"})
    again.refresh_from_db()
    assert (updated, again.half, again.title) == (False, HalfVector([1, 2, 3]), "t")


@pytest.mark.parametrize("value", SAME, ids=same)
def test_bulk(value: Any) -> None:
    pictures = Picture.objects.bulk_create([Picture(embedding=value), Picture(embedding=None)])
    for picture in pictures:
        picture.half = value
        picture.sparse = [0, 0, 0, 0, 1]
    Picture.objects.bulk_update(pictures, ["half", "sparse", "embedding"])
    assert Picture.objects.filter(half=value, sparse=[0, 0, 0, 0, 1]).count() == 2
    assert Picture.objects.get(embedding=value).pk == pictures[0].pk


def test_upsert() -> None:
    Picture.objects.create(pk=1, embedding=[1, 2, 3])
    Picture.objects.bulk_create(
        [Picture(pk=1, embedding=[3, 2, 1])], update_conflicts=True, update_fields=["embedding"], unique_fields=["pk"]
    )
    assert Picture.objects.get().embedding == [3, 2, 1]


def test_expressions() -> None:
    Picture.objects.create(embedding=[1, 2, 3])
    Picture.objects.update(other=F("embedding"))
    assert Picture.objects.filter(other=F("embedding")).count() == 1
    cast = Cast("embedding", HalfVectorField(dimensions=3))
    constant = Value([1, 2], output_field=VectorField())
    assert Picture.objects.values_list(cast, constant).get() == (HalfVector([1, 2, 3]), Vector([1, 2]))
    # The sum of two vectors is PostgreSQL's own operator.
    Picture.objects.update(other=F("embedding") + F("other"))
    assert Picture.objects.get().other == [2, 4, 6]


def test_aggregates() -> None:
    assert Picture.objects.aggregate(Avg("embedding"), Sum("half")) == {"embedding__avg": None, "half__sum": None}
    Picture.objects.create(embedding=[1, 2, 3], half=[1, 2, 3])
    Picture.objects.create(embedding=[4, 5, 6], half=[4, 5, 6])
    found = Picture.objects.aggregate(Avg("embedding"), Sum("half"))
    assert found == {"embedding__avg": Vector([2.5, 3.5, 4.5]), "half__sum": HalfVector([5, 7, 9])}


def test_defaults() -> None:
    sketch = Sketch.objects.create()
    sketch.refresh_from_db()
    assert sketch.embedding == Vector([1, 2, 0.1])
    assert sketch.sparse == SparseVector({7: 1}, 10**9)
    assert sketch.stored == [1, 2]
    assert sketch.free is None


def test_any_dimensions() -> None:
    for value in ([1], [1, 2]):
        Sketch.objects.create(free=value)
    assert Sketch.objects.filter(free=[1, 2]).count() == 1


# Arrays


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], ((1, 2), [3, 4]), [Vector([1, 2]), Vector([3, 4])]])
def test_arrays(value: Any) -> None:
    Picture.objects.create(vectors=value)
    found = Picture.objects.get(vectors=value).vectors
    assert found == [[1, 2], [3, 4]]
    assert [type(vector) for vector in found or ()] == [Vector, Vector]
    assert Picture.objects.filter(vectors__contains=[[3, 4]]).count() == 1
    assert Picture.objects.filter(vectors__0=[1, 2]).count() == 1


def test_array_with_nothing_in_it() -> None:
    Picture.objects.create(pk=1, vectors=[])
    Picture.objects.create(pk=2, vectors=[[1, 2], None])
    assert [picture.vectors for picture in Picture.objects.order_by("pk")] == [[], [Vector([1, 2]), None]]


def test_arrays_of_bits() -> None:
    Picture.objects.create(bit_rows=["101", [False, True, True]])
    assert Picture.objects.get().bit_rows == [Bit("101"), Bit("011")]


def test_aggregated_array() -> None:
    Picture.objects.create(embedding=[1, 2, 3], half=[1, 2, 3], sparse=[0, 0, 0, 0, 1])
    found = Picture.objects.aggregate(e=ArrayAgg("embedding"), h=ArrayAgg("half"), s=ArrayAgg("sparse"))
    assert found == {"e": [Vector([1, 2, 3])], "h": [HalfVector([1, 2, 3])], "s": [SparseVector({4: 1}, 5)]}


def test_arrays_on_a_new_connection() -> None:
    Picture.objects.create(vectors=[[1, 2]])
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT ARRAY['[1,2]'::vector]")
            assert cursor.fetchone() == (["[1,2]"],)
    finally:
        other.close()


# What does not fit

WRONG: list[tuple[str, Any, str]] = [
    ("embedding", [1, 2], "Picture.embedding expected 3 dimensions, not 2"),
    ("half", [1, 2, 3, 4], "Picture.half expected 3 dimensions, not 4"),
    ("sparse", {0: 1.0}, "Picture.sparse: SparseVector expected the dimensions"),
    ("bits", "1010", "Picture.bits expected 3 dimensions, not 4"),
    ("embedding", "1,2,3", "Picture.embedding: Vector.from_text expected"),
    ("embedding", [1, 2, float("nan")], "Picture.embedding: Vector"),
    ("vectors", [[1, 2], [1, 2, 3]], "Picture.vectors expected 2 dimensions, not 3"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_saving_what_does_not_fit(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidVector, match=message):
        Picture(**{name: value}).save()


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_looking_up_what_does_not_fit(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidVector, match=message):
        Picture.objects.filter(**{name: value}).count()


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_full_clean(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Picture(**{name: value}).full_clean()
    assert list(caught.value.message_dict) == [name]
    assert message in " ".join(caught.value.message_dict[name])


@pytest.mark.parametrize("value", SAME, ids=same)
def test_full_clean_makes_vectors(value: Any) -> None:
    picture = Picture(embedding=value, bits="101")
    picture.full_clean()
    assert picture.embedding == Vector([1, 2, 3])
    assert picture.bits == Bit("101")


def test_full_clean_of_what_must_be_there() -> None:
    with pytest.raises(ValidationError) as caught:
        Sketch(embedding=None, stored=[1, 2]).full_clean()
    assert list(caught.value.message_dict) == ["embedding", "free"]


@pytest.mark.parametrize("field", [VectorField, HalfVectorField, SparseVectorField])
@pytest.mark.parametrize("dimensions", [0, -1, True, "3", 1.5])
def test_dimensions_that_are_none(field: Callable[..., Any], dimensions: Any) -> None:
    with pytest.raises(InvalidOption, match="dimensions of at least 1"):
        field(dimensions=dimensions)
    with pytest.raises(InvalidOption, match="dimensions of at least 1"):
        BitField(length=dimensions)


def test_column_types() -> None:
    fields = [VectorField(dimensions=3), HalfVectorField(), SparseVectorField(dimensions=5), BitField(length=8)]
    assert [field.db_type(connection) for field in fields] == ["vector(3)", "halfvec", "sparsevec(5)", "bit(8)"]
    assert (BitField().db_type(connection), BitField(length=8).length) == ("bit", 8)
