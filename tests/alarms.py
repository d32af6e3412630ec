"""Errors that a signal handler raises, in the middle of whatever runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def alarm(seconds: float, error: BaseException) -> Iterator[None]:
    """Have a signal handler raise it."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise error

    former = signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
