"""Columns into a table: arrays without any work for a row, lists beside them, and what does not fit."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pg8000.types import PGInterval

from lightvec import HalfVector, Vector
from lightvec.errors import InvalidOption, InvalidVector, LightvecError
from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import DataError, IntegrityError, InterfaceError, ProgrammingError
from lightvec.wire.copy.load import copy_columns, copy_rows
from tests.pg8000.roundtrips import CLIENT, Relay

MATRIX = np.arange(6, dtype="f4").reshape(3, 2)
VECTORS = [[Vector(row.tolist())] for row in MATRIX]


@pytest.fixture(autouse=True)
def table(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE item (id int PRIMARY KEY, title text, v vector(2), span int4range)")


def is_good(conn: Connection) -> bool:
    return not conn.in_transaction and conn.run("SELECT count(*) FROM item") == [[0]]


def test_on_the_wire(relay: Relay) -> None:
    with connect(relay.url) as conn:
        conn.run("CREATE TEMPORARY TABLE small (id int, v vector(1))")
        with relay.recording() as record:
            copy_columns(conn.session, "small", {"id": np.array([1, 2]), "v": np.array([[1.0], [2.0]])})
    assert record.codes(CLIENT) == "PBDES" + "Q" + "ddd" + "c"
    rows = b"".join(message.body for message in record.messages(CLIENT) if message.code == "d")
    assert rows == bytes.fromhex(
        "5047434f50590aff0d0a00 00000000 00000000"
        "0002 00000004 00000001 00000008 0001 0000 3f800000"
        "0002 00000004 00000002 00000008 0001 0000 40000000"
        "ffff"
    )


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("ids", [range, np.arange])
def test_blocks_of_any_length(ids: Any, count: int, conn: Connection) -> None:
    matrix = np.random.default_rng(1).random((count, 2), "f4")
    seen: list[int] = []
    assert copy_columns(conn.session, "item", {"id": ids(count), "v": matrix}, progress=seen.append) == count
    assert seen == sorted(seen)
    assert seen[-1] == count
    rows = conn.run("SELECT id, v FROM item ORDER BY id")
    assert rows == [[number, Vector(row)] for number, row in enumerate(matrix)]


LAYOUTS = {
    "order F": np.asfortranarray(MATRIX),
    "every second": np.repeat(MATRIX, 2, axis=0)[::2],
    "backwards": MATRIX[::-1][::-1],
    "inner stride": np.repeat(MATRIX, 2, axis=1)[:, ::2],
    "read-only": np.frombuffer(MATRIX.tobytes(), "f4").reshape(3, 2),
}


@pytest.mark.parametrize("declared", ["vector", "vector(2)", "halfvec(2)"])
@pytest.mark.parametrize(
    "matrix",
    [*(MATRIX.astype(kind) for kind in ("<f2", ">f2", "<f4", ">f4", "f8", ">f8", "i8", "u1")), *LAYOUTS.values()],
    ids=[*("<f2", ">f2", "<f4", ">f4", "f8", ">f8", "i8", "u1"), *LAYOUTS],
)
def test_a_matrix_of_any_kind(matrix: Any, declared: str, conn: Connection) -> None:
    conn.run(f"CREATE TEMPORARY TABLE vectors (v {declared})")
    assert copy_columns(conn.session, "vectors", {"v": matrix}) == 3
    kind = HalfVector if declared.startswith("half") else Vector
    assert conn.run("SELECT v FROM vectors") == [[kind(row.tolist())] for row in MATRIX]


NOW = datetime(2024, 5, 6, 7, 8, 9, 123456)
MOMENTS = [NOW, datetime(1, 1, 1), datetime(9999, 12, 31)]


@pytest.mark.parametrize(
    ("declared", "values", "stored"),
    [
        ("int2", np.array([-5, 7], "i8"), [-5, 7]),
        ("int4", np.array([2**31 - 1], "u8"), [2**31 - 1]),
        ("int8", np.array([-(2**63), 2**63 - 1]), [-(2**63), 2**63 - 1]),
        ("int8", np.array([1, 2], ">i2"), [1, 2]),
        ("oid", np.array([2**32 - 1]), [2**32 - 1]),
        ("float4", np.array([0.1, np.inf]), [0.1, float("inf")]),
        ("float8", np.array([0.1, -0.0]), [0.1, -0.0]),
        ("float8", np.array([1, 2]), [1.0, 2.0]),
        ("float8", np.array([0.5], "f2"), [0.5]),
        ("bool", np.array([True, False]), [True, False]),
        ("date", np.array(["2024-05-06", "0001-01-01"], "M8[D]"), [date(2024, 5, 6), date(1, 1, 1)]),
        ("timestamp", np.array(MOMENTS, "M8[us]"), MOMENTS),
        ("timestamp", np.array(["2024-05-06T07:08:09.123456789"], "M8[ns]"), [NOW]),
        ("timestamptz", np.array(["2024-05-06"], "M8[D]"), [datetime(2024, 5, 6, tzinfo=timezone.utc)]),
        ("interval", np.array([-1, 86_400_000_001], "m8[us]"), [timedelta(microseconds=-1), timedelta(1, 0, 1)]),
        ("timestamp", np.array([30, -30], "M8[Y]"), [datetime(2000, 1, 1), datetime(1940, 1, 1)]),
        ("uuid", np.frombuffer(UUID(int=7).bytes * 2, "u1").reshape(2, 16), [UUID(int=7)] * 2),
        # value by value
        ("int4", np.ma.array([1, 2], mask=[False, True]), [1, None]),
        ("timestamp", np.array([NOW, None], "M8[us]"), [NOW, None]),
        ("timestamp", np.array(["2024-05-06T07:08:09.123456789", "NaT"], "M8[ns]"), [NOW, None]),
        ("interval", np.array([5, None], "m8[s]"), [timedelta(seconds=5), None]),
        ("interval", np.array([3, None], "m8[M]"), [PGInterval(months=3), None]),
        ("numeric", np.array([1, 2]), [Decimal(1), Decimal(2)]),
        ("text", np.array(["a", "bc"]), ["a", "bc"]),
        ("text", np.array(["a", None], object), ["a", None]),
        ("bytea", np.array([b"a"]), [b"a"]),
        ("int4[]", np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ("float8[]", np.zeros((1, 2, 2)), [[[0.0, 0.0], [0.0, 0.0]]]),
        ("vector[]", np.ones((1, 2, 1)), [[Vector([1]), Vector([1])]]),
        ("vector", np.array([[1, 2], None], object), [Vector([1, 2]), None]),
    ],
)
@pytest.mark.parametrize("beside", [False, True, None])
def test_an_array_of_any_type(
    declared: str, values: Any, stored: list[Any], beside: bool | None, conn: Connection
) -> None:
    """Alone, beside a list, and as text beside a range."""
    conn.run(f"CREATE TEMPORARY TABLE typed (n text, value {declared}, r int4range); SET TimeZone = 'UTC'")
    columns: dict[str, Any] = {"value": values}
    if beside:
        columns = {"n": ["x"] * len(values), **columns}
    elif beside is None:
        columns["r"] = ["[1,2)"] * len(values)
    assert copy_columns(conn.session, "typed", columns) == len(values)
    rows = conn.run("SELECT value FROM typed")
    assert repr(rows) == repr([[value] for value in stored])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(
        st.tuples(
            st.integers(-(2**31), 2**31 - 1),
            st.floats(width=32),
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            st.text("ab\\\t") | st.none(),
        ),
        min_size=1,
    )
)
def test_arrays_and_rows_give_the_same(numbers: list[Any], conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE a (i int, f float4, v vector(3), t text); CREATE TEMPORARY TABLE b (LIKE a)")
    conn.run("CREATE TEMPORARY TABLE c (LIKE a)")
    try:
        i, f, v, t = zip(*numbers, strict=True)
        copy_rows(conn.session, "a", ["i", "f", "v", "t"], numbers)
        copy_columns(
            conn.session, "b", {"i": np.array(i), "f": np.array(f, "f4"), "v": np.array(v, "f4"), "t": list(t)}
        )
        copy_columns(conn.session, "c", {"i": list(i), "t": np.array(t, object), "f": np.array(f), "v": np.array(v)})
        expected = conn.run("SELECT record_send(a) FROM a")
        assert conn.run("SELECT record_send(b) FROM b") == expected
        assert conn.run("SELECT record_send(c) FROM c") == expected
    finally:
        conn.run("DROP TABLE a; DROP TABLE b; DROP TABLE c")


# What is refused


def with_fault(fault: float, place: int = 2345, dtype: str = "f8") -> Any:
    matrix = np.zeros((5000, 2), dtype)
    matrix[place, 1] = fault
    return matrix


@pytest.mark.parametrize(
    ("columns", "cls", "message"),
    [
        ({"v": with_fault(np.nan)}, InvalidVector, "row 2,346, column 'v': .*finite number at index 1"),
        ({"v": with_fault(np.inf, dtype="f4")}, InvalidVector, "row 2,346, column 'v': .*finite number at index 1"),
        ({"v": with_fault(np.nan, dtype=">f4")}, InvalidVector, "row 2,346, column 'v': .*finite number at index 1"),
        ({"v": with_fault(1e39, 0)}, InvalidVector, "row 1, column 'v': .*float32"),
        ({"v": with_fault(np.nan), "title": [""] * 5000}, InvalidVector, "row 2,346, column 'v': .*finite"),
        ({"v": np.zeros((5000, 3))}, InvalidVector, r"column 'v' .*: expected 2 dimensions, .* shape \(5000, 3\)"),
        ({"v": np.zeros((5000, 0))}, InvalidVector, "expected 2 dimensions"),
        ({"v": np.zeros(5000)}, InvalidVector, "row 1, column 'v': "),
        ({"v": np.zeros((5000, 2, 2))}, InvalidVector, "row 1, column 'v': .*ndim"),
        ({"v": np.zeros((5000, 2), complex)}, InvalidVector, "row 1, column 'v': "),
        (
            # Each id once: with zeros the server might have refused the second row before this one was reached.
            {"id": np.where(np.arange(5000) == 2345, 2**31, np.arange(5000))},
            DataError,
            r"row 2,346, column 'id' \(integer\): .* got 2147483648",
        ),
        ({"id": with_fault(1)[:, 1].astype("f8")}, DataError, r"row 1, column 'id'"),
        ({"id": [1, "x"], "v": np.zeros((2, 2))}, DataError, r"row 2, column 'id' \(integer\): expected an int"),
        ({"id": [1, 2], "v": np.zeros((3, 2))}, DataError, "one length: 'id' has 2, 'v' has 3"),
        ({"id": 7}, DataError, r"column 'id': expected a list or an array, got 7"),
        ({"id": "77"}, DataError, "expected a list or an array, got '77'"),
        ({"id": iter([1])}, DataError, "expected a list or an array"),
        ({"id": np.array(7)}, DataError, "expected a list or an array"),
        ({}, InterfaceError, "names of the columns"),
        ([("id", [1])], InterfaceError, "a dict of column names"),
        ({"nothing": [1]}, ProgrammingError, "no column 'nothing': it has 'id'"),
        ({"id": np.zeros(5000, int)}, IntegrityError, "item_pkey"),
    ],
)
@pytest.mark.parametrize("on_conflict", [None, "ignore"])
def test_refused(
    columns: Any, cls: type[LightvecError], message: str, on_conflict: str | None, conn: Connection
) -> None:
    if cls is IntegrityError and on_conflict:
        return
    if isinstance(columns, dict) and "id" not in columns and "v" in columns:
        columns = {**columns, "id": np.arange(len(columns["v"]))}
    with pytest.raises(cls, match=message) as caught:
        copy_columns(conn.session, "item", columns, on_conflict=on_conflict)
    assert type(caught.value) is cls
    assert is_good(conn)


@pytest.mark.parametrize("beside", [False, True, None])
@pytest.mark.parametrize("with_nat", [False, True])
@pytest.mark.parametrize(
    ("declared", "unit", "number"),
    [
        *(("timestamp", unit, 2**62) for unit in ("h", "m", "s", "ms")),
        ("timestamp", "ms", 2**60),
        ("timestamptz", "s", -(2**62)),
        *(("date", unit, 2**62) for unit in ("D", "s")),
        ("date", "D", 2**33),
        *(("interval", unit, 2**62) for unit in ("W", "D", "s", "ms")),
        ("interval", "D", 2**40),
        ("interval", "generic", 5),
    ],
)
def test_moments_that_numpy_would_wrap(
    declared: str, unit: str, number: int, with_nat: bool, beside: bool | None, conn: Connection
) -> None:
    """Its cast to microseconds makes other moments of them without a word."""
    conn.run(f"CREATE TEMPORARY TABLE wrapped (n text, value {declared}, r int4range)")
    kind = "m8" if declared == "interval" else "M8"
    nat = -(2**63)
    values = np.array([nat if with_nat else 1, number], "i8").astype(kind if unit == "generic" else f"{kind}[{unit}]")
    columns: dict[str, Any] = {"value": values}
    if beside:
        columns["n"] = ["x"] * 2
    elif beside is None:
        columns["r"] = ["[1,2)"] * 2
    with pytest.raises(DataError, match=r"row [12], column 'value'.*(year 1 to 9999|with a unit|date, got)"):
        copy_columns(conn.session, "wrapped", columns)
    assert conn.run("SELECT count(*) FROM wrapped") == [[0]]


@pytest.mark.parametrize("beside", [False, True, None])
@pytest.mark.parametrize("last", ["NaT", "2024-05-07"])
def test_a_moment_of_numpy_is_utc(last: str, beside: bool | None, conn: Connection) -> None:
    """Whatever way it goes, and whatever the session's zone is."""
    conn.run("CREATE TEMPORARY TABLE zoned (n text, value timestamptz, r int4range); SET TimeZone = 'Asia/Tokyo'")
    columns: dict[str, Any] = {"value": np.array(["2024-05-06", last], "M8[s]")}
    if beside:
        columns["n"] = ["x"] * 2
    elif beside is None:
        columns["r"] = ["[1,2)"] * 2
    copy_columns(conn.session, "zoned", columns)
    expected = [
        datetime(2024, 5, 6, tzinfo=timezone.utc),
        None if last == "NaT" else datetime(2024, 5, 7, tzinfo=timezone.utc),
    ]
    assert [row[0] for row in conn.run("SELECT value FROM zoned") or ()] == expected


