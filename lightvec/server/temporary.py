"""A server that is gone with the program that started it, data and all, however that program ends.

The program stops it and removes its folder when it leaves the block. A program that is killed leaves nothing to do it,
so a second process does: it waits until the pipe between the two breaks.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lightvec.errors import LightvecError
from lightvec.server import folders
from lightvec.server.server import TIMEOUT, Server, stop

__all__ = ["temporary"]

#: Data that nobody will miss need not be safe from a crash.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

#: It imports what this program can import, wherever that lies.
_GUARD = "import sys; sys.path[:] = sys.argv[2:]; from lightvec.server.temporary import guard; guard(sys.argv[1])"


@contextmanager
def temporary(*, settings: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> Iterator[Server]:
    """A new server in a temporary folder, stopped and removed at the end of the block, or when the process is killed.

    It does not wait for the disk, which makes it quicker and its data lost in a crash of the machine. ``settings``,
    ``timeout`` and errors are :class:`Server`'s.

    >>> import lightvec
    >>> with temporary() as server, lightvec.connect(server.url) as connection:
    ...     connection.run("SELECT 1")
    [[1]]
    """
    folder = Path(tempfile.mkdtemp(prefix="lightvec-"))
    # As root the server runs as another account, which has to pass through here; it closes what is its own.
    folder.chmod(0o711)
    path = folder / "db"
    guarding = _start_guard(path)
    try:
        with Server(path, settings={**_SETTINGS, **(settings or {})}, timeout=timeout) as server:
            yield server
    finally:
        remove(path)
        guarding.communicate()


def guard(path: str) -> None:
    """Wait until the program at the other end of standard input is gone, and remove its server."""
    sys.stdin.buffer.read()
    remove(Path(path))


def remove(path: Path) -> None:
    """Stop the server of this path, whoever uses it, and remove it; what is gone already is well."""
    with contextlib.suppress(LightvecError):
        stop(path)
        shutil.rmtree(folders.locate(path).home, ignore_errors=True)
    shutil.rmtree(path.parent, ignore_errors=True)


def _start_guard(path: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that an interrupt at the terminal does not end it before its work."""
    return subprocess.Popen(
        [sys.executable, "-c", _GUARD, str(path), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
