"""load: files in."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightvec.cli import load
from lightvec.pg8000 import connect
from lightvec.wire.copy import load as copying
from tests.cli.conftest import Run
from tests.cli.rows import ROWS, contents, expected, json_lines
from tests.names.hostile import FEW


@pytest.fixture
def doc(run: Run, empty_url: str) -> str:
    """A database with an empty table ``doc``."""
    assert run("init-db", "--url", empty_url, "--table", "doc", "--dimensions", 3, "--column", "title:text").status == 0
    return empty_url


def test_json_lines(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS) + b"\n\n")
    outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert (outcome.status, outcome.out) == (0, "")
    assert "3 rows loaded into doc" in outcome.err
    assert contents(doc) == expected()


def test_json_lines_in_gzip(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS), mtime=0))
    outcome = run("load", "doc", "d.jsonl.gz", "--url", doc, "--json")
    assert json.loads(outcome.out) == {"table": "doc", "rows": 3}
    assert contents(doc) == expected()


def test_csv(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('title,embedding\na,"[1,0,0]"\n"quote "" and, comma","[0,1,0]"\n,"[0,0.6,0.8]"\n')
    assert run("load", "doc", "d.csv", "--url", doc).status == 0
    assert contents(doc) == expected()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8"])
def test_a_matrix(run: Run, doc: str, tmp_path: Path, dtype: str) -> None:
    matrix = np.arange(1500, dtype=dtype).reshape(500, 3)
    np.save(tmp_path / "m.npy", matrix)
    assert run("load", "doc", "m.npy", "--url", doc).status == 0
    assert [row[1] for row in contents(doc)] == matrix.tolist()


def test_rows_with_their_vectors_in_a_matrix(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{"title": row["title"]} for row in ROWS]))
    np.save(tmp_path / "m.npy", np.array([row["embedding"] for row in ROWS], "f4"))
    assert run("load", "doc", "d.jsonl", "--vectors", "m.npy", "--url", doc).status == 0
    assert contents(doc) == expected()


BAD = {
    "unknown column": (json_lines([*ROWS, {"titel": "x"}]), "'titel'"),
    "wrong dimensions": (json_lines([*ROWS, {"embedding": [1, 2]}]), "expected 3 dimensions, not 2"),
    "not a number": (json_lines([*ROWS, {"embedding": [1, 2, float("nan")]}]), "NaN not allowed in vector"),
    "no JSON": (json_lines(ROWS) + b"{nonsense\n", "line 4: expected a JSON object"),
    "no object": (json_lines(ROWS) + b"[1]\n", "line 4: expected a JSON object with a value for a column, got list"),
    "no columns": (json_lines([*ROWS, {}]), "line 4: expected a JSON object with a value for a column"),
    "too deep": (json_lines(ROWS) + b'{"title": ' + b"[" * 100_000 + b"\n", "line 4: expected a JSON object"),
    "a list as text": (json_lines([*ROWS, {"title": ["a", "b"]}]), "line 4: doc.title is text, got list"),
    "an object as text": (json_lines([*ROWS, {"title": {"a": 1}}]), "line 4: doc.title is text, got dict"),
    "wrong type": (json_lines([*ROWS, {"id": "seven"}]), 'type bigint: "seven"'),
}


@pytest.mark.parametrize("case", BAD)
def test_all_or_nothing(run: Run, doc: str, tmp_path: Path, case: str) -> None:
    body, told = BAD[case]
    (tmp_path / "d.jsonl").write_bytes(body)
    outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert outcome.status in (1, 2)
    assert told in outcome.err
    assert contents(doc) == []


def test_an_error_after_many_rows_keeps_none(run: Run, doc: str, tmp_path: Path) -> None:
    rows = [{"embedding": [i, 1, 1]} for i in range(1000)] + [{"embedding": "nonsense"}]
    (tmp_path / "d.jsonl").write_bytes(json_lines(rows))
    assert run("load", "doc", "d.jsonl", "--url", doc).status == 1
    assert contents(doc) == []


def test_files_that_cannot_be_read(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.xml").write_text("<x/>")
    (tmp_path / "half.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS * 100))[:-20])
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS * 100))[:10] + b"\xff" * 40)
    (tmp_path / "no.npy").write_text("nonsense")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "twice.csv").write_text("title,title\na,b\n")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    (tmp_path / "short.csv").write_text("title,embedding\nonly one\n")
    for name, told in {
        "d.xml": "expected a file that ends in .jsonl, .jsonl.gz, .csv, .vec",
        "half.jsonl.gz": "expected a whole gzip file",
        "bad.jsonl.gz": "expected a whole gzip file",
        "no.npy": "expected a .npy file",
        "empty.npy": "expected a .npy file",
        "twice.csv": "got the heading 'title' more than once",
        "flat.npy": "one row a vector",
        "short.csv": "expected 2 cells",
        "missing.jsonl": "does not exist",
    }.items():
        outcome = run("load", "doc", name, "--url", doc)
        assert (outcome.status, told in outcome.err) == (2, True), outcome
    assert contents(doc) == []


@pytest.fixture
def kinds(run: Run, empty_url: str) -> str:
    """A database with a table of columns of many types, without a primary key."""
    with connect(empty_url) as conn:
        conn.run(
            "CREATE EXTENSION vector; CREATE DOMAIN document AS jsonb; "
            "CREATE TABLE kinds (number numeric, float float8, j jsonb, k json, d document, "
            "tags text[], code varchar(9), at timestamptz, day date, embedding vector(2))"
        )
    return empty_url


def stored(url: str, column: str) -> list[Any]:
    with connect(url) as conn:
        return [row[0] for row in conn.run(f"SELECT {column} FROM kinds") or []]


@pytest.mark.parametrize("column", ["j", "k", "d"])
@pytest.mark.parametrize("value", [[], {}, [1, 2], {"a": [0.5, {"b": None}]}, 5, 0.25, True, "str", '"', "[1]"])
def test_json_is_stored_as_it_is(run: Run, kinds: str, tmp_path: Path, column: str, value: Any) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{column: value}, {column: None}]))
    outcome = run("load", "kinds", "d.jsonl", "--url", kinds)
    assert outcome.status == 0, outcome.err
    assert stored(kinds, column) == [value, None]


def test_json_in_the_cell_of_a_csv_file(run: Run, kinds: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('j,code\n"{""a"": [1]}",x\n"""text""",y\n,z\n')
    assert run("load", "kinds", "d.csv", "--url", kinds).status == 0
    assert stored(kinds, "j") == [{"a": [1]}, "text", None]
    (tmp_path / "bad.csv").write_text("j\nnonsense\n")
    outcome = run("load", "kinds", "bad.csv", "--url", kinds)
    assert (outcome.status, "json" in outcome.err) == (1, True)


@pytest.mark.parametrize("number", ["0.1234567890123456789012345", "12345678901234567890123.5", "1" * 40, "-0.10"])
def test_a_number_keeps_its_digits(run: Run, kinds: str, tmp_path: Path, number: str) -> None:
    (tmp_path / "d.jsonl").write_text(f'{{"number": {number}, "float": 0.1, "embedding": [0.5, 1e-3]}}\n')
    outcome = run("load", "kinds", "d.jsonl", "--url", kinds)
    assert outcome.status == 0, outcome.err
    assert stored(kinds, "number::text") == [number]
    assert stored(kinds, "float") == [0.1]


def test_an_array_column(run: Run, kinds: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{"tags": ["a", "b c"]}]))
    assert run("load", "kinds", "d.jsonl", "--url", kinds).status == 0
    assert stored(kinds, "tags") == [["a", "b c"]]


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (json_lines(ROWS), ()),
        (gzip.compress(json_lines(ROWS), mtime=0), ("--format", "jsonl.gz")),
        (b'title,embedding\na,"[1,0,0]"\n"quote "" and, comma","[0,1,0]"\n,"[0,0.6,0.8]"\n', ("--format", "csv")),
    ],
)
def test_standard_input(
    run: Run, doc: str, monkeypatch: pytest.MonkeyPatch, body: bytes, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    outcome = run("load", "doc", "-", *arguments, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == expected()


def test_a_format_that_the_name_does_not_tell(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes(json_lines(ROWS))
    assert run("load", "doc", "d.txt", "--format", "jsonl", "--url", doc).status == 0
    assert contents(doc) == expected()


def test_rows_and_matrix_that_do_not_belong_together(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{"title": "x"}] * 3))
    for count in (2, 4):
        np.save(tmp_path / "m.npy", np.ones((count, 3)))
        assert run("load", "doc", "d.jsonl", "--vectors", "m.npy", "--url", doc).status == 1
    assert contents(doc) == []


def test_no_such_table(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    outcome = run("load", "dok", "d.jsonl", "--url", doc)
    assert outcome.status == 1
    assert "there is no table dok; the tables there are: doc" in outcome.err


def test_loading_into_columns_named_as_something_else_is(run: Run, empty_url: str, tmp_path: Path) -> None:
    columns = ("--column", "save:text", "--column", "save_:text", "--column", "Meta:text")
    run("init-db", "--url", empty_url, "--table", "odd", "--dimensions", 2, *columns)
    row = {"save": "a", "save_": "b", "Meta": "c", "embedding": [1, 0]}
    (tmp_path / "d.jsonl").write_bytes(json_lines([row]))
    assert run("load", "odd", "d.jsonl", "--url", empty_url).status == 0
    with connect(empty_url) as conn:
        assert conn.run('SELECT save, save_, "Meta" FROM odd') == [["a", "b", "c"]]


# Other formats


def test_arrays_by_column(run: Run, doc: str, tmp_path: Path) -> None:
    matrix = np.arange(30, dtype="f8").reshape(10, 3)
    np.savez(tmp_path / "d.npz", embedding=matrix, title=np.array([f"t{i}" for i in range(10)]), id=np.arange(5, 15))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == [[f"t{i}", row.tolist()] for i, row in enumerate(matrix)]


def test_arrays_by_other_names(run: Run, doc: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", np.eye(3), more=np.zeros(3))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert (outcome.status, "--map arr_0:COLUMN" in outcome.err or "--map more:COLUMN" in outcome.err) == (1, True)
    outcome = run("load", "doc", "d.npz", "--map", "arr_0:embedding", "--only", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert [row[1] for row in contents(doc)] == np.eye(3).tolist()


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> None:
    pq.write_table(pa.table(columns), path, **options)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.large_list(pa.float32())]
)
def test_parquet(run: Run, doc: str, tmp_path: Path, kind: Any) -> None:
    """Row groups of two, vectors as lists and as lists of a fixed size."""
    rows = [*ROWS, *ROWS]
    vectors = pa.array([row["embedding"] for row in rows], kind)
    parquet(tmp_path / "d.parquet", {"title": [row["title"] for row in rows], "embedding": vectors}, row_group_size=2)
    outcome = run("load", "doc", "d.parquet", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert "6 rows loaded into doc" in outcome.err
    assert contents(doc) == expected() * 2


def test_parquet_with_uneven_lists_and_nulls(run: Run, doc: str, tmp_path: Path) -> None:
    parquet(tmp_path / "null.parquet", {"embedding": [[1.0, 2.0, 3.0], None]})
    assert run("load", "doc", "null.parquet", "--url", doc).status == 0
    assert contents(doc) == [[None, [1, 2, 3]], [None, None]]
    parquet(tmp_path / "d.parquet", {"embedding": [[1.0, 2.0, 3.0], [1.0, 2.0]]})
    outcome = run("load", "doc", "d.parquet", "--url", doc)
    assert (outcome.status, "d.parquet, row 2: column 'embedding': expected 3 dimensions" in outcome.err) == (
        1,
        True,
    )
    parquet(tmp_path / "e.parquet", {"embedding": [[1.0, 2.0, 3.0], [1.0, None, 2.0]]})
    outcome = run("load", "doc", "e.parquet", "--url", doc)
    assert (outcome.status, "row 2: column 'embedding'" in outcome.err) == (1, True)
    assert len(contents(doc)) == 2


def test_parquet_of_many_types(run: Run, kinds: str, tmp_path: Path) -> None:
    moment = datetime(2024, 2, 29, 12, 30, 1, 250, tzinfo=timezone.utc)
    columns = {
        "number": pa.array([Decimal("1.50"), None], pa.decimal128(20, 2)),
        "float": pa.array([0.1, None], pa.float64()),
        "tags": pa.array([["a", "b"], []], pa.list_(pa.string())),
        "j": pa.array([{"a": 1, "b": [0.5]}, None]),
        "code": pa.array(["x", "y"]).dictionary_encode(),
        "at": pa.array([moment, None], pa.timestamp("ns", "Europe/Paris")),
        "day": pa.array([moment.date(), None]),
    }
    parquet(tmp_path / "d.parquet", columns)
    outcome = run("load", "kinds", "d.parquet", "--url", kinds)
    assert outcome.status == 0, outcome.err
    with connect(kinds) as conn:
        rows = conn.run("SELECT number::text, float, tags, j, code, at, day FROM kinds")
    assert rows == [
        ["1.50", 0.1, ["a", "b"], {"a": 1, "b": [0.5]}, "x", moment, moment.date()],
        [None, None, [], None, "y", None, None],
    ]


def test_only_the_columns_that_are_wanted_are_read(run: Run, doc: str, tmp_path: Path) -> None:
    parquet(tmp_path / "d.parquet", {"a.b": [1, 2], "text": ["x", "y"], "e": [[1.0, 2.0, 3.0]] * 2})
    outcome = run("load", "doc", "d.parquet", "--map", "text:title", "--map", "e:embedding", "--only", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == [["x", [1, 2, 3]], ["y", [1, 2, 3]]]


@pytest.mark.parametrize("missing", ["pyarrow", "numpy"])
def test_without_the_library(run: Run, doc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Parquet needs one; without NumPy its vectors are lists."""
    parquet(tmp_path / "d.parquet", {"embedding": [[1.0, 2.0, 3.0]]})
    np.save(tmp_path / "m.npy", np.eye(3))
    monkeypatch.setitem(sys.modules, missing, None)
    outcome = run("load", "doc", "d.parquet" if missing == "pyarrow" else "m.npy", "--url", doc)
    extra = "parquet" if missing == "pyarrow" else "numpy"
    assert (outcome.status, f"pip install 'lightvec[{extra}]'" in outcome.err) == (1, True)
    assert len(outcome.err.splitlines()) == 1
    if missing == "numpy":
        assert run("load", "doc", "d.parquet", "--url", doc).status == 0
        assert contents(doc) == [[None, [1, 2, 3]]]


