"""Building an index on a table with rows: the estimate, the progress, what is repaired, cancelled and left."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, catalog
from lightvec.peewee.build_progress import Progress
from lightvec.peewee.estimates import memory_size
from lightvec.peewee.index_build import IndexPlan, build_index, plan_index
from lightvec.peewee.reflect import model_of, vector_field
from lightvec.pg8000 import Connection, connect
from lightvec.server import Server
from tests.pooler.pooler import Pooler, left_behind

ROWS, DIMENSIONS = 3_000, 32

MB = 1 << 20


@pytest.fixture
def house(url: str) -> Iterator[Connection]:
    """The suite's database with a table of rows in it, on a connection of its own."""
    with connect(url) as conn:
        conn.run(f"DROP TABLE IF EXISTS built; CREATE TABLE built (id bigserial PRIMARY KEY, e vector({DIMENSIONS}))")
        conn.copy_columns("built", {"e": np.random.default_rng(0).random((ROWS, DIMENSIONS), "f4")})
        yield conn
        conn.run("DROP TABLE built")


@pytest.fixture
def base(house: Connection, db: Pg8000Database) -> Pg8000Database:
    """The database that indexes are built in."""
    return db


def planned(db: Pg8000Database, kind: Callable[..., Any] = HnswIndex, /, **options: Any) -> IndexPlan:
    plan = {name: options.pop(name) for name in ("maintenance_work_mem", "workers", "any_name") if name in options}
    return plan_index(db, kind(vector_field(model_of(db, "built")), **{"metric": "l2", **options}), **plan)


def standing(db: Pg8000Database) -> dict[str, bool]:
    """The vector indexes of the table, and whether each is valid."""
    return {index.name: index.valid for index in catalog.vector_indexes(db, "built")}


def invalidate(db: Pg8000Database, name: str) -> None:
    """What an interrupted CREATE INDEX CONCURRENTLY leaves."""
    db.execute_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (f'"{name}"',))


# Before


def test_a_view_has_no_index(base: Pg8000Database) -> None:
    with base.connection_context(), base.atomic() as transaction:
        base.execute_sql("CREATE VIEW view_of_it AS SELECT * FROM built")
        field = vector_field(model_of(base, "view_of_it"))
        with pytest.raises(SchemaMismatch, match=r"view_of_it is a view: build the index on its table \(built\)"):
            plan_index(base, HnswIndex(field, metric="l2"))
        transaction.rollback()


@pytest.mark.parametrize(
    ("relation", "remedy"),
    [
        ("MATERIALIZED VIEW mean AS SELECT avg(e) AS e FROM built", r"such as avg\(embedding\)::vector\(384\)"),
        ("VIEW mean AS SELECT avg(e) AS e FROM built", "this is a view, so build the index on its table"),
        ("TABLE mean (e vector)", r"run ALTER TABLE mean ALTER COLUMN e TYPE vector\(384\)"),
    ],
)
def test_the_remedy_for_a_column_without_dimensions(base: Pg8000Database, relation: str, remedy: str) -> None:
    with base.connection_context(), base.atomic() as transaction:
        base.execute_sql(f"CREATE {relation}")
        with pytest.raises(InvalidOption, match=f"mean.e declares no dimensions.*{remedy}"):
            HnswIndex(vector_field(model_of(base, "mean")), metric="l2")
        transaction.rollback()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MB", 64 * MB),
        ("2GB", 2048 * MB),
        (" 1.5 gb ", 1536 * MB),
        ("1024", MB),
        ("1TB", MB * MB),
        ("512kB", MB // 2),
    ],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0MB", "-1MB", "2 GiB", "GB", "1e3MB", "64MB; DROP TABLE x", "٣MB", "9" * 13]
)
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(InvalidOption, match="expected an amount of memory"):
        memory_size(text)


