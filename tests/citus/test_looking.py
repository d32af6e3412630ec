"""explain, recall, tune, doctor and create-index look at the shards, where the rows are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lightvec.errors import InvalidOption
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database
from lightvec.peewee.build_progress import Progress
from lightvec.peewee.index_build import build_index, plan_index
from lightvec.peewee.reflect import model_of, vector_field
from lightvec.pg8000 import connect
from lightvec.search import explain, recall, tune
from lightvec.search.doctor import examine
from lightvec.search.findings import Finding
from lightvec.search.table_statistics import vector_tables
from tests.citus.conftest import SHARDS, Bits, Gloss
from tests.cli.conftest import Run
from tests.search.conftest import Wordnet


def codes(query: Any) -> list[str]:
    return [each.code for each in explain(query).reasons]


# explain


def tasks(plan: Any) -> Iterator[Any]:
    """The tasks in a plan, one for each shard that is shown."""
    if isinstance(plan, list):
        for each in plan:
            yield from tasks(each)
    elif isinstance(plan, dict):
        for name, each in plan.items():
            yield from each if name == "Tasks" else tasks(each)


def test_explain_says_which_index_serves(eager: Pg8000Database, wordnet: Wordnet) -> None:
    found = explain(Gloss.embedding.nearest(wordnet.queries[0]))
    assert (found.uses_index, found.index) == (True, "gloss_hnsw")
    assert len(list(tasks(found.plan))) == SHARDS
    names = {json.dumps(task).count("gloss_hnsw_") for task in tasks(found.plan)}
    assert names == {1}, "each shard's own index"


def test_explain_reads_a_search_for_one_value_of_the_distribution_column(
    eager: Pg8000Database, wordnet: Wordnet
) -> None:
    found = explain(Gloss.embedding.nearest(wordnet.queries[0]).where(Gloss.shelf == 3))
    assert found.index == "gloss_hnsw"
    assert len(list(tasks(found.plan))) == 1


def test_explain_reads_looked_up_rows_and_bits(eager: Pg8000Database, wordnet: Wordnet) -> None:
    assert explain(Gloss.embedding.nearest(Gloss.get(Gloss.id == 3))).index == "gloss_hnsw"
    assert explain(Bits.embedding.nearest(wordnet.queries[0])).index == "bits_hnsw"
    assert explain(Bits.embedding.nearest(Bits.get_by_id(3))).index == "bits_hnsw"


def test_explain_analyzes(eager: Pg8000Database, wordnet: Wordnet) -> None:
    found = explain(Gloss.embedding.nearest(wordnet.queries[0]), analyze=True)
    assert "and gave 10 rows" in str(found)


def test_explain_says_why_not(cluster: Pg8000Database, wordnet: Wordnet) -> None:
    query = wordnet.queries[0]
    assert codes(Gloss.embedding.nearest(query, exact=True)) == ["exact"]
    assert codes(Gloss.embedding.nearest(query, metric="l2")) == ["wrong_metric"]
    assert codes(Gloss.select().order_by(Gloss.embedding.cosine_distance(query))) == ["no_limit"]
    assert codes(Gloss.embedding.nearest(query, k=2_000)) in (["small_table"], ["large_limit"])
    assert codes(Gloss.select()) == ["no_distance"]


# recall and tune


def test_recall_and_tune(eager: Pg8000Database, wordnet: Wordnet) -> None:
    little = recall(Gloss.embedding, ef_search=10, queries=wordnet.queries[:30])
    much = recall(Gloss.embedding, ef_search=400, queries=wordnet.queries[:30])
    assert little.index is not None
    assert (little.index.name, little.settings["ef_search"], much.settings["ef_search"]) == ("gloss_hnsw", 10, 400)
    assert little.recall < 0.9 < much.recall
    assert little.rows == 2_000
    by_rows = recall(Gloss.embedding, ef_search=400, sample=10)
    assert by_rows.from_rows
    assert by_rows.recall > 0.9
    tuned = tune(Gloss.embedding, 0.8, queries=wordnet.queries[:60])
    assert tuned.reached
    assert tuned.setting == "ef_search"
    assert tuned.value is not None
    assert 10 <= tuned.value < 400


def test_recall_of_bits(eager: Pg8000Database, wordnet: Wordnet) -> None:
    found = recall(Bits.embedding, queries=wordnet.queries[:20], ef_search=400)
    assert found.index is not None
    assert found.index.name == "bits_hnsw"
    assert found.recall > 0.9


# doctor


def by_code(found: list[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in found}


def test_doctor_counts_on_the_shards(cluster: Pg8000Database) -> None:
    found = by_code(examine(cluster, ["gloss"]))
    assert [each.code for each in found.values() if each.level == "problem"] == []
    assert "2 workers" in found["citus"].what
    assert "vector(384), 2,000 rows" in found["column"].what
    assert "distributed by shelf, 4 shards on 2 nodes" in found["shards"].what
    assert "on each of 4 shards" in found["index_on_shards"].what


def test_a_table_is_what_its_shards_are(cluster: Pg8000Database) -> None:
    (table,) = vector_tables(cluster, ["gloss"])
    assert table.shards is not None
    assert table.rows == table.shards.total("rows") == 2_000
    assert len({shard.id for shard in table.shards.shards}) == SHARDS
    ((size,),) = cluster.execute_sql("SELECT citus_total_relation_size('gloss')").fetchall()
    assert table.shards.total("total") == size
    assert table.indexes[0].size == sum(shard.indexes["gloss_hnsw"].size for shard in table.shards.shards) > 100_000


@pytest.fixture
def own(citus_url: str) -> Iterator[Pg8000Database]:
    """A connected database with a distributed table of 4,000 rows and no index, and a reference table."""
    database = Pg8000Database(citus_url)
    with database.connection_context():
        conn = database.connection()
        database.execute_sql("CREATE TABLE own (id bigint PRIMARY KEY, v vector(64))")
        database.execute_sql("CREATE TABLE whole (id bigint PRIMARY KEY, v vector(64))")
        try:
            database.execute_sql("SELECT create_distributed_table('own', 'id', shard_count => 4)")
            database.execute_sql("SELECT create_reference_table('whole')")
            vectors = np.random.default_rng(5).standard_normal((4_000, 64)).astype(np.float32)
            with connect(citus_url) as loading:
                loading.copy_columns("own", {"id": np.arange(4_000), "v": vectors})
                loading.copy_columns("whole", {"id": np.arange(100), "v": vectors[:100]})
            assert conn is not None
            yield database
        finally:
            database.execute_sql("DROP TABLE own, whole")


def test_doctor_finds_what_is_wrong_on_a_shard(own: Pg8000Database) -> None:
    database = own
    database.execute_sql("CREATE INDEX own_hnsw ON own USING hnsw (v vector_l2_ops)")
    found = by_code(examine(database, ["own"]))
    assert found["never_analyzed"].level == "problem"
    database.execute_sql("ANALYZE own")
    assert "never_analyzed" not in by_code(examine(database, ["own"]))
    drop = "DO $$ BEGIN SET citus.enable_manual_changes_to_shards TO on; "
    drop += "EXECUTE 'DROP INDEX ' || replace('%s', 'own_', 'own_hnsw_'); END $$"
    done = database.execute_sql("SELECT success, result FROM run_command_on_shards('own', %s)", (drop,)).fetchall()
    assert [success for success, _ in done] == [True] * 4, done
    found = by_code(examine(database, ["own"]))
    assert "is missing on the shard" in found["index_not_on_shard"].what


def test_doctor_on_a_reference_table(own: Pg8000Database) -> None:
    found = by_code(examine(own, ["whole"]))
    assert "a reference table, 1 shard on" in found["shards"].what
    assert "100 rows" in found["column"].what


# create-index


def field_of(database: Pg8000Database, table: str) -> Any:
    return vector_field(model_of(database, table))


def test_a_build_with_its_progress(own: Pg8000Database) -> None:
    index = HnswIndex(field_of(own, "own"), metric="l2", ef_construction=400, m=32)
    plan = plan_index(own, index, maintenance_work_mem=64 << 20, workers=0)
    assert plan.on_shards
    assert 3_500 < plan.estimate.rows < 4_500
    assert plan.estimate.needed < 1_100 * 2_000, "of one of four shards"
    seen: list[Progress] = []
    build_index(own, plan, progress=seen.append)
    assert any("of 4 shards at once" in each.phase for each in seen)
    assert all(each.done is None or 0 <= each.done <= 1 for each in seen)
    assert plan_index(own, index).exists
    ((workers,),) = own.execute_sql("SELECT count(*) FROM run_command_on_shards('own', 'SELECT 1')").fetchall()
    assert workers == 4


def test_a_build_concurrently(own: Pg8000Database) -> None:
    index = HnswIndex(field_of(own, "own"), metric="l2", concurrently=True)
    with pytest.raises(InvalidOption, match=r"maintenance_work_mem cannot be set .* on the nodes of Citus"):
        build_index(own, plan_index(own, index, maintenance_work_mem=64 << 20))
    plan = plan_index(own, index)
    build_index(own, plan)
    assert plan_index(own, index).exists
    assert plan_index(own, index).invalid == ()


def test_a_build_of_lists(own: Pg8000Database) -> None:
    index = IvfflatIndex(field_of(own, "own"), metric="l2", lists=10)
    build_index(own, plan_index(own, index))
    model: Any = model_of(own, "own")
    found = recall(model.v, probes=10, sample=10)
    assert found.recall == 1


def test_a_build_that_is_stopped_leaves_nothing(own: Pg8000Database) -> None:
    index = HnswIndex(field_of(own, "own"), metric="l2", ef_construction=1000, m=64)
    plan = plan_index(own, index)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(own, plan, progress=stop)
    assert not plan_index(own, index).exists
    assert plan_index(own, index).invalid == ()


def test_a_build_concurrently_that_is_stopped_can_be_done_again(own: Pg8000Database) -> None:
    index = HnswIndex(field_of(own, "own"), metric="l2", ef_construction=1000, m=64, concurrently=True)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(own, plan_index(own, index), progress=stop)
    quick = HnswIndex(field_of(own, "own"), metric="l2", concurrently=True, name=index._name)
    plan = plan_index(own, quick)
    assert not plan.exists
    build_index(own, plan)
    assert plan_index(own, quick).exists
    (table,) = vector_tables(own, ["own"])
    assert table.shards is not None
    assert [part.valid for shard in table.shards.shards for part in shard.indexes.values()] == [True] * SHARDS


# The command line


def test_the_commands(filled: str, cluster: Pg8000Database, run: Run, own: Pg8000Database) -> None:
    like = run("search", "bits", "--url", filled, "--like", 17, "-k", 3, "--json")
    assert len(json.loads(like.out)) == 3
    by_two = run("search", "gloss", "--url", filled, "--like", "17,17", "-k", 3, "--json")
    assert by_two.status == 0, by_two.err
    assert [row["id"] for row in json.loads(by_two.out)] == [row["id"] for row in json.loads(like.out)]
    made = run("create-index", "own", "--url", filled, "--metric", "l2", "--maintenance-work-mem", "64MB", "--json")
    assert json.loads(made.out)["created"], made.err
    doctor = run("doctor", "gloss", "bits", "--url", filled)
    assert doctor.status == 0, doctor.out
    assert run("recall", "gloss", "--url", filled, "--sample", 10, "--json").status == 0
    assert run("tune", "gloss", "--url", filled, "--sample", 10, "--json").status == 0
