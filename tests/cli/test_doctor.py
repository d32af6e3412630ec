"""``lightvec doctor``: what it prints, and its exit status."""

from __future__ import annotations

import json

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run


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
