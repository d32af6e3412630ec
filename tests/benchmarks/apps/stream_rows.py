"""Stream rows: ``[0]`` on stdout when connected and warm, then the row count of each line on stdin."""

from __future__ import annotations

import json
import sys
from typing import Any

from lightvec import connect

_SQL = "SELECT g, 'row ' || g, '[1,2,3,4,5,6,7,8]'::vector FROM generate_series(1, :count) g"


def main(url: str, count: int) -> None:
    """Serve rounds until stdin ends."""
    conn: Any
    with connect(url) as conn:
        _stream(conn, 10)
        print(json.dumps([0]), flush=True)
        for _ in sys.stdin:
            print(json.dumps([_stream(conn, count)]), flush=True)


def _stream(conn: Any, count: int) -> int:
    return sum(1 for _ in conn.stream(_SQL, count=count, batch=1_000))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
