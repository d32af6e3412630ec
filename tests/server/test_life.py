"""A server's life in one process: made, started, joined, left."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest

import lightvec
from lightvec.errors import InvalidOption, ServerError
from lightvec.server import Server, ensure, path_of, start, status, stop, temporary
from lightvec.server import settings as server_settings
from lightvec.server.folders import Lock
from tests.server.conftest import finish, in_child, python, query


def test_first_start_has_pgvector_and_says_nothing(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Server(path) as server:
        assert query(server, "select '[1,2]'::vector <-> '[1,3]'") == 1
        assert server.url == f"postgresql://postgres@/postgres?host={path}/data"
        assert (server.path, server.data, server.log) == (path, path / "data", path / "data" / "server.log")
        assert (server.socket_folder, server.port) == (path / "data", 5432)
    assert not status(path).running
    assert capfd.readouterr() == ("", "")


def test_pgvector_exists_in_new_databases_too(path: Path) -> None:
    with Server(path) as server:
        query(server, "create database shop")
        with lightvec.connect(server.url.replace("/postgres?", "/shop?")) as conn:
            assert conn.run("SELECT '[1,2]'::vector") == [[[1, 2]]]


def test_pgvector_is_created_in_the_databases_of_an_older_lightvec(path: Path) -> None:
    with Server(path) as server:
        query(server, "drop extension vector")
    with Server(path) as server:
        assert query(server, "select to_regtype('vector')") is None, "it is created once"
    (path / "extension").unlink()
    with Server(path) as server:
        assert query(server, "select to_regtype('vector')") == "vector"


def test_a_database_that_was_dropped_does_not_keep_the_server_from_starting(path: Path) -> None:
    with Server(path) as server:
        query(server, "create database other")
        with lightvec.connect(server.url.replace("/postgres?", "/other?")) as conn:
            conn.run("DROP DATABASE postgres")
    (path / "extension").unlink()
    with Server(path) as server, lightvec.connect(server.url.replace("/postgres?", "/other?")) as conn:
        assert conn.run("SELECT 1") == [[1]]


def test_a_models_table_can_be_created_at_once(path: Path) -> None:
    """The first script of a newcomer."""
    code = """
import sys
from peewee import Model, TextField
from lightvec.peewee import Pg8000Database, VectorField

db = Pg8000Database(f"embedded:{sys.argv[1]}")

class Note(Model):
    text = TextField()
    embedding = VectorField(3, metric="cosine", index="hnsw")

    class Meta:
        database = db

db.create_tables([Note])
Note.create(text="tea", embedding=[1, 0, 0])
print([note.text for note in Note.embedding.nearest([1, 0, 0], k=1)])
db.close()
"""
    assert finish(python(code, path)) == "['tea']\n"


def test_the_folder_that_a_url_names() -> None:
    assert path_of("embedded:/srv/a b") == Path("/srv/a b")
    assert path_of("embedded:../db") == Path("../db")
    assert path_of("embedded:") == Path(".lightvec")
    assert Server(path_of("embedded:~/db") or "").path == Path.home() / "db"
    assert path_of("postgresql:///embedded:x") is None
    assert path_of("embedded") is None


def test_data_survive(path: Path) -> None:
    with Server(path) as server:
        query(server, "create table t as select 42 as n")
    with Server(path) as server:
        assert query(server, "select n from t") == 42


def test_the_database_is_durable_and_knows_all_scripts(path: Path) -> None:
    with Server(path) as server:
        assert query(server, "show fsync") == "on"
        assert query(server, "show server_encoding") == "UTF8"
        assert query(server, "select lower('ÜBER') || upper('é')") == "überÉ"
        assert query(server, "select array_agg(x order by x) from unnest('{b,B,a}'::text[]) x") == [
            "B",
            "a",
            "b",
        ]


def test_only_the_account_can_reach_it(path: Path) -> None:
    with Server(path) as server:
        socket_mode = (server.socket_folder / ".s.PGSQL.5432").stat().st_mode & 0o777
        assert query(server, "show listen_addresses") == ""
    assert socket_mode == 0o700
    assert (path / "data").stat().st_mode & 0o777 == 0o700
    assert server.log.stat().st_mode & 0o777 == 0o600


def test_folders_above_are_left_as_they_were(base: Path) -> None:
    path = base / "new" / "deeper" / "db"
    above = [base, *base.parents]
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    with Server(path):
        pass
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before
    assert [entry.name for entry in path.parent.iterdir()] == ["db"]


def test_an_existing_folder_keeps_its_mode(path: Path) -> None:
    path.mkdir(mode=0o755)
    (path / "notes.txt").touch()
    before = path.stat()
    with Server(path) as server:
        assert server.data == path / "data"
    assert (path.stat().st_mode, path.stat().st_uid) == (before.st_mode, before.st_uid)


def test_blocks_in_one_process_share_the_server(path: Path) -> None:
    with Server(path) as outer:
        with Server(path) as inner, inner:
            pid = status(path).pid
        assert query(outer, "select 1") == 1
        assert status(path).pid == pid
    assert not status(path).running


def test_a_server_that_was_not_started_has_no_url(path: Path) -> None:
    with pytest.raises(ServerError, match="enter its block first"):
        _ = Server(path).url


def test_the_data_are_removed_inside_the_block(path: Path) -> None:
    with Server(path):
        assert stop(path)
        shutil.rmtree(path)
    assert not path.exists()


def test_a_server_object_can_be_used_again(path: Path) -> None:
    server = Server(path)
    for _ in range(2):
        with server:
            assert query(server, "select 1") == 1
    assert not status(path).running


def test_an_error_in_the_block_still_stops_the_server(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Server(path):
        raise ZeroDivisionError
    assert not status(path).running


def test_start_stop_status(path: Path) -> None:
    assert stop(path) is False
    assert not path.exists()
    server = start(path)
    found = status(path)
    assert (found.running, found.url, found.path, found.data) == (True, server.url, path, path / "data")
    assert found.pid is not None
    assert re.fullmatch(r"18\.[\d.]+", found.version or "")
    with Server(path):
        pass
    assert status(path).pid == found.pid, "leaving a block stopped a server that start() wants to run"
    assert stop(path) is True
    assert stop(path) is False
    found = status(path)
    assert (found.running, found.pid, found.url) == (False, None, None)


def test_stop_under_a_user(path: Path) -> None:
    with Server(path):
        assert stop(path) is True
    assert not status(path).running


def test_settings(path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    wanted = {"listen_addresses": "127.0.0.1", "port": port, "Max_Connections": "17"}
    with Server(path, settings=wanted) as server:
        assert server.url == f"postgresql://postgres@/postgres?host={path}/data&port={port}"
        assert query(server, "show max_connections") == "17"
        with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
            pass
        with Server(path) as joined:
            assert (joined.port, joined.url) == (int(port), server.url)
        with Server(path, settings={"max_connections": "17"}):
            pass


def test_over_tcp_a_password_is_asked_for(path: Path) -> None:
    with Server(path) as server:
        methods = query(server, "select array_agg(distinct auth_method) from pg_hba_file_rules where type = 'host'")
    assert methods == ["scram-sha-256"]


def test_a_running_server_without_the_settings_is_not_joined(path: Path) -> None:
    with Server(path):
        with pytest.raises(ServerError, match=r"already runs without max_connections=17: stop it first"):
            Server(path, settings={"max_connections": "17"}).__enter__()
        assert status(path).running


@pytest.mark.parametrize("name", ["unix_socket_directories", "data_directory", "a b", "x;y", ""])
def test_settings_that_cannot_be_given(path: Path, name: str) -> None:
    with pytest.raises(InvalidOption, match="setting"):
        Server(path, settings={name: "1"})


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "", "²"])
def test_ports_that_cannot_be(path: Path, port: str) -> None:
    with pytest.raises(InvalidOption, match="from 1 to 65535"):
        Server(path, settings={"port": port})


def test_small_shared_memory_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_settings, "_SHARED_MEMORY_BYTES", 1 << 60)
    with Server(path) as server:
        assert query(server, "show dynamic_shared_memory_type") == "sysv"
        query(server, "set max_parallel_workers_per_gather = 2")


def test_ensure_gives_the_same_server_until_the_process_ends(path: Path) -> None:
    code = """
