"""What must hold whatever a server says: an error of ours or a right answer, soon, and no connection out of step."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings

from lightvec.errors import LightvecError
from lightvec.pg8000.connection import BaseConnection
from tests.alarms import alarm
from tests.fuzz.messages import answer, rows
from tests.fuzz.player import PlayedSocket
from tests.scale import SOAK, scaled

__all__ = ["TALLY", "check_in_step", "in_memory", "in_time", "tried"]


class Tally:
    """How much was tried in this run."""

    def __init__(self) -> None:
        self.times = self.size = 0

    def count(self, *pieces: bytes) -> None:
        """One more time, with these bytes."""
        self.times += 1
        self.size += sum(map(len, pieces))

    def __str__(self) -> str:
        return f"hostile input: {self.times:,} times, {self.size:,} bytes"


TALLY = Tally()

#: Seconds that nothing here may take, on a machine that is busy with something else.
_LONG = 10.0
_NONCE = b"the answer to this very statement"


@contextmanager
def in_time(seconds: float = _LONG, what: str = "it") -> Iterator[None]:
    """Fail when the block takes longer, also where it would never end."""

    with alarm(seconds, TakesTooLong(f"{what} takes longer than {seconds:g} s")):
        yield


class TakesTooLong(BaseException):
    """No Exception, so that what is tried does not take it for one of its own."""


@contextmanager
def in_memory(most: int) -> Iterator[None]:
    """Fail when the block has had more bytes than this at once."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak <= most, f"{peak:,} bytes were allocated"


def check_in_step(connection: BaseConnection, played: PlayedSocket) -> None:
    """The connection is closed, or the answer to the next statement is its answer."""
    if connection.closed:
        return
    played.play(answer(rows(_NONCE)))
    try:
        result = connection.execute_unnamed("SHOW probe")
    except LightvecError:
        return
    assert [tuple(row) for row in result.rows or ()] == [(_NONCE.decode(),)], "the answer is that to another statement"


def tried(usual: int, soak: int) -> Callable[[Any], Any]:
    """So many examples: the same ones in each usual run, others in each long one."""
    return settings(
        max_examples=scaled(usual, soak),
        derandomize=not SOAK,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
