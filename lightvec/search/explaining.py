"""Whether the vector index serves a query, and if not, why and what to change.

Nothing is guessed that can be asked: where the planner left an index aside, it is asked again with everything else
forbidden. If it takes the index then, it had found something cheaper; if it does not, the index cannot serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peewee import SelectBase

from lightvec.errors import InvalidOption
from lightvec.peewee.catalog import StandingIndex, vector_indexes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.nearest import Nearest, settings_of
from lightvec.peewee.quantization import QUANTIZATIONS
from lightvec.search.citus_plans import unplanned
from lightvec.search.expressions import SortKey
from lightvec.search.findings import Finding, index_command, told_name
from lightvec.search.plans import IndexName, Plan, Step, groups, joins, limit_above, sort_key
from lightvec.search.reasons import reason
from lightvec.search.scans import Scan, scan_of
from lightvec.search.shards import behind
from lightvec.search.shortfalls import shortfalls
from lightvec.search.tables import NEVER_ANALYZED
from lightvec.wire.identifiers import identifier

__all__ = ["Explanation", "explain"]

#: With these the planner takes an index that gives the order wherever one can.
_FORBIDDEN: Mapping[str, object] = {
    "enable_seqscan": False,
    "enable_sort": False,
    "enable_bitmapscan": False,
    "enable_indexscan": True,
}

_EXPLAIN = "EXPLAIN (FORMAT JSON, VERBOSE, SETTINGS) "
_ANALYZE = "EXPLAIN (FORMAT JSON, VERBOSE, SETTINGS, ANALYZE) "

_TABLE = f"""\
SELECT p.reltuples::float8, {NEVER_ANALYZED}
FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE p.oid = to_regclass(%s)"""


@dataclass(frozen=True)
class Explanation:
    """Whether a vector index serves a query; ``str()`` says it in plain words.

    ``uses_index`` is true where every search by distance in the query reads an index, and ``index`` is the (first) one
    that does. ``reasons`` say why not, or what is wrong all the same; a ``"note"`` is as it should be. ``plan`` is what
    PostgreSQL said, as EXPLAIN (FORMAT JSON) gives it.
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

    The query is planned, not run, with the settings that it would have; ``analyze`` runs it, too, and its time is in
    the plan. The database is the query's own unless one is given. :mod:`lightvec.search.reasons` has the codes of the
    reasons.

    >>> print(explain(Doc.embedding.nearest([1, 2, 3], exact=True)))
    no index is used: exact=True asks to compare every row; leave exact=True out
    """
    planner = _Planner(query, _database_of(query, database))
    plan = planner.plan(query, analyze=analyze)
    indexes: Mapping[IndexName, StandingIndex] = {
        (index.schema, index.name): index for index in vector_indexes(planner.database)
    }
    searches, sorts = plan.searches(indexes), plan.unserved(indexes)
    name = str(searches[0].facts["Index Name"]) if searches else None
    if searches and not sorts:
        indexes = _with_rows(planner.database, indexes, searches)
        # Of a table on Citus each shard has its own.
        return Explanation(True, name, tuple(dict.fromkeys(_shortfalls(planner, searches, indexes))), plan.json)
    return Explanation(False, name, tuple(_reasons(planner, plan, indexes, sorts)), plan.json)


def _database_of(query: Any, database: Pg8000Database | None) -> Pg8000Database:
    if not isinstance(query, SelectBase):
        raise InvalidOption(f"expected a Peewee select, such as Doc.embedding.nearest(...), got {type(query).__name__}")
    query_: Any = query
    meant = database or query_._database
    if not isinstance(meant, Pg8000Database):
        raise InvalidOption(
            f"expected a query on a Pg8000Database, got one on {type(meant).__name__}: bind its models to one, or give "
            f"database="
        )
    return meant


class _Planner:
    """What PostgreSQL's planner says of a query and of what it would be otherwise, each in one round trip."""

    def __init__(self, query: Any, database: Pg8000Database) -> None:
        self.query = query
        self.database = database

    @property
    def is_exact(self) -> bool:
        """Whether the query, or a part of it, asks for every row to be compared."""
        return any(nearest._exact for nearest in self._written(self.query)[0].nearest)

    @property
    def keys(self) -> set[frozenset[str]]:
        """The columns of the primary keys of the query's models."""
        models = {getattr(each, "model", None) for each in (self.query, *self._written(self.query)[0].nearest)}
        keys = (model._meta.get_primary_keys() for model in models if model is not None)
        return {frozenset(field.column_name for field in key) for key in keys}

    def scan(self, method: str) -> Scan:
        """How the query searches an index of this method."""
        context = self._written(self.query)[0]
        return scan_of(self.database, method, settings_of(context.nearest, self.database))

    def plan(self, query: Any, settings: Mapping[str, object] | None = None, *, analyze: bool = False) -> Plan:
        """The plan of a query, with its own settings and these."""
        context, sql, values = self._written(query)
        sql = (_ANALYZE if analyze else _EXPLAIN) + sql
        together = dict(settings_of(context.nearest, self.database) or {}) | dict(settings or {})
        if context.is_on_citus():
            together["citus.explain_all_tasks"] = True
        return Plan(self.database.execute_sql(sql, values, settings=together or None).fetchall()[0][0])

    def _written(self, query: Any) -> tuple[Any, str, Any]:
        context = self.database.context_to_run()
        if context.is_on_citus():
            # Citus gets no plan of a shard where a parameter is of a type that has other OIDs on other nodes.
            context.vectors_as_text = self.database.extension().schema
        return context, *context.sql(query).query()


