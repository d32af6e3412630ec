"""Distances and scores against NumPy: each metric of each kind of field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peewee import Model, fn

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.metrics import METRICS
from lightvec.peewee import FixedBitField, HalfVectorField, Pg8000Database, SparseVectorField, VectorField
from tests.peewee.brute import DISTANCES, SCORES, Matrix, rounded
from tests.peewee.conftest import Use
from tests.peewee.models import Four

SIZE = 5
NUMERIC, BINARY = ("l2", "ip", "cosine", "l1"), ("hamming", "jaccard")
CASES = [(name, metric) for name in ("dense", "half", "sparse") for metric in NUMERIC]
CASES += [("bits", metric) for metric in BINARY]


class Measured(Model):
    id: Any
    dense = VectorField(SIZE, metric="cosine")
    half = HalfVectorField(SIZE, metric="l1")
    sparse = SparseVectorField(SIZE, metric="ip")
    bits = FixedBitField(SIZE, metric="jaccard")
    bare = VectorField(SIZE)

    class Meta:
        table_name = "peewee_measured"


class Data:
    """The rows as each column holds them, and a query for each."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        numbers = random.normal(size=(13, SIZE)) * 3
        bits = random.integers(0, 2, size=(13, SIZE)).astype(np.float64)
        bits[:, 0] = 1
        holes = numbers * bits
        self.rows: dict[str, Matrix] = {
            "dense": rounded(numbers, np.float32),
            "half": rounded(numbers, np.float16),
            "sparse": rounded(holes, np.float32),
            "bits": bits,
        }

    def query(self, name: str) -> Matrix:
        return np.asarray(self.rows[name][0])

    def insert(self) -> None:
        dense, half, sparse, bits = (self.rows[name][1:] for name in ("dense", "half", "sparse", "bits"))
        Measured.insert_many(
            {"dense": dense[i], "half": half[i], "sparse": sparse[i], "bits": bits[i].astype(bool), "bare": dense[i]}
            for i in range(len(dense))
        ).execute()


@pytest.fixture(params=range(3))
def data(use: Use, request: pytest.FixtureRequest) -> Data:
    use(Measured)
    made = Data(request.param)
    made.insert()
    return made


def operand(name: str, query: Matrix) -> Any:
    return query.astype(bool) if name == "bits" else query.tolist()


def column(expression: Any) -> list[float]:
    rows: Any = Measured.select(expression).order_by(Measured.id).tuples()
    return [value for (value,) in rows]


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_distances_and_scores(data: Data, name: str, metric: str) -> None:
    field: Any = getattr(Measured, name)
    vector = operand(name, data.query(name))
    expected = DISTANCES[metric](data.rows[name][1:], data.query(name))
    by_method = getattr(field, METRICS[metric].method)(vector)
    assert column(by_method) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert column(field.distance(vector, metric=metric)) == column(by_method)
    assert column(field.score(vector, metric=metric)) == pytest.approx(SCORES[metric](expected), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_order(data: Data, name: str, metric: str) -> None:
    field: Any = getattr(Measured, name)
    vector = operand(name, data.query(name))
    expected = DISTANCES[metric](data.rows[name][1:], data.query(name))
    query: Any = Measured.select(Measured.id).order_by(field.distance(vector, metric=metric), Measured.id).tuples()
    first = Measured.select(fn.min(Measured.id)).scalar()
    assert [key - first for (key,) in query] == [
        number for _, number in sorted(zip(expected.round(5), range(len(expected)), strict=True))
    ]


@pytest.mark.parametrize(
    ("name", "metric"), [("dense", "cosine"), ("half", "l1"), ("sparse", "ip"), ("bits", "jaccard")]
)
def test_the_declared_metric(data: Data, name: str, metric: str) -> None:
    field: Any = getattr(Measured, name)
    vector = operand(name, data.query(name))
    assert column(field.distance(vector)) == column(field.distance(vector, metric=metric))
    assert column(field.score(vector)) == column(field.score(vector, metric=metric))


def test_in_where(use: Use) -> None:
    use(Four)
    for number in range(5):
        Four.create(name=str(number), dense=[number, 0, 0], bits=f"{number:03b}")
    near = Four.select().where(Four.dense.l2_distance([0, 0, 0]) < 1.5).order_by(Four.name)
    assert [row.name for row in near] == ["0", "1"]
    alike = Four.select().where(Four.bits.jaccard_distance("011") <= 0.5).order_by(Four.name)
    assert [row.name for row in alike] == ["1", "2", "3"]


def test_jaccard_without_any_parameter(use: Use) -> None:
    # Peewee doubles a percent sign whether or not there are parameters.
    use(Four)
    Four.create(bits="110")
    assert Four.select(Four.bits.jaccard_distance(Four.bits)).scalar() == 0


def test_between_columns_and_subqueries(use: Use) -> None:
    use(Four)
    Four.create(name="a", dense=[1, 0, 0], any_size=[0, 0, 0])
    Four.create(name="b", dense=[0, 5, 0], any_size=[0, 1, 0])
    between = Four.select(Four.dense.l2_distance(Four.any_size)).order_by(Four.name).tuples()
    assert list(between) == [(1.0,), (4.0,)]
    like_a = Four.select(Four.dense).where(Four.name == "a")
    distances = Four.select(Four.dense.l1_distance(like_a)).order_by(Four.name).tuples()
    assert list(distances) == [(0.0,), (6.0,)]


def test_on_an_alias(use: Use) -> None:
    use(Four)
    Four.create(dense=[1, 0, 0])
    other: Any = Four.alias()
    assert other.select(other.dense.l2_distance([0, 0, 0])).scalar() == 1
    pairs = Four.select(Four.dense.l2_distance(other.dense)).join(other, on=(Four.id == other.id))
    assert pairs.scalar() == 0


def test_no_metric() -> None:
    message = r"Measured\.bare declares no metric: write VectorField\(metric='l2'\) or name one in the call"
    for call in (Measured.bare.distance, Measured.bare.score, Measured.bare.nearest):
        with pytest.raises(InvalidOption, match=message):
            call([1] * SIZE)
    with pytest.raises(InvalidOption, match=r"Four\.bits declares no metric: write FixedBitField\(metric='hamming'\)"):
        Four.bits.distance("101")


def test_a_metric_that_the_field_does_not_have() -> None:
    with pytest.raises(InvalidOption, match="'hamming' is not a metric here: expected 'l2', 'ip', 'cosine' or 'l1'"):
        Measured.dense.distance([1] * SIZE, metric="hamming")
    with pytest.raises(InvalidOption, match="expected 'hamming' or 'jaccard'"):
        Measured.bits.nearest("10101", metric="cosine")


def test_a_vector_that_does_not_fit(sent: list[bytes]) -> None:
    with pytest.raises(InvalidVector, match=r"Measured\.dense expected 5 dimensions, not 2"):
        Measured.dense.distance([1, 2])
    assert sent == []


def test_null_has_no_distance(use: Use, db: Pg8000Database) -> None:
    use(Four)
    Four.create(dense=None)
    assert Four.select(Four.dense.l2_distance([1, 2, 3])).scalar() is None
