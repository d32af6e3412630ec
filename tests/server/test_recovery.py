"""What an earlier server left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lightvec.errors import ServerError
from lightvec.server import Server, start, status, stop
from tests.server.conftest import as_ordinary_user, is_gone, query


def kill_server(path: Path) -> None:
    pid = status(path).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert is_gone(pid)


def test_a_killed_server_is_started_again(path: Path) -> None:
    with Server(path) as server:
        query(server, "create table t as select 42 as n")
        kill_server(path)
        assert not status(path).running
        assert stop(path) is False
        with Server(path) as again:
            assert query(again, "select n from t") == 42


@pytest.mark.parametrize("content", ["", "nonsense\n", "{pid}\n", "{pid}\n{data}\n1\n5432\n{run}\n\n\nready\n"])
def test_a_pid_file_that_names_another_program(path: Path, content: str) -> None:
    """The number of a process of the same account, which PostgreSQL itself takes for a server that runs."""

    def run() -> str:
        with Server(path):
            pass
        text = content.format(pid=os.getpid(), data=path / "data", run=path / "data")
        (path / "data" / "postmaster.pid").write_text(text)
        (path / "data" / ".s.PGSQL.5432").touch()
        (path / "data" / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
        assert not status(path).running
        assert stop(path) is False
        with Server(path) as server:
            return str(query(server, "select 42"))

    path.parent.chmod(0o777)
    assert as_ordinary_user(run) == "42"


def test_a_server_that_is_too_busy_to_answer_is_left_running(path: Path) -> None:
    """Taken for a dead one it would lose postmaster.pid, and shut itself down."""
    with Server(path) as server, ExitStack() as stack:
        pid = status(path).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(server.socket_folder / f".s.PGSQL.{server.port}"))
        assert status(path).running
        with pytest.raises(ServerError, match=r"try again if it is only busy"):
            stop(path)
        with Server(path, timeout=5):
            pass
        assert (path / "data" / "postmaster.pid").exists()
        stack.close()
        deadline = time.monotonic() + 20
        while status(path).pid != pid and time.monotonic() < deadline:
            time.sleep(0.01)
        assert query(server, "select 1") == 1


def test_a_server_that_is_still_starting_is_waited_for(path: Path) -> None:
    with Server(path):
        pid_file = path / "data" / "postmaster.pid"
        ready = pid_file.read_bytes()
        pid_file.write_bytes(ready.replace(b"ready   ", b"starting"))
        timer = threading.Timer(0.3, pid_file.write_bytes, [ready])
        timer.start()
        begun = time.monotonic()
        with Server(path) as server:
            assert query(server, "select 1") == 1
        assert time.monotonic() - begun > 0.2
        timer.join()


def test_a_server_that_never_gets_ready(path: Path) -> None:
    with Server(path):
        pid_file = path / "data" / "postmaster.pid"
        ready = pid_file.read_bytes()
        pid_file.write_bytes(ready.replace(b"ready   ", b"starting"))
        with pytest.raises(ServerError, match=r"accepts no connection after 0\.1 s \(it is starting\)"):
            Server(path, timeout=0.1).__enter__()
        pid_file.write_bytes(ready)


def test_too_little_time(path: Path) -> None:
    with pytest.raises(ServerError, match=r"initdb took more than 0\.01 s"):
        start(path, timeout=0.01)
    assert not list(path.glob("data.new-*"))
    with Server(path):
        pass
    (path / "data" / "recovery.signal").touch()
    endless = {"restore_command": "sleep 60"}
    with pytest.raises(ServerError, match=r"was too slow to start \(raise timeout=\)"):
        start(path, timeout=0.1, settings=endless)
    (path / "data" / "recovery.signal").unlink()
    assert not status(path).running
    with Server(path) as server:
        assert query(server, "select 1") == 1


def test_a_server_that_does_not_stop_in_time_is_stopped_at_once(path: Path) -> None:
    server = start(path)
    query(server, "create table t as select 42 as n")
    assert stop(path, timeout=0) is True
    assert not (path / "data" / "postmaster.pid").exists()
    with Server(path) as again:
        assert query(again, "select n from t") == 42


def test_data_of_another_major_version(path: Path) -> None:
    with Server(path):
        pass
    (path / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match=r"initialized by PostgreSQL version 17, which is not compatible"):
        start(path)
