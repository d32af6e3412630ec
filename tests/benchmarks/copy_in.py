"""COPY in of a matrix, and of plain lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightvec.server import programs
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.timing import Sample, alternate, cpus, rates, timed
from tests.benchmarks.workbench import ROWS, Workbench, write_rows
from tests.benchmarks.workers import Worker

#: Lists of 768 floats take 24 KB each: these, 120 MB.
LISTS = 5_000

_PSYCOPG = "psycopg 3 (C) write_row"


def _matrix(bench: Workbench, rounds: int) -> Sequence[Pair]:
    bench.make_table("copied")
    numbers = bench.ids.tolist()
    with bench.lightvec() as conn, bench.psycopg() as peer:
        empty = partial(conn.run, "TRUNCATE copied")
        ours, theirs = alternate(
            rounds,
            lambda: timed(lambda: _copy_columns(conn, bench), empty),
            lambda: timed(lambda: write_rows(peer, "copied", numbers, bench.matrix), empty),
        )
    return [
        Pair(rates(ours, ROWS), rates(theirs, ROWS)),
        Pair(cpus(ours, 1e6 / ROWS), cpus(theirs, 1e6 / ROWS)),
    ]


def _against_psql(bench: Workbench, rounds: int) -> Sequence[Pair]:
    bench.make_table("copied")
    bench.fill("copied")
    file = bench.folder / "copied.bin"
    with bench.lightvec() as conn:
        with file.open("wb") as target:
            conn.run("COPY copied TO STDOUT (FORMAT binary)", stream=target)
        empty = partial(conn.run, "TRUNCATE copied")

        def psql() -> Sample:
            empty()
            return _psql_copy(bench.url, "copied", file)

        ours, theirs = alternate(rounds, lambda: timed(lambda: _copy_columns(conn, bench), empty), psql)
    file.unlink()
    return [Pair(rates(ours, ROWS), rates(theirs, ROWS))]


def _lists(bench: Workbench, rounds: int) -> Sequence[Pair]:
    for table in ("copied", "copied_lists"):
        bench.make_table(table)
    rows = list(bench.matrix[:LISTS])
    with (
        bench.lightvec() as conn,
        bench.psycopg() as peer,
        Worker("copy_lists", bench.url, str(LISTS)) as worker,
    ):
        empty = partial(conn.run, "TRUNCATE copied")
        ours, theirs = alternate(
            rounds,
            worker,
            lambda: timed(lambda: write_rows(peer, "copied", range(LISTS), rows), empty),
        )
    return [Pair(rates(ours, LISTS), rates(theirs, LISTS))]


def _copy_columns(conn: Any, bench: Workbench) -> None:
    copied = conn.copy_columns("copied", {"id": bench.ids, "embedding": bench.matrix})
    assert copied == ROWS


def _psql_copy(url: str, table: str, file: Path) -> Sample:
    r"""psql's ``\copy``, timed by psql itself, which excludes its start."""
    done = subprocess.run(
        [
            programs.find() / "psql",
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
            Limit("  client CPU", "µs/row", 0.4, _PSYCOPG),
        ),
        _matrix,
        rounds=15,
    ),
    Figure(
        "copy-psql",
        (Limit("  the same", "rows/s", 1.0, r"psql \copy, finished file", at_least=True),),
        _against_psql,
        rounds=15,
    ),
    Figure(
        "copy-lists",
        (
            Limit(
                "COPY in of plain lists, no NumPy",
                "rows/s",
                0.85,
                "psycopg 3 (C), NumPy rows",
                at_least=True,
            ),
        ),
        _lists,
        rounds=15,
    ),
)