def test_the_plan_changes_nothing(base: Pg8000Database) -> None:
    plan = planned(base, maintenance_work_mem=8 * MB, workers=0)
    assert (plan.exists, plan.name, plan.invalid) == (False, "built_e_l2_hnsw", ())
    assert plan.sql == ('CREATE INDEX "built_e_l2_hnsw" ON "built" USING hnsw ("e" vector_l2_ops)',)
    assert plan.settings == {"maintenance_work_mem": "8192kB", "max_parallel_maintenance_workers": 0}
    assert plan.estimate.rows == ROWS
    assert plan.estimate.fits
    assert standing(base) == {}


def test_rows_without_a_vector_do_not_count(base: Pg8000Database, house: Connection) -> None:
    house.run("UPDATE built SET e = NULL WHERE id <= 1000")
    assert planned(base).estimate.rows == ROWS - 1_000


def test_rows_of_a_large_table_are_counted_on_a_sample(base: Pg8000Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightvec.peewee.estimates._SAMPLE", 30)
    estimates = [planned(base).estimate.rows for _ in range(5)]
    assert all(ROWS / 4 < rows < ROWS * 4 for rows in estimates)
    assert estimates != [ROWS] * 5


@pytest.mark.parametrize("m", [8, 24])
def test_the_estimate_of_a_graph_is_what_pgvector_takes(base: Pg8000Database, m: int) -> None:
    """The server says after how many rows the memory that it may take was full."""
    said: list[str] = []
    plan = planned(base, m=m, ef_construction=80, maintenance_work_mem=MB, workers=0)
    assert not plan.estimate.fits
    build_index(base, plan, notice=said.append)
    assert ["no longer fits" in notice for notice in said] == [True]
    found = re.search(r"after (\d+) tuples", said[0])
    assert found is not None
    # Memory is taken a MB at a time, and the graph is full when the next one is begun.
    assert plan.estimate.needed / ROWS * int(found[1]) == pytest.approx(MB, rel=0.05)
    base.execute_sql("DROP INDEX built_e_l2_hnsw")


@pytest.mark.parametrize(("lists", "fits"), [(10, True), (1_000, False)])
def test_the_estimate_of_k_means_is_what_pgvector_takes(base: Pg8000Database, lists: int, fits: bool) -> None:
    plan = planned(base, IvfflatIndex, lists=lists, maintenance_work_mem=16 * MB)
    assert plan.estimate.fits == fits
    if fits:
        build_index(base, plan)
    else:
        with pytest.raises(Exception, match=r"memory required is (\d+) MB") as caught:
            build_index(base, plan)
        found = re.search(r"memory required is (\d+) MB", str(caught.value))
        assert found is not None
        assert plan.estimate.needed / MB == pytest.approx(int(found[1]), rel=0.1)
    assert standing(base) == ({"built_e_l2_ivfflat": True} if fits else {})


def test_the_same_index_stands(base: Pg8000Database) -> None:
    build_index(base, planned(base, m=8))
    assert planned(base, m=8).exists
    assert planned(base).exists, "nobody asked for another m"
    assert planned(base, m=8, ef_construction=64).exists, "64 is what it is by default"
    assert planned(base, name="other", any_name=True).exists
    assert planned(base, name="other", any_name=True).name == "built_e_l2_hnsw"
    assert not planned(base, name="other").exists
    assert not planned(base, metric="ip", any_name=True).exists
    build_index(base, planned(base))
    assert list(standing(base)) == ["built_e_l2_hnsw"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            "CREATE INDEX taken ON built USING hnsw (e vector_ip_ops)",
            "exists and differs .hnsw .e vector_ip_ops",
        ),
        ("CREATE INDEX taken ON built USING hnsw (e vector_l2_ops) WITH (m = 4)", "m = 4"),
        ("CREATE INDEX taken ON built USING hnsw (e vector_l2_ops) WHERE id > 5", r"WHERE \(id > 5\)"),
        ("CREATE INDEX taken ON built USING ivfflat (e vector_l2_ops) WITH (lists = 3)", "ivfflat.*lists = 3"),
        ("CREATE INDEX taken ON built (id)", "the name taken is taken"),
        ("CREATE VIEW taken AS SELECT 1", "the name taken is taken"),
    ],
)
def test_a_name_that_something_else_has(base: Pg8000Database, house: Connection, other: str, told: str) -> None:
    house.run(other)
    try:
        with pytest.raises(SchemaMismatch, match=told):
            build_index(base, planned(base, name="taken", m=8))
    finally:
        house.run("DROP VIEW IF EXISTS taken" if "VIEW" in other else "DROP INDEX taken")