def test_other_files_that_cannot_be_read(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("nonsense")
    parquet(tmp_path / "half.parquet", {"title": [str(i) for i in range(10_000)]})
    whole = (tmp_path / "half.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[:2_000] + bytes(2_000) + whole[4_000:])
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "odd.npz", embedding=np.eye(3), title=np.array(["a"]))
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "objects.npz", title=np.array([{}], object), allow_pickle=True)
    (tmp_path / "named.npz").write_bytes(b"")
    np.save(tmp_path / "m.npy", np.eye(3))
    (tmp_path / "m.npy").rename(tmp_path / "single.npz")
    for name, told in {
        "no.parquet": "expected a Parquet file",
        "half.parquet": "expected a whole Parquet file",
        "no.npz": "expected a .npz file",
        "odd.npz": "expected arrays of one length",
        "none.npz": "expected arrays of one length",
        "objects.npz": "expected a .npz file of numbers and texts",
        "named.npz": "expected a .npz file",
        "single.npz": "it holds npy: name it .npy, or say --format npy",
    }.items():
        outcome = run("load", "doc", name, "--url", doc)
        assert (outcome.status, told in outcome.err) == (2, True), outcome
        assert len(outcome.err.splitlines()) == 1
    assert contents(doc) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("-", "--format", "parquet"),
            "vec, csv.gz, vec.gz, qdrant, pinecone, chroma on standard input, got parquet",
        ),
        (("-", "--format", "npy"), "on standard input, got npy"),
        (("d.jsonl", "--only"), "--only loads what --map names"),
        (("d.jsonl", "--map", "x"), "--map x: expected NAME:COLUMN, with a column of the table"),
        (("d.jsonl", "--map", "x:y"), "the columns are id, title, embedding"),
        (("d.jsonl", "--map", ":title"), "expected NAME:COLUMN"),
        (("d.jsonl", "--map", "x:title", "--map", "x:id"), "each name of the file in one --map"),
        (("m.npy", "--vectors", "m.npy"), "--vectors goes with a file of rows"),
        (("d.jsonl", "--on-conflict", "explode"), "'explode' is not one of"),
    ],
)
def test_calls_that_cannot_be(run: Run, doc: str, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    np.save(tmp_path / "m.npy", np.eye(3))
    outcome = run("load", "doc", *arguments, "--url", doc)
    assert (outcome.status, told in outcome.err) == (2, True), outcome
    assert contents(doc) == []


# Which column is which


@pytest.mark.parametrize("others", [("--only",), ("--skip", "url", "--skip", "a:b"), ("--map", "a:b:id", "--only")])
def test_columns_of_other_names(run: Run, doc: str, tmp_path: Path, others: tuple[str, ...]) -> None:
    rows = [{"text": row["title"], "e": row["embedding"], "url": "x", "a:b": n} for n, row in enumerate(ROWS)]
    (tmp_path / "d.jsonl").write_bytes(json_lines(rows))
    outcome = run("load", "doc", "d.jsonl", "--map", "text:title", "--map", "e:embedding", *others, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == expected()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "'text'"),
        (("--map", "text:title"), "'extra', and the table doc no such column: it has id, title, embedding"),
        (("--map", "text:title", "--map", "extra:title"), "has 'text' and 'extra' for the column title: skip one"),
        (("--skip", "text", "--skip", "extra"), ": expected a value for a column, got none that is loaded"),
        (("--map", "nothing:title", "--skip", "text", "--map", "extra:id"), "the file has no 'nothing'"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_columns_that_do_not_fit(
    run: Run, doc: str, tmp_path: Path, arguments: tuple[str, ...], told: str, ending: str
) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{"text": "x", "extra": 7}]))
    (tmp_path / "d.csv").write_text("text,extra\nx,7\n")
    parquet(tmp_path / "d.parquet", {"text": ["x"], "extra": [7]})
    outcome = run("load", "doc", f"d.{ending}", *arguments, "--url", doc)
    assert outcome.status == 1
    assert told in outcome.err
    assert contents(doc) == []


