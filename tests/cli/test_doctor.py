"""``lightvec doctor``: what it prints, and its exit status."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import AutoField, Model, TextField

from lightvec import Bit
from lightvec.peewee import Pg8000Database, VectorField, fill
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import connect
from lightvec.wire.identifiers import identifier
from tests.cli.conftest import Run
from tests.names.hostile import FEW


@pytest.fixture
def made(run: Run, empty_url: str) -> str:
    """A database with one table in which all is well."""
    assert run("init-db", "--table", "doc", "--dimensions", 2, "--url", empty_url).status == 0
    with connect(empty_url) as conn:
        conn.run("INSERT INTO doc (embedding) VALUES ('[1,2]'), ('[3,4]'); ANALYZE doc")
    return empty_url


def test_all_is_well(run: Run, made: str) -> None:
    outcome = run("doctor", "--url", made)
    assert (outcome.status, outcome.err) == (0, "0 problems\n")
    lines = outcome.out.splitlines()
    assert all(line.startswith("ok       ") for line in lines)
    assert "ok       doc.embedding: vector(2), 2 rows" in lines


def test_a_problem(run: Run, made: str) -> None:
    with connect(made) as conn:
        conn.run("INSERT INTO doc (embedding) VALUES ('[0,0]'), (NULL)")
    outcome = run("doctor", "doc", "--schema", "public", "--url", made)
    assert (outcome.status, outcome.err) == (1, "1 problem\n")
    *_, note, note_remedy, problem, remedy = outcome.out.splitlines()
    assert note.startswith("note     doc.embedding: 1 of 4 rows have no vector")
    assert note_remedy.startswith('         UPDATE "public"."doc" ')
    assert problem.startswith("problem  doc.embedding: 1 of 4 rows have a vector of zeros")
    assert remedy.startswith("         find their source")


def test_json(run: Run, made: str) -> None:
    outcome = run("doctor", "--json", "--url", made)
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert {tuple(finding) for finding in found} == {("level", "code", "subject", "what", "remedy")}
    assert {finding["code"] for finding in found} == {
        *("latency", "tls", "no_pooler", "versions", "column", "index", "statistics", "index_memory")
    }


def test_json_of_a_problem(run: Run, empty_url: str) -> None:
    outcome = run("doctor", "--json", "--url", empty_url)
    assert outcome.status == 1
    assert [finding["code"] for finding in json.loads(outcome.out) if finding["level"] == "problem"] == ["no_extension"]


def test_a_name_with_line_breaks(run: Run, made: str) -> None:
    with connect(made) as conn:
        conn.run('CREATE TABLE "two\nlines" (e vector(2)); ANALYZE "two\nlines"')
    outcome = run("doctor", "--url", made)
    assert outcome.status == 0
    assert "note     two lines.e: there is no vector index on it" in outcome.out


def test_a_table_that_is_not_there(run: Run, made: str) -> None:
    outcome = run("doctor", "docs", "--url", made)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("lightvec: there is no table docs; the tables there are: doc (`lightvec init-db`")


def test_a_schema_that_is_not_there(run: Run, made: str) -> None:
    """A mistyped one must not pass in a pipeline."""
    outcome = run("doctor", "--schema", "nosuch", "--url", made)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "lightvec: there is no schema nosuch; the schemas are: information_schema, public\n"
    assert run("doctor", "--schema", "public", "--url", made).status == 0


@pytest.mark.parametrize("arguments", [("--nonsense",), ("--schema", ""), ("--url", "")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("doctor", *arguments).status == 2


# Stored vectors beside those of a function

APP = """
from hashlib import sha256
from math import sin
from lightvec import SparseVector

CALLS = []

def embed(texts):
    CALLS.append(list(texts))
    return [[sin(byte * n) for n, byte in enumerate(sha256(text.encode()).digest(), 1)] for text in texts]

def prefixed(texts):
    return [[0.8 * one + 0.6 * other for one, other in zip(*pair)] for pair in zip(embed(texts), other(texts))]

def other(texts):
    return embed([f"query: {text}" for text in texts])

def rounded(texts):
    return [[round(number, 2) for number in vector] for vector in embed(texts)]

def longer(texts):
    return [[3 * number for number in vector] for vector in embed(texts)]

def shorter(texts):
    return [vector[:8] for vector in embed(texts)]

def nan(texts):
    return [[float("nan")] * 32 for text in texts]

def fail(texts):
    raise RuntimeError("no key")

def sparse(texts):
    return [SparseVector({place: vector[place] for place in range(0, 32, 3)}, 10**6) for vector in embed(texts)]

def sparse_other(texts):
    return sparse([f"query: {text}" for text in texts])

def bits(texts):
    return [[number > 0 for number in vector] for vector in embed(texts)]

def bits_other(texts):
    return bits([f"query: {text}" for text in texts])
"""

TEXTS = [f"text number {number}" for number in range(40)]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with functions that make vectors."""
    (tmp_path / "doctor_app.py").write_text(APP)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("doctor_app")
    sys.modules.pop("doctor_app")


