"""The public face: a server in a folder, for as long as somebody uses it."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from lightvec.errors import LightvecError, MissingExtra, ServerError
from lightvec.server import binaries, folders, locks, postmaster, settings
from lightvec.server.accounts import current
from lightvec.server.cluster import Cluster
from lightvec.server.failures import explained
from lightvec.server.locks import Lock
from lightvec.server.postmaster import Postmaster

# Seconds for a start: what a server takes to recover after a crash on a slow disk, and then some.
TIMEOUT = 60.0


@dataclass(frozen=True)
class Status:
    """What :func:`status` found: ``pid`` and ``url`` are None while no server runs, ``version`` (of the
    installed programs) without the extra. ``data`` and ``log`` say where things really are."""

    path: Path
    data: Path
    log: Path
    running: bool
    pid: int | None
    url: str | None
    version: str | None


@dataclass(frozen=True)
class _Use:
    """One use of a server: the lock that says so, and the server at that time."""

    lock: Lock
    postmaster: Postmaster


class Server:
    """A PostgreSQL server with pgvector whose data lies in ``path``; as a context manager, it runs inside the
    block.

    Entering makes the database at the first time, and starts the server or joins the one that runs. Leaving
    stops it when nobody else uses it: neither another block, thread or process, nor :func:`start`, which lets
    it run on. Users that are killed are no longer counted::

        with Server("./.lightvec") as server:
            connection = lightvec.connect(server.url)

    ``settings`` are PostgreSQL's, such as ``{"max_connections": "50"}``; a server that already runs without
    them is not joined. By default it listens on a socket that only this account (and root) can use, and on no
    network; with ``listen_addresses`` a password is asked for there. Committed data survives a crash.
    ``timeout`` is in seconds and holds for each of making, starting and stopping.

    As root, the server runs as the account ``postgres`` or ``nobody``, or as the one that owns the data
    already. No folder that lightvec did not make is opened to that account: if it cannot reach ``path``, the
    data lies below ``/var/lib/lightvec``, and :attr:`data` says where.

    Raises :class:`~lightvec.errors.ServerError`, :class:`~lightvec.errors.MissingExtra` without
    ``lightvec[embedded]`` and :class:`~lightvec.errors.InvalidOption` for settings that cannot be.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        settings: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cluster = _cluster(path, settings, timeout)
        self._uses: list[_Use] = []
        self._found: Postmaster | None = None

    def __repr__(self) -> str:
        return f"Server({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The folder that was asked for, absolute."""
        return self._cluster.folders.path

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory, ``path / "data"`` unless root had to put it elsewhere."""
        return self._cluster.folders.data

    @property
    def log(self) -> Path:
        """PostgreSQL's log."""
        return self._cluster.folders.log

    @property
    def socket_folder(self) -> Path:
        """The folder of the socket, which is the ``host`` of a connection."""
        return self._found.socket_folder if self._found else self._cluster.socket_folder

    @property
    def port(self) -> int:
        """The port, which is part of the socket's name too."""
        return self._found.port if self._found else self._cluster.port

    @property
    def url(self) -> str:
        """What to connect to: ``postgresql://postgres@/postgres?host=<socket folder>``, and the port if not 5432.

        Where the environment has a ``PGPORT``, which would name another socket, the port is always said.
        """
        return _url(self.socket_folder, self.port)

    def __enter__(self) -> Server:
        use = _enter(self._cluster)
        self._found = use.postmaster
        self._uses.append(use)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _leave(self._cluster, self._uses.pop())

    def _start(self) -> None:
        """Start or join, and let it run on."""
        place = self._cluster.folders
        _prepare(place)
        with locks.alone(place, self._cluster.timeout):
            self._found = self._cluster.join_or_start()
            with explained(f"make {place.keep}"):
                os.close(folders.open_file(place.keep, place.account))

    def _renew(self, wanted: Cluster) -> None:
        """Join again, in case the server was stopped or crashed meanwhile."""
        _prepare(wanted.folders)
        with locks.alone(wanted.folders, wanted.timeout):
            self._found = wanted.join_or_start()


