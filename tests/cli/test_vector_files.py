"""load: the files of vectors that others write, each made here as they write it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run
from tests.cli.rows import contents

VECTORS = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 250]])


@pytest.fixture
def doc(run: Run, empty_url: str) -> str:
    """A database with an empty table ``doc``."""
    arguments = ("--dimensions", 3, "--column", "title:text", "--column", "meta:jsonb")
    assert run("init-db", "--url", empty_url, "--table", "doc", *arguments).status == 0
    return empty_url


def stored(url: str, columns: str = "embedding") -> list[Any]:
    with connect(url) as conn:
        return conn.run(f"SELECT {columns} FROM doc ORDER BY id") or []


def vecs(dtype: str) -> bytes:
    """Each vector behind its number of dimensions."""
    return b"".join(np.int32(3).tobytes() + row.astype(dtype).tobytes() for row in VECTORS)


FBIN = np.array([3, 3], "<u4").tobytes() + VECTORS.astype("<f4").tobytes()
MATRICES = {
    "d.fvecs": vecs("<f4"),
    "d.ivecs": vecs("<i4"),
    "d.bvecs": vecs("u1"),
    "d.fbin": FBIN,
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix(run: Run, doc: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MATRICES[name])
    outcome = run("load", "doc", name, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc) == [[row] for row in VECTORS.tolist()]


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_that_is_cut_off(run: Run, doc: str, tmp_path: Path, name: str) -> None:
    for body in (MATRICES[name][:-1], MATRICES[name][:3], b"", MATRICES[name][:4] + bytes(17)):
        (tmp_path / name).write_bytes(body)
        outcome = run("load", "doc", name, "--url", doc)
        assert (outcome.status, f"{name}: expected a whole .{name[2:]} file" in outcome.err) == (2, True), outcome
        assert len(outcome.err.splitlines()) == 1
    assert stored(doc) == []


@pytest.mark.parametrize("dimensions", [60, 1152, 1408, 35_615])
def test_a_matrix_that_begins_as_another_kind(run: Run, doc: str, tmp_path: Path, dimensions: int) -> None:
    """As HTML, Python pickles and gzip files begin."""
    (tmp_path / "d.fvecs").write_bytes(np.int32(dimensions).tobytes() + bytes(4 * dimensions))
    outcome = run("load", "doc", "d.fvecs", "--url", doc)
    assert (outcome.status, f"(1, {dimensions})" in outcome.err) == (1, True), outcome


def test_a_pipe(doc: str, tmp_path: Path) -> None:
    """It can be read only once."""
    command = f"{sys.executable} -m lightvec load doc <(echo '{{\"title\": \"a\"}}') --format jsonl --url '{doc}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, stored(doc, "title")) == (0, [["a"]]), done.stderr


def test_vectors_of_different_dimensions(run: Run, doc: str, tmp_path: Path) -> None:
    body = np.array([3, 1, 1, 1, 2, 1, 1, 1], "<i4").tobytes()
    (tmp_path / "d.ivecs").write_bytes(body)
    outcome = run("load", "doc", "d.ivecs", "--url", doc)
    assert (outcome.status, "not all vectors have 3 dimensions" in outcome.err) == (2, True)


def test_hdf5(run: Run, doc: str, tmp_path: Path) -> None:
    """A file of ann-benchmarks, of which ``train`` is what is searched in; another by --map."""
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["train"] = VECTORS.astype("f4")
        file["test"] = np.ones((2, 3), "f4")
        file["neighbors"] = np.zeros((2, 100), "i4")
    assert run("load", "doc", "d.hdf5", "--url", doc).status == 0
    assert stored(doc) == [[row] for row in VECTORS.tolist()]
    (tmp_path / "d.hdf5").rename(tmp_path / "d.h5")
    assert run("load", "doc", "d.h5", "--map", "test:embedding", "--url", doc).status == 0
    assert stored(doc)[3:] == [[[1, 1, 1]]] * 2
    outcome = run("load", "doc", "d.h5", "--map", "nothing:embedding", "--url", doc)
    assert (outcome.status, "no dataset" in outcome.err, "nothing" in outcome.err) == (2, True, True)
    with h5py.File(tmp_path / "two.hdf5", "w") as file:
        file["a"], file["b"] = np.eye(3), np.eye(3)
    outcome = run("load", "doc", "two.hdf5", "--url", doc)
    assert (outcome.status, "expected a dataset train" in outcome.err, "got a, b" in outcome.err) == (2, True, True)


FASTTEXT = "3 3\ntea 1 2 3 \nNew York 4 5 6 \ncafé 7 8 250 \n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.vec", FASTTEXT),
        ("d.vec", "tea 1 2 3\nNew York 4 5 6\ncafé 7 8 250\n"),
        ("d.txt", FASTTEXT),
        ("d.txt", "tea 1 2 3\nNew York 4 5 6\ncafé 7 8 250\n"),
        ("d.glove", "tea 1 2 3\nNew York 4 5 6\ncafé 7 8 250"),
    ],
)
def test_word_vectors(run: Run, doc: str, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    outcome = run("load", "doc", name, "--map", "word:title", "--url", doc)
    assert outcome.status == 0, outcome.err
    words = ["tea", "New York", "café"]
    assert contents(doc) == [list(row) for row in zip(words, VECTORS.tolist(), strict=True)]


def test_word_vectors_that_do_not_fit(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.vec").write_text("tea 1 2 3\ncoffee 1 2\n")
    outcome = run("load", "doc", "d.vec", "--map", "word:title", "--url", doc)
    assert (outcome.status, "d.vec, line 2: expected a word and 3 numbers" in outcome.err) == (2, True)
    (tmp_path / "d.vec").write_text("tea 1 2 3\ncoffee 1 2 x\n")
    outcome = run("load", "doc", "d.vec", "--map", "word:title", "--url", doc)
    assert (outcome.status, "d.vec, line 2, column embedding" in outcome.err) == (1, True), outcome
    outcome = run("load", "doc", "d.vec", "--url", doc)
    assert (outcome.status, "--map word:COLUMN" in outcome.err) == (1, True)
    assert stored(doc) == []


def batch_line(number: int, *embeddings: Any, **others: Any) -> str:
    data = [
        {"object": "embedding", "index": index, "embedding": embedding} for index, embedding in enumerate(embeddings)
    ]
    body = {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": {"total_tokens": 5}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    line = {"id": f"batch_req_{number}", "custom_id": f"q{number}", "response": response, "error": None}
    return json.dumps({**line, **others}) + "\n"


def test_the_output_of_openai_batches(run: Run, doc: str, tmp_path: Path) -> None:
    text = base64.b64encode(VECTORS[1].astype("<f4").tobytes()).decode()
    (tmp_path / "d.jsonl").write_text(batch_line(1, [0.1, 2, 3]) + batch_line(2, text))
    outcome = run("load", "doc", "d.jsonl", "--map", "custom_id:title", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == [["q1", [np.float32(0.1), 2, 3]], ["q2", [4, 5, 6]]]


def test_a_batch_request_of_several_texts(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(batch_line(1, [1, 2, 3], [4, 5, 6]))
    maps = ("--map", "custom_id:title", "--map", "index:meta")
    assert run("load", "doc", "d.jsonl", *maps, "--url", doc).status == 0
    assert stored(doc, "title, meta, embedding") == [["q1", 0, [1, 2, 3]], ["q1", 1, [4, 5, 6]]]


@pytest.mark.parametrize(
    "line",
    [
        batch_line(1, response=None, error={"code": "server_error"}),
        batch_line(1, response={"status_code": 429, "body": {"error": {"message": "slow down"}}}),
        batch_line(1, "no base64!"),
        batch_line(1, "AAA="),
    ],
)
def test_a_batch_request_that_failed(run: Run, doc: str, tmp_path: Path, line: str) -> None:
    (tmp_path / "d.jsonl").write_text(batch_line(0, [1, 2, 3]) + line)
    outcome = run("load", "doc", "d.jsonl", "--map", "custom_id:title", "--url", doc)
    assert (outcome.status, "d.jsonl, line 2: expected response.body.data" in outcome.err) == (2, True), outcome
    assert stored(doc) == []


def test_columns_of_the_names_of_a_batch(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"custom_id": "a", "response": "yes"}\n')
    arguments = ("--map", "custom_id:title", "--map", "response:meta")
    outcome = run("load", "doc", "d.jsonl", *arguments, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc, "title, meta") == [["a", "yes"]]


def test_texts_of_hdf5(run: Run, doc: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["title"] = np.array([b"x", b"y"])
        file["meta"] = ['{"source": "wéb"}', "[1]"]
    arguments = ("--map", "title:title", "--map", "meta:meta")
    outcome = run("load", "doc", "d.hdf5", *arguments, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc, "title, meta") == [["x", {"source": "wéb"}], ["y", [1]]]


@pytest.mark.parametrize("ending", ["feather", "arrow"])
def test_arrow(run: Run, doc: str, tmp_path: Path, ending: str) -> None:
    table = pa.table(
        {"title": ["a", "b", None], "embedding": pa.array(VECTORS.astype("f4").tolist(), pa.list_(pa.float32(), 3))}
    )
    pyarrow.feather.write_feather(table, tmp_path / f"d.{ending}")
    outcome = run("load", "doc", f"d.{ending}", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc)[:2] == [["a", [1, 2, 3]], ["b", [4, 5, 6]]]
    whole = (tmp_path / f"d.{ending}").read_bytes()
    (tmp_path / f"half.{ending}").write_bytes(whole[: len(whole) // 2])
    outcome = run("load", "doc", f"half.{ending}", "--url", doc)
    assert (outcome.status, "expected an Arrow file" in outcome.err) == (2, True)


def test_a_stream_of_arrow(run: Run, doc: str, tmp_path: Path) -> None:
    """As Hugging Face's data sets are stored."""
    table = pa.table({"title": ["a", "b"], "embedding": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]})
    with pa.OSFile(str(tmp_path / "d.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    outcome = run("load", "doc", "d.arrow", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == [["a", [1, 2, 3]], ["b", [4, 5, 6]]]
    whole = (tmp_path / "d.arrow").read_bytes()
    (tmp_path / "half.arrow").write_bytes(whole[:-200])
    outcome = run("load", "doc", "half.arrow", "--url", doc)
    assert (outcome.status, "expected a whole Arrow file" in outcome.err) == (2, True), outcome


# JSON


STRUCT = pa.struct([("tags", pa.map_(pa.string(), pa.string())), ("n", pa.int64())])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (['{"source": "web"}', None, '[1, "x"]'], pa.string()),
        ([[("source", "web")], None, []], pa.map_(pa.string(), pa.string())),
        ([{"tags": [("a", "b")], "n": 1}, None, {"tags": None, "n": 2}], STRUCT),
        ([[{"tags": [("a", "b")], "n": 1}], None, []], pa.list_(STRUCT)),
        ([[1.5, 2.0], [0.5, -1.0], [3.0, 4.0]], pa.list_(pa.float64())),
        ([[1.5], None, []], pa.list_(pa.float32())),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_json_columns(run: Run, doc: str, tmp_path: Path, values: Any, kind: Any, ending: str) -> None:
    table = pa.table({"meta": pa.array(values, kind)})
    write = pq.write_table if ending == "parquet" else pyarrow.feather.write_feather
    write(table, tmp_path / f"d.{ending}")
    outcome = run("load", "doc", f"d.{ending}", "--url", doc)
    assert outcome.status == 0, outcome.err
    others: dict[Any, list[Any]] = {
        pa.string(): [{"source": "web"}, None, [1, "x"]],
        pa.map_(pa.string(), pa.string()): [{"source": "web"}, None, {}],
        STRUCT: [{"tags": {"a": "b"}, "n": 1}, None, {"tags": None, "n": 2}],
        pa.list_(pa.float64()): values,
        pa.list_(pa.float32()): values,
    }
    expected = others.get(kind, [[{"tags": {"a": "b"}, "n": 1}], None, []])
    assert stored(doc, "meta") == [[value] for value in expected]


def test_the_logical_type_json(run: Run, doc: str, tmp_path: Path) -> None:
    storage = pa.array(['{"source": "web"}', None])
    pq.write_table(pa.table({"meta": pa.ExtensionArray.from_storage(pa.json_(), storage)}), tmp_path / "d.parquet")
    assert run("load", "doc", "d.parquet", "--url", doc).status == 0
    assert stored(doc, "meta->>'source'") == [["web"], [None]]


def test_texts_of_an_npz_file_are_json(run: Run, doc: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", meta=np.array(['{"source": "web"}', "[1]"]), title=np.array(["{", "x"]))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc, "title, meta") == [["{", {"source": "web"}], ["x", [1]]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([{"b": b"\x00"}], pa.struct([("b", pa.binary())])), ([b"{}"], pa.binary()), ([[b"a"]], pa.list_(pa.binary()))],
)
def test_bytes_are_not_json(run: Run, doc: str, tmp_path: Path, values: Any, kind: Any) -> None:
    pq.write_table(pa.table({"meta": pa.array(values, kind)}), tmp_path / "d.parquet")
    outcome = run("load", "doc", "d.parquet", "--url", doc)
    assert (outcome.status, "d.parquet, row 1: doc.meta is jsonb, got bytes" in outcome.err) == (1, True), outcome
    assert stored(doc) == []


def test_bytes_are_no_keys_of_an_object(run: Run, doc: str, tmp_path: Path) -> None:
    values = pa.array([[(b"a", "x")]], pa.map_(pa.binary(), pa.string()))
    pq.write_table(pa.table({"meta": values}), tmp_path / "d.parquet")
    outcome = run("load", "doc", "d.parquet", "--url", doc)
    assert (outcome.status, "texts as keys of a map, got bytes" in outcome.err) == (1, True), outcome
    assert stored(doc) == []


def test_text_that_is_not_json(run: Run, doc: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"meta": ["{}", "web"]}), tmp_path / "d.parquet")
    outcome = run("load", "doc", "d.parquet", "--url", doc)
    assert (outcome.status, "type json" in outcome.err, "d.parquet, row 2, column meta" in outcome.err) == (
        1,
        True,
        True,
    )


# Which kind of file it is


PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table({"title": ["a"]}), PARQUET)


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("d.jsonl", PARQUET.getvalue().to_pybytes(), "d.jsonl: it holds parquet: name it .parquet, or say --format"),
        ("d.csv", b"\x1f\x8b\x08", "d.csv: it holds a gzip file; expected a file that ends in .jsonl, .jsonl.gz"),
        ("d.csv.gz", b"\x1f\x8b\x08", "d.csv.gz: expected a whole gzip file"),
        ("d.parquet", b"ARROW1\0\0", "d.parquet: it holds feather"),
        ("d.data", b"\x93NUMPY\x01\0", "d.data: it holds npy"),
        ("d.npy", b"\x89HDF\r\n\x1a\n", "d.npy: it holds hdf5"),
        ("d.pkl", b"\x80\x05\x95", "d.pkl: it holds a Python pickle; expected a file that ends in .jsonl,"),
        ("d.csv", b"PK\x03\x04xl/workbook.xml", "d.csv: it holds a zip archive; expected"),
        ("d.jsonl", b"<!doctype html>", "d.jsonl: it holds XML or HTML; expected"),
        ("d.csv", b"<html><body>Not found", "d.csv: it holds XML or HTML; expected"),
        ("d.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "d.csv: it holds an old Excel workbook; expected"),
        ("d.csv", b"BZh91AY&SY", "d.csv: it holds a bzip2 file; expected"),
        ("d.jsonl", b"\x28\xb5\x2f\xfd", "d.jsonl: it holds a zstandard file; expected"),
        ("d.jsonl", b"\xfd7zXZ\0", "d.jsonl: it holds an xz file; expected"),
        ("d.jsonl", b"\x80\x02]", "d.jsonl: it holds a Python pickle; expected"),
        ("d.parquet", b"PARE", "d.parquet: it holds encrypted Parquet; expected"),
        ("d.feather", b"FEA1", "d.feather: it holds Feather of version 1; expected"),
        ("d.npy", b"version https://git-lfs.github.com/spec/v1", "d.npy: it holds a pointer of Git LFS (git lfs pull"),
        ("d.fvecs", b"\x93NUMPY\x01\0", "d.fvecs: expected a whole .fvecs file: its first vector would have"),
        ("d.bvecs", bytes(8), "d.bvecs: expected a whole .bvecs file: its first vector would have 0 dimensions"),
        ("d.txt", b"hello\n", "d.txt: expected a file that ends in .jsonl, .jsonl.gz, .csv, .vec"),
        ("d", b"", "d: expected a file that ends in"),
    ],
)
def test_another_kind_of_file(run: Run, doc: str, tmp_path: Path, name: str, body: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(body)
    outcome = run("load", "doc", name, "--url", doc)
    assert (outcome.status, told in outcome.err) == (2, True), outcome
    assert len(outcome.err.splitlines()) == 1


def test_an_empty_gzip_file(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl.gz").write_bytes(b"")
    outcome = run("load", "doc", "d.jsonl.gz", "--url", doc)
    assert (outcome.status, "expected a whole gzip file: it is empty" in outcome.err) == (2, True)


# CSV


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("title,embedding\n1,[1,2,3]\n", ", line 2: expected 2 cells, as there are headings, got 4: put quotes"),
        ("title,embedding\n1,[1,2,3]\n", 'such as a vector ("[1,2,3]")'),
        ("title;embedding\n1;[1,2,3]\n", "expected headings separated by commas, got 'title;embedding'"),
        ("title\tembedding\n1\t[1,2,3]\n", "say what separates them with --delimiter"),
    ],
)
def test_csv_that_is_not_separated_by_commas(run: Run, doc: str, tmp_path: Path, data: str, told: str) -> None:
    (tmp_path / "d.csv").write_text(data)
    outcome = run("load", "doc", "d.csv", "--url", doc)
    assert (outcome.status, told in outcome.err) == (2, True), outcome


