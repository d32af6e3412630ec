"""Loads over several connections into a distributed table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DatabaseError, OperationalError

COUNT = 20_000


@pytest.fixture
def conn(citus_url: str) -> Iterator[Connection]:
    with connect(citus_url) as connection:
        connection.run("CREATE TABLE jobbed (id int PRIMARY KEY, v vector(2))")
        connection.run("SELECT create_distributed_table('jobbed', 'id', shard_count => 4)")
        yield connection
        connection.run("DROP TABLE jobbed")


def columns(ids: Any) -> dict[str, Any]:
    return {"id": ids, "v": np.ones((len(ids), 2), "f4")}


def test_all_rows(conn: Connection) -> None:
    assert conn.copy_columns("jobbed", columns(np.arange(COUNT)), jobs=3) == COUNT
    assert conn.copy_rows("jobbed", ["id", "v"], ((-number, [1, 2]) for number in range(1, COUNT)), jobs=3) == COUNT - 1
    assert conn.run("SELECT count(*), min(id), max(id) FROM jobbed") == [[2 * COUNT - 1, 1 - COUNT, COUNT - 1]]


def test_a_key_in_two_parts(conn: Connection) -> None:
    """The second waits for the first on a worker, which the coordinator's own locks do not show."""
    ids = np.arange(COUNT)
    ids[-1] = 5
    begun = time.monotonic()
    with pytest.raises(OperationalError, match="neither can be committed first"):
        conn.copy_columns("jobbed", columns(ids), jobs=2)
    assert time.monotonic() - begun < 10
    assert conn.run("SELECT count(*) FROM jobbed") == [[0]]


def test_a_key_twice_in_one_part(conn: Connection) -> None:
    ids = np.arange(COUNT)
    ids[-1] = COUNT - 2
    with pytest.raises(DatabaseError, match="duplicate key"):
        conn.copy_columns("jobbed", columns(ids), jobs=2)
    assert conn.run("SELECT count(*) FROM jobbed") == [[0]]
