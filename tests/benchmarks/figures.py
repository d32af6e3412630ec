"""A figure, its limits, and what a run made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from lightvec.pg8000 import Connection
from tests.benchmarks.stand import Stand


@dataclass(frozen=True)
class Limit:
    """One row of the table: ``bound`` limits the ratio of lightvec's median to the other's, or the value itself."""

    what: str
    unit: str
    bound: float
    against: str = ""
    at_least: bool = False

    def is_kept(self, number: float) -> bool:
        """Whether a ratio or value keeps the limit."""
        return number >= self.bound if self.at_least else number <= self.bound


@dataclass(frozen=True)
class Pair:
    """What was measured for one limit, in its unit; ``theirs`` is empty where it limits the value itself."""

    ours: Sequence[float]
    theirs: Sequence[float] = ()
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """Something to measure: ``measure`` gives a pair for each limit, from so many rounds.

    ``needs`` are the methods of lightvec's connection without which there is nothing to measure yet.
    """

    name: str
    limits: Sequence[Limit]
    measure: Callable[[Stand, int], Sequence[Pair]]
    rounds: int = 1
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Result:
    """What became of one limit; ``pair`` is None where lightvec's side does not exist yet."""

    figure: str
    limit: Limit
    pair: Pair | None

    @property
    def ours(self) -> float | None:
        """lightvec's median."""
        return None if self.pair is None else median(self.pair.ours)

    @property
    def theirs(self) -> float | None:
        """The other side's median, where there is another side."""
        return median(self.pair.theirs) if self.pair and self.pair.theirs else None

    @property
    def ratio(self) -> float | None:
        """lightvec's median in relation to the other's."""
        return None if self.ours is None or self.theirs is None else self.ours / self.theirs

    @property
    def is_kept(self) -> bool:
        """Whether the limit is kept; what is not there yet keeps none."""
        number = self.ours if self.ratio is None else self.ratio
        return number is not None and self.limit.is_kept(number)


def run(figure: Figure, stand: Stand, *, quick: bool) -> Iterator[Result]:
    """Measure a figure; a result for each of its limits."""
    if not all(hasattr(Connection, name) for name in figure.needs):
        yield from (Result(figure.name, limit, None) for limit in figure.limits)
        return
    rounds = max(min(figure.rounds, 3), figure.rounds // 3) if quick else figure.rounds
    pairs = figure.measure(stand, rounds)
    for limit, pair in zip(figure.limits, pairs, strict=True):
        yield Result(figure.name, limit, pair)