import sys
from lightvec.server import ensure, stop
server = ensure(sys.argv[1])
assert ensure(sys.argv[1] + "/../db") is server
stop(sys.argv[1])
assert ensure(sys.argv[1]) is server
sys.stdin.read()
print(server.url)
"""
    process = python(code, path)
    assert finish(process).startswith("postgresql://")
    assert (path / "data" / "PG_VERSION").exists()
    assert not status(path).running


def test_a_server_that_ensure_could_not_start_is_not_left(base: Path) -> None:
    """The process ends in silence, and leaves the servers that it did use."""
    code = """
import sys
from pathlib import Path
from lightvec.errors import ServerError
from lightvec.server import ensure
broken, good = sys.argv[1:]
Path(broken, "data").mkdir(parents=True)
Path(broken, "data", "PG_VERSION").touch()
try:
    ensure(broken)
except ServerError as error:
    print(error)
ensure(good)
"""
    assert "pg_ctl failed" in finish(python(code, base / "broken", base / "good"))
    assert (base / "good" / "data" / "PG_VERSION").exists()
    assert not status(base / "good").running


def test_a_forked_child_does_not_release_its_parents_server(path: Path) -> None:
    def leave() -> str:
        server.__exit__(None, None, None)
        with Server(path) as own:
            return str(query(own, "select 'child'"))

    with Server(path) as server:
        pid = status(path).pid
        assert in_child(leave) == "child"
        assert status(path).pid == pid
        assert query(server, "select 1") == 1


def test_ensure_in_a_forked_child(path: Path) -> None:
    code = """
import os, sys
from lightvec.server import ensure, status
path = sys.argv[1]
parents = ensure(path)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert status(path).running
else:
    assert ensure(path) is not parents
"""
    finish(python(code, path))
    assert not status(path).running


def test_the_server_inherits_no_lock(path: Path) -> None:
    with Server(path):
        start(path)
    assert status(path).running
    for folder in (path, path / "data"):
        lock = Lock(folder)
        assert lock.acquire()
        lock.release()


def test_no_descriptor_stays_open(path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Server(path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_ensure_here(path: Path) -> None:
    server = ensure(path)
    assert ensure(path) is server
    assert query(server, "select 1") == 1


def test_a_port_in_the_environment_is_another_servers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    with Server(path) as server, lightvec.connect(server.url) as conn:
        assert server.url == f"postgresql://postgres@/postgres?host={path}/data&port=5432"
        assert conn.run("SELECT 1") == [[1]]


def test_a_temporary_server() -> None:
    with temporary(settings={"max_connections": "17"}) as server:
        assert query(server, "show max_connections") == "17"
        assert query(server, "show fsync") == "off"
        path = server.path
    assert not path.parent.exists()