def store(url: str, column: str, vectors: list[Any], index: str = "") -> None:
    """Store these vectors beside ``TEXTS`` in the table ``doc``."""
    with connect(url) as conn:
        conn.run("CREATE EXTENSION IF NOT EXISTS vector")
        conn.run(f"CREATE TABLE doc (id bigserial PRIMARY KEY, body text, e {column})")
        conn.run("INSERT INTO doc (body) VALUES (NULL), ('  ')")
        conn.copy_rows("doc", ["body", "e"], list(zip(TEXTS, vectors, strict=True)))
        if index:
            conn.run(f"CREATE INDEX ON doc USING hnsw (e {index})")
        conn.run("ANALYZE doc")


def compared(run: Run, url: str, function: str, *options: str) -> dict[str, dict[str, Any]]:
    """What the comparison finds, by its code."""
    words = ("doctor", "doc", "--with", f"doctor_app:{function}", "--json", "--url", url)
    outcome = run(*words, *options)
    codes = ("same_vectors", "other_direction", "other_length", "other_dimensions", "nothing_to_compare")
    assert outcome.err == ""
    found = {each["code"]: each for each in json.loads(outcome.out) if each["code"] in codes}
    assert outcome.status == any(each["level"] == "problem" for each in json.loads(outcome.out))
    return found


BODY = ("--text-column", "body")


@pytest.mark.parametrize("column", ["vector(32)", "halfvec(32)", "vector"])
def test_the_function_that_made_the_vectors(run: Run, empty_url: str, app: Any, column: str) -> None:
    store(empty_url, column, app.embed(TEXTS))
    app.CALLS.clear()
    for function in ("embed", "rounded"):
        found = compared(run, empty_url, function, *BODY)
        assert list(found) == ["same_vectors"]
        what = f"doctor_app:{function} makes the vectors of 16 rows again (median cosine 1.000)"
        assert found["same_vectors"]["what"] == what
    assert [len(texts) for texts in app.CALLS] == [16, 16]
    assert set(app.CALLS[0]) <= set(TEXTS)


@pytest.mark.parametrize("column", ["vector(32)", "halfvec(32)"])
@pytest.mark.parametrize("function", ["other", "prefixed"])
def test_another_model_or_prefix(run: Run, empty_url: str, app: Any, column: str, function: str) -> None:
    store(empty_url, column, app.embed(TEXTS), f"{column[:-4]}_cosine_ops")
    found = compared(run, empty_url, function, *BODY)
    assert found["other_direction"]["level"] == "problem"
    assert "(16 of 16 rows, median cosine " in found["other_direction"]["what"]
    assert "same_vectors" not in found


def test_another_model_of_some_rows(run: Run, empty_url: str, app: Any) -> None:
    store(empty_url, "vector(32)", [*app.embed(TEXTS[:30]), *app.other(TEXTS[30:])])
    found = compared(run, empty_url, "embed", *BODY)
    assert list(found) == ["other_direction"]
    assert re.search(r"for \d of 16 rows \(median cosine", found["other_direction"]["what"])


@pytest.mark.parametrize(
    ("index", "level"),
    [("", "note"), ("vector_cosine_ops", "note"), ("vector_l2_ops", "problem"), ("vector_ip_ops", "problem")],
)
def test_another_normalization(run: Run, empty_url: str, app: Any, index: str, level: str) -> None:
    store(empty_url, "vector(32)", app.embed(TEXTS), index)
    found = compared(run, empty_url, "longer", *BODY)
    assert set(found) == {"same_vectors", "other_length"}
    assert found["other_length"]["level"] == level
    assert "0.333 times the length" in found["other_length"]["what"]


@pytest.mark.parametrize("column", ["vector(32)", "vector"])
def test_other_dimensions(run: Run, empty_url: str, app: Any, column: str) -> None:
    store(empty_url, column, app.embed(TEXTS))
    found = compared(run, empty_url, "shorter", *BODY)
    assert list(found) == ["other_dimensions"]
    told = "doctor_app:shorter makes vectors of 8 dimensions, and those stored have 32"
    assert (found["other_dimensions"]["level"], found["other_dimensions"]["what"]) == ("problem", told)


def test_sparse_vectors(run: Run, empty_url: str, app: Any) -> None:
    store(empty_url, "sparsevec(1000000)", app.sparse(TEXTS))
    assert list(compared(run, empty_url, "sparse", *BODY)) == ["same_vectors"]
    assert "other_direction" in compared(run, empty_url, "sparse_other", *BODY)


@pytest.mark.parametrize("index", ["", "bit_hamming_ops"])
def test_bits(run: Run, empty_url: str, app: Any, index: str) -> None:
    """Without an index, too, where doctor does not count a bit column among the vectors."""
    store(empty_url, "bit(32)", [Bit(bits) for bits in app.bits(TEXTS)], index)
    found = compared(run, empty_url, "bits", *BODY)
    assert "(median share of equal bits 1.000)" in found["same_vectors"]["what"]
    assert "median share of equal bits 0." in compared(run, empty_url, "bits_other", *BODY)["other_direction"]["what"]


