"""Several processes on one path."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lightvec.server import Server, status, stop
from tests.server.conftest import finish, is_gone, python, query, user


def test_processes_that_start_at_the_same_moment(path: Path) -> None:
    code = """
import sys
from lightvec.server import Server, status
with Server(sys.argv[1]):
    print(status(sys.argv[1]).pid, flush=True)
    sys.stdin.readline()
"""
    processes = [python(code, path) for _ in range(4)]
    outputs = [process.stdout for process in processes]
    pids = {output.readline() for output in outputs if output is not None}
    assert len(pids) == 1, "each process has started a server"
    for process in processes:
        assert status(path).running
        finish(process)
    assert not status(path).running


def test_one_leaves_and_the_other_continues(path: Path) -> None:
    with user(path) as first, user(path) as second:
        finish(first)
        with Server(path) as server:
            assert query(server, "select 1") == 1
        assert status(path).running
        finish(second)
    assert not status(path).running


def test_processes_that_come_and_go(path: Path) -> None:
    code = """
import sys
from lightvec.server import Server
for _ in range(8):
    with Server(sys.argv[1]) as server:
        pass
"""
    processes = [python(code, path) for _ in range(3)]
    for process in processes:
        finish(process)
    assert not status(path).running


def test_a_killed_user_is_no_longer_counted(path: Path) -> None:
    with user(path) as process:
        pid = status(path).pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert status(path).pid == pid
    with Server(path) as server:
        assert query(server, "select 1") == 1
        assert status(path).pid == pid
    assert not status(path).running


def test_a_user_killed_while_it_makes_the_database(path: Path) -> None:
    process = python("import sys; from lightvec.server import start; start(sys.argv[1])", path)
    with process:
        deadline = time.monotonic() + 20
        while not list(path.glob("data.new-*/base")) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    assert not (path / "data").exists()
    with Server(path) as server:
        assert query(server, "select 1") == 1
    assert not list(path.glob("data.new-*"))


def test_start_survives_the_process(path: Path) -> None:
    code = "import sys; from lightvec.server import start; print(start(sys.argv[1]).url)"
    url = finish(python(code, path)).strip()
    found = status(path)
    assert (found.running, found.url) == (True, url)
    finish(python("import sys; from lightvec.server import stop; assert stop(sys.argv[1])", path))
    assert found.pid is not None
    assert is_gone(found.pid)


def test_ctrl_c_at_the_users_terminal_does_not_reach_the_server(path: Path) -> None:
    with user(path) as process:
        pid = status(path).pid
        assert pid is not None
        assert os.getpgid(pid) != os.getpgid(process.pid)
        assert os.getsid(pid) != os.getsid(process.pid)
        finish(process)
    assert stop(path) is False
