"""tune: that what it chooses is the smallest that is enough, what it says where nothing is, and the plots."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import Model

from lightvec.errors import InvalidOption, MissingExtra, SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.search import recall, tune
from lightvec.search.plots import check_plot, plot
from lightvec.search.recall_measurement import Recall
from lightvec.search.tuning import Tuning
from tests.search.conftest import Wordnet

Gloss = Any

#: Field to its setting, and the least value of that.
SETTINGS = {"half": ("ef_search", 10), "listed": ("probes", 1)}


@pytest.mark.parametrize("target", [0.6, 0.9, 0.95])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_smallest_that_is_enough(gloss: Gloss, wordnet: Wordnet, name: str, target: float) -> None:
    field = getattr(gloss, name)
    setting, least = SETTINGS[name]
    result = tune(field, target, queries=wordnet.queries)
    assert (result.reached, result.setting, result.target) == (True, setting, target)
    assert result.index is not None
    assert result.index.name == f"gloss_{name}"

    def alone(value: int, first: int) -> Recall:
        options: Any = {setting: value}
        return recall(field, queries=wordnet.queries[first::2], **options)

    assert result.value is not None
    assert alone(result.value, 0).recall == pytest.approx(result.recall)
    assert alone(result.value, 1).recall == pytest.approx(result.recall_unseen)
    assert result.recall - 1.645 * result.error >= target - 1e-9
    if result.value > least:
        less = alone(result.value - 1, 0)
        assert less.recall - 1.645 * less.error < target


def test_the_curve(gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(gloss.half, 0.9, queries=wordnet.queries)
    values = [trial.value for trial in result.curve]
    assert values == sorted(set(values))
    assert values[0] == 10
    assert result.value in values
    for trial in result.curve:
        assert (trial.recall - 1.645 * trial.error >= 0.9) == (trial.value >= (result.value or 0))
        assert 0 <= trial.worst <= trial.recall <= 1
        assert trial.latency_ms > 0
        assert trial.short == 0
    chosen = next(trial for trial in result.curve if trial.value == result.value)
    assert (chosen.recall, chosen.latency_ms) == (result.recall, result.latency_ms)
    assert (result.sample, result.k, result.rows, result.from_rows) == (50, 10, 2_000, False)


def test_exact_answers_are_computed_once(gloss: Gloss, wordnet: Wordnet) -> None:
    told: list[tuple[str, int, int]] = []

    def note(*each: Any) -> None:
        told.append(each)

    result = tune(gloss.half, 0.9, queries=wordnet.queries, progress=note)
    assert [each for each in told if each[0] == "exact answers"] == [("exact answers", n, 50) for n in range(1, 51)]
    for trial in result.curve:
        assert told.count((f"ef_search={trial.value}", 25, 25)) == 1
    assert told[-1] == ("queries kept back", 25, 25)


@pytest.mark.parametrize("name", ["dense", "sparse", "bits"])
def test_other_types_by_rows(gloss: Gloss, name: str) -> None:
    result = tune(getattr(gloss, name), 0.5, k=5, sample=10)
    assert (result.reached, result.setting, result.sample, result.from_rows) == (True, "ef_search", 10, True)
    assert result.value is not None
    # The row itself is found beside the others.
    assert result.value >= 6
    assert "new vectors" in result.advice


def test_a_filter(gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(gloss.half, 0.9, k=3, queries=wordnet.queries[:20], where=gloss.id < 500)
    assert (result.rows, result.reached) == (500, True)
    assert result.recall >= 0.9


def test_the_line_to_write_runs(gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(gloss.half, 0.9, queries=wordnet.queries)
    assert result.code == f"Gloss.half.nearest(vector, k=10, ef_search={result.value})"
    assert result.code in str(result).splitlines()
    assert len(eval(result.code, {"Gloss": gloss, "vector": wordnet.queries[0]})) == 10
    other = tune(gloss.bare, 0.9, k=3, queries=wordnet.queries[:2], metric="l2")
    assert other.code == "Gloss.bare.nearest(vector, k=3, metric='l2')"
    assert len(eval(other.code, {"Gloss": gloss, "vector": wordnet.queries[0]})) == 3


def test_in_words(gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(gloss.half, 0.9, queries=wordnet.queries)
    first, second, *_ = str(result).splitlines()
    assert first.startswith(
        f"recall@10 of Gloss.half by cosine on gloss_half: ef_search={result.value} is the smallest"
    )
    assert first.endswith("that reaches 0.9")
    assert f"{result.recall_unseen:.3f} on as many others" in second
    below = "The others are below the target"
    assert (below in str(result)) == (result.recall_unseen < 0.9)


# Where there is no such value


def test_the_most_is_not_enough(database: Pg8000Database, wordnet: Wordnet) -> None:
    class Poor(Model):
        place = VectorField(384, metric="l2")

    database.bind([Poor])
    database.create_tables([Poor])
    database.connection().copy_columns("poor", {"place": wordnet.base.astype(np.float32)})
    database.execute_sql(
        "CREATE INDEX poor_place ON poor USING hnsw (place vector_l2_ops) WITH (m=2, ef_construction=4)"
    )
    result = tune(Poor.place, 1.0, queries=wordnet.queries)
    assert (result.reached, result.recall < 1) == (False, True)
    assert result.recall == max(trial.recall for trial in result.curve)
    assert result.curve[-1].value == 1_000
    assert "is the best there is, and does not reach 1" in str(result)
    assert "built with m=2, ef_construction=4: build it with more (m=4, ef_construction=8)" in result.advice


def test_the_server_rather_compares_all_rows(planned_gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(planned_gloss.listed, 1.0, queries=wordnet.queries[:20])
    assert (result.reached, result.setting) == (False, "probes")
    assert result.value is not None
    from_here = result.curve[-1].value + 1
    assert f"From probes={from_here} on the server compares all rows" in result.advice
    index = recall(planned_gloss.listed, queries=wordnet.queries[:2], probes=from_here).index
    assert index is None


def test_a_filter_that_leaves_too_few(gloss: Gloss, wordnet: Wordnet) -> None:
    gloss._meta.database.execute_sql("SET hnsw.max_scan_tuples = 1")
    result = tune(gloss.half, 1.0, k=20, queries=wordnet.queries[:4], where=gloss.id < 20)
    assert not result.reached
    assert "had fewer rows than there are: raise hnsw.max_scan_tuples" in result.advice


def test_without_an_index(gloss: Gloss, wordnet: Wordnet) -> None:
    result = tune(gloss.bare, 0.9, queries=wordnet.queries[:6])
    assert (result.index, result.setting, result.value, result.curve) == (None, None, None, ())
    assert (result.reached, result.recall, result.recall_unseen) == (True, 1, 1)
    assert result.latency_ms > 0
    assert "because no index serves it" in str(result)
    assert result.advice in str(result)
    assert result.advice


# What cannot be


@pytest.mark.parametrize("target", [0, -1, 1.01, float("nan"), True, "0.9", None])
def test_targets_that_cannot_be(gloss: Gloss, target: Any) -> None:
    with pytest.raises(InvalidOption, match="expected target_recall above 0 and at most 1"):
        tune(gloss.half, target)


def test_too_few_queries_to_keep_half(gloss: Gloss, wordnet: Wordnet) -> None:
    with pytest.raises(InvalidOption, match="expected sample to be a number of at least 2, got 1"):
        tune(gloss.half, sample=1)
    with pytest.raises(SchemaMismatch, match="at least 2 queries"):
        tune(gloss.half, queries=wordnet.queries[:1])


# Plots


@pytest.fixture
def measured(gloss: Gloss, wordnet: Wordnet) -> Recall:
    return recall(gloss.half, queries=wordnet.queries[:10])


@pytest.fixture
def tuned(gloss: Gloss, wordnet: Wordnet) -> Tuning:
    return tune(gloss.half, 0.8, queries=wordnet.queries[:20])


def texts(svg: Path) -> set[str]:
    """What is written in it; each text stands before its glyphs, as a comment."""
    lines = svg.read_text().split("<!-- ")[1:]
    return {line.partition(" -->")[0] for line in lines}


def test_what_is_drawn(tuned: Tuning, measured: Recall, tmp_path: Path) -> None:
    plot(tuned, tmp_path / "tuning.svg")
    written = texts(tmp_path / "tuning.svg")
    title = {"recall@10 of Gloss.half by cosine", "measured_gloss, 2,000 rows, gloss_half"}
    axes = {"median latency of a query, ms", "recall", "exact"}
    assert written >= {*title, *axes, "target 0.8", f"ef_search={tuned.value}"}
    plot(measured, tmp_path / "recall.svg")
    written = texts(tmp_path / "recall.svg")
    assert written >= {*title, *axes, "ef_search=40"}
    assert not any(text.startswith("target") for text in written)


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_the_kinds_of_files(tuned: Tuning, tmp_path: Path, ending: str, begins: bytes) -> None:
    path = tmp_path / f"plot.{ending}"
    plot(tuned, str(path))
    assert path.read_bytes().startswith(begins)


def test_without_an_index_it_is_drawn_too(gloss: Gloss, wordnet: Wordnet, tmp_path: Path) -> None:
    for result in (recall(gloss.bare, sample=2), tune(gloss.bare, sample=2)):
        plot(result, tmp_path / "plot.svg")
        assert texts(tmp_path / "plot.svg") >= {"every row compared", "measured_gloss, 2,000 rows, no index"}


def test_a_name_is_no_formula(measured: Recall, tmp_path: Path) -> None:
    plot(replace(measured, table=r"$a_b$ \frac"), tmp_path / "plot.svg")
    assert r"$a_b$ \frac, 2,000 rows, gloss_half" in texts(tmp_path / "plot.svg")


def test_files_that_cannot_be(measured: Recall, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"ends in \.png, \.svg, \.pdf, got 'plot\.jpg'"):
        plot(measured, "plot.jpg")
    with pytest.raises(InvalidOption, match="expected a folder for the plot that is there"):
        plot(measured, tmp_path / "nowhere" / "plot.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"a plot needs .* pip install 'lightvec\[plot\]'"):
        check_plot("plot.png")


def test_measuring_loads_no_matplotlib_and_drawing_no_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys; from lightvec.search import recall, tune; assert 'matplotlib' not in sys.modules\n"
        "from lightvec.search.plots import check_plot; assert 'matplotlib' not in sys.modules\n"
        "check_plot('a.png'); assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
