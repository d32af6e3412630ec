"""What a plan of EXPLAIN (FORMAT JSON, VERBOSE) says of distances: ordered by, filtered by, read from an index.

PostgreSQL writes each operator with its operands into parentheses of their own and each column behind its table's
alias, whatever the query looked like (PostgreSQL's ``ruleutils.c``), so little has to be understood to read it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightvec.metrics import METRICS

__all__ = ["IndexName", "Operand", "Plan", "SortKey", "Step", "groups", "is_limited", "joins", "sort_key"]

#: Where conditions stand.
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond", "One-Time Filter")

_OPERATORS: Mapping[str, str] = {metric.operator: metric.name for metric in METRICS.values()}
_SIGN = "|".join(map(re.escape, _OPERATORS))
#: An operator outside the search path is written with its schema.
_DISTANCE = re.compile(rf"OPERATOR\([^()]*?({_SIGN})\)|(?<= )({_SIGN})(?= )")

#: pgvector's functions that the operators stand for, which no index serves.
_FUNCTIONS: Mapping[str, str] = {
    "inner_product": "ip",
    "vector_negative_inner_product": "ip",
    "halfvec_negative_inner_product": "ip",
    "sparsevec_negative_inner_product": "ip",
    **{metric.method: metric.name for metric in METRICS.values() if metric.name != "ip"},
}
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\(")

#: Behind a distance it makes another expression of it with the same value.
_ZERO = "+ '0'::double precision"

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*)"
#: A column behind its table's alias: no type (``::``), no function (``(``), no column of a subplan (``)``).
_COLUMN = re.compile(rf"(?<![:\w.\")])({_NAME})\.({_NAME})(?![\w.\"(])")

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


class Operand(NamedTuple):
    """A column that is compared: its table's alias in the plan, its name, and the expression around it, if any.

    ``expression`` is without the alias, as the catalog writes that of an index.
    """

    alias: str
    column: str
    expression: str | None

    @property
    def text(self) -> str:
        """It as it is told."""
        return self.expression or self.column


@dataclass(frozen=True)
class SortKey:
    """What rows are sorted by first, where a distance is in it.

    ``metric`` is the distance's, ``operand`` the column (None where there is none), ``is_alone`` says that nothing is
    around the distance, ``adds_zero`` that only that is, ``is_constant`` that the other side is no column, ``is_call``
    that it is a function's.
    """

    metric: str
    operand: Operand | None
    is_alone: bool
    adds_zero: bool
    is_constant: bool
    is_call: bool
    is_descending: bool
    nulls_first: bool


@dataclass(frozen=True)
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
    def keys(self) -> list[str]:
        """What it sorts by."""
        sorts = self.kind in ("Sort", "Incremental Sort")
        return list(self.facts["Sort Key"]) if sorts else []

    @property
    def sorts_by_distance(self) -> bool:
        """Whether it sorts by a distance, or by what is made of one."""
        return any(map(_mentions_distance, self.keys))

    @property
    def conditions(self) -> Iterator[str]:
        """Its conditions."""
        return (str(self.facts[name]) for name in _CONDITIONS if name in self.facts)


class Plan:
    """A plan, by what :func:`lightvec.search.explain` asks of it."""

    def __init__(self, json: Any) -> None:
        self.json = json
        self.settings: Mapping[str, str] = json[0].get("Settings", {})
        self.top: Step = next(iter(_steps(json, ())))
        self.steps = list(self.top.walk())

    @property
    def cost(self) -> float:
        """The planner's estimate, in units of its own."""
        return float(self.top.facts["Total Cost"])

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
            and not any(source.is_search(indexes) or source.sorts_by_distance for source in self._sources(step))
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
        return any(_mentions_distance(condition) for step in self.steps for condition in step.conditions)

    @property
    def sorts_a_subquery(self) -> bool:
        """Whether a distance that a subquery gave is sorted outside it."""
        return any(below.kind in _SUBQUERIES for step in self.steps if step.keys for below in step.walk()) and any(
            _mentions_distance(text) for step in self.steps for text in step.facts.get("Output", ())
        )

    def relation(self, alias: str) -> tuple[str, str] | None:
        """The schema and name of the table behind an alias; of a partitioned table, those of a partition."""
        for step in self.steps:
            name = str(step.facts.get("Alias"))
            if "Relation Name" in step.facts and (name == alias or re.fullmatch(re.escape(alias) + r"_\d+", name)):
                return str(step.facts.get("Schema", "")), str(step.facts["Relation Name"])
        return None


