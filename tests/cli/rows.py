"""The rows that load and search are tried with."""

from __future__ import annotations

import json
from typing import Any

from lightvec.pg8000 import connect

ROWS: list[dict[str, Any]] = [
    {"title": "a", "embedding": [1, 0, 0]},
    {"title": 'quote " and, comma', "embedding": [0, 1, 0]},
    {"title": None, "embedding": [0, 0.6, 0.8]},
]


def contents(url: str) -> list[Any]:
    """What is in the table ``doc``."""
    with connect(url) as conn:
        return conn.run("SELECT title, embedding FROM doc ORDER BY id") or []


def expected() -> list[Any]:
    """What is to be in it."""
    return [[row["title"], row["embedding"]] for row in ROWS]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
