"""The asynchronous engines, where the types are registered with the driver and where they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, delete, event, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.sqlalchemy import avg
from tests.sqlalchemy.conftest import database_url, item

#: How a driver gets to know the types, if it does; pgvector's own package gives values of other classes.
DRIVERS = {
    "asyncpg": "",
    "asyncpg by lightvec": "register_vector",
    "asyncpg by pgvector": "register_vector",
    "psycopg": "",
    "psycopg by lightvec": "register_vector_async",
    "psycopg by pgvector": "register_vector_async",
}


@pytest.fixture(params=DRIVERS)
def run(engines: dict[str, Engine], url: str, request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs a coroutine function on a connection of an engine of its own."""
    (driver, _, package), register = request.param.partition(" by "), DRIVERS[request.param]

    async def running(work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        engine = create_async_engine(database_url(driver, url))
        if register:
            function = getattr(import_module(f"{package}.{driver}"), register)
            event.listen(engine.sync_engine, "connect", lambda connection, _: connection.run_async(function))
        try:
            async with engine.begin() as connection:
                await connection.execute(delete(item))
                return await work(connection)
        finally:
            await engine.dispose()

    return lambda work: asyncio.run(running(work))


def test_values(run: Callable[[Any], Any]) -> None:
    async def work(connection: AsyncConnection) -> Any:
        many = [
            {"id": 1, "dense": [1, 2, 3], "half": (1, 2, 3), "sparse": [0, 1, 0], "bits": "101", "any_size": [1]},
            {"id": 2, "dense": np.ones(3), "half": np.ones(3), "sparse": None, "bits": Bit("111"), "any_size": None},
        ]
        await connection.execute(insert(item), many)
        arrays = {"pages": [[1, 2, 3], None], "deep": [[[1, 2]], [[3, 4]]], "masks": ["101", None]}
        await connection.execute(insert(item).values(id=3, **arrays))
        wanted = item.c.dense.in_([[1, 2, 3], np.ones(3)]), item.c.bits != "000"
        near = select(item).where(*wanted).order_by(item.c.dense.distance([1, 2, 3]))
        rows = (await connection.execute(near)).all()
        found = (await connection.execute(select(item).where(item.c.pages == [[1, 2, 3], None]))).one()
        jaccard = (await connection.scalars(select(item.c.bits.distance("101")).order_by(item.c.id).limit(2))).all()
        return rows, found, jaccard, await connection.scalar(select(avg(item.c.dense)))

    rows, found, jaccard, mean = run(work)
    assert [row.id for row in rows] == [1, 2]
    assert [type(value) for value in rows[0][1:6]] == [Vector, HalfVector, SparseVector, Bit, Vector]
    assert rows[0][1:6] == ([1, 2, 3], [1, 2, 3], SparseVector([0, 1, 0]), "101", [1])
    assert (found.pages, found.deep, found.masks) == ([[1, 2, 3], None], [[[1, 2]], [[3, 4]]], ["101", None])
    assert type(found.pages[0]) is Vector
    assert type(found.masks[0]) is Bit
    assert jaccard == [0, pytest.approx(1 / 3)]
    assert mean == [1, 1.5, 2]
