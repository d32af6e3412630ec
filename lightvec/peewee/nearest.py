"""The nearest-neighbour query: a Peewee query that orders by distance and takes its settings along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from math import inf, isnan
from numbers import Integral, Real
from operator import and_
from typing import TYPE_CHECKING, Any

from peewee import Column, Expression, Model, Value

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.index_options import OPTIONS, check_range
from lightvec.metrics import Metric
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.measured import MeasuredSelect
from lightvec.peewee.quantization import Quantization
from lightvec.peewee.stored import StoredVector
from lightvec.peewee.typed import M
from lightvec.pg8000.settings import AtLeast
from lightvec.types import SparseVector
from lightvec.types._messages import show

if TYPE_CHECKING:
    from lightvec.peewee.database import Pg8000Database

__all__ = ["MOST_EF_SEARCH", "Nearest", "checked_count", "settings_of"]

#: PostgreSQL counts rows by a bigint.
MOST_ROWS = 2**63 - 1

#: pgvector's own default of ``hnsw.ef_search``, and the most it takes.
_DEFAULT_EF_SEARCH, MOST_EF_SEARCH = 40, 1_000
_ITERATIVE_SCANS = ("strict_order", "relaxed_order")


class Nearest(MeasuredSelect[M]):
    """What ``Model.embedding.nearest(...)`` gives: go on with ``where``, ``join``, ``select``, ``dicts``.

    Each row has ``distance`` and ``score`` beside the model's fields, whatever is selected; a field of the model that
    has one of these names keeps it, so select that by another (``alias``) where both are wanted. The query can stand in
    another one, too: as a source (``alias``, ``cte``, ``union``) with the two, as a value (``in_``) with what was
    selected.

    Rows come in the order of ``distance``, also where an index gives them in another (IVFFlat that searches on, an
    index of a coarser form); of such a search each page (``offset``, ``paginate``) is sorted by itself.
    """

    # Peewee's own; its annotations leave them out.
    _distinct: Any
    _joins: Any
    _limit: Any
    _offset: Any
    _simple_distinct: Any
    _where: Any

    def __init__(
        self,
        field: Any,
        vector: Any,
        k: int,
        *,
        metric: str | None = None,
        exact: bool = False,
        ef_search: int | None = None,
        probes: int | None = None,
        iterative_scan: str | bool | None = None,
        min_score: float | None = None,
    ) -> None:
        if vector is None:
            raise InvalidVector(f"{field._name}.nearest expected a vector to search for, got None")
        others = None
        self._stored: StoredVector | None = None
        if isinstance(vector, Model):
            vector, others = _stored(field, vector)
            self._stored = vector
        check_range("ef_search", ef_search, 1, MOST_EF_SEARCH)
        check_range("probes", probes, 1, OPTIONS["ivfflat"]["lists"].most)
        self.metric = field.resolve_metric(metric)
        distance = field.distance(vector, metric=self.metric.name)
        self._is_looked_up = not isinstance(distance.rhs, Value)
        _check_direction(field, self.metric, distance.rhs)
        self._own = (distance.alias("distance"), self.metric.score.of(distance).alias("score"))
        self._k = checked_count(k)
        #: Rows that the index finds and that are none of those that are wanted.
        self._unwanted = 0 if others is None else 1
        self._exact = exact
        self._ef_search = ef_search
        self._probes = probes
        self._iterative_scan = _checked_scan(iterative_scan)
        super().__init__(field.model, [field.model, *self._own], is_default=True)
        self._has_least_score = min_score is not None
        self._own_filter = self._where = self._rows_with_a_distance(field, distance, min_score, others)
        self._form = None if exact else _form_of_index(field, self.metric)
        coarse = distance if self._form is None else _coarse_distance(self._form, self.metric, distance)
        self._order_by = self._by_distance = (_unindexed(distance) if exact else coarse,)
        self._limit = self._k

    def _rows_with_a_distance(self, field: Any, distance: Expression, min_score: float | None, others: Any) -> Any:
        """Rows without a vector are no neighbours: an index leaves them out, and so does the query without one."""
        conditions = [field.is_null(False)] if field.null else []
        if self._is_looked_up:
            # A row that is not there, or has no vector, has no neighbours; an index would give any rows for it. One of
            # zeros has none by cosine: it is at the distance NaN, which PostgreSQL takes for more than all numbers.
            conditions.append(distance < inf if self.metric.name == "cosine" else distance.is_null(False))
        if others is not None:
            conditions.append(others)
        if min_score is not None:
            conditions.append(distance <= self.metric.score.to_distance(_checked_score(min_score)))
        return reduce(and_, conditions) if conditions else None

    def __sql__(self, ctx: Any) -> Any:
        # Whichever statement it stands in is run with its settings.
        if hasattr(ctx, "nearest"):
            ctx.nearest.append(self)
        query: Any = self if not ctx._sql else self._nested()
        if self._overfetch > 1:
            query = query._chosen_among_more()
        if self._stored is None or not (hasattr(ctx, "is_on_citus") and ctx.is_on_citus()):
            return super(Nearest, query).__sql__(ctx)
        with self._stored.once(ctx, query) as query:
            return super(Nearest, query).__sql__(ctx)

    def _nested(self) -> Nearest[M]:
        """The query as it stands in another one, whose order by ``distance`` has to be made.

        Of the very expression that an index gives its rows by, the server believes that they come in its order.
        """
        distance = self._own[0]
        query = self.clone()
        query._own = (_unindexed(distance.unalias()).alias("distance"), *self._own[1:])
        query._returning = [query._own[0] if column is distance else column for column in self._returning]
        return query

    @property
    def _overfetch(self) -> int:
        """How many rows the index has to find for each that is wanted; 1 where what it finds is what is wanted."""
        if self._form is None or self._order_by is not self._by_distance:
            return 1
        return self._form.overfetch

    def _chosen_among_more(self) -> Nearest[M]:
        """The rows that are nearest by the whole vector, of more that are nearest by its coarser form."""
        chosen = self.clone()
        chosen._form = None
        chosen._order_by = (self._own[0].unalias(),)
        if self._limit is None:
            return chosen
        key = _key_of(self.model)
        found = self.clone()
        found._form = None
        found._returning = [key]
        found._distinct, found._simple_distinct = None, False
        found._limit, found._offset = self._found, None
        among = key.in_(found)
        chosen._where = among if self._where is None else self._where & among
        return chosen

    @property
    def short(self) -> str | None:
        """Why there are fewer rows than were asked for, and what to do; None where there are as many.

        A query that has not been run is run for it.
        """
        found, wanted = len(self), self._limit
        if not isinstance(wanted, int) or found >= wanted:
            return None
        return f"{found} of {wanted} rows: {self._why_short(found)}"

    def _why_short(self, found: int) -> str:
        if self._exact:
            return "no more match"
        if self._is_looked_up and not found:
            return "no other row has a vector, or the one that is searched by has none, or one of zeros"
        if self._scans_iteratively(self._database):
            return (
                "no more match, or the index gave up the search (hnsw.max_scan_tuples, ivfflat.max_probes); exact=True "
                "looks at every row"
            )
        if self.is_filtered or self._has_least_score:
            return (
                "an index looks for the nearest rows first, and the conditions left these of what it found; "
                "iterative_scan=True searches on (pgvector 0.8 and newer), exact=True looks at every row"
            )
        left_out = " and vectors of zeros" if self.metric.name == "cosine" else ""
        return (
            f"the table has no more, or its index has not found them: it leaves out NULL{left_out}, and IVFFlat looks "
            f"at `probes` of its lists; where a view or row-level security hides rows of what it found, "
            f"iterative_scan=True searches on (pgvector 0.8 and newer); exact=True looks at every row"
        )

    def _get_cursor_wrapper(self, cursor: Any) -> Any:
        is_by_distance = not self._exact and self._order_by and self._order_by[0] is self._by_distance[0]
        column = self._distance_column(cursor.description) if is_by_distance else None
        # What an index finds when it searches on in relaxed order (IVFFlat knows no other) comes in batches, of which
        # each is sorted, and the server takes that for the order. It may do so for the sake of another query in the
        # same statement. An index of a coarser form has the order of that.
        if column is not None and self._limit is not None:
            cursor = _Sorted(cursor, column)
        return super()._get_cursor_wrapper(cursor)  # type: ignore[misc]

    def _distance_column(self, description: Any) -> int | None:
        """Which column of the answer the distance is, counted from the end: ``SQL("*")`` may stand before it."""
        for column, selected in enumerate(self._returning, -len(self._returning)):
            if selected is self._own[0] and description and description[column][0] == "distance":
                return column
        return None

    @property
    def is_filtered(self) -> bool:
        """Whether rows that the index finds may be thrown away by a condition or a join."""
        return self._where is not self._own_filter or bool(self._joins)

    def settings(self, database: Pg8000Database) -> dict[str, object] | None:
        """The server's settings that this query is to run with, for this server's version of pgvector."""
        if self._exact:
            return None
        settings: dict[str, object] = {}
        if self._ef_search is not None:
            # An index looks at ef_search rows and gives no more: it follows the number of rows, also where it was said.
            settings["hnsw.ef_search"] = max(self._ef_search, min(self._found, MOST_EF_SEARCH))
        elif self._found > _DEFAULT_EF_SEARCH:
            settings["hnsw.ef_search"] = AtLeast(min(self._found, MOST_EF_SEARCH), default=_DEFAULT_EF_SEARCH)
        if self._probes is not None:
            settings["ivfflat.probes"] = self._probes
        if self._scans_iteratively(database):
            settings |= self._iterative_settings()
        return settings or None

    @property
    def _rows(self) -> int:
        """How many rows are wanted, and with them those that an offset skips."""
        if self._limit is None:
            return MOST_ROWS
        rows = (self._limit, self._offset or 0)
        return sum(rows) if all(isinstance(number, int) for number in rows) else self._k

    @property
    def _found(self) -> int:
        """How many rows the index has to find."""
        return min((self._rows + self._unwanted) * self._overfetch, MOST_ROWS)

    def _scans_iteratively(self, database: Pg8000Database) -> bool:
        return self._searches_on and database.extension().version >= (0, 8)

    @property
    def _searches_on(self) -> bool:
        """Whether an index is to go on where its first search gave too few rows.

        A filter throws some away, and the lists of an IVFFlat index may hold fewer than a larger ``k``.
        """
        if self._iterative_scan is None:
            return self.is_filtered or self._found > _DEFAULT_EF_SEARCH
        return bool(self._iterative_scan)

    def _iterative_settings(self) -> dict[str, object]:
        """IVFFlat has no strict order; whichever index serves the query finds its own setting."""
        order = self._iterative_scan if isinstance(self._iterative_scan, str) else "strict_order"
        return {"hnsw.iterative_scan": order, "ivfflat.iterative_scan": "relaxed_order"}


def _unindexed(distance: Any) -> Any:
    """The same number as another expression: an index serves its operator only."""
    return distance + 0.0


def _form_of_index(field: Any, metric: Metric) -> Quantization | None:
    """The coarser form that the model's index by this metric holds; None if an index holds the vectors themselves."""
    forms = [
        index.quantization
        for index in field.model._meta.indexes
        if isinstance(index, VectorIndex) and index.is_bound and index.field is field and _finds(index, metric)
    ]
    coarse = [form for form in forms if form is not None]
    return None if len(coarse) < len(forms) else min(coarse, key=lambda form: form.overfetch, default=None)


