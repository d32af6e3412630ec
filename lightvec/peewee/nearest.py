"""Searches: Peewee queries ordered by distance, with settings of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from math import inf, isnan
from numbers import Integral, Real
from operator import and_, le
from typing import Any, overload

from peewee import (
    CTE,
    SCOPE_COLUMN,
    SQL,
    Alias,
    Column,
    Entity,
    Expression,
    Field,
    Model,
    ModelAlias,
    ModelSelect,
    NodeList,
    Select,
    SelectBase,
    Value,
)

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.index_options import OPTIONS, check_range, usual_probes
from lightvec.metrics import Metric
from lightvec.peewee._seam import (
    RowCursor,
    copy_with,
    database_of_query,
    has_unusual_clauses,
    is_nested,
    set_rows,
)
from lightvec.peewee.generics import M, ScoredSelect
from lightvec.peewee.indexes import IvfflatIndex, VectorIndex
from lightvec.peewee.quantization import Quantization
from lightvec.types import SparseVector
from lightvec.types.inputs import show
from lightvec.wire.settings import AtLeast

#: PostgreSQL counts rows by a bigint.
MOST_ROWS = 2**63 - 1

#: Candidates for each row that is wanted, the least of them and the most.
GROUP_CANDIDATES = (10, 100, MOST_ROWS)
_DIVERSE_CANDIDATES = (4, 40, 1_000)

#: pgvector's default of ``hnsw.ef_search``, and its maximum.
_DEFAULT_EF_SEARCH, MOST_EF_SEARCH = 40, 1_000

_ITERATIVE_SCANS = (None, "strict_order", "relaxed_order")

#: PEP 249's description of a float8 column.
_SCORE_COLUMN = ("score", 701, None, None, None, None, None)

_ROW = "lightvec_row"


class Nearest(ScoredSelect[M]):
    """What ``Model.embedding.nearest(...)`` gives; add ``where``, ``join``, ``select`` and so on.

    Each row has ``distance`` and ``score``, whatever is selected. A field of the model with one of
    these names keeps it; select it under another (``alias``) if both are wanted. In another query
    it is a source (``alias``, ``cte``, ``union``) with both columns, or a value (``in_``) without.

    Rows are sorted by ``distance``; pages (``offset``, ``paginate``) of IVFFlat and quantized
    indexes each by themselves.
    """

    # The distance is in the statement once, as it takes the server time. Python computes the score,
    # unless the query is part of another or another column may be called distance.

    _cte_list: Any
    _distinct: Any
    _from_list: Any
    _group_by: Any
    _joins: Any
    _limit: Any
    _offset: Any
    _simple_distinct: Any
    _where: Any
    _order_by: Any

    #: From 0 to 1: how much rows unlike each other count.
    _diverse: float = 0.0
    _candidates: int | None = None

    #: Why the search ran again with ``exact=True``; None if it did not.
    fallback: str | None = None

    def __init__(
        self,
        field: Any,
        vector: Any,
        k: int,
        metric: str | None = None,
        exact: bool | None = None,
        ef_search: int | None = None,
        probes: int | None = None,
        iterative_scan: str | bool | None = None,
        min_score: Any = None,
        diverse: float = 0,
        candidates: int | None = None,
    ) -> None:
        if vector is None:
            raise InvalidVector(f"{field.display_name}.nearest expected a vector, got None")
        check_range("ef_search", ef_search, 1, MOST_EF_SEARCH)
        check_range("probes", probes, 1, OPTIONS["ivfflat"]["lists"].most)
        if not (isinstance(iterative_scan, bool) or iterative_scan in _ITERATIVE_SCANS):
            wanted = "'strict_order', 'relaxed_order', True or False"
            raise InvalidOption(f"expected iterative_scan to be {wanted}, got {iterative_scan!r}")
        conditions = [field.is_null(False)] if field.null else []
        #: The WITH query that gives the vector, if that is of a stored row.
        self._row: tuple[CTE, ...] = ()
        if isinstance(vector, Model):
            is_row, row, vector = _stored_row(field, vector)
            self._row = (row,)
            conditions.append(~is_row)
        self.metric = field.resolve_metric(metric)
        self._field = field
        self._distance = field.distance_by(self.metric, vector)
        self._is_looked_up = not isinstance(self._distance.rhs, Value)
        if self._is_looked_up:
            # An index would give any rows for NULL or, by cosine, zeros, whose distance is NaN:
            # PostgreSQL sorts it after infinity.
            is_cosine, distance = self.metric.name == "cosine", self._distance
            conditions.append(distance < inf if is_cosine else distance.is_null(False))
        else:
            _check_direction(field, self.metric, self._distance.rhs.value)
        if min_score is not None:
            if isinstance(min_score, bool) or not isinstance(min_score, Real) or isnan(min_score):
                raise InvalidOption(f"expected min_score to be a number, got {min_score!r}")
            limit = self.metric.score.to_distance(float(min_score))
            conditions.append(self._distance <= limit)
        self._has_min_score = min_score is not None
        self._k = checked_count(k)
        if diverse:
            self._diverse = _checked_diversity(diverse)
        if candidates is not None:
            self._candidates = checked_count(candidates, "candidates", " to choose among")
        self._exact = exact
        self._ef_search = ef_search
        self._probes = probes
        self._iterative_scan = iterative_scan
        self._form, self._lists = (None, None) if exact else _index_options(field, self.metric)
        score = self.metric.score.of(self._distance)
        self._own = (Alias(self._distance, "distance"), Alias(score, "score"))
        super().__init__(field.model, [field.model, *self._own], is_default=True)
        self._own_filter = self._where = reduce(and_, conditions) if conditions else None
        self._order_by = self._by_distance = self._own[:1]
        self._limit = self._k

    def __sql__(self, ctx: Any) -> Any:
        if ctx.scope == SCOPE_COLUMN:
            return super().__sql__(ctx)  # Only the name, in front of a column.
        if hasattr(ctx, "nearest"):
            ctx.nearest.append(self)  # The statement needs the settings.
        nested = is_nested(ctx)
        if self._distinct and self._is_by_distance and not isinstance(self._distinct[0], SQL):
            raise InvalidOption(
                "distinct() with fields needs rows in the order of these, and a search has them in "
                "that of the distance: .per(field) gives the nearest row of each value"
            )
        if self._diverse:
            query = self._with_mutual_distances(nested)
        elif self._per is not None:
            query = self._best_of_groups()._as_sent(nested)
        else:
            query = self._reranked()._as_sent(nested)
        return super(Nearest, query).__sql__(ctx)

    def _best_of_groups(self) -> Nearest[M]:
        from lightvec.peewee.candidates import best_of_groups

        group, most = self._per
        key = _row_key(self.model)
        count = None if self._exact else self._candidate_count
        near = self._near([key.alias("key"), group.alias("group")], per=None, limit=count)
        # Not by the index again, which would give the nearest rows of all.
        outer = copy_with(self, per=None, exact=True, form=None)
        return outer.where(key.in_(best_of_groups(near, most)))

    def _with_mutual_distances(self, nested: bool) -> Nearest[M]:
        """The candidates, each with its distances to others, from which the rows are chosen."""
        from lightvec.peewee.candidates import check_diverse, compared, mutual_distances

        is_grouped = self._distinct is not None or self._simple_distinct or self._group_by
        count = self._candidate_count
        check_diverse(self._limit, count, nested=nested, is_grouped=bool(is_grouped))
        key = _row_key(self.model)
        columns = [key.alias("key"), self._field.alias("vector")]
        near = self._near(columns, diverse=0.0, limit=count)
        among = compared(near, self._field.field_type.lower())
        query = copy_with(self, exact=True, form=None, limit=None, offset=None)
        query = query.where(key.in_(Select([among], [among.c.key])))._as_sent(nested)
        distances = mutual_distances(key, self._distance.op)
        return copy_with(
            query,
            returning=[*query.selected_columns, distances.alias("lightvec_distances")],
            cte_list=(*(self._cte_list or ()), *self._row, among),
        )

    def _near(self, columns: list[Any], **clauses: Any) -> Any:
        """The candidates, as a source for another query."""
        near = copy_with(
            self,
            returning=[*columns, self._own[0]],
            is_default=False,
            order_by=self._by_distance,
            offset=None,
            distinct=None,
            simple_distinct=False,
            row=(),
            cte_list=None,
            **clauses,
        )
        if near._per is None:
            near._candidates = None
        return near.alias("near")

    @property
    def _candidate_count(self) -> int | None:
        if not isinstance(self._limit, int):
            return self._candidates
        wanted = self._limit + (self._offset or 0)
        if self._candidates is not None:
            return max(self._candidates, wanted)
        factor, least, most = _DIVERSE_CANDIDATES if self._diverse else GROUP_CANDIDATES
        return max(min(max(factor * wanted, least), most), wanted)

    def _as_sent(self, nested: bool) -> Nearest[M]:
        distance, score = self._own
        returning, order_by, limit = list(self._returning), self._order_by, self._limit
        column, expression = distance, self._distance
        if self._exact or nested:
            # An index serves only the distance itself, and a query around this one would trust the
            # order of its scan.
            column = Alias(self._distance + 0.0, "distance")
            returning = [column if each is distance else each for each in returning]
            expression = column.node if self._exact else expression
        if self._is_by_distance:
            first = column
            if self._form is not None:
                first = _coarse_distance(self._form, self.metric, self._distance)
            elif nested or not self._makes_scores:
                first = expression
            order_by = (first, *order_by[1:], *(self._tie_breakers if self._exact else ()))
        if not nested and self._makes_scores:
            returning.pop()
        if not nested and self._can_reuse_plan:
            limit = SQL(str(limit))
        return copy_with(
            self,
            own=(column, score),
            returning=returning,
            order_by=order_by,
            limit=limit,
            cte_list=(*(self._cte_list or ()), *self._row) or None,
        )

    @property
    def _tie_breakers(self) -> Sequence[Any]:
        """The key, so that of equal rows the same come in each run, where no index gives the order.

        An index would have to be read on until all equal rows are found. SELECT DISTINCT and GROUP
        BY take only what they select.
        """
        if self._order_by is not self._by_distance or has_unusual_clauses(self):
            return ()
        return _keys(self.model)

    @property
    def _is_by_distance(self) -> bool:
        return bool(self._order_by) and self._order_by[0] is self._own[0]

    @property
    def _can_reuse_plan(self) -> bool:
        """Whether to write the limit as a number, so that the server can keep a generic plan."""
        # An unknown limit makes it plan each run anew: 100 of 500 µs. Filters may be worth that.
        if self._offset is not None or self.is_filtered or self._has_min_score:
            return False
        return isinstance(self._limit, int)

    @property
    def _makes_scores(self) -> bool:
        """Whether distance and score come last, and no other column is called distance."""
        *others, distance, score = self._returning if len(self._returning) > 1 else (None, None)
        if distance is not self._own[0] or score is not self._own[1]:
            return False
        return all(_output_name(column) != "distance" for column in others)

    @property
    def statement_key(self) -> tuple[Any, ...] | None:
        """All that the SQL of a plain search depends on; None for any other search."""
        # Peewee takes 60 to 90 of 500 µs to write the statement.
        model, meta = self.model, self.model._meta
        is_plain = (
            not self._exact
            and self._form is None
            and not self._is_looked_up
            and self._can_reuse_plan
            and self._order_by is self._by_distance
            and len(self._from_list) == 1
            and self._from_list[0] is model
            and not has_unusual_clauses(self)
            and self._makes_scores
            and self._per is None
            and not self._diverse
        )
        columns = self._returning[:-2]
        if not is_plain or any(getattr(each, "model", None) is not model for each in columns):
            return None
        names = [column.column_name for column in columns]
        if not meta.columns.keys() >= set(names):
            return None  # A composite key does not say its columns.
        search = (self._field.column_name, self.metric.name, self._limit, self._where is None)
        return (meta.schema, meta.table_name, *search, *names)

    @property
    def vector(self) -> Any:
        return self._distance.rhs.value

    @property
    def _overfetch(self) -> int:
        return self._form.overfetch if self._form is not None and self._is_by_distance else 1

    def _reranked(self) -> Nearest[M]:
        """The nearest by the whole vector, among those by its coarser form."""
        # SELECT DISTINCT takes no ORDER BY of an expression that is not selected.
        is_distinct = self._simple_distinct or self._distinct is not None
        is_reranked = self._is_by_distance and (self._overfetch > 1 or is_distinct)
        if self._form is None or not is_reranked:
            return self
        outer = copy_with(self, form=None, order_by=(*self._order_by, *self._tie_breakers))
        if self._limit is None:
            return outer
        key = _row_key(self.model)
        among = copy_with(
            outer,
            returning=[key],
            order_by=(_coarse_distance(self._form, self.metric, self._distance),),
            limit=self._found,
            offset=None,
            distinct=None,
            simple_distinct=False,
            row=(),
        )
        return outer.where(key.in_(among))

    def _get_cursor_wrapper(self, cursor: Any) -> Any:
        if self._diverse:
            cursor = self._most_diverse(cursor)
        is_read = isinstance(cursor, RowCursor)
        has_scores = (is_read and cursor.is_nested) or not self._makes_scores
        distance = self._distance_column(cursor.description) if has_scores else -1
        if distance is not None:
            columns, rows = cursor.description, cursor.rows if is_read else cursor.fetchall()
            if self._may_come_unsorted:
                rows = _sorted_by(list(rows), distance)
            if not has_scores:
                columns = [*columns, _SCORE_COLUMN]
                score = self.metric.score.of
                rows = ((*row, None if row[-1] is None else score(row[-1])) for row in rows)
            cursor = RowCursor(columns, rows)
        return super()._get_cursor_wrapper(cursor)  # type: ignore[misc]

    def _most_diverse(self, cursor: Any) -> RowCursor:
        from lightvec.peewee.candidates import most_diverse

        rows = list(cursor.rows if isinstance(cursor, RowCursor) else cursor.fetchall())
        skipped = self._offset or 0
        count = self._limit + skipped
        places = most_diverse([row[-1] for row in rows], count, self._diverse)[skipped:]
        if not self._is_by_distance:
            places.sort()
        return RowCursor(cursor.description[:-1], [rows[place][:-1] for place in places])

    @property
    def _may_come_unsorted(self) -> bool:
        """Whether rows may come in another order than the server believes."""
        # Relaxed iterative scans sort each batch by itself; another query in the statement, or the
        # session, may have turned them on. A quantized index sorts by its coarser form.
        is_nearest = self._is_by_distance and not self._diverse
        return is_nearest and not self._exact and self._limit is not None

    def _distance_column(self, description: Any) -> int | None:
        """The place of the distance, from the end: ``SQL("*")`` may be before it."""
        for column, selected in enumerate(self._returning, -len(self._returning)):
            if selected is self._own[0] and description and description[column][0] == "distance":
                return column
        return None

    def exact_fallback(self, found: int, database: Any) -> Nearest[M] | None:
        """The search to run if this one found too few rows."""
        self.fallback = None
        if self._exact is not None or not self._is_short(found) or not self._is_by_distance:
            return None
        if self._per is not None:
            return None  # Often there are no more groups.
        # With min_score few rows are usual, and an iterative scan has seen all near enough.
        if self._has_min_score and (not self.is_filtered or self._scans_iteratively(database)):
            return None
        self.fallback = (
            f"the index found {found} of {self._limit} rows, so the search ran again with "
            f"exact=True; exact=False forbids that"
        )
        return copy_with(self, exact=True, form=None)

    def _is_short(self, found: int) -> bool:
        return isinstance(self._limit, int) and found < self._limit

    @property
    def shortfall(self) -> str | None:
        """Why fewer rows came than the limit, and what to do; None if all came."""
        found = len(self)  # Runs the query if it has not run yet.
        if not self._is_short(found):
            return None
        if self._per is not None and not self._exact:
            from lightvec.peewee.candidates import too_few_groups

            few = too_few_groups(found, self._limit, self._per[0], self._candidate_count)
            return f"{few}, exact=True compares with every row"
        return f"{found} of {self._limit} rows: {self._why_fewer(found)}"

    def _why_fewer(self, found: int) -> str:
        if self._is_looked_up and not found:
            return "the vector that was looked up is NULL or zeros, or no other row has one"
        if self._exact or self.fallback is not None:
            return "no more match"
        exact = "exact=True compares with every row"
        if self._scans_iteratively(self._database):
            limits = "hnsw.max_scan_tuples, ivfflat.max_probes"
            return f"no more match, or the index scan reached its limit ({limits}); {exact}"
        left_out = " and vectors of zeros" if self.metric.name == "cosine" else ""
        return (
            f"no more match, or the index did not find them: it gives the nearest rows before "
            f"conditions, views and row-level security drop some, leaves out NULL{left_out}, and "
            f"IVFFlat scans `probes` of its lists; iterative_scan=True lets it search on "
            f"(pgvector 0.8), {exact}"
        )

    @property
    def is_filtered(self) -> bool:
        """Whether a condition or join may drop rows of the index."""
        return self._where is not self._own_filter or bool(self._joins)

    def settings(self, database: Any) -> dict[str, object] | None:
        if self._exact or self._per is not None or self._diverse:
            return None  # The query for the candidates has them.
        settings: dict[str, object] = {}
        found = min(self._found, MOST_EF_SEARCH)
        if self._ef_search is not None:
            # An HNSW index gives no more rows than this.
            settings["hnsw.ef_search"] = max(self._ef_search, found)
        elif found > _DEFAULT_EF_SEARCH:
            settings["hnsw.ef_search"] = AtLeast(found, default=_DEFAULT_EF_SEARCH)
        if self._probes is not None:
            settings["ivfflat.probes"] = self._probes
        elif self._lists is not None:
            probes = usual_probes(self._lists, is_filtered=self.is_filtered)
            settings["ivfflat.probes"] = AtLeast(probes, default=1)
        if self._scans_iteratively(database):
            settings["hnsw.iterative_scan"] = self._scan_order
            settings["ivfflat.iterative_scan"] = "relaxed_order"  # The only one that it has.
        return settings or None

    @property
    def _found(self) -> int:
        if self._limit is None:
            return MOST_ROWS
        rows = (self._limit, self._offset or 0)
        wanted = sum(rows) if all(isinstance(number, int) for number in rows) else self._k
        wanted += len(self._row)  # The row itself, which is left out.
        return min(max(self._candidates or wanted * self._overfetch, wanted), MOST_ROWS)

    def _scans_iteratively(self, database: Any) -> bool:
        scan = self._iterative_scan
        if scan is None:
            # A filter drops rows, and the lists of an IVFFlat index may have fewer than a larger k.
            scan = self.is_filtered or self._found > _DEFAULT_EF_SEARCH
        if not scan:
            return False
        version = database.extension().version
        if version >= (0, 8):
            return True
        if self._iterative_scan and version:
            number = ".".join(map(str, version))
            raise InvalidOption(
                f"iterative_scan needs pgvector 0.8, and the database has {number}: upgrade it "
                f"(ALTER EXTENSION vector UPDATE), or leave iterative_scan out"
            )
        return False

    @property
    def _scan_order(self) -> str:
        if isinstance(self._iterative_scan, str):
            return self._iterative_scan
        # Strict order drops rows that the scan finds too late. Sorting afterwards serves as well,
        # except for pages.
        is_sorted = self._may_come_unsorted and not self._offset
        return "relaxed_order" if is_sorted else "strict_order"


def settings_of(queries: Iterable[Nearest], database: Any) -> Mapping[str, object] | None:
    """The settings for a statement with these searches."""
    merged: dict[str, Any] = database.path_to_extension()
    for query in queries:
        for name, value in (query.settings(database) or {}).items():
            values = (merged.get(name, value), value)
            # The larger number, or strict order.
            merged[name] = max(values, key=lambda each: getattr(each, "value", each))
    return merged or None


@overload
def run_many(queries: Iterable[ModelSelect[M]]) -> list[list[M]]: ...
@overload
def run_many(queries: Iterable[Any]) -> list[list[Any]]: ...
def run_many(queries: Iterable[Any]) -> list[list[Any]]:
    """Run several selects in one statement, and return the rows of each.

    The selects must have columns of the same types in the same order, as searches of one model
    have. If searches differ in a setting, the larger value holds for all. A search that finds too
    few rows runs again by itself. Afterwards each query has its rows, as if it had run.
    """
    selects: list[Any] = list(queries)
    if not selects:
        return []
    for query in selects:
        if not isinstance(query, SelectBase):
            example = "Doc.embedding.nearest(...)"
            raise InvalidOption(f"expected Peewee selects, such as {example}, got {show(query)}")
    database = database_of_query(selects[0])
    if any(database_of_query(query) is not database for query in selects):
        raise InvalidOption("expected queries of one database: run those of another by themselves")
    numbered = (
        Select([query.alias("each")], [SQL(f"{number:d}").alias("query"), SQL('"each".*')])
        for number, query in enumerate(selects)
    )
    cursor = database.execute(NodeList(tuple(numbered), glue=" UNION ALL "))
    results: list[list[Any]] = [[] for _ in selects]
    for number, *row in cursor.fetchall():
        results[number].append(tuple(row))
    for query, rows in zip(selects, results, strict=True):
        set_rows(query, RowCursor(cursor.description[1:], rows, is_nested=True))
        if isinstance(query, Nearest) and (exact := query.exact_fallback(len(rows), database)):
            set_rows(query, database.execute(exact))
    return [list(query) for query in selects]


def _index_options(field: Any, metric: Metric) -> tuple[Quantization | None, int | None]:
    """The coarser form, if no index holds the vectors themselves; the lists of an IVFFlat index."""
    declared = [each for each in field.model._meta.indexes if isinstance(each, VectorIndex)]
    bound = [index for index in declared if index.is_bound and index.field is field]
    indexes = [index for index in bound if index.finds(metric)]
    forms: list[Any] = [index.quantization for index in indexes]
    form = None if None in forms else min(forms, key=lambda each: each.overfetch, default=None)
    lists = [index.lists for index in indexes if isinstance(index, IvfflatIndex)]
    return form, max(lists, default=None)


def _coarse_distance(form: Quantization, metric: Metric, distance: Expression) -> Expression:
    field, vector = distance.lhs, distance.rhs
    operator = form.metric(metric).operator
    return Expression(form.of(field, field.dimensions), operator, form.of(vector, field.dimensions))


def _row_key(model: Any) -> Any:
    keys = _keys(model)
    # On Citus a ctid is unique in a shard only; taking rows of others, too, finds no fewer.
    table = model if isinstance(model, ModelAlias) else model._meta.table
    return keys[0] if len(keys) == 1 else Column(table, "ctid")


def _keys(model: Any) -> list[Any]:
    """The fields of the primary key; those of an alias are its own."""
    return [getattr(model, key.name) for key in model._meta.get_primary_keys() if key]


def _stored_row(field: Any, row: Model) -> tuple[Any, CTE, Any]:
    """The row's condition, a WITH query for its vector, and the expression that reads it."""
    wanted = f"{field.display_name}.nearest expected"
    if not isinstance(row, field.model):
        name, other = field.model.__name__, type(row).__name__
        raise InvalidVector(f"{wanted} a vector or a row of {name}, got a row of {other}")
    key = field.model._meta.primary_key
    if not key or row.get_id() is None:
        raise InvalidVector(f"{wanted} a row that is stored and has a key: give its vector")
    is_row = key == row.get_id()
    query = ModelSelect(field.model, [field]).where(is_row)
    read = (SQL("SELECT"), Entity(field.column_name), SQL("FROM"), Entity(_ROW))
    # Materialized, because Citus takes no subquery on a distributed table beside another one.
    return is_row, CTE(_ROW, query, materialized=True), NodeList(read, parens=True)


