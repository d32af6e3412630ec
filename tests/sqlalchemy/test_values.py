"""Values in every place where one can stand, with every driver."""

from __future__ import annotations

import operator
from array import array
from typing import Any

import numpy as np
import pytest
from sqlalchemy import ARRAY, Engine, any_, bindparam, cast, func, insert, literal, select, update
from sqlalchemy.exc import StatementError

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidVector
from lightvec.sqlalchemy import BIT, HALFVEC, VECTOR, avg, sum
from tests.sqlalchemy.conftest import item

FORMS: list[Any] = [
    [1, 2, 3],
    (1.0, 2, 3),
    array("f", [1, 2, 3]),
    np.array([1, 2, 3]),
    np.array([1, 2, 3], np.float16),
    Vector([1, 2, 3]),
]
FORM_NAMES = ["list", "tuple", "array", "int ndarray", "float16 ndarray", "Vector"]


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
def test_every_form_stands_everywhere(engine: Engine, form: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "dense": form, "half": form, "pages": [form, None]}])
        connection.execute(insert(item).values(id=2))
        connection.execute(insert(item).values(id=3, dense=form, sparse=form, any_size=form))
        connection.execute(update(item).where(item.c.dense == form, item.c.id == 3).values(half=form))
        ids = select(item.c.id).order_by(item.c.id)
        assert connection.scalars(ids.where(item.c.dense == form)).all() == [1, 3]
        assert connection.scalars(ids.where(item.c.dense != form)).all() == []
        assert connection.scalars(ids.where(item.c.dense.in_([form, [0, 0, 1]]))).all() == [1, 3]
        assert connection.scalars(ids.where(item.c.dense.not_in([form]))).all() == []
        assert connection.scalars(ids.where(item.c.dense.cosine_distance(form) < 0.1)).all() == [1, 3]
        assert connection.scalars(ids.where(item.c.pages == [form, None])).all() == [1]
        assert connection.scalars(ids.where(literal(form, VECTOR(3)) == any_(item.c.pages))).all() == [1]
        assert connection.scalars(ids.where(item.c.dense == bindparam("v")), {"v": form}).all() == [1, 3]
        row = connection.execute(select(item).where(item.c.id == 1)).one()
    assert (row.dense, row.half, row.pages) == ([1, 2, 3], [1, 2, 3], [[1, 2, 3], None])
    assert [type(value) for value in (row.dense, row.half, row.pages[0])] == [Vector, HalfVector, Vector]


def test_null_and_none(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "dense": None, "pages": None, "bits": None}])
        row = connection.execute(select(item).where(item.c.dense.is_(None), item.c.pages == None)).one()  # noqa: E711
    assert (row.dense, row.half, row.sparse, row.bits, row.pages) == (None,) * 5


@pytest.mark.parametrize("form", ["101", [True, False, True], Bit("101"), np.array([True, False, True])])
def test_bits(engine: Engine, form: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "bits": form, "masks": [form, "000", None]}])
        row = connection.execute(
            select(item.c.bits, item.c.masks, item.c.bits.hamming_distance("111"), item.c.bits.jaccard_distance(form))
            .where(item.c.bits == form)
            .order_by(item.c.bits.jaccard_distance("100"))
        ).one()
    assert tuple(row) == ("101", ["101", "000", None], 1, 0)
    assert type(row.bits) is type(row.masks[0]) is Bit


def test_sparse(engine: Engine) -> None:
    vector = SparseVector({0: 1.5}, 3)
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "sparse": vector}, {"id": 2, "sparse": [0, 1, 0]}])
        found = select(item.c.sparse).order_by(item.c.sparse.max_inner_product([1, 0, 0]))
        assert connection.scalars(found).all() == [vector, SparseVector({1: 1}, 3)]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([], []),
        ([[1, 2, 3]], [[1, 2, 3]]),
        (([1, 2, 3], (4, 5, 6)), [[1, 2, 3], [4, 5, 6]]),
        (np.array([[1, 2, 3], [4, 5, 6]]), [[1, 2, 3], [4, 5, 6]]),
        ([Vector([1, 2, 3]), None], [[1, 2, 3], None]),
        ([[[1, 2, 3]], [[4, 5, 6]]], [[[1, 2, 3]], [[4, 5, 6]]]),
        (np.array([[[1, 2, 3]], [[4, 5, 6]]]), [[[1, 2, 3]], [[4, 5, 6]]]),
    ],
)
def test_arrays(engine: Engine, pages: Any, expected: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(item).values(id=1, pages=pages, deep=[[[1, 2]], [[3, 4]]]))
        row = connection.execute(select(item.c.pages, item.c.deep)).one()
    assert tuple(row) == (expected, [[[1, 2]], [[3, 4]]])


