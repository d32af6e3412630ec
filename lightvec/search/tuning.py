"""The smallest setting of an index that finds enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.index_options import DEFAULTS
from lightvec.peewee.catalog import StandingIndex
from lightvec.peewee.nearest import MOST_EF_SEARCH
from lightvec.search.recalling import (
    ROWS_ARE_EASY,
    Case,
    Comparison,
    Measured,
    Progress,
    check_count,
    counted,
)
from lightvec.search.scans import SETTINGS

__all__ = ["Trial", "Tuning", "tune"]

#: How many queries are timed with all values.
_TIMED = 50

#: By how many standard errors a mean has to be above the target. What is chosen because it is just enough for some
#: queries is too little for others as often as not; with this many (95 % of one side of a normal distribution) it is
#: enough for nearly all.
_MARGIN = 1.645


@dataclass(frozen=True)
class Trial:
    """How the queries did with one value; the names are those of :class:`~lightvec.search.recalling.Recall`."""

    value: int
    recall: float
    error: float
    worst: float
    short: int
    latency_ms: float


@dataclass(frozen=True)
class Tuning:
    """What :func:`tune` found; ``str()`` says it in plain words, with the line to write.

    ``setting`` is ``"ef_search"`` or ``"probes"`` and ``value`` the smallest that ``reached`` the ``target`` by more
    than chance, else the best there is. It was chosen by half of the ``sample`` queries, on which it has the ``recall``
    with the standard ``error``, and the ``latency_ms``; ``recall_unseen`` is the recall of the other half. ``curve``
    has all that was tried, by value. Where no index serves, ``index``, ``setting`` and ``value`` are None and the
    answers exact. ``code`` is the line to write, and ``advice`` what to change, if anything. ``rows`` is how many rows
    there are to find, ``from_rows`` says that the queries were rows.
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
    index: StandingIndex | None
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
    progress: Progress | None = None,
) -> Tuning:
    """Find the smallest ``ef_search`` (HNSW) or ``probes`` (IVFFlat) with which ``field.nearest(…)`` finds enough.

    The parameters are those of :func:`~lightvec.search.recalling.recall`. Every other query is kept back: the value is
    chosen without them and then tried on them. It is the smallest whose mean is above the target by 1.645 standard
    errors, so that other queries, too, find enough: the more queries, the smaller that margin. A target that cannot be
    reached is no error: what comes back has the best value, and says what to change.

    >>> _ = Doc.insert_many([{"embedding": [1, n, 0]} for n in range(4)]).execute()
    >>> tune(Doc.embedding, 0.99, k=2).setting is None  # there is no index
    True
    """
    _check_target(target_recall)
    check_count("sample", sample, least=2)
    comparison = Comparison(
        field, k=k, sample=sample, metric=metric, queries=queries, where=where, seed=seed, progress=progress
    )
    search = _Search(comparison, target_recall)
    best = search.best()
    options = {search.setting: best.value} if search.setting else {}
    unseen = search.measure(search.unseen, "queries kept back", best.value).recall
    about = comparison.about()
    return Tuning(
        target=float(target_recall),
        reached=_is_above(best.recall, target_recall),
        setting=search.setting,
        value=best.value if search.setting else None,
        recall=best.recall,
        error=best.error,
        recall_unseen=unseen,
        latency_ms=best.latency_ms,
        exact_ms=comparison.exact_ms,
        curve=search.curve() if search.setting else (),
        code=_code(field, k, about["metric"], options),
        advice=" ".join(_advice(search, best, unseen, comparison.exact_ms, target_recall, about["from_rows"])),
        sample=len(comparison.cases),
        index=search.index,
        **about,
    )


