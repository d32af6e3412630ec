"""Folders that any account can reach (root's pytest folders are closed), and code run in other processes."""

from __future__ import annotations

# A child that has become another user cannot import what lies in root's home, so everything is imported here.
import fcntl  # noqa: F401
import os
import pwd  # noqa: F401
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pg8000.native import Connection

import lightvec
from lightvec.server import Server, programs, stop
from tests.places import open_folder

NOBODY = 65534


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that every account can enter; the servers in its subfolders are stopped in the end."""
    folder = open_folder("test")
    yield folder
    for file in [*folder.rglob("postmaster.pid")]:
        stop(file.parents[1])
    shutil.rmtree(folder)


@pytest.fixture
def path(base: Path) -> Path:
    """Where a server may be made."""
    return base / "db"


@pytest.fixture
def system_folder(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for /var/lib/lightvec."""
    folder = base / "system"
    monkeypatch.setattr(programs, "SYSTEM_FOLDER", folder)
    return folder


def query(server: Server, sql: str) -> Any:
    """The first column of the first row, through the server's socket."""
    connection = Connection("postgres", unix_sock=str(server.socket_folder / f".s.PGSQL.{server.port}"), timeout=20)
    try:
        rows = connection.run(sql)
        return rows[0][0] if rows else None
    finally:
        connection.close()


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs ``code`` with warnings as errors; its input and output are pipes."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(lightvec.__file__).parents[1]), *sys.path])},
    )


def is_gone(pid: int) -> bool:
    """Whether a process has ended, within a moment, and has closed its sockets, which it does last."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@contextmanager
def user(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the server of ``path`` until its input is closed; entered when it runs."""
    code = """
import sys
from lightvec.server import Server
with Server(sys.argv[1]) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
    with ExitStack() as stack:
        process = stack.enter_context(python(code, path))
        stack.callback(process.kill)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("postgresql://"), process.communicate(timeout=20)
        yield process


def finish(process: subprocess.Popen[str]) -> str:
    """Close the process's input, and see it end well and say nothing on stderr."""
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return output


def in_child(task: Callable[[], str], *, uid: int | None = None) -> str:
    """What ``task`` returns in a forked child, which becomes user ``uid``, or its error as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _report(task, uid, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def as_ordinary_user(task: Callable[[], str]) -> str:
    """The same as an ordinary user: the present one, or nobody if that is root."""
    return in_child(task, uid=NOBODY if os.geteuid() == 0 else None)


def _report(task: Callable[[], str], uid: int | None, writing: int) -> None:
    try:
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        answer = task()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    os.write(writing, answer.encode())
    os._exit(0)


@contextmanager
def small_disk(base: Path, megabytes: int) -> Iterator[Path | None]:
    """A file system of this size, or None where mounting is not permitted."""
    disk = base / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "lightvec-test", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield disk if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)
