"""Values where the type, the encoding or the caller decides how they travel; beside psycopg where it has a rule."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg8000.types import PGInterval, Range

from lightvec import Bit, HalfVector, Vector
from lightvec.errors import InvalidVector
from lightvec.pg8000 import Connection, Jsonb, dbapi
from lightvec.pg8000.exceptions import DatabaseError, DataError
from lightvec.wire.adapters import Adapters
from lightvec.wire.datatypes import BY_OID, FROM_TEXT, TYPES
from lightvec.wire.parameters import Dumper
from tests.pg8000.beside import Both, open_both


@pytest.fixture(scope="module")
def both(make_database: Callable[[], str]) -> Iterator[Both]:
    with open_both(make_database()) as both:
        yield both


def one(conn: Connection, sql: str, types: dict[str, int] | None = None, **values: Any) -> Any:
    return (conn.run(sql, types=types, **values) or [])[0][0]


# The table


def test_the_table_is_that_of_the_server(conn: Connection) -> None:
    found = conn.run("SELECT typname, oid::int8, typarray::int8 FROM pg_type WHERE oid = ANY(:oids)", oids=[*BY_OID])
    assert sorted(map(tuple, found or ())) == sorted((row.name, row.oid, row.array_oid) for row in TYPES.values())
    assert len(FROM_TEXT) == 2 * len(TYPES)


def test_pg8000_is_not_loaded_for_common_values(url: str) -> None:
    code = """
import sys
from datetime import timedelta
import lightvec.pg8000
with lightvec.pg8000.connect(sys.argv[1]) as conn:
    row = [1, "a", timedelta(1), {"a": 1}, [1], None]
    sql = "SELECT :a::int, :b::text, :c::interval, :d::jsonb, :e::int[], :f::text"
    assert conn.run(sql, **dict(zip("abcdef", row))) == [row]
    assert not [name for name in sys.modules if name.partition(".")[0] in ("pg8000", "numpy")]
    assert conn.run("SELECT int4range(1, 2), interval '1 mon'")[0][0].lower == 1
