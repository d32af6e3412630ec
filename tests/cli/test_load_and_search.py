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
    "no columns": (json_lines([*ROWS, {}]), "line 4: expected a JSON object with a value for a column"),
    "too deep": (json_lines(ROWS) + b'{"title": ' + b"[" * 100_000 + b"\n", "line 4: expected a JSON object"),
    "a list as text": (json_lines([*ROWS, {"title": ["a", "b"]}]), "doc.title holds text, got list"),
    "an object as text": (json_lines([*ROWS, {"title": {"a": 1}}]), "doc.title holds text, got dict"),
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
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS * 100))[:10] + b"\xff" * 40)
    (tmp_path / "no.npy").write_text("nonsense")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "twice.csv").write_text("title,title\na,b\n")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    (tmp_path / "short.csv").write_text("title,embedding\nonly one\n")
    for name, told in {
        "d.xml": "expected a file that ends in .jsonl, .jsonl.gz, .csv, .npy",
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
            "tags text[], code varchar(9), embedding vector(2))"
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
        (gzip.compress(json_lines(ROWS)), ("--format", "jsonl.gz")),
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
        (("--vector", "@latin.txt"), 2, "latin.txt: expected a vector as text"),
        (("--like", "77"), 1, "has no row 77"),
        (("--like", "1; DROP TABLE doc"), 1, "has no row"),
        (("--vector", "[1,2,3]", "--metric", "far"), 2, "'far' is not a metric"),
        (("--vector", "[1,2,3]", "--vector-column", "title"), 1, "are: embedding; title is none of them"),
        (("--vector", "[1,2,3]", "--schema", ""), 2, "got an empty text"),
        (("--vector", "[1,2,3]", "-k", "0"), 2, "0 is not in the range"),
    ],
)
def test_searches_that_cannot_be(
    run: Run, filled: str, tmp_path: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    outcome = run("search", "doc", *arguments, "--url", filled)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert len(contents(filled)) == 3


def test_columns_named_as_something_else_is(run: Run, empty_url: str) -> None:
    names = ("Meta", "save", "save_", "score", "score_", "distance", "_dirty", "embedding_")
    columns = [word for name in names for word in ("--column", f"{name}:text")]
    run("init-db", "--url", empty_url, "--table", "odd", "--dimensions", 2, *columns)
    row = {name: f"its {name}" for name in names}
    with connect(empty_url) as conn:
        listed = ", ".join(f'"{name}"' for name in names)
        values = ", ".join(f"'its {name}'" for name in names)
        conn.run(f"INSERT INTO odd ({listed}, embedding) VALUES ({values}, '[1,0]')")
    found = json.loads(run("search", "odd", "--vector", "[1,0]", "--url", empty_url, "--json").out)
    assert found == [{"score": 1.0, "id": 1, **{k: v for k, v in row.items() if k != "score"}, "score__": "its score"}]
    table = run("search", "odd", "--vector", "[1,0]", "--url", empty_url).out.splitlines()
    assert table[0].split() == ["score", "id", "Meta", "save", "save_", "score__", "score_", *names[5:]]
    assert table[1].startswith("1.0000")


def test_loading_into_columns_named_as_something_else_is(run: Run, empty_url: str, tmp_path: Path) -> None:
    columns = ("--column", "save:text", "--column", "save_:text", "--column", "Meta:text")
    run("init-db", "--url", empty_url, "--table", "odd", "--dimensions", 2, *columns)
    row = {"save": "a", "save_": "b", "Meta": "c", "embedding": [1, 0]}
    (tmp_path / "d.jsonl").write_bytes(json_lines([row]))
    assert run("load", "odd", "d.jsonl", "--url", empty_url).status == 0
    with connect(empty_url) as conn:
        assert conn.run('SELECT save, save_, "Meta" FROM odd') == [["a", "b", "c"]]


def test_only_a_vector_column(run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE bare (e vector(1)); INSERT INTO bare VALUES ('[1]')")
    assert json.loads(run("search", "bare", "--vector", "[1]", "--url", empty_url, "--json").out) == [{"score": 1.0}]


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (a, b)"])
def test_like_needs_a_key_of_one_column(run: Run, empty_url: str, key: str) -> None:
    with connect(empty_url) as conn:
        conn.run(f"CREATE EXTENSION vector; CREATE TABLE t (a int, b int, e vector(1){key})")
        conn.run("INSERT INTO t VALUES (1, 2, '[1]')")
    outcome = run("search", "t", "--like", 1, "--url", empty_url)
    assert (outcome.status, "no primary key of one column" in outcome.err) == (1, True)
    assert run("search", "t", "--vector", "[1]", "--url", empty_url).status == 0


def test_json_output_is_json(run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE t (f float8, b bytea, j jsonb, n numeric, e vector(2))")
        conn.run(
            "INSERT INTO t VALUES ('NaN', '\\xff00', '{\"a\": 1}', 1.50, '[0,0]'), ('-inf', NULL, '[]', 2, '[1,0]')"
        )
    outcome = run("search", "t", "--vector", "[1,0]", "--url", empty_url, "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    rows = sorted(json.loads(outcome.out, parse_constant=refuse), key=lambda row: row["n"])
    assert rows[0] == {"score": None, "f": None, "b": "ff00", "j": {"a": 1}, "n": "1.50"}
    assert rows[1] == {"score": 1.0, "f": None, "b": None, "j": [], "n": "2"}


def test_the_help_names_the_measure(run: Run) -> None:
    assert "called score" in run("search", "--help").out
