"""Loading big files: streamed by binary COPY, with progress and bounded memory, all of it or nothing.

    python -m examples.load_big_file [ROWS]

It prints::

    50,000 texts and embeddings in two files, 42 MB
    50,000 rows from a generator, … rows/s
    … MiB of memory for that
    1,000 of them again, over the rows with the same key
    a file that breaks off: Line: row 25,001, field 'embedding': …
    0 rows of that are in the table
    25,000 rows from a matrix of (25000, 384), … rows/s
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
from numpy.typing import NDArray
from peewee import IntegerField, Model, TextField

import lightvec
from examples.wordnet import read_glosses
from lightvec.errors import LightvecError
from lightvec.peewee import HalfVectorField, Pg8000Database

URL = os.environ.get("DATABASE_URL", "embedded:.lightvec")
DIMENSIONS = 384
database = Pg8000Database(URL)


class Line(Model):
    """A text and its embedding. An index is made after the load (`lightvec create-index`), which is quicker."""

    id = IntegerField(primary_key=True)
    text = TextField()
    embedding = HalfVectorField(DIMENSIONS, metric="cosine")

    class Meta:
        database = database
        table_name = "example_line"


def main(rows: int = 50_000) -> None:
    """Write big files and load them, in each of the ways there are."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Line])
    database.create_tables([Line])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{rows:,} texts and embeddings in two files, {size / 1e6:.0f} MB")

        before, began = memory(), time.perf_counter()
        count = database.copy_rows(Line, read(folder), progress=report)
        print(f"{count:,} rows from a generator, {count / (time.perf_counter() - began):,.0f} rows/s")
        print(f"{memory() - before:.0f} MiB of memory for that")

        count = database.copy_rows(Line, islice(read(folder), 1_000), on_conflict="update")
        print(f"{count:,} of them again, over the rows with the same key")

        with (folder / "embeddings.f16").open("r+b") as file:
            file.truncate(rows * DIMENSIONS)  # of two bytes each: half of it
        Line.truncate_table()
        try:
            database.copy_rows(Line, read(folder))
        except LightvecError as error:
            print(f"a file that breaks off: {error}")
        print(f"{Line.select().count()} rows of that are in the table")
        database.copy_rows(Line, islice(read(folder), rows // 2))
    copy_a_matrix()


def read(folder: Path) -> Iterator[tuple[int, str, NDArray[np.float16]]]:
    """The rows, one at a time: no more than that is ever in memory."""
    with (folder / "texts.txt").open(encoding="utf-8") as lines, (folder / "embeddings.f16").open("rb") as embeddings:
        for number, line in enumerate(lines):
            yield number, line.rstrip("\n"), np.frombuffer(embeddings.read(DIMENSIONS * 2), np.float16)


def copy_a_matrix() -> None:
    """Columns that are in memory anyway go in without work for each row: a two-dimensional array is a vector column."""
    with lightvec.connect(URL) as conn:
        columns = conn.fetch_columns("SELECT id, text, embedding FROM example_line")
        conn.run("TRUNCATE example_line")
        began = time.perf_counter()
        count = conn.copy_columns("example_line", columns)
        rate = count / (time.perf_counter() - began)
        print(f"{count:,} rows from a matrix of {columns['embedding'].shape}, {rate:,.0f} rows/s")


def report(count: int) -> None:
    """How far it is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{count:,} rows", end="", file=sys.stderr)


def write(folder: Path, rows: int) -> None:
    """The 2,000 definitions over and over."""
    glosses = [(row["text"], row["embedding"].tobytes()) for row in read_glosses()]
    with (folder / "texts.txt").open("w", encoding="utf-8") as lines, (folder / "embeddings.f16").open("wb") as file:
        for text, embedding in islice(cycle(glosses), rows):
            lines.write(f"{text}\n")
            file.write(embedding)


def memory() -> float:
    """The most memory that the process has had so far, in MiB."""
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024 / 1024


if __name__ == "__main__":
    with database.connection_context():
        main(*map(int, sys.argv[1:]))
