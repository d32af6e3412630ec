"""tune(): the smallest setting with which an index finds enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.index_options import DEFAULTS
from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.nearest import MOST_EF_SEARCH
from lightvec.search.explaining import SETTINGS
from lightvec.search.recall_measurement import ROWS_ARE_EASY, Benchmark, Measurement, ProgressCallback, check_count

__all__ = ["Trial", "Tuning", "tune"]

#: How many queries are timed with all values.
_TIMED = 50

#: By how many standard errors a mean has to be above the target. A value that is just enough for some queries is too
#: little for others as often as not; with this margin (95 %, one-sided) it is enough for nearly all.
_MARGIN = 1.645


@dataclass(frozen=True)
class Trial(Measurement):
    """How the queries did with one value."""

    value: int


@dataclass(frozen=True)
class Tuning:
    """What :func:`tune` found; ``str()`` says it in plain words, with the line to write.

    ``setting`` is ``"ef_search"`` or ``"probes"``, and ``value`` the smallest that ``reached`` the ``target`` by more
    than chance, else the best there is. It was chosen by half of the ``sample`` queries, on which it has the ``recall``
    with the standard ``error``, and the ``latency_ms``; ``recall_unseen`` is the recall of the other half. ``curve``
    has all that was tried, by value. Where no index serves, ``index``, ``setting`` and ``value`` are None and the
    answers exact. ``code`` is the line to write, and ``advice`` what to change, if anything. ``rows`` is how many rows
    could be found, and ``from_rows`` says that the queries were rows.
    """

    target: float
    reached: bool
    setting: str | None
    value: int | None
    recall: float
    error: float
    recall_unseen: float
    latency_ms: float
    exact_ms: float
    curve: tuple[Trial, ...]
    code: str
    advice: str
    sample: int
    index: ExistingIndex | None
    k: int
    table: str
    field: str
    metric: str
    rows: int
    from_rows: bool

    def __str__(self) -> str:
        what = f"recall@{self.k} of {self.field} by {self.metric}"
        if self.index is None:
            return f"{what}: {self.recall:.3f}, because no index serves it: each row is compared\n{self.advice}"
        verdict = "is the smallest that reaches" if self.reached else "is the best there is, and does not reach"
        lines = [
            f"{what} on {self.index.name}: {self.setting}={self.value} {verdict} {self.target:g}",
            f"{self.recall:.3f} ± {self.error:.3f} on the queries that chose it, {self.recall_unseen:.3f} on as many "
            f"others; {self.latency_ms:.2f} ms a query, exact {self.exact_ms:.2f} ms over {self.rows:,} rows",
            self.code,
            self.advice,
        ]
        return "\n".join(filter(None, lines))


def tune(
    field: Any,
    target_recall: float = 0.95,
    *,
    k: int = 10,
    sample: int = 200,
    metric: str | None = None,
    queries: Iterable[Any] | None = None,
    where: Any = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Tuning:
    """Find the smallest ``ef_search`` (HNSW) or ``probes`` (IVFFlat) with which ``field.nearest(...)`` finds enough.

    The parameters are those of :func:`~lightvec.search.recall`. Every other query is held out: the value is chosen
    without them and then tried on them. It is the smallest whose mean is above the target by 1.645 standard errors, so
    that it is enough for other queries, too; the more queries, the smaller that margin. A target that cannot be reached
    is no error: the result has the best value, and says what to change.

    >>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
    >>> tune(Doc.embedding, 0.99, k=2).setting is None  # there is no index
    True
    """
    target = _checked_target(target_recall)
    check_count("sample", sample, least=2)
    benchmark = Benchmark(field, k, sample, metric, queries, where, seed, progress)
    search = _Search(benchmark, target)
    best = search.best()
    options = {search.setting: best.value} if search.setting else {}
    unseen = benchmark.measure(search.unseen, "queries kept back", search.options(best.value)).recall
    facts = benchmark.facts()
    words = [f"k={k}", *(f"{name}={value}" for name, value in options.items())]
    words += [] if facts["metric"] == field.metric else [f"metric={facts['metric']!r}"]
    return Tuning(
        target=target,
        reached=_reaches(best.recall, target),
        setting=search.setting,
        value=best.value if search.setting else None,
        recall=best.recall,
        error=best.error,
        recall_unseen=unseen,
        latency_ms=best.latency_ms,
        exact_ms=benchmark.exact_ms,
        curve=search.curve() if search.setting else (),
        code=f"{field.display_name}.nearest(vector, {', '.join(words)})",
        advice=" ".join(_advice(search, best, unseen, benchmark.exact_ms, facts["from_rows"])),
        sample=len(benchmark.cases),
        index=search.index,
        **facts,
    )


class _Search:
    """The search for the smallest value that is enough; without an index there is one trial only."""

    def __init__(self, benchmark: Benchmark, target: float) -> None:
        self._benchmark = benchmark
        self.target = target
        # The planner goes by cost: if it uses an index at all, it does with the least effort.
        self._least = {"ef_search": min(benchmark.limit, MOST_EF_SEARCH), "probes": 1}
        self.explanation = benchmark.explain(self._least)
        self.index = benchmark.index(self.explanation)
        self.setting = SETTINGS[self.index.method][0] if self.index else None
        self._trials: dict[int, Trial] = {}
        #: The smallest value with which the planner no longer used the index.
        self.unserved: int | None = None
        cases = benchmark.cases
        if len(cases) < 2:
            raise SchemaMismatch("expected at least 2 queries with an answer, to choose by one half of them, got 1")
        # Every other one: given queries may be in some order.
        self._seen, self.unseen = cases[::2], cases[1::2]

    def options(self, value: int) -> Mapping[str, Any]:
        """The options of nearest() with this value."""
        return {**self._least, self.setting: value} if self.setting else self._least

    def curve(self) -> tuple[Trial, ...]:
        """All that was tried, by value."""
        return tuple(self._trials[value] for value in sorted(self._trials))

    def is_enough(self, trial: Trial) -> bool:
        """Whether it reaches the target by more than chance."""
        return _reaches(trial.recall - _MARGIN * trial.error, self.target)

    def best(self) -> Trial:
        """The trial of the smallest value that is enough, else of the one that finds most.

        By doubling, then by bisection: too much effort is slow to try.
        """
        above, below = 0, -1
        for above in self._doubled_values():
            if self._ends(above):
                break
            below = above
        while below >= 0 and above - below > 1:
            middle = (above + below) // 2
            if self._ends(middle):
                above = middle
            else:
                below = middle
        # Timed again side by side: times of different moments are hard to compare.
        choices = [self.options(value) for value in self._trials]
        latencies = self._benchmark.latencies(self._seen[:_TIMED], choices)
        for value, latency in zip(list(self._trials), latencies, strict=True):
            self._trials[value] = replace(self._trials[value], latency_ms=latency)
        enough = filter(self.is_enough, self.curve())
        return next(enough, None) or max(self.curve(), key=lambda trial: (trial.recall, -trial.value))

    def _doubled_values(self) -> list[int]:
        if self.index is None or self.setting is None:
            return [0]
        first, most = (1, self.index.lists) if self.index.method == "ivfflat" else (10, MOST_EF_SEARCH)
        least = self._least[self.setting]
        doubled = (first << power for power in range(most.bit_length()))
        return sorted({least, *(value for value in doubled if least < value < most), most})

    def _ends(self, value: int) -> bool:
        """Whether no larger value need be tried: this one is enough, or the planner does not use the index."""
        if self.index and self._benchmark.index(self._benchmark.explain(self.options(value))) != self.index:
            self.unserved = value
            return True
        what = f"{self.setting}={value}" if self.setting else "queries"
        measured = self._benchmark.measure(self._seen, what, self.options(value))
        self._trials[value] = Trial(**vars(measured), value=value)
        return self.is_enough(self._trials[value])


def _checked_target(target: Any) -> float:
    if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) <= 1:
        raise InvalidOption(f"expected target_recall above 0 and at most 1, such as 0.95, got {target!r}")
    return float(target)


def _reaches(recall: float, target: float) -> bool:
    # A mean of tenths is not exact.
    return recall >= target - 1e-9


def _advice(search: _Search, best: Trial, unseen: float, exact_ms: float, from_rows: bool) -> Iterator[str]:
    """What to change, in sentences."""
    if search.index is None:
        yield "; ".join(map(str, search.explanation.reasons))
    elif _reaches(best.recall, search.target):
        if not search.is_enough(best):
            yield "That may be chance, and nothing reaches it by more: tune with a larger sample."
        elif not _reaches(unseen, search.target):
            yield "The others are below the target: take a little more, or tune with a larger sample."
        if exact_ms <= best.latency_ms:
            yield "An exact search takes no longer here: nearest(vector, exact=True)."
        if from_rows and search.index.method == "hnsw":
            yield ROWS_ARE_EASY
    elif search.unserved is not None:
        yield (
            f"From {search.setting}={search.unserved} on the server compares all rows, which it takes to be quicker: "
            f"nearest(vector, exact=True) takes {exact_ms:.2f} ms."
        )
    else:
        yield from _rebuilding(search.index, best)


def _rebuilding(index: ExistingIndex, best: Trial) -> Iterator[str]:
    """How to build the index instead, where the most effort does not find enough."""
    if best.short:
        limit = "hnsw.max_scan_tuples" if index.method == "hnsw" else "ivfflat.max_probes"
        yield (
            f"Some answers had fewer rows than there are: raise {limit}, or create an index of the rows that are "
            f"searched (where=)."
        )
    if index.quantize is not None:
        yield f"The index holds the vectors as {index.quantize}: build one of the whole vectors."
    elif index.method == "hnsw":
        m, effort = (int(index.options.get(name, DEFAULTS[name])) for name in ("m", "ef_construction"))
        better = f"m={min(2 * m, 100)}, ef_construction={min(max(2 * effort, 4 * m), 1_000)}"
        yield f"It is built with m={m}, ef_construction={effort}: build it with more ({better})."