def _finds(index: VectorIndex, metric: Metric) -> bool:
    """Whether an index finds neighbours by this metric; bits are compared by Hamming for each metric they are for."""
    form = index.quantization
    if form is None or index.metric is metric:
        return index.metric is metric
    return metric.name in form.metrics and form.metric(index.metric) is form.metric(metric)


def _coarse_distance(form: Quantization, metric: Metric, distance: Expression) -> Expression:
    """The distance between the two in their coarser form, as an index of it has it."""
    field, vector = distance.lhs, distance.rhs
    operator = form.metric(metric).operator
    return Expression(form.of(field, field.dimensions), operator, form.of(vector, field.dimensions))


def _key_of(model: Any) -> Any:
    """What tells a row: its primary key, or its place in the table (PostgreSQL documentation, 5.6 "System Columns")."""
    # On Citus a place is one in each shard: those of other shards are chosen among, too, which finds no less.
    key = model._meta.primary_key
    return Column(model._meta.table, "ctid") if not key or model._meta.composite_key else key


class _Sorted:
    """A cursor whose rows are sorted by one of their columns."""

    def __init__(self, cursor: Any, column: int) -> None:
        self._cursor = cursor
        self._rows = iter(sorted(cursor.fetchall(), key=lambda row: _unknown_last(row[column])))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def fetchone(self) -> Any:
        return next(self._rows, None)


