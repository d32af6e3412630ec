"""Vectors as parameters and results: the four types, their arrays, NumPy's and the standard library's arrays."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pgvector
import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidVector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError
from lightvec.wire.protocol import BINARY, TEXT

VALUES = [
    (Vector([1, -2.5, 3]), "vector"),
    (HalfVector([1, -2.5, 3]), "halfvec"),
    (SparseVector({0: 1.5, 4: -2}, 5), "sparsevec"),
    (SparseVector({}, 5), "sparsevec"),
    (Bit("10110"), "bit"),
    (Bit("1" * 64), "bit"),
]
Value = Vector | HalfVector | SparseVector | Bit


def formats(connection: Connection) -> list[int]:
    return [column["format"] for column in connection.columns or ()]


@pytest.mark.parametrize(("value", "declared"), VALUES)
def test_a_vector_comes_as_text_first_and_then_as_binary(value: Value, declared: str, conn: Connection) -> None:
    for expected in (TEXT, BINARY, BINARY):
        rows = conn.run("SELECT pg_typeof(v)::text, v, 7 FROM (SELECT :v AS v) AS sent", v=value)
        assert rows == [[declared, value, 7]]
        assert type(rows[0][1]) is type(value)
        assert formats(conn) == [TEXT, expected, TEXT]


@pytest.mark.parametrize(("value", "declared"), VALUES)
def test_an_array_of_vectors(value: Value, declared: str, conn: Connection) -> None:
    for _ in range(2):
        sql = "SELECT pg_typeof(v)::text, v FROM (SELECT :v AS v) AS sent"
        assert conn.run(sql, v=[value, None, value]) == [[f"{declared}[]", [value, None, value]]]
        assert conn.run(sql, v=[[value], [None]]) == [[f"{declared}[]", [[value], [None]]]]


def test_a_vector_that_is_not_the_first_parameter_type(conn: Connection) -> None:
    """One text, with a vector once and a text another time: each comes back as what it is."""
    for _ in range(2):
        assert conn.run("SELECT :a, :b", a=Vector([1]), b="x") == [[Vector([1]), "x"]]
        assert conn.run("SELECT :a, :b", a="x", b=Vector([1])) == [["x", Vector([1])]]
        assert conn.run("SELECT :a, :b", a="x", b=None) == [["x", None]]
        assert conn.run("SELECT :a, :b", a=HalfVector([1]), b=7) == [[HalfVector([1]), 7]]


@pytest.mark.parametrize(
    ("given", "declared", "back"),
    [
        (np.array([1, 2.5], np.float32), "vector", Vector([1, 2.5])),
        (np.array([1, 2.5], np.float64), "vector", Vector([1, 2.5])),
        (np.array([1, 2.5], np.float16), "vector", Vector([1, 2.5])),
        (np.array([1, 2]), "vector", Vector([1, 2])),
        (np.array([True, False, True]), "bit", Bit("101")),
        (array("f", [1, 2.5]), "vector", Vector([1, 2.5])),
        (array("d", [1, 2.5]), "vector", Vector([1, 2.5])),
        ([np.array([1, 2], np.float32), None], "vector[]", [Vector([1, 2]), None]),
        ([array("f", [1])], "vector[]", [Vector([1])]),
        (pgvector.Vector([1, 2.5]), "vector", Vector([1, 2.5])),
        (pgvector.HalfVector([1, 2.5]), "halfvec", HalfVector([1, 2.5])),
        (pgvector.SparseVector({0: 1.5}, 5), "sparsevec", SparseVector({0: 1.5}, 5)),
        (pgvector.Bit("10110"), "bit", Bit("10110")),
        ([pgvector.Vector([1, 2.5]), None], "vector[]", [Vector([1, 2.5]), None]),
        (np.float32(0.5), "double precision", 0.5),
        (np.float64(0.1), "double precision", 0.1),
        (np.int64(7), "smallint", 7),
        (np.uint64(2**64 - 1), "numeric", 2**64 - 1),
        (np.bool_(True), "boolean", True),
        (np.str_("x"), "text", "x"),
        ([np.int64(7), 8, np.int32(70_000)], "integer[]", [7, 8, 70_000]),
    ],
)
def test_arrays_and_numpy(given: Any, declared: str, back: Any, url: str) -> None:
    """On a connection that knows no types yet: whoever sends a vector first finds them."""
    with connect(url) as connection:
        rows = connection.run("SELECT pg_typeof(v)::text, v FROM (SELECT :v AS v) AS sent", v=given)
        assert rows == [[declared, back]]


@pytest.mark.parametrize("given", [np.zeros((2, 2)), np.array([1, np.nan]), np.array([]), array("f")])
def test_arrays_that_are_no_vector(given: Any, conn: Connection) -> None:
    with pytest.raises(InvalidVector):
        conn.run("SELECT :v", v=given)
    assert conn.run("SELECT 1") == [[1]]


def test_a_vector_goes_where_halfvec_is_wanted(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE halves (h halfvec(2), b bit(3), s sparsevec(2), l vector(2))")
    sql = "INSERT INTO halves VALUES (:h, :b, :s, :l) RETURNING *"
    expected = [[HalfVector([1, 2]), Bit("101"), SparseVector([0, 1]), Vector([3, 4])]]
    assert conn.run(sql, h=Vector([1, 2]), b=Bit("101"), s=SparseVector([0, 1]), l=[3.0, 4.0]) == expected
    assert conn.run(sql, h=[1.0, 2.0], b="101", s=Vector([0, 1]), l=[3.0, 4.0]) == expected


def test_wrong_dimensions(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE three (v vector(3))")
    with pytest.raises(DataError, match="expected 3 dimensions, not 2") as caught:
        conn.run("INSERT INTO three VALUES (:v)", v=Vector([1, 2]))
    assert caught.value.sqlstate == "22000"


def test_bits_of_any_length(conn: Connection) -> None:
    for _ in range(2):
        assert conn.run("SELECT B'101'::bit(3), B'1'::bit(1), '{101,NULL}'::bit(3)[]") == [
            [Bit("101"), Bit("1"), [Bit("101"), None]]
        ]


def test_many_dimensions(conn: Connection) -> None:
    long = Vector(range(16_000))
    for _ in range(2):
        assert conn.run("SELECT :v", v=long) == [[long]]


def test_nulls(conn: Connection) -> None:
    for _ in range(2):
        assert conn.run("SELECT CAST(:v AS vector), NULL::halfvec", v=None) == [[None, None]]
