"""unload: rows into files, from which load makes the same rows."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import ProgrammingError
from lightvec.wire.identifiers import identifier
from tests.cli.conftest import Run
from tests.names.hostile import FEW

#: Texts of values of every type of PostgreSQL that a column can have, and of pgvector's.
VALUES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "bytea": [r"\x", r"\x00ff5c22", r"\x0a0d2c"],
    '"char"': ["a", " ", '"'],
    "name": ["a", 'b"c'],
    "int2": ["0", "-32768", "32767"],
    "int4": ["0", "-2147483648", "2147483647"],
    "int8": ["0", "-9223372036854775808", "9223372036854775807"],
    "float4": ["0", "-0", "0.1", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "1.17549435e-38"],
    "float8": ["0", "-0", "0.1", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "1e22"],
    "numeric": ["0", "0.00", "1.10", "-123456789012345678901234567890.1234567890", "1e50", "1e-50", "NaN", "Infinity"],
    "numeric(12,3)": ["1.100", "-7"],
    "text": [
        "a",
        " ",
        "a\tb\nc\r\nd\\e\"f'g,h;i",
        "NULL",
        "null",
        r"\N",
        r"\.",
        "{}",
        "[1]",
        "é\u2028🐘",
        "\x01\x7f\x85",
    ],
    "varchar(20)": ["a", " b "],
    "bpchar": ["a", "a  "],
    "char(4)": ["a", "abcd"],
    "json": [
        '{"a" : 1.10, "a": 2e5,  "b":[null,"\\u00e9 \\\\ \\""]}',
        "[1,  2]",
        '"null"',
        "12345678901234567890.10",
        "true",
    ],
    "jsonb": ['{"a": 1.10, "b": [null, 1e30, "x"]}', '"text"', "1.100", "[]", "{}", "false"],
    "jsonpath": ["$.a[*]"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "inet": ["1.2.3.4", "1.2.3.4/24", "::1", "fe80::1/64"],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "date": ["2024-02-29", "0001-01-02", "9999-12-30"],
    "time": ["00:00:00", "24:00:00", "12:34:56.789012"],
    "timetz": ["00:00:00+15:59:59", "12:34:56.789012-08"],
    "timestamp": ["2024-02-29 12:34:56.789012", "0001-01-02 00:00:00", "1999-12-31 23:59:59.999999"],
    "timestamptz": ["2024-02-29 12:34:56.789012+05:30", "1883-11-18 12:00:00-07:52:58"],
    "interval": ["0", "1 year -2 mons +3 days -04:05:06.789", "-1 day +02:03", "infinity", "178000000 years"],
    "bit(3)": ["101", "000"],
    "varbit": ["1", "10101010101"],
    "money": ["1.25", "-92233720368547758.08"],
    "oid": ["0", "4294967295"],
    "xid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "cid": ["4294967295"],
    "tid": ["(4294967295,65535)"],
    "pg_lsn": ["16/B374D848"],
    "pg_snapshot": ["10:20:10,14,15"],
    "txid_snapshot": ["10:20:10,14,15"],
    "int2vector": ["1 2 3"],
    "oidvector": ["1 2 3"],
    "point": ["(0.1,-1e-300)", "(Infinity,NaN)"],
    "line": ["{1,-1,0.1}"],
    "lseg": ["[(0,0),(0.1,1)]"],
    "box": ["(1,1),(0.1,0)"],
    "path": ["[(0,0),(0.1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(0.1,1),(1,0))"],
    "circle": ["<(0.1,0),3>"],
    "tsvector": ["'a':1A 'b c':2,3", "'\"'"],
    "tsquery": ["'a' & !'b' | 'c':*A"],
    "regclass": ["pg_class"],
    "regtype": ["integer"],
    "regproc": ["now"],
    "regprocedure": ["abs(integer)"],
    "regoper": ["pg_catalog.||/"],
    "regoperator": ["+(integer,integer)"],
    "regrole": ["pg_monitor"],
    "regnamespace": ["pg_catalog"],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regcollation": ['"C"'],
    "refcursor": ["a"],
    "int4range": ["empty", "[1,5)", "(,)"],
    "int8range": ["[1,5)"],
    "numrange": ["[1.10,2]", "(,3)"],
    "tsrange": ['["2024-01-01 00:00:00","2024-01-02 00:00:00")'],
    "tstzrange": ['["2024-01-01 00:00:00+00",infinity]'],
    "daterange": ["[2024-01-01,2024-01-02)"],
    "int4multirange": ["{}", "{[1,2),[5,9)}"],
    "int8multirange": ["{[1,2)}"],
    "nummultirange": ["{[1.10,2]}"],
    "tsmultirange": ['{["2024-01-01 00:00:00","2024-01-02 00:00:00")}'],
    "tstzmultirange": ['{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}'],
    "datemultirange": ["{[2024-01-01,2024-01-02)}"],
    "vector(3)": ["[0.1,-0,3.4028235e38]", "[1e-45,1.17549435e-38,16777217]"],
    "halfvec(3)": ["[0.1,-0,65504]", "[6e-8,0.0999,1]"],
    "sparsevec(5)": ["{1:0.1,5:-3.4028235e38}/5", "{}/5"],
    "mood": ["happy", 'so "so"'],
    "pair": ['(1,"a,b")', "(,)"],
    "positive": ["1"],
    "document": ['{"a": 1.10}'],
    "tags": ['{a,"b c"}'],
    "hstore": ['"a"=>"1", "b"=>NULL'],
}
#: Values that only some formats hold.
MORE = {
    "date": ["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"],
    "timestamp": ["infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"],
    "timestamptz": ["-infinity", "0044-03-15 12:00:00+00 BC"],
}
#: The test server has no libxml, the second has no values, and the third a test of its own.
NEITHER = {"xml", "gtsvector", "aclitem"}
TYPES = """
CREATE TYPE mood AS ENUM ('happy', 'so "so"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN tags AS text[];
"""
NO_ARRAYS = {"numeric(12,3)", "varchar(20)", "char(4)", "bit(3)", "vector(3)", "halfvec(3)", "sparsevec(5)"}


@pytest.fixture(scope="module")
def typed_url(make_database: Callable[[], str]) -> str:
    url = make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE EXTENSION hstore")
        conn.run(TYPES)
    return url


def contents(url: str, table: str) -> bytes:
    """All values, bit for bit, in the order of ``id``; of a type without a binary format, as texts."""
    out = io.BytesIO()
    with connect(url) as conn:
        query = f"COPY (SELECT * FROM {identifier(table)} ORDER BY id) TO STDOUT"
        try:
            conn.run(f"{query} (FORMAT binary)", stream=out)
        except ProgrammingError:
            conn.run(query, stream=out)
    return out.getvalue()


def make(url: str, rows: Mapping[str, Sequence[str | None]]) -> None:
    """Tables ``was`` and ``becomes`` with columns of these types, the first one with these values."""
    with connect(url) as conn:
        columns = ", ".join(f"{identifier(f'c{n}')} {kind}" for n, kind in enumerate(rows))
        for table in ("was", "becomes"):
            conn.run(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id int PRIMARY KEY, {columns})")
        for n, (kind, values) in enumerate(rows.items()):
            for place, value in enumerate(values):
                conn.run("INSERT INTO was (id) VALUES (:id) ON CONFLICT DO NOTHING", id=place)
                conn.run(f"UPDATE was SET c{n} = CAST(CAST(:v AS text) AS {kind}) WHERE id = :id", v=value, id=place)


def goes_round(run: Run, url: str, file: str, *options: str, load_options: tuple[str, ...] = ()) -> None:
    outcome = run("unload", "was", file, *options, "--url", url)
    assert outcome.status == 0, outcome
    outcome = run("load", "becomes", file, *(load_options or options), "--url", url)
    assert outcome.status == 0, outcome
    assert contents(url, "becomes") == contents(url, "was")


def test_the_values_are_of_every_type(typed_url: str) -> None:
    with connect(typed_url) as conn:
        found = conn.run(
            "SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typarray <> 0 "
            "AND typnamespace = 'pg_catalog'::regnamespace AND typname !~ '^pg_(attr|class|type|proc|aggr|am|cast)'"
        )
    known = {kind.strip('"').partition("(")[0] for kind in VALUES}
    assert {name for (name,) in found or ()} - known - NEITHER == set()


FILES = ("d.jsonl", "d.csv", "d.parquet")


@pytest.mark.parametrize("file", FILES)
def test_every_type(run: Run, typed_url: str, file: str) -> None:
    more = {} if file == "d.parquet" else MORE
    make(typed_url, {kind: [*values, *more.get(kind, []), None] for kind, values in VALUES.items()})
    goes_round(run, typed_url, file, *(("--null", "NIL") if file == "d.csv" else ()))


@pytest.mark.parametrize("file", FILES)
def test_a_type_without_a_binary_format(run: Run, typed_url: str, file: str) -> None:
    make(typed_url, {"aclitem": ["pg_monitor=r/pg_monitor", None]})
    goes_round(run, typed_url, file)


@pytest.mark.parametrize("file", FILES)
def test_arrays_of_every_type(run: Run, typed_url: str, file: str) -> None:
    rows = {f"{kind}[]": arrays(typed_url, kind) for kind in VALUES if kind not in NO_ARRAYS}
    make(typed_url, {kind: [*texts, "{}", None] for kind, texts in rows.items()})
    goes_round(run, typed_url, file)


def arrays(url: str, kind: str) -> list[str | None]:
    """Arrays of the values as texts: flat, with NULL, nested, and with bounds."""
    elements = [f"CAST('{value.replace(chr(39), chr(39) * 2)}' AS {kind})" for value in VALUES[kind]]
    flat = f"ARRAY[{', '.join(elements)}]::{kind}[]"
    with_null = f"ARRAY[{', '.join([*elements, 'NULL'])}]::{kind}[]"
    nested = flat if kind in ("tags", "int2vector", "oidvector") else f"ARRAY[{flat}, {flat}]"
    with connect(url) as conn:
        (found,) = conn.run(f"SELECT {flat}::text, {with_null}::text, {nested}::text") or []
    return [*found, f"[2:{1 + len(VALUES[kind])}]={found[0]}"]


HELD = (
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "oid",
    "text",
    "varchar(20)",
    "jsonb",
    "vector(3)",
    "halfvec(3)",
)


def test_arrays_of_numpy(run: Run, typed_url: str) -> None:
    # They hold no NULL.
    make(typed_url, {kind: (VALUES[kind] * 20)[:20] for kind in HELD})
    goes_round(run, typed_url, "d.npz")


def test_what_arrays_cannot_hold(run: Run, typed_url: str, tmp_path: Path) -> None:
    others = {*HELD, "bpchar", "char(4)", "name", "json", "document", "positive"}
    make(typed_url, {kind: [] for kind in (*VALUES, "text[]")})
    for n, kind in enumerate((*VALUES, "text[]")):
        outcome = run("unload", "was", "d.npz", "--column", f"c{n}", "--url", typed_url)
        assert outcome.status == (0 if kind in others else 1), kind
        assert kind in others or f"arrays cannot hold c{n}, which is" in outcome.err
        (tmp_path / "d.npz").unlink(missing_ok=True)
    assert list(tmp_path.iterdir()) == []


JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
ROWS = st.fixed_dictionaries(
    {
        "text": st.text(LETTERS, min_size=1).filter(lambda text: text != "NIL"),
        "bytea": st.binary().map(lambda data: "\\x" + data.hex()),
        "float8": st.floats().map(str),
        "float4": st.floats(width=32).map(str),
        "numeric": st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:e}"),
        "jsonb": JSON.map(json.dumps).filter(lambda text: "\\u0000" not in text and "\\ud" not in text),
        "json": JSON.map(lambda value: json.dumps(value, ensure_ascii=False, indent=None)).filter(
            lambda text: "\\u0000" not in text and text.isprintable()
        ),
        "vector(2)": st.lists(FLOATS, min_size=2, max_size=2).map(str),
        "halfvec(2)": st.lists(st.floats(-65504, 65504, width=16), min_size=2, max_size=2).map(str),
        "timestamptz": st.datetimes(timezones=st.just(timezone.utc)).map(str),
        "text[]": st.none(),
    }
)


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=10))
def test_any_values(run: Run, typed_url: str, file: str, rows: list[dict[str, str | None]]) -> None:
    make(typed_url, {kind: [row[kind] for row in rows] for kind in rows[0]})
    goes_round(run, typed_url, file, *(("--null", "NIL") if file == "d.csv" else ()))


@pytest.fixture
def doc(typed_url: str) -> Iterator[str]:
    """A database with a table ``doc`` of a thousand rows."""
    with connect(typed_url) as conn:
        conn.run(
            "CREATE TABLE doc (id int PRIMARY KEY, title text, embedding vector(2), "
            "size int GENERATED ALWAYS AS (char_length(title)) STORED)"
        )
        conn.run(
            "INSERT INTO doc SELECT g, 'title ' || g, ARRAY[g, 0.1]::real[]::vector FROM generate_series(1, 1000) g"
        )
    yield typed_url
    with connect(typed_url) as conn:
        conn.run("DROP TABLE doc CASCADE")


def test_rows_as_people_read_them(run: Run, doc: str, tmp_path: Path) -> None:
    outcome = run("unload", "doc", "-", "--url", doc, "--where", "id <= 2", "--where", "title ~ '2'")
    assert outcome.out == '{"id":2,"title":"title 2","embedding":[2,0.1]}\n'
    assert outcome.err.startswith("1 rows of doc written to -")
    outcome = run("unload", "doc", "-", "--url", doc, "--where", "id=1", "--columns", "title,size", "--format", "csv")
    assert outcome.out == "title,size\r\ntitle 1,7\r\n"
    assert run("unload", "doc", "d.tsv", "--url", doc, "--json").out == '{"table": "doc", "rows": 1000}\n'
    assert (tmp_path / "d.tsv").read_bytes().startswith(b"id\ttitle\tembedding\r\n1\ttitle 1\t[1,0.1]\r\n")


@pytest.mark.parametrize("rows", ["d.jsonl", "d.jsonl.gz"])
def test_vectors_beside_rows(run: Run, doc: str, tmp_path: Path, rows: str) -> None:
    assert run("unload", "doc", rows, "--vectors", "m.npy", "--url", doc).status == 0
    matrix = np.load(tmp_path / "m.npy")
    assert (matrix.shape, matrix.dtype) == ((1000, 2), np.dtype("f4"))
    with connect(doc) as conn:
        before = contents(doc, "doc")
        conn.run("TRUNCATE doc")
    assert run("load", "doc", rows, "--vectors", "m.npy", "--url", doc).status == 0
    assert contents(doc, "doc") == before


def test_vectors_alone(run: Run, doc: str, tmp_path: Path) -> None:
    assert run("unload", "doc", "m.npy", "--url", doc, "--where", "id > 10").status == 0
    assert np.load(tmp_path / "m.npy").shape == (990, 2)


def test_a_packed_file_is_the_same_each_time(run: Run, doc: str, tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        assert run("unload", "doc", name, "--url", doc).status == 0
    packed = (tmp_path / "a.csv.gz").read_bytes()
    assert packed == (tmp_path / "b.csv.gz").read_bytes()
    assert len(gzip.decompress(packed).splitlines()) == 1001


def test_parquet_has_types(run: Run, doc: str, tmp_path: Path) -> None:
    assert run("unload", "doc", "d.parquet", "--url", doc).status == 0
    table = pq.read_table(tmp_path / "d.parquet")
    assert [str(field.type) for field in table.schema] == ["int32", "string", "list<element: float>"]


def test_no_rows(run: Run, doc: str, tmp_path: Path) -> None:
    for name in ("d.jsonl", "d.csv", "d.npz", "d.npy", "d.parquet"):
        outcome = run("unload", "doc", name, "--url", doc, "--where", "id < 0")
        assert outcome.status == 0
        assert outcome.err.startswith(f"0 rows of doc written to {name}")
        assert (tmp_path / name).exists()


#: What the values of a column are, the file, and what is said.
REFUSED = {
    "an empty text": ("text", "''", "d.csv", "c has an empty text, which load reads as NULL: choose another --null"),
    "JSON's null": ("jsonb", "'null'", "d.jsonl", "c has JSON's null, which .jsonl cannot tell from NULL"),
    "NULL in an array": ("int", "NULL", "d.npz", "c has NULLs, which arrays cannot hold"),
    "NULL in a matrix": ("vector(2)", "NULL", "d.npy", "c has NULLs, which arrays cannot hold"),
    "dimensions": ("vector", "'[1]'), ('[1,2]'", "d.npz", "c has vectors of several dimensions"),
    "a sparse matrix": ("sparsevec(2)", "'{}/2'", "d.npy", "arrays cannot hold c, which is sparsevec(2)"),
    "infinity": ("date", "'infinity'", "d.parquet", "c has times that Python does not"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_a_format_cannot_hold(run: Run, typed_url: str, tmp_path: Path, why: str) -> None:
    kind, values, file, told = REFUSED[why]
    (tmp_path / file).write_bytes(b"was")
    with connect(typed_url) as conn:
        conn.run(f"CREATE TABLE odd (c {kind}); INSERT INTO odd VALUES ({values})")
    try:
        outcome = run("unload", "odd", file, "--url", typed_url)
    finally:
        with connect(typed_url) as conn:
            conn.run("DROP TABLE odd")
    assert outcome.status == 1
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(file, b"was")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("d.xyz",), "d.xyz: expected a file that ends in .jsonl, .jsonl.gz, .csv"),
        (("-", "--format", "parquet"), "expected jsonl or csv for standard output, got parquet"),
        (("d.jsonl", "--null", "x"), "--null is for CSV files"),
        (("d.csv", "--vectors", "m.npy"), "--vectors names a .npy file, beside rows as .jsonl"),
        (("d.jsonl", "--vector-column", "embedding"), "--vector-column says what goes into a .npy file"),
        (("d.jsonl", "--where", "x"), "--where 'x': expected COLUMN OP VALUE"),
        (("-", "--json"), "--json is about what was written"),
    ],
)
def test_calls_that_cannot_be(run: Run, doc: str, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    outcome = run("unload", "doc", *arguments, "--url", doc)
    assert (outcome.status, told in outcome.err) == (2, True), outcome
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FEW)
def test_names(run: Run, typed_url: str, name: str) -> None:
    quoted = identifier(name)
    with connect(typed_url) as conn:
        conn.run(f"CREATE TABLE {quoted} (id int, {quoted} text); INSERT INTO {quoted} VALUES (1, 'a')")
    try:
        before = contents(typed_url, name)
        for file in ("d.jsonl", "d.csv", "d.parquet", "d.npz"):
            assert run("unload", "--url", typed_url, "--where", f"{name}='a'", "--", name, file).status == 0
            with connect(typed_url) as conn:
                conn.run(f"TRUNCATE {quoted}")
            assert run("load", "--url", typed_url, "--", name, file).status == 0
            assert contents(typed_url, name) == before
    finally:
        with connect(typed_url) as conn:
            conn.run(f"DROP TABLE {quoted}")


def test_the_mode_of_a_file(run: Run, doc: str, tmp_path: Path) -> None:
    usual = os.umask(0o027)
    try:
        assert run("unload", "doc", "d.jsonl", "--url", doc).status == 0
    finally:
        os.umask(usual)
    file = tmp_path / "d.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o604)
    (tmp_path / "link.jsonl").symlink_to(file)
    assert run("unload", "doc", "link.jsonl", "--url", doc, "--where", "id=1").status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o604
    assert len(file.read_bytes().splitlines()) == 1
    assert (tmp_path / "link.jsonl").is_symlink()


def view(url: str, count: int, event: str) -> None:
    """A view of many rows in which an expression runs late, and only when the rows are written."""
    with connect(url) as conn:
        conn.run(
            f"CREATE OR REPLACE VIEW long AS SELECT g AS id, CASE WHEN g = {count} - 5 AND "
            f"current_query() LIKE '%row_to_json%' THEN {event}::text ELSE 'text ' || g END AS title, "
            f"ARRAY[g, 1]::real[]::vector AS embedding FROM generate_series(1, {count}) g"
        )


def start(url: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lightvec", "unload", "long", *arguments, "--url", url]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **options)


def remains(process: subprocess.Popen[str], folder: Path) -> tuple[str, int, dict[str, bytes]]:
    _, err = process.communicate(timeout=60)
    return err, process.returncode, {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("file", ["d.jsonl", "d.jsonl.gz"])
def test_a_connection_that_is_lost(typed_url: str, tmp_path: Path, file: str) -> None:
    view(typed_url, 20_000, "pg_terminate_backend(pg_backend_pid())")
    (tmp_path / file).write_bytes(b"was")
    err, status, left = remains(start(typed_url, file, "--vectors", "m.npy", cwd=tmp_path), tmp_path)
    assert (status, left) == (1, {file: b"was"})
    assert len(err.splitlines()) == 1
    assert "57P01" in err


def test_an_interrupt(typed_url: str, tmp_path: Path) -> None:
    view(typed_url, 20_000, "pg_sleep(60)")
    process = start(typed_url, "d.jsonl", cwd=tmp_path)
    until = time.monotonic() + 30
    while not any(tmp_path.glob("d.jsonl.*.part")):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert remains(process, tmp_path) == ("lightvec: interrupted: no file was written\n", 1, {})


@pytest.mark.parametrize("file", ["d.jsonl", "d.csv", "d.npz", "d.npy", "d.parquet"])
def test_a_full_disk(typed_url: str, tmp_path: Path, file: str) -> None:
    view(typed_url, 40_000, "NULL")
    (tmp_path / file).write_bytes(b"was")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    err, status, left = remains(start(typed_url, file, cwd=tmp_path, preexec_fn=limit), tmp_path)
    assert (status, left) == (1, {file: b"was"}), err
    assert f"{file} cannot be written: File too large" in err


def test_an_output_that_is_full(run: Run, doc: str) -> None:
    outcome = run("unload", "doc", "/dev/full", "--format", "jsonl", "--url", doc)
    assert outcome.status == 1
    assert "/dev/full cannot be written: No space left on device" in outcome.err


#: Runs a command and prints the most memory that it had, in kB.
PEAK = """
import resource, sys
from lightvec.cli.commands import run
status = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("file", ["d.jsonl", "d.csv.gz", "d.npz", "d.parquet"])
def test_memory_does_not_grow_with_the_rows(typed_url: str, tmp_path: Path, file: str) -> None:
    peaks = []
    for count in (10_000, 200_000):
        view(typed_url, count, "NULL")
        command = [sys.executable, "-c", PEAK, "unload", "long", str(tmp_path / file), "--url", typed_url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr.split()[-1]) // 1024)
    assert peaks[1] < peaks[0] + 24, peaks


def test_a_column_alone(run: Run, typed_url: str, tmp_path: Path) -> None:
    with connect(typed_url) as conn:
        conn.run("CREATE TABLE alone (c int); INSERT INTO alone VALUES (1), (NULL)")
    try:
        for file in FILES:
            assert run("unload", "alone", file, "--url", typed_url).status == 0
            assert run("load", "alone", file, "--url", typed_url).status == 0
        with connect(typed_url) as conn:
            assert conn.run("SELECT count(*), count(c) FROM alone") == [[16, 8]]
            conn.run("DROP TABLE alone")
    finally:
        with connect(typed_url) as conn:
            conn.run("DROP TABLE IF EXISTS alone")


def test_a_view_of_random_rows(run: Run, doc: str, tmp_path: Path) -> None:
    with connect(doc) as conn:
        late = "CASE WHEN current_query() LIKE '%count(%' THEN 10 ELSE 5 END"
        conn.run(f"CREATE VIEW random_rows AS SELECT * FROM doc WHERE id <= {late}")
    assert run("unload", "random_rows", "d.jsonl", "--url", doc).status == 0
    assert len((tmp_path / "d.jsonl").read_bytes().splitlines()) == 5
    for arguments in (["d.npy"], ["d.npz"], ["e.jsonl", "--vectors", "e.npy"]):
        outcome = run("unload", "random_rows", *arguments, "--url", doc)
        assert (outcome.status, "got 5 of 10" in outcome.err) == (1, True)
    assert [each.name for each in tmp_path.iterdir()] == ["d.jsonl"]


def test_two_files_that_fail_together(typed_url: str, tmp_path: Path) -> None:
    view(typed_url, 5_000, "NULL")
    for name in ("d.jsonl.gz", "m.npy"):
        (tmp_path / name).write_bytes(b"was")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (39_000, 39_000))

    process = start(typed_url, "d.jsonl.gz", "--vectors", "m.npy", cwd=tmp_path, preexec_fn=limit)
    err, status, left = remains(process, tmp_path)
    assert (status, left) == (1, {"d.jsonl.gz": b"was", "m.npy": b"was"}), err


def test_a_schema(run: Run, typed_url: str, tmp_path: Path) -> None:
    with connect(typed_url) as conn:
        conn.run("CREATE SCHEMA apart; CREATE TABLE apart.doc (id int); INSERT INTO apart.doc VALUES (7)")
    assert run("unload", "doc", "d.jsonl", "--schema", "apart", "--url", typed_url).status == 0
    assert (tmp_path / "d.jsonl").read_bytes() == b'{"id":7}\n'
    assert "there is no schema x" in run("unload", "doc", "d.jsonl", "--schema", "x", "--url", typed_url).err
    assert (
        "no column x: it has id"
        in run("unload", "doc", "d.jsonl", "--schema", "apart", "--columns", "id,x", "--url", typed_url).err
    )


def test_a_null_that_is_a_value(run: Run, doc: str, tmp_path: Path) -> None:
    outcome = run("unload", "doc", "d.csv", "--null", "7", "--url", doc)
    assert (outcome.status, list(tmp_path.iterdir())) == (1, [])
    assert "id has the text '7', which load reads as NULL: choose another --null, for load too" in outcome.err
