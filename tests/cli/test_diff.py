"""diff: what is printed, applied and written, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run

Write = Callable[[str], str]

FIRST = """
class Doc(Model):
    title = TextField()
    embedding = VectorField(3, metric="cosine", index="hnsw", null=True)
"""
SECOND = """
class Doc(Model):
    title = CharField(40, index=True)
    author = TextField(default="it's")
    embedding = VectorField(4, metric="l2", index="hnsw", null=True)

class Note(Model):
    doc = ForeignKeyField(Doc)
"""


@pytest.fixture
def changed(run: Run, write_module: Write, empty_url: str) -> str:
    """A module with the second models, beside a database with the first and a row."""
    assert run("init-db", write_module(FIRST), "--url", empty_url).status == 0
    with connect(empty_url) as conn:
        conn.run("INSERT INTO doc (title, embedding) VALUES ('a', '[1,2,3]')")
    return write_module(SECOND)


def test_nothing_differs(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(FIRST)
    run("init-db", module, "--url", empty_url)
    assert run("diff", module, "--url", empty_url) == ("", "", 0)
    assert run("diff", module, "--url", empty_url, "--json").out == "[]\n"


def test_the_sql_that_is_printed_mends_it(run: Run, changed: str, empty_url: str) -> None:
    outcome = run("diff", changed, "--url", empty_url)
    assert (outcome.status, outcome.err) == (1, "")
    assert "-- type doc.embedding: it is vector(3), expected vector(4) (loses data)\n" in outcome.out
    with connect(empty_url) as conn:
        for statement in outcome.out.split(";\n")[:-1]:
            conn.run(statement)
        assert conn.run("SELECT author FROM doc") == [["it's"]]
    assert run("diff", changed, "--url", empty_url) == ("", "", 0)


def test_an_empty_database(run: Run, write_module: Write, empty_url: str) -> None:
    module = write_module(FIRST)
    outcome = run("diff", module, "--url", empty_url)
    assert outcome.status == 1
    assert outcome.out.startswith("-- extension vector: it is missing\nCREATE EXTENSION IF NOT EXISTS vector;\n")
    assert run("diff", module, "--url", empty_url, "--apply", "--yes").status == 0
    assert run("diff", module, "--url", empty_url).status == 0


def test_apply_loses_nothing(run: Run, changed: str, empty_url: str) -> None:
    for _ in range(2):
        outcome = run("diff", changed, "--url", empty_url, "--apply", "--yes")
        assert outcome.status == 1
        assert "still differs: type doc.embedding: it is vector(3), expected vector(4)" in outcome.err
    with connect(empty_url) as conn:
        assert conn.run("SELECT author, embedding::text FROM doc") == [["it's", "[1,2,3]"]]
    found = json.loads(run("diff", changed, "--url", empty_url, "--json").out)
    assert {each["kind"] for each in found} == {"type", "vector index", "index"}


def test_apply_asks(run: Run, changed: str, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(text: str, **_: object) -> None:
        assert "differences?" in text
        raise KeyboardInterrupt

    monkeypatch.setattr("click.confirm", no)
    outcome = run("diff", changed, "--url", empty_url, "--apply")
    assert (outcome.status, outcome.err.strip()) == (1, "lightvec: interrupted")
    assert run("diff", changed, "--url", empty_url).status == 1


def test_a_migration(run: Run, changed: str, empty_url: str, tmp_path: Path) -> None:
    for number in (1, 2):
        outcome = run("diff", changed, "--url", empty_url, "--migration", 'My "first" one', "--directory", "m")
        assert (outcome.status, outcome.err) == (0, f"written: m/000{number}_my_first_one.py\n")
    assert r"DEFAULT \'it\'\'s\' NOT NULL" in (tmp_path / "m" / "0001_my_first_one.py").read_text()


def test_no_migration_where_a_person_must_decide(run: Run, changed: str, empty_url: str, write_module: Write) -> None:
    module = write_module(FIRST.replace("title = TextField()", "title = TextField()\n    size = IntegerField()"))
    outcome = run("diff", module, "--url", empty_url, "--migration", "one")
    assert outcome.status == 2
    assert "the column doc.size: it is missing, and the table has rows" in outcome.err


def test_init_db_names_the_command(run: Run, changed: str, empty_url: str, write_module: Write) -> None:
    module = write_module(FIRST.replace("TextField()", "CharField(9)"))
    outcome = run("init-db", module, "--url", empty_url)
    assert outcome.status == 1
    assert "differs  type       doc.title: it is text, expected character varying(9)\n" in outcome.out
    assert f"`lightvec diff {module}`" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("json", "--apply", "--migration", "x"), "got both"), ((), "Missing argument"), (("json",), "no Peewee model")],
)
def test_wrong_calls(run: Run, arguments: tuple[str, ...], told: str, url: str) -> None:
    outcome = run("diff", *arguments, "--url", url)
    assert outcome.status == 2
    assert told in outcome.err
