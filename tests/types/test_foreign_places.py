"""Everywhere that a vector is expected, arrays of other libraries are vectors, and frames and views are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from peewee import Model, fn
from playhouse.postgres_ext import ArrayField

import lightvec.pg8000.dbapi
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import HalfVectorField, Pg8000Database, SparseVectorField, VectorField
from lightvec.sqlalchemy import VECTOR
from tests.types.test_foreign_values import Frame, OnlyAnArray, Tensor

NUMBERS = [1.5, 0.0, 2.0]
GOOD: list[Callable[[], Any]] = [
    lambda: Tensor(NUMBERS),
    lambda: OnlyAnArray(NUMBERS),
    lambda: pa.array(NUMBERS),
    lambda: pa.array([NUMBERS], pa.list_(pa.float32(), 3))[0],
]
BAD: list[Callable[[], Any]] = [
    lambda: Frame([NUMBERS]),
    lambda: Tensor([NUMBERS]),
    lambda: pa.table({"a": NUMBERS}),
    lambda: dict.fromkeys(NUMBERS, 1).keys(),
    lambda: dict(enumerate(NUMBERS)).values(),
    lambda: set(NUMBERS),
]
good = pytest.mark.parametrize("value", GOOD)
bad = pytest.mark.parametrize("value", BAD)


class Foreign(Model):
    dense = VectorField(3, metric="l2", null=True)
    half = HalfVectorField(3, null=True)
    sparse = SparseVectorField(3, null=True)
    pages = ArrayField(VectorField, {"dimensions": 3}, index=False, null=True)


@pytest.fixture
def foreign(db: Pg8000Database) -> Any:
    with db.bind_ctx([Foreign]), db.atomic() as transaction:
        Foreign.create_table(safe=False)
        yield Foreign
        transaction.rollback()


@good
def test_models(foreign: Any, db: Pg8000Database, value: Callable[[], Any]) -> None:
    foreign.create(dense=value(), half=value(), sparse=value(), pages=[value()])
    row = foreign.get(foreign.dense == value())
    assert [row.dense, row.half, row.sparse, row.pages] == [NUMBERS, NUMBERS, NUMBERS, [NUMBERS]]
    assert [found.distance for found in foreign.dense.nearest(value(), k=1)] == [0]
    assert foreign.select().where(foreign.dense.in_([value()])).count() == 1
    assert foreign.select(fn.MAX(foreign.dense.cosine_distance(value()))).scalar() == pytest.approx(0, abs=1e-6)
    assert db.copy_rows(foreign, [{"dense": value(), "sparse": value()}]) == 1


@bad
def test_models_refuse(foreign: Any, db: Pg8000Database, value: Callable[[], Any]) -> None:
    for name in ("dense", "half", "sparse"):
        with pytest.raises(InvalidVector, match=rf"Foreign\.{name}: \w+ expected"):
            foreign.create(**{name: value()})
    for ask in (foreign.dense.nearest, foreign.dense.l2_distance, lambda given: foreign.dense == given):
        with pytest.raises(InvalidVector, match=r"Foreign\.dense: Vector expected"):
            list(foreign.select(ask(value())).execute())
    with pytest.raises(InvalidVector, match=r"row 1, field 'dense'"), db.atomic():
        db.copy_rows(foreign, [{"dense": value()}])
    assert foreign.select().count() == 0


def test_a_frame_is_no_rows(foreign: Any, db: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match="expected an iterable of rows to load into Foreign, got"):
        db.copy_rows(foreign, Frame([NUMBERS]))


@pytest.fixture
def engine(url: str) -> Any:
    engine = sa.create_engine("postgresql+pg8000://", module=lightvec.pg8000.dbapi, connect_args={"dsn": url})
    yield engine
    engine.dispose()


@good
def test_sqlalchemy(engine: Any, value: Callable[[], Any]) -> None:
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.cast(value(), VECTOR(3)))) == NUMBERS
        pages = sa.select(sa.cast([value()], sa.ARRAY(VECTOR(3))))
        assert connection.scalar(pages) == [NUMBERS]


@bad
def test_sqlalchemy_refuses(engine: Any, value: Callable[[], Any]) -> None:
    with engine.connect() as connection:
        for cast in (sa.cast(value(), VECTOR(3)), sa.cast([value()], sa.ARRAY(VECTOR(3), dimensions=1))):
            with pytest.raises(sa.exc.StatementError, match="expected"):
                connection.scalar(sa.select(cast))
        frame = Frame([[NUMBERS]])  # type: ignore[list-item]
        with pytest.raises(sa.exc.StatementError, match=r"expected one dimension of numbers and got 2 \(Frame\)"):
            connection.scalar(sa.select(sa.cast(frame, sa.ARRAY(VECTOR(3)))))
