"""One row of each group, and rows unlike each other, against NumPy on real embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peewee import fn

from lightvec.errors import InvalidOption
from lightvec.peewee import run_many
from lightvec.search import explain
from tests.peewee.brute import DISTANCES
from tests.search.conftest import Wordnet

#: A column, a metric that it has, and whether it has an index by that one.
SEARCHES = [
    ("dense", "l2", True),
    ("dense", "ip", False),
    ("dense", "cosine", False),
    ("dense", "l1", False),
    ("half", "cosine", True),
    ("sparse", "ip", True),
    ("bits", "hamming", True),
    ("bits", "jaccard", False),
    ("listed", "cosine", True),
]
GROUPS = 150


def values(wordnet: Wordnet, column: str) -> tuple[Any, Any]:
    """The rows and the queries as the column has them."""
    base, queries = wordnet.base.astype(np.float64), wordnet.queries.astype(np.float64)
    return ((base > 0) * 1.0, (queries > 0) * 1.0) if column == "bits" else (base, queries)


def search(gloss: Any, column: str, query: Any, k: int = 10, **options: Any) -> Any:
    vector = "".join(str(int(bit)) for bit in query) if column == "bits" else query
    field = getattr(gloss, column)
    return field.nearest(vector, k, **options).select(gloss.id)


def group(gloss: Any) -> Any:
    return fn.mod(gloss.id, GROUPS)


def nearest_of_groups(distances: Any, k: int, most: int) -> list[int]:
    found: list[int] = []
    taken: dict[int, int] = {}
    for row in np.lexsort((np.arange(len(distances)), distances)):
        if taken.get(row % GROUPS, 0) < most and len(found) < k:
            found.append(int(row))
            taken[row % GROUPS] = taken.get(row % GROUPS, 0) + 1
    return found


def maximal_marginal_relevance(rows: Any, query: Any, metric: str, k: int, diverse: float, count: int) -> list[int]:
    """As the paper has it, on a matrix of similarities, each the negative distance."""
    distances = DISTANCES[metric](rows, query)
    left = [int(row) for row in np.lexsort((np.arange(len(rows)), distances))[:count]]
    chosen = [left.pop(0)]
    similar = {row: -DISTANCES[metric](rows, rows[row]) for row in (*chosen, *left)}
    while len(chosen) < k:
        gains = [(1 - diverse) * -distances[row] - diverse * max(similar[row][each] for each in chosen) for row in left]
        chosen.append(left.pop(int(np.argmax(gains))))
    return chosen


# One of each group


@pytest.mark.parametrize(("column", "metric", "is_indexed"), SEARCHES)
@pytest.mark.parametrize("most", [1, 2])
def test_per_is_what_numpy_finds(
    column: str, metric: str, is_indexed: bool, most: int, gloss: Any, wordnet: Wordnet
) -> None:
    rows, queries = values(wordnet, column)
    found: list[float] = []
    for query in queries[:10]:
        distances = DISTANCES[metric](rows, query)
        wanted = sorted(distances[nearest_of_groups(distances, 10, most)])
        exact = search(gloss, column, query, metric=metric, exact=True).per(group(gloss), most)
        assert [row.distance for row in exact] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
        assert np.bincount([row.id % GROUPS for row in exact]).max() <= most
        by_index = search(gloss, column, query, metric=metric, ef_search=400, probes=10).per(group(gloss), most)
        got = [row.distance for row in by_index]
        assert got == sorted(got)
        assert len({row.id % GROUPS for row in by_index}) == 10 or most > 1
        found.append(np.mean([distance <= wanted[-1] + 1e-3 for distance in got]))
    # The indexes of the fixture are poor ones.
    assert np.mean(found) > 0.85


@pytest.mark.parametrize("options", [{}, {"diverse": 0.4}])
@pytest.mark.parametrize("column", ["dense", "half", "sparse", "bits", "listed"])
def test_explain_sees_the_index(column: str, options: dict[str, Any], gloss: Any, wordnet: Wordnet) -> None:
    metric = None if column != "listed" else "cosine"
    query = values(wordnet, column)[1][0]
    plain = search(gloss, column, query, metric=metric, **options)
    for each in (plain, plain.per(group(gloss)), plain.per(group(gloss)).where(gloss.id > 5)):
        found = explain(each)
        assert (found.uses_index, found.index) == (True, f"gloss_{column}")
    bare = search(gloss, "bare", values(wordnet, "bare")[1][0], **options).per(group(gloss))
    assert [each.code for each in explain(bare).reasons] == ["no_index"]


def test_candidates_with_too_few_groups(gloss: Any, wordnet: Wordnet) -> None:
    query: Any = wordnet.queries[0].astype(np.float32)
    few = search(gloss, "dense", query, candidates=10).per(fn.mod(gloss.id, 3))
    assert len(few) == 3
    assert few.shortfall == (
        "3 of 10 rows: the 10 candidates have no more of group, and there may be none; "
        "candidates=100 takes more, exact=True compares with every row"
    )
    assert few.fallback is None
    exact = search(gloss, "dense", query, exact=True).per(fn.mod(gloss.id, 3))
    assert exact.shortfall == "3 of 10 rows: no more match"
    assert search(gloss, "dense", query).per(group(gloss)).shortfall is None


# Rows unlike each other


@pytest.mark.parametrize(("column", "metric", "is_indexed"), SEARCHES)
@pytest.mark.parametrize("diverse", [0.3, 0.7, 1])
def test_diverse_is_what_numpy_finds(
    column: str, metric: str, is_indexed: bool, diverse: float, gloss: Any, wordnet: Wordnet
) -> None:
    rows, queries = values(wordnet, column)
    for query in queries[:4]:
        exact = search(gloss, column, query, metric=metric, exact=True, diverse=diverse)
        got = [row.id for row in exact]
        wanted = maximal_marginal_relevance(rows, query, metric, 10, diverse, 40)
        if column == "bits" or diverse == 1:
            # Equal distances, of which another may come first, lead to other rows.
            assert got[0] == wanted[0]
        else:
            assert len(set(got) & set(wanted)) >= 9
            assert got[:3] == wanted[:3]


@pytest.mark.parametrize(("column", "metric", "is_indexed"), SEARCHES)
def test_by_an_index_it_is_mostly_the_same(
    column: str, metric: str, is_indexed: bool, gloss: Any, wordnet: Wordnet
) -> None:
    shares = []
    for query in values(wordnet, column)[1][:10]:
        options: dict[str, Any] = {"metric": metric, "diverse": 0.3}
        exact = {row.id for row in search(gloss, column, query, exact=True, **options)}
        found = {row.id for row in search(gloss, column, query, ef_search=400, probes=10, **options)}
        shares.append(len(exact & found) / 10)
    assert np.mean(shares) > 0.7


def test_rows_are_less_alike_and_less_near(gloss: Any, wordnet: Wordnet) -> None:
    rows = wordnet.base.astype(np.float64)
    alike, distances = [], []
    for diverse in (0, 0.3, 0.6, 0.9):
        pairs, near = [], []
        for query in wordnet.queries[:10].astype(np.float32):
            found = list(search(gloss, "listed", query, exact=True, diverse=diverse))
            chosen = rows[[row.id for row in found]]
            pairs.append((chosen @ chosen.T)[np.triu_indices(10, 1)].mean())
            near.append(np.mean([row.distance for row in found]))
        alike.append(np.mean(pairs))
        distances.append(np.mean(near))
    assert alike == sorted(alike, reverse=True)
    assert distances == sorted(distances)


def test_diverse_of_groups(gloss: Any, wordnet: Wordnet) -> None:
    rows = wordnet.base.astype(np.float64)
    query = wordnet.queries[3].astype(np.float64)
    found = search(gloss, "listed", query, exact=True, diverse=0.3).per(group(gloss))
    got = [row.id for row in found]
    best = nearest_of_groups(DISTANCES["cosine"](rows, query), 40, 1)
    wanted = maximal_marginal_relevance(rows[best], query, "cosine", 10, 0.3, 40)
    assert len(set(got) & {best[place] for place in wanted}) >= 9
    by_index = search(gloss, "listed", query, probes=20, diverse=0.3).per(group(gloss))
    assert {row.id for row in by_index} == set(got)


def test_zero_is_nearest(gloss: Any, wordnet: Wordnet) -> None:
    query: Any = wordnet.queries[0].astype(np.float32)
    assert search(gloss, "dense", query, diverse=0).sql() == search(gloss, "dense", query).sql()


def test_each_one_is_found_by_itself_only(gloss: Any, wordnet: Wordnet) -> None:
    query: Any = wordnet.queries[0].astype(np.float32)
    diverse = search(gloss, "dense", query, 3, diverse=0.3)
    nested: list[Any] = [
        lambda: diverse.count(),
        lambda: list(gloss.select().where(gloss.id.in_(diverse))),
        lambda: list(diverse | diverse),
        lambda: run_many([diverse, diverse]),
        lambda: diverse.select_from(fn.count()).scalar(),
    ]
    for run in nested:
        with pytest.raises(
            InvalidOption, match=r"^diverse chooses among rows that have arrived, .* leave diverse out$"
        ):
            run()
    assert [row.id for row in gloss._meta.database.stream(diverse)] == [row.id for row in diverse]
