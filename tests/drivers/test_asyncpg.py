"""lightvec.asyncpg on a real server."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import numpy as np
import pytest

from lightvec import HalfVector, SparseVector, Vector
from lightvec import errors as lightvec_errors
from lightvec.asyncpg import MissingExtension, register_vector
from lightvec.errors import InvalidVector
from lightvec.types import Bit
from tests.drivers.values import BIT, MISSING, NDARRAYS, OF_PGVECTOR, OF_TYPES

TABLE = "CREATE TEMPORARY TABLE item (id serial, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), a vector[])"
V, H, S, B = Vector([1.5, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector([1.5, 0, 3]), Bit("101")

BitString: Any = asyncpg.BitString  # its annotations want bytes, where it takes a text of 0 and 1
Use = Callable[[Any], Awaitable[None]]


def connected(url: str, use: Use, **params: Any) -> None:
    async def program() -> None:
        conn = await asyncpg.connect(url, **params)
        try:
            await use(conn)
        finally:
            await conn.close()

    asyncio.run(program())


def registered(url: str, use: Use, **params: Any) -> None:
    async def program(conn: Any) -> None:
        await register_vector(conn)
        await conn.execute(TABLE)
        await use(conn)

    connected(url, program, **params)


@pytest.mark.parametrize(("name", "value"), OF_TYPES)
def test_values(name: str, value: Any, url: str) -> None:
    async def use(conn: Any) -> None:
        found = await conn.fetchval(f"SELECT $1::{name}", value)
        assert (type(found), found) == (type(value), value)
        assert await conn.fetchval(f"SELECT $1::{name}::text", value) == value.to_text()
        assert await conn.fetchval(f"SELECT $1::{name}", None) is None
        for given in (value.to_list(), tuple(value), array("d", value), value.to_numpy(), value.to_text()):
            assert await conn.fetchval(f"SELECT $1::{name}", given) == value

    registered(url, use)


@pytest.mark.parametrize(("name", "value"), OF_PGVECTOR[:3])
def test_values_of_pgvectors_package(name: str, value: Any, url: str) -> None:
    async def use(conn: Any) -> None:
        assert await conn.fetchval(f"SELECT $1::{name}::text", value) == value.to_text().replace(".0", "")
        assert await conn.fetchval(f"SELECT ARRAY[$1::{name}] = $2::{name}[]", value, [value]) is True

    registered(url, use)


@pytest.mark.parametrize(("name", "value"), OF_TYPES)
def test_arrays(name: str, value: Any, url: str) -> None:
    async def use(conn: Any) -> None:
        sql = f"SELECT $1::{name}[]"
        for given in ([], [value], [value, None], [None], [[value, value], [value, None]]):
            assert await conn.fetchval(sql, given) == given
        rows = [value.to_list(), value.to_list()]
        for same in (rows, tuple(rows), deque(rows), np.array(rows), iter(rows), [np.array(value), value]):
            assert await conn.fetchval(sql, same) == [value, value]
        assert await conn.fetchval(sql, None) is None
        for bad in ([1.5, 2], 1, [[value], [value, value]], value, [[[[[[[value]]]]]]]):
            with pytest.raises(asyncpg.DataError):
                await conn.fetchval(sql, bad)

    registered(url, use)


def test_other_arrays_stay_asyncpgs(url: str) -> None:
    async def use(conn: Any) -> None:
        assert await conn.fetchval("SELECT $1::float4[]", [[1.5, 2], [3, 4]]) == [[1.5, 2], [3, 4]]
        assert await conn.fetchval("SELECT $1::bit(2)[]", [BitString("10")]) == [BitString("10")]

    registered(url, use)


def test_bit(url: str) -> None:
    async def use(conn: Any) -> None:
        found = await conn.fetchval("SELECT $1::bit(9)", BitString(BIT.to_text()))
        assert Bit(found.as_string().replace(" ", "")) == BIT

    registered(url, use)


def test_columns(url: str) -> None:
    async def use(conn: Any) -> None:
        sql = "INSERT INTO item (v, h, s, a) VALUES ($1, $2, $3, $4) RETURNING v, h, s, a"
        assert await conn.fetchrow(sql, V, H, S, [V, None]) == (V, H, S, [V, None])
        assert await conn.fetchrow(sql, *[None] * 4) == (None,) * 4
        assert await conn.fetchval("SELECT id FROM item WHERE v <-> $1 < 0.1", [1.5, 2, 3]) == 1
        assert await conn.fetchval("SELECT item FROM item WHERE id = 1") == (1, V, H, S, None, [V, None])
        await conn.executemany("INSERT INTO item (v) VALUES ($1)", [(V,), ([1.5, 2, 3],)])
        assert await conn.fetchval("SELECT avg(v) FROM item") == V

    registered(url, use)


@pytest.mark.parametrize("given", NDARRAYS)
def test_ndarrays(given: Any, url: str) -> None:
    async def use(conn: Any) -> None:
        sql = "INSERT INTO item (v, h, s, a) VALUES ($1, $2, $3, $4) RETURNING v, h, s, a"
        expected = (Vector(given), HalfVector(given), SparseVector(given), [Vector(given)])
        assert await conn.fetchrow(sql, given, given, given, [given]) == expected

    registered(url, use)


def test_copy(url: str) -> None:
    async def use(conn: Any) -> None:
        records = [
            (V, H, S, [V, None]),
            ([1.5, 2, 3], np.array([1.5, 2, 3]), (1.5, 0, 3), [[Decimal("1.5"), 2, 3], None]),
        ]
        await conn.copy_records_to_table("item", records=records, columns=["v", "h", "s", "a"])
        assert await conn.fetch("SELECT v, h, s, a FROM item") == [(V, H, S, [V, None])] * 2

    registered(url, use)


def test_no_vector(url: str) -> None:
    async def use(conn: Any) -> None:
        for bad in ([], [1, float("nan")], np.array([[1.0]]), "x", {1: 2}, 1):
            with pytest.raises(asyncpg.DataError) as raised:
                await conn.fetchval("SELECT $1::vector", bad)
            assert isinstance(raised.value.__cause__, InvalidVector)
            with pytest.raises(InvalidVector):
                await conn.copy_records_to_table("item", records=[(bad,)], columns=["v"])
        assert await conn.fetchval("SELECT count(*) FROM item") == 0

    registered(url, use)


@pytest.mark.parametrize("named", [{}, {"schema": "public"}, {"schema": 'Odd "one'}, {"schema": "nowhere"}])
def test_another_schema(named: dict[str, str], moved_url: str) -> None:
    async def use(conn: Any) -> None:
        await register_vector(conn, **named)
        row = await conn.fetchrow('SELECT $1::"Odd ""one".vector, $2::"Odd ""one".sparsevec[]', [1, 2], [S])
        assert row == ([1, 2], [S])

    connected(moved_url, use)


def test_pool(url: str) -> None:
    async def program() -> None:
        async with asyncpg.create_pool(url, init=register_vector, min_size=2, max_size=2) as pool:
            for _ in range(4):
                assert await pool.fetchval("SELECT ($1::vector, $2::vector[])", [1, 2], [V]) == ([1, 2], [V])
            async with pool.acquire() as conn:
                await register_vector(conn)
                assert await conn.fetchval("SELECT $1::vector[]", [V]) == [V]

    asyncio.run(program())


def test_without_prepared_statements(url: str) -> None:
    async def use(conn: Any) -> None:
        for _ in range(2):
            assert await conn.fetchval("SELECT $1::vector[]", [V]) == [V]

    registered(url, use, statement_cache_size=0)


def test_statements_from_before(url: str) -> None:
    async def use(conn: Any) -> None:
        sql = "SELECT '[1]'::vector, ARRAY['[1]'::vector]"
        assert await conn.fetchrow(sql) == ("[1]", ["[1]"])
        for _ in range(2):
            await register_vector(conn)
            assert await conn.fetchrow(sql) == ([1], [Vector([1])])
        await conn.reset()
        await conn.reload_schema_state()
        assert await conn.fetchrow(sql) == ([1], [Vector([1])])

    connected(url, use)


def test_an_extension_that_was_made_anew(empty_url: str) -> None:
    async def use(conn: Any) -> None:
        for _ in range(2):
            await conn.execute("DROP EXTENSION IF EXISTS vector; CREATE EXTENSION vector")
            await register_vector(conn)
            assert await conn.fetchrow("SELECT $1::vector, $2::halfvec[]", V, [H]) == (V, [H])

    connected(empty_url, use)


def test_in_a_transaction(url: str) -> None:
    async def use(conn: Any) -> None:
        async with conn.transaction():
            await register_vector(conn)
            assert await conn.fetchval("SELECT $1::vector", V) == V

    connected(url, use)


def test_an_old_extension(old_url: str) -> None:
    async def use(conn: Any) -> None:
        await register_vector(conn)
        assert await conn.fetchval("SELECT $1::vector[]", [V]) == [V]

    connected(old_url, use)


def test_missing_extension(empty_url: str) -> None:
    async def use(conn: Any) -> None:
        with pytest.raises(MissingExtension, match=MISSING) as raised:
            await register_vector(conn)
        assert isinstance(raised.value, ValueError)
        assert isinstance(raised.value, lightvec_errors.MissingExtension)

    connected(empty_url, use)
