"""Clocks, and sides measured alternately."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """One round of one side: seconds of wall time, and of CPU time of the client, C code included."""

    wall: float
    cpu: float


Side = Callable[[], Sample]


def timed(action: Callable[[], Any], before: Callable[[], Any] | None = None) -> Sample:
    """Time an action; ``before`` runs ahead of it, untimed.

    Garbage is collected ahead of it too. The collector stays on: the work that a side causes it is
    part of that side's cost.
    """
    if before is not None:
        before()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    kept = action()
    sample = Sample(time.perf_counter() - wall, time.process_time() - cpu)
    del kept  # Freed only now, so that freeing is untimed on both sides.
    return sample


def repeated(action: Callable[[], Any], count: int) -> Sample:
    """Time so many calls of an action; the sample is that of one call."""

    def calls() -> None:
        for _ in range(count):
            action()

    wall, cpu = timed(calls)
    return Sample(wall / count, cpu / count)


def alternate(rounds: int, *sides: Side) -> list[list[Sample]]:
    """The samples of each side, measured alternately. One round each, to warm up, is dropped."""
    for side in sides:
        side()
    # Collections during the rounds need not traverse the objects that exist already.
    gc.collect()
    gc.freeze()
    samples = [[side() for side in sides] for _ in range(rounds)]
    gc.unfreeze()
    return [list(column) for column in zip(*samples, strict=True)]


def walls(samples: list[Sample], scale: float) -> list[float]:
    """The wall times, multiplied by a factor."""
    return [sample.wall * scale for sample in samples]


def cpus(samples: list[Sample], scale: float) -> list[float]:
    """The client's CPU times, multiplied by a factor."""
    return [sample.cpu * scale for sample in samples]


def rates(samples: list[Sample], count: int) -> list[float]:
    """Items per second, if one sample is the time of ``count`` items."""
    return [count / sample.wall for sample in samples]
