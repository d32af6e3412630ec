"""explain(): whether a vector index serves a query, and if not, why and what to change.

EXPLAIN says whether it does. If not, EXPLAIN is run once more with everything else forbidden: a plan
that uses the index then shows that the planner prefers something cheaper, any other that it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from textwrap import shorten
from typing import Any

from peewee import SelectBase

from lightvec.errors import InvalidOption
from lightvec.index_options import usual_probes
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.nearest import Nearest, settings_of
from lightvec.peewee.quantization import QUANTIZATIONS
from lightvec.search.citus_shards import BUILDS
from lightvec.search.findings import Finding, display_name, finding, index_command, one_probe, unusable_index
from lightvec.search.plan_expressions import Distance, column_names, conjuncts, read_distance
from lightvec.search.query_plan import IndexName, Node, Plan
from lightvec.search.scan_settings import SETTINGS, ScanSettings, scan_settings
from lightvec.search.table_statistics import NEVER_ANALYZED
from lightvec.wire.identifiers import identifier

__all__ = ["Explanation", "explain"]

#: With these settings the planner takes an index that returns rows in order wherever one can.
_INDEX_ONLY: Mapping[str, object] = {
    "enable_seqscan": False,
    "enable_sort": False,
    "enable_bitmapscan": False,
    "enable_indexscan": True,
}

_NEVER_ANALYZED = f"""\
SELECT {NEVER_ANALYZED}
FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE p.oid = to_regclass(%s)"""

_BUILDS = f"SELECT {BUILDS} FROM pg_catalog.pg_class p WHERE p.oid = to_regclass(%s)"

Indexes = Mapping[IndexName, ExistingIndex]


@dataclass(frozen=True)
class Explanation:
    """Whether a vector index serves a query; ``str()`` says it in plain words.

    ``uses_index``: every search by distance in the query reads an index, and ``index`` is the first
    that is read. ``reasons`` say why not, or what is wrong all the same; a ``"note"`` is as it should
    be. ``plan`` is the output of EXPLAIN (FORMAT JSON).
    """

    uses_index: bool
    index: str | None
    reasons: tuple[Finding, ...]
    plan: Any

    def __str__(self) -> str:
        lines = [f"the index {self.index} serves the query"] if self.uses_index else []
        lines += map(str, self.reasons)
        top = self.plan[0]
        if "Execution Time" in top:
            lines.append(f"it took {top['Execution Time']:.2f} ms and gave {top['Plan']['Actual Rows']:,.0f} rows")
        return "\n".join(lines)


def explain(query: Any, *, analyze: bool = False, database: Pg8000Database | None = None) -> Explanation:
    """Whether a vector index serves a Peewee select, and if not, why and what to change.

    The query is planned with its settings, not run; ``analyze`` runs it, too, and puts its time into
    the plan. ``database`` is the query's own by default. The codes of the reasons are in
    :data:`lightvec.search.findings.FINDINGS`.

    >>> print(explain(Doc.embedding.nearest([1, 2, 3], exact=True)))
    no index is used: exact=True asks to compare every row; leave exact=True out
    """
    database = _database_of(query, database)
    plan, nearest = _planned(database, query, analyze=analyze)
    indexes: Indexes = {(index.schema, index.name): index for index in vector_indexes(database)}
    scans, sorts = plan.scans(indexes), plan.unserved_sorts(indexes)
    uses_index = bool(scans) and not sorts
    if uses_index:
        reasons = _shortfalls(database, query, nearest, scans, indexes)
    else:
        reasons = _why_not(database, query, nearest, plan, indexes, sorts)
    name = scans[0].index[1] if scans else None
    # On Citus each shard has the same reason.
    return Explanation(uses_index, name, tuple(dict.fromkeys(reasons)), plan.json)


def _database_of(query: Any, given: Pg8000Database | None) -> Pg8000Database:
    if not isinstance(query, SelectBase):
        raise InvalidOption(f"expected a Peewee select, such as Doc.embedding.nearest(...), got {type(query).__name__}")
    database = given or getattr(query, "_database", None)
    if not isinstance(database, Pg8000Database):
        raise InvalidOption(
            f"expected a query on a Pg8000Database, got one on {type(database).__name__}: bind its models to one, or "
            f"give database="
        )
    return database


def _planned(
    database: Pg8000Database, query: Any, settings: Mapping[str, object] | None = None, *, analyze: bool = False
) -> tuple[Plan, Sequence[Nearest]]:
    """The plan of a query with its own settings and these, in one round trip, and the nearest() queries in it."""
    context: Any = database.get_sql_context()
    on_citus = bool(database.extension().citus)
    if on_citus:
        # Citus cannot plan a shard where a parameter has a type whose OID differs between nodes.
        context.vectors_as_text = database.extension().schema
    sql, values = context.sql(query).query()
    options = "ANALYZE, " if analyze else ""
    settings = {**(settings_of(context.nearest, database) or {}), **(settings or {})}
    if on_citus:
        settings["citus.explain_all_tasks"] = True
    sql = f"EXPLAIN ({options}FORMAT JSON, VERBOSE, SETTINGS) {sql}"
    ((json,),) = database.execute_sql(sql, values, settings=settings or None).fetchall()
    return Plan(json), context.nearest


# An index serves, and may return too few rows


def _shortfalls(
    database: Pg8000Database, query: Any, nearest: Sequence[Nearest], scans: Sequence[Node], indexes: Indexes
) -> Iterator[Finding]:
    methods = dict.fromkeys(indexes[scan.index].method for scan in scans)
    settings = settings_of(nearest, database)
    found = {method: scan_settings(database, method, settings) for method in methods}
    for setting in found.values():
        yield from setting.findings
    for each in nearest:
        if each.fallback:
            yield finding("ran_exactly", fallback=each.fallback)
    models: set[Any] = {getattr(each, "model", None) for each in (query, *nearest)} - {None}
    keys = [{field.column_name for field in model._meta.get_primary_keys()} for model in models]
    offset = getattr(query, "_offset", None)
    for limit, group in groupby(scans, lambda scan: scan.limit):
        below = list(group)
        index = indexes[below[0].index]
        subject = display_name(index.schema, index.name)
        drops = (_dropped_by(scan, limit, keys) for scan in below if limit)
        dropped = shorten("; ".join(next(filter(None, drops), ())), 200, placeholder=" …")
        if index.method == "ivfflat":
            yield from _few_probes(index, found["ivfflat"].effort, dropped)
        if limit is None:
            yield finding("unlimited", subject)
        elif not any(found[indexes[scan.index].method].iterative_scan for scan in below):
            skipped = offset if isinstance(offset, int) and not limit.limit else 0
            wanted = round(limit.facts["Plan Rows"]) + skipped
            scanned = sum(_rows_scanned(scan, indexes[scan.index], found) for scan in below)
            values = {"wanted": f"{wanted:,}", "scanned": f"{scanned:,}", "method": index.method}
            if wanted > scanned:
                yield finding(f"limit_over_{SETTINGS[index.method][0]}", subject, **values)
            if dropped:
                yield finding("filtered_short", subject, dropped=dropped, **values)


def _few_probes(index: ExistingIndex, probes: int, dropped: str) -> Iterator[Finding]:
    enough = usual_probes(index.lists, is_filtered=bool(dropped))
    if dropped and probes < enough:
        subject = display_name(index.schema, index.name)
        values: dict[str, Any] = {"probes": probes, "lists": index.lists, "enough": enough}
        yield finding("few_probes", subject, dropped=dropped, **values)
    elif probes == 1 < index.lists:
        yield one_probe(index)


def _rows_scanned(scan: Node, index: ExistingIndex, settings: Mapping[str, ScanSettings]) -> int:
    """How many rows an index scan reads; of lists, what they hold on average."""
    effort = settings[index.method].effort
    if index.method == "hnsw":
        return effort
    # The coordinator of Citus has no rows.
    rows = index.rows if index.rows > 0 else scan.facts["Plan Rows"]
    return round(rows * min(1.0, effort / index.lists))


def _dropped_by(scan: Node, limit: Node, keys: Sequence[set[str]]) -> list[str]:
    """The conditions and joins between an index scan and its LIMIT that may drop rows."""
    path = [scan, *(node for node in reversed(scan.above) if limit in node.above)]
    order = read_distance(str(scan.facts["Order By"]))
    filters = (part for node in path for part in conjuncts(str(node.facts.get("Filter", "true"))))
    found = [condition for condition in filters if _drops_rows(condition, order, keys)]
    joins = [(join, source) for source, join in pairwise(path) if join.drops_rows_of(source)]
    return found + [_joined_tables(join, source) for join, source in joins]


def _drops_rows(condition: str, order: Distance | None, keys: Sequence[set[str]]) -> bool:
    """Whether a condition may drop rows that are among the nearest by a distance."""
    names = column_names(condition)
    if not names:
        return "SubPlan" in condition
    if names in keys and " <> " in condition:
        return False  # A search for the rows nearest to one row leaves that one out.
    if order is None or names != {order.column}:
        return True
    distance = read_distance(condition)
    if distance is None:
        return not condition.endswith(" IS NOT NULL")
    # A scan of bits is by Hamming distance, and the bound by the metric of the vectors.
    return distance.metric != order.metric != "hamming" or not re.search(r"\) <=? ", condition)


def _joined_tables(join: Node, source: Node) -> str:
    nodes = (node for other in join.below if other is not source for node in other.walk())
    names = dict.fromkeys(node.facts.get("Relation Name") for node in nodes)
    return f"the join with {', '.join(filter(None, names)) or 'a subquery'}"


# No index serves


def _why_not(
    database: Pg8000Database,
    query: Any,
    nearest: Sequence[Nearest],
    plan: Plan,
    indexes: Indexes,
    sorts: list[Node],
) -> Iterator[Finding]:
    if any(each._exact for each in nearest):
        # nearest(exact=True) sorts by the distance + 0.
        sorts = [sort for sort in sorts if "+ '0'::double precision" not in sort.sort_keys[0]]
        if not sorts:
            yield finding("exact")
            return
    if plan.lacks_a_task:
        yield finding("unplanned")
        return
    if not sorts or sorts[0].sort_distance is None:
        yield finding(_why_no_sort(plan))
        return
    sort, (distance, is_first) = sorts[0], sorts[0].sort_distance
    table = plan.table(distance.alias)
    column = f"{display_name(*table) if table else distance.alias}.{distance.column}" if distance.column else ""
    by_index, _ = _planned(database, query, _INDEX_ONLY)
    if by_index.scans(indexes) and not by_index.unserved_sorts(indexes):
        if plan.settings.get("enable_indexscan") == "off":
            yield finding("index_scan_off", "enable_indexscan")
            return
        if table is not None and database.execute_sql(_NEVER_ANALYZED, (identifier(*table),)).fetchall() == [(True,)]:
            yield finding("never_analyzed", display_name(*table), name=identifier(*table))
        yield _planners_choice(query, sort, column, f"cost {plan.cost:,.0f}, with the index {by_index.cost:,.0f}")
        return
    found = [finding(code, column) for code in _wrong_forms(distance, is_first)]
    if table is not None and distance.column is not None:
        found += _mismatches(database, table, distance, indexes)
    yield from found or [finding("grouped" if sort.groups else "unexplained", column)]


def _why_no_sort(plan: Plan) -> str:
    if plan.sorts_on_coordinator:
        return "not_on_shards" if any(node.limit for node in plan.nodes) else "no_limit"
    if plan.filters_by_distance:
        return "in_where"
    return "in_subquery" if plan.sorts_a_subquery else "no_distance"


def _wrong_forms(distance: Distance, is_first: bool) -> Iterator[str]:
    if not is_first:
        yield "not_first"
    if distance.is_call:
        yield "function"
    elif not distance.is_alone:
        # A score is around the distance, and descending as it has to be.
        yield "around_distance"
    if distance.is_descending and (distance.is_alone or distance.is_call):
        yield "descending"
    if distance.nulls_first and not distance.is_descending:
        yield "nulls_first"
    if distance.column is not None and not distance.is_constant:
        yield "not_constant"


def _mismatches(
    database: Pg8000Database, table: tuple[str, str], distance: Distance, indexes: Indexes
) -> Iterator[Finding]:
    on_column = [
        index
        for index in indexes.values()
        if (index.table_schema, index.table) == table and index.column == distance.column
    ]
    command = index_command(table[1], table[0], vector_column=distance.column, metric=distance.metric)
    if not on_column:
        rows = database.execute_sql(_BUILDS, (identifier(*table),)).fetchall()
        builds = [build for (found,) in rows for build in found]
        for build in builds:
            yield finding("build_running", display_name(*table), **build)
        if not builds:
            yield finding("no_index", f"{display_name(*table)}.{distance.column}", command=command)
    matching = [index for index in on_column if index.metric == distance.metric and _indexed(index) == distance.operand]
    for index in matching:
        if unusable := unusable_index(index):
            yield unusable
        elif index.where is not None:
            yield finding("partial_index", display_name(index.schema, index.name), where=index.where)
    for index in on_column if not matching else ():
        yield _mismatch(index, distance, command)


def _mismatch(index: ExistingIndex, distance: Distance, command: str) -> Finding:
    subject = display_name(index.schema, index.name)
    form = QUANTIZATIONS.get(index.quantize or "")
    metrics = form.metrics if form else ()
    if _indexed(index) == distance.operand or (index.metric in metrics and index.metric != distance.metric):
        return finding("wrong_metric", subject, built=index.metric, wanted=distance.metric, command=command)
    hint = f" (nearest() does where the model's index has quantize={index.quantize!r})"
    quantize = hint if distance.metric in metrics else ""
    return finding("wrong_expression", subject, built=_indexed(index), wanted=distance.operand, quantize=quantize)


def _indexed(index: ExistingIndex) -> str | None:
    return index.expression or index.column


def _planners_choice(query: Any, sort: Node, column: str, costs: str) -> Finding:
    rows = round(sort.below[0].facts["Plan Rows"])
    if sort.limit is None:
        return finding("no_limit", column)
    # The planner may remove a join of a table with itself from the plan.
    if sort.joins or getattr(query, "_joins", None):
        return finding("join_first", column, costs=costs)
    conditions = [condition for node in sort.walk() for text in node.conditions for condition in conjuncts(text)]
    if any(_drops_rows(condition, None, ()) and not condition.endswith(" IS NOT NULL") for condition in conditions):
        return finding("filter_first", column, rows=f"{rows:,}", costs=costs)
    is_large = 4 * sort.limit.facts["Plan Rows"] >= rows
    return finding("large_limit" if is_large else "small_table", column, rows=f"{rows:,}", costs=costs)
