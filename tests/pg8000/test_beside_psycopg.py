"""The same rows by lightvec and by psycopg 3: the same bytes on the server, the same values from it.

Bytes are compared as a binary COPY gives them, which is what each type's send function writes. Where the two drivers
mean to differ, ``DIFFERENCES`` says in what and why.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from itertools import count
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

import numpy as np
import pgvector
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pg8000.types import PGInterval

from lightvec import Bit, HalfVector, Vector
from lightvec.errors import InvalidVector
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import DataError
from lightvec.wire.protocol import BINARY, TEXT
from tests.pg8000.beside import (
    ARRAYS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    KINDS,
    NUMBERS,
    UNSIZED,
    VECTORS,
    Both,
    Kind,
    open_both,
)


@pytest.fixture(scope="module")
def both(make_database: Callable[[], str]) -> Iterator[Both]:
    with open_both(make_database()) as both:
        yield both


by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.declared)

# Writing

#: Types whose columns are tried with plain lists and texts.
PLAIN = ("vector", "halfvec", "bit", "varbit")

Kinds = Sequence[Kind]
Rows = list[tuple[Any, ...]]
Writer = Callable[[Both, str, Kinds, Rows], object]


def names(kinds: Kinds) -> list[str]:
    return [f"c{place}" for place in range(len(kinds))]


def for_ours(kinds: Kinds, rows: Rows) -> list[list[Any]]:
    return [[n, *(kind.for_ours(value) for kind, value in zip(kinds, row, strict=True))] for n, row in enumerate(rows)]


def for_theirs(kinds: Kinds, rows: Rows) -> list[list[Any]]:
    return [
        [n, *(kind.for_theirs(value) for kind, value in zip(kinds, row, strict=True))] for n, row in enumerate(rows)
    ]


def insert(table: str, kinds: Kinds, marks: Sequence[str]) -> str:
    """The statement; an enum's text needs a cast where it was said to be a text."""
    number, *values = marks
    casts = [f"CAST({mark} AS {kind.declared})" for kind, mark in zip(kinds, values, strict=True)]
    return f"INSERT INTO {table} VALUES ({', '.join([number, *casts])})"


