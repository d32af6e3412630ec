"""create-index: what it says before, meanwhile and after, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightvec.pg8000 import Connection, connect
from tests.cli.conftest import Run
from tests.names.hostile import FEW


@pytest.fixture
def conn(empty_url: str) -> Iterator[Connection]:
    """A database with a table of 2,000 rows, without an index."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE doc (id bigserial PRIMARY KEY, e vector(16), other vector(3))")
        conn.copy_columns("doc", {"e": np.random.default_rng(0).random((2_000, 16), "f4")})
        yield conn


@pytest.fixture
def command(conn: Connection, empty_url: str) -> list[str]:
    """The command on that table."""
    return ["create-index", "doc", "--vector-column", "e", "--url", empty_url]


def indexes(conn: Connection) -> dict[str, str]:
    """The table's valid vector indexes, without their names in front."""
    rows = conn.run("SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indisvalid")
    return {name: sql.partition(" USING ")[2] for name, sql in rows or [] if "hnsw" in sql or "ivfflat" in sql}


@pytest.mark.parametrize(
    ("arguments", "name", "created"),
    [
        ((), "doc_e_cosine_hnsw", "hnsw (e vector_cosine_ops)"),
        (("--metric", "l2"), "doc_e_l2_hnsw", "hnsw (e vector_l2_ops)"),
        (("--m", 8, "--ef-construction", 32), "doc_e_cosine_hnsw", "WITH (m='8', ef_construction='32')"),
        (("--method", "ivfflat"), "doc_e_cosine_ivfflat", "WITH (lists='2')"),
        (("--method", "ivfflat", "--lists", 7), "doc_e_cosine_ivfflat", "WITH (lists='7')"),
        (("--quantize", "halfvec"), "doc_e_cosine_halfvec_hnsw", "(((e)::halfvec(16)) halfvec_cosine_ops)"),
        (("--quantize", "bit"), "doc_e_cosine_bit_hnsw", "binary_quantize(e))::bit(16)) bit_hamming_ops"),
        (("--name", 'my "own"', "--concurrently"), '"my ""own"""', "hnsw (e vector_cosine_ops)"),
        (("--maintenance-work-mem", "128MB", "--workers", 1), "doc_e_cosine_hnsw", "hnsw (e vector_cosine_ops)"),
    ],
)
def test_created_and_then_it_exists(
    run: Run, conn: Connection, command: list[str], arguments: tuple[object, ...], name: str, created: str
) -> None:
    outcome = run(*command, *arguments)
    assert (outcome.status, outcome.out) == (0, ""), outcome.err
    assert list(indexes(conn)) == [name]
    assert created in indexes(conn)[name]
    lines = outcome.err.splitlines()
    assert lines[0].startswith("about 2,000 rows: ")
    assert lines[-1].startswith("created: index ")
    again = run(*command, *arguments)
    assert (again.status, again.out) == (0, "")
    assert again.err == f"exists: index {lines[-1].removeprefix('created: index ').rpartition(',')[0]}\n"


def test_memory_that_is_not_enough(run: Run, command: list[str]) -> None:
    """Said before, with what would be enough, when it comes about, with the same, and not where it is enough."""
    outcome = run(*command, "--maintenance-work-mem", "1MB", "--workers", 0)
    advice = "--maintenance-work-mem 64MB"
    first, *_, last = outcome.err.splitlines()
    assert "maintenance_work_mem is 1 MB; a build that exceeds it is many times slower: use" in first
    assert advice in first
    notices = [line for line in outcome.err.splitlines() if line.startswith("the server says: hnsw graph")]
    assert len(notices) == 1
    assert "maintenance_work_mem" in notices[0]
    assert last.startswith("created")
    assert "building index: loading tuples" in outcome.err
    enough = run(*command, *advice.split(), "--name", "again")
    assert enough.status == 0
    assert "slower" not in enough.err
    assert "the server says" not in enough.err


def test_memory_without_which_it_fails(run: Run, conn: Connection, command: list[str]) -> None:
    outcome = run(*command, "--method", "ivfflat", "--lists", 2_000, "--maintenance-work-mem", "8MB")
    assert outcome.status == 1
    told, *_, failure = outcome.err.splitlines()
    assert "maintenance_work_mem is 8 MB; the build will fail: use --maintenance-work-mem 64MB" in told
    assert failure.startswith("lightvec: memory required is")
    assert indexes(conn) == {}
    outcome = run(*command, "--method", "ivfflat", "--lists", 2_000, "--maintenance-work-mem", "64MB")
    assert outcome.status == 0