def test_arrays_that_no_column_holds(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "dense": [1, 2, 3]}, {"id": 2, "dense": [4, 5, 6]}])
        row = connection.execute(
            select(func.array_agg(item.c.dense), cast([[7, 8]], ARRAY(VECTOR(2), as_tuple=True)))
        ).one()
    assert (row[0], row[1]) == ([[1, 2, 3], [4, 5, 6]], (Vector([7, 8]),))


def test_aggregates_and_casts(engine: Engine) -> None:
    with engine.begin() as connection:
        assert connection.scalar(select(avg(item.c.dense))) is None
        connection.execute(insert(item), [{"id": 1, "dense": [1, 2, 3]}, {"id": 2, "dense": [4, 5, 6]}])
        mean, total = connection.execute(select(avg(item.c.dense), sum(item.c.dense))).one()
        nearest = select(item.c.id).order_by(cast(item.c.dense, HALFVEC(3)).l2_distance([4, 4, 4]))
        signs = func.cast(func.binary_quantize(item.c.dense), BIT(3))
        assert connection.scalars(nearest).all() == [2, 1]
        assert connection.scalars(select(signs.hamming_distance("000"))).all() == [3, 3]
        joined = connection.scalar(select(item.c.dense.op("||")(literal([9.0], VECTOR()))).where(item.c.id == 1))
        longer: Any = connection.scalar(select(item.c.dense.concat([9, 8])).where(item.c.id == 1))
        assert longer == [1, 2, 3, 9, 8]
        more = operator.add(item.c.dense, [1, 1, 1])
        assert connection.scalar(select(more).where(item.c.id == 1)) == [2, 3, 4]
    assert (mean, total, joined) == ([2.5, 3.5, 4.5], [5, 7, 9], [1, 2, 3, 9])
    assert type(mean) is type(total) is type(joined) is Vector


def test_declared_metrics(engine: Engine) -> None:
    with engine.begin() as connection:
        row = {"id": 1, "dense": [1, 0, 0], "half": [1, 0, 0], "sparse": [1, 0, 0], "bits": "100"}
        connection.execute(insert(item), [row])
        distances = connection.execute(
            select(
                item.c.dense.distance([0, 1, 0]),
                item.c.half.distance([4, 4, 0]),
                item.c.sparse.distance([2, 0, 0]),
                item.c.bits.distance("110"),
                item.c.dense.distance([1, 1, 0], metric="l1"),
            )
        ).one()
        scores = connection.execute(
            select(
                item.c.dense.score([0, 1, 0]),
                item.c.half.score([4, 4, 0]),
                item.c.sparse.score([2, 0, 0]),
                item.c.bits.score("110"),
                item.c.bits.score("110", metric="hamming"),
            )
        ).one()
    assert tuple(distances) == (1, 5, -2, 0.5, 1)
    assert tuple(scores) == (0, pytest.approx(1 / 6), 2, 0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dense": [1, 2]}, "sqla_item.dense expected 3 dimensions, not 2"),
        ({"dense": "two"}, "sqla_item.dense: Vector expected"),
        ({"bits": "1"}, "sqla_item.bits expected 3 dimensions, not 1"),
        ({"pages": [[1, 2, 3], [1, 2]]}, "sqla_item.pages expected 3 dimensions, not 2"),
        ({"any_size": np.array(["a"])}, "could not convert string to float"),
    ],
)
def test_what_is_refused_names_the_column(engine: Engine, values: dict[str, Any], said: str) -> None:
    with engine.connect() as connection, pytest.raises(StatementError, match=said) as caught:
        connection.execute(insert(item).values(id=1, **values))
    assert isinstance(caught.value.orig, InvalidVector)


def test_literals(engine: Engine) -> None:
    statement = select(item.c.id).where(
        item.c.dense == [1, 0.1, 1e-10],
        item.c.half != [1, 2, 3],
        item.c.sparse != SparseVector({1: 2}, 3),
        item.c.bits == "101",
        item.c.pages == [[1, 2, 3], None],
        item.c.bits.jaccard_distance("101") < 0.5,
    )
    row = {"id": 1, "dense": [1, 0.1, 1e-10], "half": [0] * 3, "sparse": [0] * 3, "bits": "101"}
    with engine.begin() as connection:
        connection.execute(insert(item), [row | {"pages": [[1, 2, 3], None]}])
        sql = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
        assert "dense = '[1.0,0.1,1e-10]'" in sql
        assert "sparse != '{2:2.0}/3'" in sql
        assert """pages = '{"[1,2,3]",NULL}'""" in sql
        assert connection.scalars(statement).all() == [1]
        assert connection.exec_driver_sql(sql).scalars().all() == [1]


def test_an_operator_with_a_percent_sign_with_and_without_values(engine: Engine) -> None:
    between = item.c.bits.jaccard_distance(item.c.bits)
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "bits": "101"}])
        assert connection.scalars(select(between)).all() == [0]
        assert connection.scalars(select(between).where(item.c.id == 1)).all() == [0]
        assert connection.scalars(select(item.c.id % 2).where(item.c.bits.jaccard_distance("101") == 0)).all() == [1]
