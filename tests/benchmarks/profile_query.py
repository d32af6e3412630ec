"""Where the time of a query goes, on one core: ``python -m tests.benchmarks.profile_query``."""

from __future__ import annotations

from cProfile import Profile
from functools import partial
from pathlib import Path
from types import CodeType

from tests.benchmarks.timing import repeated
from tests.benchmarks.workbench import open_workbench

_COUNT = 20_000


def main() -> None:
    """Print the time of a query, then that of each function in it.

    The profiler adds to the time of every call: use its numbers to compare functions.
    """
    with open_workbench() as bench, bench.one_core(), bench.lightvec() as conn:
        query = partial(conn.run, "SELECT :v::vector IS NULL", v=bench.matrix[0])
        repeated(query, 1_000)
        print(f"{repeated(query, _COUNT).wall * 1e6:.1f} µs a query\n\n   calls  own µs   total")
        with Profile() as profile:
            for _ in range(_COUNT):
                query()
    entries = sorted(profile.getstats(), key=lambda entry: entry.inlinetime, reverse=True)
    for entry in entries[:30]:
        own, total = entry.inlinetime * 1e6 / _COUNT, entry.totaltime * 1e6 / _COUNT
        print(f"{entry.callcount / _COUNT:8.1f}{own:8.2f}{total:8.2f}  {_name(entry.code)}")


def _name(code: object) -> str:
    if isinstance(code, CodeType):
        return f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_name}"
    return str(code)


if __name__ == "__main__":
    main()
