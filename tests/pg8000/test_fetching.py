"""fetch_columns: rows as matrices, arrays and lists, the same values as run gives."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lightvec import HalfVector, Vector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError, InterfaceError, ProgrammingError

SERIES = "FROM generate_series(1, :n) g"


def same(conn: Connection, sql: str, **params: Any) -> dict[str, Any]:
    """The columns, after a look that they hold what the rows hold."""
    columns = conn.fetch_columns(sql, **params)
    rows = conn.run(sql, **params) or []
    assert conn.columns is not None
    assert list(columns) == [column["name"] for column in conn.columns]
    for index, values in enumerate(columns.values()):
        assert len(values) == len(rows)
        for value, row in zip(values, rows, strict=True):
            assert (
                value == row[index] if not isinstance(row[index], (Vector, HalfVector)) else row[index] == list(value)
            )
    return columns


@pytest.mark.parametrize("number", [0, 1, 2, 1_023, 1_025, 3_000])
def test_matrices_and_arrays(conn: Connection, number: int) -> None:
    columns = same(
        conn,
        f"SELECT g AS id, ARRAY[g, 0.1, -g]::vector AS v, ARRAY[g % 99, 0.5]::halfvec AS h, g * 2.5::float8 AS f, "
        f"g::float4 AS r, g::int8 AS b, (g % 2 = 0) AS t, (g % 99)::int2 AS s {SERIES}",
        n=number,
    )
    types = {name: str(values.dtype) for name, values in columns.items()}
    assert types == {
        "id": "int32",
        "v": "float32",
        "h": "float16",
        "f": "float64",
        "r": "float32",
        "b": "int64",
        "t": "bool",
        "s": "int16",
    }
    if number:
        assert columns["v"].shape == (number, 3)
        assert columns["h"].shape == (number, 2)
    assert columns["id"].flags.writeable


def test_one_large_matrix(conn: Connection) -> None:
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(300, 768)).astype(np.float32)
    conn.run("CREATE TEMPORARY TABLE matrix (id int, v vector(768))")
    for index, row in enumerate(matrix):
        conn.run("INSERT INTO matrix VALUES (:id, :v)", id=index, v=row)
    columns = conn.fetch_columns("SELECT id, v FROM matrix ORDER BY id")
    assert np.array_equal(columns["v"], matrix)
    assert np.array_equal(columns["id"], np.arange(300))


def test_rows_that_are_longer_than_the_buffer(conn: Connection) -> None:
    sql = f"SELECT repeat('x', 300000) AS text, g, array_fill(g, ARRAY[16000])::vector AS v {SERIES}"
    columns = conn.fetch_columns(sql, n=3)
    assert [len(text) for text in columns["text"]] == [300_000] * 3
    assert columns["v"].shape == (3, 16_000)
    assert columns["v"][:, 7].tolist() == [1, 2, 3]


def test_nulls_make_a_list(conn: Connection) -> None:
    columns = same(
        conn, f"SELECT nullif(g, 50) AS id, CASE WHEN g <> 70 THEN ARRAY[g, 1]::vector END AS v, g {SERIES}", n=100
    )
    assert columns["id"][48:51] == [49, None, 51]
    assert columns["v"][68:71] == [Vector([69, 1]), None, Vector([71, 1])]
    assert columns["g"].dtype == np.int32


def test_vectors_of_different_dimensions_are_a_list(conn: Connection) -> None:
    columns = conn.fetch_columns(f"SELECT array_fill(g, ARRAY[1 + g / 4])::vector AS v {SERIES}", n=9)
    assert columns["v"] == [Vector([g] * (1 + g // 4)) for g in range(1, 10)]


def test_other_types_are_lists(conn: Connection) -> None:
    columns = same(
        conn,
        f"SELECT repeat('é', g) AS text, jsonb_build_object('g', g) AS j, '{{1:1}}/3'::sparsevec AS s, "
        f"'101'::bit(3) AS b, g::numeric AS n, now()::date AS d, ARRAY[g] AS a, g AS id, "
        f"ARRAY['[1,2]'::vector] AS many {SERIES}",
        n=20,
    )
    assert all(isinstance(values, list) for name, values in columns.items() if name != "id")


def test_texts_of_one_length_are_not_taken_for_numbers(conn: Connection) -> None:
    assert same(conn, f"SELECT lpad(g::text, 4, '0') AS text, g {SERIES}", n=50)["text"][9] == "0010"


def test_parameters(conn: Connection) -> None:
    sql = f"SELECT g, ARRAY[g, 0]::vector <-> :v AS d {SERIES} ORDER BY d LIMIT 2"
    assert conn.fetch_columns(sql, v=Vector([4, 0]), n=9)["g"].tolist() in ([4, 3], [4, 5])


def test_inside_a_transaction(conn: Connection) -> None:
    with conn.transaction():
        conn.run("CREATE TEMPORARY TABLE inside ON COMMIT DROP AS SELECT 7 AS seven")
        assert conn.fetch_columns("SELECT * FROM inside")["seven"].tolist() == [7]
        assert conn.in_transaction


def test_errors_leave_the_connection_good(conn: Connection) -> None:
    with pytest.raises(ProgrammingError):
        conn.fetch_columns("SELECT nonsense")
    with pytest.raises(DataError):
        conn.fetch_columns(f"SELECT 1 / (g - 500) AS x {SERIES}", n=900)
    with pytest.raises(InterfaceError):
        conn.fetch_columns("SELECT :a", b=1)
    assert conn.fetch_columns("CREATE TEMPORARY TABLE nothing (id int)") == {}
    assert conn.fetch_columns("SELECT 1 AS x")["x"].tolist() == [1]


def test_without_numpy(url: str) -> None:
    code = f"""
import sys; sys.modules["numpy"] = None
import lightvec
with lightvec.connect({url!r}) as conn:
    columns = conn.fetch_columns("SELECT g, ARRAY[g, 1]::vector AS v FROM generate_series(1, 2) g")
    assert columns == {{"g": [1, 2], "v": [lightvec.Vector([1, 1]), lightvec.Vector([2, 1])]}}, columns
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_in_a_database_without_pgvector(empty_url: str) -> None:
    with connect(empty_url) as conn:
        for _ in range(2):
            columns = conn.fetch_columns("SELECT g AS id, 'x' || g AS text FROM generate_series(1, 3) g")
            assert columns["id"].tolist() == [1, 2, 3]
            assert columns["text"] == ["x1", "x2", "x3"]
