"""lightvec recall and tune: the library's answers as data on stdout, and nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightvec.cli.output import Line
from lightvec.pg8000 import connect
from tests.cli.conftest import Run
from tests.search.conftest import load_embeddings, read_wordnet


@pytest.fixture(scope="module")
def loaded(make_database: Callable[[], str]) -> str:
    """A database with 2,000 definitions, in a table with an index."""
    url = make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector")
        load_embeddings(conn, "gloss", read_wordnet().base)
        conn.run("CREATE TABLE bare (e vector(2)); INSERT INTO bare SELECT ARRAY[n, 1] FROM generate_series(1, 20) n")
        conn.run("CREATE TABLE empty (e vector(2)); CREATE TABLE two (a vector(2), b vector(2))")
    return url


@pytest.fixture(autouse=True)
def queries(tmp_path: Path) -> None:
    """``queries.npy`` in the folder where commands run."""
    np.save(tmp_path / "queries.npy", read_wordnet().queries)


def test_recall(run: Run, loaded: str) -> None:
    outcome = run("recall", "gloss", "--url", loaded, "--queries", "queries.npy", "--ef-search", 20)
    assert (outcome.status, outcome.err) == (0, "")
    first, second = outcome.out.splitlines()
    assert first.startswith("recall@10 of gloss.embedding by cosine: 0.")
    assert second.startswith("index gloss_hnsw (hnsw, ef_search=20): ")


def test_recall_for_machines(run: Run, loaded: str) -> None:
    outcome = run("recall", "gloss", "--url", loaded, "--sample", 20, "-k", 5, "--json")
    found = json.loads(outcome.out)
    assert outcome.err == ""
    assert found["index"] == {"name": "gloss_hnsw", "method": "hnsw"}
    assert (found["k"], found["sample"], found["rows"], found["from_rows"]) == (5, 20, 2_000, True)
    assert found["settings"] == {"ef_search": 40}
    assert 0 < found["recall"] <= 1


def test_tune(run: Run, loaded: str) -> None:
    outcome = run("tune", "gloss", "--url", loaded, "--queries", "queries.npy", "--target", 0.8)
    assert (outcome.status, outcome.err) == (0, "")
    assert "that reaches 0.8" in outcome.out.splitlines()[0]
    assert "gloss.embedding.nearest(vector, k=10, ef_search=" in outcome.out


def test_tune_for_machines(run: Run, loaded: str) -> None:
    outcome = run("tune", "gloss", "--url", loaded, "--queries", "queries.npy", "--json")
    found = json.loads(outcome.out)
    assert (found["target"], found["setting"]) == (0.95, "ef_search")
    assert found["reached"] == (found["recall"] >= 0.95)
    assert found["value"] in [trial["value"] for trial in found["curve"]]
    assert set(found["curve"][0]) == {"value", "recall", "error", "worst", "short", "latency_ms"}


@pytest.mark.parametrize("command", ["recall", "tune"])
def test_a_plot(run: Run, loaded: str, tmp_path: Path, command: str) -> None:
    outcome = run(command, "gloss", "--url", loaded, "--sample", 10, "--plot", "plot.png")
    assert (outcome.status, outcome.err) == (0, "drawn into plot.png\n")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["recall", "tune"])
def test_a_plot_that_cannot_be_is_refused_before_anything_is_measured(
    run: Run, loaded: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (command, "gloss", "--url", "postgresql://localhost:1/unasked", "--plot")
    outcome = run(*arguments, "plot.jpg")
    assert (outcome.status, "ends in .png, .svg, .pdf" in outcome.err) == (2, True)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outcome = run(*arguments, "plot.png")
    assert (outcome.status, "pip install 'lightvec[plot]'" in outcome.err) == (1, True)
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["recall", "tune"])
def test_without_an_index(run: Run, loaded: str, command: str) -> None:
    outcome = run(command, "bare", "--url", loaded, "--metric", "l2")
    assert outcome.status == 0
    assert "recall@10 of bare.e by l2: 1.000" in outcome.out
    assert "because no index serves it" in outcome.out


def test_how_far_it_is_goes_to_a_terminal_on_stderr(run: Run, loaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Line, "show", lambda line, text: shown.append(text))
    run("tune", "bare", "--url", loaded, "--sample", 4)
    assert shown[:4] == [f"exact answers: {n} of 4" for n in (1, 2, 3, 4)]
    assert shown[-1] == "queries kept back: 2 of 2"


@pytest.mark.parametrize("command", ["recall", "tune"])
@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["dok"], 1, "there is no table dok"),
        (["empty"], 1, "no row with a vector to sample in empty.e: load rows first"),
        (["two"], 1, "one of them must be named"),
        (["two", "--vector-column", "c"], 1, "c is none of them"),
        (["gloss", "--metric", "hamming"], 2, "'hamming' is not a metric here"),
        (["gloss", "-k", "0"], 2, "-k"),
        (["gloss", "--sample", "0"], 2, "--sample"),
        (["gloss", "--queries", "absent.npy"], 2, "does not exist"),
        (["bare", "--queries", "queries.npy"], 1, "bare.e expected 2 dimensions, not 384"),
    ],
)
def test_what_cannot_be(run: Run, loaded: str, command: str, arguments: list[str], status: int, told: str) -> None:
    outcome = run(command, *arguments, "--url", loaded)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err


@pytest.mark.parametrize(
    "arguments", [("recall", "--ef-search", "0"), ("recall", "--probes", "0"), ("tune", "--target", "0")]
)
def test_settings_that_cannot_be(run: Run, loaded: str, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments, "gloss", "--url", loaded)
    assert (outcome.status, outcome.out) == (2, "")
