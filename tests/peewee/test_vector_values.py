"""Lists of numbers, and NULL, wherever Peewee takes values: CASE, function calls, operators, updates."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from peewee import EXCLUDED, Case, IntegerField, Model, TextField, fn

from lightvec import Bit, SparseVector, Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee import FixedBitField, Pg8000Database, SparseVectorField, VectorField, subvector
from tests.peewee.conftest import Use


class Row(Model):
    id: Any
    number = IntegerField(null=True)
    text = TextField(null=True)
    dense = VectorField(3, null=True)
    sparse = SparseVectorField(3, null=True)
    bits = FixedBitField(3, null=True)

    class Meta:
        table_name = "peewee_values"


@pytest.fixture(autouse=True)
def rows(use: Use) -> None:
    use(Row)
    Row.insert_many([{"id": 1, "dense": [1, 2, 3]}, {"id": 2}]).execute()


def column(expression: Any) -> list[Any]:
    query: Any = Row.select(expression).order_by(Row.id).tuples()
    return [value for (value,) in query]


ZEROS: list[Any] = [[0, 0, 0], (0, 0, 0), array("f", [0, 0, 0]), np.zeros(3), Vector([0, 0, 0])]


@pytest.mark.parametrize("zeros", ZEROS, ids=lambda value: type(value).__name__)
def test_coalesce(zeros: Any) -> None:
    assert column(fn.COALESCE(Row.dense, zeros)) == [[1, 2, 3], [0, 0, 0]]
    assert column(fn.COALESCE(Row.dense, fn.COALESCE(Row.dense, zeros))) == [[1, 2, 3], [0, 0, 0]]


def test_other_functions_and_types() -> None:
    other: Any = Row.alias()
    query = other.select(fn.coalesce(other.dense, [9, 9, 9])).order_by(other.id).tuples()
    assert list(query) == [(Vector([1, 2, 3]),), (Vector([9, 9, 9]),)]
    assert column(fn.NULLIF(Row.dense, [1, 2, 3])) == [None, None]
    assert column(fn.l2_distance(Row.dense, [1, 2, 4])) == [1, None]
    assert column(fn.coalesce(Row.sparse, [0, 5, 0]).coerce(False)) == [SparseVector({1: 5}, 3)] * 2
    assert column(fn.coalesce(Row.bits, [True, False, True])) == [Bit("101")] * 2
    assert column(fn.subvector(Row.dense, 1, 2).coerce(False)) == [[1, 2], None]
    with pytest.raises(InvalidVector, match=r"Row\.dense expected 3 dimensions, not 2"):
        column(fn.COALESCE(Row.dense, [0, 0]))


FILLED: Any = fn.COALESCE(Row.dense, [0, 0, 0])
IS_FIRST = Row.id == 1
ONES = [1, 1, 1]
CONDITIONS: dict[str, tuple[Any, list[int]]] = {
    "equal": (FILLED == [0, 0, 0], [2]),
    "not equal": (FILLED != [0, 0, 0], [1]),
    "in": (FILLED.in_([[0, 0, 0], [9, 9, 9]]), [2]),
    "in, of an alias": (Row.alias("other").dense.in_([[1, 2, 3]]), [1]),
    "not in": (FILLED.not_in([np.zeros(3)]), [1]),
    "between": (FILLED.between([0, 0, 0], [0, 9, 9]), [2]),
    "a field between": (Row.dense.between([0, 0, 0], [9, 9, 9]), [1]),
    "a field less than": (Row.dense < [5, 5, 5], [1]),
    "equal to a call": (Row.dense == fn.COALESCE(None, [1, 2, 3]), [1]),
    "equal to a Case": (Row.dense == Case(None, [(IS_FIRST, [1, 2, 3])], [0, 0, 0]), [1]),
    "equal to a Case of a number": (Row.dense == Case(Row.id, [(1, [1, 2, 3])], [0, 0, 0]), [1]),
    "a Case equal to": (Case(None, [(IS_FIRST, Row.dense)], [2, 2, 2]) == (2, 2, 2), [2]),
    "sum": (Row.dense + ONES == [2, 3, 4], [1]),
    "difference": (FILLED - ONES == [-1, -1, -1], [2]),
    "normalized": (fn.l2_normalize(FILLED) == [0, 0, 0], [2]),
    "subvector": (subvector(Row.dense, 1, 2) == [1, 2], [1]),
    "concatenated": (Row.dense.concat([4]) == [1, 2, 3, 4], [1]),
    "greatest": (fn.GREATEST(FILLED, [0, 1, 0]) == [0, 1, 0], [2]),
    "sparse": (fn.coalesce(Row.sparse, [0, 5, 0]) == [0, 5, 0], [1, 2]),
    "bits": (fn.coalesce(Row.bits, [True, False, True]) == [True, False, True], [1, 2]),
    "no vector": (fn.coalesce(Row.number, 5) == 5, [1, 2]),
    "distance": (fn.l2_distance(FILLED, [0, 0, 0]) == 0, [2]),
    "distance of a nullif": (fn.l2_distance(fn.NULLIF(FILLED, [0, 0, 0]), [1, 2, 3]) == 0, [1]),
    "distance to a Case": (Row.dense.l2_distance(Case(None, [(IS_FIRST, [1, 2, 3])], [0, 0, 0])) == 0, [1]),
    "distance to a call": (Row.dense.l2_distance(fn.COALESCE(None, [1, 2, 3])) == 0, [1]),
    "of a subquery": (fn.COALESCE(Row.select(fn.avg(Row.dense)), [0, 0, 0]) == [1, 2, 3], [1, 2]),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions(name: str) -> None:
    condition, found = CONDITIONS[name]
    model: Any = Row.alias("other") if name == "in, of an alias" else Row
    query = model.select(model.id).where(condition).order_by(model.id).tuples()
    assert [value for (value,) in query] == found


@pytest.mark.parametrize("source", ["subquery", "union", "cte"])
def test_columns_of_a_subquery(source: str) -> None:
    rows: Any = Row.select(Row.id, Row.dense, FILLED.alias("filled"))
    if source == "union":
        rows = rows.where(Row.id == 1) | rows.where(Row.id == 2)
    inner = rows.cte("c") if source == "cte" else rows.alias("s")
    chosen = (
        fn.COALESCE(inner.c.dense, [7, 7, 7]),
        fn.l2_distance(inner.c.filled, [1, 2, 3]),
        inner.c.dense == [1, 2, 3],
    )
    query: Any = Row.select(*chosen).from_(inner).order_by(inner.c.id).tuples()
    if source == "cte":
        query = query.with_cte(inner)
    assert list(query) == [(Vector([1, 2, 3]), 0, True), (Vector([7, 7, 7]), pytest.approx(14**0.5), None)]


def test_a_call_and_what_is_computed_from_it_in_one_query() -> None:
    query: Any = Row.select(fn.l2_distance(FILLED, [0, 0, 0]), fn.count(Row.id)).group_by(FILLED).order_by(FILLED)
    assert list(query.tuples()) == [(0, 1), (pytest.approx(14**0.5), 1)]


def test_a_call_has_no_distance_methods() -> None:
    with pytest.raises(InvalidOption, match=r"got one: .* write fn\.l2_distance\(call, vector\)"):
        column(FILLED.l2_distance([1, 2, 3]))


def test_case() -> None:
    one = Row.id == 1
    assert column(Case(None, [(one, [4, 5, 6])], Row.dense)) == [[4, 5, 6], None]
    assert column(Case(None, [(one, Row.dense)], [7, 8, 9])) == [[1, 2, 3], [7, 8, 9]]
    assert column(Case(Row.id, [(2, [7, 8, 9])], Row.dense)) == [[1, 2, 3], [7, 8, 9]]
    assert column(Case(Row.dense, [([1, 2, 3], "this")], "other")) == ["this", "other"]
    assert column(Case(Row.id, [(1, "one")], "other")) == ["one", "other"]


def test_one_expression_in_several_clauses() -> None:
    filled = fn.COALESCE(Row.dense, [0, 0, 0])
    query: Any = Row.select(filled.alias("filled"), fn.count(Row.id)).group_by(filled).order_by(filled)
    assert list(query.tuples()) == [(Vector([0, 0, 0]), 1), (Vector([1, 2, 3]), 1)]
    chosen = Case(None, [(Row.dense.is_null(), [4, 5, 6])], Row.dense)
    found: Any = Row.select(chosen).group_by(chosen).order_by(chosen).tuples()
    assert list(found) == [(Vector([1, 2, 3]),), (Vector([4, 5, 6]),)]


@pytest.mark.parametrize("ones", [[1, 1, 1], (1, 1, 1), np.ones(3), Vector([1, 1, 1])])
def test_arithmetic(ones: Any) -> None:
    assert column(Row.dense + ones) == [[2, 3, 4], None]
    assert column(Row.dense - ones) == [[0, 1, 2], None]
    assert column(Row.dense * ones) == [[1, 2, 3], None]
    assert column(Row.dense + Row.dense) == [[2, 4, 6], None]


def test_updates() -> None:
    Row.update(dense=fn.COALESCE(Row.dense, [0, 0, 0])).execute()
    assert column(Row.dense) == [[1, 2, 3], [0, 0, 0]]
    Row.update(dense=Case(None, [(Row.id == 1, [4, 5, 6])], [7, 8, 9])).execute()
    assert column(Row.dense) == [[4, 5, 6], [7, 8, 9]]
    Row.update({Row.dense: Case(None, [(Row.id == 1, fn.coalesce(None, [1, 1, 1]))])}).execute()
    assert column(Row.dense) == [[1, 1, 1], None]
    Row.update(number=Case(None, [(Row.id == 1, 5)])).execute()
    assert column(Row.number) == [5, None]


def test_updates_on_conflict() -> None:
    replacement = {Row.dense: fn.COALESCE(EXCLUDED.dense, [5, 5, 5])}
    insert = Row.insert_many([{"id": 1, "dense": None}, {"id": 3, "dense": [3, 3, 3]}])
    insert.on_conflict(conflict_target=[Row.id], update=replacement).execute()
    assert column(Row.dense) == [[5, 5, 5], None, [3, 3, 3]]


@pytest.mark.parametrize("name", ["number", "text", "dense", "sparse", "bits"])
def test_bulk_update_with_nothing_but_null(name: str, db: Pg8000Database) -> None:
    Row.update(number=1, text="a", dense=[1, 2, 3], sparse=[1, 2, 3], bits="101").execute()
    everything = list(Row.select().order_by(Row.id))
    for row in everything:
        setattr(row, name, None)
    assert Row.bulk_update(everything, [name]) == 2
    assert column(getattr(Row, name)) == [None, None]


def test_bulk_update(db: Pg8000Database) -> None:
    one, two = Row.select().order_by(Row.id)
    one.dense, two.dense = [3, 2, 1], [1, 1, 1]
    assert Row.bulk_update([one, two], [Row.dense]) == 2
    assert column(Row.dense) == [[3, 2, 1], [1, 1, 1]]
    one.dense = None
    Row.bulk_update([one, two], [Row.dense, Row.number])
    assert column(Row.dense) == [None, [1, 1, 1]]


def test_an_update_of_nulls_leaves_what_it_does_not_name() -> None:
    Row.update(dense=Case(None, [(Row.id == 2, None)])).where(Row.id == 2).execute()
    assert column(Row.dense) == [[1, 2, 3], None]
    Row.update(dense=Case(None, [(Row.id == 2, None)])).execute()
    assert column(Row.dense) == [None, None], "as CASE without ELSE has it"