def start(
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Server:
    """Start the server of ``path``, or take the running one, and let it run on after this process, until
    :func:`stop`.

    Arguments and errors are :class:`Server`'s.
    """
    server = Server(path, settings=settings, timeout=timeout)
    server._start()
    return server


def stop(path: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> bool:
    """Stop the server of ``path`` at once, under its users if there are any. False if none runs."""
    cluster = _cluster(path, None, timeout)
    if not cluster.folders.lock.exists():
        return False
    with locks.alone(cluster.folders, timeout):
        cluster.folders.keep.unlink(missing_ok=True)
        return cluster.stop()


def status(path: str | os.PathLike[str]) -> Status:
    """Whether the server of ``path`` runs, and where. Nothing is made or started."""
    place = folders.locate(path)
    with explained(f"look at the server in {place.home}"):
        found = postmaster.running(place.data)
    return Status(
        path=place.path,
        data=place.data,
        log=place.log,
        running=found is not None,
        pid=found.pid if found else None,
        url=_url(found.socket_folder, found.port) if found else None,
        version=_version(),
    )


def ensure(
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Server:
    """The server of ``path``, running for the rest of this process; the same object at each call for a path.

    It is left as a block of :class:`Server` would be when the interpreter exits. A forked child is no user:
    it calls this again to become one. Arguments and errors are :class:`Server`'s.
    """
    wanted = Server(path, settings=settings, timeout=timeout)
    with _registry.guard:
        server = _registry.servers.get(wanted.path)
        if server is None:
            server = _registry.servers[wanted.path] = wanted.__enter__()
        else:
            server._renew(wanted._cluster)
        return server


class _Registry:
    """The servers that :func:`ensure` holds in this process."""

    def __init__(self) -> None:
        self.clear()
        atexit.register(self.release)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        """Forget all, without leaving: a forked child's copies are the parent's."""
        self.guard = threading.Lock()
        self.servers: dict[Path, Server] = {}

    def release(self) -> None:
        """Leave all. At exit nobody is there to read an error any more, and the next user of the path will meet it."""
        with self.guard:
            while self.servers:
                _, server = self.servers.popitem()
                with contextlib.suppress(LightvecError):
                    server.__exit__(None, None, None)


_registry = _Registry()


def _cluster(path: str | os.PathLike[str], wanted: Mapping[str, str] | None, timeout: float) -> Cluster:
    return Cluster(folders.locate(path), settings.checked(wanted), timeout)


def _prepare(place: folders.Folders) -> None:
    """Make the folder of a new server, but not where the programs to fill it are missing."""
    if not place.home.is_dir():
        binaries.find()
    folders.prepare(place)


def _enter(cluster: Cluster) -> _Use:
    _prepare(cluster.folders)
    with locks.alone(cluster.folders, cluster.timeout):
        lock = locks.use(cluster.folders)
        try:
            return _Use(lock, cluster.join_or_start())
        except BaseException:
            lock.close()
            raise


def _leave(cluster: Cluster, use: _Use) -> None:
    """Stop being a user, and stop the server if that was the last one and :func:`start` does not want it on."""
    if use.lock.pid != os.getpid():
        return
    try:
        if not cluster.folders.lock.exists():
            postmaster.kill(use.postmaster.pid, cluster.folders.data)
            return
        with locks.alone(cluster.folders, cluster.timeout):
            if use.lock.exclusive() and not cluster.folders.keep.exists():
                cluster.abandon()
            use.lock.close()
    finally:
        use.lock.close()


def _url(socket_folder: Path, port: int) -> str:
    url = f"postgresql://postgres@/postgres?host={quote(os.fsencode(socket_folder))}"
    return f"{url}&port={port}" if port != settings.DEFAULT_PORT or "PGPORT" in os.environ else url


def _version() -> str | None:
    try:
        return binaries.version(binaries.find(), current())
    except (MissingExtra, ServerError, OSError):
        return None