def _output_name(column: Any) -> str:
    """The name of a selected column; ``distance`` if it is not known."""
    if isinstance(column, Field):
        return str(column.column_name)
    return column.name if isinstance(column, Alias) else "distance"


def _sorted_by(rows: list[Any], column: int) -> list[Any]:
    distances = [row[column] for row in rows]
    # Most are sorted already.
    if None in distances or not all(map(le, distances, distances[1:])):
        rows.sort(key=lambda row: _sort_key(row[column]))
    return rows


def _sort_key(distance: float | None) -> tuple[bool, float]:
    """PostgreSQL sorts NaN and NULL after all numbers."""
    return (True, 0.0) if distance is None or isnan(distance) else (False, distance)


def _check_direction(field: Any, metric: Metric, vector: Any) -> None:
    if metric.name != "cosine":
        return
    numbers = vector.values() if isinstance(vector, SparseVector) else vector
    # For most vectors the first number tells; reading all takes 6 µs.
    if not numbers or not (numbers[0] or any(numbers)):
        raise InvalidVector(
            f"{field.display_name}.nearest got a vector of zeros, which has no direction, so "
            f"cosine cannot order by it: check where it comes from, or use another metric"
        )


def _checked_diversity(diverse: Any) -> float:
    is_number = isinstance(diverse, Real) and not isinstance(diverse, bool)
    if is_number and 0 <= float(diverse) <= 1:
        return float(diverse)
    raise InvalidOption(f"expected diverse from 0 to 1, got {show(diverse)}")


def checked_count(number: Any, name: str = "k", of: str = "") -> int:
    is_count = isinstance(number, Integral) and not isinstance(number, bool)
    if is_count and 1 <= int(number) <= MOST_ROWS:
        return int(number)
    wanted = f"{name}, the number of rows{of}, to be at least 1"
    raise InvalidOption(f"expected {wanted}, got {show(number)}")
