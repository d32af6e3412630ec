"""Memory while a million rows pass."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.stand import Stand
from tests.benchmarks.workers import Worker

_ROWS = 1_000_000


def _memory(stand: Stand, rounds: int) -> Sequence[Pair]:
    with Worker("rows", stand.url, str(_ROWS)) as worker:
        worker.answer()
        before = _resident(worker.pid)
        with _Greatest(worker.pid) as greatest:
            began = time.perf_counter()
            worker.send()
            (rows,) = worker.answer()
            took = time.perf_counter() - began
    assert rows == _ROWS
    note = f"{before:.1f} MiB before, {greatest.value:.1f} at most; {_ROWS / took:,.0f} rows/s"
    return [Pair([greatest.value - before], note=note)]


class _Greatest:
    """The greatest resident size of a process during a block, in MiB, looked at from outside it."""

    def __init__(self, pid: int) -> None:
        self.value = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Greatest:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.value = max(self.value, _resident(self._pid))


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


FIGURES = (
    Figure(
        "stream-memory",
        (Limit("memory while streaming 1,000,000 rows", "MiB more", 32),),
        _memory,
        needs=["stream"],
    ),
)
