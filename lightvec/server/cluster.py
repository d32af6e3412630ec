"""A database in its folder: created, started, stopped.

::

    PATH/            for root /var/lib/lightvec/servers/PATH where its account cannot enter PATH
    ├── data/        PostgreSQL's data directory, with the socket and server.log
    ├── extension    exists when pgvector was created in template1 and postgres
    └── keep         exists while start() wants the server to keep running

A lock on PATH is held while the server starts or stops; each user of the server holds a shared lock
on PATH/data.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lightvec.errors import ServerError
from lightvec.server import postmaster, programs, settings
from lightvec.server.failures import explained, failure_reason
from lightvec.server.folders import create_folder, locked
from lightvec.server.postmaster import Postmaster

#: Seconds: recovery after a crash may take long.
TIMEOUT = 60.0
_SECONDS_AFTER_CRASH = 1.0
# sockaddr_un.sun_path, without the closing zero.
_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103

# The built-in provider is the same everywhere. Only the parser of full-text search uses LC_CTYPE:
# with C it takes every character beyond ASCII, also a dash, for a letter.
_INITDB = [
    "--username=postgres",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--lc-ctype=" + ("en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"),
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
    "--no-instructions",
]


class Cluster:
    """A database in its folder, with the settings and the timeout, in seconds, of its next start.

    ``path`` is what the user asked for, ``home`` where it is, alike in every process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        wanted: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if sys.platform == "win32":
            raise ServerError("the embedded server runs on Linux and macOS only: on Windows use WSL")
        self.settings = settings.checked(wanted)
        self.timeout = timeout
        try:
            self.path = Path(path).expanduser()
        except RuntimeError as error:
            raise ServerError(f"{path} is in an unknown user's home: write the path out") from error
        if re.search(r"[\r\n\0]", str(self.path)):
            raise ServerError(f"the path {str(path)!r} has a line break or zero byte: choose another")
        with explained(f"use {self.path}"):
            self.path = self.path.resolve()
            self.home = _home(self.path)
            self.data = self.home / "data"
            self.account = programs.account(self.data)
        self.log = self.data / "server.log"
        self.keep = self.home / "keep"
        self._extension = self.home / "extension"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which the server starts and stops; creates a missing folder."""
        if not self.home.is_dir():
            programs.find()
        with explained(f"create the folder {self.home}"):
            create_folder(self.home)
        with locked(self.home, self.timeout):
            yield

    def join_or_start(self) -> Postmaster:
        """The running server, or one that is started, created before if necessary."""
        with explained(f"use the server in {self.home}"):
            if found := postmaster.wait_until_ready(self.data, self.timeout):
                settings.check_running(self.settings, self.data)
                return found
            if not (self.data / "PG_VERSION").exists():
                self._create()
            self._start()
            if found := postmaster.wait_until_ready(self.data, self.timeout):
                return found
            raise ServerError(f"the server in {self.home} ended at once: see {self.log}")

    def stop(self) -> bool:
        """Stop the server; False if none runs."""
        with explained(f"stop the server in {self.home}"):
            return postmaster.stop(self.data, self.timeout)

    def _create(self) -> None:
        """Run initdb in a folder that gets its name when it is complete."""
        for leftover in self.home.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.home))
        try:
            self.account.own(new)
            programs.run("initdb", _INITDB, self.account, new, self.timeout)
            self._create_extension(new)
            new.rename(self.data)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        self._extension.touch()

    def _create_extension(self, data: Path) -> None:
        """Create pgvector where a user first looks, and where new databases are copied from."""
        for database in ("template1", "postgres"):
            arguments = ["--single", "-c", "exit_on_error=on", database]
            sql = "CREATE EXTENSION IF NOT EXISTS vector\n"
            programs.run("postgres", arguments, self.account, data, self.timeout, sql)

    def _start(self) -> None:
        # PostgreSQL removes these itself, unless a process of the same account has the old id.
        pid_file = self.data / "postmaster.pid"
        crashed = pid_file.exists()
        for leftover in (pid_file, *self.data.glob(".s.PGSQL.*")):
            leftover.unlink(missing_ok=True)
        try:
            self._launch()
        except ServerError:
            if not crashed:
                raise
            # PostgreSQL does not start beside the children of a killed server.
            time.sleep(_SECONDS_AFTER_CRASH)
            self._launch()

    def _launch(self) -> None:
        if not self._extension.exists():
            # Data of an older lightvec. What keeps the server from starting is reported below;
            # without one of the databases it starts all the same.
            with contextlib.suppress(ServerError, OSError):
                self._create_extension(self.data)
                self._extension.touch()
        options = settings.arguments(self.settings, self._socket_folder())
        # Relative names and PGDATA: pg_ctl pastes -D and -l into a shell command.
        command = ["start", "--silent", "--wait", f"--timeout={max(1, math.ceil(self.timeout))}"]
        command += [f"--log={self.log.name}", f"--options={shlex.join(options)}"]
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old"))
        try:
            programs.run("pg_ctl", command, self.account, self.data)
        except BaseException as error:
            was_slow = self.stop()
            if not isinstance(error, ServerError) or not self.log.exists():
                raise
            what = "was too slow to start (raise timeout=)" if was_slow else "did not start"
            reason = failure_reason(self.log.read_text("utf-8", "replace"))
            message = f"the server in {self.home} {what}: {reason}; the log is {self.log}"
            raise ServerError(message) from error

    def _socket_folder(self) -> Path:
        """The data directory; if its path is too long for a socket, a new temporary folder."""
        port = self.settings.get("port", settings.DEFAULT_PORT)
        # A comma separates hosts in a URL and folders in the setting.
        length = len(os.fsencode(self.data / f".s.PGSQL.{port}"))
        if length <= _SOCKET_PATH_BYTES and not re.search('[,"]', str(self.data)):
            return self.data
        # Not $TMPDIR: root's account may not reach it.
        folder = Path(tempfile.mkdtemp(prefix="lightvec-", dir="/tmp"))
        self.account.own(folder)
        return folder


def _home(path: Path) -> Path:
    """``path``; for root a system folder if its account cannot enter and no data exist."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        raise ServerError(f"{nearest} is a file, expected a folder: choose another path")
    if (path / "PG_VERSION").exists():
        raise ServerError(
            f"{path} is itself a PostgreSQL data directory, and lightvec keeps its own in a "
            "folder below the path: choose another path"
        )
    if os.geteuid() != 0 or (path / "data" / "PG_VERSION").exists():
        return path
    elsewhere = programs.SYSTEM_FOLDER.joinpath("servers", *path.parts[1:])
    if (elsewhere / "data" / "PG_VERSION").exists():
        return elsewhere
    return path if programs.account(path / "data").can_enter(nearest) else elsewhere