def is_limited(step: Step) -> bool:
    """Whether a LIMIT stands above a step."""
    return any(above.kind == "Limit" for above in step.above)


def groups(step: Step) -> bool:
    """Whether rows are grouped below a step."""
    return any(below.kind in _GROUPING for below in step.walk())


def joins(step: Step) -> bool:
    """Whether tables are joined below a step."""
    return any(below.kind in _JOINS for below in step.walk())


def sort_key(step: Step) -> tuple[SortKey, bool] | None:
    """The distance that a step sorts by, and whether that comes first."""
    for place, key in enumerate(step.keys):
        found = _read(key)
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


# Expressions


def _masked(text: str) -> str:
    """The text with what stands in quotes made harmless, each character in its place."""
    return _QUOTED.sub(lambda found: "x" * len(found.group()), text)


def _mentions_distance(text: str) -> bool:
    masked = _masked(text)
    return bool(_DISTANCE.search(masked) or _CALL.search(masked))


def _read(key: str) -> SortKey | None:
    masked = _masked(key)
    found = _DISTANCE.search(masked)
    call = None if found else _CALL.search(masked)
    if found is not None:
        start, end = _around(masked, found.start())
        metric = _OPERATORS[found[1] or found[2]]
        sides = [key[start : found.start()], key[found.end() : end]]
    elif call is not None:
        start, end = _around(masked, call.end())
        metric = _FUNCTIONS[call[1]]
        sides = [*_arguments(key, masked, start, end)]
    else:
        return None
    operands = [operand for operand in map(_operand, sides) if operand is not None]
    outside = masked[: call.start() if call else start] + masked[end:]
    order = masked[masked.rfind(")") + 1 :]
    return SortKey(
        metric=metric,
        operand=operands[0] if operands else None,
        is_alone=not outside.replace(order, "").strip("() "),
        adds_zero=key[end:].strip("() ") == _ZERO,
        is_constant=len(operands) == 1 and len(_columns(key[start:end])) == 1,
        is_call=call is not None,
        is_descending="DESC" in order,
        nulls_first="NULLS FIRST" in order,
    )


def _around(masked: str, at: int) -> tuple[int, int]:
    """Where what stands in the parentheses around a place begins and ends."""
    return _unmatched(masked, range(at - 1, -1, -1), ")", "(") + 1, _unmatched(masked, range(at, len(masked)), "(", ")")


def _unmatched(masked: str, places: range, opening: str, closing: str) -> int:
    depth = 0
    for place in places:
        depth += (masked[place] == opening) - (masked[place] == closing)
        if depth < 0:
            return place
    return places.stop


def _arguments(text: str, masked: str, start: int, end: int) -> Iterator[str]:
    """The arguments of a call between its parentheses."""
    depth, begin = 0, start
    for place in range(start, end):
        depth += (masked[place] == "(") - (masked[place] == ")")
        if masked[place] == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:end]


def _columns(text: str) -> list[re.Match[str]]:
    """The columns in an expression; what stands in a literal is none."""
    literals = [found.span() for found in _QUOTED.finditer(text) if found.group()[0] == "'"]
    return [
        found for found in _COLUMN.finditer(text) if not any(start <= found.start() < end for start, end in literals)
    ]


def _operand(text: str) -> Operand | None:
    text = text.strip()
    found = _columns(text)
    if not found:
        return None
    alias, column = map(_plain, found[0].groups())
    expression = "".join(_without_alias(text, found))
    return Operand(alias, column, None if found[0].group() == text else expression)


def _without_alias(text: str, columns: list[re.Match[str]]) -> Iterator[str]:
    at = 0
    for column in columns:
        yield text[at : column.start()] + column[2]
        at = column.end()
    yield text[at:]


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
