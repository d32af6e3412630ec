"""Each Python type goes as the PostgreSQL type that psycopg 3's rules say, and comes back as the same value."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import pytest
from pg8000.types import PGInterval, Range

from lightvec.pg8000 import Connection, dbapi
from lightvec.pg8000.exceptions import DataError, InterfaceError, OperationalError, ProgrammingError
from lightvec.wire.jsonb import Json, Jsonb
from lightvec.wire.parameters import DUMPERS, Dumper

TZ = timezone(timedelta(hours=2))


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    PI = 3.5


class Name(str):
    pass


class Wide(int):
    def __repr__(self) -> str:
        return "not a number"


def sent(conn: Connection, value: Any) -> tuple[str, Any]:
    """The type that a value is declared as, and the value when it comes back."""
    rows = conn.run("SELECT pg_typeof(v)::text, v FROM (SELECT :v AS v) AS sent", v=value)
    assert rows is not None
    return rows[0][0], rows[0][1]


def id_of(value: Any) -> str:
    """No address in memory, which another process of pytest-xdist would not have."""
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)


SAME = [
    (True, "boolean"),
    (False, "boolean"),
    (0, "smallint"),
    (-0x8000, "smallint"),
    (0x7FFF, "smallint"),
    (0x8000, "integer"),
    (-0x8001, "integer"),
    (0x7FFFFFFF, "integer"),
    (-0x80000000, "integer"),
    (0x80000000, "bigint"),
    (-0x80000001, "bigint"),
    (2**63 - 1, "bigint"),
    (-(2**63), "bigint"),
    (2**63, "numeric"),
    (-(2**63) - 1, "numeric"),
    (10**40, "numeric"),
    (0.1, "double precision"),
    (1e300, "double precision"),
    (5e-324, "double precision"),
    (float("inf"), "double precision"),
    (float("-inf"), "double precision"),
    (Decimal("1.50"), "numeric"),
    (Decimal("-0.000000000000000000000000001"), "numeric"),
    (Decimal("1E+20"), "numeric"),
    (Decimal("Infinity"), "numeric"),
    ("", "text"),
    ("é ' \" \\ \n \t 🐘", "text"),
    ("{NULL}", "text"),
    (b"", "bytea"),
    (bytes(range(256)), "bytea"),
    (date(2026, 2, 28), "date"),
    (date(1, 1, 1), "date"),
    (date(9999, 12, 31), "date"),
    (datetime(2026, 2, 28, 1, 2, 3, 456789), "timestamp without time zone"),
    (datetime(2026, 2, 28, 1, 2, 3, 456789, tzinfo=TZ), "timestamp with time zone"),
    (time(1, 2, 3, 456789), "time without time zone"),
    (time(1, 2, 3, tzinfo=TZ), "time with time zone"),
    ([time(1, 2, 3, tzinfo=TZ)], "time with time zone[]"),
    (IPv4Network("10.0.0.0/8"), "cidr"),
    (IPv6Network("2001:db8::/32"), "cidr"),
    ([IPv4Network("10.0.0.0/8")], "cidr[]"),
    (timedelta(days=3, seconds=4, microseconds=5), "interval"),
    (timedelta(days=-3, seconds=4), "interval"),
    (UUID(int=7), "uuid"),
    (IPv4Address("10.0.0.1"), "inet"),
    (IPv6Address("::1"), "inet"),
    ([1, 2, None], "integer[]"),
    ([40000], "integer[]"),
    ([[1, 2], [3, None]], "integer[]"),
    ([[[1]], [[2]]], "integer[]"),
    ([2**40, 1], "bigint[]"),
    ([1.5, float("inf"), None], "double precision[]"),
    ([True, False, None], "boolean[]"),
    ([Decimal("1.5"), None], "numeric[]"),
    ([date(2026, 1, 2), None], "date[]"),
    ([datetime(2026, 2, 28, 1, 2, 3)], "timestamp without time zone[]"),
    ([datetime(2026, 2, 28, 1, 2, 3, tzinfo=TZ)], "timestamp with time zone[]"),
    ([time(1, 2, 3)], "time without time zone[]"),
    ([timedelta(days=1)], "interval[]"),
    ([UUID(int=7), None], "uuid[]"),
    ([b"\x00\xff", None, b""], "bytea[]"),
    ([IPv4Address("10.0.0.1"), IPv6Address("::1")], "inet[]"),
]


@pytest.mark.parametrize(("value", "declared"), SAME, ids=id_of)
def test_a_value_comes_back_from_its_type(value: Any, declared: str, conn: Connection) -> None:
    assert sent(conn, value) == (declared, value)


OTHER = [
    (None, "text", None),
    (bytearray(b"ab"), "bytea", b"ab"),
    (memoryview(b"ab"), "bytea", b"ab"),
    (PGInterval(months=1, days=2), "interval", PGInterval(months=1, days=2)),
    (Json({"a": [1, None]}), "json", {"a": [1, None]}),
    (Json("x", dumps=lambda value: '"dumped"'), "json", "dumped"),
    (Jsonb({"a": [1, None]}), "jsonb", {"a": [1, None]}),
    ([Json({"a": 'q"\\'}), None], "json[]", [{"a": 'q"\\'}, None]),
    ([Jsonb([1])], "jsonb[]", [[1]]),
    ({"a": 1}, "text", '{"a": 1}'),
    ((1, "x y", None), "text", '(1,"x y",)'),
    (Range(1, 5), "text", "[1,5)"),
    ([], "text", "{}"),
    ([None, None], "text", "{NULL,NULL}"),
    (Colour.RED, "text", "red"),
    (Level.HIGH, "smallint", 3),
    (Plain.PI, "double precision", 3.5),
    ([Level.HIGH, 1], "integer[]", [3, 1]),
    ([Colour.RED, "blue"], "text", '{"red","blue"}'),
    ([["a", "b"], ["c", None]], "text", '{{"a","b"},{"c",NULL}}'),
    (Name("n"), "text", "n"),
    (Wide(5), "smallint", 5),
    (Fraction(1, 4), "double precision", 0.25),
    ([1, 2.5], "double precision[]", [1.0, 2.5]),
    ([1, Decimal("2.5")], "numeric[]", [Decimal(1), Decimal("2.5")]),
    ([1, 40000, 2**40, 2**70], "numeric[]", [1, 40000, 2**40, 2**70]),
    ([[1], [2**40]], "bigint[]", [[1], [2**40]]),
    ([Decimal("0.5"), 0.25], "double precision[]", [0.5, 0.25]),
    ([0.1, 1], "double precision[]", [0.1, 1.0]),
]


@pytest.mark.parametrize(("value", "declared", "back"), OTHER, ids=id_of)
def test_a_value_that_comes_back_as_another(value: Any, declared: str, back: Any, conn: Connection) -> None:
    assert sent(conn, value) == (declared, back)


def test_every_type_of_the_table_is_here_or_with_the_vectors() -> None:
    tested = {type(value) for value, *_ in [*SAME, *OTHER]}
    assert {cls.__name__ for cls in DUMPERS if cls not in tested and isinstance(cls, type)} == {
        "Vector",
        "HalfVector",
        "SparseVector",
        "Bit",
    }


def test_not_a_number(conn: Connection) -> None:
    declared, back = sent(conn, float("nan"))
    assert (declared, str(back)) == ("double precision", "nan")
    declared, back = sent(conn, [Decimal("NaN"), float("nan")])
    assert (declared, str(back)) == ("double precision[]", "[nan, nan]")
    declared, back = sent(conn, Decimal("NaN"))
    assert (declared, str(back)) == ("numeric", "NaN")


def test_comments_nest(conn: Connection, dbapi_conn: dbapi.Connection) -> None:
    comment = "/* a /* :b /* %s */ $2 */ ; ' :c */ /*/ \" :d /**/ */"
    assert conn.run(f"SELECT 1 {comment} + :e", e=2) == [[3]]
    assert conn.run(f"SELECT 1 {comment} + 2") == [[3]]
    assert dbapi_conn.cursor().execute(f"SELECT 1 {comment} + %s", [2]).fetchone() == (3,)
    assert conn.run("SELECT 1 /* a */ + :b /* c */", b=2) == [[3]]


def test_a_text_takes_the_type_of_its_place(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE place (n int, d date, u uuid, j jsonb)")
    values: dict[str, Any] = {"n": "7", "d": "2026-01-02", "u": str(UUID(int=1)), "j": '{"a": 1}'}
    rows = conn.run("INSERT INTO place VALUES (:n, :d, :u, :j) RETURNING *", **values)
    assert rows == [[7, date(2026, 1, 2), UUID(int=1), {"a": 1}]]
    assert conn.run("SELECT n FROM place WHERE d < :d AND n IN (:n, :m)", d="2027-01-01", n="7", m=8) == [[7]]


def test_dict_tuple_and_range_take_the_type_of_their_place(conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE pair (n int, t text)")
    assert conn.run("SELECT (CAST(:p AS pair)).t", p=(1, 'a"b\\ (c), ')) == [['a"b\\ (c), ']]
    assert conn.run("SELECT CAST(:p AS pair) IS NOT DISTINCT FROM ROW(NULL, '')::pair", p=(None, "")) == [[True]]
    assert conn.run("SELECT CAST(:j AS jsonb) -> 'a'", j={"a": [1, {"b": None}]}) == [[[1, {"b": None}]]]
    assert conn.run("SELECT CAST(:r AS int4range)", r=Range(1, 5, bounds="(]")) == [[Range(2, 6)]]
    days = Range(date(2026, 1, 1), None)
    assert conn.run("SELECT CAST(:r AS daterange)", r=days) == [[days]]
    assert conn.run("SELECT CAST(:p AS pair[])", p=[(1, "x"), (2, 'y"')]) == [['{"(1,x)","(2,\\"y\\"\\"\\")"}']]


def test_types_of_the_callers_choice(conn: Connection) -> None:
    rows = conn.run("SELECT pg_typeof(:a)::text, pg_typeof(:b)::text", types={"a": 20}, a=1, b=1)
    assert rows == [["bigint", "smallint"]]


@pytest.mark.parametrize("value", ["a\x00b", ["a", "\x00"], {"a": "b"}, Json("\x00", dumps=str), Name("\x00")])
def test_nul_characters(value: Any, conn: Connection) -> None:
    if isinstance(value, dict):
        assert conn.run("SELECT :v", v={"a": "\x00"}) == [['{"a": "\\u0000"}']], "JSON has an escape for it"
        return
    with pytest.raises(DataError, match="NUL"):
        conn.run("SELECT :v", v=value)
    assert conn.run("SELECT 1") == [[1]]


def test_a_lone_surrogate(conn: Connection) -> None:
    with pytest.raises(DataError, match=r"sent as utf-8, got '\\udc80' at index 1"):
        conn.run("SELECT :v", v="a\udc80")
    with pytest.raises(InterfaceError, match="SQL that can be sent"):
        conn.run("SELECT '\udc80'")
    with pytest.raises(InterfaceError, match="NUL"):
        conn.run("SELECT '\x00'")
    assert conn.run("SELECT 1") == [[1]]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["a", 1], "int and str"),
        ([[1], ["a"]], "int and str"),
        ([True, 1], "bool and int"),
        (["a", {"b": 1}], "dict and str"),
        (["a", (1, 2)], "str and tuple"),
        ([date(2026, 1, 1), datetime(2026, 1, 1)], "date and datetime"),
        ([b"a", "b"], "bytes and str"),
        ([datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=TZ)], "datetime"),
    ],
)
def test_a_list_of_several_types(value: list[Any], names: str, conn: Connection) -> None:
    with pytest.raises(DataError, match=f"of one type, got {names}:"):
        conn.run("SELECT :v", v=value)


def test_a_ragged_list(conn: Connection) -> None:
    with pytest.raises(DataError):
        conn.run("SELECT :v", v=[[1, 2], [3]])


def test_too_many_parameters(conn: Connection) -> None:
    with pytest.raises(InterfaceError, match="at most 65,535 parameters, got 65,536"):
        conn.execute_unnamed("SELECT 1", [1] * 65536)
    sql = "SELECT " + " + ".join(f"${index + 1}::int8" for index in range(65535))
    with pytest.raises(OperationalError, match="stack depth"):
        conn.execute_unnamed(sql, [1] * 65535)
    assert conn.run("SELECT 1") == [[1]]


def test_what_pg8000s_own_adapters_say_goes(conn: Connection) -> None:
    class Celsius:
        def __init__(self, degrees: int) -> None:
            self.degrees = degrees

    conn.register_out_adapter(Celsius, lambda value: f"{value.degrees} °C")
    conn.register_out_adapter(dict, lambda value: json.dumps(value, sort_keys=True, indent=None))
    assert sent(conn, Celsius(20)) == ("text", "20 °C")
    assert sent(conn, {"b": 1, "a": 2}) == ("text", '{"a": 2, "b": 1}')
    assert sent(conn, [Celsius(1), Celsius(2)])[1] == '{"1 °C","2 °C"}'


def test_a_registered_dumper(conn: Connection) -> None:
    class Metres(float):
        pass

    conn.session.adapters.py_types[Metres] = Dumper(25, 1009, lambda value: f"{value:.0f} m")
    assert sent(conn, Metres(3)) == ("text", "3 m")
    assert sent(conn, [Metres(3), Metres(4)]) == ("text[]", ["3 m", "4 m"])


def test_an_object_of_no_known_type_is_refused_until_it_is_registered(conn: Connection) -> None:
    class Thing:
        pass

    for value in (Thing(), {1, 2}, (x for x in [1]), object):
        with pytest.raises(ProgrammingError, match="a type that can be sent, got"):
            conn.run("SELECT :a", a=value)
    conn.register_out_adapter(Thing, lambda thing: "thing")
    assert sent(conn, Thing()) == ("text", "thing")


def test_json_prints_as_written() -> None:
    assert repr(Jsonb({"a": 1})) == "Jsonb({'a': 1})"
