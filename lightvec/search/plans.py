"""What a plan of EXPLAIN (FORMAT JSON, VERBOSE) says of distances: ordered by, filtered by, read from an index."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightvec.search.citus_plans import unnumbered
from lightvec.search.expressions import SortKey, mentions_distance, read

__all__ = ["IndexName", "Plan", "Step", "drops_rows", "groups", "is_join", "joins", "limit_above", "sort_key"]

#: Where conditions stand.
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond", "One-Time Filter")

#: What cannot keep the order in which an index gives its rows.
_GROUPING = ("Aggregate", "Group", "Unique", "WindowAgg", "SetOp")
_JOINS = ("Nested Loop", "Hash Join", "Merge Join")
#: The sources that leave a join its other rows, by its type: they decide what stands beside them, or which are gone.
_LOOKED_AT: Mapping[Any, tuple[str, ...]] = {
    "Left": ("Inner",),
    "Anti": ("Inner",),
    "Right": ("Outer",),
    "Right Anti": ("Outer",),
    "Full": ("Outer", "Inner"),
}
_SUBQUERIES = ("CTE Scan", "Subquery Scan", "WorkTable Scan")


#: The schema of an index, which is that of its table, and its name.
IndexName = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Step:
    """A node of the plan, with those above it and below it."""

    facts: Mapping[str, Any]
    above: tuple[Step, ...]
    below: list[Step] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The node's type."""
        return str(self.facts["Node Type"])

    @property
    def relation(self) -> str | None:
        """What it is to the one above it: its ``Outer`` or ``Inner`` source of rows, a ``SubPlan`` of a condition."""
        return self.facts.get("Parent Relationship")

    def walk(self) -> Iterator[Step]:
        """This one and all below it."""
        yield self
        for step in self.below:
            yield from step.walk()

    def is_search(self, indexes: Collection[IndexName]) -> bool:
        """Whether it reads one of these indexes by distance."""
        return "Order By" in self.facts and any(name in indexes for name in self.index_names())

    def index_names(self) -> Iterator[IndexName]:
        """What the index that it reads may be called; Citus puts a shard's number behind its name."""
        schema, name = (str(self.facts.get(fact, "")) for fact in ("Schema", "Index Name"))
        yield schema, name
        yield schema, re.sub(r"_\d+\Z", "", name)

    @property
    def reads_subplan(self) -> bool:
        """Whether it reads the rows of a subquery that Citus ran before; a value that was looked up so is none."""
        is_value = self.facts.get("Parent Relationship") == "InitPlan"
        return "read_intermediate_result" in str(self.facts.get("Function Call", "")) and not is_value

    @property
    def keys(self) -> list[str]:
        """What it sorts by."""
        sorts = self.kind in ("Sort", "Incremental Sort")
        return list(self.facts["Sort Key"]) if sorts else []

    @property
    def sorts_by_distance(self) -> bool:
        """Whether it sorts by a distance, or by what is made of one."""
        return any(map(mentions_distance, self.keys))

    @property
    def conditions(self) -> Iterator[str]:
        """Its conditions."""
        return (str(self.facts[name]) for name in _CONDITIONS if name in self.facts)