# The build


def test_progress_is_the_servers_own(base: Pg8000Database) -> None:
    seen: list[Progress] = []
    build_index(base, planned(base, maintenance_work_mem=MB, workers=0), progress=seen.append)
    parts = [found.done for found in seen if found.done is not None]
    assert {found.phase for found in seen} <= {"initializing", "building index", "building index: loading tuples"}
    assert parts == sorted(parts)
    assert all(0 <= part <= 1 for part in parts)
    assert len(set(parts)) > 1
    assert standing(base) == {"built_e_l2_hnsw": True}


@pytest.mark.parametrize("concurrently", [False, True])
def test_settings_hold_for_the_build_alone(base: Pg8000Database, url: str, concurrently: bool) -> None:
    """What the server knows of the build while it runs, and of the session behind it."""
    base.execute_sql(
        "SET statement_timeout = '1min'; SET client_min_messages = 'error'; SET maintenance_work_mem='3MB'"
    )
    plan = planned(base, maintenance_work_mem=MB, workers=0, concurrently=concurrently)
    assert set(plan.settings) >= {"statement_timeout", "client_min_messages"}
    said: list[str] = []
    build_index(base, plan, notice=said.append)
    assert ["no longer fits" in notice for notice in said] == [True], "memory and level of messages are set"
    names = ("maintenance_work_mem", "max_parallel_maintenance_workers", "statement_timeout", "client_min_messages")
    now = [base.execute_sql(f"SHOW {name}").fetchone() for name in names]
    assert now == [("3MB",), ("2",), ("1min",), ("error",)]


def test_the_settings_come_back_where_the_build_fails(base: Pg8000Database, house: Connection) -> None:
    plan = planned(base, maintenance_work_mem=16 * MB, workers=0, concurrently=True)
    house.run("ALTER TABLE built RENAME TO away")
    with pytest.raises(Exception, match="built"):
        build_index(base, plan)
    house.run("ALTER TABLE away RENAME TO built")
    assert base.execute_sql("SHOW maintenance_work_mem").fetchone() == ("64MB",)


