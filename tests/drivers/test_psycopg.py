"""lightvec.psycopg on a real server: text and binary, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import AsyncConnection, ClientCursor, Connection, errors
from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from lightvec import HalfVector, SparseVector, Vector
from lightvec import errors as lightvec_errors
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.psycopg import MissingExtension, register_vector, register_vector_async
from lightvec.types import Bit
from tests.drivers.values import BIT, MISSING, NDARRAYS, OF_PGVECTOR, OF_TYPES

TABLE = "CREATE TEMPORARY TABLE item (id serial, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), a vector[])"
V, H, S, B = Vector([1.5, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector([1.5, 0, 3]), Bit("101")


def open_connection(url: str, **params: Any) -> Connection[Any]:
    return psycopg.connect(url, autocommit=True, **params)


@pytest.fixture
def db(url: str) -> Iterator[Connection[Any]]:
    with open_connection(url) as conn:
        register_vector(conn)
        conn.execute(TABLE)
        yield conn


def one(conn: Connection[Any], sql: str, *params: Any, binary: bool = False) -> Any:
    (row,) = conn.execute(sql.encode(), params or None, binary=binary).fetchall()
    return row[0] if len(row) == 1 else row


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("place", ["%s", "%t", "%b"])
@pytest.mark.parametrize(("name", "value"), OF_TYPES)
def test_values(name: str, value: Any, place: str, binary: bool, db: Connection[Any]) -> None:
    found = one(db, f"SELECT {place}::{name}", value, binary=binary)
    assert (type(found), found) == (type(value), value)
    assert one(db, f"SELECT {place}", value, binary=binary) == value  # its type is known
    assert one(db, f"SELECT {place}::text", value) == value.to_text()
    assert one(db, f"SELECT NULL::{name}", binary=binary) is None


@pytest.mark.parametrize("place", ["%s", "%t", "%b"])
@pytest.mark.parametrize(("name", "value"), OF_PGVECTOR)
def test_values_of_pgvectors_package(name: str, value: Any, place: str, db: Connection[Any]) -> None:
    for _ in range(2):
        assert one(db, f"SELECT {place}::{name}::text", value) == str(value.to_text()).replace(".0", "")
        register_vector(db)
    assert one(db, f"SELECT ARRAY[{place}::{name}] = {place}::{name}[]", value, [value]) is True


@pytest.mark.parametrize("place", ["%s", "%t", "%b"])
def test_bit(place: str, db: Connection[Any]) -> None:
    assert one(db, f"SELECT {place}::bit(9)", BIT) == "010100001"
    assert Bit.from_binary(one(db, f"SELECT {place}::bit(9)", BIT, binary=True)) == BIT
    assert one(db, f"SELECT {place} <~> B'010100000'", BIT) == 1
    assert one(db, f"SELECT ARRAY[{place}]", BIT) == ["010100001"]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_columns(binary: bool, db: Connection[Any]) -> None:
    row = (V, H, S, B, [V, None, V])
    db.execute("INSERT INTO item (v, h, s, b, a) VALUES (%s, %s, %s, %s, %s)", row)
    db.execute("INSERT INTO item (v, h, s, b, a) VALUES (%s, %s, %s, %s, %s)", [None] * 5)
    found = db.execute("SELECT v, h, s, a FROM item ORDER BY id", binary=binary).fetchall()
    assert found == [(V, H, S, [V, None, V]), (None,) * 4]
    assert one(db, "SELECT id FROM item WHERE v <-> %s < 0.1 AND h <=> %s < 1", V, H) == 1


@pytest.mark.parametrize("place", ["%s", "%t", "%b"])
@pytest.mark.parametrize("given", NDARRAYS)
def test_ndarrays(given: Any, place: str, db: Connection[Any]) -> None:
    assert one(db, f"SELECT {place}", given) == Vector(given)
    assert one(db, f"SELECT {place}::halfvec", given) == HalfVector(given)
    insert = f"INSERT INTO item (v, h, s, a) VALUES ({place}, {place}, {place}, {place})"
    db.execute(insert.encode(), [given, given, given, [given]])
    assert one(db, "SELECT v, h, s, a FROM item") == (
        Vector(given),
        HalfVector(given),
        SparseVector(given),
        [Vector(given)],
    )


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("place", ["%s", "%t", "%b"])
@pytest.mark.parametrize(("name", "value"), OF_TYPES)
def test_arrays(name: str, value: Any, place: str, binary: bool, db: Connection[Any]) -> None:
    for given in ([value], [value, None], [[value, value], [value, None]]):
        assert one(db, f"SELECT {place}", given, binary=binary) == given
    assert one(db, f"SELECT {place}::{name}[]", [], binary=binary) == []


def test_plain_lists_are_arrays_which_postgresql_casts(db: Connection[Any]) -> None:
    db.execute("INSERT INTO item (v, h, s) VALUES (%s, %s, %s)", [[1.5, 2.0, 3.0]] * 3)
    assert one(db, "SELECT v, h, s FROM item") == (V, H, SparseVector([1.5, 2, 3]))
    assert one(db, "SELECT %s::vector", [1.5, 2.0]) == [1.5, 2]
    assert one(db, "SELECT v <-> %s::vector FROM item", [1.5, 2.0, 3.0]) == 0


def test_lists_stay_the_users_own(db: Connection[Any]) -> None:
    assert one(db, "SELECT %s", [1.5, 2.0]) == [1.5, 2.0]
    assert one(db, "SELECT %s", [1, 2]) == [1, 2]
    with pytest.raises(errors.UndefinedFunction):
        one(db, "SELECT '[1,2]'::vector <-> %s", [1.5, 2.0])
    with pytest.raises(errors.CannotCoerce):
        one(db, "SELECT %s::vector", [1, 2])
    with pytest.raises(psycopg.DataError, match="mixed"):
        one(db, "SELECT %s::vector", [1.5, 2])
    with pytest.raises(errors.InvalidTextRepresentation):
        one(db, "SELECT %s::vector", (1.5, 2.0))


def test_no_vector(db: Connection[Any]) -> None:
    for bad in (np.array([1, np.nan]), np.array([[1.0]]), np.array(["a"])):
        with pytest.raises(InvalidVector):
            one(db, "SELECT %s::vector", bad)


# COPY

SOURCE = "COPY item (v, h, s, b, a) FROM STDIN"


@pytest.mark.parametrize("options", [b"", b" (FORMAT binary)"], ids=["text", "binary"])
@pytest.mark.parametrize("given", [V, np.array([1.5, 2, 3])], ids=["Vector", "ndarray"])
def test_copy_in(given: Any, options: bytes, db: Connection[Any]) -> None:
    with db.cursor().copy(SOURCE.encode() + options) as copy:
        copy.write_row([given, H, S, B, [given, None]])
        copy.write_row([None] * 5)
    assert db.execute("SELECT v, h, s, b, a FROM item ORDER BY id").fetchall() == [
        (V, H, S, "101", [V, None]),
        (None,) * 5,
    ]


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda numbers: Vector(numbers).to_text()])
def test_binary_copy_with_types_takes_whatever_makes_a_vector(make: Callable[[Any], Any], db: Connection[Any]) -> None:
    with db.cursor().copy("COPY item (v, h, b) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["vector", "halfvec", "bit"])
        copy.write_row([make([1.5, 2, 3]), make([1, 2, 3]), "101"])
    assert one(db, "SELECT v, h, b FROM item") == (V, HalfVector([1, 2, 3]), "101")


@pytest.mark.parametrize(
    "pages", [[[1.5, 2, 3], None], ((1.5, 2, 3), None), [array("f", [1.5, 2, 3]), None], ["[1.5,2,3]", None], [V, None]]
)
def test_binary_copy_with_types_takes_lists_of_them(pages: Any, db: Connection[Any]) -> None:
    with db.cursor().copy("COPY item (a) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["vector[]"])
        for given in (pages, [pages, pages], np.array([[1.5, 2, 3]]), [], None):
            copy.write_row([given])
    found = [row[0] for row in db.execute("SELECT a FROM item ORDER BY id").fetchall()]
    assert found == [[V, None], [[V, None], [V, None]], [V], [], None]


@pytest.mark.parametrize("options", [b"", b" (FORMAT binary)"], ids=["text", "binary"])
def test_copy_out(options: bytes, db: Connection[Any]) -> None:
    db.execute("INSERT INTO item (v, h, s, a) VALUES (%s, %s, %s, %s)", (V, H, S, [V]))
    with db.cursor().copy(b"COPY item (v, h, s, a) TO STDOUT" + options) as copy:
        copy.set_types(["vector", "halfvec", "sparsevec", "vector[]"])
        assert list(copy.rows()) == [(V, H, S, [V])]


# Connections, cursors, maps


def test_client_side_binding_and_another_schema(moved_url: str) -> None:
    with open_connection(moved_url, cursor_factory=ClientCursor) as conn:
        register_vector(conn)
        for value in (V, H, S, [V, V], [H], np.array([1, 2])):
            found = one(conn, "SELECT %s", value)
            assert found == (Vector(value) if isinstance(value, np.ndarray) else value)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_another_schema(binary: bool, moved_url: str) -> None:
    with open_connection(moved_url) as conn:
        register_vector(conn)
        for value in (V, H, S, [V, V], [H], [S]):
            assert one(conn, "SELECT %s", value, binary=binary) == value


def test_a_cursor_of_its_own(url: str) -> None:
    with open_connection(url) as conn, conn.cursor() as cursor:
        register_vector(cursor)
        assert cursor.execute("SELECT %s", [V]).fetchall() == [(V,)]
        assert one(conn, "SELECT '[1]'::vector") == "[1]"


def test_a_map_for_connections_to_come(url: str) -> None:
    adapters = AdaptersMap(psycopg.adapters)
    with open_connection(url) as conn:
        register_vector(conn, adapters=adapters)
        assert one(conn, "SELECT '[1]'::vector") == "[1]"
    with open_connection(url, context=adapters) as conn:
        assert one(conn, "SELECT %s", V) == V


def test_server_side_cursors(db: Connection[Any]) -> None:
    with db.transaction(), db.cursor("named", binary=True) as cursor:
        cursor.execute("SELECT %s FROM generate_series(1, 3)", [V])
        assert cursor.fetchall() == [(V,)] * 3


def test_rows_of_another_kind(url: str) -> None:
    with open_connection(url, row_factory=dict_row) as conn:
        register_vector(conn)
        assert conn.execute("SELECT %s AS v", [V]).fetchall() == [{"v": V}]


def test_pipelines(url: str) -> None:
    with open_connection(url) as conn, conn.pipeline():
        register_vector(conn)
        first, second = conn.execute("SELECT %s", [V]), conn.execute("SELECT %s", [[H]])
        assert (first.fetchall(), second.fetchall()) == ([(V,)], [([H],)])


def test_statements_that_psycopg_prepares(db: Connection[Any]) -> None:
    for number in range(1, 9):
        assert one(db, "SELECT %s", Vector([number])) == [number]
        assert db.execute("SELECT %s", [[number]], prepare=True).fetchall() == [([number],)]


def test_transactions_are_left_as_they_were(url: str) -> None:
    def status() -> TransactionStatus:
        register_vector(conn)
        return conn.info.transaction_status

    with psycopg.connect(url) as conn:
        assert status() == TransactionStatus.IDLE
        conn.execute("CREATE TEMPORARY TABLE kept (id int)")
        assert status() == TransactionStatus.INTRANS
        conn.rollback()
        assert one(conn, "SELECT to_regclass('kept')") is None


def test_encoding_that_is_none(url: str) -> None:
    with open_connection(url, client_encoding="SQL_ASCII") as conn:
        register_vector(conn)
        assert one(conn, "SELECT %s", V) == V
        assert one(conn, "SELECT %t", [S]) == [S]


def test_pool(url: str) -> None:
    with ConnectionPool(url, min_size=2, max_size=2, configure=register_vector) as pool:
        for _ in range(4):
            with pool.connection() as conn:
                assert one(conn, "SELECT %s", V) == V


def array_oid(conn: Connection[Any]) -> int:
    return int(one(conn, "SELECT 'vector[]'::regtype::oid"))


def test_classes_are_made_once(url: str) -> None:
    """psycopg keeps each for ever."""
    classes, arrays = set(), set()
    for _ in range(3):
        with open_connection(url) as conn:
            register_vector(conn)
            classes.add(conn.adapters.get_dumper(Vector, PyFormat.BINARY))
            classes.add(conn.adapters.get_dumper(np.ndarray, PyFormat.BINARY))
            arrays.add(conn.adapters.get_dumper_by_oid(array_oid(conn), Format.BINARY))
    assert len(classes) == len(arrays) == 1


def test_registering_again(db: Connection[Any]) -> None:
    register_vector(db)
    assert one(db, "SELECT %s", [V, V]) == [V, V]


def test_an_extension_that_was_made_anew(empty_url: str) -> None:
    with open_connection(empty_url) as conn:
        for _ in range(2):
            conn.execute("DROP EXTENSION IF EXISTS vector; CREATE EXTENSION vector")
            register_vector(conn)
            for value in (V, H, S, [V], [S]):
                assert one(conn, "SELECT %s", value) == value
            assert one(conn, "SELECT %s", np.array([1])) == [1]
            assert one(conn, "SELECT %s", [np.array([1])]) == [[1]]


def test_an_old_extension(old_url: str) -> None:
    with open_connection(old_url) as conn:
        register_vector(conn)
        assert one(conn, "SELECT %s", [V]) == [V]
        with pytest.raises(psycopg.ProgrammingError, match="HalfVector"):
            one(conn, "SELECT %s", H)


def test_missing_extension(empty_url: str) -> None:
    with psycopg.connect(empty_url) as conn:
        with pytest.raises(MissingExtension, match=MISSING) as raised:
            register_vector(conn)
        assert isinstance(raised.value, psycopg.ProgrammingError)
        assert isinstance(raised.value, lightvec_errors.MissingExtension)
        assert conn.info.transaction_status == TransactionStatus.IDLE


def test_no_connection() -> None:
    with pytest.raises(InvalidOption, match=r"expected a psycopg\.Connection or a cursor of one, got AdaptersMap"):
        register_vector(psycopg.adapters)


# Asynchronous


def run(url: str, use: Callable[[AsyncConnection[Any]], Awaitable[None]]) -> None:
    async def program() -> None:
        async with await AsyncConnection.connect(url, autocommit=True) as conn:
            await use(conn)

    asyncio.run(program())


def test_async(url: str) -> None:
    async def use(conn: AsyncConnection[Any]) -> None:
        with pytest.raises(InvalidOption, match=r"got AsyncConnection.*await register_vector_async"):
            register_vector(conn)
        await register_vector_async(conn)
        for value in (V, H, S, [V, None], [H], [S]):
            cursor = conn.cursor(binary=True)
            await cursor.execute("SELECT %s", [value])
            assert await cursor.fetchall() == [(value,)]
        async with conn.cursor() as cursor, cursor.copy("COPY (SELECT '[1,2]'::vector) TO STDOUT") as copy:
            copy.set_types(["vector"])
            assert [row async for row in copy.rows()] == [([1, 2],)]

    run(url, use)


def test_async_cursor_and_map(url: str) -> None:
    async def use(conn: AsyncConnection[Any]) -> None:
        adapters = AdaptersMap(psycopg.adapters)
        await register_vector_async(conn, adapters=adapters)
        async with conn.cursor() as cursor:
            await register_vector_async(cursor)
            assert await (await cursor.execute("SELECT %s", [V])).fetchone() == (V,)
        async with await AsyncConnection.connect(url, context=adapters) as other:
            assert await (await other.execute("SELECT %s", [V])).fetchone() == (V,)

    run(url, use)


def test_async_missing_extension(empty_url: str) -> None:
    async def use(conn: AsyncConnection[Any]) -> None:
        with pytest.raises(MissingExtension, match=MISSING):
            await register_vector_async(conn)

    run(empty_url, use)


def test_async_pool(url: str) -> None:
    async def program() -> None:
        pool = AsyncConnectionPool(url, min_size=2, open=False, configure=register_vector_async)
        async with pool, pool.connection() as conn:
            assert await (await conn.execute("SELECT %s", [V])).fetchone() == (V,)

    asyncio.run(program())
