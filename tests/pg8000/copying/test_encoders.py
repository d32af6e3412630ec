"""The binary fields of COPY: exact bytes, and against a real server the same values as INSERT gives."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pg8000.types import PGInterval

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.errors import InvalidVector
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError
from lightvec.wire.copy.load import copy_rows
from lightvec.wire.copy.target import Column
from lightvec.wire.jsonb import Json, Jsonb

INT4, INT8, NUMERIC, TEXT = 23, 20, 1700, 25
INDIA = timezone(timedelta(hours=5, minutes=30))


def encoder(oid: int, element: int = 0, name: str | None = None, size: int | None = None) -> Callable[[Any], bytes]:
    encode = Column("c", oid, element, "t", size, name, False, False).encoder
    assert encode is not None
    return encode


@pytest.mark.parametrize(
    ("oid", "value", "field"),
    [
        (16, True, "00000001 01"),
        (16, np.bool_(False), "00000001 00"),
        (17, b"\x00\xff", "00000002 00ff"),
        (20, -2, "00000008 fffffffffffffffe"),
        (21, 258, "00000002 0102"),
        (INT4, np.int64(7), "00000004 00000007"),
        (26, 2**32 - 1, "00000004 ffffffff"),
        (TEXT, "é", "00000002 c3a9"),
        (114, {"a": 1}, "00000008 7b2261223a20317d"),
        (3802, [1], "00000004 01 5b315d"),
        (700, 1.5, "00000004 3fc00000"),
        (701, Decimal("1.5"), "00000008 3ff8000000000000"),
        (1082, date(2000, 1, 2), "00000004 00000001"),
        (1083, time(0, 0, 1), "00000008 00000000000f4240"),
        (1114, datetime(1999, 12, 31, 23, 59, 59), "00000008 fffffffffff0bdc0"),
        (1184, datetime(2000, 1, 1, 5, 30, 1, tzinfo=INDIA), "00000008 00000000000f4240"),
        (1186, timedelta(days=-1, seconds=1), "00000010 00000000000f4240 ffffffff 00000000"),
        (1186, PGInterval(years=1, months=2, weeks=1, seconds=0.5), "00000010 000000000007a120 00000007 0000000e"),
        (NUMERIC, Decimal("12345.67"), "0000000e 0003 0001 0000 0002 0001 0929 1a2c"),
        (NUMERIC, Decimal("-0.00010"), "0000000a 0001 ffff 4000 0005 0001"),
        (NUMERIC, Decimal("1E+8"), "0000000a 0001 0002 0000 0000 0001"),
        (NUMERIC, Decimal("-0.0"), "00000008 0000 0000 0000 0001"),
        (NUMERIC, Decimal("NaN"), "00000008 0000 0000 c000 0000"),
        (NUMERIC, Decimal("-Infinity"), "00000008 0000 0000 f000 0000"),
        (2950, UUID(int=1), "00000010 00000000000000000000000000000001"),
    ],
)
def test_exact_bytes(oid: int, value: Any, field: str) -> None:
    assert encoder(oid)(value) == bytes.fromhex(field)


@pytest.mark.parametrize(
    ("name", "size", "value", "field"),
    [
        ("vector", 2, [1, -2.5], "0000000c 0002 0000 3f800000 c0200000"),
        ("vector", None, (1,), "00000008 0001 0000 3f800000"),
        ("vector", None, array("d", [1]), "00000008 0001 0000 3f800000"),
        ("vector", 1, Vector([1]), "00000008 0001 0000 3f800000"),
        ("vector", 1, "[1]", "00000008 0001 0000 3f800000"),
        ("vector", 1, np.array([1], "f4"), "00000008 0001 0000 3f800000"),
        ("vector", 1, np.array([1], ">f8"), "00000008 0001 0000 3f800000"),
        ("vector", 1, [2.0**127], "00000008 0001 0000 7f000000"),
        ("halfvec", 2, [1, 40000], "00000008 0002 0000 3c00 78e2"),
        ("halfvec", 1, np.array([1], "f2"), "00000006 0001 0000 3c00"),
        ("sparsevec", 3, {1: 1.0}, "00000014 00000003 00000001 00000000 00000001 3f800000"),
        ("sparsevec", 2, [0, 1], "00000014 00000002 00000001 00000000 00000001 3f800000"),
        ("bit", 3, "101", "00000005 00000003 a0"),
        ("varbit", None, [True], "00000005 00000001 80"),
    ],
)
def test_exact_bytes_of_vectors(name: str, size: int | None, value: Any, field: str) -> None:
    assert encoder(0, name=name, size=size)(value) == bytes.fromhex(field)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], "0000000c 00000000 00000000 00000017"),
        ([[], []], "0000000c 00000000 00000000 00000017"),
        ([7, None], "00000020 00000001 00000001 00000017 00000002 00000001 00000004 00000007 ffffffff"),
        (np.array([7]), "0000001c 00000001 00000000 00000017 00000001 00000001 00000004 00000007"),
        (((7,),), "00000024 00000002 00000000 00000017 00000001 00000001 00000001 00000001 00000004 00000007"),
    ],
)
def test_exact_bytes_of_arrays(value: Any, field: str) -> None:
    assert encoder(0, INT4)(value) == bytes.fromhex(field)


# The same rows as INSERT


class Color(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


NESTED = [[None, 1], [2, 3]]
NOON = datetime(2024, 5, 6, 12, 0, 0, 123456)

VALUES: list[tuple[str, list[Any]]] = [
    ("int2", [-(2**15), 2**15 - 1, Size.SMALL, np.int8(3)]),
    ("int4", [-(2**31), 2**31 - 1]),
    ("int8", [-(2**63), 2**63 - 1]),
    ("oid", [0, 2**32 - 1]),
    ("float4", [0.1, 1, float("inf"), float("nan"), np.float32(0.1), Decimal("0.1")]),
    ("float8", [0.1, -0.0, 2**60, 1e308, float("-inf"), np.float64(0.1)]),
    ("numeric", [0, 10**40, -1, 0.1 + 0.2, 1e-7, 1e22, Decimal("1.10"), Decimal("NaN"), Decimal("-Infinity")]),
    ("numeric(8,2)", [1, 1.005, Decimal("-999999.994")]),
    ("bool", [True, False]),
    ("text", ["", "a\tb\n\\N", "é\U0001f600", Color.RED, np.str_("x")]),
    ("varchar(3)", ["", "abc", "a  "]),
    ("char(3)", ["a"]),
    ("name", ["a"]),
    ("bytea", [b"", bytes(range(256)), bytearray(b"x"), memoryview(b"y")]),
    ("json", [{"a": [1, None]}, '{"b":  2}', Json([1, 2])]),
    ("jsonb", [{"a": "\\é"}, '{"b":  2}', Jsonb("x"), Jsonb(None)]),
    ("uuid", [UUID(int=2**127), str(UUID(int=7))]),
    ("date", [date(1, 1, 1), date(9999, 12, 31), NOON]),
    ("time", [time(0), time(23, 59, 59, 999999)]),
    ("timestamp", [NOON, datetime(1, 1, 1), datetime.max, date(2024, 5, 6)]),
    ("timestamp(0)", [NOON]),
    ("timestamptz", [NOON.replace(tzinfo=timezone.utc), NOON.replace(tzinfo=INDIA)]),
    ("interval", [timedelta(0), timedelta(days=-3, microseconds=1), PGInterval(months=-5, days=2, hours=3)]),
    ("int4[]", [[], [1, None], NESTED]),
    ("int8[]", [[2**40]]),
    ("float8[]", [[0.5, 1.5], [None]]),
    ("numeric[]", [[Decimal("1.5"), None]]),
    ("text[]", [["a", "", "NULL", None, '"{},\\'], [["x"], ["y"]]]),
    ("bool[]", [[True, None]]),
    ("bytea[]", [[b"\\x", b""]]),
    ("uuid[]", [[UUID(int=1)]]),
    ("date[]", [[date(2024, 1, 1)]]),
    ("timestamptz[]", [[NOON.replace(tzinfo=INDIA)]]),
    ("interval[]", [[timedelta(1)]]),
    ("vector", [Vector([1, 2]), np.array([1, 2], "f4"), np.array([1, 2.5]), array("f", [0.5])]),
    ("vector(2)", [Vector([1, 2]), HalfVector([1, 2]), [1.0, 2.0]]),
    ("halfvec(2)", [HalfVector([1, 2]), Vector([0.1, 2]), [1.0, 0.1]]),
    ("sparsevec(3)", [SparseVector({1: 2}, 3), SparseVector({}, 3), Vector([0, 1, 2])]),
    ("bit(3)", [Bit("101"), "011"]),
    ("varbit", [Bit("1"), Bit("1" * 70)]),
    ("vector[]", [[Vector([1, 2]), None], [[Vector([1])], [Vector([2])]]]),
    ("bit(2)[]", [[Bit("10")]]),
    ("mood", ["sad", Color.RED]),
    ("mood[]", [["sad", None]]),
    ("positive", [7]),
    ("pair", [Vector([1, 2])]),
]


@pytest.fixture(scope="module")
def one(url: str) -> Iterator[Connection]:
    with connect(url) as connection:
        connection.run("CREATE SCHEMA encoders; SET search_path = encoders, public; SET TimeZone = 'Asia/Tokyo'")
        connection.run("CREATE TYPE mood AS ENUM ('sad', 'red'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        connection.run("CREATE DOMAIN pair AS vector(2)")
        yield connection
        connection.run("DROP SCHEMA encoders CASCADE")


def both(one: Connection, declared: str, values: list[Any]) -> None:
    """Insert and copy, then let the server compare the bytes that it stored."""
    one.run(f"CREATE TEMPORARY TABLE sent (n int, value {declared}); CREATE TEMPORARY TABLE copied (LIKE sent)")
    try:
        for number, value in enumerate(values):
            given = Vector(value) if declared in ("vector(2)", "halfvec(2)") and isinstance(value, list) else value
            one.run(f"INSERT INTO sent VALUES (:n, CAST(:v AS {declared}))", n=number, v=given)
        assert copy_rows(one.session, "copied", ["n", "value"], enumerate(values)) == len(values)
        assert one.run("SELECT n, value::text FROM copied ORDER BY n") == one.run(
            "SELECT n, value::text FROM sent ORDER BY n"
        )
        send = "SELECT n, record_send(copied) FROM copied ORDER BY n"
        assert one.run(send) == one.run(send.replace("copied", "sent"))
    finally:
        one.run("DROP TABLE sent; DROP TABLE copied")


@pytest.mark.parametrize(("declared", "values"), VALUES, ids=[declared for declared, _ in VALUES])
def test_the_same_rows_as_insert(declared: str, values: list[Any], one: Connection) -> None:
    both(one, declared, [*values, None])


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)
#: PostgreSQL takes one NaN for another; INSERT, by way of text, stores this one.
nan = st.just(float("nan"))
floats = st.floats(allow_nan=False) | nan
MIXES: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": floats,
    "float4": st.floats(width=32, allow_nan=False) | nan,
    "numeric": numbers | st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False),
    "text": texts,
    "bytea": st.binary(),
    "bool": st.booleans(),
    "jsonb": st.dictionaries(st.text("abc", min_size=1), st.integers(-(2**60), 2**60) | st.booleans() | st.none()),
    "uuid": st.uuids(),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(INDIA)),
    "interval": st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)),
    "numeric[]": st.lists(numbers | st.none()),
    "text[]": st.lists(texts | st.none()),
    "float8[]": st.lists(st.lists(floats, min_size=2, max_size=2), max_size=3),
    "vector(3)": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3).map(
        Vector
    ),
    "halfvec(2)": st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=2, max_size=2).map(
        HalfVector
    ),
    "sparsevec(9)": st.dictionaries(st.integers(0, 8), st.floats(width=32, allow_nan=False, allow_infinity=False)).map(
        lambda entries: SparseVector(entries, 9)
    ),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mixes_of_types(data: st.DataObject, one: Connection) -> None:
    """As binary, and as text too, where a range makes the load text."""
    types = data.draw(st.lists(st.sampled_from(sorted(MIXES)), min_size=1, max_size=5))
    rows = data.draw(st.lists(st.tuples(*(MIXES[name] | st.none() for name in types)), min_size=1, max_size=4))
    names = [f"c{place}" for place in range(len(types))]
    columns = ", ".join(f"{name} {declared}" for name, declared in zip(names, types, strict=True))
    one.run(f"CREATE TEMPORARY TABLE sent ({columns}, r int4range)")
    one.run("CREATE TEMPORARY TABLE copied (LIKE sent); CREATE TEMPORARY TABLE written (LIKE sent)")
    try:
        for row in rows:
            casts = ", ".join(f"CAST(:{name} AS {declared})" for name, declared in zip(names, types, strict=True))
            one.run(f"INSERT INTO sent VALUES ({casts})", **dict(zip(names, row, strict=True)))
        copy_rows(one.session, "copied", names, rows)
        copy_rows(one.session, "written", [*names, "r"], [(*row, None) for row in rows])
        expected = one.run("SELECT record_send(sent) FROM sent")
        assert one.run("SELECT record_send(copied) FROM copied") == expected
        assert one.run("SELECT record_send(written) FROM written") == expected
    finally:
        one.run("DROP TABLE sent; DROP TABLE copied; DROP TABLE written")


# What is refused


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        ("int2", 2**15, "expected an int from -32,768 to 32,767, got 32768"),
        ("int4", 1.5, r"row 2, column 'value' \(integer\): expected an int"),
        ("int4", "7", "got '7' \\(str\\)"),
        ("float4", 1e39, "float32"),
        ("float8", "x", "expected a number"),
        ("numeric", "1", "expected a Decimal"),
        ("numeric", Decimal("1E+200000"), "131,072 digits"),
        ("numeric", Decimal("1E-20000"), "16,383"),
        ("bool", "t", "expected a bool"),
        ("text", 7, "expected a str"),
        ("text", "a\x00b", "NUL"),
        ("text", "\ud800", "surrogates"),
        ("bytea", 5, "expected bytes"),
        ("bytea", "x", "expected bytes"),
        ("json", {1j}, "expected a dict"),
        ("uuid", "x", "badly formed"),
        ("date", "2024-01-01", "expected a date"),
        ("date", NOON.replace(tzinfo=INDIA), "without time zone"),
        ("time", time(1, tzinfo=INDIA), "without time zone"),
        ("timestamp", NOON.replace(tzinfo=INDIA), "without time zone"),
        ("timestamptz", NOON, "with a time zone"),
        ("interval", 7, "expected a timedelta"),
        ("int4[]", 7, "expected a list of an int"),
        ("int4[]", [[1], [2, 3]], "equal length"),
        ("int4[]", [1, "x"], "expected a list of an int"),
    ],
)
def test_refused(declared: str, value: Any, message: str, one: Connection) -> None:
    one.run(f"CREATE TEMPORARY TABLE refusing (id int, value {declared})")
    try:
        with pytest.raises(DataError, match=message) as caught:
            copy_rows(one.session, "refusing", ["id", "value"], [(1, None), (2, value)])
        assert "row 2, column 'value'" in str(caught.value)
        assert one.run("SELECT count(*) FROM refusing") == [[0]]
    finally:
        one.run("DROP TABLE refusing")


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        ("vector(2)", [1, 2, 3], "expected 2 dimensions and got 3"),
        ("vector(2)", Vector([1]), "expected 2 dimensions and got 1"),
        ("vector(2)", np.zeros(3, "f4"), "expected 2 dimensions and got 3"),
        ("vector", [1, float("nan")], "finite number at index 1"),
        ("vector", np.array([1, np.inf], "f4"), "finite number at index 1"),
        ("vector", [1e39], "float32"),
        ("vector", [], "1 to 16,000 dimensions"),
        ("vector", [0] * 16_001, "1 to 16,000 dimensions"),
        ("vector", ["x"], "number at index 0"),
        ("vector", 7, "list"),
        ("vector", "[1,x]", r"\[1,x\]"),
        ("vector", np.zeros((1, 2)), "ndim"),
        ("halfvec", [1e5], "65504"),
        ("halfvec", np.array([np.nan], "f2"), "finite"),
        ("sparsevec", {1: 2}, "dimensions"),
        ("bit(3)", "10", "expected 3 bits and got 2"),
        ("vector(2)[]", [[1, 2], [1]], "expected 2 dimensions and got 1"),
    ],
)
def test_refused_vectors(declared: str, value: Any, message: str, one: Connection) -> None:
    one.run(f"CREATE TEMPORARY TABLE refusing (id int, value {declared}, r int4range)")
    try:
        for columns, rest in ((["id", "value"], ()), (["id", "value", "r"], (None,))):
            with pytest.raises(InvalidVector, match=message) as caught:
                copy_rows(one.session, "refusing", columns, [(1, None, *rest), (2, value, *rest)])
            assert str(caught.value).startswith("row 2, column 'value': ")
        assert one.run("SELECT count(*) FROM refusing") == [[0]]
    finally:
        one.run("DROP TABLE refusing")


def test_lists_are_vectors_in_an_array_of_vectors(one: Connection) -> None:
    one.run("CREATE TEMPORARY TABLE many (value vector(2)[])")
    values = [[[1, 2], None], [[[1, 2]], [[3, 4]]], np.ones((2, 2), "f4"), []]
    copy_rows(one.session, "many", ["value"], ([value] for value in values))
    v = Vector
    expected = [[[v([1, 2]), None]], [[[v([1, 2])], [v([3, 4])]]], [[v([1, 1]), v([1, 1])]], [[]]]
    assert one.run("SELECT * FROM many") == expected
    one.run("DROP TABLE many")


def test_json_is_a_document(one: Connection) -> None:
    one.run("CREATE TEMPORARY TABLE documents (a json, b jsonb)")
    copy_rows(one.session, "documents", ["a", "b"], [([1, 2], 7), ({}, True)])
    assert one.run("SELECT * FROM documents") == [[[1, 2], 7], [{}, True]]
    one.run("DROP TABLE documents")
