"""Why an index that serves a query may give fewer rows than it wants.

An index looks at so many rows and no more, unless it scans iteratively. What the query throws away of them is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from textwrap import shorten

from lightvec.peewee.catalog import StandingIndex
from lightvec.search.expressions import alternatives, columns, conjuncts, is_nearer_than, read
from lightvec.search.findings import Finding, told_name
from lightvec.search.plans import IndexName, Step, drops_rows, limit_above
from lightvec.search.reasons import reason
from lightvec.search.scans import Scan

__all__ = ["shortfalls"]


def shortfalls(
    searches: Sequence[Step],
    indexes: Mapping[IndexName, StandingIndex],
    scans: Mapping[str, Scan],
    offset: int,
    keys: Collection[frozenset[str]],
) -> Iterator[Finding]:
    """The reasons, for each LIMIT above searches.

    ``scans`` are by the method of an index. ``offset`` is the query's own, and ``keys`` are the primary keys of its
    models: leaving out a row by its key, as a search for more like it does, costs that row only.
    """
    for limit, steps in groupby(searches, limit_above):
        here = [(step, _index_of(step, indexes)) for step in steps]
        if limit is None or any(scans[index.method].order for _, index in here):
            continue
        wanted = round(limit.facts["Plan Rows"]) + (offset if limit_above(limit) is None else 0)
        looked_at = sum(_looked_at(index, scans[index.method]) for _, index in here)
        index = here[0][1]
        about = {"wanted": f"{wanted:,}", "looked_at": f"{looked_at:,}", "method": index.method}
        if wanted > looked_at:
            code = "limit_over_ef_search" if index.method == "hnsw" else "limit_over_probes"
            yield reason(code, told_name(index.schema, index.name), **about)
        if dropped := next(filter(None, (_dropped(step, limit, keys) for step, _ in here)), None):
            what = shorten("; ".join(dropped), 200, placeholder=" …")
            yield reason("filtered_short", told_name(index.schema, index.name), dropped=what, **about)


def _index_of(step: Step, indexes: Mapping[IndexName, StandingIndex]) -> StandingIndex:
    return next(indexes[name] for name in step.index_names() if name in indexes)


def _looked_at(index: StandingIndex, scan: Scan) -> int:
    """How many rows an index looks at; of lists it is what they hold on average."""
    if index.method == "hnsw":
        return scan.effort
    return round(max(index.rows, 0) * min(1.0, scan.effort / index.lists))


def _dropped(search: Step, limit: Step, keys: Collection[frozenset[str]]) -> list[str]:
    """What throws away rows between a search and its LIMIT."""
    path = [search, *(step for step in reversed(search.above) if limit in step.above)]
    found = [
        condition
        for step in path
        for condition in conjuncts(str(step.facts.get("Filter", "true")))
        if not (_keeps_the_nearest(condition, search) or _leaves_out_one(condition, keys))
    ]
    return found + [_joined(join, child) for child, join in pairwise(path) if drops_rows(join, child)]


def _keeps_the_nearest(condition: str, search: Step) -> bool:
    """Whether a condition holds for all rows of an index, or for those that are nearer than something."""
    names = columns(condition)
    if not names:
        # The same for all rows.
        return "SubPlan" not in condition
    key = read(str(search.facts["Order By"]))
    if key is None or key.operand is None or set(names) != {key.operand.column}:
        return False
    return condition.endswith(" IS NOT NULL") or is_nearer_than(condition, key.metric)


def _leaves_out_one(condition: str, keys: Collection[frozenset[str]]) -> bool:
    parts = alternatives(condition)
    named = [columns(part) for part in parts]
    return all(" <> " in part and len(names) == 1 for part, names in zip(parts, named, strict=True)) and (
        frozenset(names[0] for names in named) in keys
    )


def _joined(join: Step, child: Step) -> str:
    names = [
        str(step.facts["Relation Name"])
        for other in join.below
        if other is not child
        for step in other.walk()
        if "Relation Name" in step.facts
    ]
    return f"the join with {', '.join(dict.fromkeys(names)) or 'a subquery'}"
