"""A database without pgvector: every driver's error says what to do."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from lightvec import errors
from lightvec.pg8000.exceptions import MissingExtension
from lightvec.sqlalchemy import HALFVEC, VECTOR
from tests.sqlalchemy.conftest import DRIVERS, database_url, engine_of

REMEDY = r"has no type halfvec, because pgvector is not installed in it.*CREATE EXTENSION vector.*search_path"


def table() -> Table:
    return Table("halves", MetaData(), Column("half", HALFVEC(3)))


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if " " not in driver])
def test_the_error_says_what_to_do(driver: str, empty_url: str) -> None:
    engine = engine_of(driver, empty_url)
    with pytest.raises(ProgrammingError, match=REMEDY):
        table().create(engine)
    with pytest.raises(ProgrammingError) as caught, engine.connect() as connection:
        connection.exec_driver_sql("SELECT halfvec FROM nowhere")
    assert "pgvector" not in str(caught.value)
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_of_an_asynchronous_engine_too(driver: str, empty_url: str) -> None:
    async def create() -> None:
        engine = create_async_engine(database_url(driver, empty_url))
        try:
            async with engine.begin() as connection:
                await connection.run_sync(table().create)
        finally:
            await engine.dispose()

    with pytest.raises(ProgrammingError, match=REMEDY):
        asyncio.run(create())


def test_a_vector_that_cannot_be_sent_is_lightvecs_error(empty_url: str) -> None:
    engine = engine_of("lightvec", empty_url)
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="lightvec init-db") as caught:
        connection.execute(insert(Table("t", MetaData(), Column("v", VECTOR()))).values(v=[1]))
    assert isinstance(caught.value.orig, MissingExtension)
    assert isinstance(caught.value.orig, errors.MissingExtension)
    engine.dispose()


def test_other_databases_are_left_alone() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(Exception, match="no such") as caught:
        connection.exec_driver_sql("SELECT vector FROM nowhere")
    assert "pgvector" not in str(caught.value)
    engine.dispose()
