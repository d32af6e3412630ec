"""Plans of EXPLAIN (FORMAT JSON, VERBOSE): what scans a vector index, and what sorts by a distance.

Citus puts the plan of each shard (a task) below a node of its own, with the shard's number behind
the names of tables and indexes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightvec.search.plan_expressions import Distance, has_distance, read_distance

__all__ = ["IndexName", "Node", "Plan"]

#: The schema and the name of an index.
IndexName = tuple[str, str]

_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond", "One-Time Filter")
_GROUPING = ("Aggregate", "Group", "Unique", "WindowAgg", "SetOp")
_JOINS = ("Nested Loop", "Hash Join", "Merge Join")
_SUBQUERIES = ("CTE Scan", "Subquery Scan", "WorkTable Scan")
#: Join type to the side that only adds columns or removes rows of the other side.
_LOOKUP_SIDE = {"Left": "Inner", "Anti": "Inner", "Right": "Outer", "Right Anti": "Outer"}


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a plan, with those above and below it; ``in_task``: it is part of a shard's plan."""

    facts: Mapping[str, Any]
    above: tuple[Node, ...]
    in_task: bool
    below: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.facts["Node Type"])

    @property
    def relationship(self) -> str | None:
        """``Outer`` or ``Inner`` input of the node above it, or ``SubPlan`` of a condition."""
        return self.facts.get("Parent Relationship")

    @property
    def index(self) -> IndexName:
        return str(self.facts.get("Schema", "")), self.name_of("Index Name")

    def name_of(self, fact: str) -> str:
        """A name without the number of a shard."""
        name = str(self.facts.get(fact, ""))
        return re.sub(r"_\d+\Z", "", name) if self.in_task else name

    @property
    def sort_keys(self) -> list[str]:
        return list(self.facts["Sort Key"]) if self.kind in ("Sort", "Incremental Sort") else []

    @property
    def sort_distance(self) -> tuple[Distance, bool] | None:
        """The distance that it sorts by, and whether that is its first key."""
        found = ((read_distance(key), number == 0) for number, key in enumerate(self.sort_keys))
        return next(((distance, is_first) for distance, is_first in found if distance), None)

    @property
    def conditions(self) -> list[str]:
        return [str(self.facts[name]) for name in _CONDITIONS if name in self.facts]

    @property
    def limit(self) -> Node | None:
        return next((node for node in reversed(self.above) if node.kind == "Limit"), None)

    @property
    def groups(self) -> bool:
        return any(node.kind in _GROUPING for node in self.walk())

    @property
    def joins(self) -> bool:
        return any(node.kind in _JOINS for node in self.walk())

    def walk(self) -> Iterator[Node]:
        yield self
        for node in self.below:
            yield from node.walk()

    def scans_any(self, indexes: Collection[IndexName]) -> bool:
        """Whether it reads one of these indexes in the order of the distance."""
        return "Order By" in self.facts and self.index in indexes

    def drops_rows_of(self, source: Node) -> bool:
        """Whether it is a join that may drop rows of this input."""
        join = self.facts.get("Join Type")
        is_kept = join == "Full" or (join in ("Left", "Right") and source.relationship != _LOOKUP_SIDE[join])
        return self.kind in _JOINS and not is_kept


class Plan:
    """A plan, and what :func:`lightvec.search.explain` asks of it."""

    def __init__(self, json: Any) -> None:
        self.json = json
        self.settings: Mapping[str, str] = json[0].get("Settings", {})
        self.top = next(_nodes(json, (), False))
        self.nodes = list(self.top.walk())

    @property
    def cost(self) -> float:
        """The planner's estimate; on Citus that of the most expensive shard."""
        tasks = [node for node in self.nodes if node.in_task and not node.above[-1].in_task]
        return max(float(node.facts["Total Cost"]) for node in tasks or [self.top])

    @property
    def lacks_a_task(self) -> bool:
        return _has_error(self.json)

    def scans(self, indexes: Collection[IndexName]) -> list[Node]:
        """The nodes that read these indexes in the order of the distance."""
        return [node for node in self.nodes if node.scans_any(indexes)]

    def unserved_sorts(self, indexes: Collection[IndexName]) -> list[Node]:
        """The nodes that sort by a distance, but for those that rank again what an index returned."""

        def is_ranked(source: Node) -> bool:
            is_sorted = source.scans_any(indexes) or source.sort_distance
            return bool(is_sorted) or _reads_intermediate_result(source)

        sorts = [node for node in self.nodes if node.sort_distance]
        return [node for node in sorts if not any(map(is_ranked, self._sources(node)))]

    def _sources(self, node: Node) -> Iterator[Node]:
        """The nodes below one that decide which rows it gets."""
        ignored = ("SubPlan", "InitPlan", _LOOKUP_SIDE.get(str(node.facts.get("Join Type")), ""))
        sources = [below for below in node.below if below.relationship not in ignored]
        if node.kind == "CTE Scan":
            name = f"CTE {node.facts['CTE Name']}"
            sources += [other for other in self.nodes if other.facts.get("Subplan Name") == name]
        for source in sources:
            yield source
            yield from self._sources(source)

    @property
    def filters_by_distance(self) -> bool:
        return any(has_distance(condition) for node in self.nodes for condition in node.conditions)

    @property
    def sorts_a_subquery(self) -> bool:
        """Whether a subquery computes a distance that is sorted outside it."""
        sorts = [node for node in self.nodes if node.sort_keys]
        is_sorted = any(below.kind in _SUBQUERIES for node in sorts for below in node.walk())
        return is_sorted and any(map(_outputs_distance, self.nodes))

    @property
    def sorts_on_coordinator(self) -> bool:
        is_gathered = any(node.in_task and _outputs_distance(node) for node in self.nodes)
        return is_gathered and any("remote_scan." in key for node in self.nodes for key in node.sort_keys)

    def table(self, alias: str | None) -> tuple[str, str] | None:
        """The schema and name of the table with an alias; of a partitioned one, a partition."""
        for node in self.nodes:
            name = str(node.facts.get("Alias"))
            if alias and "Relation Name" in node.facts and re.fullmatch(re.escape(alias) + r"(_\d+)?", name):
                return str(node.facts.get("Schema", "")), node.name_of("Relation Name")
        return None


def _outputs_distance(node: Node) -> bool:
    return any(map(has_distance, node.facts.get("Output", ())))


def _reads_intermediate_result(node: Node) -> bool:
    """Whether it reads the rows of a subquery that Citus ran before; an InitPlan is a value."""
    is_value = node.relationship == "InitPlan"
    return "read_intermediate_result" in str(node.facts.get("Function Call", "")) and not is_value


def _has_error(json: Any) -> bool:
    if isinstance(json, list):
        return any(map(_has_error, json))
    return isinstance(json, dict) and ("Error" in json or any(map(_has_error, json.values())))


def _nodes(json: Any, above: tuple[Node, ...], in_task: bool) -> Iterator[Node]:
    if isinstance(json, list):
        for value in json:
            yield from _nodes(value, above, in_task)
    elif isinstance(json, dict):
        node = Node(json, above, in_task) if "Node Type" in json else None
        for name, value in json.items():
            found = _nodes(value, (*above, node) if node else above, in_task or name == "Tasks")
            if node is None:
                yield from found
            else:
                node.below.extend(found)
        if node is not None:
            yield node