def _reasons(
    planner: _Planner, plan: Plan, indexes: Mapping[IndexName, StandingIndex], sorts: list[Step]
) -> Iterator[Finding]:
    if planner.is_exact:
        # What another part does without an index nobody asked for.
        sorts = [sort for sort in sorts if not _is_exact(sort)]
        if not sorts:
            yield reason("exact")
            return
    read = sort_key(sorts[0]) if sorts else None
    if unplanned(plan.json):
        yield reason("unplanned")
    elif read is None:
        yield reason(_without_sort(plan))
    else:
        key, comes_first = read
        forced = planner.plan(planner.query, _FORBIDDEN)
        if _is_served(forced, indexes):
            yield from _Choice(planner, plan, forced, indexes).reasons(sorts[0], key)
        else:
            found = [*_shape(plan, key, comes_first), *_mismatches(plan, key, indexes)]
            yield from found or [reason("grouped" if groups(sorts[0]) else "unexplained")]


def _without_sort(plan: Plan) -> str:
    """Why no step sorts by a distance."""
    if plan.orders_on_coordinator:
        return "not_on_shards" if any(map(limit_above, plan.steps)) else "no_limit"
    if plan.filters_by_distance:
        return "in_where"
    return "in_subquery" if plan.sorts_a_subquery else "no_distance"


def _is_exact(sort: Step) -> bool:
    """Whether it sorts as ``nearest(exact=True)`` does."""
    read = sort_key(sort)
    return read is not None and read[0].adds_zero


def _is_served(plan: Plan, indexes: Mapping[IndexName, StandingIndex]) -> bool:
    return bool(plan.searches(indexes)) and not plan.unserved(indexes)


def _subject(plan: Plan, key: SortKey) -> str:
    """The column, as it is told."""
    if key.operand is None:
        return ""
    table = plan.relation(key.operand.alias)
    return f"{told_name(*table) if table else key.operand.alias}.{key.operand.column}"


# An index serves it


def _with_rows(
    database: Pg8000Database, indexes: Mapping[IndexName, StandingIndex], searches: list[Step]
) -> Mapping[IndexName, StandingIndex]:
    """The indexes that are searched, with the rows that they have: on Citus those of the largest shard."""
    if not database.extension().citus:
        return indexes
    found = dict(indexes)
    for name in {name for step in searches for name in step.index_names() if name in indexes}:
        index = indexes[name]
        shards = behind(database, index.table_schema, index.table)
        if shards is not None and shards.shards:
            found[name] = replace(index, rows=max(shard.rows for shard in shards.shards))
    return found


def _shortfalls(
    planner: _Planner, searches: list[Step], indexes: Mapping[IndexName, StandingIndex]
) -> Iterator[Finding]:
    """What is wrong all the same."""
    if not all(map(limit_above, searches)):
        yield reason("unlimited", str(searches[0].facts["Index Name"]))
    methods = {index.method for step in searches for name in step.index_names() if (index := indexes.get(name))}
    offset = getattr(planner.query, "_offset", None)
    yield from shortfalls(
        searches,
        indexes,
        {method: planner.scan(method) for method in methods},
        offset if isinstance(offset, int) else 0,
        planner.keys,
    )


# The query cannot be served as it is written


def _shape(plan: Plan, key: SortKey, comes_first: bool) -> Iterator[Finding]:
    faults = {
        "not_first": not comes_first,
        "function": key.is_call,
        "around_distance": not (key.is_alone or key.is_call),
        # A score is around the distance, and descending as it has to be.
        "descending": key.is_descending and (key.is_alone or key.is_call),
        "nulls_first": key.nulls_first and not key.is_descending,
        "not_constant": key.operand is not None and not key.is_constant,
    }
    return (reason(code, _subject(plan, key)) for code, is_so in faults.items() if is_so)


# The table has no index that could serve it