def run(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    """Without casts: the column says the type."""
    marks = ["n", *names(kinds)]
    sql = f"INSERT INTO {table} VALUES ({', '.join(f':{mark}' for mark in marks)})"
    for row in for_ours(kinds, rows):
        both.ours.run(sql, **dict(zip(marks, row, strict=True)))


def cursor(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    for row in for_ours(kinds, rows):
        both.cursors.cursor().execute(insert(table, kinds, ["%s"] * len(row)), row)


def executemany(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    both.cursors.cursor().executemany(insert(table, kinds, ["%s"] * (1 + len(kinds))), for_ours(kinds, rows))


def copy_rows(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    both.ours.copy_rows(table, ["n", *names(kinds)], for_ours(kinds, rows))


def copy_text(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    """The range has no binary encoder."""
    both.ours.copy_rows(table, ["n", *names(kinds), "r"], [[*row, None] for row in for_ours(kinds, rows)])


def copy_columns(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
    """Lists of numbers for vectors and texts for bits, and an array that makes the rest of the row mixed."""
    plain = [kind._replace(ours=lambda value: value) if kind.base in PLAIN else kind for kind in kinds]
    _, *values = zip(*for_ours(plain, rows), strict=True)
    both.ours.copy_columns(table, {"n": np.arange(len(rows)), **dict(zip(names(kinds), values, strict=True))})


def theirs(mark: str) -> Writer:
    def execute(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
        for row in for_theirs(kinds, rows):
            both.theirs.execute(insert(table, kinds, [mark] * len(row)), row)

    return execute


def their_copy(form: str) -> Writer:
    def copy(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
        into = f"{table} ({', '.join(['n', *names(kinds)])})"
        with both.theirs.cursor().copy(f"COPY {into} FROM STDIN (FORMAT {form})") as copy:
            if form == "binary":
                copy.set_types(["int4", *(kind.copy_type for kind in kinds)])
            for row in for_theirs(kinds, rows):
                copy.write_row(row)

    return copy


OURS: dict[str, Writer] = {
    writer.__name__: writer for writer in (run, cursor, executemany, copy_rows, copy_text, copy_columns)
}
THEIRS: dict[str, Writer] = {
    "text": theirs("%t"),
    "binary": theirs("%b"),
    "copy text": their_copy("text"),
    "copy binary": their_copy("binary"),
}


def columns(kinds: Kinds) -> str:
    return ", ".join(f"{name} {kind.declared}" for name, kind in zip(names(kinds), kinds, strict=True))


def stored(both: Both, write: Writer, kinds: Kinds, rows: Rows) -> list[bytes]:
    """What the server has after these rows were written."""
    with both.table(columns(kinds)) as table:
        write(both, table, kinds, rows)
        return both.copied(f"SELECT * FROM {table} ORDER BY n")


#: What is stored otherwise than by psycopg's binary COPY: type, writer, reason.
STORED_OTHERWISE = {
    ("float4", "copy text"): "the server reads a decimal that is all but halfway between two float32 as the other one",
    ("float4[]", "copy text"): "as float4",
}


@by_kind
def test_stored_bytes(kind: Kind, both: Both) -> None:
    rows: Rows = [(value,) for value in [*kind.values, None]]
    written = {name: stored(both, write, [kind], rows) for name, write in [*THEIRS.items(), *OURS.items()]}
    expected = written["copy binary"]
    otherwise = {(kind.declared, name) for name, data in written.items() if data != expected}
    assert otherwise == {key for key in STORED_OTHERWISE if key[0] == kind.declared}


RNG = np.random.default_rng(7)
MATRIX = (RNG.standard_normal((40, 768)) * 10.0 ** RNG.integers(-30, 30, (40, 768))).astype("f4")
HALVES = (RNG.standard_normal((40, 768)) * 10.0 ** RNG.integers(-6, 4, (40, 768))).astype("f2")
MOMENTS = np.array([0, -1, 86_400_000_000, -(10**15), 10**15 + 1], "M8[us]")
INTEGERS = np.array([0, 1, -1, 2**15 - 1, -(2**15)])


#: Columns as arrays of every dtype, order and stride.
COLUMNS: list[tuple[str, Any]] = [
    *((declared, INTEGERS.astype(dtype)) for declared in ("int2", "int4", "int8") for dtype in ("i2", ">i4", "i8")),
    ("int8", np.array([2**63 - 1], "u8")),
    ("numeric", INTEGERS),
    ("oid", np.array([0, 2**32 - 1], "u4")),
    ("bool", np.array([True, False])),
    ("float4", np.array([*NUMBERS, *FLOAT32])),
    ("float4", np.array([*NUMBERS, *FLOAT32, np.nan, np.inf], ">f4")),
    ("float8", np.array([*NUMBERS, *FLOAT32, *FLOAT64, np.nan, -np.inf])),
    ("float8", np.array([*NUMBERS, *FLOAT32], "f4")),
    ("float8", np.array([*NUMBERS[:5], *FLOAT16], "f2")),
    ("float8", np.ma.masked_equal([1.5, 2.5], 2.5)),
    ("text", np.array(["a", "é "])),
    ("date", MOMENTS.astype("M8[D]")),
    ("timestamp", MOMENTS),
    ("timestamp", MOMENTS.astype("M8[s]")),
    ("timestamp", np.array(["2024-05-06T12", "NaT"], "M8[us]")),
    ("timestamptz", MOMENTS),
    ("interval", MOMENTS.astype("m8[us]")),
    ("uuid", RNG.integers(0, 256, (9, 16), "u1")),
    ("bit(9)", RNG.integers(0, 2, (20, 9), "u1").astype(bool)),
    *(("vector", MATRIX.astype(dtype)) for dtype in ("f4", ">f4", "f8")),
    ("vector(3)", np.arange(-6, 6).reshape(4, 3)),
    ("vector", MATRIX.T[::5, ::-2]),
    ("vector", np.array([[*NUMBERS, *FLOAT32]])),
    *(("halfvec(768)", HALVES.astype(dtype)) for dtype in ("f2", ">f2", ">f4", "f8")),
    ("halfvec", np.array([[*NUMBERS[:5], *FLOAT16]])),
    ("sparsevec(768)", np.where(MATRIX > 0, MATRIX, 0)),
]
MATRICES = [(declared, array) for declared, array in COLUMNS if array.ndim == 2 and declared != "uuid"]


def array_id(value: Any) -> str:
    return value if isinstance(value, str) else str(value.dtype.str)


@pytest.mark.parametrize(("declared", "array"), COLUMNS, ids=array_id)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "mixed"])
def test_stored_bytes_of_arrays(whole: bool, declared: str, array: Any, both: Both) -> None:
    """By themselves and beside a list, which are two ways."""

    def copy_array(both: Both, table: str, kinds: Kinds, rows: Rows) -> None:
        numbers = np.arange(len(array))
        both.ours.copy_columns(table, {"n": numbers if whole else numbers.tolist(), "c0": array})

    assert stored(both, copy_array, [Kind(declared, [])], []) == stored_by_psycopg(both, declared, array)


@pytest.mark.parametrize(("declared", "array"), MATRICES, ids=array_id)
@pytest.mark.parametrize("write", [run, copy_rows, copy_text])
def test_stored_bytes_of_rows_of_a_matrix(write: Writer, declared: str, array: Any, both: Both) -> None:
    ours = stored(both, write, [Kind(declared, [])], [(row,) for row in array])
    assert ours == stored_by_psycopg(both, declared, array)


def stored_by_psycopg(both: Both, declared: str, array: Any) -> list[bytes]:
    rows: Rows = [(value,) for value in as_python(declared, array)]
    return stored(both, THEIRS["copy binary"], [Kind(declared, [])], rows)


def as_python(declared: str, array: Any) -> list[Any]:
    """The rows of an array as a user of psycopg has them."""
    base = declared.partition("(")[0]
    matrices: dict[str, Callable[[Any], Any]] = {
        "vector": pgvector.Vector,
        "halfvec": pgvector.HalfVector,
        "sparsevec": pgvector.SparseVector,
        "bit": pgvector.Bit,
        "uuid": lambda row: UUID(bytes=row.tobytes()),
        "timestamptz": lambda value: value.item().replace(tzinfo=timezone.utc),
    }
    return [*map(matrices[base], array)] if base in matrices else list(array.tolist())


def test_other_nans(both: Both) -> None:
    """A NaN with a sign and a number is kept by what is binary, and is PostgreSQL's own NaN from a text."""
    kind, (other,) = Kind("float8", []), struct.unpack("!d", bytes.fromhex("fff8000000000007"))
    as_text, as_binary = (stored(both, THEIRS[name], [kind], [(other,)]) for name in ("copy text", "copy binary"))
    assert as_text != as_binary
    for name, write in [*THEIRS.items(), *OURS.items()]:
        by_binary = name in ("binary", "copy binary", "copy_rows", "copy_columns")
        assert stored(both, write, [kind], [(other,)]) == (as_binary if by_binary else as_text), name


@pytest.mark.parametrize("name", [*OURS])
@pytest.mark.parametrize("word", ["sNaN", "-NaN", "NaN123"])
def test_other_nans_of_decimals(word: str, name: str, both: Both) -> None:
    """psycopg's text refuses the last one."""
    for declared, value, plain in (("numeric", Decimal(word), Decimal("NaN")), ("numeric[]", [Decimal(word)], None)):
        kind = Kind(declared, [])
        expected = stored(both, THEIRS["copy binary"], [kind], [(plain or [Decimal("NaN")],)])
        assert stored(both, OURS[name], [kind], [(value,)]) == expected


@pytest.mark.parametrize("name", [*OURS])
def test_lists_of_empty_lists(name: str, both: Both) -> None:
    """psycopg's COPY refuses them; as a parameter they are an empty array."""
    rows: Rows = [([[]],), ([[], []],)]
    kind = Kind("int4[]", [])
    assert stored(both, OURS[name], [kind], rows) == stored(both, THEIRS["binary"], [kind], rows)


@pytest.mark.parametrize("name", [*OURS])
def test_floats_as_numeric(name: str, both: Both) -> None:
    """With the digits that the server gives a float8; psycopg's COPY refuses them."""
    rows: Rows = [(number,) for number in (*NUMBERS, *FLOAT32, 0.1 + 0.2, 1e22, 123456789.123456789, -1e-20)]
    kind = Kind("numeric", [])
    assert stored(both, OURS[name], [kind], rows) == stored(both, THEIRS["binary"], [kind], rows)


def test_numbers_that_are_too_small_for_float4(both: Both) -> None:
    """The server refuses them as parameters; a binary COPY rounds them to zero before it sees them."""
    kind, rows = Kind("float4", []), [(1e-46,)]
    for name, write in [*THEIRS.items(), *OURS.items()]:
        if name not in ("copy binary", "copy_rows", "copy_columns", "copy_text"):
            with pytest.raises((psycopg.DataError, DataError), match="out of range"):
                stored(both, write, [kind], rows)
    for name in ("copy_rows", "copy_columns", "copy_text"):
        assert stored(both, OURS[name], [kind], rows) == stored(both, THEIRS["copy binary"], [kind], rows)


# Reading

Reader = Callable[[Both, str], list[tuple[Any, ...]]]
_numbers = count(1)


def run_first(both: Both, query: str) -> list[tuple[Any, ...]]:
    """A statement that was not run before: vectors come as text."""
    return [tuple(row) for row in both.ours.run(f"{query} -- {next(_numbers)}") or ()]


def run_again(both: Both, query: str) -> list[tuple[Any, ...]]:
    """From the second run on, vectors come as binary."""
    return [[tuple(row) for row in both.ours.run(query) or ()] for _ in range(2)][1]


def stream(both: Both, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in both.ours.stream(query, batch=2)]


def fetch_columns(both: Both, query: str) -> list[tuple[Any, ...]]:
    """Arrays and matrices where there are no NULLs."""
    return [*zip(*map(items, both.ours.fetch_columns(query).values()), strict=True)]


def items(column: Any) -> list[Any]:
    if isinstance(column, list):
        return column
    kinds = {"float32": Vector, "float16": HalfVector}
    return list(column.tolist()) if column.ndim == 1 else [kinds[column.dtype.name](row) for row in column]


def fetch_columns_without_numpy(both: Both, query: str) -> list[tuple[Any, ...]]:
    with patch.dict(sys.modules, {"numpy": None}):
        columns = both.ours.fetch_columns(query)
    assert all(type(values) is list for values in columns.values())
    return [*zip(*columns.values(), strict=True)]


def fetchall(both: Both, query: str) -> list[tuple[Any, ...]]:
    return both.cursors.cursor().execute(query).fetchall()


def server_cursor(both: Both, query: str) -> list[tuple[Any, ...]]:
    """From the second page on, vectors come as binary."""
    with both.cursors.cursor(f"c{next(_numbers)}", withhold=True) as cursor:
        cursor.itersize = 2  # type: ignore[attr-defined]
        return cursor.execute(query).fetchall()


READERS: dict[str, Reader] = {
    reader.__name__: reader
    for reader in (run_first, run_again, stream, fetch_columns, fetch_columns_without_numpy, fetchall, server_cursor)
}


def read_by_psycopg(both: Both, query: str, *, binary: bool) -> list[tuple[Any, ...]]:
    with both.theirs.cursor(binary=binary) as cursor:
        return cursor.execute(query).fetchall()


def bits(value: Any) -> str:
    """A bit string's text."""
    if isinstance(value, bytes):
        return Bit.from_binary(value).to_text() if any(value[:4]) else ""
    return value.to_text() if isinstance(value, Bit) else str(value)


def as_interval(value: timedelta | PGInterval) -> timedelta:
    """psycopg's rule for months and years."""
    if isinstance(value, timedelta):
        return value
    part = {name: number or 0 for name, number in vars(value).items()}
    days = 365 * part["years"] + 30 * part["months"] + part["days"]
    return timedelta(days, hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"])


def bounds(value: Any) -> tuple[Any, ...]:
    """Of a range."""
    empty = value.is_empty if hasattr(value, "is_empty") else value.isempty
    return () if empty else (value.lower, value.upper, value.bounds)


class Difference(NamedTuple):
    """In what the drivers mean to differ, and the form in which they are equal all the same."""

    reason: str
    form: Callable[[Any], Any]


#: By type, of an array its own or its elements'. Where the form is not applied, the values differ (a test says so).
DIFFERENCES = {
    "float4": Difference(
        "as text the shortest decimal, as binary float32 widened", lambda value: struct.pack("!f", value)
    ),
    "timestamptz": Difference(
        "psycopg's tzinfo is the session's zone, here the offset of the moment", datetime.isoformat
    ),
    "interval": Difference("pg8000 keeps months and years, psycopg takes 30 and 365 days for them", as_interval),
    "int4range": Difference("each has a Range of its own", bounds),
    "mood": Difference(
        "psycopg gives an enum that is not registered as bytes where it comes as binary",
        lambda value: value if isinstance(value, str) else value.decode(),
    ),
    "bit": Difference("pgvector leaves it text or bytes, here it is Bit", bits),
    "varbit": Difference("psycopg gives it as bytes where it comes as binary", bits),
    "vector": Difference("each has a class of its own", lambda value: value.to_binary()),
    "halfvec": Difference("each has a class of its own", lambda value: value.to_binary()),
    "sparsevec": Difference("each has a class of its own", lambda value: value.to_binary()),
}
NONE = Difference("", lambda value: value)


def exact(value: Any, form: Callable[[Any], Any] = NONE.form) -> Any:
    """What is equal only for values of the same type and the same bits, in the form that the drivers share."""
    if isinstance(value, (list, tuple)):
        return type(value), [exact(item, form) for item in value]
    value = value if value is None else form(value)
    if isinstance(value, float):
        return float, struct.pack("!d", value)
    if isinstance(value, Decimal):
        return Decimal, value.as_tuple()
    if isinstance(value, datetime):
        return datetime, value.isoformat(), repr(value.tzinfo)
    if isinstance(value, dict):
        return dict, [(key, exact(item)) for key, item in value.items()]
    return type(value), value


def exact_rows(kinds: Kinds, rows: Rows, *, forms: bool = True) -> list[list[Any]]:
    """The rows in what they must be equal in."""

    def cell(kind: Kind, value: Any) -> Any:
        whole = DIFFERENCES.get(kind.declared) if kind.declared.endswith("[]") else None
        if not forms:
            return exact(value)
        if whole is not None:
            return value if value is None else whole.form(value)
        return exact(value, DIFFERENCES.get(kind.base, NONE).form)

    return [[cell(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in rows]


@by_kind
def test_read_values(kind: Kind, both: Both) -> None:
    rows: Rows = [(value,) for value in [*kind.values, None]]
    with both.table(columns([kind])) as table:
        THEIRS["copy binary"](both, table, [kind], rows)
        for where in ("", "WHERE c0 IS NOT NULL"):
            query = f"SELECT c0 FROM {table} {where} ORDER BY n"
            expected = exact_rows([kind], read_by_psycopg(both, query, binary=False))
            assert exact_rows([kind], read_by_psycopg(both, query, binary=True)) == expected
            assert len(expected) == len(rows) - bool(where)
            for name, read in READERS.items():
                assert exact_rows([kind], read(both, query)) == expected, name
        copy = f"COPY {table} TO STDOUT (FORMAT binary)"
        both.ours.run(copy, stream=(out := BytesIO()))
        assert out.getvalue() == b"".join(both.copied(f"TABLE {table}"))


@pytest.mark.parametrize("kind", VECTORS, ids=lambda kind: kind.declared)
def test_both_formats_are_read(kind: Kind, both: Both) -> None:
    """What the readers are named after."""
    with both.table(columns([kind])) as table:
        for read, wanted in ((run_first, TEXT), (run_again, BINARY)):
            read(both, f"SELECT c0 FROM {table}")
            assert [column["format"] for column in both.ours.columns or ()] == [wanted]


mix = st.lists(st.sampled_from([*UNSIZED, *ARRAYS]), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mixes(data: st.DataObject, both: Both) -> None:
    """Tables of several types, some of them without a binary encoder, with random values."""
    kinds = data.draw(mix)
    rows = data.draw(st.lists(st.tuples(*(kind.random | st.none() for kind in kinds)), min_size=1, max_size=4))
    expected = stored(both, THEIRS["copy binary"], kinds, rows)
    for name, write in [*THEIRS.items(), *OURS.items()]:
        assert stored(both, write, kinds, rows) == expected, name
    with both.table(columns(kinds)) as table:
        THEIRS["copy binary"](both, table, kinds, rows)
        query = f"SELECT {', '.join(names(kinds))} FROM {table} ORDER BY n"
        values = exact_rows(kinds, read_by_psycopg(both, query, binary=False))
        assert exact_rows(kinds, read_by_psycopg(both, query, binary=True)) == values
        for name, read in READERS.items():
            assert exact_rows(kinds, read(both, query)) == values, name


#: What comes from the server, though nobody writes it so: type and expression.
EXPRESSIONS = [
    *(("interval", f"interval '{text}'") for text in ("-1 second", "-90 minutes", "-0.000001", "1 day -00:00:01")),
    *(
        ("interval", f"interval '{text}'")
        for text in ("-1 day +00:00:01", "123456:00:00.000001", "100 years", "-1 mon")
    ),
    *(("interval", f"interval '{text}'") for text in ("1 year 2 mons -3 days -00:00:01.5", "1 year -1 day 12:00")),
    ("interval", "timestamp '2024-01-01 12:00' - timestamp '2024-01-01 12:30'"),
    ("interval[]", "ARRAY[interval '-1 second', '-1 mon']"),
    *(("timestamptz", f"timestamptz '{text}'") for text in ("1800-01-01", "1800-01-01 00:00:00.5 BST", "1942-06-01")),
    ("timestamptz[]", "ARRAY[timestamptz '1800-01-01', NULL]"),
    *(("inet", f"inet '{text}'") for text in ("10.0.0.0/24", "10.0.0.1/32", "::/0", "::ffff:10.0.0.1")),
    ("int4[]", "'[0:2]={1,2,3}'::int4[]"),
    ("int2[]", "'1 2'::int2vector::int2[]"),
    ("text[]", """'[-1:0][5:6]={{"[1:2]={","}"},{NULL,"NULL"}}'::text[]"""),
    ("vector[]", """'[0:1]={"[1,2]",NULL}'::vector[]"""),
    ("interval[]", "'[0:0]={-1 second}'::interval[]"),
    *(("numeric", f"numeric '{text}'") for text in ("NaN", "1e-16383", "0.000", "-0.0")),
    ("varbit", "varbit ''"),
    ("sparsevec", "sparsevec '{}/1000000000'"),
    ("jsonb", """jsonb '{"a": 1.50, "b": 123456789012345678901234567890, "c": 1e-7}'"""),
]


@pytest.mark.parametrize(("declared", "expression"), EXPRESSIONS)
def test_read_expressions(declared: str, expression: str, both: Both) -> None:
    kinds, query = [Kind(declared, [])], f"SELECT {expression}"
    expected = exact_rows(kinds, read_by_psycopg(both, query, binary=True))
    assert exact_rows(kinds, read_by_psycopg(both, query, binary=False)) == expected
    for name, read in READERS.items():
        assert exact_rows(kinds, read(both, query)) == expected, name


@pytest.mark.parametrize(
    "expression",
    [
        *("0.1::float4", "1e-45::float4", "'{0.1,16777216}'::float4[]"),
        *("ROW(1, 'a', NULL, '')", "ROW(NULL, NULL)", "ROW()", "ROW(interval '1 s')", r"""ROW('a"b\c,(d)', ' "" ')"""),
    ],
)
def test_read_as_psycopg_reads_text(expression: str, both: Both) -> None:
    """These psycopg reads otherwise where they come as binary."""
    expected = exact(read_by_psycopg(both, f"SELECT {expression}", binary=False))
    assert exact(run_first(both, f"SELECT {expression}")) == expected


@pytest.mark.parametrize("declared", DIFFERENCES)
def test_the_differences_are_there(declared: str, both: Both) -> None:
    """None of them is stated without need."""
    kind = next(kind for kind in KINDS if kind.declared == declared)
    with both.table(columns([kind])) as table:
        THEIRS["copy binary"](both, table, [kind], [(value,) for value in kind.values])
        more = [f"SELECT {expression}" for of, expression in EXPRESSIONS if of == declared]
        query = " UNION ALL ".join([f"(SELECT c0 FROM {table} ORDER BY n)", *more])
        ours = exact(run_again(both, query))
        assert [ours] * 2 != [exact(read_by_psycopg(both, query, binary=binary)) for binary in (False, True)]


def test_months_are_kept(both: Both) -> None:
    query = "SELECT interval '1 year 2 mons -3 days -10:00:01.5'"
    assert both.ours.run(query) == [[PGInterval(years=1, months=2, days=-3, hours=-10, seconds=-1.5)]]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        *((f"{declared} 'infinity'", "infinity") for declared in ("date", "timestamp", "timestamptz")),
        *((f"{declared} '-infinity'", "-infinity") for declared in ("date", "timestamp", "timestamptz")),
        ("date '0044-03-15 BC'", "0044-03-15 BC"),
        ("date '10000-01-01'", "10000-01-01"),
        ("timestamp '0044-03-15 12:00:00.5 BC'", "0044-03-15 12:00:00.5 BC"),
        ("timestamp '294276-12-31 23:59:59.999999'", "294276-12-31 23:59:59.999999"),
        ("timestamptz '0044-03-15 00:00+00 BC'", "0044-03-15 05:53:28+05:53:28 BC"),
        ("timestamptz '9999-12-31 23:00+00'", "10000-01-01 04:30:00+05:30"),
    ],
)
def test_dates_that_python_cannot_hold(expression: str, text: str, both: Both) -> None:
    """They are texts, as pg8000 gives them; psycopg raises an error."""
    with pytest.raises(psycopg.DataError, match=r"too (large|small)"):
        read_by_psycopg(both, f"SELECT {expression}", binary=False)
    for name, read in READERS.items():
        assert read(both, f"SELECT {expression}") == [(text,)], name


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("B''", InvalidVector),  # Bit has a bit at least; psycopg's is a text
        ("interval 'infinity'", DataError),  # psycopg reads its text as 0
        ("time '24:00'", DataError),  # so does psycopg's
    ],
)
def test_values_that_are_not_read(expression: str, error: type[Exception], both: Both) -> None:
    for read in READERS.values():
        with pytest.raises(error):
            read(both, f"SELECT {expression}")


@pytest.mark.parametrize(
    "expression",
    ["'abcdef'::bytea", r"'\x00ff5c41276162'::bytea", "''::bytea", r"""'{"\\x00ff5c41",NULL}'::bytea[]"""],
)
@pytest.mark.parametrize("style", ["hex", "escape"])
def test_bytea_output(style: str, expression: str, both: Both) -> None:
    query = f"SELECT {expression}"
    ours = both.ours.run(query, settings={"bytea_output": style})
    assert ours == [list(row) for row in read_by_psycopg(both, query, binary=True)]


STYLES = ("postgres", "postgres_verbose", "sql_standard", "iso_8601")
SPANS = [
    f"interval '{text}'"
    for text in (
        *("-1 second", "-10:20:30", "0", "1 day", "-3 days", "2 mons", "-1 year -2 mons", "1 year 2 mons", "100:00"),
        *("1 year -3 days -00:00:01.5", "-3 days -04:05:06", "-3 days 04:05:06", "3 days -04:05:06.000001", "-0.5 s"),
        *("3 days 04:05:06.25", "-1 year 3 days", "1 mon -1 day 00:00:01", "-1 mon -1 day -00:00:01", "-5 min"),
    )
]
DAYS = ("date '2024-05-06'", "timestamp '2024-05-06 01:02:03.5'", "timestamptz '2024-05-06 01:02:03.5'")


@pytest.mark.parametrize(
    ("setting", "style", "expression"),
    [
        *(("IntervalStyle", style, span) for style in STYLES for span in SPANS),
        *(("DateStyle", "ISO, DMY", expression) for expression in DAYS),
    ],
)
def test_other_styles(setting: str, style: str, expression: str, both: Both) -> None:
    kinds, query = [Kind(expression.split()[0], [])], f"SELECT {expression} -- {style}"
    both.theirs.execute(f"SET {setting} TO '{style}'")  # The style says how an interval's text is read, too.
    ours = [tuple(row) for row in both.ours.run(query, settings={setting: style}) or ()]
    assert exact_rows(kinds, ours) == exact_rows(kinds, read_by_psycopg(both, query, binary=True))


@pytest.mark.parametrize(
    ("setting", "style", "expression"),
    [
        *(("DateStyle", style, day) for style in ("SQL, DMY", "SQL, MDY", "German", "Postgres, MDY") for day in DAYS),
    ],
)
def test_styles_that_are_not_guessed_at(setting: str, style: str, expression: str, both: Both) -> None:
    with pytest.raises(DataError, match=f"SET {setting}"):
        both.ours.run(f"SELECT {expression}", settings={setting: style})


def test_a_converter_of_the_callers_own_stays(url: str) -> None:
    with connect(url) as conn:
        conn.register_in_adapter(1186, lambda text: f"his {text}")
        assert conn.run("SELECT interval '-1 second'") == [["his -00:00:01"]]
