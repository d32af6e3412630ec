"""What is printed where: output that is closed or full, terminals, colors, control characters, wide letters."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightvec.pg8000 import connect
from tests.cli.conftest import Run
from tests.cli.rows import ROWS, contents, json_lines

FULL = Path("/dev/full")


def shell(command: str, url: str, folder: Path) -> tuple[int, str, str]:
    """Status, output and messages of a command, as a shell runs it."""
    words = f"{sys.executable} -m lightvec {command}".replace("URL", f"--url '{url}'")
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False, cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def doc(run: Run, empty_url: str, tmp_path: Path) -> str:
    """A database with an empty table ``doc``, and rows for it in ``d.jsonl``."""
    arguments = ("--dimensions", 3, "--column", "title:text", "--index", "none")
    assert run("init-db", "--url", empty_url, "--table", "doc", *arguments).status == 0
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS))
    return empty_url


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "--json >/dev/full", "--json 2>&- >/dev/full"])
def test_a_load_whose_report_cannot_be_written(doc: str, tmp_path: Path, redirected: str) -> None:
    """The rows are there, so the status is 0: a retry would load them twice."""
    status, _, told = shell(f"load doc d.jsonl URL {redirected}", doc, tmp_path)
    assert status == 0
    assert len(contents(doc)) == 3
    if redirected == "--json >/dev/full":
        assert told == "3 rows loaded, but the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", ">/dev/full"])
def test_a_load_that_fails_fails_where_nothing_can_be_written(doc: str, tmp_path: Path, redirected: str) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([*ROWS, {"embedding": [1]}]))
    status, _, _ = shell(f"load doc d.jsonl URL {redirected}", doc, tmp_path)
    assert (status, contents(doc)) == (1, [])


def test_a_load_whose_reader_has_gone(doc: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lightvec", "load", "doc", "d.jsonl", "--json", "--url", doc]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    os.close(writer)
    assert (done.returncode, len(contents(doc))) == (0, 3)


WRITERS = {
    "search doc --vector '[1,0,0]' URL": True,
    "search doc --vector '[1,0,0]' URL --json": True,
    "create-index doc URL --json": True,
    "create-index doc URL --dry-run": True,
    "init-db --table t --dimensions 2 URL": True,
    "doctor doc URL": True,
    "recall doc URL": True,
    "--help": False,
    "--version": False,
}


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("command", WRITERS)
def test_output_that_cannot_be_written(doc: str, tmp_path: Path, command: str) -> None:
    if WRITERS[command]:
        assert shell("load doc d.jsonl URL", doc, tmp_path)[0] == 0
    status, _, told = shell(f"{command} >/dev/full", doc, tmp_path)
    assert (status, told.splitlines()[-1]) == (1, "lightvec: the output cannot be written: No space left on device")
    assert shell(f"{command} >/dev/full 2>&-", doc, tmp_path)[0] == 1


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_messages_that_cannot_be_written_change_nothing(doc: str, tmp_path: Path, closed: str) -> None:
    assert shell(f"load doc d.jsonl URL {closed}", doc, tmp_path)[0] == 0
    assert shell(f"create-index doc URL {closed}", doc, tmp_path)[0] == 0
    status, out, _ = shell(f"search doc --vector '[1,0,0]' URL --json {closed}", doc, tmp_path)
    assert (status, len(json.loads(out))) == (0, 3)
    assert shell(f"search nosuch --vector '[1,0,0]' URL {closed}", doc, tmp_path)[0] == 1
    assert shell(f"serch {closed}", doc, tmp_path)[0] == 2


# On a terminal


def on_terminal(words: list[str], folder: Path, **environment: str) -> str:
    """What a command prints on a terminal of 40 columns."""
    main, terminal = pty.openpty()
    env = {**os.environ, "COLUMNS": "40", "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "lightvec", *words]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, cwd=folder, env=env) as process:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(main, 4_096):
                shown += piece
        except OSError:
            pass  # The terminal ends with an error on Linux.
        assert process.wait(60) == 0
    os.close(main)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color(doc: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS * 2_000))
    search = ["search", "doc", "--vector", "[1,0,0]", "-k", "1", "--url", doc]
    assert on_terminal(["load", "doc", "d.jsonl", "--url", doc], tmp_path, **environment)
    assert "\x1b[1m" in on_terminal(search, tmp_path)
    assert "\x1b" not in on_terminal(search, tmp_path, **environment)
    init = ["init-db", "--table", "doc", "--dimensions", "3", "--index", "none", "--url", doc]
    assert "\x1b" not in on_terminal(init, tmp_path, **environment)


def test_progress_is_not_for_a_dumb_terminal(doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines(ROWS * 2_000))
    load = ["load", "doc", "d.jsonl", "--url", doc]
    assert "\x1b[K" in on_terminal(load, tmp_path, NO_COLOR="1")
    assert "\x1b" not in on_terminal(load, tmp_path, TERM="dumb")


@pytest.mark.parametrize("terminal", [False, True])
def test_control_characters_are_escaped(run: Run, doc: str, tmp_path: Path, terminal: bool) -> None:
    stored = "\x1b]0;owned\x07\x1b[31mred\x9b2J\x7f"
    with connect(doc) as conn:
        conn.run("INSERT INTO doc (title, embedding) VALUES (:title, '[1,0,0]')", title=stored)
    search = ["search", "doc", "--vector", "[1,0,0]", "--column", "title", "--url", doc]
    wide = {"NO_COLOR": "1", "COLUMNS": "200"}
    shown = on_terminal(search, tmp_path, **wide) if terminal else run(*search).out
    assert r"\x1b]0;owned\x07\x1b[31mred\x9b2J\x7f" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    as_json = run(*search, "--json").out
    assert json.loads(as_json)[0]["title"] == stored
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", as_json)


def test_control_characters_in_errors(run: Run, doc: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(json_lines([{"title\x1b[2J\x9b": "x"}]))
    outcome = run("load", "doc", "d.jsonl", "--url", doc)
    assert outcome.status == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", outcome.err)


def columns_of(text: str) -> int:
    return sum(2 if "⺀" <= letter <= "鿿" or letter == "🐳" else 1 for letter in text)


def test_wide_characters(run: Run, doc: str, tmp_path: Path) -> None:
    with connect(doc) as conn:
        for title in ("漢字" * 30, "short", "e\N{COMBINING ACUTE ACCENT}" * 60, "🐳 whale"):
            conn.run("INSERT INTO doc (title, embedding) VALUES (:title, '[1,0,0]')", title=title)
    search = ["search", "doc", "--vector", "[1,0,0]", "--column", "title", "--column", "id", "--url", doc]
    lines = on_terminal(search, tmp_path, NO_COLOR="1").splitlines()[:5]
    for line in lines:
        assert columns_of(line.replace("\N{COMBINING ACUTE ACCENT}", "")) <= 40, line
    assert sum(line.endswith("…") for line in lines) >= 2
    whole = run(*search).out.splitlines()
    assert {
        columns_of(line.replace("\N{COMBINING ACUTE ACCENT}", "").rstrip("0123456789id")) for line in whole[1:]
    } == {8 + 120 + 2}


# Numbers


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "doc", "--vector", "[1,0,0]", "-k"),
        ("recall", "doc", "-k"),
        ("recall", "doc", "--sample"),
        ("init-db", "--table", "t", "--dimensions"),
        ("search", "doc", "--vector", "[1,0,0]", "--ef-search"),
        ("search", "doc", "--vector", "[1,0,0]", "--probes"),
        ("create-index", "doc", "--m"),
        ("create-index", "doc", "--method", "ivfflat", "--lists"),
        ("create-index", "doc", "--workers"),
    ],
)
def test_numbers_that_are_too_large(run: Run, doc: str, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments, "9" * 20, "--url", doc)
    last = outcome.err.splitlines()[-1]
    assert outcome.status == 2
    assert "at least" not in last
    assert re.search(r"\d+<=x<=\d+|from 1 to|from 2 to|from 4 to|at most|to 16,000", last), last


def test_a_dry_run_where_the_extension_is_off_the_search_path(
    run: Run, empty_url: str, write_module: Callable[[str], str]
) -> None:
    """What psql does with the SQL: it knows nothing of pgvector."""
    with connect(empty_url) as conn:
        conn.run("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions")
    module = write_module('class Doc(Model):\n    e = VectorField(3, metric="cosine", index="hnsw")\n')
    for command in (("init-db", module), ("create-index", "doc", "--metric", "l2")):
        sql = run(*command, "--url", empty_url, "--dry-run").out
        with connect(empty_url) as conn:
            conn.run(sql)
        repeated: Any = run(*command, "--url", empty_url, "--dry-run").out
        assert "CREATE" not in repeated
        assert "search_path" not in repeated
