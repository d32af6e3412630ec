"""What one driver writes, another reads: each library beside lightvec's own, in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lightvec.asyncpg
import lightvec.psycopg
import lightvec.psycopg2
from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.pg8000 import Connection, connect

COLUMNS = "vector vector, halfvec halfvec, sparsevec sparsevec, varbit varbit, a vector[]"


def floats(width: Any) -> Any:
    return st.floats(width=width, allow_nan=False, allow_infinity=False)


_DENSE = st.lists(floats(32), min_size=1, max_size=20).map(Vector)
VALUES: dict[str, Any] = {
    "vector": _DENSE,
    "halfvec": st.lists(floats(16), min_size=1, max_size=20).map(HalfVector),
    "sparsevec": st.dictionaries(st.integers(0, 999_999_999), floats(32), max_size=9).map(
        lambda entries: SparseVector(entries, 1_000_000_000)
    ),
    "varbit": st.lists(st.booleans(), min_size=1, max_size=70).map(Bit),
    "a": st.lists(_DENSE | st.none(), max_size=4),
}


class Psycopg:
    """psycopg 3, in one format both ways."""

    def __init__(self, url: str, *, binary: bool) -> None:
        self._conn = psycopg.connect(url, autocommit=True)
        lightvec.psycopg.register_vector(self._conn)
        self._binary = binary

    def write(self, column: str, value: Any) -> None:
        place = "%b" if self._binary else "%t"
        self._conn.execute(f"INSERT INTO exchange ({column}) VALUES ({place})".encode(), [value])

    def take(self, column: str) -> Any:
        sql = f"DELETE FROM exchange RETURNING {column}"
        ((found,),) = self._conn.execute(sql.encode(), binary=self._binary).fetchall()
        if column != "varbit":
            return found
        return Bit.from_binary(found) if self._binary else Bit(found)

    def close(self) -> None:
        self._conn.close()


class Psycopg2:
    def __init__(self, url: str) -> None:
        self._conn = psycopg2.connect(url)
        self._conn.autocommit = True
        lightvec.psycopg2.register_vector(self._conn)

    def write(self, column: str, value: Any) -> None:
        cast = "::vector[]" if column == "a" else ""
        with self._conn.cursor() as cursor:
            cursor.execute(f"INSERT INTO exchange ({column}) VALUES (%s{cast})", [value])

    def take(self, column: str) -> Any:
        with self._conn.cursor() as cursor:
            cursor.execute(f"DELETE FROM exchange RETURNING {column}")
            ((found,),) = cursor.fetchall()
        return Bit(found) if column == "varbit" else found

    def close(self) -> None:
        self._conn.close()


class Asyncpg:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._conn: Any = self._run(asyncpg.connect(url))
        self._run(lightvec.asyncpg.register_vector(self._conn))

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    def write(self, column: str, value: Any) -> None:
        sent: Any = asyncpg.BitString
        given = sent(value.to_text()) if column == "varbit" else value
        self._run(self._conn.execute(f"INSERT INTO exchange ({column}) VALUES ($1)", given))

    def take(self, column: str) -> Any:
        found = self._run(self._conn.fetchval(f"DELETE FROM exchange RETURNING {column}"))
        return Bit(found.as_string().replace(" ", "")) if column == "varbit" else found

    def close(self) -> None:
        self._run(self._conn.close())
        self._loop.close()


@pytest.fixture(scope="module")
def ours(url: str) -> Iterator[Connection]:
    with connect(url) as conn:
        conn.run(f"CREATE UNLOGGED TABLE exchange ({COLUMNS})")
        yield conn
        conn.run("DROP TABLE exchange")


CLIENTS = [
    pytest.param(partial(Psycopg, binary=False), id="psycopg-text"),
    pytest.param(partial(Psycopg, binary=True), id="psycopg-binary"),
    pytest.param(Psycopg2, id="psycopg2"),
    pytest.param(Asyncpg, id="asyncpg"),
]


@pytest.fixture(scope="module", params=CLIENTS)
def theirs(request: pytest.FixtureRequest, url: str, ours: Connection) -> Iterator[Any]:
    client = request.param(url)
    yield client
    client.close()


@pytest.mark.parametrize("column", VALUES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_one_writes_the_other_reads(column: str, theirs: Any, ours: Connection, data: st.DataObject) -> None:
    value = data.draw(VALUES[column])
    theirs.write(column, value)
    # Twice, because the first time is text.
    for _ in range(2):
        assert ours.run(f"SELECT {column} FROM exchange") == [[value]]
    assert theirs.take(column) == value
    cast = "CAST(:value AS vector[])" if column == "a" else ":value"
    ours.run(f"INSERT INTO exchange ({column}) VALUES ({cast})", value=value)
    found = theirs.take(column)
    assert (type(found), found) == (type(value), value)
