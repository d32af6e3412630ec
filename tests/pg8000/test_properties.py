"""Whatever a value holds, it comes back from a real server as it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.pg8000.hstore import register_hstore

bounded = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: PostgreSQL stores every character but NUL.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
awkward = texts | st.sampled_from(["NULL", "null", "", " ", '"', "\\", "{}", "{", ",", "'", "\\\\", '\\"', "\n", "%s"])


@pytest.fixture(scope="module")
def one(url: str) -> Iterator[Connection]:
    with connect(url) as connection:
        connection.extension()
        yield connection


def echo(connection: Connection, value: Any, declared: str) -> Any:
    rows = connection.run(f"SELECT CAST(:v AS {declared})", v=value)
    assert rows is not None
    return rows[0][0]


@bounded
@given(text=awkward)
def test_texts(text: str, one: Connection) -> None:
    assert echo(one, text, "text") == text


@bounded
@given(data=st.binary())
def test_bytes(data: bytes, one: Connection) -> None:
    assert echo(one, data, "bytea") == data


@bounded
@given(number=st.integers(-(10**50), 10**50) | st.sampled_from([2**15, 2**31, 2**63, -(2**63) - 1]))
def test_integers(number: int, one: Connection) -> None:
    rows = one.run("SELECT :n", n=number)
    assert rows == [[number]]


@bounded
@given(number=st.floats(allow_nan=False))
def test_floats(number: float, one: Connection) -> None:
    assert repr(echo(one, number, "float8")) == repr(number)


@bounded
@given(number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_decimals(number: Decimal, one: Connection) -> None:
    assert echo(one, number, "numeric") == number


@bounded
@given(duration=st.timedeltas(min_value=timedelta(days=-100_000), max_value=timedelta(days=100_000)))
def test_durations(duration: timedelta, one: Connection) -> None:
    assert echo(one, duration, "interval") == duration


@bounded
@given(moment=st.datetimes(timezones=st.just(timezone(timedelta(hours=-7, minutes=-30))) | st.none()))
def test_moments(moment: datetime, one: Connection) -> None:
    declared = "timestamp" if moment.tzinfo is None else "timestamptz"
    if moment.tzinfo is not None and not 2 <= moment.year <= 9998:
        moment = moment.replace(year=2000)
    assert echo(one, moment, declared) == moment


@bounded
@given(texts=st.lists(awkward | st.none()))
def test_lists_of_texts(texts: list[str | None], one: Connection) -> None:
    assert echo(one, texts, "text[]") == texts


@bounded
@given(rows=st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(awkward, min_size=n, max_size=n), min_size=1)))
def test_nested_lists_of_texts(rows: list[list[str]], one: Connection) -> None:
    assert echo(one, rows, "text[]") == rows


@bounded
@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_lists_of_integers(numbers: list[int | None], one: Connection) -> None:
    assert echo(one, numbers, "int8[]") == numbers


@bounded
@given(numbers=st.lists(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)))
def test_lists_of_numbers(numbers: list[float], one: Connection) -> None:
    assert echo(one, numbers, "float8[]") == numbers


@bounded
@given(pieces=st.lists(st.binary()))
def test_lists_of_bytes(pieces: list[bytes], one: Connection) -> None:
    assert echo(one, pieces, "bytea[]") == pieces


@bounded
@given(pair=st.tuples(awkward, awkward | st.none(), st.integers(-100, 100)))
def test_composites(pair: tuple[str, str | None, int], one: Connection) -> None:
    one.run("CREATE TEMPORARY TABLE IF NOT EXISTS triple (a text, b text, n int)")
    rows = one.run("SELECT (t).a, (t).b, (t).n FROM (SELECT CAST(:v AS triple) AS t) AS given", v=pair)
    assert rows == [list(pair)]


@bounded
@given(document=st.dictionaries(awkward, awkward | st.integers(-(2**40), 2**40) | st.lists(st.booleans())))
def test_json(document: dict[str, Any], one: Connection) -> None:
    assert echo(one, document, "json") == document


@bounded
@given(pairs=st.dictionaries(awkward, awkward | st.none()))
def test_hstore(pairs: dict[str, str | None], url: str, dbapi_conn: dbapi.Connection) -> None:
    register_hstore(dbapi_conn)
    cursor = dbapi_conn.cursor().execute("SELECT %s, %s::hstore", (pairs, pairs))
    assert cursor.fetchall() == [(pairs, pairs)]


@bounded
@given(numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_vectors(numbers: list[float], one: Connection) -> None:
    for _ in range(2):
        assert one.run("SELECT :v, CAST(:t AS vector)", v=Vector(numbers), t=Vector(numbers).to_text()) == [
            [Vector(numbers)] * 2
        ]


@bounded
@given(numbers=st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_half_vectors(numbers: list[float], one: Connection) -> None:
    value = HalfVector(numbers)
    assert one.run("SELECT :v, CAST(:t AS halfvec)", v=value, t=value.to_text()) == [[value, value]]


@bounded
@given(entries=st.dictionaries(st.integers(0, 99), st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_sparse_vectors(entries: dict[int, float], one: Connection) -> None:
    value = SparseVector(entries, 100)
    assert one.run("SELECT :v, CAST(:t AS sparsevec)", v=value, t=value.to_text()) == [[value, value]]


@bounded
@given(bits=st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits(bits: list[bool], one: Connection) -> None:
    value = Bit(bits)
    rows = one.run(f"SELECT :v, CAST(:t AS bit({len(bits)})), CAST(:t AS varbit)", v=value, t=value.to_text())
    assert rows is not None
    assert rows[0][:2] == [value, value]