def test_little_data(run: Run, conn: Connection, empty_url: str) -> None:
    conn.run("CREATE TABLE few (e vector(2))")
    outcome = run("create-index", "few", "--method", "ivfflat", "--lists", 5, "--url", empty_url)
    assert outcome.status == 0
    assert "the server says: ivfflat index created with little data; This will cause low recall" in outcome.err


def test_vectors_too_long_for_an_index(run: Run, conn: Connection, empty_url: str) -> None:
    conn.run("CREATE TABLE long (e vector(3000), b vector(5000))")
    outcome = run("create-index", "long", "--vector-column", "e", "--url", empty_url)
    assert outcome.status == 0
    assert "3,000 dimensions, more than an index takes of a vector column: it holds them as halfvec" in outcome.err
    assert run("create-index", "long", "--vector-column", "b", "--url", empty_url).status == 0
    assert set(indexes(conn)) == {"long_e_cosine_halfvec_hnsw", "long_b_cosine_bit_hnsw"}


def test_for_machines(run: Run, conn: Connection, command: list[str]) -> None:
    first, again = (json.loads(run(*command, "--json").out) for _ in range(2))
    assert first.pop("seconds") > 0
    assert again.pop("seconds") == 0
    assert first.pop("memory_needed") == again.pop("memory_needed") > 2_000 * 16 * 4
    told = {
        "index": "doc_e_cosine_hnsw",
        "table": "doc",
        "dropped": [],
        "rows": 2_000,
        "maintenance_work_mem": 64 << 20,
    }
    assert first == {**told, "created": True, "exists": False}
    assert again == {**told, "created": False, "exists": True}


def test_a_dry_run_prints_what_can_be_run(run: Run, conn: Connection, command: list[str]) -> None:
    options = ("--name", 'a"b', "--concurrently", "--maintenance-work-mem", "8MB")
    outcome = run(*command, *options, "--dry-run")
    assert outcome.status == 0
    assert indexes(conn) == {}
    *settings, create = outcome.out.splitlines()
    assert settings == ["SELECT set_config('maintenance_work_mem', '8192kB', false);"]
    conn.run(create)
    stands = run(*command, *options, "--dry-run")
    assert stands.out == '-- index a"b exists\n'
    assert json.loads(run(*command, "--dry-run", "--json").out)["sql"] == []


def test_an_index_that_an_interrupted_build_left(run: Run, conn: Connection, command: list[str]) -> None:
    assert run(*command).status == 0
    conn.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'doc_e_cosine_hnsw'::regclass")
    planned = run(*command, "--dry-run").out.splitlines()
    assert planned[0] == 'DROP INDEX IF EXISTS "public"."doc_e_cosine_hnsw";'
    outcome = run(*command, "--json")
    assert json.loads(outcome.out)["dropped"] == ["doc_e_cosine_hnsw"]
    assert "the index doc_e_cosine_hnsw is invalid, as an interrupted build leaves it: it is dropped" in outcome.err
    assert list(indexes(conn)) == ["doc_e_cosine_hnsw"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--m", 8), 1, "exists and differs (hnsw (e vector_cosine_ops))"),
        (("--metric", "l2", "--name", "doc"), 1, 'the name doc is taken (relation "doc" already exists'),
        (("--metric", "l2", "--name", "doc_pkey"), 1, 'the name doc_pkey is taken (relation "doc_pkey" already exists'),
        (("--metric", "far"), 2, "'far' is not a metric"),
        (("--metric", "l1", "--method", "ivfflat"), 2, "no ivfflat index on vector columns by l1"),
        (("--m", 1), 2, "expected m from 2 to 100, got 1"),
        (("--m", 50), 2, "ef_construction of at least twice m"),
        (("--lists", 5), 2, "--lists is for --method ivfflat"),
        (("--method", "ivfflat", "--m", 5), 2, "--m is for --method hnsw"),
        (("--maintenance-work-mem", "much"), 2, "expected an amount of memory, such as 512MB or 2GB, got 'much'"),
        (("--maintenance-work-mem", "1kB"), 1, "maintenance_work_mem"),
        (("--metric", "l2", "--workers", 5_000), 1, "max_parallel_maintenance_workers"),
        (("--workers", -1), 2, "--workers"),
        (("--name", ""), 2, "got an empty text"),
        (("--vector-column", "id"), 1, "are: e, other; id is none of them"),
    ],
)
def test_what_is_refused(
    run: Run, conn: Connection, command: list[str], arguments: tuple[object, ...], status: int, told: str
) -> None:
    assert run(*command).status == 0
    extra = ("--metric", "ip") if arguments[0] == "--maintenance-work-mem" else ()
    outcome = run(*command, *arguments, *extra)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err.splitlines()[-1]
    assert "SQLSTATE XX" not in outcome.err
    assert list(indexes(conn)) == ["doc_e_cosine_hnsw"]


