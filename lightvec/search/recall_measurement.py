"""recall(): how many of the true nearest rows an index finds, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf, sqrt
from statistics import median, stdev
from time import perf_counter
from typing import Any, NamedTuple

from peewee import fn

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.search.explaining import SETTINGS, Explanation, explain, scan_settings

__all__ = ["ROWS_ARE_EASY", "Benchmark", "Case", "Measurement", "ProgressCallback", "Recall", "check_count", "recall"]

#: Called with what is being done, how many are done, and their total.
ProgressCallback = Callable[[str, int, int], object]

#: Of 30,000 embeddings of texts HNSW at ef_search=10 finds 0.99 for rows, 0.91 for new texts; IVFFlat as many for both.
ROWS_ARE_EASY = (
    "HNSW finds less for new vectors than for rows, each linked to its neighbors: give queries from real searches."
)


@dataclass(frozen=True)
class Measurement:
    """How some queries did with one setting."""

    recall: float
    error: float
    worst: float
    short: int
    latency_ms: float


@dataclass(frozen=True)
class Recall(Measurement):
    """What :func:`recall` measured; ``str()`` says it in plain words.

    ``recall`` is the mean over the ``sample`` queries of the share of the true ``k`` nearest rows that were found,
    ``error`` the standard error of that mean, and ``worst`` the share of the worst query. ``index`` is the one that was
    used, None without one, and ``settings`` are those that it had. ``latency_ms`` and ``exact_ms`` are median times of
    a query and of the exact one, as the caller sees them, with the rows in the server's memory. ``short`` is how many
    answers had fewer rows than the exact one. ``rows`` is how many rows could be found. ``from_rows`` says that the
    queries were rows, and ``why_exact`` why no index was used.
    """

    k: int
    sample: int
    index: ExistingIndex | None
    settings: Mapping[str, int | str]
    exact_ms: float
    table: str
    field: str
    metric: str
    rows: int
    from_rows: bool
    why_exact: str

    def __str__(self) -> str:
        title = f"recall@{self.k} of {self.field} by {self.metric}: {self.recall:.3f}"
        queries = f"{self.sample:,} {'rows as ' if self.from_rows else ''}queries"
        if self.index is None:
            return (
                f"{title} on {queries}, because no index serves it: each row is compared\n"
                f"{self.latency_ms:.2f} ms a query over {self.rows:,} rows\n{self.why_exact}"
            )
        error = f", ± {self.error:.3f}" if self.sample > 1 else ""
        settings = "".join(f", {name}={value}" for name, value in self.settings.items())
        lines = [
            f"{title} (mean of {queries}{error}; the worst {self.worst:.3f})",
            f"index {self.index.name} ({self.index.method}{settings}): {self.latency_ms:.2f} ms a query, "
            f"exact {self.exact_ms:.2f} ms over {self.rows:,} rows",
        ]
        if self.short:
            lines.append(f"answers with fewer rows than the exact one: {self.short:,}")
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
    progress: ProgressCallback | None = None,
) -> Recall:
    """Compare what ``field.nearest(...)`` finds with the exact answer.

    ``field`` is a model's vector field, such as ``Doc.embedding``; the settings are those of its ``nearest``. The
    queries are ``queries`` (vectors, or a matrix), or else the vectors of ``sample`` rows, chosen by ``seed``, each
    without the row itself in its answers. Give vectors of real searches where you have them: for an HNSW index a row is
    an easy query. ``where`` is a condition on the rows to find. Rows as far away as the last true one count as found.
    Each query compares all rows once, for its exact answer. ``progress`` is called with what is being done, how many
    are done, and their total.

    >>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
    >>> print(recall(Doc.embedding, k=2, sample=3))  # doctest: +ELLIPSIS
    recall@2 of Doc.embedding by cosine: 1.000 on 3 rows as queries, because no index serves it: each row is compared
    ... ms a query over 4 rows
    ...there is no vector index on it...
    """
    benchmark = Benchmark(field, k, sample, metric, queries, where, seed, progress)
    options = {"ef_search": ef_search, "probes": probes, "iterative_scan": iterative_scan}
    explanation = benchmark.explain(options)
    index = benchmark.index(explanation)
    return Recall(
        **vars(benchmark.measure(benchmark.cases, "queries", options)),
        sample=len(benchmark.cases),
        index=index,
        settings=benchmark.settings(index, options) if index else {},
        why_exact="" if index else "; ".join(map(str, explanation.reasons)),
        exact_ms=benchmark.exact_ms,
        **benchmark.facts(),
    )


class _Query(NamedTuple):
    """A vector to search with; of a row, its distance from itself, by which it is left out of the answers."""

    vector: Any
    own_distance: float | None


class _Answer(NamedTuple):
    distances: list[float]
    ms: float


class Case(NamedTuple):
    """A query and its exact answer."""

    query: _Query
    exact: _Answer

    def recall_of(self, answer: _Answer) -> float:
        """The share of the exact answer that was found: rows no farther away than its last one."""
        last = max(self.exact.distances)
        return sum(distance <= last for distance in answer.distances) / len(self.exact.distances)


class Benchmark:
    """Queries on a field with their exact answers, to compare other answers with."""

    def __init__(
        self,
        field: Any,
        k: int,
        sample: int,
        metric: str | None,
        queries: Iterable[Any] | None,
        where: Any,
        seed: int,
        progress: ProgressCallback | None,
    ) -> None:
        check_count("k", k)
        check_count("sample", sample)
        self._field = field
        self._database = field.model._meta.database
        self._k = k
        self._metric = field.resolve_metric(metric).name
        self._where = where
        self._progress = progress or (lambda *_: None)
        #: The LIMIT of a query: a row that is its own query is found beside the others.
        self.limit = k + (queries is None)
        self._queries = self._sampled(sample, seed) if queries is None else self._given(queries)

    @cached_property
    def cases(self) -> list[Case]:
        """The queries that have an answer."""
        answers = self._answers(self._queries, "exact answers", {"exact": True})
        cases = [Case(query, exact) for query, exact in zip(self._queries, answers, strict=True) if exact.distances]
        if not cases:
            raise SchemaMismatch(
                f"{self._field.display_name} has no other rows that the queries could find: "
                f"load more rows, or give queries"
            )
        return cases

    @property
    def exact_ms(self) -> float:
        """The median time of an exact answer."""
        return median(case.exact.ms for case in self.cases)

    def facts(self) -> dict[str, Any]:
        """The fields that :class:`Recall` and ``Tuning`` share."""
        return {
            "k": self._k,
            "table": self._field.model._meta.table_name,
            "field": self._field.display_name,
            "metric": self._metric,
            "rows": self._rows().count(self._database),
            "from_rows": self._queries[0].own_distance is not None,
        }

    def explain(self, options: Mapping[str, Any]) -> Explanation:
        """Whether an index serves the queries with these settings."""
        return explain(self._nearest(self._queries[0], options), database=self._database)

    def index(self, explanation: Explanation) -> ExistingIndex | None:
        """The index that serves."""
        indexes = (index for index in self._indexes if index.name == explanation.index)
        return next(indexes, None) if explanation.uses_index else None

    def settings(self, index: ExistingIndex, options: Mapping[str, Any]) -> dict[str, int | str]:
        """The settings of this index with which the queries run, those of the session included."""
        settings = self._nearest(self._queries[0], options).settings(self._database)
        scan = scan_settings(self._database, index.method, settings)
        effort: dict[str, int | str] = {SETTINGS[index.method][0]: scan.effort}
        return {**effort, "iterative_scan": scan.iterative_scan} if scan.iterative_scan else effort

    def measure(self, cases: Sequence[Case], what: str, options: Mapping[str, Any]) -> Measurement:
        """Run these queries with these settings, and compare with their exact answers."""
        answers = self._answers([case.query for case in cases], what, options)
        pairs = list(zip(cases, answers, strict=True))
        shares = [case.recall_of(answer) for case, answer in pairs]
        return Measurement(
            recall=fsum(shares) / len(shares),
            error=stdev(shares) / sqrt(len(shares)) if len(shares) > 1 else 0.0,
            worst=min(shares),
            short=sum(len(answer.distances) < len(case.exact.distances) for case, answer in pairs),
            latency_ms=median(answer.ms for answer in answers),
        )

    def latencies(self, cases: Sequence[Case], choices: Sequence[Mapping[str, Any]]) -> list[float]:
        """The median time of a query with each of these settings.

        Each query runs with all of them in turn, so that other load on the machine affects all alike, and each is the
        first one equally often, which finds none of its rows in the processor's cache.
        """
        times: list[list[float]] = [[] for _ in choices]
        for number, case in enumerate(cases):
            for turn in range(len(choices)):
                choice = (number + turn) % len(choices)
                times[choice].append(self._answer(case.query, choices[choice]).ms)
        return [median(each) for each in times]

    def _sampled(self, sample: int, seed: int) -> list[_Query]:
        """The vectors of rows, ordered by a hash of their keys, so that a seed always chooses the same ones."""
        distance = self._field.distance(self._field, metric=self._metric)
        key = self._field.model._meta.get_primary_keys() or [self._field.cast("text")]
        order = fn.hashtextextended(fn.concat_ws(",", *key), seed)
        rows = self._rows().select(self._field, distance).order_by(order).limit(sample).tuples()
        if self._metric == "cosine":
            # A vector of zeros has no direction: its distance is NaN, which PostgreSQL sorts after all numbers.
            rows = rows.where(self._field.cosine_distance(self._field) < inf)
        queries = [_Query(self._field.to_value(vector), own) for vector, own in rows.execute(self._database)]
        if not queries:
            raise SchemaMismatch(
                f"there is no row with a vector to sample in {self._field.display_name}: load rows first"
            )
        return queries

    def _given(self, vectors: Iterable[Any]) -> list[_Query]:
        queries = [_Query(self._field.to_value(vector), None) for vector in vectors]
        if not queries:
            raise InvalidOption("expected queries, a list of vectors or a matrix, with at least one, got none")
        return queries

    def _rows(self) -> Any:
        """The rows that could be found."""
        return self._filtered(self._field.model.select().where(self._field.is_null(False)))

    def _filtered(self, query: Any) -> Any:
        return query if self._where is None else query.where(self._where)

    def _answers(self, queries: Sequence[_Query], what: str, options: Mapping[str, Any]) -> list[_Answer]:
        answers = []
        for number, query in enumerate(queries, 1):
            answers.append(self._answer(query, options))
            self._progress(what, number, len(queries))
        return answers

    def _answer(self, query: _Query, options: Mapping[str, Any]) -> _Answer:
        statement = self._nearest(query, options)
        begin = perf_counter()
        distances = [distance for (distance, *_) in statement.execute(self._database)]
        ms = (perf_counter() - begin) * 1000
        if query.own_distance is not None and query.own_distance in distances:
            distances.remove(query.own_distance)
        # By cosine, zeros are at the distance NaN.
        return _Answer([distance for distance in distances[: self._k] if distance == distance], ms)

    def _nearest(self, query: _Query, options: Mapping[str, Any]) -> Any:
        """The query for distances: of whole vectors, even from a quantized index, so that answers compare exactly."""
        nearest = self._field.nearest(query.vector, self.limit, metric=self._metric, **options)
        distance = self._field.distance(query.vector, metric=self._metric)
        return self._filtered(nearest).select(distance.alias("whole_distance")).tuples()

    @cached_property
    def _indexes(self) -> list[ExistingIndex]:
        meta = self._field.model._meta
        # A partitioned table or a view uses the indexes of other tables.
        return [*vector_indexes(self._database, meta.table_name, meta.schema), *vector_indexes(self._database)]


def check_count(name: str, value: Any, least: int = 1) -> None:
    """:class:`~lightvec.errors.InvalidOption` for anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"expected {name} to be a number of at least {least}, got {value!r}")
