"""COPY in: a matrix, and plain lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightvec.server import binaries
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.measuring import Sample, cpus, in_turn, rates, timed
from tests.benchmarks.stand import ROWS, Stand, write_rows
from tests.benchmarks.workers import Worker

#: As many lists of floats as fit into memory without crowding it: one of 768 floats takes 24 KB.
LISTS = 5_000

_PSYCOPG = "psycopg 3 (C) write_row"


def _matrix(stand: Stand, rounds: int) -> Sequence[Pair]:
    stand.make_table("copied")
    numbers = stand.ids.tolist()
    with stand.lightvec() as conn, stand.psycopg() as peer:

        def empty() -> None:
            conn.run("TRUNCATE copied")

        ours, theirs = in_turn(
            rounds,
            lambda: timed(lambda: _copy_columns(conn, stand), empty),
            lambda: timed(lambda: write_rows(peer, "copied", numbers, stand.matrix), empty),
        )
    return [
        Pair(rates(ours, ROWS), rates(theirs, ROWS)),
        Pair(cpus(ours, 1e6 / ROWS), cpus(theirs, 1e6 / ROWS)),
    ]


def _against_psql(stand: Stand, rounds: int) -> Sequence[Pair]:
    stand.make_table("copied")
    stand.fill("copied")
    file = stand.folder / "copied.bin"
    with stand.lightvec() as conn:
        with file.open("wb") as target:
            conn.run("COPY copied TO STDOUT (FORMAT binary)", stream=target)

        def empty() -> None:
            conn.run("TRUNCATE copied")

        def theirs_once() -> Sample:
            empty()
            return _psql_copy(stand.url, "copied", file)

        ours, theirs = in_turn(rounds, lambda: timed(lambda: _copy_columns(conn, stand), empty), theirs_once)
    file.unlink()
    return [Pair(rates(ours, ROWS), rates(theirs, ROWS))]


def _lists(stand: Stand, rounds: int) -> Sequence[Pair]:
    for table in ("copied", "copied_lists"):
        stand.make_table(table)
    rows = list(stand.matrix[:LISTS])
    with stand.lightvec() as conn, stand.psycopg() as peer, Worker("lists", stand.url, str(LISTS)) as worker:
        ours, theirs = in_turn(
            rounds,
            worker,
            lambda: timed(lambda: write_rows(peer, "copied", range(LISTS), rows), lambda: conn.run("TRUNCATE copied")),
        )
    return [Pair(rates(ours, LISTS), rates(theirs, LISTS))]


def _copy_columns(conn: Any, stand: Stand) -> None:
    copied = conn.copy_columns("copied", {"id": stand.ids, "embedding": stand.matrix})
    assert copied == ROWS


def _psql_copy(url: str, table: str, file: Path) -> Sample:
    """psql's own ``\\copy``, by psql's own clock: its start is not counted."""
    done = subprocess.run(
        [
            binaries.find() / "psql",
            url,
            *("--no-psqlrc", "-v", "ON_ERROR_STOP=1"),
            *("-c", r"\timing on"),
            *("-c", rf"\copy {table} from '{file}' with (format binary)"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C"},
    )
    found = re.search(r"^Time: ([\d.]+) ms", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return Sample(float(found[1]) / 1_000, 0)


FIGURES = (
    Figure(
        "copy-matrix",
        (
            Limit("COPY in of a 768-d float32 matrix", "rows/s", 1.15, _PSYCOPG, at_least=True),
            Limit("  client CPU of it", "µs/row", 0.5, _PSYCOPG),
        ),
        _matrix,
        rounds=15,
        needs=["copy_columns"],
    ),
    Figure(
        "copy-psql",
        (Limit("the same", "rows/s", 1.0, r"psql \copy, finished file", at_least=True),),
        _against_psql,
        rounds=15,
        needs=["copy_columns"],
    ),
    Figure(
        "copy-lists",
        (Limit("COPY in of plain lists, no NumPy", "rows/s", 0.8, "psycopg 3 (C), NumPy rows", at_least=True),),
        _lists,
        rounds=15,
        needs=["copy_rows"],
    ),
)
