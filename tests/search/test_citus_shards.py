"""What is computed from the answers of a cluster of Citus, without one; tests/citus asks a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from peewee import Model

from lightvec.peewee import HnswIndex, Pg8000Database, VectorField
from lightvec.peewee.catalog import ExistingIndex
from lightvec.peewee.citus import TableDistribution
from lightvec.peewee.distribution import Distribution
from lightvec.peewee.estimates import _hnsw_bytes, estimate
from lightvec.peewee.index_build import plan_index
from lightvec.pg8000 import connect
from lightvec.search.citus_shards import Node, node_findings, read_shards, shard_findings
from lightvec.search.doctor import examine
from lightvec.search.doctor_indexes import index_findings, memory_findings
from lightvec.search.doctor_server import ServerFacts
from lightvec.search.findings import Finding
from lightvec.search.scan_settings import on_workers, scan_settings
from lightvec.search.table_statistics import Table, vector_tables

MB = 1 << 20
MEMORY = {"shared_buffers": 128 * MB, "effective_cache_size": 4096 * MB, "maintenance_work_mem": 64 * MB}
SERVER = ServerFacts("18", "0.8.6", "0.8.6", "public", True, "public", "db", MEMORY, 1, None)


def answer(number: int, node: str, size: int, scans: int = 1, **facts: Any) -> tuple[Any, ...]:
    """What run_command_on_shards() returns for a shard."""
    common = {"size": 2 * size, "total": 3 * size, "rows": 1_000, "never_analyzed": False, "live": 1_000, "dead": 0}
    times = {"updated": 0, "hot": 0, "analyzed": "2026-01-02T03:04:05+00:00", "vacuumed": None, "builds": []}
    indexes = {f"doc_hnsw_{number}": [size, True, scans]}
    return number, True, json.dumps({**common, **times, "indexes": indexes, **facts}), [node]


def table_of(*rows: tuple[Any, ...]) -> Table:
    shards = read_shards(TableDistribution(Distribution("id", 4), False), rows)
    index = ExistingIndex(
        "public", "doc_hnsw", "public", "doc", "e", "vector", ["e"], False, "hnsw", "vector_l2_ops", 3, None, None,
        True, False, {}, sum(part.size for _, part in shards.indexes("doc_hnsw")), 0,
    )  # fmt: skip
    return Table("public", "doc", 0, shards.total("rows"), [], False, None, None, [], [index], shards=shards)


def by_code(found: list[Finding]) -> dict[str, Finding]:
    return {each.code: each for each in found}


def test_a_shard_that_cannot_be_read_is_a_finding() -> None:
    down = (103, False, "failed to connect to two:5432", ["two:5432"])
    table = table_of(answer(102, "one:5432", MB), down)
    assert table.shards is not None
    assert (table.rows, table.shards.earliest("vacuumed")) == (1_000, None)
    found = by_code([*shard_findings("public", "doc", table.indexes, table.shards)])
    assert found["shard_unreachable"].level == "problem"
    assert "its shard 103 cannot be read (two:5432: failed to connect" in found["shard_unreachable"].what
    assert "1 shard on 1 node (one:5432): 1,000 rows" in found["shards"].what
    nothing = table_of(down)
    assert nothing.shards is not None
    assert [each.code for each in shard_findings("public", "doc", [], nothing.shards)] == ["shard_unreachable"]


def test_a_node_that_does_not_answer_is_a_finding() -> None:
    nodes = [
        Node("c:5432", True, True, 0, MEMORY, ""),
        Node("one:5432", True, False, 2, MEMORY, ""),
        Node("two:5432", True, False, 2, {}, "failed to connect to two:5432"),
        Node("three:5432", False, False, 0, {}, ""),
    ]
    found = by_code([*node_findings((14, 0, 1), nodes)])
    assert found["citus"].subject == "Citus 14.0.1"
    assert found["citus"].what.startswith("3 workers")
    assert (found["citus_node_unreachable"].level, found["citus_node_unreachable"].subject) == ("problem", "two:5432")
    assert found["citus_node_inactive"].subject == "three:5432"


def test_a_build_needs_what_its_largest_shard_does_on_the_poorest_node() -> None:
    table = table_of(answer(102, "one:5432", 5 * MB), answer(103, "two:5432", 41 * MB))
    assert table.indexes[0].size == 46 * MB
    memory = {"": MEMORY, "one:5432": MEMORY, "two:5432": {**MEMORY, "maintenance_work_mem": 16 * MB}}
    finding = by_code([*index_findings(SERVER, table, memory)])["maintenance_work_mem"]
    assert finding.what.startswith("its largest shard has 41 MB, and maintenance_work_mem is 16 MB")
    assert finding.remedy == "SET maintenance_work_mem = '52MB' on each node, and build it again"
    enough = dict.fromkeys(("", "one:5432", "two:5432"), MEMORY)
    assert "maintenance_work_mem" not in by_code([*index_findings(SERVER, table, enough)])
    elsewhere = {"": {**MEMORY, "maintenance_work_mem": MB}, "one:5432": MEMORY, "two:5432": MEMORY}
    assert "maintenance_work_mem" not in by_code([*index_findings(SERVER, table, elsewhere)]), "it has no shard"


def test_memory_is_compared_by_node() -> None:
    """The indexes of all nodes together are larger than the buffers of one."""
    table = table_of(answer(102, "one:5432", 100 * MB), answer(103, "two:5432", 100 * MB))
    memory = {"": MEMORY, "one:5432": MEMORY, "two:5432": {**MEMORY, "shared_buffers": 16 * MB}}
    found = {each.subject: each for each in memory_findings([table], memory)}
    assert found["shared_buffers of one:5432"].code == "index_memory"
    assert found["shared_buffers of two:5432"].code == "indexes_beyond_buffers"
    assert len(found) == 2


def test_searches_are_counted_on_the_shards() -> None:
    assert (
        table_of(answer(102, "one:5432", MB, scans=0), answer(103, "two:5432", MB, scans=3)).scans(
            table_of(answer(102, "one:5432", MB)).indexes[0]
        )
        == 3
    )


DEFAULTS = {"hnsw.ef_search": "40", "hnsw.iterative_scan": "off"}


def test_settings_of_the_session_do_not_reach_the_workers() -> None:
    here = {"hnsw.ef_search": "1", "hnsw.iterative_scan": "strict_order"}
    workers: list[dict[str, str | None]] = [
        {"hnsw.ef_search": None, "hnsw.iterative_scan": "off"},
        {"hnsw.ef_search": "80", "hnsw.iterative_scan": "relaxed_order"},
    ]
    found, findings = on_workers(here, DEFAULTS, (), workers)
    assert found == DEFAULTS, "the least of them"
    assert {(each.code, each.level) for each in findings} == {("setting_not_on_workers", "note")}
    told = {each.subject: each.what for each in findings}
    assert told["hnsw.ef_search"].startswith("it is 1 in this session, and 40 on the workers")


def test_settings_of_the_query_do() -> None:
    here = {"hnsw.ef_search": "200", "hnsw.iterative_scan": "off"}
    workers: list[dict[str, str | None]] = [{"hnsw.ef_search": "", "hnsw.iterative_scan": None}]
    assert on_workers(here, DEFAULTS, {"hnsw.ef_search": 200}, workers) == (here, [])
    assert on_workers(here, DEFAULTS, (), []) == (here, []), "without workers, the coordinator has all shards"


# The statements themselves, on one server with tables and functions of the names that Citus has

CITUS = """
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    SELECT 99999, 'citus', extowner, extnamespace, false, '14.0-1' FROM pg_extension WHERE extname = 'vector';
CREATE TABLE pg_catalog.pg_dist_node (
    nodeid int, groupid int, nodename text, nodeport int, isactive bool, noderole text, is_down bool, memory text);
