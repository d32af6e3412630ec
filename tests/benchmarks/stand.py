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

#: The disk, checkpoints and vacuum come and go as they like: they are not what is measured.
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
}


#: The server's, for a connection over TCP; it is reached from this machine only, and goes away.
PASSWORD = "bench"


@contextmanager
def open_stand() -> Iterator[Stand]:
    """A server in a folder that goes away."""
    folder = open_folder("bench")
    try:
        port = free_port()
        listening = {"listen_addresses": "127.0.0.1", "port": str(port)}
        with Server(folder / "db", settings=_SETTINGS | listening) as server:
            yield Stand(server, folder, f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    finally:
        shutil.rmtree(folder)


class Stand:
    """Where the figures are measured. Tables are made when they are first asked for."""

    def __init__(self, server: Server, folder: Path, tcp: str) -> None:
        self.url = server.url
        self.tcp = tcp
        self.folder = folder
        self._port = server.port
        self._socket = f"{server.socket_folder}/.s.PGSQL.{server.port}"
        with self.lightvec() as conn:
            # The server asks for a password over TCP.
            conn.run(f"CREATE EXTENSION vector; ALTER ROLE postgres PASSWORD '{PASSWORD}'")
            self.versions = _versions(conn)

    def lightvec(self, *, tcp: bool = False) -> Connection:
        """A connection of lightvec's, over a Unix socket or over TCP."""
        return connect(self.tcp, password=PASSWORD) if tcp else connect(self.url)

    def psycopg(self, *, tcp: bool = False) -> Any:
        """A connection of psycopg 3 with its C part, with pgvector's types."""
        psycopg, pgvector = import_module("psycopg"), import_module("pgvector.psycopg")
        if psycopg.pq.__impl__ == "python":
            raise RuntimeError("psycopg runs without its C part: install 'psycopg[binary]'")
        conn = psycopg.connect(self.tcp if tcp else self.url, password=PASSWORD, autocommit=True)
        pgvector.register_vector(conn)
        return conn

    def pg8000(self, *, tcp: bool = False) -> Any:
        """A connection of plain pg8000 with pgvector's adapter."""
        where = {"host": "127.0.0.1", "port": self._port} if tcp else {"unix_sock": self._socket}
        conn = import_module("pg8000.native").Connection("postgres", password=PASSWORD, **where)
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
        """An empty table of numbers and vectors.

        Unlogged: with a log one and the same side took from 55,000 to 75,000 rows/s in one run. Vectors are stored as
        they are by default (outside of the row); in it, COPY takes half the time on either side.
        """
        with self.lightvec() as conn:
            conn.run(
                f"DROP TABLE IF EXISTS {name}; CREATE UNLOGGED TABLE {name} (id int, embedding vector({DIMENSIONS}))"
            )

    def fill(self, name: str) -> None:
        """Put the matrix into a table."""
        with self.psycopg() as conn:
            write_rows(conn, name, self.ids.tolist(), self.matrix)

    @cached_property
    def glosses(self) -> str:
        """A table of 2,000 definitions from WordNet with their embeddings and an HNSW index; its name."""
        with gzip.open(WORDNET / "glosses.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        vectors = np.load(WORDNET / "base.f16.npy").astype(np.float32)
        columns = ("id", "synset", "lemma", "pos", "category", "text")
        with self.psycopg() as conn:
            conn.execute(
                "CREATE TABLE gloss (id int PRIMARY KEY, synset text, lemma text, pos text, category text, text text, "
                f"embedding vector({vectors.shape[1]}))"
            )
            with conn.cursor() as cursor, cursor.copy("COPY gloss FROM STDIN") as copy:
                for row, vector in zip(rows, vectors, strict=True):
                    copy.write_row([*(row[column] for column in columns), vector])
            conn.execute("CREATE INDEX ON gloss USING hnsw (embedding vector_cosine_ops)")
            conn.execute("VACUUM ANALYZE gloss")
        return "gloss"

    @cached_property
    def searches(self) -> list[list[float]]:
        """Embeddings that are not in the table of definitions."""
        vectors: list[list[float]] = np.load(WORDNET / "queries.f16.npy").astype(np.float32).tolist()
        return vectors


def write_rows(conn: Any, table: str, ids: Any, vectors: Any) -> None:
    """psycopg 3's binary COPY of rows, as pgvector's documentation shows it."""
    with conn.cursor() as cursor, cursor.copy(f"COPY {table} (id, embedding) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "vector"])
        for row in zip(ids, vectors, strict=True):
            copy.write_row(row)


def _versions(conn: Connection) -> dict[str, str]:
    rows = conn.run("SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'")
    (server, extension), *_ = rows or [["", ""]]
    return {
        "lightvec": lightvec.__version__,
        "Python": platform.python_version(),
        "PostgreSQL": server,
        "pgvector": extension,
        **{name: version(name) for name in ("psycopg", "pg8000", "peewee", "numpy")},
        "cores": str(os.cpu_count()),
    }
