"""The page on scale: its tables are what examples/scale.py makes of the constants that stand on it."""

from __future__ import annotations

import doctest
from math import log2

import pytest

from examples import scale

TEXT = scale.PAGE.read_text(encoding="utf-8")
GIVEN = scale.constants(TEXT)


def test_no_figure_is_typed_by_hand() -> None:
    assert scale.page(TEXT) == TEXT


def test_the_page_follows_its_constants() -> None:
    """Another constant is another page."""
    for name in ("index bytes large vector 384", "load rows/s JSON", "node memory bytes"):
        text = TEXT.replace(next(line for line in TEXT.splitlines() if line.startswith(name)), f"{name} = 77,777")
        assert scale.constants(text)[name] == 77_777
        assert scale.page(text) != text


def test_constants_are_written_as_they_are_read() -> None:
    measured = {"cores": 4.0, "build s large bit 384": 1.23456, "rows large bit 384": 1_234_567.0, "x": 1234.56}
    read = scale.constants(scale.with_constants(TEXT, measured))
    assert {name: read[name] for name in measured} == pytest.approx(measured, rel=1e-3)
    assert read["node cores"] == GIVEN["node cores"]
    with pytest.raises(ValueError, match="in the page"):
        scale.with_constants("no such place", measured)


def test_formulas() -> None:
    """Written out once more, for one plan of several nodes."""
    count = 1_000_000_000
    found = scale.plan(GIVEN, "vector", 384, count)
    assert found.table_bytes == count * (GIVEN["table bytes large vector 384"] + GIVEN["key bytes large vector 384"])
    assert found.index_bytes == count * GIVEN["index bytes large vector 384"]
    assert found.nodes == -(-found.index_bytes // 48e9)
    assert found.nodes > 1
    assert found.shards % found.nodes == 0
    assert found.graph_bytes * found.shards == pytest.approx(count * GIVEN["graph bytes vector 384"])
    assert found.graph_bytes <= GIVEN["node maintenance_work_mem bytes"]
    rows, a_shard = GIVEN["rows large vector 384"], count / found.shards
    a_node = (
        GIVEN["build s large vector 384"] * a_shard * log2(a_shard) / rows / log2(rows) * found.shards / found.nodes
    )
    assert found.build_seconds == pytest.approx(a_node * GIVEN["cores"] / GIVEN["node cores"])
    assert found.load_seconds == pytest.approx(count / GIVEN["load rows/s 384"])


@pytest.mark.parametrize("form", scale.FORMS)
@pytest.mark.parametrize("dimensions", scale.DIMENSIONS)
def test_what_was_measured_is_what_pgvector_stores(form: str, dimensions: int) -> None:
    """No less than the numbers themselves, and no more than a page of 8 KB beside them."""
    bare = {"vector": 4 * dimensions, "halfvec": 2 * dimensions, "bit": dimensions / 8}[form]
    key = f"{form} {dimensions}"
    for what in (f"index bytes large {key}", f"graph bytes {key}"):
        assert bare < GIVEN[what] < bare + 8_192
    column = 2 if form == "halfvec" else 4
    assert column * dimensions < GIVEN[f"table bytes large {key}"] < 2 * column * dimensions


def test_doctests() -> None:
    assert doctest.testmod(scale).failed == 0