def test_a_table_that_is_not_there(run: Run, command: list[str], empty_url: str) -> None:
    outcome = run("create-index", "dok", "--url", empty_url)
    assert (outcome.status, "there is no table dok; the tables there are: doc" in outcome.err) == (1, True)
    outcome = run("create-index", "doc", "--url", empty_url)
    assert (outcome.status, "are: e, other; one of them must be named" in outcome.err) == (1, True)


@pytest.mark.parametrize("concurrently", [False, True])
@pytest.mark.parametrize("name", FEW)
def test_hostile_names(run: Run, conn: Connection, empty_url: str, name: str, concurrently: bool) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    conn.run(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} vector(2)); CREATE TABLE untouched ()")
    conn.run(f"INSERT INTO {quoted}.{quoted} VALUES ('[1,2]')")
    flags = ["--concurrently"] if concurrently else []
    where = ["create-index", f"--schema={name}", "--url", empty_url, *flags]
    for extra in ([f"--name={name[:20]}2"], []):
        outcome = run(*where, *extra, "--maintenance-work-mem", "8MB", "--", name)
        assert outcome.status == 0, outcome.err
        assert run(*where, *extra, "--dry-run", "--", name).out.startswith("-- index ")
    rows = conn.run(
        "SELECT n.nspname, c.relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_am a ON a.oid = relam AND amname = 'hnsw'"
    )
    assert rows == [[name, f"{name[:20]}2"]], "without a name, the same index exists under the other name"
    assert conn.run("SELECT count(*) FROM untouched") == [[0]]


# A real interrupt


def process_of(conn: Connection) -> int:
    rows: Any = conn.run("SELECT pg_backend_pid()")
    return int(rows[0][0])


def interrupted(command: list[str], conn: Connection, folder: Path, waits: str) -> list[str]:
    """Sends the command a SIGINT once it says that it waits; what it told, after that it left with status 1."""

    arguments = [sys.executable, "-m", "lightvec", *command]
    with subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line.rstrip("\n"))
            if waits in line:
                process.send_signal(signal.SIGINT)
                break
        told += process.stderr.read().splitlines()
        assert process.wait(60) == 1
    assert "Traceback" not in "".join(told)
    assert conn.run("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active'") == [
        [0]
    ]
    return told


def test_interrupted(command: list[str], conn: Connection, empty_url: str, tmp_path: Path) -> None:
    with connect(empty_url) as other:
        pid = process_of(other)
        other.run("BEGIN; LOCK TABLE doc IN ROW EXCLUSIVE MODE")
        told = interrupted(command, conn, tmp_path, f"waiting for a lock  for process {pid}")
        assert told[-1] == "lightvec: interrupted: the build was canceled, and nothing of it was kept"
        other.run("ROLLBACK")
    assert conn.run("SELECT count(*) FROM pg_index WHERE indrelid = 'doc'::regclass") == [[1]]


def test_interrupted_concurrently(
    run: Run, command: list[str], conn: Connection, empty_url: str, tmp_path: Path
) -> None:
    """Who writes is in the way of dropping the rest, too: that is said, and the next call does it."""
    with connect(empty_url) as writer:
        pid = process_of(writer)
        writer.run("BEGIN; INSERT INTO doc DEFAULT VALUES")
        told = interrupted(
            [*command, "--concurrently"], conn, tmp_path, f"waiting for writers before build  for process {pid}"
        )
        assert told[-1] == (
            "lightvec: interrupted: an index may be left invalid, which no query uses: run the command again, which "
            "drops and rebuilds it"
        )
        writer.run("COMMIT")
    assert indexes(conn) == {}
    assert run(*command, "--concurrently").status == 0
    assert list(indexes(conn)) == ["doc_e_cosine_hnsw"]