def _mismatches(plan: Plan, key: SortKey, indexes: Mapping[IndexName, StandingIndex]) -> Iterator[Finding]:
    table = plan.relation(key.operand.alias) if key.operand else None
    if key.operand is None or table is None:
        return
    on_column = [
        index
        for index in indexes.values()
        if (index.table_schema, index.table) == table and index.column == key.operand.column
    ]
    if not on_column:
        command = index_command(table[1], table[0], vector_column=key.operand.column, metric=key.metric)
        yield reason("no_index", _subject(plan, key), command=command)
    fitting = [index for index in on_column if index.metric == key.metric and _indexed(index) == key.operand.text]
    for index in fitting:
        yield from _unusable(index)
    for index in on_column if not fitting else []:
        yield _misfit(index, key)


def _told(index: StandingIndex) -> str:
    return told_name(index.schema, index.name)


def _indexed(index: StandingIndex) -> str | None:
    return index.expression or index.column


def _unusable(index: StandingIndex) -> Iterator[Finding]:
    """Why an index that fits the query is not used."""
    if index.being_built and not index.valid:
        yield reason("index_being_built", _told(index))
    elif not index.valid:
        command = index_command(index.table, index.table_schema, vector_column=index.column, metric=index.metric)
        yield reason("invalid_index", _told(index), name=identifier(index.schema, index.name), command=command)
    elif index.where is not None:
        yield reason("partial_index", _told(index), where=index.where)


def _misfit(index: StandingIndex, key: SortKey) -> Finding:
    """Why an index on the column is none for the query."""
    assert key.operand is not None
    form = QUANTIZATIONS.get(index.quantize or "")
    if _indexed(index) == key.operand.text or (form and index.metric in form.metrics and index.metric != key.metric):
        command = index_command(index.table, index.table_schema, vector_column=key.operand.column, metric=key.metric)
        return reason("wrong_metric", _told(index), built=index.metric, wanted=key.metric, command=command)
    is_written = form is not None and key.metric in form.metrics
    quantize = f" (nearest() does where the model's index has quantize={index.quantize!r})" if is_written else ""
    return reason("wrong_expression", _told(index), built=_indexed(index), wanted=key.operand.text, quantize=quantize)


class _Choice:
    """Why the planner preferred something else to an index that could serve."""

    def __init__(self, planner: _Planner, plan: Plan, forced: Plan, indexes: Mapping[IndexName, StandingIndex]) -> None:
        self._planner = planner
        self._plan = plan
        self._forced = forced
        self._indexes = indexes

    def reasons(self, sort: Step, key: SortKey) -> Iterator[Finding]:
        """The reason, and before it what may have misled the planner."""
        if self._plan.settings.get("enable_indexscan") == "off" and self._serves({"enable_indexscan": True}):
            yield reason("index_scan_off", "enable_indexscan")
            return
        table = self._plan.relation(key.operand.alias) if key.operand else None
        rows = "all"
        if table is not None:
            name = identifier(*table)
            counted, is_unknown = _counted(self._planner.database, *table)
            rows = f"{counted:,.0f}" if counted >= 0 else "an unknown number of"
            if is_unknown:
                yield reason("never_analyzed", _subject(self._plan, key), name=name)
        fetched = f"{sort.below[0].facts['Plan Rows']:,.0f}"
        costs = f"it expects a cost of {self._plan.cost:,.0f}, and of {self._forced.cost:,.0f} with the index"
        yield reason(self._preferred(sort), _subject(self._plan, key), rows=rows, fetched=fetched, costs=costs)

    def _preferred(self, sort: Step) -> str:
        """Found by leaving parts of the query out."""
        if limit_above(sort) is None:
            return "no_limit"
        if self._serves_when(_without_filter):
            return "filter_first"
        if self._serves_when(_with_limit_one):
            return "large_limit"
        # A join of a table with itself can be gone from the plan.
        return "join_first" if joins(sort) or getattr(self._planner.query, "_joins", None) else "small_table"

    def _serves_when(self, change: Callable[[Any], bool]) -> bool:
        """Whether an index serves the query when it is changed so, where it can be."""
        query = self._planner.query.clone()
        return change(query) and self._serves(None, query)

    def _serves(self, settings: Mapping[str, object] | None, query: Any = None) -> bool:
        """Whether an index serves the query, or this one in its place, with these settings."""
        return _is_served(self._planner.plan(self._planner.query if query is None else query, settings), self._indexes)


def _counted(database: Pg8000Database, schema: str, table: str) -> tuple[float, bool]:
    """How many rows the server last counted, and whether it never looked at them."""
    on_citus = behind(database, schema, table)
    if on_citus is not None:
        return on_citus.total("rows"), any(shard.unseen for shard in on_citus.shards)
    ((rows, is_unknown),) = database.execute_sql(_TABLE, (identifier(schema, table),)).fetchall()
    return rows, is_unknown


def _without_filter(query: Any) -> bool:
    own = query._own_filter if isinstance(query, Nearest) else None
    has_one = getattr(query, "_where", None) is not own
    query._where = own
    return has_one


def _with_limit_one(query: Any) -> bool:
    has_more = bool(query._limit != 1)
    query._limit, query._offset = 1, None
    return has_more
