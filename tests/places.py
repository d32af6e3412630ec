"""Folders, ports and programs for the tests' servers."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

#: What the names of folders begin with.
_PREFIX = "lightvec-tests-"
#: Seconds that a new folder has to be locked.
_TO_LOCK = 60


def open_folder(prefix: str) -> Path:
    """A new folder that every account can enter; pytest's own are closed when root runs the tests, and the server's
    account could not reach its data there.

    This process holds a lock on it until it ends, so that another run can tell whether it is still used.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{prefix}-", dir=_quick_disk()))
    folder.chmod(0o755)
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    return folder


def remove_abandoned() -> None:
    """Remove the folders of test processes that were killed, and end the servers that run in them."""
    for folder in _quick_disk().glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_ctime > _TO_LOCK and _is_unlocked(folder):
                for file in folder.rglob("postmaster.pid"):
                    _end_server(int(file.read_text().split()[0]), folder)
                shutil.rmtree(folder)


def _is_unlocked(folder: Path) -> bool:
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(number)
    return True


def _end_server(pid: int, folder: Path) -> None:
    """End a server at once, unless its number is that of another process now."""
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        if str(folder) in (process / "cmdline").read_text():
            os.kill(pid, signal.SIGQUIT)
            deadline = time.monotonic() + 10
            while process.exists() and time.monotonic() < deadline:
                time.sleep(0.01)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def installed(name: str, package: str) -> str:
    """The path of a program; where it is missing, the test fails in CI and is skipped elsewhere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        message = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def _quick_disk() -> Path:
    """Memory if there is plenty: on ext4, making and removing databases over and over takes 4 times as long."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    return memory if plenty and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
