"""The server that runs on a data directory, as ``postmaster.pid`` and its socket show it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

from lightvec.errors import ServerError

#: src/include/utils/pidfile.h.
_READY = ("ready", "standby")
_POLL_SECONDS = 0.005
_SECONDS_TO_QUIT = 10.0


class Postmaster(NamedTuple):
    """The server's main process; ``pid`` is 0 if it cannot be seen, as in another container."""

    pid: int
    socket_folder: Path
    port: int
    status: str


def running(data: Path) -> Postmaster | None:
    """The server that runs on ``data``, ready or not.

    The socket is what counts: a process id may be left over, reused, or another container's.
    """
    try:
        text = (data / "postmaster.pid").read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    lines = [*text.splitlines(), *[""] * 8]
    try:
        pid, port, folder = int(lines[0]), int(lines[3]), Path(lines[4])
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5.0)
            probe.connect(str(folder / f".s.PGSQL.{port}"))
            pid = _peer(probe, pid)
    except BlockingIOError:
        # It listens, but its queue of connections is full (EAGAIN), so it does not tell its id.
        pid = 0
    except (ValueError, OSError):
        return None
    return Postmaster(pid, folder, port, lines[7].strip())


def wait_until_ready(data: Path, timeout: float) -> Postmaster | None:
    """The server that runs on ``data``, once it accepts connections; None if none runs."""
    deadline = time.monotonic() + timeout
    while (found := running(data)) is not None and found.status not in _READY:
        if time.monotonic() > deadline:
            raise ServerError(
                f"the server in {data.parent} accepts no connection after {timeout:g} s (it is "
                f"{found.status or 'starting'}): see {data / 'server.log'}, or raise timeout="
            )
        time.sleep(_POLL_SECONDS)
    return found


def stop(data: Path, timeout: float) -> bool:
    """Stop the server that runs on ``data``, under its clients; False if none runs."""
    found = running(data)
    if found is None:
        return False
    if found.pid == 0:
        raise ServerError(
            f"the server in {data.parent} answers, but its process cannot be seen from here: stop "
            "it in the container that started it, or try again if it is only busy"
        )
    # A fast shutdown; if it takes too long an immediate one, without a checkpoint.
    for number, seconds in ((signal.SIGINT, timeout), (signal.SIGQUIT, _SECONDS_TO_QUIT)):
        _signal(found.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() <= deadline:
            # Its last act is to remove the file.
            if not (data / "postmaster.pid").exists() or not _signal(found.pid, 0):
                if found.socket_folder != data:
                    with contextlib.suppress(OSError):
                        found.socket_folder.rmdir()
                return True
            time.sleep(_POLL_SECONDS)
    raise ServerError(f"the server in {data.parent} does not stop: end process {found.pid}")


def _peer(probe: socket.socket, pid: int) -> int:
    """The id of the process that listens, as this process sees it; on macOS ``pid``."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid


def _signal(pid: int, number: int) -> bool:
    """Signal a process; False if it is gone. Signal 0 only asks whether it is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
