"""A server that runs: what ``postmaster.pid`` says of it, whether that is true, and how to end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lightvec.errors import ServerError

_POLL_SECONDS = 0.005
# Every half second; a server that is told to quit at once kills its own children after 5 s.
_TRIES_TO_KILL = 20
_SECONDS_TO_CLOSE = 0.1
# Status words, src/include/utils/pidfile.h.
_READY = ("ready", "standby")


@dataclass(frozen=True)
class Postmaster:
    """The server's first process, as ``postmaster.pid`` describes it (src/include/utils/pidfile.h)."""

    pid: int
    data: Path
    port: int
    socket_folder: Path
    status: str

    @property
    def ready(self) -> bool:
        """Whether it accepts connections."""
        return self.status in _READY

    def runs(self) -> bool:
        """Whether it exists. The socket is asked too: in another container on the same folder the process's number
        means nothing, and the socket still works. Twice, since a killed process is unseen before its sockets close.
        """
        if self.visible:
            return True
        if self._listens():
            time.sleep(_SECONDS_TO_CLOSE)
            return self._listens()
        return False

    @property
    def visible(self) -> bool:
        """Whether its process can be seen from here, and so be told to stop."""
        return is_postmaster(self.pid, self.data)

    def end(self, timeout: float) -> None:
        """Disconnect everybody, write everything and stop; without a checkpoint if that takes too long."""
        if not self.visible:
            raise ServerError(
                f"the server in {self.data.parent} answers, but process {self.pid} cannot be seen from here "
                "(it may be in another container): stop it there"
            )
        _send(self.pid, signal.SIGINT)
        if not _wait_for_end(self.pid, self.data, timeout):
            kill(self.pid, self.data)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket_folder / f".s.PGSQL.{self.port}"))
            except (TimeoutError, BlockingIOError):
                return True
            except OSError:
                return False
        return True


def described(data: Path) -> Postmaster | None:
    """What ``postmaster.pid`` says, or None if there is none. One that says nothing names process 0."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (8 - len(lines))
    try:
        pid, port = int(lines[0]), int(lines[3] or 0)
    except ValueError:
        pid = port = 0
    # A negative number is a server in single-user mode.
    return Postmaster(abs(pid), data, port, Path(lines[4]), lines[7].strip())


def running(data: Path) -> Postmaster | None:
    """The server that runs on ``data``, ready or not. A file left by one that is gone counts for nothing."""
    found = described(data)
    return found if found is not None and found.runs() else None


def wait_until_ready(data: Path, timeout: float) -> Postmaster | None:
    """The server that runs on ``data``, once it accepts connections; None if none runs, or if it ends."""
    deadline = time.monotonic() + timeout
    while (found := running(data)) is not None and not found.ready:
        if time.monotonic() > deadline:
            raise ServerError(
                f"the server in {data.parent} (process {found.pid}) runs, and accepts no connection after "
                f"{timeout:g} s (it is {found.status or 'starting'}): see {data.parent / 'log'}, or give it "
                "more time"
            )
        time.sleep(_POLL_SECONDS)
    return found


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether process ``pid`` is a server on ``data``: numbers are used again, by other programs too."""
    if pid <= 0 or not _exists(pid):
        return False
    command = _command(pid)
    patience = time.monotonic() + 1.0
    while not command and not _is_dead(pid) and time.monotonic() < patience:
        # For a moment of its exec a process has no command.
        time.sleep(_POLL_SECONDS)
        command = _command(pid)
    if str(data) in command:
        return True
    with contextlib.suppress(OSError):
        # For data that were moved under the server. Root without CAP_SYS_PTRACE may not look, as in Docker.
        return bool(command) and Path(f"/proc/{pid}/cwd").readlink() == data
    return False


def kill(pid: int, data: Path) -> None:
    """End process ``pid`` now, if it is a server on ``data``; the next start recovers what was committed."""
    if is_postmaster(pid, data):
        # Again and again: one that has just been launched ignores the signal at first.
        for _ in range(_TRIES_TO_KILL):
            _send(pid, signal.SIGQUIT)
            if _wait_for_end(pid, data, 0.5):
                return
        raise ServerError(f"the server in {data.parent} (process {pid}) does not stop: end the process")


def _wait_for_end(pid: int, data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_postmaster(pid, data):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _exists(pid: int) -> bool:
    # As number 1 of a container without an init, this process inherits dead servers and must reap them.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_dead(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state in "ZX"


def _command(pid: int) -> list[str] | str:
    """The arguments of a process, or one line of them where there is no /proc; none of one that is dead."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return []
    listing = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
    return os.fsdecode(listing.stdout)
