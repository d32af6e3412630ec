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
from lightvec.search.explaining import Explanation, explain
from lightvec.search.scan_settings import SETTINGS, scan_settings

__all__ = ["ROWS_ARE_EASY", "Benchmark", "Measurement", "ProgressCallback", "Recall", "recall"]

#: Called with what is being done, how many are done, and their total.
ProgressCallback = Callable[[str, int, int], object]

# Of 30,000 embeddings of texts HNSW at ef_search=10 finds 0.99 for rows, 0.91 for new texts.
ROWS_ARE_EASY = (
    "HNSW finds less for new vectors than for rows, each linked to its neighbors: give queries from real searches."
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    recall: float
    error: float
    worst: float
    short: int
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was measured: the fields that :class:`Recall` and ``Tuning`` share."""

    k: int
    sample: int
    index: ExistingIndex | None
    exact_ms: float
    table: str
    field: str
    metric: str
    rows: int
    from_rows: bool

    @property
    def title(self) -> str:
        return f"recall@{self.k} of {self.field} by {self.metric}"


@dataclass(frozen=True, kw_only=True)
class Recall(Measurement, Subject):
    """What :func:`recall` measured; ``str()`` says it in plain words.

    ``recall`` is the mean share of the true ``k`` nearest rows that the ``sample`` queries found,
    ``error`` its standard error, and ``worst`` the lowest share. ``short`` answers had fewer rows
    than the exact one. ``latency_ms`` and ``exact_ms`` are medians as the caller sees them.
    ``index`` served, with these ``settings``; where none did, ``why_exact`` says why. ``rows`` could
    be found. ``from_rows`` says that the queries were rows, ``session_note`` which settings of the
    session do not hold on the nodes of Citus.
    """

    settings: Mapping[str, int | str]
    why_exact: str
    session_note: str = ""

    def __str__(self) -> str:
        title = f"{self.title}: {self.recall:.3f}"
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
        if self.session_note:
            lines.append(self.session_note)
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

    ``field`` is a model's vector field; the settings are those of its ``nearest``. The queries are
    ``queries`` (vectors, or a matrix), or else the vectors of ``sample`` rows, chosen by ``seed``,
    each without the row itself in its answers. Give vectors of real searches where you have them:
    for an HNSW index a row is an easy query. ``where`` is a condition on the rows to find. Rows as
    far away as the last true one count as found. Each query compares all rows once, for its exact
    answer. ``progress`` is called with what is being done, how many are done, and their total.

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
    settings, session_note = benchmark.settings(index, options) if index else ({}, "")
    return Recall(
        **vars(benchmark.measure(benchmark.cases, "queries", options)),
        index=index,
        settings=settings,
        why_exact="" if index else "; ".join(map(str, explanation.reasons)),
        session_note=session_note,
        **benchmark.facts(),
    )


class Case(NamedTuple):
    """A query and the distances of its exact answer; of a row, also its distance from itself."""

    vector: Any
    own_distance: float | None
    exact: Sequence[float] = ()
    exact_ms: float = 0.0


@dataclass
class Benchmark:
    """Queries on a field with their exact answers, to compare other answers with."""

    field: Any
    k: int
    sample: int
    metric: str | None
    queries: Iterable[Any] | None
    where: Any
    seed: int
    progress: ProgressCallback | None

    def __post_init__(self) -> None:
        check_count("k", self.k)
        check_count("sample", self.sample)
        self.metric = self.field.resolve_metric(self.metric).name
        self._database = self.field.model._meta.database
        self.from_rows = self.queries is None
        #: The LIMIT of a query: a row that is its own query is found beside the others.
        self.limit = self.k + self.from_rows
        self._queries = self._sampled() if self.queries is None else self._given(self.queries)

    @cached_property
    def cases(self) -> list[Case]:
        """The queries that have an exact answer."""
        answers = self._answers(self._queries, "exact answers", {"exact": True})
        cases = [
            query._replace(exact=exact, exact_ms=ms)
            for query, (exact, ms) in zip(self._queries, answers, strict=True)
            if exact
        ]
        if not cases:
            raise SchemaMismatch(
                f"{self.field.display_name} has no other rows that the queries could find: "
                f"load more rows, or give queries"
            )
        return cases

    def facts(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "sample": len(self.cases),
            "exact_ms": median(case.exact_ms for case in self.cases),
            "table": self.field.model._meta.table_name,
            "field": self.field.display_name,
            "metric": self.metric,
            "rows": self._rows().count(self._database),
            "from_rows": self.from_rows,
        }

    def explain(self, options: Mapping[str, Any]) -> Explanation:
        return explain(self._nearest(self._queries[0], options), database=self._database)

    def index(self, explanation: Explanation) -> ExistingIndex | None:
        indexes = (index for index in self._indexes if index.name == explanation.index)
        return next(indexes, None) if explanation.uses_index else None

    def settings(self, index: ExistingIndex, options: Mapping[str, Any]) -> tuple[dict[str, int | str], str]:
        """The settings with which the queries run, and which ones of the session do not hold."""
        settings = self._nearest(self._queries[0], options).settings(self._database)
        scan = scan_settings(self._database, index.method, settings)
        found: dict[str, int | str] = {SETTINGS[index.method][0]: scan.effort}
        if scan.iterative_scan:
            found["iterative_scan"] = scan.iterative_scan
        return found, "; ".join(map(str, scan.findings))

    def measure(self, cases: Sequence[Case], what: str, options: Mapping[str, Any]) -> Measurement:
        """Run these queries with these settings, and compare with their exact answers."""
        answers = self._answers(cases, what, options)
        # Rows no farther away than the last one of the exact answer.
        shares = [
            sum(distance <= max(case.exact) for distance in found) / len(case.exact)
            for case, (found, _) in zip(cases, answers, strict=True)
        ]
        return Measurement(
            recall=fsum(shares) / len(shares),
            error=stdev(shares) / sqrt(len(shares)) if len(shares) > 1 else 0.0,
            worst=min(shares),
            short=sum(len(found) < len(case.exact) for case, (found, _) in zip(cases, answers, strict=True)),
            latency_ms=median(ms for _, ms in answers),
        )

    def _given(self, vectors: Iterable[Any]) -> list[Case]:
        queries = [Case(self.field.to_value(vector), None) for vector in vectors]
        if not queries:
            raise InvalidOption("expected queries, a list of vectors or a matrix, with at least one, got none")
        return queries

    def _sampled(self) -> list[Case]:
        """The vectors of rows, by a hash of their keys, so that a seed always chooses the same."""
        distance = self.field.distance(self.field, metric=self.metric)
        key = self.field.model._meta.get_primary_keys() or [self.field.cast("text")]
        order = (fn.hashtextextended(fn.concat_ws(",", *key), self.seed), *key)
        rows = self._rows().select(self.field, distance).order_by(*order).limit(self.sample).tuples()
        if self.metric == "cosine":
            # The distance of zeros is NaN, which PostgreSQL sorts after all numbers.
            rows = rows.where(self.field.cosine_distance(self.field) < inf)
        queries = [Case(self.field.to_value(vector), own) for vector, own in rows.execute(self._database)]
        if not queries:
            raise SchemaMismatch(
                f"there is no row with a vector to sample in {self.field.display_name}: load rows first"
            )
        return queries

    def _rows(self) -> Any:
        return self._filtered(self.field.model.select().where(self.field.is_null(False)))

    def _filtered(self, query: Any) -> Any:
        return query if self.where is None else query.where(self.where)

    def _answers(
        self, queries: Sequence[Case], what: str, options: Mapping[str, Any]
    ) -> list[tuple[list[float], float]]:
        answers = []
        for number, query in enumerate(queries, 1):
            statement = self._nearest(query, options)
            begin = perf_counter()
            distances = [distance for (distance, *_) in statement.execute(self._database)]
            ms = (perf_counter() - begin) * 1000
            if query.own_distance is not None and query.own_distance in distances:
                distances.remove(query.own_distance)
            # By cosine, zeros are at the distance NaN.
            answers.append(([each for each in distances[: self.k] if each == each], ms))
            if self.progress:
                self.progress(what, number, len(queries))
        return answers

    def _nearest(self, query: Case, options: Mapping[str, Any]) -> Any:
        """The query for distances of whole vectors, also from a quantized index."""
        # Without the fallback, whose recall is not that of the index.
        options = {"exact": False, **options}
        nearest = self.field.nearest(query.vector, self.limit, metric=self.metric, **options)
        distance = self.field.distance(query.vector, metric=self.metric)
        return self._filtered(nearest).select(distance.alias("whole_distance")).tuples()

    @cached_property
    def _indexes(self) -> list[ExistingIndex]:
        meta = self.field.model._meta
        # A partitioned table or a view uses the indexes of other tables.
        return [*vector_indexes(self._database, meta.table_name, meta.schema), *vector_indexes(self._database)]


def check_count(name: str, value: Any, least: int = 1) -> None:
    """:class:`~lightvec.errors.InvalidOption` for anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"expected {name} to be a number of at least {least}, got {value!r}")
