"""The nearest-neighbour query: a Peewee query that orders by distance and takes its settings along."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import reduce
from numbers import Integral, Real
from operator import and_
from typing import TYPE_CHECKING, Any

from peewee import CommaNodeList, Expression, ModelSelect

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee.indexes import check_range
from lightvec.pg8000.settings import AtLeast

if TYPE_CHECKING:
    from lightvec.peewee.database import Pg8000Database

__all__ = ["Nearest", "settings_of"]

#: pgvector's own default of ``hnsw.ef_search``, and the most it takes.
_DEFAULT_EF_SEARCH, _MOST_EF_SEARCH = 40, 1_000
_ITERATIVE_SCANS = ("strict_order", "relaxed_order")


class Nearest(ModelSelect):
    """What ``Model.embedding.nearest(...)`` gives: go on with ``where``, ``join``, ``select``, ``dicts``.

    Each row has ``distance`` and ``score`` beside the model's fields, whatever is selected; a field of the model that
    has one of these names keeps it, so select that by another (``alias``) where both are wanted. The query can stand in
    another one, too: as a source (``alias``, ``cte``, ``union``) with the two, as a value (``in_``) with what was
    selected.
    """

    # Peewee's own; its annotations leave them out.
    _is_default: bool
    _joins: Any
    _limit: Any
    _offset: Any
    _returning: Any
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
        check_range("ef_search", ef_search, 1, _MOST_EF_SEARCH)
        check_range("probes", probes, 1, 32_768)
        self.metric = field.resolve_metric(metric)
        distance = field.distance(vector, metric=self.metric.name)
        self._measures = (distance.alias("distance"), self.metric.score.of(distance).alias("score"))
        self._k = _checked_count(k)
        self._exact = exact
        self._ef_search = ef_search
        self._probes = probes
        self._iterative_scan = _checked_scan(iterative_scan)
        super().__init__(field.model, [field.model, *self._measures], is_default=True)
        self._own_filter = self._where = self._rows_with_a_distance(field, distance, min_score)
        # An index serves its operator only: adding nothing to the distance makes it another expression.
        self._order_by = self._by_distance = (distance + 0.0 if exact else distance,)
        self._limit = self._k

    def _rows_with_a_distance(self, field: Any, distance: Expression, min_score: float | None) -> Any:
        """Rows without a vector are no neighbours: an index leaves them out, and so does the query without one."""
        conditions = [field.is_null(False)] if field.null else []
        if min_score is not None:
            conditions.append(distance <= self.metric.score.to_distance(_checked_score(min_score)))
        return reduce(and_, conditions) if conditions else None

    def select(self, *fields: Any) -> Any:
        """Choose what comes with each row; ``distance`` and ``score`` always do."""
        return super().select(*fields, *self._measures) if fields else self

    def __sql__(self, ctx: Any) -> Any:
        # Whichever statement it stands in is run with its settings.
        if hasattr(ctx, "nearest"):
            ctx.nearest.append(self)
        return super().__sql__(ctx)

    def __sql_selection__(self, ctx: Any, is_subquery: bool = False) -> Any:
        """As a value in another query (``in_``, a column) it has the columns that were chosen and no more."""
        if is_subquery and not self._is_default:
            chosen = [column for column in self._returning if not any(column is own for own in self._measures)]
            return ctx.sql(CommaNodeList(chosen or self._returning))
        return super().__sql_selection__(ctx, is_subquery)

    def _get_cursor_wrapper(self, cursor: Any) -> Any:
        column = self._distance_column(cursor.description) if self._order_by is self._by_distance else None
        # What an index finds when it searches on in relaxed order (IVFFlat knows no other) comes in batches, of which
        # each is sorted, and the server takes that for the order.
        if column is not None and self._searches_on and not self._exact:
            cursor = _Sorted(cursor, column)
        return super()._get_cursor_wrapper(cursor)  # type: ignore[misc]

    def _distance_column(self, description: Any) -> int | None:
        """Which column of the answer the distance is, counted from the end: ``SQL("*")`` may stand before it."""
        for column, selected in enumerate(self._returning, -len(self._returning)):
            if selected is self._measures[0] and description and description[column][0] == "distance":
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
            settings["hnsw.ef_search"] = max(self._ef_search, min(self._rows, _MOST_EF_SEARCH))
        elif self._rows > _DEFAULT_EF_SEARCH:
            settings["hnsw.ef_search"] = AtLeast(min(self._rows, _MOST_EF_SEARCH), default=_DEFAULT_EF_SEARCH)
        if self._probes is not None:
            settings["ivfflat.probes"] = self._probes
        if self._scans_iteratively(database):
            settings |= self._iterative_settings()
        return settings or None

    @property
    def _rows(self) -> int:
        """How many rows the index has to find: those that are wanted and those that an offset skips."""
        if self._limit is None:
            return sys.maxsize
        rows = (self._limit, self._offset or 0)
        return sum(rows) if all(isinstance(number, int) for number in rows) else self._k

    def _scans_iteratively(self, database: Pg8000Database) -> bool:
        return self._searches_on and database.extension().version >= (0, 8)

    @property
    def _searches_on(self) -> bool:
        """Whether an index is to go on where its first search gave too few rows.

        A filter throws some away, and the lists of an IVFFlat index may hold fewer than a larger ``k``.
        """
        if self._iterative_scan is None:
            return self.is_filtered or self._rows > _DEFAULT_EF_SEARCH
        return bool(self._iterative_scan)

    def _iterative_settings(self) -> dict[str, object]:
        """IVFFlat has no strict order; whichever index serves the query finds its own setting."""
        order = self._iterative_scan if isinstance(self._iterative_scan, str) else "strict_order"
        return {"hnsw.iterative_scan": order, "ivfflat.iterative_scan": "relaxed_order"}


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
    together: dict[str, Any] = {}
    for query in queries:
        for name, value in (query.settings(database) or {}).items():
            together[name] = max(together.get(name, value), value, key=lambda each: getattr(each, "value", each))
    return together or None


def _checked_count(k: object) -> int:
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise InvalidOption(f"expected k, the number of rows, to be at least 1, got {k!r}")
    return int(k)


def _checked_score(score: object) -> float:
    if isinstance(score, bool) or not isinstance(score, Real):
        raise InvalidOption(f"expected min_score to be a number, got {score!r}")
    return float(score)


def _checked_scan(value: str | bool | None) -> str | bool | None:
    if not (value is None or isinstance(value, bool) or value in _ITERATIVE_SCANS):
        raise InvalidOption(
            f"expected iterative_scan to be 'strict_order', 'relaxed_order', True or False, got {value!r}"
        )
    return value
