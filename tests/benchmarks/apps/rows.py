"""Stream rows: ``[0]`` when connected and warm, then for a line on stdin the number of rows that passed."""

from __future__ import annotations

import json
import sys
from typing import Any

from lightvec import connect

_SQL = "SELECT g, 'row ' || g, '[1,2,3,4,5,6,7,8]'::vector FROM generate_series(1, :count) g"


def main(url: str, count: int) -> None:
    """Wait for lines until there are no more."""
    conn: Any
    with connect(url) as conn:
        _passed(conn, 10)
        print(json.dumps([0]), flush=True)
        for _ in sys.stdin:
            print(json.dumps([_passed(conn, count)]), flush=True)


def _passed(conn: Any, count: int) -> int:
    return sum(1 for _ in conn.stream(_SQL, count=count, batch=1_000))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
