"""tune(): the smallest setting with which an index finds enough."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.index_options import DEFAULTS
from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.nearest import MOST_EF_SEARCH
from lightvec.search.recall_measurement import (
    ROWS_ARE_EASY,
    Benchmark,
    Measurement,
    ProgressCallback,
    Subject,
    check_count,
)
from lightvec.search.scan_settings import SETTINGS

__all__ = ["Trial", "Tuning", "tune"]

#: By how many standard errors a mean has to be above the target (95 %, one-sided). A value that is
#: just enough for some queries is too little for others as often as not.
_MARGIN = 1.645


@dataclass(frozen=True, kw_only=True)
class Trial(Measurement):
    value: int


@dataclass(frozen=True, kw_only=True)
class Tuning(Subject):
    """What :func:`tune` found; ``str()`` says it in plain words, with the line to write.

    ``setting`` is ``"ef_search"`` or ``"probes"``, and ``value`` the smallest that ``reached`` the
    ``target`` by more than chance, else the best there is. Half of the ``sample`` queries chose it,
    with this ``recall``, standard ``error`` and ``latency_ms``; the others have ``recall_unseen``.
    ``curve`` has all that was tried, by value. Where no index serves, ``index``, ``setting`` and
    ``value`` are None and the answers exact. ``code`` is the line to write, ``advice`` what to
    change. ``rows`` could be found, and ``from_rows`` says that the queries were rows.
    """

    target: float
    reached: bool
    setting: str | None
    value: int | None
    recall: float
    error: float
    recall_unseen: float
    latency_ms: float
    curve: tuple[Trial, ...]
    code: str
    advice: str

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.title}: {self.recall:.3f}, because no index serves it: each row is compared\n{self.advice}"
        verdict = "is the smallest that reaches" if self.reached else "is the best there is, and does not reach"
        lines = [
            f"{self.title} on {self.index.name}: {self.setting}={self.value} {verdict} {self.target:g}",
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
    """Find the smallest ``ef_search`` (HNSW) or ``probes`` (IVFFlat) with which ``field.nearest`` finds enough.

    The parameters are those of :func:`~lightvec.search.recall`. Every other query is held out: the
    value is chosen without them and then tried on them. Its mean is above the target by 1.645
    standard errors, so that it is enough for other queries, too; more queries make that margin
    smaller. A target that cannot be reached is no error: the result has the best value, and says
    what to change.

    >>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
    >>> tune(Doc.embedding, 0.99, k=2).setting is None  # there is no index
    True
    """
    target: Any = target_recall
    if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) <= 1:
        raise InvalidOption(f"expected target_recall above 0 and at most 1, such as 0.95, got {target!r}")
    check_count("sample", sample, least=2)
    benchmark = Benchmark(field, k, sample, metric, queries, where, seed, progress)
    search = _Search(benchmark, float(target))
    best = search.best()
    unseen = benchmark.measure(search.unseen, "queries kept back", search.options(best.value)).recall
    facts = benchmark.facts()
    words = [f"k={k}"]
    if search.setting:
        words.append(f"{search.setting}={best.value}")
    if facts["metric"] != field.metric:
        words.append(f"metric={facts['metric']!r}")
    return Tuning(
        target=search.target,
        reached=search.reaches(best.recall),
        setting=search.setting,
        value=best.value if search.setting else None,
        recall=best.recall,
        error=best.error,
        recall_unseen=unseen,
        latency_ms=best.latency_ms,
        curve=search.curve() if search.setting else (),
        code=f"{field.display_name}.nearest(vector, {', '.join(words)})",
        advice=" ".join(_advice(search, best, unseen, facts)),
        index=search.index,
        **facts,
    )


class _Search:
    """The search for the smallest value that is enough; without an index there is one trial."""

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
        if len(benchmark.cases) < 2:
            raise SchemaMismatch("expected at least 2 queries with an answer, to choose by one half of them, got 1")
        # Every other one: given queries may be in some order.
        self._seen, self.unseen = benchmark.cases[::2], benchmark.cases[1::2]

    def options(self, value: int) -> Mapping[str, Any]:
        return {**self._least, self.setting: value} if self.setting else self._least

    def curve(self) -> tuple[Trial, ...]:
        return tuple(self._trials[value] for value in sorted(self._trials))

    def reaches(self, recall: float) -> bool:
        """Whether it is the target or more; a mean of tenths is not exact."""
        return recall >= self.target - 1e-9

    def is_enough(self, trial: Trial) -> bool:
        """Whether it reaches the target by more than chance."""
        return self.reaches(trial.recall - _MARGIN * trial.error)

    def best(self) -> Trial:
        """The trial of the smallest value that is enough, else of the one that finds most.

        By doubling, then by bisection: too much effort is slow to try.
        """
        above, below = 0, -1
        for above in self._doubled_values():
            if self._ends(above):
                break
            below = above
        bisect_left(range(below + 1, above if below >= 0 else 0), True, key=self._ends)
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
        """Whether no larger value need be tried: this is enough, or the index is not used."""
        if self.index and self._benchmark.index(self._benchmark.explain(self.options(value))) != self.index:
            self.unserved = value
            return True
        what = f"{self.setting}={value}" if self.setting else "queries"
        measured = self._benchmark.measure(self._seen, what, self.options(value))
        self._trials[value] = Trial(**vars(measured), value=value)
        return self.is_enough(self._trials[value])


def _advice(search: _Search, best: Trial, unseen: float, facts: Mapping[str, Any]) -> Iterator[str]:
    index, exact_ms = search.index, facts["exact_ms"]
    if index is None:
        yield "; ".join(map(str, search.explanation.reasons))
    elif search.reaches(best.recall):
        if not search.is_enough(best):
            yield "That may be chance, and nothing reaches it by more: tune with a larger sample."
        elif not search.reaches(unseen):
            yield "The others are below the target: take a little more, or tune with a larger sample."
        if exact_ms <= best.latency_ms:
            yield "An exact search takes no longer here: nearest(vector, exact=True)."
        if facts["from_rows"] and index.method == "hnsw":
            yield ROWS_ARE_EASY
    elif search.unserved is not None:
        yield (
            f"From {search.setting}={search.unserved} on the server compares all rows, which it takes to be quicker: "
            f"nearest(vector, exact=True) takes {exact_ms:.2f} ms."
        )
    else:
        yield from _rebuilding(index, best)


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
