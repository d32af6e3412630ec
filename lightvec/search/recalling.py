"""How many of the true nearest rows an index finds, and what that costs and saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf, sqrt
from statistics import median, stdev
from time import perf_counter
from typing import Any, NamedTuple

from peewee import Column, fn

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee.catalog import StandingIndex, sources_of_view, vector_indexes
from lightvec.search.explaining import Explanation, explain
from lightvec.search.scans import SETTINGS, scan_of

__all__ = [
    "ROWS_ARE_EASY",
    "Case",
    "Comparison",
    "Measured",
    "Progress",
    "Recall",
    "check_count",
    "counted",
    "recall",
]

#: What a long measurement is told with: what is done, how many of them are, and of how many.
Progress = Callable[[str, int, int], object]

#: Of 30,000 embeddings of texts HNSW at ef_search=10 finds 0.99 for rows, 0.91 for new texts; IVFFlat as many for both.
ROWS_ARE_EASY = (
    "HNSW finds less for new vectors than for rows, each linked to its neighbours: give queries from real searches."
)


@dataclass(frozen=True)
class Recall:
    """What :func:`recall` measured; ``str()`` says it in plain words.

    ``recall`` is the mean over the ``sample`` queries of the share of the true ``k`` nearest rows that were found,
    ``error`` the standard error of that mean, and ``worst`` the share of the worst query. ``index`` is the one that
    served, None where none does; ``settings`` are those that it had. ``latency_ms`` and ``exact_ms`` are medians of the
    time of a query and of the exact one, as the caller sees it, with the rows in the server's memory. ``short`` is how
    many answers had fewer rows than the exact one. ``rows`` is how many rows there are to find. ``from_rows`` says that
    the queries were rows, and ``why_exact`` why no index serves.
    """

    recall: float
    error: float
    worst: float
    k: int
    sample: int
    index: StandingIndex | None
    settings: Mapping[str, int | str]
    latency_ms: float
    exact_ms: float
    short: int
    table: str
    field: str
    metric: str
    rows: int
    from_rows: bool
    why_exact: str

    def __str__(self) -> str:
        queries = counted(self.sample, "row as query", "rows as queries") if self.from_rows else _queries(self.sample)
        lines = [f"recall@{self.k} of {self.field} by {self.metric}: {self.recall:.3f}"]
        if self.index is None:
            lines[0] += f" on {queries}, because no index serves it: each row is compared"
            lines += [f"{self.latency_ms:.2f} ms a query over {self.rows:,} rows", self.why_exact]
            return "\n".join(lines)
        error = f", ± {self.error:.3f}" if self.sample > 1 else ""
        lines[0] += f" (mean of {queries}{error}; the worst {self.worst:.3f})"
        settings = "".join(f", {name}={value}" for name, value in self.settings.items())
        lines.append(
            f"index {self.index.name} ({self.index.method}{settings}): {self.latency_ms:.2f} ms a query, "
            f"exact {self.exact_ms:.2f} ms over {self.rows:,} rows"
        )
        if self.short:
            lines.append(f"{counted(self.short, 'answer')} had fewer rows than the exact one")
        if self.from_rows and self.index.method == "hnsw":
            lines.append(ROWS_ARE_EASY)
        return "\n".join(lines)


def recall(
    field: Any,
    *,
    k: int = 10,
    sample: int = 100,
    metric: str | None = None,
    ef_search: int | None = None,
    probes: int | None = None,
    iterative_scan: str | bool | None = None,
    queries: Iterable[Any] | None = None,
    where: Any = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Recall:
    """Compare what ``field.nearest(…)`` finds with the exact answer.

    ``field`` is a model's vector field, such as ``Doc.embedding``; the settings are those of its ``nearest``. The
    queries are ``queries`` (vectors, or a matrix), or else the vectors of ``sample`` rows, which ``seed`` chooses; such
    a row is left out of both answers. Give vectors of real searches where you have them: to an HNSW index a row is an
    easy query. ``where`` is a condition on the rows to find. Rows as far away as the last true one count as found. Each
    query compares all rows once, for its exact answer. ``progress`` is called with what is done, how many of them are,
    and of how many.

    >>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
    >>> print(recall(Doc.embedding, k=2, sample=3))  # doctest: +ELLIPSIS
    recall@2 of Doc.embedding by cosine: 1.000 on 3 rows as queries, because no index serves it: each row is compared
    ... ms a query over 4 rows
    there is no vector index on ...
    """
    comparison = Comparison(
        field, k=k, sample=sample, metric=metric, queries=queries, where=where, seed=seed, progress=progress
    )
    options = {"ef_search": ef_search, "probes": probes, "iterative_scan": iterative_scan}
    index = comparison.index(**options)
    return Recall(
        **comparison.measure(comparison.cases, "queries", **options)._asdict(),
        sample=len(comparison.cases),
        index=index,
        settings={} if index is None else comparison.settings(index, **options),
        why_exact=comparison.why_exact(**options) if index is None else "",
        exact_ms=comparison.exact_ms,
        **comparison.about(),
    )


class _Query(NamedTuple):
    """A vector to search with, and the key of the row that it is from, if it is from one.

    Where rows have no key it is the distance of the vector from itself.
    """

    vector: Any
    own: tuple[Any, ...] | None


class _Answer(NamedTuple):
    """How far away the rows are that were found, and how long that took."""

    distances: list[float]
    ms: float


class Case(NamedTuple):
    """A query and its exact answer."""

    query: _Query
    exact: _Answer

    def share(self, found: _Answer) -> float:
        """How much of the exact answer was found: the rows that are no farther away than its last one."""
        last = max(self.exact.distances)
        return sum(distance <= last for distance in found.distances) / len(self.exact.distances)

    def is_short(self, found: _Answer) -> bool:
        """Whether fewer rows were found than there are."""
        return len(found.distances) < len(self.exact.distances)


class Measured(NamedTuple):
    """How some queries did; the names are those of :class:`Recall`."""

    recall: float
    error: float
    worst: float
    short: int
    latency_ms: float


class Comparison:
    """Queries on a field and their exact answers, which are computed once; other answers are compared with them."""

    def __init__(
        self,
        field: Any,
        *,
        k: int,
        sample: int,
        metric: str | None,
        queries: Iterable[Any] | None,
        where: Any,
        seed: int,
        progress: Progress | None,
    ) -> None:
        check_count("k", k)
        check_count("sample", sample)
        self._field = field
        self._model = field.model
        self._database = field.model._meta.database
        self._k = k
        self._metric = field.resolve_metric(metric).name
        self._where = where
        self._progress = progress or (lambda *_: None)
        self._key = _key_of(field.model, self._database)
        #: How many rows a query asks for: a row that is its own query is found beside the others.
        self.asked = k + (queries is None)
        self._queries = self._sampled(sample, seed) if queries is None else self._given(queries)

    @cached_property
    def cases(self) -> list[Case]:
        """The queries that have an answer."""
        answers = self._answers(self._queries, "exact answers", exact=True)
        cases = [Case(query, exact) for query, exact in zip(self._queries, answers, strict=True) if exact.distances]
        if not cases:
            raise SchemaMismatch(
                f"{self._field._name} has no other rows that the queries could find: load more rows, or give queries"
            )
        return cases

    @property
    def exact_ms(self) -> float:
        """The median time of an exact answer."""
        return median(case.exact.ms for case in self.cases)

    def about(self) -> dict[str, Any]:
        """What it is that is measured."""
        return {
            "k": self._k,
            "table": self._model._meta.table_name,
            "field": self._field._name,
            "metric": self._metric,
            "rows": self._rows().count(self._database),
            "from_rows": self._queries[0].own is not None,
        }

    def index(self, **options: Any) -> StandingIndex | None:
        """The vector index that serves the queries with these settings, by the server's own plan."""
        explanation = self._explained(options)
        if not explanation.uses_index:
            return None
        return next((index for index in self._indexes if index.name == explanation.index), None)

    def why_exact(self, **options: Any) -> str:
        """Why no index serves the queries with these settings."""
        return "; ".join(map(str, self._explained(options).reasons))

    def _explained(self, options: Mapping[str, Any]) -> Explanation:
        return explain(self._nearest(self._queries[0], options), database=self._database)

    def settings(self, index: StandingIndex, **options: Any) -> dict[str, int | str]:
        """The settings of this index with which the queries run, whoever made them."""
        settings = self._nearest(self._queries[0], options).settings(self._database)
        scan = scan_of(self._database, index.method, settings)
        effort: dict[str, int | str] = {SETTINGS[index.method][0]: scan.effort}
        return effort if scan.order is None else {**effort, "iterative_scan": scan.order}

    def measure(self, cases: Sequence[Case], what: str, **options: Any) -> Measured:
        """Ask these queries with these settings, and compare with their exact answers."""
        found = list(self._answers([case.query for case in cases], what, **options))
        shares = [case.share(answer) for case, answer in zip(cases, found, strict=True)]
        return Measured(
            recall=fsum(shares) / len(shares),
            error=stdev(shares) / sqrt(len(shares)) if len(shares) > 1 else 0.0,
            worst=min(shares),
            short=sum(case.is_short(answer) for case, answer in zip(cases, found, strict=True)),
            latency_ms=median(answer.ms for answer in found),
        )

    def latencies(self, cases: Sequence[Case], choices: Sequence[Mapping[str, Any]]) -> list[float]:
        """The median time of a query with each of these settings.

        Each query is asked with all of them in turn, so that what else the machine does touches all alike; each is the
        first one equally often, which finds nothing of its rows in the processor's cache.
        """
        times: list[list[float]] = [[] for _ in choices]
        for number, case in enumerate(cases):
            for turn in range(len(choices)):
                choice = (number + turn) % len(choices)
                times[choice].append(self._answer(case.query, choices[choice]).ms)
        return [median(each) for each in times]

    # Queries

    def _sampled(self, sample: int, seed: int) -> list[_Query]:
        """Rows in an order that the seed makes of their keys: always the same ones.

        That reads each row's key, which is little beside the one exact answer that reads each row's vector. Rows that
        have none are told by their vector, and by the distance that each has from itself.
        """
        own = self._key or [self._field.distance(self._field, metric=self._metric)]
        order = fn.hashtextextended(fn.concat_ws(",", *(self._key or [self._field.cast("text")])), seed)
        rows = self._rows().select(*own, self._field).order_by(order).limit(sample).tuples()
        if self._metric == "cosine":
            # Zeros have no direction to search in. PostgreSQL takes NaN for more than all numbers.
            rows = rows.where(self._field.cosine_distance(self._field) < inf)
        queries = [_Query(self._field.to_value(vector), tuple(key)) for *key, vector in rows.execute(self._database)]
        if not queries:
            raise SchemaMismatch(f"there is no row with a vector to sample in {self._field._name}: load rows first")
        return queries

    def _given(self, vectors: Iterable[Any]) -> list[_Query]:
        queries = [_Query(self._field.to_value(vector), None) for vector in vectors]
        if not queries:
            raise InvalidOption("expected queries, a list of vectors or a matrix, with at least one, got none")
        return queries

    def _rows(self) -> Any:
        """The rows that there are to find."""
        return self._filtered(self._model.select().where(self._field.is_null(False)))

    def _filtered(self, query: Any) -> Any:
        return query if self._where is None else query.where(self._where)

    # Answers

    def _answers(self, queries: Sequence[_Query], what: str, **options: Any) -> Iterator[_Answer]:
        for number, query in enumerate(queries, 1):
            yield self._answer(query, options)
            self._progress(what, number, len(queries))

    def _answer(self, query: _Query, options: Mapping[str, Any]) -> _Answer:
        statement = self._nearest(query, options)
        began = perf_counter()
        rows = list(statement.execute(self._database))
        ms = (perf_counter() - began) * 1000
        width = len(self._key)
        distances = [row[width] for row in rows if not width or row[:width] != query.own]
        if not width and query.own is not None and query.own[0] in distances:
            distances.remove(query.own[0])
        # PostgreSQL sorts behind all others what is at no distance, NaN.
        return _Answer([distance for distance in distances[: self._k] if distance == distance], ms)

    def _nearest(self, query: _Query, options: Mapping[str, Any]) -> Any:
        """The query, whose rows are a key and a distance.

        That is the distance of the whole vector, whatever the index holds of it, so that one row is equally far away
        in both answers, to the last bit.
        """
        nearest = self._field.nearest(query.vector, self.asked, metric=self._metric, **options)
        distance = self._field.distance(query.vector, metric=self._metric)
        return self._filtered(nearest).select(*self._key, distance.alias("whole_distance")).tuples()

    @cached_property
    def _indexes(self) -> list[StandingIndex]:
        meta = self._model._meta
        # Behind a partitioned table or a view stand the indexes of others.
        own = vector_indexes(self._database, meta.table_name, meta.schema)
        return own + vector_indexes(self._database)


def _key_of(model: Any, database: Any) -> list[Any]:
    """What tells apart the rows of a table: its primary key, else where each one lies; nothing does so in a view."""
    keys = model._meta.get_primary_keys()
    if not keys and sources_of_view(database, model._meta.table_name, model._meta.schema) is not None:
        return []
    return list(keys) or [Column(model._meta.table, name).cast("text") for name in ("tableoid", "ctid")]


def check_count(name: str, value: Any, least: int = 1) -> None:
    """:class:`~lightvec.errors.InvalidOption` for what is no number of at least so many."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"expected {name} to be a number of at least {least}, got {value!r}")


def _queries(number: int) -> str:
    return counted(number, "query", "queries")


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 query``, ``100 queries``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
