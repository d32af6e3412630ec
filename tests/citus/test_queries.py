"""Searches and loads on a distributed table give what they give on one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peewee import fn

from lightvec.peewee import Pg8000Database, run_many
from lightvec.peewee.reflect import model_of
from lightvec.pg8000 import Connection
from lightvec.pg8000.exceptions import ProgrammingError
from lightvec.search import hybrid
from tests.citus.conftest import MODELS, SHELVES, Bits, Gloss, exact
from tests.search.conftest import Wordnet

ENOUGH: dict[str, Any] = {"ef_search": 400}


def ids(query: Any) -> list[int]:
    return [row.id for row in query]


def test_nearest(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    for query in wordnet.queries[:20]:
        truth = exact(wordnet.base, query)
        assert ids(Gloss.embedding.nearest(query, exact=True)) == truth
        assert ids(Gloss.embedding.nearest(query, **ENOUGH)) == truth


def test_distances_and_scores(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    query = wordnet.queries[0]
    for row in Gloss.embedding.nearest(query, k=3, exact=True):
        vector = wordnet.base[row.id].astype(np.float64)
        similarity = vector @ query / np.linalg.norm(vector) / np.linalg.norm(query.astype(np.float64))
        assert row.score == pytest.approx(similarity, abs=1e-5)
        assert row.distance == pytest.approx(1 - similarity, abs=1e-5)


def test_a_filter_on_the_distribution_column_and_on_others(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    query = wordnet.queries[1]
    ordered = exact(wordnet.base, query, len(wordnet.base))
    on_one = Gloss.embedding.nearest(query, k=5, **ENOUGH).where(Gloss.shelf == 3)
    assert ids(on_one) == [row for row in ordered if row % SHELVES == 3][:5]
    by_words = Gloss.embedding.nearest(query, k=5, **ENOUGH).where(Gloss.body.startswith("word2 "))
    assert ids(by_words) == [row for row in ordered if row % 7 == 2][:5]
    assert ids(Gloss.embedding.nearest(query, k=5, exact=True).offset(5)) == ordered[5:10]
    lone = Gloss.embedding.nearest(query, k=5).where(Gloss.shelf == 999)
    assert (len(lone), lone.shortfall) == (0, lone.shortfall)
    assert lone.shortfall is not None


@pytest.mark.parametrize("key", [0, 17, 1999])
def test_more_like_a_row(key: int, cluster: Pg8000Database, wordnet: Wordnet) -> None:
    others = [row for row in exact(wordnet.base, wordnet.base[key], 7) if row != key]
    row = Gloss.get(Gloss.shelf == key % SHELVES, Gloss.id == key)
    assert ids(Gloss.embedding.nearest(row, k=5, exact=True)) == others[:5]
    assert ids(Gloss.embedding.nearest(row, k=5, **ENOUGH)) == others[:5]
    assert ids(Bits.embedding.nearest(Bits.get_by_id(key), k=5, exact=True)) == others[:5]
    missing = Gloss(shelf=1, id=10**6)
    assert ids(Gloss.embedding.nearest(missing, k=5)) == []


def test_it_is_found_once_and_ahead(cluster: Pg8000Database) -> None:
    query = Gloss.embedding.nearest(Gloss.get(Gloss.id == 3), k=5)
    sql = query.sql()[0]
    assert sql.count("AS MATERIALIZED (") == 1
    assert '(SELECT "embedding" FROM "lightvec_row")' in sql


def test_more_like_a_row_inside_other_statements(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    key = 17
    others = [row for row in exact(wordnet.base, wordnet.base[key], 7) if row != key][:5]
    row = Bits.get_by_id(key)
    chosen = Bits.embedding.nearest(row, k=5, exact=True).select(Bits.id)
    assert sorted(ids(Bits.select().where(Bits.id.in_(chosen)))) == sorted(others)
    answers = run_many(Bits.embedding.nearest(each, k=5, exact=True) for each in (row, Bits.get_by_id(18)))
    assert [each.id for each in answers[0]] == others


def test_bits_are_ranked_again(cluster: Pg8000Database, alone: Pg8000Database, wordnet: Wordnet) -> None:
    share = 0.0
    for query in wordnet.queries[:20]:
        found = ids(Bits.embedding.nearest(query, **ENOUGH))
        truth = exact(wordnet.base, query)
        share += len(set(found) & set(truth)) / 200
        ordered = [row for row in exact(wordnet.base, query, len(wordnet.base)) if row in found]
        assert found == ordered, "by the whole vectors"
    assert share > 0.9
    row = Bits.get_by_id(17)
    found = ids(Bits.embedding.nearest(row, **ENOUGH))
    assert len(set(found) & set(exact(wordnet.base, wordnet.base[17], 11))) >= 9


def test_run_many(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    queries = [Gloss.embedding.nearest(query, k=5, **ENOUGH) for query in wordnet.queries[:4]]
    for answer, query in zip(run_many(queries), wordnet.queries, strict=False):
        assert ids(answer) == exact(wordnet.base, query, 5)


@pytest.mark.parametrize("match", ["any", "all"])
def test_hybrid(match: str, cluster: Pg8000Database, alone: Pg8000Database, wordnet: Wordnet) -> None:
    """All that has the words is ranked: of rows that are equally good each server ranks others first."""

    def ranks() -> list[tuple[Any, ...]]:
        options: dict[str, Any] = {"match": match, "exact": True, "candidates": len(wordnet.base)}
        query = hybrid(Bits.embedding, wordnet.queries[2], Bits.body, "word3 thing6", k=8, **options)
        return [(row.id, row.vector_rank, row.text_rank, round(row.score, 9)) for row in query.where(Bits.id > 20)]

    found = ranks()
    with alone.bind_ctx(MODELS), alone.connection_context():
        assert found == ranks()
    assert len(found) == 8


def test_hybrid_with_a_row(cluster: Pg8000Database, alone: Pg8000Database) -> None:
    def ranks() -> list[tuple[Any, ...]]:
        row = Bits.get_by_id(17)
        query = hybrid(Bits.embedding, row, Bits.body, "word3", k=8, exact=True, candidates=2_000)
        return [(row.id, row.vector_rank, row.text_rank) for row in query]

    found = ranks()
    with alone.bind_ctx(MODELS), alone.connection_context():
        assert found == ranks()


def test_hybrid_by_a_key_with_the_distribution_column(
    cluster: Pg8000Database, alone: Pg8000Database, wordnet: Wordnet
) -> None:
    def ranks(shelf: int | None) -> list[tuple[Any, ...]]:
        query = hybrid(Gloss.embedding, wordnet.queries[2], Gloss.body, "word3", k=8, exact=True, candidates=2_000)
        if shelf is not None:
            query = query.where(Gloss.shelf == shelf)
        return [(row.shelf, row.id, row.vector_rank, row.text_rank) for row in query]

    found = [ranks(None), ranks(7)]
    with alone.bind_ctx(MODELS), alone.connection_context():
        assert found == [ranks(None), ranks(7)]


def test_bits_by_a_key_with_the_distribution_column(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    """Rows are told by their place in the shard there: those of other shards in the same place are looked at, too."""
    cluster.execute_sql(
        "CREATE INDEX gloss_bits ON gloss USING hnsw ((binary_quantize(embedding)::bit(384)) bit_hamming_ops)"
    )
    try:
        cluster.execute_sql("DROP INDEX gloss_hnsw")
        model: Any = model_of(cluster, "gloss")
        for query in wordnet.queries[:10]:
            found = ids(model.embedding.nearest(query, metric="cosine", ef_search=400))
            assert len(set(found) & set(exact(wordnet.base, query))) >= 8
    finally:
        cluster.execute_sql("DROP INDEX gloss_bits")
        cluster.execute_sql(
            "CREATE INDEX IF NOT EXISTS gloss_hnsw ON gloss USING hnsw (embedding vector_cosine_ops) "
            "WITH (m = 4, ef_construction = 8)"
        )


def test_aggregates(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    from lightvec.peewee import functions

    (mean,) = Gloss.select(functions.avg(Gloss.embedding)).scalar(as_tuple=True)
    assert np.allclose(np.asarray(mean), wordnet.base.astype(np.float64).mean(0), atol=1e-4)
    assert Gloss.select(fn.count(Gloss.id)).scalar() == len(wordnet.base)


class TestLoading:
    @pytest.fixture
    def empty(self, conn: Connection) -> Any:
        conn.run("CREATE TABLE loaded (shelf int, id bigint, body text, v vector(3), PRIMARY KEY (shelf, id))")
        try:
            conn.run("SELECT create_distributed_table('loaded', 'shelf', shard_count => 4)")
            yield conn
        finally:
            conn.run("DROP TABLE loaded")

    NAMES = ("shelf", "id", "body", "v")

    def test_rows_and_columns(self, empty: Connection) -> None:
        rows = [(number % 5, number, f"body {number}", [number, 0, 1]) for number in range(500)]
        assert empty.copy_rows("loaded", self.NAMES, rows) == 500
        shelf, number = np.arange(500, dtype=np.int32) % 5, np.arange(500, 1000)
        vectors = np.stack([number, number, number], 1).astype(np.float32)
        assert empty.copy_columns("loaded", {"shelf": shelf, "id": number, "v": vectors}) == 500
        assert empty.run("SELECT count(*), sum(id), count(body) FROM loaded") == [[1000, 499500, 500]]
        columns = empty.fetch_columns("SELECT id, v FROM loaded ORDER BY id")
        assert columns["v"].shape == (1000, 3)
        assert (columns["v"][500:] == vectors).all()

    def test_upserts_count_what_they_did(self, empty: Connection) -> None:
        rows = [(number % 5, number, "first", [1, 2, 3]) for number in range(20)]
        assert empty.copy_rows("loaded", self.NAMES, rows[:15], on_conflict="ignore") == 15
        assert empty.copy_rows("loaded", self.NAMES, rows, on_conflict="ignore") == 5
        assert empty.copy_rows("loaded", self.NAMES, rows, on_conflict="ignore") == 0
        later = [(shelf, number, "later", vector) for shelf, number, _, vector in rows[:7]]
        assert empty.copy_rows("loaded", self.NAMES, [*rows[:7], *later], on_conflict="update") == 7
        assert empty.run("SELECT body, count(*) FROM loaded GROUP BY body ORDER BY body") == [
            ["first", 13],
            ["later", 7],
        ]
        with empty.transaction():
            assert empty.copy_rows("loaded", self.NAMES, later[:2], on_conflict="ignore") == 0

    def test_a_load_that_fails_keeps_nothing(self, empty: Connection) -> None:
        rows = [(number % 5, number % 400, "x", [1, 2, 3]) for number in range(500)]
        with pytest.raises(Exception, match="duplicate key"):
            empty.copy_rows("loaded", self.NAMES, rows)
        assert empty.run("SELECT count(*) FROM loaded") == [[0]]

    def test_the_distribution_column_has_to_be_loaded(self, empty: Connection) -> None:
        with pytest.raises(ProgrammingError, match=r"the table has \(shelf, id\)"):
            empty.copy_rows("loaded", ["id", "body"], [(1, "a")], on_conflict="update")
