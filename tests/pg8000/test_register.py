"""Vectors on plain connections of pg8000, of each of its three interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pg8000.dbapi
import pg8000.legacy
import pg8000.native
import pytest

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.pg8000 import Connection, connect, dbapi, register_vector
from lightvec.pg8000.exceptions import MissingExtension
from tests.drivers.values import OF_PGVECTOR

TABLE = "CREATE TEMPORARY TABLE item (id serial, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), a vector[])"
ROW = [Vector([1.5, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector([1.5, 0, 3]), Bit("101"), [Vector([1, 2]), None]]


def arguments(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "user": "postgres",
        "database": parts.path[1:],
        "unix_sock": f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432",
    }


@pytest.fixture
def native(url: str) -> Iterator[pg8000.native.Connection]:
    connection = pg8000.native.Connection(**arguments(url))
    connection.run(TABLE)
    yield connection
    connection.close()


@pytest.mark.parametrize("times", [1, 2])
def test_native(times: int, native: pg8000.native.Connection) -> None:
    for _ in range(times):
        register_vector(native)
    v, h, s, b, a = ROW
    native.run("INSERT INTO item (v, h, s, b, a) VALUES (:v, :h, :s, :b, :a)", v=v, h=h, s=s, b=b, a=a)
    native.run("INSERT INTO item (v, h, s, b, a) VALUES (:v, :h, :s, :b, :a)", v=None, h=None, s=None, b=None, a=None)
    rows = native.run("SELECT v, h, s, b, a FROM item ORDER BY id")
    assert rows == [ROW, [None] * 5]
    assert [type(value) for value in rows[0]] == [Vector, HalfVector, SparseVector, Bit, list]
    assert native.run("SELECT ARRAY[h], ARRAY[s], ARRAY[b] FROM item LIMIT 1") == [[[h], [s], [b]]]
    assert native.run("SELECT CAST(:a AS int[])", a=[1, None]) == [[[1, None]]]
    assert native.run("SELECT v <-> CAST(:v AS vector) FROM item LIMIT 1", v=v) == [[0.0]]


@pytest.mark.parametrize("module", [pg8000.dbapi, pg8000.legacy])
def test_pep_249(module: Any, url: str) -> None:
    with module.connect(**arguments(url)) as connection:
        check_pep_249(connection)


def check_pep_249(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(TABLE)
    register_vector(connection)
    cursor.execute("INSERT INTO item (v, h, s, b, a) VALUES (%s, %s, %s, %s, %s)", ROW)
    cursor.execute("SELECT v, h, s, b, a FROM item")
    assert [list(row) for row in cursor.fetchall()] == [ROW]


def test_numpy_arrays(native: pg8000.native.Connection) -> None:
    register_vector(native)
    sql = "SELECT CAST(:v AS vector), CAST(:h AS halfvec), CAST(:b AS bit(3))"
    given = {"v": np.array([1, 2.5], np.float32), "h": np.array([1, 2]), "b": np.array([True, False, True])}
    assert native.run(sql, **given) == [[Vector([1, 2.5]), HalfVector([1, 2]), Bit("101")]]


def test_values_of_pgvectors_package(native: pg8000.native.Connection) -> None:
    register_vector(native)
    for name, value in OF_PGVECTOR:
        sql = f"SELECT CAST(:v AS {name})::text, ARRAY[CAST(:v AS {name})] = CAST(:a AS {name}[])"
        assert native.run(sql, v=value, a=[value]) == [[value.to_text().replace(".0", ""), True]]


def test_without_registration_they_are_text(native: pg8000.native.Connection) -> None:
    assert native.run("SELECT '[1,2]'::vector") == [["[1,2]"]]


@pytest.mark.parametrize("opened", [connect, dbapi.connect])
def test_a_connection_of_lightvec_knows_them_already(opened: Callable[[str], Any], url: str) -> None:
    with opened(url) as connection:
        for _ in range(2):
            register_vector(connection)
        for _ in range(2):
            (row,) = connection.execute_unnamed("SELECT $1, $2", [Vector([1]), [Vector([2])]]).rows
            assert list(row) == [Vector([1]), [Vector([2])]]
        columns = connection.execute_unnamed("SELECT $1, $2", [Vector([1]), [Vector([2])]]).columns
        assert [column.format for column in columns] == [1, 0], "as binary, still"


def test_without_pgvector(empty_url: str) -> None:
    plain = pg8000.native.Connection(**arguments(empty_url))
    with pytest.raises(MissingExtension, match="CREATE EXTENSION vector"):
        register_vector(plain)
    assert plain.run("SELECT 1") == [[1]]
    plain.run("CREATE EXTENSION vector")
    register_vector(plain)
    assert plain.run("SELECT '[1]'::vector") == [[Vector([1])]]
    plain.close()


def test_without_pgvector_on_a_connection_of_lightvec(empty_url: str) -> None:
    with connect(empty_url) as connection:
        assert isinstance(connection, Connection)
        with pytest.raises(MissingExtension):
            register_vector(connection)


def test_another_schema(empty_url: str) -> None:
    plain = pg8000.native.Connection(**arguments(empty_url))
    plain.run("CREATE SCHEMA elsewhere; CREATE EXTENSION vector SCHEMA elsewhere")
    register_vector(plain)
    assert plain.run("SELECT '[1]'::elsewhere.vector") == [[Vector([1])]]
    plain.close()
