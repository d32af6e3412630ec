"""lightvec.psycopg2 on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS, connection, string_types
from psycopg2.extras import DictCursor, NamedTupleCursor, RealDictCursor, execute_values
from psycopg2.pool import ThreadedConnectionPool

from lightvec import HalfVector, SparseVector, Vector
from lightvec import errors as lightvec_errors
from lightvec.errors import InvalidVector
from lightvec.psycopg2 import MissingExtension, register_vector
from lightvec.types import Bit
from tests.drivers.values import BIT, MISSING, NDARRAYS, OF_PGVECTOR, OF_TYPES

TABLE = "CREATE TEMPORARY TABLE item (id serial, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), a vector[])"
V, H, S, B = Vector([1.5, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector([1.5, 0, 3]), Bit("101")


@pytest.fixture
def plain(url: str) -> Iterator[connection]:
    """A connection that is not registered."""
    conn = psycopg2.connect(url)
    conn.autocommit = True
    yield conn
    conn.close()


@pytest.fixture
def db(plain: connection) -> connection:
    register_vector(plain)
    one(plain, f"{TABLE}; SELECT 1")
    return plain


def one(conn: connection, sql: str, *params: Any) -> Any:
    with conn.cursor() as cursor:
        cursor.execute(sql, params or None)
        (row,) = cursor.fetchall()
    return row[0] if len(row) == 1 else row


@pytest.mark.parametrize(("name", "value"), OF_TYPES)
def test_values(name: str, value: Any, db: connection) -> None:
    found = one(db, f"SELECT %s::{name}", value)
    assert (type(found), found) == (type(value), value)
    assert one(db, f"SELECT %s::{name}::text", value) == value.to_text()
    assert one(db, f"SELECT NULL::{name}") is None
    for given in ([value], [value, None], [[value, value], [value, None]]):
        assert one(db, f"SELECT %s::{name}[]", given) == given


@pytest.mark.parametrize(("name", "value"), OF_PGVECTOR)
def test_values_of_pgvectors_package(name: str, value: Any, db: connection) -> None:
    assert one(db, f"SELECT %s::{name}::text", value) == value.to_text().replace(".0", "")
    assert one(db, f"SELECT ARRAY[%s::{name}] = %s::{name}[]", value, [value]) is True


def test_bit(db: connection) -> None:
    assert one(db, "SELECT %s::bit(9)", BIT) == "010100001"
    assert one(db, "SELECT %s <~> B'010100000'", BIT) == 1


def test_columns(db: connection) -> None:
    sql = "INSERT INTO item (v, h, s, b, a) VALUES (%s, %s, %s, %s, %s::vector[]) RETURNING v, h, s, b, a"
    assert one(db, sql, V, H, S, B, [V, None]) == (V, H, S, "101", [V, None])
    assert one(db, sql, *[None] * 5) == (None,) * 5
    assert one(db, "SELECT id FROM item WHERE v <-> %s < 0.1 AND h <=> %s < 1", V, H) == 1
    with db.cursor() as cursor:
        execute_values(cursor, "INSERT INTO item (v, s) VALUES %s", [(V, S)] * 3)
        assert one(db, "SELECT avg(v) FROM item") == V


@pytest.mark.parametrize("given", NDARRAYS)
def test_ndarrays(given: Any, db: connection) -> None:
    sql = "INSERT INTO item (v, h, a) VALUES (%s, %s, %s::vector[]) RETURNING v, h, a"
    assert one(db, sql, given, given, [given]) == (Vector(given), HalfVector(given), [Vector(given)])


def test_plain_lists_are_arrays_which_postgresql_casts(db: connection) -> None:
    sql = "INSERT INTO item (v, h) VALUES (%s, %s) RETURNING v, h"
    assert one(db, sql, [1.5, 2, 3], [1.5, 2, 3]) == (V, H)
    assert one(db, "SELECT %s::vector", [1, 2]) == [1, 2]
    assert one(db, "SELECT v <-> %s::vector FROM item", [1.5, 2, 3]) == 0


def test_lists_stay_the_users_own(db: connection) -> None:
    assert one(db, "SELECT %s", [1, 2]) == [1, 2]
    assert one(db, "SELECT 2 IN %s", (1, 2)) is True
    with pytest.raises(errors.UndefinedFunction):
        one(db, "SELECT '[1,2]'::vector <-> %s", [1.5, 2.0])
    with pytest.raises(errors.CannotCoerce):
        one(db, "SELECT %s::vector", (1, 2))


def test_no_vector(db: connection) -> None:
    for bad in (np.array([1, np.nan]), np.array([[1.0]]), np.array(["a"])):
        with pytest.raises(InvalidVector):
            one(db, "SELECT %s::vector", bad)


def test_another_schema(moved_url: str) -> None:
    conn = psycopg2.connect(moved_url)
    register_vector(conn)
    made = """SELECT '[1]'::"Odd ""one".vector, ARRAY['{}/2'::"Odd ""one".sparsevec]"""
    assert one(conn, made) == ([1], [SparseVector([0, 0])])
    conn.close()


def test_a_cursor_of_its_own(plain: connection) -> None:
    with plain.cursor() as cursor:
        register_vector(cursor)
        cursor.execute("SELECT '[1]'::vector, ARRAY['[2]'::halfvec]")
        assert cursor.fetchall() == [(Vector([1]), [HalfVector([2])])]
    assert one(plain, "SELECT '[1]'::vector") == "[1]"


def test_without_arrays(plain: connection) -> None:
    register_vector(plain, arrays=False)
    assert one(plain, "SELECT '[1]'::vector, ARRAY['[1]'::vector]") == (Vector([1]), "{[1]}")


def test_globally(plain: connection, url: str) -> None:
    before = dict(string_types)
    try:
        register_vector(plain, globally=True)
        other = psycopg2.connect(url)
        assert one(other, "SELECT '[1]'::vector, ARRAY['{1:1}/2'::sparsevec]") == (Vector([1]), [SparseVector([1, 0])])
        other.close()
    finally:
        string_types.clear()
        string_types.update(before)


@pytest.mark.parametrize("factory", [DictCursor, RealDictCursor, NamedTupleCursor])
def test_rows_of_another_kind(factory: Any, url: str) -> None:
    conn = psycopg2.connect(url, cursor_factory=factory)
    register_vector(conn)
    cursor = conn.cursor()
    register_vector(cursor)
    cursor.execute("SELECT '[1]'::vector AS v")
    row: Any = cursor.fetchone()
    assert (row.v if factory is NamedTupleCursor else row["v"]) == Vector([1])
    conn.close()


def test_server_side_cursors(db: connection) -> None:
    db.autocommit = False
    with db.cursor("named") as cursor:
        cursor.execute("SELECT %s::vector FROM generate_series(1, 3)", [V])
        assert cursor.fetchall() == [(V,)] * 3


def test_transactions_are_left_as_they_were(url: str) -> None:
    conn = psycopg2.connect(url)
    register_vector(conn)
    assert conn.info.transaction_status == TRANSACTION_STATUS_IDLE
    one(conn, "CREATE TEMPORARY TABLE kept (id int); SELECT 1")
    register_vector(conn)
    assert conn.info.transaction_status == TRANSACTION_STATUS_INTRANS
    assert one(conn, "SELECT to_regclass('kept')") == "kept"
    conn.close()


def test_encoding_that_is_none(plain: connection) -> None:
    plain.set_client_encoding("SQL_ASCII")
    register_vector(plain)
    assert one(plain, "SELECT %s::vector", V) == V


def test_pool(url: str) -> None:
    pool = ThreadedConnectionPool(1, 1, url)
    for _ in range(2):
        conn = pool.getconn()
        register_vector(conn)
        assert one(conn, "SELECT %s::vector", V) == V
        pool.putconn(conn)
    pool.closeall()


def test_registering_again(db: connection) -> None:
    register_vector(db)
    assert one(db, "SELECT %s::vector[]", [V, V]) == [V, V]


def test_an_extension_that_was_made_anew(empty_url: str) -> None:
    conn = psycopg2.connect(empty_url)
    for _ in range(2):
        one(conn, "DROP EXTENSION IF EXISTS vector; CREATE EXTENSION vector; SELECT 1")
        register_vector(conn)
        assert one(conn, "SELECT %s::vector, %s::halfvec[]", V, [H]) == (V, [H])
    conn.close()


def test_an_old_extension(old_url: str) -> None:
    conn = psycopg2.connect(old_url)
    register_vector(conn)
    assert one(conn, "SELECT %s::vector[]", [V]) == [V]
    conn.close()


def test_missing_extension(empty_url: str) -> None:
    conn = psycopg2.connect(empty_url)
    with pytest.raises(MissingExtension, match=MISSING) as raised:
        register_vector(conn)
    assert isinstance(raised.value, psycopg2.ProgrammingError)
    assert isinstance(raised.value, lightvec_errors.MissingExtension)
    assert conn.info.transaction_status == TRANSACTION_STATUS_IDLE
    conn.close()