def test_halfvec_that_overflows(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE halves (v halfvec)")
    with pytest.raises(InvalidVector, match=r"row 1, column 'v': .*65504"):
        copy_columns(conn.session, "halves", {"v": np.array([[65_520.0]], "f4")})
    with pytest.raises(InvalidVector, match="1 to 16,000"):
        copy_columns(conn.session, "halves", {"v": np.zeros((1, 16_001))})


def test_float4_that_overflows(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE floats (f float4)")
    with pytest.raises(DataError, match=r"row 2, column 'f' .* got 1e\+39"):
        copy_columns(conn.session, "floats", {"f": np.array([np.inf, 1e39])})


def test_an_error_of_the_server_ends_a_long_load(conn: Connection) -> None:
    seen: list[int] = []
    count = 3_000_000
    with pytest.raises(IntegrityError):
        copy_columns(conn.session, "item", {"id": np.zeros(count, "i4")}, progress=seen.append)
    assert max(seen, default=0) < count
    assert is_good(conn)


def test_on_conflict(conn: Connection) -> None:
    assert copy_columns(conn.session, "item", {"id": np.arange(3), "v": MATRIX}, on_conflict="ignore") == 3
    columns = {"id": np.array([2, 2, 3]), "v": MATRIX}
    assert copy_columns(conn.session, "item", columns, on_conflict="ignore") == 1
    assert copy_columns(conn.session, "item", columns, on_conflict="update") == 2
    assert conn.run("SELECT v FROM item ORDER BY id") == [VECTORS[0], VECTORS[1], VECTORS[1], VECTORS[2]]
    with pytest.raises(InvalidOption):
        copy_columns(conn.session, "item", columns, on_conflict="nothing")


def test_long_values_beside_an_array(conn: Connection) -> None:
    """More in one block of rows than a message should have."""
    titles = ["x" * 200_000] * 300
    assert copy_columns(conn.session, "item", {"id": np.arange(300), "title": titles}) == 300
    assert conn.run("SELECT count(*), min(length(title)), max(length(title)) FROM item") == [[300, 200_000, 200_000]]


def test_no_python_work_for_a_row(conn: Connection) -> None:
    """Calls to Python functions go by blocks: ten times the rows must not be ten times the calls."""

    def calls(count: int) -> int:
        made = 0

        def tracer(*event: object) -> None:
            nonlocal made
            made += 1

        columns = {"id": np.arange(count), "v": np.zeros((count, 2), "f4")}
        conn.run("TRUNCATE item")
        sys.setprofile(tracer)
        try:
            copy_columns(conn.session, "item", columns)
        finally:
            sys.setprofile(None)
        return made

    assert calls(50_000) < calls(5_000) + 45_000 // 5
