"""Choosing the rows of a search among more candidates: some of each group, or rows unlike each other.

Source of the formula: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for
Reordering Documents and Producing Summaries", SIGIR 1998 (maximal marginal relevance). Similarity
is the negative distance here, so that the next row is the one with the least ``(1 - diverse) *
(distance to the vector) - diverse * (distance to the nearest row chosen before)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from peewee import CTE, SQL, ColumnBase, Expression, Field, Function, Join, Select, Table, fn

from lightvec.errors import InvalidOption
from lightvec.types.inputs import show

__all__ = [
    "best_of_groups",
    "check_diverse",
    "check_group",
    "compared",
    "most_diverse",
    "mutual_distances",
    "too_few_groups",
]

#: The most candidates of which each is compared with each.
MOST_COMPARED = 1_000

_NEAR = "lightvec_near"

#: Farther than any row, and finite, as infinity times 0 is NaN.
_FAR = 1e300


def check_group(field: Any, most: Any) -> None:
    if not isinstance(field, ColumnBase):
        raise InvalidOption(f"expected a field, such as Chunk.document, for .per(), got {show(field)}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InvalidOption(f"expected most, the rows of each {name_of(field)}, to be at least 1, got {show(most)}")


def name_of(field: Any) -> str:
    return str(field.column_name) if isinstance(field, Field) else "group"


def too_few_groups(found: int, limit: int, field: Any, count: Any) -> str:
    """Why a search found fewer rows than its limit, and what to do."""
    why = f"the {count:,} candidates have no more of {name_of(field)}, and there may be none"
    return f"{found} of {limit} rows: {why}; candidates={10 * count} takes more"


# Some of each group


def best_of_groups(near: Any, most: int) -> Any:
    """The keys of the nearest ``most`` rows of each group; ``near`` has key, group and distance."""
    # A join may repeat a row, which is still one.
    order = [near.c.distance, near.c.key]
    rank = fn.dense_rank().over(partition_by=[near.c.group], order_by=order).alias("rank")
    ranked = Select([near], [near.c.key, rank]).alias("ranked")
    return Select([ranked], [ranked.c.key]).where(ranked.c.rank <= most)


# Rows unlike each other


def check_diverse(limit: Any, count: Any, *, nested: bool, is_grouped: bool) -> None:
    """Refuse queries whose rows cannot be chosen when they have arrived."""
    if nested:
        raise InvalidOption(
            "diverse chooses among rows that have arrived, so the search cannot be part of another "
            "statement (subquery, union, count, hybrid, run_many): run it by itself, or leave "
            "diverse out"
        )
    if is_grouped:
        raise InvalidOption("diverse chooses among stored rows: leave distinct() and group_by() out")
    if not isinstance(limit, int) or count > MOST_COMPARED:
        got = f"{count:,}" if isinstance(limit, int) else f"the limit {limit}"
        raise InvalidOption(
            f"diverse compares each candidate with each, so it takes at most {MOST_COMPARED:,}, "
            f"got {got}: choose a smaller limit, offset or candidates="
        )


def compared(near: Any, column_type: str) -> CTE:
    """A WITH query of the candidates; ``near`` has key, vector and distance."""
    vector = near.c.vector
    if column_type != "bit":
        # What the function of a cast to the same type gives is not TOASTed. Otherwise each
        # comparison would read its two vectors from there.
        vector = Function(column_type, (vector, SQL("-1"), SQL("true")), coerce=False)
    columns = [near.c.key, near.c.distance, vector.alias("vector")]
    # A join may repeat a row.
    return CTE(_NEAR, Select([near], columns).distinct(near.c.key), materialized=True)


def mutual_distances(key: Any, operator: str) -> Any:
    """The distances of one row: to the vector, to candidates with a lower key in its order, to itself."""
    one, other = Table(_NEAR, alias="one"), Table(_NEAR, alias="other")
    distance = Expression(one.c.vector, operator, other.c.vector)
    each = fn.array_agg(distance).order_by(one.c.key)
    pairs = Join(one, other, on=one.c.key <= other.c.key)
    query = Select([pairs], [fn.array_prepend(other.c.distance, each)])
    return query.where(other.c.key == key).group_by(other.c.distance)


def most_diverse(candidates: Sequence[Sequence[float]], count: int, diverse: float) -> list[int]:
    """The places of the rows to choose, of which each has its :func:`mutual_distances`.

    >>> most_diverse([[0.1, 0.0], [0.2, 0.1, 0.0], [0.3, 0.9, 0.9, 0.0]], count=2, diverse=0.5)
    [0, 2]
    """
    # By cosine a vector of zeros is at the distance NaN.
    left = {place: _finite(to[0], _FAR) for place, to in enumerate(candidates)}
    chosen = [min(left, key=left.__getitem__)] if left else []
    nearest = dict.fromkeys(left, _FAR)
    while len(chosen) < min(count, len(candidates)):
        last = candidates[chosen[-1]]
        del left[chosen[-1]]
        costs = {}
        for place, to_vector in left.items():
            shorter, longer = sorted((last, candidates[place]), key=len)
            nearest[place] = min(nearest[place], _finite(longer[len(shorter) - 1], 0.0))
            costs[place] = (1 - diverse) * to_vector - diverse * nearest[place]
        chosen.append(min(costs, key=costs.__getitem__))
    return chosen


def _finite(distance: float, otherwise: float) -> float:
    return distance if isfinite(distance) else otherwise
