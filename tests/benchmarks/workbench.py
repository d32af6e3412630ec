"""The server, the connections to it and the data that the figures share."""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import lightvec
from lightvec.pg8000 import Connection, connect
from lightvec.server import Server
from tests.places import free_port, open_folder

ROOT = Path(__file__).parents[2]
WORDNET = ROOT / "examples" / "data" / "wordnet"

#: Enough rows for a round of a few tenths of a second.
ROWS, DIMENSIONS = 20_000, 768

#: Keeps the disk, checkpoints and vacuum, which are not measured, out of the rounds.
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
}

#: For TCP, where the server asks for one. It listens on the loopback interface only.
_PASSWORD = "bench"


def clear_environment() -> None:
    """Unset the variables that say which database to use."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    for name in ("DATABASE_URL", "LIGHTVEC_URL"):
        os.environ.pop(name, None)


@contextmanager
def open_workbench() -> Iterator[Workbench]:
    """A server in a temporary folder."""
    clear_environment()
    folder = open_folder("bench")
    try:
        port = free_port()
        listening = {"listen_addresses": "127.0.0.1", "port": str(port)}
        with Server(folder / "db", settings=_SETTINGS | listening) as server:
            yield Workbench(server, folder, f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    finally:
        shutil.rmtree(folder)


class Workbench:
    """A server, connections to it and data. Tables are created when they are first used."""

    def __init__(self, server: Server, folder: Path, tcp: str) -> None:
        self.url = server.url
        self._postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
        self.folder = folder
        self._tcp = tcp
        self._port = server.port
        self._socket = f"{server.socket_folder}/.s.PGSQL.{server.port}"
        with self.lightvec() as conn:
            conn.run(f"CREATE EXTENSION IF NOT EXISTS vector; ALTER ROLE postgres PASSWORD '{_PASSWORD}'")
            self.versions = _versions(conn)

    @contextmanager
    def one_core(self) -> Iterator[None]:
        """Run this process and the server processes that begin in the block on one core (Linux).

        On two, the time of a query depends on which core each side gets: 20 or 60 µs.
        """
        cores = os.sched_getaffinity(0)
        try:
            for process in (0, self._postmaster):
                os.sched_setaffinity(process, {min(cores)})
            yield
        finally:
            for process in (0, self._postmaster):
                os.sched_setaffinity(process, cores)

    def lightvec(self, *, tcp: bool = False, **options: Any) -> Connection:
        """A connection of lightvec's, over a Unix socket or over TCP."""
        return connect(self._tcp if tcp else self.url, password=_PASSWORD, **options)

    def psycopg(self, *, tcp: bool = False, **options: Any) -> Any:
        """A connection of psycopg 3 with its C part, with pgvector's types."""
        psycopg, pgvector = import_module("psycopg"), import_module("pgvector.psycopg")
        if psycopg.pq.__impl__ == "python":
            raise RuntimeError("psycopg runs without its C part: install 'psycopg[binary]'")
        conn = psycopg.connect(self._tcp if tcp else self.url, password=_PASSWORD, autocommit=True, **options)
        pgvector.register_vector(conn)
        return conn

    def pg8000(self, *, tcp: bool = False) -> Any:
        """A connection of plain pg8000 with pgvector's adapter."""
        where = {"host": "127.0.0.1", "port": self._port} if tcp else {"unix_sock": self._socket}
        conn = import_module("pg8000.native").Connection("postgres", password=_PASSWORD, **where)
        import_module("pgvector.pg8000").register_vector(conn)
        return conn

    @cached_property
    def ids(self) -> Any:
        """A number for each row of the matrix."""
        return np.arange(ROWS, dtype=np.int32)

    @cached_property
    def matrix(self) -> Any:
        """Vectors of a common embedding model's size."""
        return np.random.default_rng(7).standard_normal((ROWS, DIMENSIONS), dtype=np.float32)

    def make_table(self, name: str) -> None:
        """Create an empty table of numbers and vectors, in place of one that exists.

        Unlogged: with WAL, one and the same side varied from 55,000 to 75,000 rows/s within a run.
        Vectors keep the default storage (TOAST); inline, COPY takes half the time on both sides.
        """
        with self.lightvec() as conn:
            conn.run(
                f"DROP TABLE IF EXISTS {name}; CREATE UNLOGGED TABLE {name} (id int, embedding vector({DIMENSIONS}))"
            )

    def fill(self, name: str) -> None:
        """Load the matrix into a table."""
        with self.psycopg() as conn:
            write_rows(conn, name, self.ids.tolist(), self.matrix)

    @cached_property
    def glosses(self) -> str:
        """The name of a table of 2,000 WordNet definitions and their embeddings, with an HNSW index."""
        with gzip.open(WORDNET / "glosses.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        vectors = np.load(WORDNET / "base.f16.npy").astype(np.float32)
        columns = ("id", "synset", "lemma", "pos", "category", "text")
        with self.psycopg() as conn:
            conn.execute(
                "CREATE TABLE gloss (id int PRIMARY KEY, synset text, lemma text, pos text, "
                f"category text, text text, embedding vector({vectors.shape[1]}))"
            )
            with conn.cursor() as cursor, cursor.copy("COPY gloss FROM STDIN") as copy:
                for row, vector in zip(rows, vectors, strict=True):
                    copy.write_row([*(row[column] for column in columns), vector])
            conn.execute("CREATE INDEX ON gloss USING hnsw (embedding vector_cosine_ops)")
            conn.execute("VACUUM ANALYZE gloss")
        return "gloss"

    @cached_property
    def searches(self) -> Any:
        """A matrix of embeddings to search for; the table of definitions has none of them."""
        return np.load(WORDNET / "queries.f16.npy").astype(np.float32)


def write_rows(conn: Any, table: str, ids: Any, vectors: Any) -> None:
    """Load rows by psycopg 3's binary COPY, as pgvector's documentation shows it."""
    statement = f"COPY {table} (id, embedding) FROM STDIN (FORMAT binary)"
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["int4", "vector"])
        for row in zip(ids, vectors, strict=True):
            copy.write_row(row)


def _versions(conn: Connection) -> dict[str, str]:
    rows = conn.run("SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'")
    (server, extension), *_ = rows or [["", ""]]
    packages = ("psycopg", "psycopg2-binary", "pg8000", "peewee", "numpy")
    return {
        "lightvec": lightvec.__version__,
        "Python": platform.python_version(),
        "PostgreSQL": server,
        "pgvector": extension,
        **{name: version(name) for name in packages},
        "cores": str(len(os.sched_getaffinity(0))),
    }
