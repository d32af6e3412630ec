"""recall: that it tells what NumPy and the file of true neighbours tell, for every type, and says what it measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from peewee import CompositeKey, IntegerField, Model, fn

from lightvec.errors import InvalidOption, InvalidVector, SchemaMismatch
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, VectorField
from lightvec.search import recall, tune
from lightvec.search.recall_measurement import Benchmark
from tests.peewee.brute import DISTANCES, Matrix
from tests.search.conftest import Wordnet

Gloss = Any


def found_ids(field: Any, vector: Any, k: int = 10, **options: Any) -> list[int]:
    query = field.nearest(vector, k, **options).select(field.model.id)
    return [row[0] for row in query.tuples()]


# Against what others know


@pytest.mark.parametrize("ef_search", [10, 40, 200])
def test_it_agrees_with_the_file_of_true_neighbours(gloss: Gloss, wordnet: Wordnet, ef_search: int) -> None:
    result = recall(gloss.half, queries=wordnet.queries, ef_search=ef_search)
    shares = [
        len(set(found_ids(gloss.half, query, ef_search=ef_search)) & set(true[:10].tolist())) / 10
        for query, true in zip(wordnet.queries, wordnet.truth, strict=True)
    ]
    assert result.recall == pytest.approx(np.mean(shares))
    assert result.worst == pytest.approx(min(shares))
    assert 0 < result.recall < 1
    assert result.index is not None
    assert (result.index.name, result.settings) == ("gloss_half", {"ef_search": ef_search})
    assert (result.k, result.sample, result.rows, result.short) == (10, 50, 2_000, 0)
    assert (result.table, result.field, result.metric) == ("measured_gloss", "Gloss.half", "cosine")
    assert result.latency_ms > 0
    assert result.exact_ms > 0


def test_probes(gloss: Gloss, wordnet: Wordnet) -> None:
    results = [recall(gloss.listed, queries=wordnet.queries[:20], probes=probes) for probes in (1, 5, 20)]
    shares = [
        len(set(found_ids(gloss.listed, query, probes=5)) & set(true[:10].tolist())) / 10
        for query, true in zip(wordnet.queries[:20], wordnet.truth, strict=False)
    ]
    assert results[1].recall == pytest.approx(np.mean(shares))
    assert results[0].recall < results[1].recall < results[2].recall == 1
    assert [result.settings for result in results] == [{"probes": 1}, {"probes": 5}, {"probes": 20}]


def test_a_filter_on_lists(gloss: Gloss, wordnet: Wordnet) -> None:
    class Listed(Model):
        id = IntegerField(primary_key=True)
        listed = VectorField(384, metric="cosine")

        class Meta:
            database = gloss._meta.database
            table_name = "measured_gloss"
            indexes = (IvfflatIndex("listed", lists=20),)

    rare, queries = fn.mod(Listed.id, 50) == 0, wordnet.queries[:20]
    found = recall(Listed.listed, queries=queries, where=rare)
    assert found.settings == {"probes": 20, "iterative_scan": "relaxed_order"}
    assert found.recall > 0.95
    assert recall(Listed.listed, queries=queries, where=rare, probes=5).recall < found.recall - 0.05
    assert recall(Listed.listed, queries=queries).settings == {"probes": 5}


KINDS = {
    ("dense", "l2"): "gloss_dense",
    ("dense", "ip"): None,
    ("half", "cosine"): "gloss_half",
    ("sparse", "ip"): "gloss_sparse",
    ("sparse", "l1"): None,
    ("bits", "hamming"): "gloss_bits",
    ("bits", "jaccard"): None,
}


@pytest.mark.parametrize(("name", "metric"), KINDS)
def test_every_type_and_metric(gloss: Gloss, wordnet: Wordnet, name: str, metric: str) -> None:
    field = getattr(gloss, name)
    queries: list[Any] = list((wordnet.queries > 0) if name == "bits" else wordnet.queries)[:15]
    stored = (wordnet.base > 0 if name == "bits" else wordnet.base).astype(np.float64)
    result = recall(field, queries=queries, metric=metric, ef_search=12)
    assert (result.index and result.index.name) == KINDS[name, metric]
    assert result.metric == metric
    shares = []
    for query in queries:
        distances = DISTANCES[metric](stored, np.asarray(query, np.float64))
        # The server adds up in single precision; what is that near counts as the same distance.
        last = np.sort(distances)[9] + 1e-6
        found = found_ids(field, query, metric=metric, ef_search=12)
        shares.append(sum(distances[found] <= last) / 10)
    assert result.recall == pytest.approx(np.mean(shares), abs=0.004)
    assert (result.recall < 1) == (result.index is not None)


# Rows as queries


def numpy_neighbours(base: Matrix, row: int, k: int) -> set[int]:
    distances = DISTANCES["cosine"](base, base[row])
    distances[row] = np.inf
    return {int(other) for other in np.argsort(distances)[:k]}


def test_rows_as_queries(gloss: Gloss, wordnet: Wordnet) -> None:
    few = gloss.id < 150
    result = recall(gloss.half, k=5, sample=150, ef_search=20, iterative_scan=False, where=few)
    base = wordnet.base[:150].astype(np.float64)
    shares, short = [], 0
    for row in range(150):
        options: Any = {"ef_search": 20, "iterative_scan": False, "exact": False}
        query = gloss.half.nearest(wordnet.base[row], 6, **options).where(few)
        found = [each.id for each in query if each.id != row][:5]
        shares.append(len(set(found) & numpy_neighbours(base, row, 5)) / 5)
        short += len(found) < 5
    assert result.sample == result.rows == 150
    assert result.recall == pytest.approx(np.mean(shares), abs=0.001)
    assert result.worst == min(shares)
    assert result.short == short > 0
    assert f"answers with fewer rows than the exact one: {short}" in str(result)


def test_a_filter_that_is_searched_on_with(gloss: Gloss) -> None:
    result = recall(gloss.half, k=5, sample=20, where=gloss.id < 300)
    assert result.short == 0
    assert result.settings == {"ef_search": 40, "iterative_scan": "relaxed_order"}


def sampled(field: Any, **given: Any) -> Benchmark:
    options = {"k": 4, "sample": 10, "metric": None, "queries": None, "where": None, "seed": 0, "progress": None}
    return Benchmark(field, **{**options, **given})


def vectors(benchmark: Benchmark) -> list[list[float]]:
    return [case.vector.value.to_list() for case in benchmark.cases]


def test_a_seed_chooses_always_the_same_rows(gloss: Gloss) -> None:
    chosen, again, other = (vectors(sampled(gloss.half, sample=20, seed=seed)) for seed in (0, 0, 7))
    assert chosen == again
    assert len({tuple(vector) for vector in chosen}) == 20
    assert sum(vector in chosen for vector in other) < 5


class Keyed(Model):
    place = VectorField(2, metric="l2", null=True)
    number = IntegerField()


class Unkeyed(Model):
    place = VectorField(2, metric="l2", null=True)
    number = IntegerField()

    class Meta:
        primary_key = False


class Viewed(Model):
    """A view, whose rows have neither a key nor a place."""

    place = VectorField(2, metric="l2", null=True)
    number = IntegerField()

    class Meta:
        primary_key = False


class TwiceKeyed(Model):
    place = VectorField(2, metric="l2", null=True)
    number = IntegerField()
    other = IntegerField(default=1)

    class Meta:
        primary_key = CompositeKey("number", "other")


def make(database: Pg8000Database, model: Any, places: list[Any]) -> Any:
    database.bind([model, Unkeyed])
    if model is Viewed:
        make(database, Unkeyed, places)
        database.execute_sql("CREATE VIEW viewed AS SELECT * FROM unkeyed")
        return model
    database.create_tables([model])
    model.insert_many([{"place": place, "number": number} for number, place in enumerate(places)]).execute()
    return model


@pytest.mark.parametrize("model", [Keyed, Unkeyed, TwiceKeyed, Viewed])
def test_the_row_itself_is_left_out(database: Pg8000Database, model: Any) -> None:
    made = make(database, model, [[2**n, 0] for n in range(12)])
    for case in sampled(made.place, sample=12).cases:
        distances = case.exact
        assert len(distances) == 4
        assert min(distances) > 0
        assert distances == sorted(distances)


@pytest.mark.parametrize("model", [Keyed, Unkeyed, TwiceKeyed, Viewed])
def test_rows_that_are_alike_are_not_the_row_itself(database: Pg8000Database, model: Any) -> None:
    made = make(database, model, [[1, 1]] * 5 + [[9, 9]])
    counts = Counter(case.exact.count(0) for case in sampled(made.place, sample=6, k=10).cases)
    assert counts == {4: 5, 0: 1}


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_a_view(database: Pg8000Database, metric: str) -> None:
    turns = np.random.default_rng(4).uniform(0, 6, size=200)
    made = make(database, Viewed, [[np.cos(turn), np.sin(turn)] for turn in turns])
    database.execute_sql(f"CREATE INDEX ON unkeyed USING hnsw (place vector_{metric}_ops)")
    result = recall(made.place, metric=metric, k=5, sample=40)
    assert result.index is not None
    assert result.from_rows
    assert result.recall > 0.95
    tuned = tune(made.place, 0.9, metric=metric, k=5, sample=40)
    assert tuned.index == result.index


def test_rows_as_far_away_as_the_last_one_count(database: Pg8000Database) -> None:
    made = make(database, Keyed, [[n % 3, 1] for n in range(300)])
    database.execute_sql("CREATE INDEX ON keyed USING hnsw (place vector_l2_ops)")
    result = recall(made.place, k=10, sample=60)
    assert result.index is not None
    assert (result.recall, result.worst) == (1, 1)


def test_rows_without_a_direction_are_no_queries(database: Pg8000Database) -> None:
    made = make(database, Keyed, [None, [0, 0], [1, 0], [0, 1], None, [1, 1]])
    cases = sampled(made.place, metric="cosine", sample=6).cases
    assert sorted(map(tuple, vectors(sampled(made.place, metric="cosine", sample=6)))) == [(0, 1), (1, 0), (1, 1)]
    assert [len(case.exact) for case in cases] == [2, 2, 2]
    assert len(sampled(made.place, metric="l2", sample=6).cases) == 4
    assert recall(made.place, metric="cosine").rows == 4


# What served


def test_without_an_index(gloss: Gloss, wordnet: Wordnet) -> None:
    result = recall(gloss.bare, queries=wordnet.queries[:5])
    assert (result.recall, result.index, result.settings) == (1, None, {})
    assert "1.000 on 5 queries, because no index serves it" in str(result)
    assert result.why_exact
    assert result.why_exact in str(result)


def test_what_the_server_thinks_is_quicker(planned_gloss: Gloss, wordnet: Wordnet) -> None:
    served = recall(planned_gloss.half, queries=wordnet.queries[:5])
    unserved = recall(planned_gloss.half, queries=wordnet.queries[:5], ef_search=1_000)
    assert served.index is not None
    assert (unserved.index, unserved.recall) == (None, 1)


def test_an_index_of_a_partition(database: Pg8000Database, wordnet: Wordnet) -> None:
    database.execute_sql("CREATE TABLE parts (number int, place vector(384)) PARTITION BY RANGE (number)")
    database.execute_sql("CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (1000)")
    database.execute_sql("CREATE INDEX parts_place ON parts USING hnsw (place vector_l2_ops)")
    rows = wordnet.base[:100].astype(np.float32)
    database.connection().copy_columns("parts", {"number": np.arange(100), "place": rows})

    class Parts(Model):
        number = IntegerField()
        place = VectorField(384, metric="l2")

        class Meta:
            primary_key = False

    database.bind([Parts])
    result = recall(Parts.place, sample=5)
    assert result.index is not None
    assert result.index.table == "part"


@pytest.mark.parametrize(("quantize", "ef_search"), [("halfvec", 10), ("bit", 200)])
def test_an_index_of_a_coarser_form(database: Pg8000Database, wordnet: Wordnet, quantize: str, ef_search: int) -> None:
    class Coarse(Model):
        number = IntegerField()
        place = VectorField(384, metric="cosine")

    Coarse.add_index(HnswIndex(Coarse.place, quantize=quantize))
    database.bind([Coarse])
    Coarse.create_table()
    rows = {"number": np.arange(400), "place": wordnet.base[:400].astype(np.float32)}
    database.connection().copy_columns("coarse", rows)
    result = recall(Coarse.place, queries=wordnet.queries, ef_search=400)
    assert result.index is not None
    assert result.index.quantize == quantize
    assert result.recall > 0.98
    # Of bits, 20 times as many rows are found, of which the nearest are chosen.
    assert recall(Coarse.place, queries=wordnet.queries[:1], ef_search=10).settings["ef_search"] == ef_search


def test_what_the_session_has_set(filled: str, wordnet: Wordnet) -> None:
    options = "-c enable_seqscan=off -c enable_sort=off -c hnsw.ef_search=77"
    from tests.search.conftest import Gloss as Model

    database = Pg8000Database(filled, options=options)
    with database.bind_ctx([Model]), database.connection_context():
        assert recall(Model.half, queries=wordnet.queries[:3]).settings == {"ef_search": 77}
        assert recall(Model.half, queries=wordnet.queries[:3], ef_search=33).settings == {"ef_search": 33}
        ((left,),) = database.execute_sql("SELECT current_setting('hnsw.ef_search')").fetchall()
        assert left == "77"


# What it says, and how


def test_in_words(gloss: Gloss, wordnet: Wordnet) -> None:
    lines = str(recall(gloss.half, queries=wordnet.queries)).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("recall@10 of Gloss.half by cosine: 0.")
    assert "mean of 50 queries" in lines[0]
    assert lines[1].startswith("index gloss_half (hnsw, ef_search=40): ")
    assert lines[1].endswith(" ms over 2,000 rows")
    assert "(mean of 1 rows as queries;" in str(recall(gloss.listed, sample=1))
    assert "new vectors" in str(recall(gloss.half, sample=1))
    assert "new vectors" not in str(recall(gloss.listed, sample=1))


def test_the_result_stays_as_it_is(gloss: Gloss) -> None:
    result: Any = recall(gloss.listed, sample=1)
    with pytest.raises(FrozenInstanceError):
        result.recall = 1


def test_progress(gloss: Gloss) -> None:
    told: list[tuple[str, int, int]] = []
    recall(gloss.half, sample=3, progress=lambda *each: told.append(each))
    assert told == [(what, n, 3) for what in ("exact answers", "queries") for n in (1, 2, 3)]


def test_two_round_trips_a_query(gloss: Gloss, wordnet: Wordnet, sent: list[bytes]) -> None:
    def needed(queries: int) -> int:
        sent.clear()
        recall(gloss.half, queries=wordnet.queries[:queries], ef_search=20)
        return len(sent)

    needed(1)  # What a connection asks once.
    few = needed(5)
    assert needed(25) - few == 2 * 20
    assert few - 2 * 5 <= 7


# What cannot be


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"k": 0}, "expected k to be a number of at least 1, got 0"),
        ({"k": True}, "expected k"),
        ({"sample": 0}, "expected sample to be a number of at least 1, got 0"),
        ({"queries": []}, "with at least one, got none"),
        ({"metric": "euclid"}, "'euclid' is not a metric here"),
        ({"ef_search": 0}, "expected ef_search from 1 to 1,000, got 0"),
        ({"probes": 0}, "expected probes"),
        ({"iterative_scan": "loose"}, "expected iterative_scan"),
    ],
)
def test_options_that_cannot_be(gloss: Gloss, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOption, match=told):
        recall(gloss.half, **options, progress=lambda *_: pytest.fail("it measured before it looked"))


def test_queries_that_do_not_fit(gloss: Gloss, wordnet: Wordnet) -> None:
    with pytest.raises(InvalidVector, match=r"Gloss\.half expected 384 dimensions, not 100"):
        recall(gloss.half, queries=wordnet.queries[:, :100])
    with pytest.raises(InvalidVector):
        recall(gloss.half, queries=wordnet.queries[0])


def test_a_table_with_nothing_to_find(database: Pg8000Database) -> None:
    made = make(database, Keyed, [None])
    with pytest.raises(SchemaMismatch, match=r"no row with a vector to sample in Keyed\.place: load rows first"):
        recall(made.place)
    with pytest.raises(SchemaMismatch, match="no other rows"):
        recall(made.place, queries=[[1, 2]])
    made.insert(place=[1, 2], number=2).execute()
    with pytest.raises(SchemaMismatch, match="no other rows"):
        recall(made.place)