def test_no_row_to_compare(run: Run, empty_url: str, app: Any) -> None:
    store(empty_url, "vector(32)", app.embed(TEXTS))
    with connect(empty_url) as conn:
        conn.run("UPDATE doc SET body = NULL")
    app.CALLS.clear()
    found = compared(run, empty_url, "embed", *BODY)
    assert [(code, each["level"]) for code, each in found.items()] == [("nothing_to_compare", "note")]
    assert app.CALLS == []


def test_a_recorded_source(run: Run, empty_url: str, app: Any) -> None:
    """Its text is what is embedded, of the rows that are fresh."""

    class Doc(Model):
        id = AutoField()
        title = TextField()
        body = TextField(null=True)
        e = VectorField(32, metric="cosine", model="sines", source=("title", "body"))

    database = Pg8000Database(empty_url)
    with database.connection_context(), database.bind_ctx([Doc]):
        set_up(database, [Doc])
        Doc.insert_many([{"title": text, "body": None if len(text) % 2 else "more"} for text in TEXTS]).execute()
        fill(Doc.e, app.embed)
        Doc.update(title="edited").where(Doc.id > 20).execute()
        stale = {row.title for row in Doc.e.pending()}
    app.CALLS.clear()
    assert list(compared(run, empty_url, "embed")) == ["same_vectors"]
    (texts,) = app.CALLS
    assert len(texts) == 16
    assert {text.partition("\n")[0] for text in texts} <= {*TEXTS} - stale
    assert any(text.endswith("\nmore") for text in texts)
    assert "other_direction" in compared(run, empty_url, "embed", "--text-column", "title")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--with", "doctor_app:embed", *BODY), 2, "--with compares the vectors of one TABLE: got 0"),
        (("doc", "doc", "--with", "doctor_app:embed", *BODY), 2, "one TABLE: got 2"),
        (("doc", *BODY), 2, "--text-column says what --with compares"),
        (("doc", "--vector-column", "e"), 2, "--vector-column says what --with compares"),
        (("doc", "--with", "doctor_app:embed"), 2, "doc.e records no source: say --text-column NAME"),
        (("doc", "--with", "doctor_app:none", *BODY), 2, "has no function none"),
        (("doc", "--with", "doctor_app:embed", "--text-column", "no"), 1, "the table doc has no column no: it has id"),
        (("doc", "--with", "doctor_app:embed", *BODY, "--vector-column", "no"), 1, "no is none of them"),
        (("doc", "--with", "doctor_app:nan", *BODY), 1, "doctor_app:nan: "),
        (("doc", "--with", "doctor_app:fail", *BODY), 1, "the function raised RuntimeError: no key"),
    ],
)
def test_comparisons_that_cannot_be(
    run: Run, empty_url: str, app: Any, arguments: tuple[str, ...], status: int, told: str
) -> None:
    store(empty_url, "vector(32)", app.embed(TEXTS))
    outcome = run("doctor", *arguments, "--url", empty_url)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert len(outcome.err.splitlines()) <= 4


@pytest.mark.parametrize("name", FEW)
def test_hostile_names(run: Run, empty_url: str, app: Any, name: str) -> None:
    quoted = identifier(name)
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.run(f"CREATE TABLE {quoted} ({quoted} text, e vector(32))")
        conn.copy_rows(name, [name, "e"], list(zip(TEXTS, app.embed(TEXTS), strict=True)))
    words = ("--with", "doctor_app:embed", f"--text-column={name}", "--json", "--url", empty_url, "--", name)
    found = json.loads(run("doctor", *words).out)
    assert "same_vectors" in {finding["code"] for finding in found}


def test_the_vectors_of_a_view(run: Run, empty_url: str, app: Any) -> None:
    store(empty_url, "vector(32)", app.embed(TEXTS))
    with connect(empty_url) as conn:
        conn.run("CREATE SCHEMA shown CREATE VIEW doc AS SELECT body AS words, e AS vector FROM public.doc")
    found = compared(run, empty_url, "embed", "--text-column", "words", "--schema", "shown")
    assert found["same_vectors"]["subject"] == "shown.doc.vector"


def test_the_matrix_of_a_function(run: Run, empty_url: str, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store(empty_url, "vector(32)", app.embed(TEXTS))
    monkeypatch.setattr(app, "embed", lambda texts, made=app.embed: np.array(made(texts), np.float32))
    assert list(compared(run, empty_url, "embed", *BODY)) == ["same_vectors"]
    words = ("search", "doc", TEXTS[3], "--with", "doctor_app:embed", "--url", empty_url, "-k", 1, "--json")
    assert json.loads(run(*words).out)[0]["body"] == TEXTS[3]