class _Search:
    """The search for the smallest value with which an index finds enough; without an index there is one trial only."""

    def __init__(self, comparison: Comparison, target: float) -> None:
        self._comparison = comparison
        self._target = target
        # Whether the server takes an index, and which, goes by what they cost: with the least effort it does.
        self._least = {"ef_search": min(comparison.asked, MOST_EF_SEARCH), "probes": 1}
        self.index = comparison.index(**self._least)
        self.setting = SETTINGS[self.index.method][0] if self.index else None
        self._trials: dict[int, Trial] = {}
        #: The smallest value tried with which the server no longer took the index.
        self.unserved: int | None = None
        cases = comparison.cases
        if len(cases) < 2:
            raise SchemaMismatch("expected at least 2 queries with an answer, to choose by one half of them, got 1")
        # Every other one: those that were given may be in some order.
        self._seen, self.unseen = cases[::2], cases[1::2]

    def curve(self) -> tuple[Trial, ...]:
        """All that was tried, by value."""
        return tuple(self._trials[value] for value in sorted(self._trials))

    def best(self) -> Trial:
        """The trial of the smallest value that finds enough, else of the one that finds most.

        By doubling first: what is far too much is slow to try, too.
        """
        steps = self._steps()
        below = steps[0] - 1
        for above in steps:
            if self._suffices(above):
                break
            below = above
        while above - below > 1:
            middle = (above + below) // 2
            if self._suffices(middle):
                above = middle
            else:
                below = middle
        self._measure_latencies()
        tried = self.curve()
        enough = [trial for trial in tried if _is_enough(trial, self._target)]
        return enough[0] if enough else max(tried, key=lambda trial: (trial.recall, -trial.value))

    def measure(self, cases: Sequence[Case], what: str, value: int) -> Measured:
        """How these queries do with a value."""
        return self._comparison.measure(cases, what, **self._options(value))

    def why_exact(self) -> str:
        """Why no index serves."""
        return self._comparison.why_exact(**self._least)

    def _steps(self) -> list[int]:
        if self.index is None:
            return [0]
        first, most = 10, MOST_EF_SEARCH
        if self.index.method == "ivfflat":
            first, most = 1, self.index.lists
        least = self._least[SETTINGS[self.index.method][0]]
        doubled = (first << power for power in range(most.bit_length()))
        return sorted({least, *(value for value in doubled if least < value < most), most})

    def _suffices(self, value: int) -> bool:
        """Whether no larger value need be tried: this one finds enough, or the index does not serve with it."""
        if self._comparison.index(**self._options(value)) != self.index:
            self.unserved = value
            return True
        measured = self.measure(self._seen, f"{self.setting}={value}" if self.setting else "queries", value)
        self._trials[value] = Trial(value, *measured)
        return _is_enough(self._trials[value], self._target)

    def _measure_latencies(self) -> None:
        """All values side by side; those that were tried at different times are hard to compare."""
        latencies = self._comparison.latencies(self._seen[:_TIMED], [self._options(value) for value in self._trials])
        for trial, latency in zip(list(self._trials.values()), latencies, strict=True):
            self._trials[trial.value] = replace(trial, latency_ms=latency)

    def _options(self, value: int) -> dict[str, Any]:
        return {**self._least, self.setting: value} if self.setting else self._least


def _check_target(target: Any) -> None:
    if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) <= 1:
        raise InvalidOption(f"expected target_recall above 0 and at most 1, such as 0.95, got {target!r}")


def _is_enough(trial: Trial, target: float) -> bool:
    """Whether it finds enough, and by more than chance."""
    return _is_above(trial.recall - _MARGIN * trial.error, target)


def _is_above(recall: float, target: float) -> bool:
    # A mean of tenths is not exact.
    return recall >= target - 1e-9


def _code(field: Any, k: int, metric: str, options: Mapping[str, int]) -> str:
    """The line to write."""
    words = [f"k={k}", *(f"{name}={value}" for name, value in options.items())]
    if metric != field.metric:
        words.append(f"metric={metric!r}")
    return f"{field._name}.nearest(vector, {', '.join(words)})"


def _advice(
    search: _Search, best: Trial, unseen: float, exact_ms: float, target: float, from_rows: bool
) -> Iterator[str]:
    """What to change, in sentences."""
    if search.index is None:
        yield search.why_exact()
    elif _is_above(best.recall, target):
        if not _is_enough(best, target):
            yield "That may be chance, and nothing reaches it by more: tune with a larger sample."
        elif not _is_above(unseen, target):
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


def _rebuilding(index: StandingIndex, best: Trial) -> Iterator[str]:
    """What to make another way, where the most effort does not find enough."""
    if best.short:
        limit = "hnsw.max_scan_tuples" if index.method == "hnsw" else "ivfflat.max_probes"
        yield (
            f"{counted(best.short, 'answer')} had fewer rows than there are: raise {limit}, or make an index of the "
            f"rows that are searched (where=)."
        )
    if index.quantize is not None:
        yield f"The index holds the vectors as {index.quantize}: make one of the whole vectors."
    elif index.method == "hnsw":
        m = int(index.options.get("m", DEFAULTS["m"]))
        effort = int(index.options.get("ef_construction", DEFAULTS["ef_construction"]))
        better = f"m={min(2 * m, 100)}, ef_construction={min(max(2 * effort, 4 * m), 1_000)}"
        yield f"It is built with m={m}, ef_construction={effort}: build it with more ({better})."
