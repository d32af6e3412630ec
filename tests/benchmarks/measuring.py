"""Clocks, and sides that take turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """One round of one side: seconds by the clock, and seconds of CPU of the client (C code included)."""

    wall: float
    cpu: float


Side = Callable[[], Sample]


def timed(action: Callable[[], Any], before: Callable[[], Any] | None = None) -> Sample:
    """Run an action once; ``before`` runs outside the clocks.

    Garbage is collected before and not switched off: what a side leaves to the collector is part of its price.
    """
    if before is not None:
        before()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    kept = action()
    sample = Sample(time.perf_counter() - wall, time.process_time() - cpu)
    del kept  # Its memory is given back outside the clocks on either side.
    return sample


def in_turn(rounds: int, *sides: Side) -> list[list[Sample]]:
    """The samples of each side, after one round each that does not count."""
    for side in sides:
        side()
    # What stands already is not looked through again in every collection.
    gc.collect()
    gc.freeze()
    samples = [[side() for side in sides] for _ in range(rounds)]
    gc.unfreeze()
    return [list(column) for column in zip(*samples, strict=True)]


def walls(samples: list[Sample], scale: float = 1.0) -> list[float]:
    """The clock's times, multiplied."""
    return [sample.wall * scale for sample in samples]


def cpus(samples: list[Sample], scale: float = 1.0) -> list[float]:
    """The client's CPU times, multiplied."""
    return [sample.cpu * scale for sample in samples]


def rates(samples: list[Sample], count: int) -> list[float]:
    """How many of ``count`` things a second."""
    return [count / sample.wall for sample in samples]