@pytest.mark.parametrize(("letter", "given"), [(";", ";"), ("\t", "tab"), ("|", "|")])
def test_a_delimiter(run: Run, doc: str, tmp_path: Path, letter: str, given: str) -> None:
    (tmp_path / "d.csv").write_text(f"title{letter}embedding\nx{letter}[1,2,3]\n")
    assert run("load", "doc", "d.csv", "--delimiter", given, "--url", doc).status == 0
    assert contents(doc) == [["x", [1, 2, 3]]]
    assert run("load", "doc", "d.csv", "--delimiter", "ab", "--url", doc).status == 2
    assert run("load", "doc", "d.csv", "--delimiter", "", "--url", doc).status == 2


def test_tabs(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text("title\tembedding\nx\t[1,2,3]\n")
    assert run("load", "doc", "d.tsv", "--url", doc).status == 0
    assert contents(doc) == [["x", [1, 2, 3]]]


def test_a_delimiter_goes_before_an_ending(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text("title;embedding\nx;[1,2,3]\n")
    assert run("load", "doc", "d.tsv", "--delimiter", ";", "--url", doc).status == 0
    assert contents(doc) == [["x", [1, 2, 3]]]


def test_quoted_headings_that_are_not_separated_by_commas(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('"title";"embedding"\n"x";"[1,2,3]"\n')
    outcome = run("load", "doc", "d.csv", "--url", doc)
    assert (outcome.status, "d.csv, line 1: " in outcome.err, "--delimiter" in outcome.err) == (2, True, True)


@pytest.mark.parametrize("start", ["\n", "\r\n\r\n", "﻿\n", "  \n", ",,\n"])
def test_csv_that_begins_with_a_blank_line(run: Run, doc: str, tmp_path: Path, start: str) -> None:
    (tmp_path / "d.csv").write_text(f'{start}title,embedding\nx,"[1,2,3]"\n', newline="")
    outcome = run("load", "doc", "d.csv", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert contents(doc) == [["x", [1, 2, 3]]]


# The line at fault


@pytest.mark.parametrize("vectors", [False, True])
def test_the_exact_line(run: Run, doc: str, tmp_path: Path, vectors: bool) -> None:
    """Behind blank lines, and behind rows of other columns, where another COPY begins."""
    np.save(tmp_path / "m.npy", np.ones((3, 3)))
    (tmp_path / "d.jsonl").write_text('{"title": "a"}\n\n{"id": 7}\n\n\n{"id": "x", "title": "b"}\n')
    arguments = ("--vectors", "m.npy") if vectors else ()
    outcome = run("load", "doc", "d.jsonl", *arguments, "--url", doc)
    assert (outcome.status, '; d.jsonl, line 6, column id: "x"' in outcome.err) == (1, True), outcome


def test_the_exact_line_of_csv_with_line_breaks_in_cells(run: Run, doc: str, tmp_path: Path) -> None:
    rows = "".join(f'"a\n{n}","[1,2,3]"\n' for n in range(500))
    (tmp_path / "d.csv").write_text(f'title,embedding\n{rows}x,"[1,2]"\n')
    outcome = run("load", "doc", "d.csv", "--url", doc)
    assert (outcome.status, "d.csv, line 1,002, column embedding" in outcome.err) == (1, True), outcome


def test_the_exact_row_of_an_array(run: Run, doc: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", id=np.array([1, 2, 2]), embedding=np.ones((3, 3)))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert (outcome.status, "; d.npz, row 3; --on-conflict" in outcome.err) == (1, True), outcome


@pytest.mark.parametrize("option", ["--map=a:embedding", "--skip=a"])
def test_a_matrix_has_no_names(run: Run, doc: str, tmp_path: Path, option: str) -> None:
    np.save(tmp_path / "m.npy", np.eye(3))
    outcome = run("load", "doc", "m.npy", option, "--url", doc)
    assert (outcome.status, "m.npy is one matrix" in outcome.err, stored(doc)) == (2, True, [])


# Exact numbers


LONG = "12345678901234567890.12345678901234567890"


@pytest.mark.parametrize("kind", [pa.decimal128(38, 18), pa.decimal256(60, 20)])
def test_decimals_in_json_keep_their_digits(run: Run, doc: str, tmp_path: Path, kind: Any) -> None:
    text = LONG[: -(20 - kind.scale)] if kind.scale < 20 else LONG
    struct = pa.struct([("n", kind), ("s", pa.string()), ("l", pa.list_(kind)), ('é"', pa.float64())])
    number = Decimal(text)
    values = [{"n": number, "s": 'a "b" 1.5', "l": [number, None], 'é"': 0.1}]
    pq.write_table(pa.table({"meta": pa.array(values, struct)}), tmp_path / "d.parquet")
    pq.write_table(pa.table({"meta": pa.array([number], kind)}), tmp_path / "e.parquet")
    for name in ("d.parquet", "e.parquet"):
        outcome = run("load", "doc", name, "--url", doc)
        assert outcome.status == 0, outcome.err
    expected = [[text, text, 'a "b" 1.5', "0.1"], [None, None, None, None]]
    found = stored(doc, "meta->>'n', meta->'l'->>0, meta->>'s', meta->>'é\"'")
    assert found == expected
    assert stored(doc, "meta::text")[1] == [text]


@pytest.mark.parametrize("number", [LONG, "1E400", "0.1", "123456789012345678901234567890", "-5"])
@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz"])
def test_numbers_in_json_keep_their_digits(run: Run, doc: str, tmp_path: Path, number: str, name: str) -> None:
    body = f'{{"meta": {{"n": [{number}]}}, "title": 7.10}}\n'.encode()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    outcome = run("load", "doc", name, "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc, f"(meta->'n'->>0)::numeric = {number}, title") == [[True, "7.10"]]


# Whole files


@pytest.mark.parametrize(("header", "got"), [("4 3", 3), ("2 3", 3), ("400000 3", 3)])
@pytest.mark.parametrize("name", ["d.vec", "d.txt", "d.vec.gz"])
def test_word_vectors_of_another_number(run: Run, doc: str, tmp_path: Path, name: str, header: str, got: int) -> None:
    body = FASTTEXT.replace("3 3", header, 1).encode()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    outcome = run("load", "doc", name, "--map", "word:title", "--url", doc)
    wanted = f"{name}: expected {int(header.split()[0]):,} vectors, as its first line says, got {got}"
    assert (outcome.status, wanted in outcome.err, stored(doc)) == (2, True, []), outcome


def test_an_npy_file_that_is_cut_off(run: Run, doc: str, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((2, 3)))
    (tmp_path / "m.npy").write_bytes((tmp_path / "m.npy").read_bytes()[:-5])
    outcome = run("load", "doc", "m.npy", "--url", doc)
    wanted = "with 48 bytes for the shape (2, 3), got 43"
    assert (outcome.status, wanted in outcome.err, stored(doc)) == (2, True, []), outcome


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("d.fvecs", "3 vectors of 3 dimensions are 48 bytes, got 47"),
        ("d.bvecs", "3 vectors of 3 dimensions are 21 bytes, got 20"),
        ("d.fbin", "3 vectors of 3 dimensions are 36 bytes, got 35"),
    ],
)
def test_what_a_matrix_lacks(run: Run, doc: str, tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(MATRICES[name][:-1])
    assert told in run("load", "doc", name, "--url", doc).err


# Other endings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.ndjson", '{"title": "a", "embedding": [1, 2, 3]}\n'),
        ("d.csv", 'title,embedding\na,"[1,2,3]"\n'),
        ("d.tsv", "title\tembedding\na\t[1,2,3]\n"),
        ("d.vec", "1 3\na 1 2 3\n"),
        ("d.txt", "1 3\na 1 2 3\n"),
        ("d.glove", "a 1 2 3\n"),
    ],
)
def test_texts_in_gzip(run: Run, doc: str, tmp_path: Path, name: str, text: str) -> None:
    is_words = name.endswith(("vec", "txt", "glove"))
    maps = ("--map", "word:title") if is_words else ()
    (tmp_path / name).write_text(text)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    for each in (name, f"{name}.gz"):
        outcome = run("load", "doc", each, *maps, "--url", doc)
        assert outcome.status == 0, outcome.err
    assert contents(doc) == [["a", [1, 2, 3]]] * 2
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode())[:-9])
    outcome = run("load", "doc", f"{name}.gz", *maps, "--url", doc)
    assert outcome.status == 2, outcome
    assert len(contents(doc)) == 2


@pytest.mark.parametrize("format", ["%.18e", "%.6f", "%.3e"])
@pytest.mark.parametrize("name", ["d.txt", "d.vec", "d.txt.gz"])
def test_a_matrix_of_savetxt(run: Run, doc: str, tmp_path: Path, format: str, name: str) -> None:
    np.savetxt(tmp_path / name, VECTORS / 7, format)
    outcome = run("load", "doc", name, "--url", doc)
    told = "got numbers only, as numpy.savetxt writes: convert it, numpy.save("
    assert (outcome.status, told in outcome.err, stored(doc)) == (2, True, []), outcome


def test_bytes_in_an_npz_file(run: Run, doc: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", title=np.array(["é".encode(), b"x"]), meta=np.array([b'{"a": 1}', b"[]"]))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert outcome.status == 0, outcome.err
    assert stored(doc, "title, meta") == [["é", {"a": 1}], ["x", []]]
    np.savez(tmp_path / "d.npz", title=np.array([b"\xff"]))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert (outcome.status, "d.npz: title is text, which needs bytes in UTF-8" in outcome.err) == (1, True), outcome
    with connect(doc) as conn:
        conn.run("ALTER TABLE doc ADD b bytea")
    np.savez(tmp_path / "d.npz", b=np.array([b"a\0"]))
    outcome = run("load", "doc", "d.npz", "--url", doc)
    assert (outcome.status, "d.npz: b is bytea, got an array of |S" in outcome.err) == (1, True), outcome
    assert len(stored(doc)) == 2


@pytest.mark.parametrize("ending", ["npy", "npz", "parquet", "feather", "hdf5", "fbin"])
def test_pipes_of_what_needs_a_file(run: Run, doc: str, tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"d.{ending}")
    outcome = run("load", "doc", f"d.{ending}", "--url", doc)
    told = f"d.{ending}: expected a file for {ending}, got a pipe: save it first"
    assert (outcome.status, told in outcome.err) == (2, True), outcome


def test_a_group_of_hdf5(run: Run, doc: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_group("train")
    outcome = run("load", "doc", "d.hdf5", "--url", doc)
    assert (outcome.status, "with datasets: /train is a group" in outcome.err) == (2, True), outcome


# Errors that are not about a row


def test_a_lock_timeout_names_no_line(run: Run, doc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.jsonl").write_text('{"id": 1, "title": "a"}\n{"id": 2, "title": "b"}\n')
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=200ms")
    with connect(doc) as conn, conn.transaction():
        conn.run("INSERT INTO doc (id) VALUES (2)")
        outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert (outcome.status, "55P03" in outcome.err, "line" in outcome.err) == (1, True, False), outcome


def test_a_violation_at_the_end_names_no_line(run: Run, doc: str, tmp_path: Path) -> None:
    with connect(doc) as conn:
        conn.run("ALTER TABLE doc ADD UNIQUE (title) DEFERRABLE INITIALLY DEFERRED")
    (tmp_path / "d.jsonl").write_text('{"title": "a"}\n{"title": "a"}\n{"title": "c"}\n')
    outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert (outcome.status, "23505" in outcome.err, "line" in outcome.err) == (1, True, False), outcome
