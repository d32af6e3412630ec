"""Real embeddings in a table of its own: 2,000 definitions from WordNet, with queries and their true neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from peewee import IntegerField, Model

import examples
from lightvec.peewee import FixedBitField, HalfVectorField, Pg8000Database, SparseVectorField, VectorField
from lightvec.pg8000 import Connection, connect
from lightvec.types import Bit, SparseVector

WORDNET = Path(examples.__file__).parent / "data" / "wordnet"


class Wordnet(NamedTuple):
    """The embeddings of rows and queries, and the rows nearest to each query by cosine."""

    base: NDArray[np.float16]
    queries: NDArray[np.float16]
    truth: NDArray[np.int32]


class Gloss(Model):
    """Each embedding in all types. The indexes are poor ones: what finds everything tells nothing apart."""

    id = IntegerField(primary_key=True)
    dense = VectorField(384, metric="l2")
    half = HalfVectorField(384, metric="cosine")
    sparse = SparseVectorField(384, metric="ip")
    bits = FixedBitField(384, metric="hamming")
    listed = VectorField(384, metric="cosine")
    bare = VectorField(384, metric="cosine")

    class Meta:
        table_name = "measured_gloss"


#: Index to its statement.
INDEXES = {
    "gloss_dense": "hnsw (dense vector_l2_ops) WITH (m = 4, ef_construction = 8)",
    "gloss_half": "hnsw (half halfvec_cosine_ops) WITH (m = 4, ef_construction = 8)",
    "gloss_sparse": "hnsw (sparse sparsevec_ip_ops) WITH (m = 4, ef_construction = 8)",
    "gloss_bits": "hnsw (bits bit_hamming_ops) WITH (m = 4, ef_construction = 8)",
    "gloss_listed": "ivfflat (listed vector_cosine_ops) WITH (lists = 20)",
}


def read_wordnet() -> Wordnet:
    """The files."""
    return Wordnet(*(np.load(WORDNET / f"{name}.npy") for name in ("base.f16", "queries.f16", "truth.int32")))


def load_embeddings(conn: Connection, table: str, embeddings: Any) -> None:
    """A table of ids and half-precision embeddings with a poor HNSW index by cosine, ``TABLE_hnsw``."""
    conn.run(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding halfvec(384))")
    conn.copy_columns(table, {"id": list(range(len(embeddings))), "embedding": embeddings})
    options = "WITH (m = 4, ef_construction = 8)"
    conn.run(f"CREATE INDEX {table}_hnsw ON {table} USING hnsw (embedding halfvec_cosine_ops) {options}")
    conn.run(f"ANALYZE {table}")


@pytest.fixture(scope="session")
def wordnet() -> Wordnet:
    return read_wordnet()


@pytest.fixture(scope="session")
def filled(make_database: Callable[[], str], wordnet: Wordnet) -> str:
    """A database with the table, loaded once."""
    url = make_database()
    with connect(url) as conn:
        conn.run("CREATE EXTENSION vector")
        for model in bound(Pg8000Database(url)):
            model.create_table()
        full = wordnet.base.astype(np.float32)
        columns: dict[str, Any] = {
            "id": np.arange(len(full)),
            "half": wordnet.base,
            "sparse": [SparseVector(row) for row in full],
            "bits": [Bit(row > 0) for row in full],
            **dict.fromkeys(("dense", "listed", "bare"), full),
        }
        conn.copy_columns("measured_gloss", columns)
        for name, index in INDEXES.items():
            conn.run(f"CREATE INDEX {name} ON measured_gloss USING {index}")
        conn.run("ANALYZE measured_gloss")
    return url


@pytest.fixture
def gloss(filled: str) -> Iterator[type[Any]]:
    """The model of the table, on a server that takes an index wherever it can: the table is small."""
    yield from bound(Pg8000Database(filled, options="-c enable_seqscan=off -c enable_sort=off"))


@pytest.fixture
def planned_gloss(filled: str) -> Iterator[type[Any]]:
    """The same on a server that takes what it thinks is quicker."""
    yield from bound(Pg8000Database(filled))


def bound(database: Pg8000Database) -> Iterator[type[Any]]:
    with database.bind_ctx([Gloss]), database.connection_context():
        yield Gloss


@pytest.fixture
def database(url: str) -> Iterator[Pg8000Database]:
    """A connected database for tables that a test makes; what it does is undone."""
    database = Pg8000Database(url, options="-c enable_seqscan=off -c enable_sort=off")
    with database.connection_context(), database.atomic() as transaction:
        yield database
        transaction.rollback()
