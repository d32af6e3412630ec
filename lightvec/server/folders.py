"""Folders: created, and locked between processes. The kernel releases locks when a process ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightvec.errors import ServerError
from lightvec.server.failures import explained

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.01


def create_folder(folder: Path) -> None:
    """``mkdir -p``. The server's account can enter what root creates, whatever the umask is."""
    if not folder.is_dir():
        create_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o711)


@contextmanager
def locked(folder: Path, timeout: float) -> Iterator[None]:
    """Hold the lock on a folder; wait for it up to ``timeout`` seconds."""
    with explained(f"lock {folder}"):
        lock = Lock(folder)
    try:
        deadline = time.monotonic() + timeout
        while not lock.acquire():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"another process has been starting or stopping a server in {folder} for "
                    f"{timeout:g} s: wait for it, or end it"
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        lock.release()


class Lock:
    """An open folder, not locked at first. Started programs do not inherit it."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY)
        self._pid = os.getpid()

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy; the lock is the parent's."""
        return self._pid != os.getpid()

    def acquire(self, *, shared: bool = False) -> bool:
        """Lock it unless another process has; does not wait."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Unlock it. Closing is not enough while a forked child has a copy."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
