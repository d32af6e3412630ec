"""A cluster of Citus that ``LIGHTVEC_CITUS_URL`` names; without it nothing is collected.

What the tests create is in a schema of their own, which is dropped, and nothing else is touched. Real embeddings, 2,000
definitions from WordNet, are on the cluster, spread over four shards, and on the embedded server, to compare answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from peewee import BigIntegerField, CompositeKey, IntegerField, Model, TextField

from lightvec.peewee import HnswIndex, Pg8000Database, VectorField
from lightvec.peewee.schema import set_up
from lightvec.pg8000 import Connection, connect
from tests.cli.conftest import run, write_module
from tests.own_schema import own_schema
from tests.search.conftest import Wordnet, read_wordnet

__all__ = ["run", "write_module"]

_CLUSTER = os.environ.get("LIGHTVEC_CITUS_URL", "")

collect_ignore_glob = [] if _CLUSTER else ["test_*.py"]

#: How many definitions one shelf has: the column that the tables are distributed by.
SHELVES, SHARDS = 40, 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("citus")


class _Gloss(Model):
    """Definitions, with a poor index: what finds everything tells nothing apart."""

    shelf = IntegerField()
    id = BigIntegerField()
    body = TextField()
    embedding = VectorField(384, metric="cosine", null=True)

    class Meta:
        table_name = "gloss"
        primary_key = CompositeKey("shelf", "id")
        distribute_by = "shelf"
        shards = SHARDS
        indexes = (HnswIndex("embedding", m=4, ef_construction=8, name="gloss_hnsw"),)


class _Bits(Model):
    """The same with a key of one column and an index of bits."""

    id = BigIntegerField(primary_key=True)
    body = TextField()
    embedding = VectorField(384, metric="cosine")

    class Meta:
        table_name = "bits"
        distribute_by = "id"
        shards = SHARDS
        indexes = (HnswIndex("embedding", quantize="bit", name="bits_hnsw"),)


Gloss: Any = _Gloss
Bits: Any = _Bits
MODELS: list[type[Any]] = [Gloss, Bits]


@pytest.fixture(scope="session")
def wordnet() -> Wordnet:
    return read_wordnet()


def exact(base: NDArray[Any], query: Any, k: int = 10) -> list[int]:
    """The rows nearest by cosine, by NumPy."""
    rows, vector = base.astype(np.float64), np.asarray(query, np.float64)
    similarity = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
    return [int(row) for row in np.argsort(-similarity, kind="stable")[:k]]


@pytest.fixture(scope="session")
def citus_url() -> Iterator[str]:
    """The cluster, with a schema of the tests' own as its search path."""
    assert _CLUSTER, "set LIGHTVEC_CITUS_URL to the coordinator of a cluster"
    with own_schema(_CLUSTER) as url:
        yield url


def _fill(database: Pg8000Database, wordnet: Wordnet) -> None:
    vectors = wordnet.base.astype(np.float32)
    words = [f"word{row % 7} thing{row % 11}" for row in range(len(vectors))]
    rows = [(row % SHELVES, row, words[row], vectors[row]) for row in range(len(vectors))]
    database.copy_rows(Gloss, rows)
    database.copy_rows(Bits, [row[1:] for row in rows])
    database.execute_sql("ANALYZE gloss")
    database.execute_sql("ANALYZE bits")


@pytest.fixture(scope="session")
def filled(citus_url: str, wordnet: Wordnet) -> str:
    """The cluster with the tables, loaded once."""
    database = Pg8000Database(citus_url)
    with database.connection_context(), database.bind_ctx(MODELS):
        set_up(database, MODELS)
        _fill(database, wordnet)
    return citus_url


@pytest.fixture
def cluster(filled: str) -> Iterator[Pg8000Database]:
    """A connected database on the cluster, to which the models are bound."""
    database = Pg8000Database(filled)
    with database.connection_context(), database.bind_ctx(MODELS):
        yield database


@pytest.fixture
def eager(filled: str) -> Iterator[Pg8000Database]:
    """The same, on workers that take an index wherever they can; the tables are small."""
    database = Pg8000Database(filled)
    with database.connection_context(), database.bind_ctx(MODELS), database.atomic() as transaction:
        database.execute_sql("SET LOCAL citus.propagate_set_commands TO 'local'")
        database.execute_sql("SET LOCAL enable_seqscan TO off")
        database.execute_sql("SET LOCAL enable_sort TO off")
        yield database
        transaction.rollback()


@pytest.fixture(scope="session")
def alone(wordnet: Wordnet, url: str) -> Pg8000Database:
    """The same tables on the embedded server, on one machine."""
    database = Pg8000Database(url)
    with database.connection_context(), database.bind_ctx(MODELS):
        database.create_tables(MODELS)
        _fill(database, wordnet)
    return database


@pytest.fixture
def conn(filled: str) -> Iterator[Connection]:
    """A connection to the cluster that knows pgvector's types already."""
    with connect(filled) as connection:
        connection.extension()
        yield connection