CREATE TABLE pg_catalog.pg_dist_placement (shardid int, groupid int);
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partkey text, repmodel text);
CREATE TABLE pg_catalog.pg_dist_shard (logicalrelid regclass, shardid int);
CREATE TABLE pg_catalog.pg_dist_schema (schemaid oid);
CREATE FUNCTION pg_catalog.column_to_column_name(regclass, text) RETURNS text LANGUAGE sql AS 'SELECT $2';
CREATE FUNCTION run_on(command text, node pg_dist_node, OUT success bool, OUT result text) LANGUAGE plpgsql AS $$
BEGIN
    success := NOT node.is_down;
    PERFORM set_config('maintenance_work_mem', node.memory, true);
    result := 'failed to connect to ' || node.nodename;
    IF success THEN EXECUTE command INTO result; END IF;
END $$;
CREATE FUNCTION run_command_on_all_nodes(command text)
RETURNS TABLE (nodeid int, success bool, result text) LANGUAGE sql AS
    'SELECT n.nodeid, r.* FROM pg_dist_node n, run_on(command, n) r WHERE isactive';
CREATE FUNCTION run_command_on_workers(command text)
RETURNS TABLE (success bool, result text) LANGUAGE sql AS
    'SELECT r.* FROM pg_dist_node n, run_on(command, n) r WHERE isactive AND groupid > 0';
CREATE FUNCTION run_command_on_shards(t regclass, command text)
RETURNS TABLE (shardid int, success bool, result text) LANGUAGE sql AS
    'SELECT s.shardid, r.* FROM pg_dist_shard s JOIN pg_dist_placement USING (shardid)
     JOIN pg_dist_node n USING (groupid), run_on(format(command, t::text || ''_'' || s.shardid), n) r
     WHERE s.logicalrelid = t';
INSERT INTO pg_dist_node VALUES
    (1, 0, 'c', 5432, true, 'primary', false, '1MB'), (2, 1, 'one', 5432, true, 'primary', false, '64MB'),
    (3, 2, 'two', 5432, true, 'primary', false, '16MB');
