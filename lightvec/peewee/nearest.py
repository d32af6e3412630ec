"""The nearest-neighbour query: a Peewee query that orders by distance and takes its settings along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from math import inf, isnan
from numbers import Integral, Real
from operator import and_, le
from typing import Any

from peewee import SQL, Alias, Column, Expression, Field, Model, Value

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.index_options import OPTIONS, check_range
from lightvec.metrics import Metric, Score
from lightvec.peewee._seam import RowCursor, copy_with, has_unusual_clauses, is_nested
from lightvec.peewee.generics import M
from lightvec.peewee.indexes import form_of_index
from lightvec.peewee.quantization import Quantization
from lightvec.peewee.scored_select import ScoredSelect
from lightvec.peewee.stored import StoredVector
from lightvec.types import SparseVector
from lightvec.types.inputs import show
from lightvec.wire.settings import AtLeast

__all__ = ["MOST_EF_SEARCH", "Nearest", "checked_count", "settings_of"]

#: PostgreSQL counts rows by a bigint.
MOST_ROWS = 2**63 - 1

#: pgvector's own default of ``hnsw.ef_search``, and the most it takes.
_DEFAULT_EF_SEARCH, MOST_EF_SEARCH = 40, 1_000
#: As PEP 249 describes a column of float8.
_SCORE_COLUMN = ("score", 701, None, None, None, None, None)

_ITERATIVE_SCANS = ("strict_order", "relaxed_order")


class Nearest(ScoredSelect[M]):
    """What ``Model.embedding.nearest(...)`` gives: go on with ``where``, ``join``, ``select``, ``dicts``.

    Each row has ``distance`` and ``score`` beside the model's fields, whatever is selected; a field of the model that
    has one of these names keeps it, so select that by another (``alias``) where both are wanted. The query can stand in
    another one, too: as a source (``alias``, ``cte``, ``union``) with the two, as a value (``in_``) with what was
    selected.

    Rows come in the order of ``distance``, also where an index gives them in another (IVFFlat that searches on, an
    index of a coarser form); of such a search each page (``offset``, ``paginate``) is sorted by itself.

    The statement has the distance once. The score follows from it in Python where the row is made, and in SQL where
    the query stands in another one, or where another column may be called ``distance``.
    """

    # Peewee's own; its annotations leave them out.
    _distinct: Any
    _from_list: Any
    _joins: Any
    _limit: Any
    _offset: Any
    _simple_distinct: Any
    _where: Any
    _order_by: Any

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
            raise InvalidVector(f"{field.display_name}.nearest expected a vector to search for, got None")
        others = None
        self._stored: StoredVector | None = None
        if isinstance(vector, Model):
            vector, others = _stored(field, vector)
            self._stored = vector
        check_range("ef_search", ef_search, 1, MOST_EF_SEARCH)
        check_range("probes", probes, 1, OPTIONS["ivfflat"]["lists"].most)
        self.metric = field.resolve_metric(metric)
        self._field = field
        distance = field.distance_by(self.metric, vector)
        self._is_looked_up = not isinstance(distance.rhs, Value)
        _check_direction(field, self.metric, distance.rhs)
        self._distance = _unindexed(distance) if exact else distance
        self._own = (Alias(self._distance, "distance"), Alias(self.metric.score.of(distance), "score"))
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
        self._form = None if exact else form_of_index(field, self.metric)
        coarse = None if self._form is None else _coarse_distance(self._form, self.metric, distance)
        self._order_by = self._by_distance = (self._own[0] if coarse is None else coarse,)
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
        query: Any = self._chosen_among_more() if self._overfetch > 1 else self
        query = query._nested() if is_nested(ctx) else query._outermost()
        if self._stored is None or not (hasattr(ctx, "is_on_citus") and ctx.is_on_citus()):
            return super(Nearest, query).__sql__(ctx)
        with self._stored.once(ctx, query) as query:
            return super(Nearest, query).__sql__(ctx)

    def _outermost(self) -> Nearest[M]:
        """The query as a statement of its own, with the distance once and without the score if possible."""
        clauses: dict[str, Any] = {}
        if self._makes_scores:
            clauses["returning"] = self._returning[:-1]
        else:
            clauses["order_by"] = self._order_by_expression
        if self._is_plannable_once:
            clauses["limit"] = SQL(str(self._limit))
        return copy_with(self, **clauses)

    @property
    def _is_plannable_once(self) -> bool:
        """Whether the server may keep one plan: then the limit is a number in the statement, not a parameter.

        The server guesses that an unknown limit is a tenth of the rows, so it finds no plan for all limits that is
        as cheap as one for ten rows, and plans each run anew: 100 of 500 µs. With a filter, a plan for its values may
        be worth that.
        """
        if self._offset is not None or self.is_filtered or self._has_least_score:
            return False
        return isinstance(self._limit, int)

    @property
    def _makes_scores(self) -> bool:
        """Whether the distance is the last but one column, before the score, and the only one of its name."""
        *chosen, distance, score = self._returning if len(self._returning) > 1 else (None, None)
        if distance is not self._own[0] or score is not self._own[1]:
            return False
        return all(_output_name(column) != "distance" for column in chosen)

    @property
    def statement_key(self) -> tuple[Any, ...] | None:
        """All that the SQL of a plain search follows from; None for one with other values than its vector.

        Peewee takes 60 to 90 of 500 µs to write the statement.
        """
        if self._exact or self._form is not None or self._is_looked_up or self._unwanted:
            return None
        if not self._is_plannable_once or self._order_by is not self._by_distance:
            return None
        if has_unusual_clauses(self):
            return None
        model = self.model
        if not self._makes_scores or len(self._from_list) != 1 or self._from_list[0] is not model:
            return None
        chosen = self._returning[:-2]
        if any(getattr(column, "model", None) is not model for column in chosen):
            return None
        names = [column.column_name for column in chosen]
        meta = model._meta
        if not meta.columns.keys() >= set(names):
            return None  # A composite key, whose name does not say its columns.
        search = (self._field.column_name, self.metric.name, self._limit, self._where is None)
        return (meta.schema, meta.table_name, *search, *names)

    @property
    def vector(self) -> Any:
        """The only value of a statement that has a ``statement_key``."""
        return self._distance.rhs.value

    def _nested(self) -> Nearest[M]:
        """The query as part of another one, whose order by ``distance`` must be made.

        The server believes that rows come in the order of the very expression that an index scan is ordered by.
        """
        distance, score = self._own
        if self._exact:
            return copy_with(self, order_by=self._order_by_expression)
        own = Alias(_unindexed(self._distance), "distance")
        returning = [own if column is distance else column for column in self._returning]
        return copy_with(self, order_by=self._order_by_expression, own=(own, score), returning=returning)

    @property
    def _order_by_expression(self) -> Any:
        """The ORDER BY with the distance itself in place of the name of its column."""
        if self._order_by and self._order_by[0] is self._own[0]:
            return (self._distance, *self._order_by[1:])
        return self._order_by

    @property
    def _overfetch(self) -> int:
        """How many rows the index has to find for each that is wanted; 1 where what it finds is what is wanted."""
        if self._form is None or self._order_by is not self._by_distance:
            return 1
        return self._form.overfetch

    def _chosen_among_more(self) -> Nearest[M]:
        """The rows that are nearest by the whole vector, of more that are nearest by its coarser form."""
        chosen = copy_with(self, form=None, order_by=self._own[:1])
        if self._limit is None:
            return chosen
        key = _key_of(self.model)
        plain = {"form": None, "distinct": None, "simple_distinct": False, "offset": None}
        among = key.in_(copy_with(self, returning=[key], limit=self._found, **plain))
        return copy_with(chosen, where=among if self._where is None else self._where & among)

    @property
    def shortfall(self) -> str | None:
        """Why the query returned fewer rows than its limit and what to do, as a sentence; None if it returned all.

        Runs the query if it has not run yet.
        """
        found, wanted = len(self), self._limit
        if not isinstance(wanted, int) or found >= wanted:
            return None
        return f"{found} of {wanted} rows: {self._why_fewer(found)}"

    def _why_fewer(self, found: int) -> str:
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
        is_answer = isinstance(cursor, RowCursor)
        has_scores = (is_answer and cursor.is_nested) or not self._makes_scores
        distance = self._distance_column(cursor.description) if has_scores else -1
        if distance is not None:
            columns, rows = cursor.description, cursor.rows if is_answer else cursor.fetchall()
            if self._may_come_unsorted:
                rows = _by_distance(list(rows), distance)
            if not has_scores:
                columns, rows = [*columns, _SCORE_COLUMN], _with_scores(rows, self.metric.score)
            cursor = RowCursor(columns, rows)
        return super()._get_cursor_wrapper(cursor)  # type: ignore[misc]

    @property
    def _may_come_unsorted(self) -> bool:
        """Whether rows may come in another order than the server believes.

        What an index finds when it searches on in relaxed order (IVFFlat knows no other) comes in batches, of which
        each is sorted. It may do so for the sake of another query in the same statement, or by a setting of the
        session. An index of a coarser form has the order of that.
        """
        if self._exact or self._limit is None or not self._order_by:
            return False
        return self._order_by[0] is self._by_distance[0]

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

    def settings(self, database: Any) -> dict[str, object] | None:
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

    def _scans_iteratively(self, database: Any) -> bool:
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


def _output_name(column: Any) -> str:
    """What a column of a select is called; ``distance`` where that cannot be told."""
    if isinstance(column, Field):
        return str(column.column_name)
    return column.name if isinstance(column, Alias) else "distance"


def _with_scores(rows: Iterable[tuple[Any, ...]], score: Score) -> Iterator[tuple[Any, ...]]:
    """Rows whose last column is the distance, each with its score; NULL has none."""
    for row in rows:
        distance = row[-1]
        yield (*row, None if distance is None else score.of(distance))


def _by_distance(rows: list[Any], column: int) -> list[Any]:
    """The rows by one of their columns; most are in order already."""
    distances = [row[column] for row in rows]
    if None in distances or not all(map(le, distances, distances[1:])):
        rows.sort(key=lambda row: _unknown_last(row[column]))
    return rows


def _unknown_last(distance: float | None) -> tuple[bool, float]:
    """PostgreSQL sorts NaN and NULL behind all numbers."""
    return (True, 0.0) if distance is None or distance != distance else (False, distance)


def settings_of(queries: Iterable[Nearest], database: Any) -> Mapping[str, object] | None:
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
            f"{field.display_name}.nearest expected a vector or a row of {field.model.__name__}, got a row of "
            f"{type(row).__name__}: give its vector"
        )
    key: Any = field.model._meta.primary_key
    if not key or row.get_id() is None:
        raise InvalidVector(
            f"{field.display_name}.nearest expected a row that is stored and has a key: give its vector"
        )
    this = key == row.get_id()
    return StoredVector(field, this), ~this


def _check_direction(field: Any, metric: Metric, vector: Any) -> None:
    """An angle is between two directions, and zeros have none: by cosine every row would be as far as any other."""
    if metric.name != "cosine" or not isinstance(vector, Value):
        return
    numbers = vector.value.values() if isinstance(vector.value, SparseVector) else vector.value
    # Making numbers of all of a vector takes 6 µs.
    if not numbers or not (numbers[0] or any(numbers)):
        raise InvalidVector(
            f"{field.display_name}.nearest got a vector of zeros, which has no direction, so cosine cannot "
            f"order by it: look at where it comes from, or search by another metric"
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