class Plan:
    """A plan, by what :func:`lightvec.search.explain` asks of it."""

    def __init__(self, json: Any) -> None:
        self.json = json
        self.settings: Mapping[str, str] = json[0].get("Settings", {})
        self.top: Step = next(iter(_steps(unnumbered(json), ())))
        self.steps = list(self.top.walk())

    @property
    def cost(self) -> float:
        """The planner's estimate, in units of its own; on Citus that of the shard that costs most."""
        on_shards = [step for step in self.steps if step.above and _is_citus(step.above[-1])]
        return max(float(step.facts["Total Cost"]) for step in on_shards or [self.top])

    def searches(self, indexes: Collection[IndexName]) -> list[Step]:
        """The steps that read these indexes by distance."""
        return [step for step in self.steps if step.is_search(indexes)]

    def unserved(self, indexes: Collection[IndexName]) -> list[Step]:
        """The steps that sort by a distance what no such index gave them.

        One that sorts what another one gave ranks it again.
        """
        return [
            step
            for step in self.steps
            if step.sorts_by_distance
            and not any(
                source.is_search(indexes) or source.sorts_by_distance or source.reads_subplan
                for source in self._sources(step)
            )
        ]

    def _sources(self, step: Step) -> Iterator[Step]:
        """The steps below one that decide which rows it gets: none of a condition, none that a join only looks at."""
        found = [below for below in step.below if below.relation not in ("SubPlan", "InitPlan")]
        found = [below for below in found if below.relation not in _LOOKED_AT.get(step.facts.get("Join Type"), ())]
        if step.kind == "CTE Scan":
            name = f"CTE {step.facts['CTE Name']}"
            found += [other for other in self.steps if other.facts.get("Subplan Name") == name]
        for source in found:
            yield source
            yield from self._sources(source)

    @property
    def filters_by_distance(self) -> bool:
        """Whether a condition has a distance in it."""
        return any(mentions_distance(condition) for step in self.steps for condition in step.conditions)

    @property
    def sorts_a_subquery(self) -> bool:
        """Whether a distance that a subquery gave is sorted outside it."""
        return any(below.kind in _SUBQUERIES for step in self.steps if step.keys for below in step.walk()) and any(
            mentions_distance(text) for step in self.steps for text in step.facts.get("Output", ())
        )

    @property
    def orders_on_coordinator(self) -> bool:
        """Whether Citus brings the distances of all rows of the shards to the coordinator, which sorts them."""
        gathers = any(
            _is_citus(step.above[-1]) and any(map(mentions_distance, step.facts.get("Output", ())))
            for step in self.steps
            if step.above
        )
        return gathers and any("remote_scan." in key for step in self.steps for key in step.keys)

    def relation(self, alias: str) -> tuple[str, str] | None:
        """The schema and name of the table behind an alias; of a partitioned table, those of a partition."""
        for step in self.steps:
            name = str(step.facts.get("Alias"))
            if "Relation Name" in step.facts and (name == alias or re.fullmatch(re.escape(alias) + r"_\d+", name)):
                return str(step.facts.get("Schema", "")), str(step.facts["Relation Name"])
        return None


def _is_citus(step: Step) -> bool:
    return str(step.facts.get("Custom Plan Provider", "")).startswith("Citus")


def limit_above(step: Step) -> Step | None:
    """The nearest LIMIT above a step."""
    return next((above for above in reversed(step.above) if above.kind == "Limit"), None)


def drops_rows(step: Step, source: Step) -> bool:
    """Whether it joins, and may drop rows that this one below it gives."""
    kind = step.facts.get("Join Type")
    keeps = kind in ("Left", "Right", "Full") and (kind == "Full" or source.relation not in _LOOKED_AT[kind])
    return is_join(step) and not keeps


def is_join(step: Step) -> bool:
    """Whether it joins tables."""
    return step.kind in _JOINS


def groups(step: Step) -> bool:
    """Whether rows are grouped below a step."""
    return any(below.kind in _GROUPING for below in step.walk())


def joins(step: Step) -> bool:
    """Whether tables are joined below a step."""
    return any(map(is_join, step.walk()))


def sort_key(step: Step) -> tuple[SortKey, bool] | None:
    """The distance that a step sorts by, and whether that comes first."""
    for place, key in enumerate(step.keys):
        found = read(key)
        if found is not None:
            return found, place == 0
    return None


def _steps(json: Any, above: tuple[Step, ...]) -> Iterator[Step]:
    """The outermost nodes in a piece of JSON; Citus puts whole plans into a node."""
    if isinstance(json, Mapping) and "Node Type" in json:
        step = Step(json, above)
        for name, value in json.items():
            if isinstance(value, (list, dict)) and name not in ("Output", "Sort Key"):
                step.below.extend(_steps(value, (*above, step)))
        yield step
    elif isinstance(json, (list, Mapping)):
        for value in json.values() if isinstance(json, Mapping) else json:
            yield from _steps(value, above)
