"""``make bench-scale``: the pieces that docs/scale.md is computed from, measured; ``--write`` puts them there.

    python -m tests.benchmarks.scale [--write] [--rows N] [--vectors FILE.npy]

The server has fsync on, as PostgreSQL has. Vectors are the 2,000 definitions of examples/data, each many times with
noise of its own size, or those of a file; of 1,536 dimensions four times the 384 behind one another, which leaves their
distances as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from examples import scale
from lightvec.cli import main as lightvec_command
from lightvec.peewee import HnswIndex, Pg8000Database
from lightvec.peewee.estimates import estimate
from lightvec.peewee.reflect import model_of, vector_field
from lightvec.pg8000 import Connection, connect
from lightvec.server import Server
from tests.benchmarks.workbench import WORDNET, clear_environment

__all__ = ["main"]

ROUNDS = 3

#: Room for every graph that is built here. The rest is PostgreSQL's, but that nothing comes in between.
SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "shared_buffers": "1GB",
}

Constants = dict[str, float]


class Bench:
    """A server and the vectors."""

    def __init__(self, url: str, folder: Path, vectors: Any) -> None:
        self.url = url
        self.folder = folder
        self._vectors = vectors
        self.conn: Connection = connect(url)
        self.conn.run("CREATE EXTENSION IF NOT EXISTS vector")

    def vectors(self, dimensions: int, rows: int) -> Any:
        """So many, of so many dimensions."""
        return np.tile(self._vectors[:rows], (1, dimensions // self._vectors.shape[1]))

    def fill(self, form: str, dimensions: int, rows: int, *, empty: bool = True) -> float:
        """Load a table of this form; the seconds that took."""
        if empty:
            self.make(form, dimensions)
        columns = {"id": np.arange(rows), "v": self.vectors(dimensions, rows)}
        begun = time.perf_counter()
        self.conn.copy_columns("t", columns)
        return time.perf_counter() - begun

    def make(self, form: str, dimensions: int) -> None:
        """An empty table."""
        column = "halfvec" if form == "halfvec" else "vector"
        self.conn.run(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v {column}({dimensions}))")

    def build(self, form: str, dimensions: int, memory: str = "1GB") -> float:
        """Build the index of this form; the seconds that took."""
        indexed = {
            "vector": "v vector_cosine_ops",
            "halfvec": "v halfvec_cosine_ops",
            "bit": f"(binary_quantize(v)::bit({dimensions})) bit_hamming_ops",
        }[form]
        self.conn.run(f"SET maintenance_work_mem = '{memory}'")
        begun = time.perf_counter()
        self.conn.run(f"CREATE INDEX built ON t USING hnsw ({indexed})")
        return time.perf_counter() - begun

    def size(self, what: str) -> int:
        """Bytes by one of PostgreSQL's size functions."""
        ((size,),) = self.conn.run(f"SELECT {what}")
        return int(size)