# Rows that are there already


def keyed(doc: str) -> list[Any]:
    with connect(doc) as conn:
        return conn.run("SELECT id, title, embedding FROM doc ORDER BY id") or []


def test_rows_that_are_there_already(run: Run, doc: str, tmp_path: Path) -> None:
    first = [{"id": i, "title": f"old {i}", "embedding": [i, 0, 0]} for i in (1, 2)]
    second = [{"id": i, "title": f"new {i}", "embedding": [i, 1, 0]} for i in (2, 3)]
    (tmp_path / "first.jsonl").write_bytes(json_lines(first))
    (tmp_path / "second.jsonl").write_bytes(json_lines(second))
    assert run("load", "doc", "first.jsonl", "--url", doc).status == 0
    refused = run("load", "doc", "second.jsonl", "--url", doc)
    assert (refused.status, "duplicate key" in refused.err, len(keyed(doc))) == (1, True, 2)
    ignored = run("load", "doc", "second.jsonl", "--on-conflict", "ignore", "--url", doc)
    assert "1 rows loaded into doc" in ignored.err
    assert "1 existed already" in ignored.err
    assert [row[1] for row in keyed(doc)] == ["old 1", "old 2", "new 3"]
    updated = run("load", "doc", "second.jsonl", "--on-conflict", "update", "--url", doc, "--json")
    assert json.loads(updated.out) == {"table": "doc", "rows": 2, "left_out": 0}
    assert [row[1:] for row in keyed(doc)] == [["old 1", [1, 0, 0]], ["new 2", [2, 1, 0]], ["new 3", [3, 1, 0]]]