"""
    subprocess.run([sys.executable, "-c", code, url], check=True)


# The client's encoding


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "EUC_JP", "UTF8"])
def test_texts_are_sent_in_the_clients_encoding(encoding: str, conn: Connection) -> None:
    word = "日本" if encoding == "EUC_JP" else "é"
    conn.run(f"SET client_encoding TO '{encoding}'")
    code = word.encode().hex()
    for value in (word, [word], (word,), {"k": word}):
        text = one(conn, "SELECT CAST(:v AS text)", v=value)
        assert word in text or "\\u00e9" in text or "\\u65e5" in text
    assert one(conn, "SELECT encode(convert_to(:v, 'UTF8'), 'hex')", v=word) == code
    assert one(conn, "SELECT convert_from(decode(:v, 'hex'), 'UTF8')", v=code) == word


def test_a_text_that_the_clients_encoding_lacks(conn: Connection) -> None:
    conn.run("SET client_encoding TO 'LATIN1'")
    for value in ("a€", ["a€"]):
        with pytest.raises(DataError, match=r"sent as latin1.*u20ac.*SET client_encoding TO 'UTF8'"):
            conn.run("SELECT :v", v=value)
    conn.run("SET client_encoding TO 'UTF8'")
    assert one(conn, "SELECT :v", v="a€") == "a€"


# Types that the caller names

ONE, TWO = Range(3, 7), Range(9, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int4multirange", [ONE, TWO]),
        ("int4multirange", []),
        ("nummultirange", [Range(Decimal("1.5"), Decimal("2.5"))]),
        ("datemultirange", [Range(date(2026, 1, 1), date(2026, 1, 5))]),
        ("tsmultirange", [Range(datetime(2026, 1, 1, 2), None)]),
        ("int4multirange[]", [[ONE, TWO], [], None]),
        ("int4range[]", [ONE, TWO, None]),
        ("int4range", Range(is_empty=True)),
        ("point", (2.5, 1)),
        ("json", [1, {"a": ["x", None]}]),
        ("jsonb", []),
        ("jsonb", {"a": [1]}),
        ("json[]", [{"a": 1}, None]),
        ("xid", 86722),
        ("money[]", ["$1.10", None]),
        ("int2[]", [[1, 2], [3, 4]]),
        ("float4", 1.5),
        ("numeric", 7),
        ("inet[]", [IPv4Address("10.0.0.1")]),
        ("bit", Bit("1")),
        ("bytea", b"\0"),
        ("timestamp", "infinity"),
        ("float8", None),
    ],
)
def test_types_that_the_caller_names(name: str, value: Any, conn: Connection) -> None:
    row = TYPES[name.removesuffix("[]")]
    oid = row.array_oid if name.endswith("[]") else row.oid
    back, declared = (
        conn.run("SELECT v, pg_typeof(v)::text FROM (SELECT :v AS v) s", types={"v": oid}, v=value) or []
    )[0]
    assert declared.replace("bit varying", "varbit") == one(conn, f"SELECT '{oid}'::regtype::text")
    if isinstance(value, Range) or "range" in name:
        value, back = repr(value), repr(back)
    assert back == value


@pytest.mark.parametrize(
    "given", [Vector([1, 0.5]), HalfVector([1, 0.5]), [1, 0.5], (1, 0.5), "[1,0.5]", np.array([1, 0.5], "f4")]
)
@pytest.mark.parametrize("name", ["vector", "halfvec", "sparsevec"])
def test_any_vector_as_any_vector_type_that_the_caller_names(name: str, given: Any, conn: Connection) -> None:
    """The bytes of a vector are none of a halfvec."""
    if name == "sparsevec" and isinstance(given, str):
        given = "{1:1,2:0.5}/2"
    oid = conn.extension().oids[name]
    sql = "SELECT pg_typeof(v)::text, v::vector FROM (SELECT :v AS v) s"
    assert conn.run(sql, types={"v": oid}, v=given) == [[name, Vector([1, 0.5])]]


@pytest.mark.parametrize("given", [Vector([1, 0.5]), Bit("101"), b"ab"])
def test_what_goes_as_binary_as_a_text_that_the_caller_names(given: Any, conn: Connection) -> None:
    """Its bytes would be taken for characters."""
    text = "\\x6162" if isinstance(given, bytes) else given.to_text()
    assert one(conn, "SELECT :v", types={"v": TYPES["text"].oid}, v=given) == text


def test_an_offset_where_the_caller_names_a_timestamp(conn: Connection) -> None:
    """The server passes over it in a text; pg8000 sends UTC."""
    oids = {"v": TYPES["timestamp"].oid, "a": TYPES["timestamp"].array_oid}
    noon = datetime(2026, 5, 6, 12, tzinfo=timezone(timedelta(hours=2)))
    assert conn.run("SELECT :v, :a", types=oids, v=noon, a=[noon, None]) == [
        [datetime(2026, 5, 6, 10), [datetime(2026, 5, 6, 10), None]]
    ]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("int4multirange", ["x"]),
        ("int4multirange", [None]),
        ("timestamp", datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))),
    ],
)
def test_what_the_type_that_the_caller_names_does_not_take(name: str, given: Any, conn: Connection) -> None:
    with pytest.raises(DatabaseError):
        conn.run("SELECT :v", types={"v": TYPES[name].oid}, v=given)
    with pytest.raises(InvalidVector):
        conn.run("SELECT :v", types={"v": conn.extension().oids["vector"]}, v=given)


def test_a_document_that_is_registered_as_another_type(conn: Connection) -> None:
    conn.session.adapters.py_types[dict] = Dumper(142, 143, lambda value: "<a/>")
    assert one(conn, "SELECT :v", types={"v": TYPES["jsonb"].oid}, v={"a": 1}) == {"a": 1}


def test_a_document_that_the_caller_writes(conn: Connection) -> None:
    conn.register_out_adapter(dict, lambda value: '{"mine": 1}')
    assert one(conn, "SELECT :v", types={"v": TYPES["jsonb"].oid}, v={"a": 1}) == {"mine": 1}


@pytest.mark.parametrize(
    "given",
    [
        *(np.datetime64(2**62, unit) for unit in ("h", "m", "s")),
        np.datetime64(2**60, "ms"),
        np.datetime64(20_000, "Y"),
        *(np.timedelta64(2**62, unit) for unit in ("D", "h", "s", "ms")),
        np.timedelta64(2**40, "D"),
        np.timedelta64(5),
    ],
    ids=repr,
)
def test_moments_of_numpy_that_do_not_fit(given: Any, conn: Connection) -> None:
    """NumPy casts them to others, or to NaT, without a word."""
    for value in (given, [given]):
        with pytest.raises(DataError, match=r"timedelta64 with a unit|from the year 1 to 9999"):
            conn.run("SELECT :v", v=value)


@settings(max_examples=200, deadline=None)
@given(
    unit=st.sampled_from(["W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "as"]),
    count=st.integers(-(2**63) + 1, 2**63 - 1),
)
def test_a_moment_of_numpy_is_that_moment_or_refused(unit: str, count: int) -> None:
    try:
        moment: Any = np.datetime64
        text = Adapters().parameter(moment(count, unit)).data
    except DataError:
        return
    seconds = {"W": 604_800, "D": 86_400, "h": 3600, "m": 60, "s": 1}
    parts = {"ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "as": 10**18}
    assert text is not None
    span = datetime.fromisoformat(text.decode()) - datetime(1970, 1, 1)
    assert span // timedelta(microseconds=1) == count * seconds.get(unit, 1) * 10**6 // parts.get(unit, 1)


def test_a_text_is_its_characters(conn: Connection) -> None:
    class Loud(str):
        def __str__(self) -> str:
            return self.upper()

    for value in (Loud("quiet"), [Loud("quiet")]):
        assert "quiet" in one(conn, "SELECT CAST(:v AS text)", v=value)


def test_what_needs_pgvector(conn: Connection) -> None:
    adapters = Adapters()
    assert adapters.needs_extension([[np.zeros(2, "f4")]])
    assert not adapters.needs_extension(np.array([True]))
    assert not adapters.needs_extension([None, "a", 1.5])
    adapters.py_types[np.ndarray] = lambda value: "mine"
    assert not adapters.needs_extension(np.zeros(2, "f4"))
    extension = conn.extension()
    known = [*extension.oids.values(), *extension.array_oids.values()]
    assert not any(map(conn.session.adapters.is_unknown, known))


def test_lists_and_arrays_as_types_that_the_caller_names(conn: Connection) -> None:
    types = conn.extension().oids
    assert one(conn, "SELECT :v", {"v": types["vector"]}, v=[1, 2]) == Vector([1, 2])
    assert one(conn, "SELECT :v", {"v": types["halfvec"]}, v=[1, 2]) == HalfVector([1, 2])
    assert one(conn, "SELECT :v", {"v": TYPES["float8"].array_oid}, v=np.array([[1.5], [2]])) == [[1.5], [2.0]]


def test_a_tuple_of_numbers_is_a_point(conn: Connection) -> None:
    assert one(conn, "SELECT CAST(:v AS point)", v=(2.3, -1)) == (2.3, -1.0)
    assert one(conn, "SELECT CAST(:v AS point[])", v=[(1, 2), None]) == [(1.0, 2.0), None]


# Lists of texts


@pytest.mark.parametrize(
    ("declared", "texts"),
    [
        ("uuid", [str(UUID(int=1)), str(UUID(int=2))]),
        ("date", ["2026-01-02", "infinity"]),
        ("inet", ["10.0.0.1", "::1"]),
        ("hue", ["red", "light blue"]),
        ("text", ["a", 'b"\\,', "NULL", "", " "]),
        ("varchar", ["a"]),
        ("int8", ["1"]),
    ],
)
def test_any_of_a_list_of_texts(declared: str, texts: list[str], both: Both) -> None:
    for conn in (both.ours.run, both.theirs.execute):
        conn("DROP TYPE IF EXISTS hue CASCADE; CREATE TYPE hue AS ENUM ('red', 'light blue')")
    values = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    query = f"SELECT count(*) FROM unnest(ARRAY[{values}]::{declared}[]) AS v WHERE v = ANY({{}})"
    assert both.theirs.execute(query.format("%s"), [texts]).fetchall() == [(len(texts),)]
    assert both.ours.run(query.format(":v"), v=texts) == [[len(texts)]]
    cursor = both.cursors.cursor()
    assert cursor.execute(query.format("%s"), [texts]).fetchall() == [(len(texts),)]
    both.cursors.rollback()


def test_texts_of_an_array(conn: Connection) -> None:
    texts = ["a", None, "", "NULL", 'a"b', "a\\b", "{x}", "a,b", " ", "é", "\n"]
    assert one(conn, "SELECT CAST(:v AS text[])", v=texts) == texts


# NumPy


def test_a_row_of_a_file(tmp_path: Path, conn: Connection) -> None:
    matrix = np.memmap(tmp_path / "matrix", "f4", "w+", shape=(2, 3))
    matrix[:] = [[1, 2, 3], [4, 5, 6]]
    for _ in range(2):
        assert one(conn, "SELECT :v", v=matrix[1]) == Vector([4, 5, 6])

    class Own(np.ndarray):
        pass

    assert one(conn, "SELECT :v", v=np.array([1.5, 2]).view(Own)) == Vector([1.5, 2])
    assert one(conn, "SELECT :v", v=np.array([True, False]).view(Own)) == Bit("10")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "f8", ">f8", "i2", "u8", "O", "longdouble"])
def test_arrays_of_any_numbers(dtype: str, conn: Connection) -> None:
    for _ in range(2):
        assert one(conn, "SELECT :v", v=np.array([1, 2, 40], dtype)) == Vector([1, 2, 40])
        assert one(conn, "SELECT :v", v=np.array([1, 7, 2, 7], dtype)[::2]) == Vector([1, 2])


@pytest.mark.filterwarnings("error")
def test_numbers_near_the_largest_and_beyond(conn: Connection) -> None:
    assert one(conn, "SELECT :v", v=np.array([3e38, -3e38], "f4")) == Vector([3e38, -3e38])
    assert one(conn, "SELECT :v", v=np.array([3e38, -3e38])) == Vector([3e38, -3e38])
    for array in (np.array([1, np.nan], "f4"), np.array([1, np.inf]), np.array([1, 1e39])):
        with pytest.raises(InvalidVector, match="at index 1"):
            conn.run("SELECT :v", v=array)
    for array in (
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.ones((1, 2)),
        np.array(1.5),
        np.array([]),
        np.zeros(16_001),
    ):
        with pytest.raises(InvalidVector):
            conn.run("SELECT :v", v=array)


MOMENT = datetime(2026, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("value", "declared", "back"),
    [
        *((np.datetime64(MOMENT).astype(f"M8[{unit}]"), "timestamp", MOMENT) for unit in ("s", "ms", "us", "ns")),
        (np.datetime64("2026-01-02"), "timestamp", datetime(2026, 1, 2)),
        (np.datetime64("2026-01"), "timestamp", datetime(2026, 1, 1)),
        (np.datetime64("NaT"), "text", None),
        *((np.timedelta64(90, "m").astype(f"m8[{unit}]"), "interval", timedelta(minutes=90)) for unit in ("s", "ns")),
        (np.timedelta64(-2, "W"), "interval", timedelta(days=-14)),
        (np.timedelta64(14, "M"), "interval", PGInterval(years=1, months=2)),
        (np.timedelta64(2, "Y"), "interval", PGInterval(years=2)),
        (np.timedelta64("NaT"), "text", None),
        (np.float32(1.5), "double precision", 1.5),
        (np.longdouble(1.5), "double precision", 1.5),
        (np.int64(7), "smallint", 7),
        (np.str_("a"), "text", "a"),
        (np.bool_(True), "boolean", True),
        ([np.int64(7), 70_000], "integer[]", [7, 70_000]),
        ([np.datetime64(MOMENT), np.datetime64("NaT")], "timestamp[]", [MOMENT, None]),
    ],
)
def test_scalars(value: Any, declared: str, back: Any, conn: Connection) -> None:
    row = (conn.run("SELECT pg_typeof(v)::text, v FROM (SELECT :v AS v) s", v=value) or [])[0]
    assert row == [declared.replace("timestamp", "timestamp without time zone"), back]


def test_a_moment_that_python_has_no_room_for(conn: Connection) -> None:
    with pytest.raises(DataError, match="from the year 1 to 9999"):
        conn.run("SELECT :v", v=np.datetime64("20000-01-01", "us"))


def test_a_frame_is_no_vector() -> None:
    class Frame:
        ndim = 2

        def __iter__(self) -> Iterator[int]:
            return iter([0, 1])

    with pytest.raises(InvalidVector, match="one dimension of numbers and got 2"):
        Vector(Frame())


# Networks, intervals


def test_networks_and_addresses(both: Both) -> None:
    query = "SELECT cidr '10.0.0.0/8', cidr '::/0', ARRAY[cidr '10.0.0.0/8'], inet '10.0.0.1/8', inet '10.0.0.1'"
    ours = [tuple(row) for row in both.ours.run(query) or ()]
    assert ours == both.theirs.execute(query).fetchall()
    assert ours[0][0] == ip_network("10.0.0.0/8")


@pytest.mark.parametrize("style", ["postgres", "postgres_verbose", "sql_standard", "iso_8601"])
@pytest.mark.parametrize(
    "value",
    [
        *(timedelta(days=-3, seconds=4), timedelta(days=3, seconds=-4), timedelta(microseconds=-1), timedelta()),
        PGInterval(years=-1, months=2, days=-3, hours=4),
        PGInterval(months=1, seconds=-0.5),
    ],
)
def test_intervals_come_back_in_every_style(style: str, value: Any, conn: Connection) -> None:
    conn.run(f"SET IntervalStyle TO {style}")
    kept, back, many = (conn.run("SELECT :v - :w, :v, ARRAY[:v, NULL]", v=value, w=value) or [])[0]
    assert kept == timedelta()
    assert many == [back, None]
    months = (vars(value).get("years") or 0) * 12 + (vars(value).get("months") or 0) if hasattr(value, "years") else 0
    parts = one(conn, "SELECT extract(year FROM CAST(:v AS interval)) * 12 + extract(month FROM :v)", v=value)
    assert parts == months
    if not months:
        assert back == value


# Advice


@pytest.mark.parametrize("value", [[1, 2], ["a"], [{"a": 1}], [[1], [2]]])
def test_a_list_for_a_document(value: list[Any], conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE kept (j jsonb)")
    with pytest.raises(DatabaseError, match=r"lightvec\.pg8000\.Jsonb\(\[\.\.\.\]\)"):
        conn.run("INSERT INTO kept VALUES (:v)", v=value)
    assert one(conn, "INSERT INTO kept VALUES (:v) RETURNING j", v=Jsonb(value)) == value


# What the caller registers


class Hue(str, Enum):
    RED = "red"


class Name(str):
    pass


def test_tables_of_pg8000(conn: Connection) -> None:
    assert Name not in conn.py_types
    assert conn.py_types[str]("a") == "a"
    assert conn.py_types[bool](True) == "t"
    assert conn.py_types[list]([1, None]) == '{"1",NULL}'
    assert conn.pg_types[23]("5") == 5
    with pytest.raises(KeyError):
        conn.py_types[object]
    conn.py_types[Name] = conn.py_types[str]
    assert Name in conn.py_types
    assert one(conn, "SELECT :v", v=Name("n")) == "n"


def test_what_the_caller_registers_wins(conn: Connection) -> None:
    assert one(conn, "SELECT :v", v=[7]) == [7]
    conn.register_out_adapter(int, lambda value: f"{value} m")
    conn.register_out_adapter(Hue, lambda value: value.name)
    conn.register_out_adapter(Name, lambda value: None)
    assert one(conn, "SELECT :v", v=7) == "7 m"
    assert one(conn, "SELECT :v", v=[7]) == '{"7 m"}'
    assert one(conn, "SELECT :v", v=(7, 8)) == '("7 m","8 m")'
    assert one(conn, "SELECT :v", v=Hue.RED) == "RED"
    assert one(conn, "SELECT :v", v=Name("n")) is None
    del conn.py_types[int]
    assert one(conn, "SELECT :v", v=7) == 7


def test_how_the_caller_reads_a_vector(conn: Connection) -> None:
    oid = conn.extension().oids["vector"]
    for _ in range(3):
        assert one(conn, "SELECT '[1,2]'::vector") == Vector([1, 2])
    conn.register_in_adapter(oid, str)
    for _ in range(3):
        assert one(conn, "SELECT '[1,2]'::vector") == "[1,2]"
    conn.register_in_adapter(16, str.upper)
    assert one(conn, "SELECT true") == "T"


def test_oids_of_python_types() -> None:
    adapters = Adapters()
    known = {str: 25, dict: 3802, bytes: 17, bool: 16, float: 701, date: 1082, Decimal: 1700, timedelta: 1186}
    assert {typ: adapters.oid_of(typ) for typ in known} == known
    assert [adapters.oid_of(typ) for typ in (int, datetime, Vector, object, "text")] == [None] * 5


def test_setinputsizes(dbapi_conn: dbapi.Connection) -> None:
    cursor = dbapi_conn.cursor()
    cursor.setinputsizes(20, dict, None)
    cursor.execute("SELECT pg_typeof(%s)::text, pg_typeof(%s)::text, pg_typeof(%s)::text", (1, {"a": 1}, 1))
    assert cursor.fetchall() == [("bigint", "jsonb", "smallint")]


def test_psycopg_leaves_lists_of_texts_to_the_server_too(both: Both) -> None:
    with pytest.raises(psycopg.errors.AmbiguousFunction):
        both.theirs.execute("SELECT * FROM unnest(%s)", [["a"]])
    with pytest.raises(DatabaseError, match="is not unique"):
        both.ours.run("SELECT * FROM unnest(:v)", v=["a"])
