"""Folders, ports and programs for the tests' servers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest


def open_folder(prefix: str) -> Path:
    """A new folder that every account can enter; pytest's own are closed when root runs the tests, and the server's
    account could not reach its data there."""
    folder = Path(tempfile.mkdtemp(prefix=f"lightvec-{prefix}-", dir=_quick_disk()))
    folder.chmod(0o755)
    return folder


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