def test_an_update_leaves_what_a_row_does_not_name(run: Run, doc: str, tmp_path: Path) -> None:
    rows = [{"id": i, "title": "old", "embedding": [i, 0, 0]} for i in (1, 2, 3)]
    (tmp_path / "first.jsonl").write_bytes(json_lines(rows))
    changes: list[dict[str, Any]] = [
        {"id": 1, "title": "new"},
        {"id": 2, "embedding": [9, 9, 9]},
        {"id": 3, "title": None},
    ]
    (tmp_path / "changes.jsonl").write_bytes(json_lines(changes))
    assert run("load", "doc", "first.jsonl", "--url", doc).status == 0
    assert run("load", "doc", "changes.jsonl", "--on-conflict", "update", "--url", doc).status == 0
    assert keyed(doc) == [[1, "new", [1, 0, 0]], [2, "old", [9, 9, 9]], [3, None, [3, 0, 0]]]


def test_an_update_without_a_key(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    outcome = run("load", "doc", "d.jsonl", "--on-conflict", "update", "--url", doc)
    assert (outcome.status, "needs the primary key" in outcome.err) == (1, True)


# Rows that differ


def test_what_a_row_leaves_out_is_its_default_or_null(run: Run, empty_url: str, tmp_path: Path) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE DOMAIN kind AS text DEFAULT 'some'")
        conn.run(
            "CREATE TABLE d (n int, a text, b int DEFAULT 7, k kind, e vector(1), g int GENERATED ALWAYS AS (n) STORED)"
        )
    rows: list[dict[str, Any]] = [
        {"n": 1, "a": "x", "b": 1, "e": [1]},
        {"n": 2},
        {"n": 3, "b": None},
        {"n": 4, "k": None, "e": None},
        {"n": 5, "k": "mine", "a": "y"},
        *({"n": n, "a": str(n)} if n % 2 else {"n": n, "e": [n]} for n in range(6, 200)),
    ]
    (tmp_path / "d.jsonl").write_bytes(json_lines(rows))
    with counted(empty_url) as statements:
        assert run("load", "d", "d.jsonl", "--url", empty_url).status == 0
    assert statements() < 10, "rows that leave out what has no default go together"
    with connect(empty_url) as conn:
        assert conn.run("SELECT n, a, b, k, e::text FROM d WHERE n < 6 ORDER BY n") == [
            [1, "x", 1, "some", "[1]"],
            [2, None, 7, "some", None],
            [3, None, None, "some", None],
            [4, None, 7, None, None],
            [5, "y", 7, "mine", None],
        ]
        assert conn.run("SELECT count(*), count(a), count(e), min(b), max(b) FROM d WHERE n > 5") == [
            [194, 97, 97, 7, 7]
        ]


@contextmanager
def counted(url: str) -> Iterator[Callable[[], int]]:
    """Counts the COPY statements that begin within."""
    calls: list[str] = []
    usual = copying.send_blocks

    def send_blocks(session: Any, into: Any, *rest: Any) -> int:
        calls.append(into.name)
        return usual(session, into, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightvec.wire.copy.load.send_blocks", send_blocks)
        yield lambda: len(calls)


# Values


@pytest.mark.parametrize(
    ("kind", "given", "stored_as"),
    [
        ("int", 5, "5"),
        ("int", "5", "5"),
        ("int", 5.0, "5"),
        ("smallint", -7, "-7"),
        ("bigint", 2**62, str(2**62)),
        ("float8", 1, "1"),
        ("float8", "1e-3", "0.001"),
        ("float8", "NaN", "NaN"),
        ("float4", 0.5, "0.5"),
        ("numeric", "0.10", "0.10"),
        ("bool", True, "true"),
        ("bool", "Y", "true"),
        ("bool", "of", "false"),
        ("text", 5, "5"),
        ("text", 1.5, "1.5"),
        ("text", True, "true"),
        ("varchar(3)", "abc", "abc"),
        ("date", "29 Feb 2024", "2024-02-29"),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", "infinity", "infinity"),
        ("timestamp", "2024-02-29 23:59:59.123456", "2024-02-29 23:59:59.123456"),
        ("timestamp", "2024-02-29T24:00:00", "2024-03-01 00:00:00"),
        ("timestamptz", "2024-02-29T12:00:00Z", "2024-02-29 12:00:00+00"),
        ("timestamptz", "2024-02-29T12:00:00.5+01:00", "2024-02-29 11:00:00.5+00"),
        ("date[]", ["2024-02-29", None], "{2024-02-29,NULL}"),
        ("text[]", ["a", 'b"', None, 5], '{a,"b\\"",NULL,5}'),
        ("int[]", [[1, 2], [3, None]], "{{1,2},{3,NULL}}"),
        ("interval", 5, "00:00:05"),
        ("vector(2)[]", [[1, 2], [3, 4]], '{"[1,2]","[3,4]"}'),
        ("timestamptz", "2024-02-29 12:00:00+02", "2024-02-29 10:00:00+00"),
        ("timestamp", "2024-02-29T12:00:00", "2024-02-29 12:00:00"),
        ("time", "12:30", "12:30:00"),
        ("interval", "2 days", "2 days"),
        ("uuid", "0" * 31 + "1", "00000000-0000-0000-0000-000000000001"),
        ("bytea", "\\x00ff", "\\x00ff"),
        ("inet", "10.0.0.1", "10.0.0.1/32"),
        ("int4range", "[1,5)", "[1,5)"),
        ("int[]", [1, 2], "{1,2}"),
        ("int[]", "{1,2}", "{1,2}"),
        ("timestamptz[]", ["2024-02-29 12:00+00"], '{"2024-02-29 12:00:00+00"}'),
        ("numeric[]", [0.1, 2], "{0.1,2}"),
        ("mood", "happy", "happy"),
        ("positive", 3, "3"),
        ("halfvec(2)", [1, 0.5], "[1,0.5]"),
        ("sparsevec(3)", "{1:2}/3", "{1:2}/3"),
        ("sparsevec(3)", [0, 2, 0], "{2:2}/3"),
        ("bit(4)", "0101", "0101"),
        ("vector", [1, 2], "[1,2]"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_values_of_many_types(
    run: Run, typed: str, tmp_path: Path, kind: str, given: Any, stored_as: str, ending: str
) -> None:
    with connect(typed) as conn:
        conn.run(f"DROP TABLE IF EXISTS t; CREATE TABLE t (v {kind}, note text)")
        if ending == "csv":
            cell = given if isinstance(given, str) else stored_as
            with (tmp_path / "d.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["v", "note"], [cell, "x"], ["", "y"]])
        else:
            (tmp_path / "d.jsonl").write_bytes(json_lines([{"v": given, "note": "x"}, {"v": None, "note": "y"}]))
        outcome = run("load", "t", f"d.{ending}", "--url", typed)
        assert outcome.status == 0, outcome.err
        assert conn.run("SELECT v::text, note FROM t ORDER BY note") == [[stored_as, "x"], [None, "y"]]


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("int", "seven", 'type integer: "seven"'),
        ("int", 5.5, 'type integer: "5.5"'),
        ("int", True, 'type integer: "true"'),
        ("int", 2**40, 'value "1099511627776" is out of range for type integer'),
        ("int", [1], "t.v is integer, got list"),
        ("smallint", 1e300, "smallint"),
        ("float8", "1e999", '"1e999" is out of range for type double precision'),
        ("float4", 1e300, '"1e+300" is out of range for type real'),
        ("numeric", "x", 'type numeric: "x"'),
        ("bool", "maybe", 'type boolean: "maybe"'),
        ("text", [1], "t.v is text, got list"),
        ("text", "a\x00b", "0x00"),
        ("text", "\ud800", "expected Unicode text, got the lone surrogate '\\ud800'"),
        ("uuid", "x", 'type uuid: "x"'),
        ("date", "soon", "invalid input syntax for type date"),
        ("mood", "blue", "invalid input value for enum mood"),
        ("vector(2)", [1], "expected 2 dimensions, not 1"),
        ("vector(2)", "[1]", "expected 2 dimensions, not 1"),
        ("vector(2)", "[1,", 'type vector: "[1,"'),
        ("vector(2)", [1, "x"], 'type vector: "[1,x]"'),
        ("vector(2)", 5, 'type vector: "5"'),
        ("halfvec(2)", [1, 1e6], '"1000000.0" is out of range for type halfvec'),
        ("sparsevec(3)", [1, "x"], "line"),
        ("bit(4)", "01", "bit string length 2 does not match type bit(4)"),
    ],
)
def test_values_that_do_not_fit(run: Run, typed: str, tmp_path: Path, kind: str, given: Any, told: str) -> None:
    """One in the first rows, before anything is sent, and one far behind, with its line; nothing is kept."""
    with connect(typed) as conn:
        conn.run(f"DROP TABLE IF EXISTS t; CREATE TABLE t (v {kind}, n int)")
        for before in (1, 500):
            rows = [{"v": None, "n": n} for n in range(before)]
            (tmp_path / "d.jsonl").write_bytes(json_lines([*rows, {"v": given, "n": 0}]))
            outcome = run("load", "t", "d.jsonl", "--url", typed)
            assert outcome.status == 1
            assert told in outcome.err
            assert re.search(rf"d.jsonl, line {before + 1}\b|row {before + 1}\b", outcome.err)
            assert len(outcome.err.splitlines()) == 1
            assert conn.run("SELECT count(*) FROM t") == [[0]]


@pytest.fixture(scope="module")
def typed(make_database: Callable[[], str]) -> str:
    """A database with types of its own, in which each test makes its table ``t``."""
    url = make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TYPE mood AS ENUM ('happy', 'sad')")
        conn.run("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    return url


def test_what_the_server_refuses_is_told_with_its_row(run: Run, typed: str, tmp_path: Path) -> None:
    """Behind rows of other columns a COPY of its own begins: its rows are counted from there."""
    with connect(typed) as conn:
        conn.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id serial, n positive)")
    rows = [{"id": 9, "n": 1}, {"n": 1}, {"n": 1}, {"n": -1}]
    (tmp_path / "d.jsonl").write_bytes(json_lines(rows))
    outcome = run("load", "t", "d.jsonl", "--url", typed)
    assert outcome.status == 1
    assert "; d.jsonl, line 4, column n" in outcome.err


def test_a_matrix_that_does_not_fit(run: Run, doc: str, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.ones((5, 4)))
    outcome = run("load", "doc", "wide.npy", "--url", doc)
    assert (outcome.status, "wide.npy: column 'embedding'" in outcome.err, "(5, 4)" in outcome.err) == (1, True, True)
    holed = np.ones((5_000, 3))
    holed[4_321, 1] = np.nan
    np.save(tmp_path / "holed.npy", holed)
    outcome = run("load", "doc", "holed.npy", "--url", doc)
    assert (outcome.status, "holed.npy: row 4,322, column 'embedding'" in outcome.err) == (1, True)
    assert contents(doc) == []


def test_exact_numbers_stand_beside_vectors(run: Run, empty_url: str, tmp_path: Path) -> None:
    """Those of vectors are read as floats, all others as they were written."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE t (e vector(2), n numeric, l numeric[], j jsonb)")
        digits = "0.1234567890123456789"
        line = f'{{"vec": [{digits}, 1], "n": {digits}, "l": [{digits}], "j": {{"a": 0.25}}}}\n'
        (tmp_path / "d.jsonl").write_text(line)
        outcome = run("load", "t", "d.jsonl", "--map", "vec:e", "--url", empty_url)
        assert outcome.status == 0, outcome.err
        assert conn.run("SELECT n::text, l[1]::text, j::text FROM t") == [[digits, digits, '{"a": 0.25}']]
        assert conn.run("SELECT e FROM t") == [[[np.float32(float(digits)), 1]]]


# How far it is


def test_progress_on_a_terminal(doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS * 2_000))
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "lightvec", "load", "doc", "d.jsonl", "--url", doc]
    with subprocess.Popen(command, cwd=tmp_path, stderr=terminal) as process:
        os.close(terminal)
        told = b""
        # The terminal ends with an error on Linux.
        with contextlib.suppress(OSError):
            while piece := os.read(reader, 4_096):
                told += piece
        assert process.wait(60) == 0
    os.close(reader)
    assert re.search(rb"\r\x1b\[Kloading  [\d,]+ rows  [\d,]+ rows/s  \d+%  0:0\d left", told), told
    assert re.search(rb"\r\x1b\[K6,000 rows loaded into doc", told)


def test_elsewhere_only_the_last_line_is_told(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS * 500))
    assert re.fullmatch(
        r"1,500 rows loaded into doc( in \d+\.\d s, [\d,]+ rows/s)?\n", run("load", "doc", "d.jsonl", "--url", doc).err
    )


@pytest.mark.parametrize("name", FEW)
def test_hostile_names(run: Run, empty_url: str, tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE untouched ()")
        conn.run(f"CREATE TABLE {quoted} (id int PRIMARY KEY, {quoted} vector(2))")
        (tmp_path / "d.jsonl").write_bytes(json_lines([{"id": 1, name: [1, 2]}, {"id": 1, name: [3, 4]}]))
        parquet(tmp_path / "d.parquet", {"id": [2], name: [[5.0, 6.0]]})
        arrays: dict[str, Any] = {"id": np.array([3]), f"{name}2": np.array([[7, 8]])}
        np.savez(tmp_path / "d.npz", **arrays)
        with (tmp_path / "d.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["id", name], [4, "[9,10]"]])
        where = ("--on-conflict=update", "--url", empty_url, f"--map={name}2:{name}")
        for file_name, arguments in {
            "d.jsonl": where[:-1],
            "d.parquet": where[:-1],
            "d.npz": where,
            "d.csv": (*where[:-1], f"--skip={name}3"),
        }.items():
            outcome = run("load", *arguments, "--", name, file_name)
            assert outcome.status == 0, outcome.err
        assert conn.run(f"SELECT * FROM {quoted} ORDER BY id") == [[1, [3, 4]], [2, [5, 6]], [3, [7, 8]], [4, [9, 10]]]
        assert conn.run("SELECT count(*) FROM untouched") == [[0]]


def test_the_planner_knows_of_the_rows(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    assert run("load", "doc", "d.jsonl", "--url", doc).status == 0
    with connect(doc) as conn:
        assert conn.run("SELECT reltuples FROM pg_class WHERE relname = 'doc'") == [[3.0]]


# What only the server can read


@pytest.mark.parametrize("conflict", [None, "ignore", "update"])
def test_dates_in_any_form(run: Run, empty_url: str, tmp_path: Path, conflict: str | None) -> None:
    with connect(empty_url) as conn:
        conn.run(
            "CREATE EXTENSION vector; CREATE TABLE day (id int PRIMARY KEY, at date, n int[], embedding vector(2))"
        )
        days = ["2024-01-01"] * 300 + ["2 January 2024"] + ["2024-01-03"] * 300
        rows = [{"id": n, "at": day, "n": [n, n], "embedding": [n, 1]} for n, day in enumerate(days)]
        (tmp_path / "d.jsonl").write_bytes(json_lines(rows))
        where = () if conflict is None else (f"--on-conflict={conflict}",)
        outcome = run("load", "day", "d.jsonl", "--url", empty_url, *where)
        assert outcome.status == 0, outcome.err
        assert "601 rows loaded into day" in outcome.err
        stored = conn.run(
            "SELECT count(*), min(at), max(at), sum(n[2]), count(*) FILTER (WHERE at = '2024-01-02') FROM day"
        )
        assert stored == [[601, date(2024, 1, 1), date(2024, 1, 3), sum(range(601)), 1]]


def test_an_array_of_what_its_elements_cannot_be(run: Run, typed: str, tmp_path: Path) -> None:
    with connect(typed) as conn:
        conn.run("DROP TABLE IF EXISTS t; CREATE TABLE t (v int[])")
        (tmp_path / "d.jsonl").write_bytes(json_lines([{"v": [1, "x"]}]))
        outcome = run("load", "t", "d.jsonl", "--url", typed)
        assert (outcome.status, 'type integer: "x"' in outcome.err) == (1, True)
        assert conn.run("SELECT count(*) FROM t") == [[0]]


# After the load


@pytest.mark.parametrize("timeout", ["lock_timeout", "statement_timeout"])
def test_rows_are_loaded_where_somebody_is_in_the_way_of_analyze(
    run: Run, doc: str, tmp_path: Path, timeout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(load._ANALYZE_SETTINGS, "lock_timeout", "300ms")
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    where = f"{doc}&options=-c%20{timeout}%3D200ms"
    with connect(doc) as other, other.transaction():
        other.run("LOCK TABLE doc IN SHARE UPDATE EXCLUSIVE MODE")
        outcome = run("load", "doc", "d.jsonl", "--url", where, "--json")
    assert (outcome.status, json.loads(outcome.out)) == (0, {"table": "doc", "rows": 3})
    assert outcome.err.startswith("the rows are loaded, but the table is not analyzed (canceling")
    assert outcome.err.endswith('run ANALYZE "doc"\n')
    assert contents(doc) == expected()


def test_an_interrupt_behind_the_commit(doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    with connect(doc) as other, other.transaction():
        other.run("LOCK TABLE doc IN SHARE UPDATE EXCLUSIVE MODE")
        command = [sys.executable, "-m", "lightvec", "load", "doc", "d.jsonl", "--url", doc]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as loading:
            assert loading.stderr is not None
            told = loading.stderr.readline()
            loading.send_signal(signal.SIGINT)
            told += loading.stderr.read()
    assert loading.returncode == 0
    assert told.startswith("3 rows loaded into doc")
    assert "the rows are loaded, but the table is not analyzed (interrupted): run ANALYZE" in told


# CSV


def test_long_cells(run: Run, empty_url: str, tmp_path: Path) -> None:
    """Python's csv takes 131,072 characters of a cell."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE wide (title text, e vector(8000))")
    vector = [n / 7 + 0.1 for n in range(8_000)]
    limit = csv.field_size_limit()
    (tmp_path / "wide.csv").write_text(f'title,e\n{"x" * 200_000},"{vector}"\n')
    outcome = run("load", "wide", "wide.csv", "--url", empty_url)
    assert outcome.status == 0, outcome.err
    assert csv.field_size_limit() == limit
    with connect(empty_url) as conn:
        assert conn.run("SELECT length(title), vector_dims(e) FROM wide") == [[200_000, 8_000]]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'title\na\nb"\n"c"d\n', """, line 4: expected CSV, with quotes around a cell: ',' expected after '"'"""),
        (b'title\n"c"d\n', ", line 2: expected CSV"),
        (b"title\na\n\xe9\n", '"UTF8": 0xe9'),
        (b"title\na\n\xe9\n", "save the file as UTF-8"),
        ("title\na\n".encode("utf-16"), "expected names in UTF-8"),
        (b"t\xe9\na\n", "expected names in UTF-8, got 't\\udce9': save the file as UTF-8"),
        (b"title\na\nb,c\n", ", line 3: expected 1 cells"),
        (b",title\n0,a\n", "the file has a column without a name: name it, or leave it out with --skip ''"),
    ],
)
def test_the_line_at_fault(run: Run, doc: str, tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "bad.csv").write_bytes(data)
    outcome = run("load", "doc", "bad.csv", "--url", doc)
    assert (outcome.status in (1, 2), told in outcome.err) == (True, True), outcome.err
    assert contents(doc) == []


def test_a_column_without_a_name_is_left_out(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(",title\n0,a\n")
    assert run("load", "doc", "d.csv", "--skip", "", "--url", doc).status == 0


@pytest.mark.parametrize(("name", "data"), [("d.jsonl", b""), ("d.csv", b""), ("d.csv", b"title,embedding\n")])
def test_a_file_without_rows_is_told(run: Run, doc: str, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    outcome = run("load", "doc", name, "--url", doc)
    assert (outcome.status, outcome.err) == (0, "0 rows loaded into doc: the file holds no rows\n")


def test_a_vector_column_that_nothing_goes_into(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    outcome = run("load", "doc", "d.jsonl", "--vector-column", "nosuch", "--url", doc)
    assert outcome.status == 2
    assert "--vector-column says where --vectors or a matrix go, and d.jsonl names its columns" in outcome.err
    assert contents(doc) == []


@pytest.fixture
def named(doc: str) -> str:
    """The same, whose vectors are of the model ``lengths``."""
    with connect(doc) as conn:
        conn.run("""COMMENT ON COLUMN doc.embedding IS 'Of the title.\nlightvec: {"model": "lengths"}'""")
    return doc


@pytest.mark.parametrize("data", [b'{"title": 1}\nno JSON', json_lines(ROWS)])
def test_vectors_of_another_model(run: Run, named: str, tmp_path: Path, data: bytes) -> None:
    """Nothing is read before."""
    (tmp_path / "d.jsonl").write_bytes(data)
    outcome = run("load", "doc", "d.jsonl", "--model", "other", "--url", named)
    told = (
        "lightvec: doc.embedding holds vectors of lengths, got one of other: distances between two models mean nothing"
    )
    assert (outcome.status, outcome.out, outcome.err) == (1, "", told + "\n")
    assert contents(named) == []


def test_vectors_of_the_same_model(run: Run, named: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    assert run("load", "doc", "d.jsonl", "--model", "lengths", "--url", named).status == 0
    np.save(tmp_path / "d.npy", np.array([row["embedding"] for row in ROWS], np.float32))
    assert run("load", "doc", "d.npy", "--model", "lengths", "--url", named).status == 0
    assert len(contents(named)) == 2 * len(ROWS)


def test_a_model_where_the_column_names_none(run: Run, doc: str, tmp_path: Path) -> None:
    """The error says how to name it, and that works."""
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    words = ("load", "doc", "d.jsonl", "--model", "it's new", "--url", doc)
    outcome = run(*words)
    assert (outcome.status, outcome.out, contents(doc)) == (1, "", [])
    assert outcome.err.startswith("lightvec: doc.embedding names no model to check --model it's new with: declare")
    _, _, statement = outcome.err.partition(", or run ")
    with connect(doc) as conn:
        conn.run(statement)
    assert run(*words).status == 0
    with connect(doc) as conn:
        conn.run("COMMENT ON COLUMN doc.embedding IS 'Of the title.'")
    outcome = run(*words)
    assert (outcome.status, "run lightvec init-db" in outcome.err, "COMMENT" in outcome.err) == (1, True, False)


def test_a_model_of_one_of_several_columns(run: Run, named: str, tmp_path: Path) -> None:
    with connect(named) as conn:
        conn.run("ALTER TABLE doc ADD COLUMN other vector(3)")
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    words = ("load", "doc", "d.jsonl", "--model", "lengths", "--url", named)
    outcome = run(*words)
    assert (outcome.status, "one of them must be named (--vector-column)" in outcome.err) == (1, True)
    assert run(*words, "--vector-column", "embedding").status == 0
    assert contents(named) == expected()