def _unknown_last(distance: float | None) -> tuple[bool, float]:
    """PostgreSQL sorts NaN and NULL behind all numbers."""
    return (True, 0.0) if distance is None or distance != distance else (False, distance)


def settings_of(queries: Iterable[Nearest], database: Pg8000Database) -> Mapping[str, object] | None:
    """The settings for a statement with several of these queries: the larger number, ``strict_order`` first."""
    together: dict[str, Any] = database.path_to_extension()
    for query in queries:
        for name, value in (query.settings(database) or {}).items():
            together[name] = max(together.get(name, value), value, key=lambda each: getattr(each, "value", each))
    return together or None


def _stored(field: Any, row: Model) -> tuple[Any, Any]:
    """The vector of a stored row, which the server looks up, and the condition for the other rows."""
    if not isinstance(row, field.model):
        raise InvalidVector(
            f"{field._name}.nearest expected a vector or a row of {field.model.__name__}, got a row of "
            f"{type(row).__name__}: give its vector"
        )
    if not field.model._meta.primary_key or row._pk is None:
        raise InvalidVector(f"{field._name}.nearest expected a row that is stored and has a key: give its vector")
    this: Any = row._pk_expr()
    return StoredVector(field, this), ~this


def _check_direction(field: Any, metric: Metric, vector: Any) -> None:
    """An angle is between two directions, and zeros have none: by cosine every row would be as far as any other."""
    if metric.name != "cosine" or not isinstance(vector, Value):
        return
    numbers = vector.value.values() if isinstance(vector.value, SparseVector) else vector.value
    if not any(numbers):
        raise InvalidVector(
            f"{field._name}.nearest got a vector of zeros, which has no direction, so cosine cannot order by it: look "
            f"at where it comes from, or search by another metric"
        )


def checked_count(number: object, name: str = "k", of: str = "") -> int:
    """A number of rows; :class:`~lightvec.errors.InvalidOption` for what is none."""
    if isinstance(number, bool) or not isinstance(number, Integral) or not 1 <= int(number) <= MOST_ROWS:
        raise InvalidOption(f"expected {name}, the number of rows{of}, to be at least 1, got {show(number)}")
    return int(number)


def _checked_score(score: object) -> float:
    if isinstance(score, bool) or not isinstance(score, Real) or isnan(score):
        raise InvalidOption(f"expected min_score to be a number, got {score!r}")
    return float(score)


def _checked_scan(value: str | bool | None) -> str | bool | None:
    if not (value is None or isinstance(value, bool) or value in _ITERATIVE_SCANS):
        raise InvalidOption(
            f"expected iterative_scan to be 'strict_order', 'relaxed_order', True or False, got {value!r}"
        )
    return value
