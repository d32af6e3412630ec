"""``lightvec fill``, as a scheduled job runs it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run

MODULE = """
class Doc(Model):
    body = TextField(null=True)
    embedding = VectorField(2, metric="l2", model="lengths", source="body")

class Other(Model):
    vector = VectorField(2)

def embed(texts):
    if "bad" in texts:
        raise ValueError("no bad texts")
    return [[len(text), 1] for text in texts]
"""


@pytest.fixture
def module(write_module: Callable[[str], str], run: Run, empty_url: str) -> str:
    """The models' module, with twenty rows in the table of Doc."""
    name = write_module(MODULE)
    assert run("init-db", name, "--url", empty_url).status == 0
    with connect(empty_url) as conn:
        conn.run("INSERT INTO doc (body) SELECT 'text ' || n FROM generate_series(1, 20) n")
    return name


def test_a_run(module: str, run: Run, empty_url: str) -> None:
    common = ("--with", f"{module}:embed", "--url", empty_url)
    dry = run("fill", module, "--dry-run", "--url", empty_url)
    assert dry.out == "doc.embedding: 20 rows pending, 131 characters\n"
    first = run("fill", f"{module}:Doc", *common, "--limit", 5, "--batch", 2)
    assert first == ("doc.embedding: 5 written; stopped: the limit of 5 rows is reached\n", "", 0)
    parts = [run("fill", f"{module}:Doc.embedding", *common, "--part", f"{n}/2", "--json") for n in (1, 2)]
    written = [json.loads(part.out)[0] for part in parts]
    assert sum(each["written"] for each in written) == 15
    assert written[0]["column"] == "doc.embedding"
    assert run("fill", module, *common) == ("doc.embedding: nothing to do\n", "", 0)
    with connect(empty_url) as conn:
        assert conn.run("SELECT count(*) FROM doc WHERE embedding <-> '[0,1]' = length(body)") == [[20]]


def test_rows_that_fail(module: str, run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("UPDATE doc SET body = 'bad' WHERE id IN (3, 4)")
    done = run("fill", module, "--with", f"{module}:embed", "--url", empty_url)
    assert done.out == "doc.embedding: 18 written, 2 failed\n"
    assert done.err.startswith("doc.embedding of row 3: ")
    assert "no bad texts" in done.err
    assert done.status == 1


def test_adopt(module: str, run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("UPDATE doc SET embedding = '[1,2]' WHERE id <= 12")
    done = run("fill", module, "--adopt", "--url", empty_url)
    assert done == ("doc.embedding: 12 adopted\n", "", 0)
    both = run("fill", module, "--adopt", "--with", f"{module}:embed", "--url", empty_url)
    assert both == ("doc.embedding: 8 written\n", "", 0)


def test_another_model(module: str, run: Run, empty_url: str, write_module: Callable[[str], str]) -> None:
    assert run("fill", module, "--with", f"{module}:embed", "--url", empty_url).status == 0
    new = write_module(MODULE.replace("lengths", "others"))
    refused = run("fill", new, "--with", f"{new}:embed", "--url", empty_url)
    assert refused.status == 1
    assert "has vectors of the model lengths, and Doc.embedding says others" in refused.err
    done = run("fill", new, "--with", f"{new}:embed", "--url", empty_url, "--in-place")
    assert done == ("doc.embedding: 20 written\n", "", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{module}"], "name the function that makes the vectors: --with MODULE:FUNCTION"),
        (["{module}", "--adopt", "--dry-run"], "expected --adopt or --dry-run, got both"),
        (["{module}", "--with", "{module}:embed", "--part", "5/4"], "expected N/M, such as 1/4"),
        (["{module}:Other", "--dry-run"], "expected a vector field with source=, got a model without one"),
        (["{module}:Doc.body", "--dry-run"], "expected a vector field body, got a model without one"),
        (["{module}:Other.vector", "--dry-run"], "Other.vector says no text that it is made of"),
    ],
)
def test_wrong_usage(module: str, run: Run, empty_url: str, arguments: list[str], message: str) -> None:
    given = [argument.format(module=module) for argument in arguments]
    done = run("fill", *given, "--url", empty_url)
    assert done.status in (1, 2)
    assert message in done.err


TWO_MODELS = (
    MODULE
    + """
class Moving(Model):
    body = TextField(null=True)
    embedding = VectorField(2, metric="l2", model="lengths", source="body")
    embedding_v2 = VectorField(2, metric="l2", model="lengths-2", source="body")
"""
)


def test_a_function_makes_the_vectors_of_one_model(
    write_module: Callable[[str], str], run: Run, empty_url: str
) -> None:
    name = write_module(TWO_MODELS)
    run("init-db", name, "--url", empty_url)
    with connect(empty_url) as conn:
        conn.run("INSERT INTO moving (body) VALUES ('one')")
    common = ("--with", f"{name}:embed", "--url", empty_url)
    refused = run("fill", name, *common)
    assert "expected fields of one embedding model, got " in refused.err
    assert "Moving.embedding_v2 of lengths-2: name those" in refused.err
    assert refused.status == 2
    done = run("fill", f"{name}:Moving.embedding", f"{name}:Doc", *common)
    assert done.out == "moving.embedding: 1 written\ndoc.embedding: nothing to do\n"
    # Counting needs no function.
    assert "moving.embedding_v2: 1 rows pending, 3 characters\n" in run("fill", name, "--dry-run", *common[2:]).out


def test_a_field_that_is_named_twice_is_filled_once(module: str, run: Run, empty_url: str) -> None:
    done = run("fill", module, f"{module}:Doc", "--dry-run", "--url", empty_url)
    assert done.out == "doc.embedding: 20 rows pending, 131 characters\n"


@pytest.mark.parametrize("option", [("--part", "1/2"), ("--limit", 3), ("--in-place",)])
def test_options_that_adopt_would_not_heed(module: str, run: Run, empty_url: str, option: tuple[object, ...]) -> None:
    refused = run("fill", module, "--adopt", *option, "--url", empty_url)
    assert "--adopt takes all rows" in refused.err
    assert refused.status == 2
