"""load of nested JSON, and of what Qdrant, Pinecone and Chroma export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def nested_url(make_database: Callable[[], str]) -> str:
    url = make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector")
    return url


@pytest.fixture
def page(nested_url: str) -> Iterator[str]:
    """A database with an empty table ``page``."""
    with connect(nested_url) as conn:
        conn.run(
            "CREATE TABLE page (id text PRIMARY KEY, title text, year numeric, embedding vector(2), "
            "words sparsevec(10), meta jsonb, raw json)"
        )
    yield nested_url
    with connect(nested_url) as conn:
        conn.run("DROP TABLE page")


def rows(url: str, *columns: str) -> list[Any]:
    with connect(url) as conn:
        listed = ", ".join(f"{column}::text" for column in columns)
        return conn.run(f'SELECT {listed} FROM page ORDER BY id COLLATE "C"') or []


def load(run: Run, url: str, folder: Path, text: str, *options: str) -> str:
    (folder / "d.jsonl").write_text(text)
    outcome = run("load", "page", "d.jsonl", *options, "--url", url)
    assert outcome.status == 0, outcome
    return outcome.err


def refused(run: Run, url: str, folder: Path, text: str, *options: str) -> str:
    (folder / "d.jsonl").write_text(text)
    outcome = run("load", "page", "d.jsonl", *options, "--url", url)
    assert outcome.status in (1, 2), outcome
    assert len(outcome.err.splitlines()) == 1
    assert rows(url, "id") == []
    return outcome.err


def test_a_path_and_the_rest(run: Run, page: str, tmp_path: Path) -> None:
    text = (
        '{"id": "a", "payload": {"title": "x", "info": {"year": 1.50, "n": 1.10}}, "lang": "en", "embedding": [1, 2]}\n'
    )
    load(run, page, tmp_path, text, "--map", "payload.title:title", "--map", "payload.info.year:year", "--rest", "meta")
    assert rows(page, "id", "title", "year", "embedding", "meta") == [
        ["a", "x", "1.50", "[1,2]", '{"lang": "en", "payload": {"info": {"n": 1.1}}}']
    ]


def test_a_path_to_a_column_of_json(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a", "p": {"info": {"n": 1.5, "l": [1]}, "raw": 2, "meta": 3}}\n'
    load(run, page, tmp_path, text, "--map", "p.info:meta", "--map", "p.raw:raw", "--skip", "p.meta")
    assert rows(page, "meta", "raw") == [['{"l": [1], "n": 1.5}', "2"]]


def test_an_object_that_paths_empty_is_gone(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a", "p": {"t": "x", "secret": {"k": 1}}}\n{"id": "b", "p": {"t": null}}\n{"id": "c"}\n'
    load(run, page, tmp_path, text, "--map", "p.t:title", "--skip", "p.secret")
    assert rows(page, "id", "title") == [["a", "x"], ["b", None], ["c", None]]


def test_names_with_dots(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a", "p.t": "whole", "p": {"t": "inner"}}\n{"id": "b", "p": {"q.t": "x"}}\n'
    load(run, page, tmp_path, text, "--map", "p.t:title", "--rest", "meta")
    assert rows(page, "title", "meta") == [["whole", '{"p": {"t": "inner"}}'], [None, '{"p": {"q.t": "x"}}']]


def test_the_rest_with_only(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a", "title": "x", "meta": {"k": 1}, "drop": 1}\n'
    load(run, page, tmp_path, text, "--map", "id:id", "--only", "--skip", "drop", "--rest", "meta")
    assert rows(page, "id", "title", "meta") == [["a", None, '{"meta": {"k": 1}, "title": "x"}']]


def test_no_rest(run: Run, page: str, tmp_path: Path) -> None:
    load(run, page, tmp_path, '{"id": "a"}\n', "--rest", "meta")
    assert rows(page, "meta") == [["{}"]]


def test_what_is_left_of_an_object_has_no_column(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a", "p": {"t": "x", "u": 1}}\n'
    assert "the file has 'p', and the table page no such column" in refused(
        run, page, tmp_path, text, "--map", "p.t:title"
    )


def test_a_path_that_no_object_has(run: Run, page: str, tmp_path: Path) -> None:
    told = refused(run, page, tmp_path, '{"id": "a", "title": "x"}\n', "--map", "p.t:year")
    assert "the file has no 'p.t', which --map names" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rest", "none"), "--rest none: expected a column of JSON, of: meta, raw"),
        (("--rest", "title"), "--rest title: expected a column of JSON, of: meta, raw"),
    ],
)
def test_no_column_for_the_rest(run: Run, page: str, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    assert told in refused(run, page, tmp_path, '{"id": "a"}\n', *options)


def test_the_rest_is_of_json(run: Run, page: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id\na\n")
    outcome = run("load", "page", "d.csv", "--rest", "meta", "--url", page)
    assert (outcome.status, "--rest is for JSON objects" in outcome.err) == (2, True)


def test_json_stays_as_it_is_written(run: Run, page: str, tmp_path: Path) -> None:
    text = '{"id": "a" , "raw" : {"x":1.10,  "x":1e2, "\\u0061": "\\u00e9"} ,"meta":[1.10, 1E+2]}\n'
    load(run, page, tmp_path, "\n" + text + '{"id": "b", "raw": null, "meta": "s"}\n')
    assert rows(page, "raw", "meta") == [['{"x":1.10,  "x":1e2, "\\u0061": "\\u00e9"}', "[1.10, 100]"], [None, '"s"']]


QDRANT = [
    {"id": "1", "vector": [0.1, 0.2], "payload": {"title": "a", "lang": "en", "id": "inner"}, "shard_key": None},
    {"id": "2", "vector": [0.3, 0.4], "payload": None},
]
#: One answer of scrolling, an answer a line, a list, and a point a line.
QDRANT_FILES = {
    "answer": json.dumps(
        {"result": {"points": QDRANT, "next_page_offset": None}, "status": "ok", "time": 0.1}, indent=1
    ),
    "answers": "".join(json.dumps({"result": {"points": [each], "next_page_offset": 2}}) + "\n" for each in QDRANT),
    "list": json.dumps(QDRANT, indent=2),
    "points": "".join(json.dumps(each) + "\n" for each in QDRANT),
}


@pytest.mark.parametrize("form", QDRANT_FILES)
def test_qdrant(run: Run, page: str, tmp_path: Path, form: str) -> None:
    told = load(run, page, tmp_path, QDRANT_FILES[form], "--format", "qdrant", "--rest", "meta")
    assert "2 rows loaded" in told
    assert rows(page, "id", "title", "embedding", "meta") == [
        ["1", "a", "[0.1,0.2]", '{"lang": "en", "payload.id": "inner"}'],
        ["2", None, "[0.3,0.4]", "{}"],
    ]


def test_named_vectors_of_qdrant(run: Run, page: str, tmp_path: Path) -> None:
    vectors = {"dense": [0.1, 0.2], "sparse": {"indices": [9, 0], "values": [0.5, 1.5]}}
    text = json.dumps({"id": 7, "vector": vectors, "payload": {"title": "a"}})
    load(
        run,
        page,
        tmp_path,
        text,
        "--format",
        "qdrant",
        "--map",
        "vector.dense:embedding",
        "--map",
        "vector.sparse:words",
    )
    assert rows(page, "id", "title", "embedding", "words") == [["7", "a", "[0.1,0.2]", "{1:1.5,10:0.5}/10"]]


PINECONE = [
    {"id": "1", "values": [0.1, 0.2], "metadata": {"title": "a", "genre": ["x"]}},
    {"id": "2", "values": [0.3, 0.4], "sparseValues": {"indices": [1, 3], "values": [0.5, 1]}},
]
PINECONE_FILES = {
    "upserted": json.dumps({"vectors": PINECONE, "namespace": "n"}),
    "fetched": json.dumps(
        {"vectors": {str(each["id"]): each for each in PINECONE}, "usage": {"readUnits": 1}}, indent=1
    ),
    "vectors": "".join(json.dumps(each) + "\n" for each in PINECONE),
}


@pytest.mark.parametrize("form", PINECONE_FILES)
def test_pinecone(run: Run, page: str, tmp_path: Path, form: str) -> None:
    options = ("--format", "pinecone", "--map", "sparse_values:words", "--rest", "meta")
    load(run, page, tmp_path, PINECONE_FILES[form], *options)
    assert rows(page, "id", "title", "embedding", "words", "meta") == [
        ["1", "a", "[0.1,0.2]", None, '{"genre": ["x"]}'],
        ["2", None, "[0.3,0.4]", "{2:0.5,4:1}/10", "{}"],
    ]


CHROMA = {
    "ids": ["1", "2"],
    "embeddings": [[0.1, 0.2], [0.3, 0.4]],
    "documents": ["a", None],
    "metadatas": [{"year": 1999, "lang": "en"}, None],
    "uris": None,
    "data": None,
    "included": ["embeddings", "documents", "metadatas"],
}


def test_chroma(run: Run, page: str, tmp_path: Path) -> None:
    options = ("--format", "chroma", "--map", "document:title", "--rest", "meta")
    load(run, page, tmp_path, json.dumps(CHROMA), *options)
    assert rows(page, "id", "title", "year", "embedding", "meta") == [
        ["1", "a", "1999", "[0.1,0.2]", '{"lang": "en"}'],
        ["2", None, None, "[0.3,0.4]", "{}"],
    ]


def test_the_vector_column_can_be_named(run: Run, page: str, tmp_path: Path) -> None:
    with connect(page) as conn:
        conn.run("ALTER TABLE page ADD other vector(2)")
    load(run, page, tmp_path, json.dumps(CHROMA), "--format", "chroma", "--vector-column", "other", "--rest", "meta")
    assert rows(page, "embedding", "other") == [[None, "[0.1,0.2]"], [None, "[0.3,0.4]"]]


@pytest.mark.parametrize(
    ("format", "text", "told"),
    [
        ("qdrant", '{"result": {"points": [{"vector": [1, 2]}]}}', "after row 0: expected Qdrant's points"),
        ("qdrant", '{"result": {"points": [{"id": 1}', "expected Qdrant's points"),
        ("qdrant", "[3]", "expected Qdrant's points"),
        ("qdrant", '{"result": null}', "expected Qdrant's points"),
        ("qdrant", '{"id": 1, "payload": "x"}', "expected Qdrant's points"),
        ("pinecone", '{"vectors": [1]}', "expected Pinecone's vectors"),
        ("pinecone", '{"matches": []}', "expected Pinecone's vectors"),
        ("chroma", '{"ids": ["1"], "embeddings": []}', "expected Chroma's lists"),
        ("chroma", '{"ids": [["1"]], "embeddings": [[[1, 2]]]}', "expected Chroma's lists"),
        ("chroma", "[]", "expected Chroma's lists"),
        ("chroma", "\x00", "expected Chroma's lists"),
        ("qdrant", '{"id": "1", "vector": [1]}', "expected 2 dimensions, not 1"),
    ],
)
def test_what_is_no_export(run: Run, page: str, tmp_path: Path, format: str, text: str, told: str) -> None:
    assert told in refused(run, page, tmp_path, text, "--format", format)


def test_an_export_through_a_pipe_is_text(run: Run, page: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(CHROMA))
    told = run("load", "page", "d.json", "--url", page)
    assert (told.status, "--format" in told.err) == (2, True)
    (tmp_path / "d.qdrant").write_text("{}")
    assert run("load", "page", "d.qdrant", "--url", page).status == 2
