"""PgBouncer in transaction mode, for one test: a process with its own folder, socket and loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from lightvec.server import Server
from tests.places import free_port, installed

_SETTINGS = {
    "listen_addr": "127.0.0.1",
    "auth_type": "any",
    "pool_mode": "transaction",
    "default_pool_size": "2",
    "max_client_conn": "100",
}


class PgBouncer:
    """PgBouncer in front of a server; as a context manager, it runs inside the block.

    ``settings`` are PgBouncer's own. ``files`` are contents by name, readable for PgBouncer only; a setting that is the
    name of one becomes its path.
    """

    def __init__(
        self,
        server: Server,
        *,
        settings: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self._program = installed("pgbouncer", "pgbouncer")
        self._server = server
        self._settings = _SETTINGS | dict(settings or {})
        self._files = dict(files or {})
        # The owner of the data is the account that may open the server's socket; as root, pgbouncer refuses to run.
        self._account = pwd.getpwuid(server.data.stat().st_uid)
        self.folder = Path(tempfile.mkdtemp(prefix="lightvec-pgbouncer-"))
        self.port = free_port()

    def url(self, database_url: str, *, tcp: bool = False) -> str:
        """The same database through PgBouncer."""
        parts = urlsplit(database_url)
        host = "127.0.0.1" if tcp else quote(str(self.folder))
        query = f"host={host}&port={self.port}" + ("&sslmode=disable" if tcp else "")
        return parts._replace(query=query).geturl()

    @property
    def socket_path(self) -> str:
        """The path of the Unix socket."""
        return f"{self.folder}/.s.PGSQL.{self.port}"

    def __enter__(self) -> PgBouncer:
        configuration = self._write("pgbouncer.ini", self._configuration().encode())
        for name, data in self._files.items():
            self._write(name, data)
        as_root = os.geteuid() == 0
        if as_root:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._process = subprocess.Popen(
            [self._program, "-q", str(configuration)],
            user=self._account.pw_uid if as_root else None,
            group=self._account.pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder)

    def _configuration(self) -> str:
        own = {"listen_port": self.port, "unix_socket_dir": self.folder, "logfile": self.folder / "log"}
        named = {name: self.folder / value if value in self._files else value for name, value in self._settings.items()}
        lines = [f"{name} = {value}" for name, value in (own | named).items()]
        database = f"* = host={self._server.socket_folder} port={self._server.port} user=postgres"
        return "\n".join(["[databases]", database, "[pgbouncer]", *lines, ""])

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return path

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(self.socket_path) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"pgbouncer did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)
