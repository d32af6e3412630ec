"""Each example, run as a user would: against a database with nothing in it, twice, with the output it says it has."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightvec.server import status, stop
from tests.places import open_folder

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

#: What is no program of its own, and what has tests of its own elsewhere.
PARTS = {"__init__", "models", "pictures", "ratings", "wordnet"}
ELSEWHERE = {"demo": "test_demo.py", "aws_lambda": "aws_lambda", "repository": "test_examples.py"}

PROGRAMS = sorted(file.stem for file in EXAMPLES.glob("*.py") if file.stem not in PARTS | ELSEWHERE.keys())


def run(module: str, folder: Path, *, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m``, in another folder than the checkout; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", *module.split()],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def documented(name: str) -> str:
    """What an example's docstring says that it prints."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    assert f"    python -m examples.{name}" in docstring
    _, _, block = docstring.partition("It prints::\n\n")
    lines = block.splitlines()
    assert lines, f"{name} does not say what it prints"
    assert all(not line or line.startswith("    ") for line in lines)
    return "\n".join(line[4:] for line in lines)


def assert_prints(printed: str, expected: str) -> None:
    """``…`` is any text in a line, and ``~99`` a number that is within a tenth of it."""
    number = r"~([\d.,]+)"
    numbers = [value.replace(",", "") for value in re.findall(number, expected)]
    text = re.sub(number, "~", expected)
    # A line's width may change with its numbers.
    pattern = re.sub(r"(\\ )+(?=\\~)", r" +", re.escape(text))
    pattern = pattern.replace(r"\~", r"([\d.,]+)").replace("…", ".*")
    found = re.fullmatch(pattern, printed.strip("\n"))
    assert found is not None, printed
    for wanted, got in zip(numbers, found.groups(), strict=True):
        assert float(got.replace(",", "")) == pytest.approx(float(wanted), rel=0.1), printed


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, empty_url: str, tmp_path: Path) -> None:
    expected = documented(name)
    for _ in range(2):
        done = run(f"examples.{name}", tmp_path, DATABASE_URL=empty_url)
        assert (done.returncode, done.stderr) == (0, "")
        assert_prints(done.stdout, expected)
        if name == "load_big_file":
            # Of 42 MB of files.
            assert int(re.findall(r"(\d+) MiB", done.stdout)[0]) < 16


def test_without_a_database_there_is_one() -> None:
    folder = open_folder("examples")
    try:
        for name in ("quick_start", "plain_pg8000"):
            done = run(f"examples.{name}", folder)
            assert (done.returncode, done.stderr) == (0, "")
            assert_prints(done.stdout, documented(name))
            assert not status(folder / ".lightvec").running
    finally:
        stop(folder / ".lightvec")


def test_repository(tmp_path: Path) -> None:
    done = run(f"pytest -p no:cacheprovider -c {ROOT}/setup.cfg --rootdir {ROOT} {EXAMPLES / 'repository'}", tmp_path)
    assert done.returncode == 0, done.stdout
    assert " 7 passed" in done.stdout


def test_every_example_is_run_and_listed() -> None:
    """One that is new, and in none of the lists above, is among the programs; a folder needs a test of its own."""
    folders = {path.parent.name for path in EXAMPLES.glob("*/*.py")}
    assert folders <= ELSEWHERE.keys()
    for name in ELSEWHERE.keys() & (folders | {"demo"}):
        assert (ROOT / "tests" / ELSEWHERE[name]).exists()
    listed = re.findall(r"^\| \[([\w/.]+)\]\(([\w/.]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.M)
    pages = {page.name for page in EXAMPLES.glob("*.md")} - {"README.md"}
    programs = {f"{name}.py" for name in (*PROGRAMS, "demo")}
    assert {target for _, target in listed} == pages | programs | {f"{folder}/" for folder in folders}


# The service, driven by its own client


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABASE_URL", url)
    from examples import flask_service as service
    from lightvec.testing import bound_to

    with bound_to(url, [service.Document]) as database:
        database.drop_tables([service.Document])
        database.create_tables([service.Document])
        database.close()
        yield service.app.test_client()
        service.Document.drop_table()


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"title": "tea", "embedding": [1, 2, 3]}, 201, None),
        ({"title": "tea", "embedding": [1, 2]}, 422, "expected 3 dimensions, not 2"),
        ({"title": "tea", "embedding": [1, 2, "x"]}, 422, "expected a number"),
        ({"title": "tea", "embedding": []}, 422, "dimensions"),
        ({"title": "tea", "embedding": "[1,2,3]"}, 422, "expected 'embedding' as a list of numbers, got \"[1,2,3]\""),
        ({"title": 7, "embedding": [1, 2, 3]}, 422, "expected 'title' as a text, got 7"),
        ({"embedding": [1, 2, 3]}, 422, "expected 'title' as a text, got null"),
        ([1, 2, 3], 400, "expected a JSON object"),
    ],
)
def test_service_add(client: Any, body: Any, status: int, sentence: str | None) -> None:
    answer = client.post("/documents", json=body)
    assert answer.status_code == status
    assert sentence is None or sentence in answer.json["error"]


def test_service_search(client: Any) -> None:
    for title, embedding in {"x": [1, 0, 0], "y": [0, 1, 0]}.items():
        assert client.post("/documents", json={"title": title, "embedding": embedding}).status_code == 201
    assert client.post("/documents", json={"title": "x", "embedding": [1, 0, 0]}).status_code == 409
    found = client.post("/search", json={"vector": [1, 0.1, 0], "k": 1}).json
    assert [(each["title"], each["score"]) for each in found] == [("x", 0.995)]
    assert [each["title"] for each in client.get(f"/documents/{found[0]['id']}/similar").json] == ["y"]
    for filters, titles in (({"title": {"$ne": "x"}}, ["y"]), ({"title": "z"}, []), ({}, ["x", "y"])):
        filtered = client.post("/search", json={"vector": [1, 0.1, 0], "filter": filters}).json
        assert [each["title"] for each in filtered] == titles


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"json": {"vector": [1, 2, 3], "k": 0}}, 422, "expected k, the number of rows, to be at least 1, got 0"),
        ({"json": {"vector": [1, 2, 3], "k": "3"}}, 422, "expected 'k' as a whole number, got \"3\""),
        ({"json": {"vector": [0, 0, 0]}}, 422, "zeros"),
        ({"json": {"vector": [1, 2, 3], "filter": []}}, 422, "expected 'filter' as an object, got []"),
        ({"json": {"vector": [1, 2, 3], "filter": {"score": 1}}}, 422, "filter: expected one of id, title"),
        ({"json": {"vector": [1, 2, 3], "filter": {"id": "x"}}}, 422, "filter.id: expected a whole number, got 'x'"),
        ({"data": "no JSON", "content_type": "application/json"}, 400, "could not understand"),
        ({"data": "vector=1"}, 415, "application/json"),
    ],
)
def test_service_refuses(client: Any, request_: Any, status: int, sentence: str) -> None:
    answer = client.post("/search", **request_)
    assert answer.status_code == status
    assert sentence in answer.json["error"]


def test_service_has_json_for_paths_that_are_not_there(client: Any) -> None:
    assert client.get("/documents/99/similar").json == {"error": "there is no such document"}
    assert client.get("/nothing").status_code == 404
    assert "error" in client.get("/nothing").json


def test_service_gives_connections_back(client: Any) -> None:
    """More requests than the pool has connections, also such as fail."""
    for _ in range(10):
        assert client.post("/search", json={"vector": [1, 2]}).status_code == 422
        assert client.post("/search", json={"vector": [1, 2, 3]}).status_code == 200