"""

DOC = """
CREATE TABLE doc (id int, e vector(3));
CREATE INDEX doc_hnsw ON doc USING hnsw (e vector_l2_ops);
CREATE TABLE doc_101 (LIKE doc); CREATE TABLE doc_102 (LIKE doc);
INSERT INTO doc_101 SELECT n, ARRAY[n, 1, 1]::vector FROM generate_series(1, 100) n;
INSERT INTO doc_102 SELECT n, ARRAY[n, 1, 1]::vector FROM generate_series(1, 300) n;
CREATE INDEX doc_hnsw_101 ON doc_101 USING hnsw (e vector_l2_ops);
CREATE INDEX doc_hnsw_102 ON doc_102 USING hnsw (e vector_l2_ops);
ANALYZE doc_101, doc_102;
INSERT INTO pg_dist_partition VALUES ('doc', 'id', 's');
INSERT INTO pg_dist_shard VALUES ('doc', 101), ('doc', 102);
INSERT INTO pg_dist_placement VALUES (101, 1), (102, 2);
"""


@pytest.fixture
def likeness(empty_url: str) -> Pg8000Database:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.run(CITUS + DOC)
    return Pg8000Database(empty_url)


def test_doctor_asks_shards_and_nodes(likeness: Pg8000Database) -> None:
    with likeness.connection_context():
        found = by_code(examine(likeness, ["doc"]))
        (table,) = vector_tables(likeness, ["doc"])
    assert found["citus"].what == "2 workers beside the coordinator; one:5432 with 1 shards, two:5432 with 1 shards"
    assert "distributed by id, 2 shards on 2 nodes (one:5432, two:5432): 100 to 300 rows" in found["shards"].what
    assert "index_memory" in found
    assert (table.size > 0, table.error, table.scans(table.indexes[0])) == (True, "", 0)
    assert {node: size > 0 for node, size in table.index_parts(table.indexes[0])} == {
        "one:5432": True,
        "two:5432": True,
    }
    assert [each.code for each in found.values() if each.level == "problem"] == []


def test_doctor_goes_on_where_a_node_is_down(likeness: Pg8000Database) -> None:
    with likeness.connection_context():
        likeness.execute_sql("UPDATE pg_dist_node SET is_down = true WHERE nodename = 'two'")
        found = by_code(examine(likeness, ["doc"]))
    assert found["citus_node_unreachable"].subject == "two:5432"
    assert "its shard 102 cannot be read (two:5432: failed to connect to two)" in found["shard_unreachable"].what
    assert "on each of 1 shards" in found["index_on_shards"].what
    assert "index_memory" in found


def test_doctor_goes_on_where_it_may_not_ask_the_nodes(likeness: Pg8000Database) -> None:
    with likeness.connection_context():
        likeness.execute_sql("DROP FUNCTION run_command_on_all_nodes")
        found = by_code(examine(likeness, ["doc"]))
    assert found["not_checked"].subject == "nodes of Citus"
    assert "on each of 2 shards" in found["index_on_shards"].what


def test_doctor_goes_on_where_it_may_not_ask_the_shards(likeness: Pg8000Database) -> None:
    with likeness.connection_context():
        likeness.execute_sql("DROP FUNCTION run_command_on_shards")
        found = by_code(examine(likeness))
    assert found["not_checked"].subject == "doc"
    assert "column" in found, "of the other tables"


class Doc(Model):
    e = VectorField(3, metric="l2")

    class Meta:
        primary_key = False


def test_a_build_is_estimated_by_the_largest_shard(likeness: Pg8000Database, sent: list[bytes]) -> None:
    with likeness.bind_ctx([Doc]), likeness.connection_context():
        # The coordinator of a cluster counts the rows of all shards.
        likeness.execute_sql("INSERT INTO doc SELECT * FROM doc_101 UNION ALL SELECT * FROM doc_102")
        likeness.execute_sql("INSERT INTO doc_102 SELECT n, '[1,2,3]' FROM generate_series(1, 2000) n")
        # Citus has this parameter.
        likeness.execute_sql("SET citus.propagate_set_commands = 'none'")
        index = HnswIndex(Doc.e)
        found = estimate(likeness, index)
        plan = plan_index(likeness, index)
    assert (found.rows, found.allowed) == (400, 16 << 20), "what the poorest node with a shard has"

    assert 350 < found.needed / _hnsw_bytes(4 * 3 + 8, 16) < 400, "nearly all rows are on one shard"
    assert plan.on_shards
    assert any(b"TABLESAMPLE SYSTEM (100.000000000)" in each for each in sent)


def test_recall_says_which_settings_hold_on_the_workers(likeness: Pg8000Database, empty_url: str) -> None:
    with connect(empty_url) as conn:
        # A worker is a session of its own, which has what the database or the role sets.
        conn.run(
            "CREATE OR REPLACE FUNCTION run_command_on_workers(command text) "
            "RETURNS TABLE (success bool, result text) LANGUAGE sql SET hnsw.ef_search = 70 AS "
            "'SELECT r.* FROM pg_dist_node n, run_on(command, n) r WHERE groupid > 0'"
        )
    database = Pg8000Database(empty_url, options="-c hnsw.ef_search=1")
    with database.connection_context():
        scan = scan_settings(database, "hnsw")
        assert (scan.effort, scan.iterative_scan) == (70, None)
        assert [(each.code, each.subject) for each in scan.findings] == [("setting_not_on_workers", "hnsw.ef_search")]