def measured(bench: Bench, rows: int) -> Constants:
    """Every constant of the page."""
    constants: Constants = {"cores": os.cpu_count() or 1}
    for dimensions in scale.DIMENSIONS:
        for form in scale.FORMS:
            constants |= _sizes_and_builds(bench, form, dimensions, rows)
        constants |= _load_rates(bench, dimensions, rows)
    constants |= _plain(bench, rows // 3)
    constants |= _cliff(bench, rows)
    constants |= _other_loads(bench, rows)
    return constants


def _sizes_and_builds(bench: Bench, form: str, dimensions: int, rows: int) -> Constants:
    """At two sizes. Vectors of 1,536 dimensions take four times as long, so that there are fewer."""
    found: Constants = {}
    most = rows if dimensions < 1_000 else rows // 3
    for name, count in (("small", most // 3), ("large", most)):
        bench.fill(form, dimensions, count)
        key = f"{form} {dimensions}"
        found[f"rows {name} {key}"] = count
        found[f"table bytes {name} {key}"] = bench.size("pg_table_size('t')") / count
        found[f"key bytes {name} {key}"] = bench.size("pg_relation_size('t_pkey')") / count
        found[f"build s {name} {key}"] = bench.build(form, dimensions)
        found[f"index bytes {name} {key}"] = bench.size("pg_relation_size('built')") / count
        _say(f"{key}, {count:,} rows", found, name)
    found[f"graph bytes {form} {dimensions}"] = _graph_bytes(bench, form)
    return found


def _say(what: str, found: Constants, name: str) -> None:
    shown = {key.partition(f" {name}")[0]: round(value, 1) for key, value in found.items() if f" {name} " in key}
    print(f"{what}: {shown}", file=sys.stderr, flush=True)


def _graph_bytes(bench: Bench, form: str) -> float:
    """What a row takes in the graph while it is built, as ``lightvec create-index`` says."""
    database = Pg8000Database(bench.url)
    with database.connection_context():
        model = model_of(database, "t", None)
        quantize = "bit" if form == "bit" else None
        index = HnswIndex(vector_field(model, "v"), metric="cosine", quantize=quantize)
        found = estimate(database, index)
    return found.needed / found.rows


def _load_rates(bench: Bench, dimensions: int, rows: int) -> Constants:
    count = rows if dimensions < 1_000 else rows // 3
    seconds = [bench.fill("vector", dimensions, count) for _ in range(ROUNDS)]
    found = {f"load rows/s {dimensions}": count / median(seconds)}
    print({key: round(value) for key, value in found.items()}, file=sys.stderr, flush=True)
    return found


def _plain(bench: Bench, rows: int) -> Constants:
    """1,536 dimensions in the row itself instead of in TOAST: bytes a row, and how quickly they are loaded."""
    times = []
    for _ in range(ROUNDS):
        bench.make("vector", 1_536)
        bench.conn.run("ALTER TABLE t ALTER v SET STORAGE PLAIN")
        times.append(bench.fill("vector", 1_536, rows, empty=False))
    return {
        "table bytes plain 1536": bench.size("pg_table_size('t')") / rows,
        "load rows/s plain 1536": rows / median(times),
    }


def _cliff(bench: Bench, rows: int) -> Constants:
    """How many times as long a build takes whose graph has a fourth of the memory that it needs."""
    bench.fill("vector", 384, rows)
    whole = bench.build("vector", 384)
    bench.conn.run("DROP INDEX built")
    megabytes = max(int(_graph_bytes(bench, "vector") * rows / 4 / 1e6), 1)
    fourth = bench.build("vector", 384, f"{megabytes}MB")
    return {"cliff factor": fourth / whole}


def _other_loads(bench: Bench, rows: int) -> Constants:
    """Into a table with an index, and of a file of JSON lines by the command."""
    found: Constants = {}
    few = rows // 6
    file = bench.folder / "rows.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number, vector in enumerate(bench.vectors(384, few).tolist()):
            lines.write(json.dumps({"id": number, "v": vector}) + "\n")
    ways: dict[str, Callable[[], float]] = {
        "indexed": lambda: _indexed(bench, few),
        "JSON": lambda: _command(bench, file),
    }
    for name, load in ways.items():
        found[f"load rows/s {name}"] = few / median(load() for _ in range(ROUNDS))
    print({key: round(value) for key, value in found.items()}, file=sys.stderr, flush=True)
    return found


def _indexed(bench: Bench, rows: int) -> float:
    bench.make("vector", 384)
    bench.build("vector", 384)
    return bench.fill("vector", 384, rows, empty=False)


def _command(bench: Bench, file: Path) -> float:
    bench.make("vector", 384)
    arguments = ["load", "t", str(file), "--url", bench.url]
    begun = time.perf_counter()
    try:
        lightvec_command(arguments)
    except SystemExit as left:
        if left.code:
            raise
    return time.perf_counter() - begun


def many_vectors(rows: int) -> Any:
    """The definitions' embeddings, each many times, with noise as large as they are."""
    base = np.load(WORDNET / "base.f16.npy").astype(np.float32)
    places = np.arange(rows) % len(base)
    noise = np.random.default_rng(7).standard_normal((rows, base.shape[1]), dtype=np.float32)
    return base[places] + noise / np.sqrt(base.shape[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put constants and tables into docs/scale.md")
    parser.add_argument("--rows", type=int, default=30_000, help="rows of the largest table (default: 30,000)")
    parser.add_argument("--vectors", type=Path, help="a .npy matrix of 384 columns and at least so many rows")
    return parser


def main() -> int:
    """Measure, and print or write."""
    options = _parser().parse_args()
    clear_environment()
    vectors = many_vectors(options.rows) if options.vectors is None else np.load(options.vectors)[: options.rows]
    folder = Path(tempfile.mkdtemp(prefix="lightvec-scale-"))  # On a disk, not in memory.
    folder.chmod(0o755)
    try:
        with Server(folder / "db", settings=SETTINGS) as server:
            constants = measured(Bench(server.url, folder, vectors.astype(np.float32)), options.rows)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(constants), file=sys.stderr)
    page = scale.page(scale.with_constants(scale.PAGE.read_text(encoding="utf-8"), constants))
    if options.write:
        scale.PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
