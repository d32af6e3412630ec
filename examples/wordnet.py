"""The data of the examples: 2,000 dictionary definitions with their embeddings, and 50 queries (``data/wordnet``)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.models import Gloss, database
from lightvec import HalfVector

DATA = Path(__file__).parent / "data" / "wordnet"


class Query(NamedTuple):
    """A definition that is not in the table, its embedding, and the ids of its true nearest neighbours."""

    lemma: str
    text: str
    embedding: HalfVector
    truth: list[int]


def read_glosses() -> Iterator[dict[str, Any]]:
    """The definitions as rows of the model :class:`~examples.models.Gloss`."""
    embeddings = np.load(DATA / "base.f16.npy")
    with gzip.open(DATA / "glosses.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line, embedding in zip(lines, embeddings, strict=True):
            yield {**json.loads(line), "embedding": embedding}


def read_queries() -> Iterator[Query]:
    """The queries that come with the data."""
    lines = (DATA / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    embeddings = np.load(DATA / "queries.f16.npy")
    truth = np.load(DATA / "truth.int32.npy")
    for line, embedding, ids in zip(lines, embeddings, truth, strict=True):
        row = json.loads(line)
        yield Query(row["lemma"], row["text"], HalfVector(embedding), ids.tolist())


def query_for(lemma: str) -> Query:
    """The query with this word."""
    queries = {word: query for query in read_queries() for word in query.lemma.split(", ")}
    return queries[lemma]


def have_glosses() -> None:
    """The table ``gloss`` with the 2,000 definitions and its index, made where it does not stand."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.create_tables([Gloss])
    if Gloss.select().count() < 2_000:
        database.copy_rows(Gloss, read_glosses(), on_conflict="ignore")
