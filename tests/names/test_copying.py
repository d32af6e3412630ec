"""Tables, schemas and columns of a COPY, and of the INSERT behind ``on_conflict``."""

from __future__ import annotations

from typing import Any

import pytest

from lightvec.errors import LightvecError
from lightvec.pg8000 import Connection, dbapi
from tests.cases import for_each
from tests.names.conftest import House
from tests.names.hostile import HOSTILE, LONG, NO_TEXT, REFUSED, cut, shown


def make(house: House, name: str, schema: str = "public") -> None:
    """A table with a key, a column of this name."""
    house.run("CREATE SCHEMA IF NOT EXISTS %I", schema)
    house.run("CREATE TABLE %I.%I (key int PRIMARY KEY, %I text)", schema, name, name)


def rows(house: House, name: str, schema: str = "public") -> Any:
    return house.run("SELECT key, %I FROM %I.%I ORDER BY key", name, schema, name)


@for_each("name", HOSTILE, shown)
def test_rows_and_columns(house: House, conn: Connection, name: str) -> None:
    make(house, name, schema=name)
    assert conn.copy_columns((name, name), {name: ["a"], "key": [1]}) == 1
    assert conn.copy_rows((name, name), ["key", name], [(1, "b"), (2, "b")], on_conflict="ignore") == 1
    assert rows(house, name, schema=name) == [[1, "a"], [2, "b"]]
    assert conn.copy_columns((name, name), {"key": [1], name: ["c"]}, on_conflict="update") == 1
    assert rows(house, name, schema=name) == [[1, "c"], [2, "b"]]


@for_each("name", HOSTILE, shown)
def test_a_key(house: House, conn: Connection, name: str) -> None:
    """The conflict's key is a hostile name, in a transaction of the caller's, which makes it a savepoint."""
    house.run("CREATE TABLE %I (%I int PRIMARY KEY, key text)", name, name)
    with conn.transaction():
        assert conn.copy_rows(name, [name, "key"], [(1, "a"), (1, "b")], on_conflict="update") == 1
    assert rows(house, name) == [["b", 1]]


@for_each("table", [*REFUSED, *NO_TEXT[:-1], (), ("a", "b", "c"), ("a", None), {"a": 1}], shown)
def test_what_is_no_table(conn: Connection, table: Any) -> None:
    with pytest.raises(LightvecError, match="expected"):
        conn.copy_rows(table, ["id"], [(2,)])
    with pytest.raises(LightvecError, match="expected"):
        conn.copy_columns(table, {"id": [2]})
    with pytest.raises(LightvecError, match="expected"):
        conn.copy_rows(("public", table), ["id"], [(2,)])


@for_each("column", [*REFUSED, *NO_TEXT], shown)
def test_what_is_no_column(house: House, conn: Connection, column: Any) -> None:
    make(house, "plain")
    with pytest.raises(LightvecError, match=r"expected the names of the columns|has no column"):
        conn.copy_rows("plain", ["key", column], [(1, "a")])
    assert conn.run("SELECT 1") == [[1]]


@for_each("name", LONG, shown)
def test_a_column_that_begins_so(house: House, conn: Connection, name: str) -> None:
    house.run("CREATE TABLE plain (key int, %I text)", cut(name))
    with pytest.raises(LightvecError, match="has no column"):
        conn.copy_rows("plain", ["key", name], [(1, "a")])


@for_each("name", HOSTILE, shown)
def test_a_table_that_is_not_there(conn: Connection, name: str) -> None:
    """Neither a decoy nor what the server would make of an unquoted name."""
    with pytest.raises(dbapi.ProgrammingError, match="there is no table"):
        conn.copy_rows(name, ["id"], [(2,)])
    with pytest.raises(dbapi.ProgrammingError, match="there is no table"):
        conn.copy_rows((name, name), ["id"], [(2,)])
