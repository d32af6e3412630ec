"""pgvector's functions."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import Model, TextField

from lightvec import Bit, HalfVector, Vector
from lightvec import peewee as lightvec_peewee
from lightvec.peewee import (
    HalfVectorField,
    VectorField,
    avg,
    binary_quantize,
    l2_normalize,
    subvector,
    vector_dims,
    vector_norm,
)
from tests.peewee.conftest import Use

KINDS: list[tuple[str, Any]] = [("dense", Vector), ("half", HalfVector)]
total = lightvec_peewee.sum


class Group(Model):
    kind = TextField()
    dense = VectorField(3, null=True)
    half = HalfVectorField(3, null=True)

    class Meta:
        table_name = "peewee_group"


@pytest.fixture(autouse=True)
def table(use: Use) -> None:
    use(Group)


def add(kind: str, numbers: list[float]) -> None:
    Group.create(kind=kind, dense=numbers, half=numbers)


@pytest.mark.parametrize(("name", "cls"), KINDS)
def test_aggregates(name: str, cls: Any) -> None:
    field = getattr(Group, name)
    add("a", [1, 2, 3])
    add("a", [3, 4, 6])
    mean, sum_ = Group.select(avg(field), total(field)).tuples()[0]
    assert (mean, sum_) == (cls([2, 3, 4.5]), cls([4, 6, 9]))
    assert type(mean) is type(sum_) is cls


@pytest.mark.parametrize(("name", "cls"), KINDS)
def test_aggregates_of_nothing(name: str, cls: Any) -> None:
    field = getattr(Group, name)
    assert Group.select(avg(field)).scalar() is None
    Group.create(kind="a")
    assert Group.select(total(field)).scalar() is None


def test_aggregates_by_group() -> None:
    for kind, numbers in (("a", [1.0, 0, 0]), ("a", [3.0, 0, 0]), ("b", [0.0, 5, 0])):
        add(kind, numbers)
    query = Group.select(Group.kind, avg(Group.dense).alias("mean")).group_by(Group.kind).order_by(Group.kind)
    assert list(query.tuples()) == [("a", Vector([2, 0, 0])), ("b", Vector([0, 5, 0]))]
    rows: Any = list(query)
    assert [row.mean for row in rows] == [Vector([2, 0, 0]), Vector([0, 5, 0])]


@pytest.mark.parametrize(("name", "cls"), KINDS)
def test_of_one_vector(name: str, cls: Any) -> None:
    field = getattr(Group, name)
    add("a", [3, 0, -4])
    row = Group.select(
        l2_normalize(field), binary_quantize(field), subvector(field, 2, 2), vector_dims(field), vector_norm(field)
    ).tuples()[0]
    unit, bits, part, dims, norm = row
    assert unit.to_list() == pytest.approx([0.6, 0, -0.8], abs=1e-3)
    assert type(unit) is cls
    assert bits == Bit("100")
    assert part == cls([0, -4])
    assert (dims, norm) == (3, 5.0)


def test_as_a_condition() -> None:
    add("a", [3, 0, 4])
    add("b", [1, 0, 0])
    assert [row.kind for row in Group.select().where(vector_norm(Group.dense) > 2)] == ["a"]
    assert [row.kind for row in Group.select().where(binary_quantize(Group.dense) == Bit("101"))] == ["a"]
    assert [row.kind for row in Group.select().order_by(vector_norm(Group.dense))] == ["b", "a"]
    other: Any = Group.alias()
    assert [row.kind for row in other.select().where(vector_norm(other.half) > 2)] == ["a"]


def test_of_an_expression() -> None:
    add("a", [3, 0, 4])
    assert Group.select(vector_norm(subvector(Group.dense, 1, 2))).scalar() == 3
    assert Group.select(vector_dims(Group.dense.to_value([1, 2, 3]))).scalar() == 3
