"""Memory while a million rows are streamed."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.workbench import Workbench
from tests.benchmarks.workers import Worker

_ROWS = 1_000_000


def _memory(bench: Workbench, rounds: int) -> Sequence[Pair]:
    with Worker("stream_rows", bench.url, str(_ROWS)) as worker:
        worker.answer()  # It is connected and has streamed a few rows.
        before = _mebibytes(worker.pid, "VmRSS")
        began = time.perf_counter()
        worker.send()
        (rows,) = worker.answer()
        took = time.perf_counter() - began
        peak = _mebibytes(worker.pid, "VmHWM")
    assert rows == _ROWS
    note = f"{before:.1f} MiB before, peak {peak:.1f}; {_ROWS / took:,.0f} rows/s"
    return [Pair([peak - before], note=note)]


def _mebibytes(pid: int, name: str) -> float:
    """A size in a process's status. Not ru_maxrss: in a child it starts at the parent's size."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) / 1024


FIGURES = (Figure("stream", (Limit("memory while streaming 1,000,000 rows", "MiB more", 8),), _memory),)
