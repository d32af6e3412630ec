"""Every reason why no index serves a query, in words; :mod:`lightvec.search.explaining` finds out which it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lightvec.search.findings import NOTE, PROBLEM, Finding

__all__ = ["REASONS", "reason"]


class _Reason(NamedTuple):
    level: str
    what: str
    remedy: str


#: Code to what is said. A note is as it should be.
REASONS: Mapping[str, _Reason] = MappingProxyType(
    {
        # The query
        "exact": _Reason(NOTE, "no index is used: exact=True asks to compare every row", "leave exact=True out"),
        "no_distance": _Reason(
            NOTE,
            "no index is used: the query does not order by the distance of a column",
            "write Model.embedding.nearest(vector, k), or order by a distance method of the field",
        ),
        "in_where": _Reason(
            PROBLEM,
            "no index is used: the query has the distance in WHERE only, and a vector index gives rows in its order",
            "order by the distance with a LIMIT, too: nearest(vector, k, min_score=...) does both",
        ),
        "in_subquery": _Reason(
            PROBLEM,
            "no index is used: a subquery (or WITH ... AS MATERIALIZED) gives the distance of every row, and the "
            "rows are ordered outside it",
            "put ORDER BY the distance and LIMIT into the subquery, as nearest() does",
        ),
        "not_first": _Reason(
            PROBLEM,
            "no index is used: the query orders by something else before the distance",
            "order by the distance first",
        ),
        "function": _Reason(
            PROBLEM,
            "no index is used: the query orders by a function's distance, and an index serves operators only",
            "write the operator, or the field's distance method",
        ),
        "around_distance": _Reason(
            PROBLEM,
            "no index is used: the query orders by an expression around the distance, such as a score",
            "order by the distance itself, ascending: the highest score comes first then, too",
        ),
        "descending": _Reason(
            PROBLEM,
            "no index is used: the query orders descending, and an index gives the nearest rows first",
            "order by the distance ascending",
        ),
        "nulls_first": _Reason(
            PROBLEM,
            "no index is used: the query wants NULL first, and an index has no rows without a vector",
            "leave NULLS FIRST out",
        ),
        "not_constant": _Reason(
            PROBLEM,
            "no index is used: the query compares with a column, and an index needs one vector to compare with",
            "compare with a vector or with a subquery that gives one; for the rows nearest to each row, put the "
            "ordered and limited query into a LATERAL join",
        ),
        "grouped": _Reason(
            PROBLEM,
            "no index is used: the rows are grouped, counted or made distinct before they are ordered",
            "order and limit the rows in a subquery, and group what it gives",
        ),
        "unexplained": _Reason(
            PROBLEM,
            "no index is used, and PostgreSQL does not say why",
            "look at .plan; where tables are joined, order and limit the rows before they are",
        ),
        "not_on_shards": _Reason(
            PROBLEM,
            "no index is used: Citus brings the distances of all rows to the coordinator and orders them there, as it "
            "does where rows are grouped or made distinct",
            "order and limit the rows in a subquery, which each shard does by its index, and go on with what it gives",
        ),
        "unplanned": _Reason(
            PROBLEM,
            "whether an index is used is not known: Citus could not get the plan of a shard",
            "write values of types that an extension or a user made (not vectors) into the query as text, with a cast",
        ),
        "unlimited": _Reason(
            PROBLEM,
            "the query has no LIMIT, and an index gives no more rows than it looks at (hnsw.ef_search, ivfflat.probes)",
            "add .limit(k)",
        ),
        # What an index that serves it leaves out
        "limit_over_ef_search": _Reason(
            PROBLEM,
            "the query wants {wanted} rows, and the index {subject} gives no more than hnsw.ef_search, which is "
            "{looked_at}",
            "raise that (nearest(vector, k) does), or have it search on (iterative_scan=True, or SET "
            "hnsw.iterative_scan, with pgvector 0.8 and newer)",
        ),
        "limit_over_probes": _Reason(
            PROBLEM,
            "the query wants {wanted} rows, and the lists of the index {subject} that ivfflat.probes allows have about "
            "{looked_at}",
            "raise that (nearest(vector, k, probes=...)), or have it search on (iterative_scan=True, or SET "
            "ivfflat.iterative_scan, with pgvector 0.8 and newer)",
        ),
        "filtered_short": _Reason(
            PROBLEM,
            "the index {subject} looks at about {looked_at} rows, and of those only the ones come that pass what the "
            "query, a view or row-level security asks for ({dropped}): they may be fewer than the {wanted} wanted",
            "have it search on (nearest(vector, k, iterative_scan=True), or SET {method}.iterative_scan, with pgvector "
            "0.8 and newer), or make a partial index for the filter",
        ),
        # The indexes
        "no_index": _Reason(PROBLEM, "there is no vector index on {subject}", "create one ({command})"),
        "wrong_metric": _Reason(
            PROBLEM,
            "the index {subject} is not used: it is built for {built}, the query orders by {wanted}",
            "declare metric='{built}' or build an index for {wanted} ({command})",
        ),
        "wrong_expression": _Reason(
            PROBLEM,
            "the index {subject} is not used: it is on {built}, the query orders by {wanted}",
            "order by what is indexed{quantize}, or build an index on {wanted}",
        ),
        "index_being_built": _Reason(
            NOTE,
            "the index {subject} is not used: it is being built at this moment",
            "wait until that is done",
        ),
        "invalid_index": _Reason(
            PROBLEM,
            "the index {subject} is not used: it is invalid, as an interrupted CREATE INDEX CONCURRENTLY leaves it",
            "build it again (REINDEX INDEX CONCURRENTLY {name}, or {command})",
        ),
        "partial_index": _Reason(
            PROBLEM,
            "the index {subject} is not used: it has only the rows WHERE {where}, and the query may want others",
            "give the query that very condition, or build an index on all rows",
        ),
        # The planner, which found something cheaper
        "index_scan_off": _Reason(
            PROBLEM,
            "no index is used: enable_indexscan is off",
            "RESET enable_indexscan, or take it out of the settings of the role, the database or the server",
        ),
        "never_analyzed": _Reason(
            PROBLEM,
            "the table of {subject} was never analysed, so the planner guesses what is in it",
            "ANALYZE {name}",
        ),
        "no_limit": _Reason(
            PROBLEM,
            "no index is used: the query has no LIMIT, so it wants all rows, and an index gives the nearest few",
            "add .limit(k)",
        ),
        "filter_first": _Reason(
            NOTE,
            "no index is used: the planner expects the filter to leave {fetched} rows and compares those, which is "
            "exact ({costs})",
            "nothing needs to be done; where it is slow, ANALYZE the table, or make a partial index for the filter",
        ),
        "large_limit": _Reason(
            NOTE,
            "no index is used: for as many rows as the LIMIT allows the planner prefers to compare them all, {rows} "
            "rows, which is exact ({costs})",
            "nothing needs to be done; fewer rows come from the index",
        ),
        "join_first": _Reason(
            NOTE,
            "no index is used: the planner joins the tables first and orders what comes out ({costs})",
            "where it is slow, put nearest() into a subquery, and join what it gives",
        ),
        "small_table": _Reason(
            NOTE,
            "no index is used: the table is so small that the planner prefers to compare all of it, {rows} rows, "
            "which is exact ({costs})",
            "nothing needs to be done: when the table has grown it takes the index",
        ),
    }
)


def reason(code: str, subject: str = "", **values: object) -> Finding:
    """A reason in words.

    >>> print(reason("no_index", "doc.embedding", command="lightvec create-index doc"))
    there is no vector index on doc.embedding; create one (lightvec create-index doc)
    """
    level, what, remedy = REASONS[code]
    values["subject"] = subject
    return Finding(level, code, subject, what.format_map(values), remedy.format_map(values))