def test_an_extension_outside_the_search_path(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        database.execute_sql("CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
        database.execute_sql("CREATE TABLE built (e ext.vector(2)); INSERT INTO built VALUES ('[1,2]')")
        for options in ({}, {"metric": "ip", "concurrently": True}, {"quantize": "bit", "metric": "cosine"}):
            plan = planned(database, **options)
            assert (plan.settings, '"ext".vector_' in plan.create or '"ext"."' in plan.create) == ({}, True)
            build_index(database, plan)
        assert list(standing(database).values()) == [True] * 3
        assert database.execute_sql("SHOW search_path").fetchone() == ('"$user", public',)


def test_inside_a_transaction(base: Pg8000Database) -> None:
    with base.atomic() as transaction:
        build_index(base, planned(base, maintenance_work_mem=16 * MB))
        assert base.execute_sql("SHOW maintenance_work_mem").fetchone() == ("64MB",)
        with pytest.raises(InvalidOption, match="cannot run in a transaction"):
            build_index(base, planned(base, concurrently=True, name="other"))
        transaction.rollback()
    assert standing(base) == {}


# Repair


@pytest.mark.parametrize("concurrently", [False, True])
@pytest.mark.parametrize("left", ["built_e_l2_hnsw", "left by another", "built_e_l2_hnsw of another m"])
def test_an_invalid_index_is_built_again(base: Pg8000Database, left: str, concurrently: bool) -> None:
    name, of_another_m, _ = left.partition(" of")
    build_index(base, planned(base, name=name, m=4 if of_another_m else None))
    invalidate(base, name)
    plan = planned(base, concurrently=concurrently, m=16)
    assert [other.name for other in plan.invalid] == [name]
    assert plan.sql[0] == f'DROP INDEX {"CONCURRENTLY " if concurrently else ""}IF EXISTS "public"."{name}"'
    build_index(base, plan)
    assert standing(base) == {"built_e_l2_hnsw": True}


def test_other_indexes_are_left_alone(base: Pg8000Database) -> None:
    for options in ({"metric": "ip"}, {"quantize": "halfvec"}, {"name": "another"}):
        build_index(base, planned(base, **options))
    invalidate(base, "built_e_ip_hnsw")
    assert planned(base).invalid == ()
    build_index(base, planned(base))
    assert standing(base) == {
        "another": True,
        "built_e_ip_hnsw": False,
        "built_e_l2_halfvec_hnsw": True,
        "built_e_l2_hnsw": True,
    }


def test_an_index_that_somebody_builds(base: Pg8000Database, house: Connection, url: str) -> None:
    """It is not valid, either, and must not be dropped: also where the counters of who builds cannot be seen."""
    plan = planned(base)
    with connect(url) as writer, connect(url) as builder:
        writer.run("BEGIN; INSERT INTO built (e) SELECT e FROM built LIMIT 1")
        thread = Thread(target=builder.run, args=(plan.create.replace("INDEX", "INDEX CONCURRENTLY", 1),))
        thread.start()
        while standing(base) != {plan.name: False}:
            pass
        with pytest.raises(SchemaMismatch, match="is being built by another session"):
            planned(base)
        blind = Pg8000Database(url)
        with blind.connection_context(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("lightvec.peewee.invalid_indexes.LOCK_TIMEOUT", 1)
            patch.setattr(
                "lightvec.peewee.catalog._INDEXES",
                re.sub(r"EXISTS \(SELECT FROM pg_catalog.pg_stat_progress.*?c.oid\)", "false", catalog._INDEXES),
            )
            seen = planned(blind)
            assert [other.name for other in seen.invalid] == [plan.name]
            with pytest.raises(SchemaMismatch, match="wait until that is done"):
                build_index(blind, seen)
        writer.run("COMMIT")
        thread.join(30)
    assert standing(base) == {plan.name: True}


# What stops it


def process_of(conn: Connection) -> int:
    rows: Any = conn.run("SELECT pg_backend_pid()")
    return int(rows[0][0])


class _Stopped(BaseException):
    """What no code expects."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, _Stopped])
@pytest.mark.parametrize("concurrently", [False, True])
def test_stopped_in_the_middle(
    base: Pg8000Database, house: Connection, error: type[BaseException], concurrently: bool
) -> None:
    """Whatever the caller's own code raises cancels the build; nobody is in the way of dropping what it left."""
    plan = planned(base, maintenance_work_mem=MB, workers=0, concurrently=concurrently)

    def stop(found: Progress) -> None:
        if found.phase == "building index: loading tuples":
            raise error

    with pytest.raises(error):
        build_index(base, plan, progress=stop)
    assert standing(base) == {}
    assert base.execute_sql("SHOW maintenance_work_mem").fetchone() == ("64MB",)
    assert house.run("SELECT count(*) FROM pg_stat_progress_create_index") == [[0]]
    build_index(base, plan)
    assert standing(base) == {plan.name: True}


def test_who_waits_says_for_whom_and_leaves_what_cannot_be_dropped(
    base: Pg8000Database, house: Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightvec.peewee.index_build.LOCK_TIMEOUT", 1)
    plan = planned(base, concurrently=True)
    with connect(url) as writer:
        pid = process_of(writer)
        writer.run("BEGIN; INSERT INTO built (e) SELECT e FROM built LIMIT 1")

        def stop(found: Progress) -> None:
            if found.waits_for is not None:
                assert found == Progress("waiting for writers before build", waits_for=pid)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_index(base, plan, progress=stop)
        assert standing(base) == {plan.name: False}
        writer.run("ROLLBACK")
    again = planned(base)
    assert [other.name for other in again.invalid] == [plan.name]
    build_index(base, again)
    assert standing(base) == {plan.name: True}


def test_who_waits_for_the_table(base: Pg8000Database, url: str) -> None:
    plan = planned(base)
    with connect(url) as other:
        pid = process_of(other)
        other.run("BEGIN; LOCK TABLE built")

        def let(found: Progress) -> None:
            if found == Progress("waiting for a lock", waits_for=pid):
                other.run("COMMIT")

        build_index(base, plan, progress=let)
    assert standing(base) == {plan.name: True}


def test_a_statement_that_is_cancelled_by_others(base: Pg8000Database, house: Connection) -> None:
    plan = planned(base, maintenance_work_mem=MB, workers=0, concurrently=True)

    def stop(found: Progress) -> None:
        if found.done is not None:
            house.run("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index")

    with pytest.raises(Exception, match="57014"):
        build_index(base, plan, progress=stop)
    assert standing(base) == {}


def test_a_session_that_is_ended_by_others(base: Pg8000Database, house: Connection) -> None:
    plan = planned(base, maintenance_work_mem=MB, workers=0, concurrently=True)

    def stop(found: Progress) -> None:
        if found.done is not None:
            house.run("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")

    with pytest.raises(Exception, match="57P01"):
        build_index(base, plan, progress=stop)
    assert standing(base) == {plan.name: False}, "there is no session left to drop it on"
    build_index(base, planned(base))
    assert standing(base) == {plan.name: True}


def test_without_room_for_a_second_connection(base: Pg8000Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build goes on, with one notice that no progress is shown."""
    plan = planned(base)
    monkeypatch.setitem(base.connect_params, "user", "nobody-there")
    notices: list[str] = []
    seen: list[Progress] = []
    build_index(base, plan, progress=seen.append, notice=notices.append)
    assert (seen, [each[:21] for each in notices]) == ([], ["no progress is shown:"])
    assert standing(base) == {plan.name: True}


# Behind a pooler


def test_behind_a_transaction_pooler(server: Server, url: str, house: Connection, tmp_path: Path) -> None:
    with Pooler(server) as pooler:
        pooled = pooler.url(url)
        assert left_behind(pooled) == []
        database = Pg8000Database(pooled)
        with database.connection_context():
            seen: list[Progress] = []
            said: list[str] = []
            options: dict[str, Any] = {"maintenance_work_mem": MB, "workers": 0}
            build_index(database, planned(database, **options), progress=seen.append, notice=said.append)
            assert ["no longer fits" in notice for notice in said] == [True]
            assert any(found.done for found in seen), "it is found by its table"
            with pytest.raises(InvalidOption, match=r"maintenance_work_mem, max_parallel.*behind a connection pooler"):
                build_index(database, planned(database, name="other", concurrently=True, **options))
            build_index(database, planned(database, name="other", concurrently=True))
        assert left_behind(pooled) == []
    assert len(house.run("SELECT FROM pg_index WHERE indrelid = 'built'::regclass AND indisvalid") or ()) == 3


# Somebody else


def test_the_same_index_was_built_meanwhile(base: Pg8000Database) -> None:
    plan = planned(base)
    build_index(base, plan)
    with pytest.raises(SchemaMismatch, match=f"the name {plan.name} is taken .*: run the command again"):
        build_index(base, plan)
    assert planned(base).exists


def test_the_same_index_is_built_at_once(base: Pg8000Database, url: str) -> None:
    """Neither sees the other's name, so that it is the catalog's own index that refuses the second."""
    plan = planned(base)
    with connect(url) as other:
        other.run("BEGIN")
        other.run(plan.create)

        def commit() -> None:
            time.sleep(1)
            other.run("COMMIT")

        committing = Thread(target=commit)
        committing.start()
        with pytest.raises(SchemaMismatch, match="is taken") as refused:
            build_index(base, plan)
        committing.join()
    assert getattr(refused.value.__cause__, "sqlstate", None) == "23505"
