"""The four fields: what goes in, what comes out, and what they are compared with."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pgvector
import pytest
from peewee import Case, Model, TextField, Value

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import FixedBitField, HalfVectorField, Pg8000Database, SparseVectorField, VectorField
from tests.peewee.conftest import Use
from tests.peewee.models import Four

NAMES = ("dense", "half", "sparse")
FORMS: dict[str, Callable[[list[float]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": lambda numbers: (number for number in numbers),
    "array": lambda numbers: array("f", numbers),
    "float32": lambda numbers: np.array(numbers, np.float32),
    "float64": np.array,
    "int": lambda numbers: np.array(numbers, np.int64),
    "Vector": Vector,
    "HalfVector": HalfVector,
    "SparseVector": SparseVector,
    "pgvector": pgvector.Vector,
    "pgvector_sparse": pgvector.SparseVector,
}


@pytest.fixture(autouse=True)
def table(use: Use) -> None:
    use(Four)


def stored(**values: Any) -> Any:
    return Four.get_by_id(Four.create(**values).id)


def found(condition: Any) -> list[str | None]:
    return [row.name for row in Four.select().where(condition).order_by(Four.name)]


@pytest.fixture
def three() -> None:
    """Three rows and one without vectors."""
    rows: list[dict[str, Any]] = [
        {"name": "a", "dense": [1, 0, 0], "half": [1, 0, 0], "sparse": [1, 0, 0], "bits": "100"},
        {"name": "b", "dense": [0, 2, 0], "half": [0, 2, 0], "sparse": [0, 2, 0], "bits": "010"},
        {"name": "c", "dense": [0, 0, 3], "half": [0, 0, 3], "sparse": [0, 0, 3], "bits": "001"},
        {"name": "none", "dense": None, "half": None, "sparse": None, "bits": None},
    ]
    Four.insert_many(rows).execute()


# In and out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_numbers_in_any_form(name: str, form: str) -> None:
    row = stored(**{name: FORMS[form]([1, 0, 3])})
    value: Any = getattr(row, name)
    assert value.to_list() == [1, 0, 3]
    assert type(value) is {"dense": Vector, "half": HalfVector, "sparse": SparseVector}[name]


@pytest.mark.parametrize(
    "value",
    ["101", [True, False, True], (1, 0, 1), Bit("101"), np.array([True, False, True]), iter([True, False, True])],
    ids=["str", "list", "tuple", "Bit", "ndarray", "iterator"],
)
def test_bits_in_any_form(value: Any) -> None:
    bits: Any = stored(bits=value).bits
    assert type(bits) is Bit
    assert bits == "101"
    assert bits == [True, False, True]
    assert bits != "111"
    assert bits != [True, True, True]


def test_a_row_comes_back_the_same_as_text_and_as_binary() -> None:
    # A connection asks for binary from the second time on that it runs a statement.
    Four.create(name="a", dense=[1, 2, 3], half=[1, 2, 3], sparse=[0, 0, 3], bits="101")
    first, second = (Four.select().where(Four.name == "a").tuples()[0] for _ in range(2))
    assert first == second
    assert [type(value) for value in second[2:6]] == [Vector, HalfVector, SparseVector, Bit]


def test_none() -> None:
    row = stored()
    assert [row.dense, row.half, row.sparse, row.bits] == [None] * 4


def test_a_field_without_dimensions_takes_any() -> None:
    assert stored(any_size=[1, 2]).any_size == [1, 2]
    assert stored(any_size=range(1, 100)).any_size == list(range(1, 100))


def test_update_and_save_back() -> None:
    row = stored(dense=[1, 2, 3], bits="101")
    row.save()
    row.half = (4, 5, 6)
    row.save()
    again: Any = Four.get_by_id(row.id)
    assert (again.dense, again.half, again.bits) == ([1, 2, 3], [4, 5, 6], "101")
    Four.update(dense=np.array([7, 8, 9]), bits="111").where(Four.id == row.id).execute()
    again = Four.get_by_id(row.id)
    assert (again.dense, again.bits) == ([7, 8, 9], "111")
    Four.update(dense=None).where(Four.id == row.id).execute()
    assert Four.get_by_id(row.id).dense is None


def test_bulk() -> None:
    Four.bulk_create([Four(name=str(number), dense=[number] * 3, bits="000") for number in range(4)], batch_size=3)
    rows: list[Any] = list(Four.select().order_by(Four.name))
    for number, row in enumerate(rows):
        row.dense, row.half, row.sparse, row.bits = [0, 0, number], (number, 0, 0), [0, number, 0], "101"
    rows[0].dense = None
    assert Four.bulk_update(rows, [Four.dense, Four.half, Four.sparse, Four.bits]) == 4
    rows = list(Four.select().order_by(Four.name))
    assert [row.dense for row in rows] == [None, Vector([0, 0, 1]), Vector([0, 0, 2]), Vector([0, 0, 3])]
    assert [row.sparse.to_list()[1] for row in rows] == [0, 1, 2, 3]
    assert {row.bits.to_text() for row in rows} == {"101"}


def test_insert_many_by_columns() -> None:
    Four.insert_many([("a", [1, 2, 3]), ("b", None)], fields=[Four.name, Four.dense]).execute()
    assert [row.dense for row in Four.select().order_by(Four.name)] == [Vector([1, 2, 3]), None]


def test_insert_from_a_query() -> None:
    Four.create(name="a", dense=[1, 2, 3])
    Four.insert_from(Four.select(Value("b"), Four.dense), [Four.name, Four.dense]).execute()
    assert found(Four.dense == [1, 2, 3]) == ["a", "b"]


def test_casts() -> None:
    Four.create(dense=[1, 2, 3])
    assert type(Four.select(Four.dense.cast("halfvec(3)")).scalar()) is HalfVector


# Comparisons


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_equality(name: str, form: str) -> None:
    field: Any = getattr(Four, name)
    vector = FORMS[form]([0, 2, 0])
    assert found(field == vector) == ["b"]
    assert found(field != FORMS[form]([0, 2, 0])) == ["a", "c"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("value", ["010", [False, True, False], Bit("010"), np.array([False, True, False])])
def test_equality_of_bits(value: Any) -> None:
    assert found(Four.bits == value) == ["b"]
    assert found(Four.bits != value) == ["a", "c"]
    assert found(Four.bits.in_([value, "111"])) == ["b"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("name", NAMES)
def test_membership(name: str) -> None:
    field: Any = getattr(Four, name)
    some: Iterable[Any] = [[1, 0, 0], (0, 0, 3)]
    assert found(field.in_(some)) == ["a", "c"]
    assert found(field << [[1, 0, 0]]) == ["a"]
    assert found(field.not_in(some)) == ["b"]
    assert found(field.in_([0, number, 0] for number in range(4))) == ["b"]
    assert found(field.in_([])) == []
    assert found(field.not_in([])) == ["a", "b", "c", "none"]
    assert found(field.in_(Four.select(field).where(Four.name == "b"))) == ["b"]


@pytest.mark.usefixtures("three")
def test_a_matrix_is_a_list_of_vectors() -> None:
    assert found(Four.dense.in_(np.array([[1, 0, 0], [0, 0, 3]]))) == ["a", "c"]


@pytest.mark.usefixtures("three")
def test_null() -> None:
    nothing: Any = None
    assert found(Four.dense == nothing) == ["none"]
    assert found(Four.dense != nothing) == ["a", "b", "c"]
    assert found(Four.bits.is_null()) == ["none"]
    assert Four.select(Four.id).where(Four.dense == nothing).sql()[0].endswith('WHERE ("t1"."dense" IS NULL)')


@pytest.mark.usefixtures("three")
def test_filter_and_get_or_create() -> None:
    assert [row.name for row in Four.filter(dense=[0, 2, 0])] == ["b"]
    assert [row.name for row in Four.filter(dense__in=[[0, 2, 0], [1, 0, 0]]).order_by(Four.name)] == ["a", "b"]
    assert Four.get_or_none(dense=[9, 9, 9]) is None
    made = [Four.get_or_create(dense=[9, 9, 9], bits=[True] * 3)[1] for _ in range(2)]
    assert made == [True, False]


@pytest.mark.usefixtures("three")
def test_as_part_of_an_expression() -> None:
    kind = Case(None, [(Four.dense == [1, 0, 0], "first")], "other")
    assert list(Four.select(kind).order_by(Four.name).limit(2).tuples()) == [("first",), ("other",)]
    assert Four.select(Four.dense + Four.dense.to_value([1, 1, 1])).where(Four.name == "a").scalar() == [2, 1, 1]
    assert [row.name for row in Four.select().where(Four.dense == Four.dense).order_by(Four.name)] == ["a", "b", "c"]


def test_equality_on_an_alias() -> None:
    Four.create(name="a", dense=[1, 2, 3])
    other: Any = Four.alias()
    assert [row.name for row in other.select().where(other.dense == [1, 2, 3])] == ["a"]
    assert [row.name for row in other.select().where(other.dense.in_([[1, 2, 3]]))] == ["a"]


# What does not fit


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dense": [1, 2]}, r"Four\.dense expected 3 dimensions, not 2"),
        ({"half": [1, 2, 3, 4]}, r"Four\.half expected 3 dimensions, not 4"),
        ({"sparse": SparseVector({0: 1.0}, 5)}, r"Four\.sparse expected 3 dimensions, not 5"),
        ({"bits": "10"}, r"Four\.bits expected 3 dimensions, not 2"),
        ({"dense": [1, float("nan"), 3]}, r"Four\.dense: Vector expected a finite number at index 1 and got nan"),
        ({"half": [1, 2, 1e6]}, r"Four\.half: HalfVector .*index 2"),
        ({"sparse": [1, 2, float("inf")]}, r"Four\.sparse: SparseVector .*inf"),
        ({"bits": "102"}, r"Four\.bits: Bit expected only 0 and 1"),
        ({"dense": "[1,2,3]"}, r"Four\.dense: Vector expected a list"),
        ({"dense": 5}, r"Four\.dense: Vector expected a list"),
        ({"any_size": []}, r"Four\.any_size: Vector"),
    ],
)
def test_refused_before_any_sql(values: dict[str, Any], message: str, sent: list[bytes]) -> None:
    sent.clear()
    (name, value) = next(iter(values.items()))
    with pytest.raises(InvalidVector, match=message):
        Four.create(**values)
    with pytest.raises(InvalidVector, match=message):
        Four.update(**values).execute()
    with pytest.raises(InvalidVector, match=message):
        list(Four.select().where(getattr(Four, name) == value))
    with pytest.raises(InvalidVector, match=message):
        list(Four.select().where(getattr(Four, name).in_([value])))
    assert sent == []


def test_a_field_that_belongs_to_no_model_names_its_class() -> None:
    with pytest.raises(InvalidVector, match="VectorField expected 3 dimensions, not 2"):
        VectorField(3).db_value([1, 2])


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, "3"])
def test_dimensions_must_be_a_number(dimensions: Any) -> None:
    with pytest.raises(InvalidOption, match="dimensions of at least 1"):
        VectorField(dimensions)


def test_options_must_be_known() -> None:
    with pytest.raises(InvalidOption, match="'euclid' is not a metric here: expected 'l2', 'ip', 'cosine' or 'l1'"):
        VectorField(3, metric="euclid")
    with pytest.raises(InvalidOption, match="'hamming'"):
        HalfVectorField(3, metric="hamming")
    with pytest.raises(InvalidOption, match="expected 'hamming' or 'jaccard'"):
        FixedBitField(3, metric="l2")
    with pytest.raises(InvalidOption, match="index='hnsw' or index='ivfflat', got 'flat'"):
        SparseVectorField(3, index="flat")


# Definitions


def test_columns(db: Pg8000Database) -> None:
    columns = {column.name: column.full_type for column in db.get_columns("peewee_four")}
    assert columns["dense"] == "vector(3)"
    assert columns["half"] == "halfvec(3)"
    assert columns["sparse"] == "sparsevec(3)"
    assert columns["bits"] == "bit(3)"
    assert columns["any_size"] == "vector"


def test_pgvectors_keywords(db: Pg8000Database) -> None:
    assert VectorField(dimensions=3).dimensions == 3
    bits = FixedBitField(max_length=8)
    assert (bits.max_length, bits.dimensions) == (8, 8)


def test_defaults(db: Pg8000Database) -> None:
    class Defaults(Model):
        name = TextField()
        fixed = VectorField(2, default=[1, 2])
        made = HalfVectorField(2, default=lambda: [3, 4])

        class Meta:
            database = db
            temporary = True

    Defaults.create_table()
    Defaults.create(name="a")
    Defaults.insert(name="b").execute()
    assert [(row.fixed, row.made) for row in Defaults.select()] == [(Vector([1, 2]), HalfVector([3, 4]))] * 2
