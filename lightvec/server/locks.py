"""Locks between processes: ``flock`` on files.

The kernel drops a lock when the process that holds it ends, however it ends, so nobody waits for the dead. A
lock is the process's own: programs that it starts do not inherit it (``O_CLOEXEC``), and a forked child
closes its copy, since a copy that a child kept would hold the lock on after its parent is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightvec.errors import ServerError
from lightvec.server.failures import explained
from lightvec.server.folders import Folders, open_file

_POLL_SECONDS = 0.01
_open: set[Lock] = set()


class Lock:
    """A lock on an open file. It is free at first."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.pid = os.getpid()
        _open.add(self)

    def shared(self) -> bool:
        """Take it together with others, unless somebody holds it alone. Does not wait."""
        return self._take(exclusive=False)

    def exclusive(self) -> bool:
        """Take it alone, unless somebody else holds it. Does not wait; what was held shared is given up either way."""
        return self._take(exclusive=True)

    def close(self) -> None:
        """Give it up. More than once does no harm, nor does it in a forked child."""
        if self in _open:
            _open.discard(self)
            os.close(self._descriptor)

    def _take(self, *, exclusive: bool) -> bool:
        import fcntl

        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def alone(folders: Folders, timeout: float) -> Iterator[None]:
    """Hold the lock under which a server is made, started and stopped."""
    with explained(f"lock {folders.lock}"):
        lock = Lock(open_file(folders.lock, folders.account))
    try:
        _wait(lock, folders, timeout)
        yield
    finally:
        lock.close()


def use(folders: Folders) -> Lock:
    """Become a user of the server; to be called under :func:`alone`."""
    with explained(f"lock {folders.users}"):
        lock = Lock(open_file(folders.users, folders.account))
        if not lock.shared():
            lock.close()
            raise ServerError(f"{folders.users} is locked by another program than lightvec: end that program")
    return lock


def _wait(lock: Lock, folders: Folders, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with explained(f"lock {folders.lock}"):
        while not lock.exclusive():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"another process has been starting or stopping the server in {folders.home} for "
                    f"{timeout:g} s (it holds {folders.lock}): wait for it, or end it"
                )
            time.sleep(_POLL_SECONDS)


def _close_copies() -> None:
    for lock in list(_open):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)
