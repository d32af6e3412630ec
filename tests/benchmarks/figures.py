"""A figure, its limits, and the result of measuring it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.workbench import Workbench


@dataclass(frozen=True)
class Limit:
    """One row of the table.

    ``bound`` limits the ratio of lightvec's median to the other's; without ``against``, the value.
    """

    what: str
    unit: str
    bound: float
    against: str = ""
    at_least: bool = False

    def is_kept(self, number: float) -> bool:
        """Whether a ratio or value is within the limit."""
        return number >= self.bound if self.at_least else number <= self.bound


@dataclass(frozen=True)
class Pair:
    """The samples for one limit, in its unit; ``theirs`` is empty if the value itself is limited."""

    ours: Sequence[float]
    theirs: Sequence[float] = ()
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """What to measure: ``measure(bench, rounds)`` returns one pair for each limit."""

    name: str
    limits: Sequence[Limit]
    measure: Callable[[Workbench, int], Sequence[Pair]]
    rounds: int = 1


@dataclass(frozen=True)
class Result:
    """A limit and the samples for it."""

    figure: str
    limit: Limit
    pair: Pair

    @property
    def ours(self) -> float:
        """lightvec's median."""
        return median(self.pair.ours)

    @property
    def theirs(self) -> float | None:
        """The other side's median, if there is another side."""
        return median(self.pair.theirs) if self.pair.theirs else None

    @property
    def ratio(self) -> float | None:
        """lightvec's median divided by the other's."""
        return None if self.theirs is None else self.ours / self.theirs

    @property
    def is_kept(self) -> bool:
        """Whether the ratio, or the value, is within the limit."""
        return self.limit.is_kept(self.ours if self.ratio is None else self.ratio)


def run(figure: Figure, bench: Workbench, *, quick: bool) -> Iterator[Result]:
    """Measure a figure: one result for each of its limits."""
    rounds = max(min(figure.rounds, 3), figure.rounds // 3) if quick else figure.rounds
    pairs = figure.measure(bench, rounds)
    for limit, pair in zip(figure.limits, pairs, strict=True):
        yield Result(figure.name, limit, pair)
