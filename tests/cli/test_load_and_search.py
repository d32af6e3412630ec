"""load and search: files in, rows out."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run

ROWS: list[dict[str, Any]] = [
    {"title": "a", "embedding": [1, 0, 0]},
    {"title": 'quote " and, comma', "embedding": [0, 1, 0]},
    {"title": None, "embedding": [0, 0.6, 0.8]},
]


@pytest.fixture
def doc(run: Run, empty_url: str) -> str:
    """A database with an empty table ``doc``."""
    assert run("init-db", "--url", empty_url, "--table", "doc", "--dimensions", 3, "--column", "title:text").status == 0
    return empty_url


def contents(url: str) -> list[Any]:
    with connect(url) as conn:
        return conn.run("SELECT title, embedding FROM doc ORDER BY id") or []


def expected() -> list[Any]:
    return [[row["title"], row["embedding"]] for row in ROWS]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_json_lines(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS) + b"\n\n")
    outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert (outcome.status, outcome.out) == (0, "")
    assert "3 rows loaded into doc" in outcome.err
    assert contents(doc) == expected()


def test_json_lines_in_gzip(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS)))
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
    "wrong dimensions": (json_lines([*ROWS, {"embedding": [1, 2]}]), "takes 3 dimensions, got 2"),
    "not a number": (json_lines([*ROWS, {"embedding": [1, 2, float("nan")]}]), "finite"),
    "no JSON": (json_lines(ROWS) + b"{nonsense\n", "line 4: expected a JSON object"),
    "no object": (json_lines(ROWS) + b"[1]\n", "line 4: expected a JSON object, got list"),
    "wrong type": (json_lines([*ROWS, {"id": "seven"}]), "invalid input syntax for type bigint"),
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
    (tmp_path / "no.npy").write_text("nonsense")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    (tmp_path / "short.csv").write_text("title,embedding\nonly one\n")
    for name, told in {
        "d.xml": "expected a file that ends in .jsonl, .jsonl.gz, .csv, .npy",
        "half.jsonl.gz": "expected a whole gzip file",
        "no.npy": "expected a .npy file",
        "flat.npy": "one row a vector",
        "short.csv": "expected 2 cells",
        "missing.jsonl": "does not exist",
    }.items():
        outcome = run("load", "doc", name, "--url", doc)
        assert (outcome.status, told in outcome.err) == (2, True), outcome
    assert contents(doc) == []


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


# search


@pytest.fixture
def filled(run: Run, doc: str, tmp_path: Path) -> str:
    """The table with the rows above."""
    (tmp_path / "rows.jsonl").write_bytes(json_lines(ROWS))
    assert run("load", "doc", "rows.jsonl", "--url", doc).status == 0
    return doc


def test_by_vector(run: Run, filled: str) -> None:
    outcome = run("search", "doc", "--vector", "[1,0.1,0]", "--url", filled, "--json")
    rows = json.loads(outcome.out)
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert rows[0]["score"] == pytest.approx(1 / 1.01**0.5)
    assert rows[0] == {"score": rows[0]["score"], "id": 1, "title": "a"}
    assert run("search", "doc", "--vector", "[1,0.1,0]", "--url", filled, "-k", 1, "--json").out.count("score") == 1


def test_the_table_for_people(run: Run, filled: str) -> None:
    lines = run("search", "doc", "--vector", "[0,1,0]", "--url", filled).out.splitlines()
    assert lines[0].split() == ["score", "id", "title"]
    assert lines[1] == '1.0000  2   quote " and, comma'
    assert len(lines) == 4


def test_like_another_row(run: Run, filled: str) -> None:
    rows = json.loads(run("search", "doc", "--like", 2, "--url", filled, "--json").out)
    assert [row["id"] for row in rows] == [3, 1]


def test_vector_from_a_file_and_from_standard_input(
    run: Run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.txt").write_text("[0, 0.6, 0.8]\n")
    np.save(tmp_path / "v.npy", np.array([[0, 0.6, 0.8]]))
    monkeypatch.setattr("sys.stdin", io.StringIO("[0, 0.6, 0.8]\n"))
    for given in ("@v.txt", "@v.npy", "-"):
        rows = json.loads(run("search", "doc", "--vector", given, "--url", filled, "--json").out)
        assert rows[0]["id"] == 3


def test_metric_and_exact(run: Run, filled: str) -> None:
    rows = json.loads(
        run("search", "doc", "--vector", "[2,0,0]", "--metric", "l2", "--exact", "--url", filled, "--json").out
    )
    assert rows[0]["score"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "--vector or --like"),
        (("--vector", "[1]", "--like", "1"), 2, "--vector or --like"),
        (("--vector", "[1,2]"), 1, "takes 3 dimensions, got 2"),
        (("--vector", "[1,2,x]"), 1, "from_text expected"),
        (("--vector", "[nan,1,1]"), 1, "expected"),
        (("--vector", "@missing.txt"), 1, "missing.txt"),
        (("--like", "77"), 1, "has no row 77"),
        (("--like", "1; DROP TABLE doc"), 1, "has no row"),
        (("--vector", "[1,2,3]", "--metric", "far"), 2, "'far' is not a metric"),
        (("--vector", "[1,2,3]", "--vector-column", "title"), 1, "are: embedding; title is none of them"),
        (("--vector", "[1,2,3]", "-k", "0"), 2, "0 is not in the range"),
    ],
)
def test_searches_that_cannot_be(run: Run, filled: str, arguments: tuple[str, ...], status: int, told: str) -> None:
    outcome = run("search", "doc", *arguments, "--url", filled)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert len(contents(filled)) == 3
