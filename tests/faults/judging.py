"""What must hold however a connection breaks: an error of ours in time, all or nothing, good or closed afterwards."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from threading import Timer
from typing import Any, NamedTuple

from lightvec.pg8000 import connect
from lightvec.wire.timeouts import GRACE
from tests.faults.proxy import STALL, Fault, Proxy
from tests.faults.scenarios import Row, Scenario

__all__ = ["STALLED", "TALLY", "Extent", "measured", "tried"]

#: Seconds for a server that says nothing any more, and what a busy machine may take on top of that.
STALLED, _SLACK = 0.5, 5.0
#: Seconds after which a run hangs; it is freed then, and wrong.
_LONG = 15.0
#: How often a trial is run that ended before its fault.
_ATTEMPTS = 3


class Tally:
    """How much was tried in this run."""

    def __init__(self) -> None:
        self.cuts = self.stalls = self.wrong = 0

    def __str__(self) -> str:
        return f"faults: {self.cuts:,} cuts and {self.stalls:,} stalls, {self.wrong:,} wrong"


TALLY = Tally()

#: All of as many digits, so that what is sent is as long.
_runs = count(100_000)


class _NothingBroken(AssertionError):
    """The work ended before the place of the fault."""


class Trial(NamedTuple):
    """A scenario, and what is to happen to its connection."""

    scenario: Scenario
    fault: Fault | None


class Outcome(NamedTuple):
    """How a trial ended: the number of its run, the error if that was it, and what was wrong with it."""

    trial: Trial
    run: int
    error: Exception | None = None
    wrong: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the error says that it is not known what took effect; Peewee's has the driver's in it."""
        return bool(getattr(getattr(self.error, "orig", self.error), "in_doubt", False))

    def judged(self, standing: Sequence[Row]) -> str | None:
        """What is wrong with it, by the rows that stand."""
        whole = self.trial.scenario.written(self.run)
        allowed = [whole] if self.error is None else [[], whole] if self.in_doubt else [[]]
        wrong = self.wrong
        if wrong is None and standing not in allowed:
            wrong = f"{len(standing)} rows of {len(whole)} stand, and that is {'' if self.in_doubt else 'not '}in doubt"
        elif wrong is None and self.in_doubt != ("is not known" in str(self.error)):
            wrong = "it is not said that it is in doubt, or is where it is not"
        return wrong and f"{self.trial.scenario.name}, {self.trial.fault}, {self.error!r}: {wrong}"


class Extent(NamedTuple):
    """How many bytes each side had said when the connection was logged in, and at the end."""

    logged_in: dict[str, int]
    done: dict[str, int]

    def places(self, side: str, most: int, *, with_login: bool) -> list[int]:
        """Places to break it, so many or one more, or one behind each byte; the first and the last are among them."""
        first, last = (0 if with_login else self.logged_in[side]), self.done[side]
        return sorted({*range(first, last, max(1, (last - first) // most)), last})


def measured(scenario: Scenario, url: str, piece: int = 1 << 16) -> Extent:
    """Run it with nothing broken; all must be right."""
    run = next(_runs)
    with Proxy(url, piece=piece) as proxy:
        opened = scenario.kind.open(_through(proxy, scenario))
        scenario.kind.log_in(opened)
        logged_in = dict(proxy.passed[0])
        scenario.work(opened, run)
        done = dict(proxy.passed[0])
        scenario.kind.check_after(opened, run)
        scenario.kind.close(opened)
    assert _judged([Outcome(Trial(scenario, None), run)], url) == []
    return Extent(logged_in, done)


def tried(trials: Iterable[Trial], url: str, threads: int = 1) -> list[str]:
    """Run them, so many beside each other; what was wrong."""
    with ThreadPoolExecutor(threads) as executor:
        outcomes = list(executor.map(lambda trial: _ran(trial, url), trials))
    stalls = sum(outcome.trial.fault is not None and outcome.trial.fault.how == STALL for outcome in outcomes)
    wrong = _judged(outcomes, url)
    TALLY.stalls += stalls
    TALLY.cuts += len(outcomes) - stalls
    TALLY.wrong += len(wrong)
    return wrong


def _ran(trial: Trial, url: str) -> Outcome:
    """Run it; again where a busy machine took so long that a limit ended it before anything was broken."""
    for _ in range(_ATTEMPTS):
        with suppress(_NothingBroken):
            return _attempted(trial, url)
    return Outcome(trial, next(_runs), wrong="nothing was broken")


def _attempted(trial: Trial, url: str) -> Outcome:
    run, error = next(_runs), None
    try:
        with Proxy(url, trial.fault) as proxy:
            # Who waits for ever for the server is told that it has gone.
            freeing = Timer(_LONG, proxy.cut)
            freeing.start()
            try:
                error = _worked(trial, proxy, run)
            finally:
                freeing.cancel()
    except _NothingBroken:
        raise
    except Exception:
        return Outcome(trial, run, error, traceback.format_exc())
    _let_go(error)
    return Outcome(trial, run, error)


def _let_go(error: Any) -> None:
    """Forget the way that an error came: the frames hold connections with their buffers, and there are thousands."""
    while error is not None:
        error.__traceback__ = None
        _let_go(getattr(error, "orig", None))
        error = error.__cause__ or error.__context__


def _worked(trial: Trial, proxy: Proxy, run: int) -> Exception | None:
    """The error with which the work ended, if it did; all that can be seen from here must be as it should."""
    kind, stalls = trial.scenario.kind, trial.fault is not None and trial.fault.how == STALL
    limits: dict[str, Any] = {"connect_timeout": STALLED, "command_timeout": STALLED} if stalls else {}
    error: Exception | None = None
    begun = time.monotonic()
    try:
        opened = kind.open(_through(proxy, trial.scenario), **limits)
    except kind.errors as failed:
        _check_broken(proxy)
        return failed
    try:
        kind.log_in(opened)
        trial.scenario.work(opened, run)
    except kind.errors as failed:
        error = failed
    seconds = time.monotonic() - begun
    _check_broken(proxy)
    assert seconds < (STALLED + GRACE if stalls else 0) + _SLACK, f"it took {seconds:.1f} s"
    if stalls and error is None:
        # What fell silent at the very end is noticed at its next use.
        with suppress(kind.errors):
            kind.ask(opened, run)
    kind.check_after(opened, run)
    kind.close(opened)
    return error


def _check_broken(proxy: Proxy) -> None:
    if not proxy.strikes():
        raise _NothingBroken


def _judged(outcomes: Sequence[Outcome], url: str) -> list[str]:
    """What was wrong, by what is seen on a connection of its own when all of them are over."""
    standing: dict[int, list[Row]] = {outcome.run: [] for outcome in outcomes}
    with connect(url) as direct:
        sql = "SELECT run, id, text, embedding FROM faults_written WHERE run = ANY(:runs) ORDER BY run, id"
        for run, number, text, embedding in direct.run(sql, runs=list(standing)) or []:
            standing[run].append((run, number, text, embedding))
    return [wrong for outcome in outcomes if (wrong := outcome.judged(standing[outcome.run])) is not None]


def _through(proxy: Proxy, scenario: Scenario) -> str:
    """The way through the proxy. The request for TLS is part of the login."""
    return proxy.url if scenario.with_login else f"{proxy.url}?sslmode=disable"
