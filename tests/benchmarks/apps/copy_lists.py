"""COPY in of plain lists without NumPy: one round for each line on stdin, its times on stdout."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

sys.modules["numpy"] = None  # type: ignore[assignment]  # makes its import fail

from lightvec import connect  # noqa: E402
from tests.benchmarks.timing import timed  # noqa: E402


def main(url: str, count: int) -> None:
    """Serve rounds until stdin ends."""
    numbers = random.Random(7)
    rows = [(index, [numbers.gauss(0, 1) for _ in range(768)]) for index in range(count)]
    conn: Any
    with connect(url) as conn:
        for _ in sys.stdin:
            sample = timed(
                lambda: conn.copy_rows("copied_lists", ["id", "embedding"], rows),
                lambda: conn.run("TRUNCATE copied_lists"),
            )
            print(json.dumps(sample), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
