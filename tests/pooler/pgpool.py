"""pgpool-II before the server: a process with its own folder, socket and loopback port.

What Debian's 4.3.5 does to the protocol, seen with a relay between it and the server:

- Sessions are pooled: a client keeps one until it leaves, so named statements are safe, and BackendKeyData holds the
  process that ``pg_backend_pid()`` tells. A pool's ``DISCARD ALL`` runs before the next client.
- It sends a Flush behind each Parse, Bind, Describe and Execute, whatever the client does, and waits for the answer.
- In the mode ``raw`` it sends a Sync of its own before each Parse outside a transaction block. So each Execute of one
  Sync is a transaction of its own: what ``set_config(..., true)`` set is gone by the next, and of a pipeline that fails
  the first statements are kept. After the error of one Execute, it passes on nothing up to the client's Sync.
- In the mode ``raw`` it also begins a transaction of its own before the first INSERT of a client by the extended
  protocol, and never ends it: ReadyForQuery says T, without a BEGIN of the client. Who does not commit loses the row
  when he leaves (psycopg, whose block ends by a COMMIT, does not). ``insert_lock = off`` changes nothing.
- In the mode ``streaming_replication`` (the package's default), the implicit transaction holds.
- BEGIN, SET LOCAL, a query and COMMIT in one write with one Sync are a transaction in both modes. If the query fails,
  the COMMIT is skipped: ReadyForQuery says E, and a ROLLBACK has to follow.
- It looks tables and functions up in the catalog by itself, between the client's messages, with a Sync where the
  client is in a transaction block.
- COPY FROM by the extended protocol: the client gets CopyInResponse, and then nothing more: CopyData is not passed on,
  or its answer is not. By a simple Query both ways of COPY work, also behind BEGIN and Sync in the same write, with
  the data in that write, too, and CopyFail is passed on.
- PortalSuspended is not passed on behind a Flush: the client waits for it for ever, and Execute for more rows after
  that is a FATAL. Behind a Sync it is, so that a portal can be read in pages in a transaction block.
- Several Syncs, or several Queries, in one write are answered in order.
- Cancelling works.
- ``SHOW pool_version`` is answered by itself, but to a simple Query only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from lightvec.server import Server
from tests.places import free_port, installed, open_folder

__all__ = ["PgPool"]

_SETTINGS = {
    # One server: what is sent is passed on, and nothing is balanced or replicated.
    "backend_clustering_mode": "raw",
    "listen_addresses": "127.0.0.1",
    "pcp_listen_addresses": "",
    "pid_file_name": "pgpool.pid",
    "num_init_children": "12",
    "max_pool": "2",
    "enable_pool_hba": "off",
    "sr_check_period": "0",
    "health_check_period": "0",
    "use_watchdog": "off",
    "failover_on_backend_error": "off",
    "log_destination": "stderr",
}


class PgPool:
    """pgpool-II in front of a server; as a context manager, it runs inside the block.

    ``settings`` are pgpool's own.
    """

    def __init__(self, server: Server, settings: Mapping[str, str] | None = None) -> None:
        self._program = installed("pgpool", "pgpool2")
        self._server = server
        self._settings = _SETTINGS | dict(settings or {})
        self.mode = self._settings["backend_clustering_mode"]
        # The owner of the data is the account that may open the server's socket.
        self._account = pwd.getpwuid(server.data.stat().st_uid)
        self.folder = open_folder("pgpool")
        self.port = free_port()

    def url(self, database_url: str, *, tcp: bool = False) -> str:
        """The same database through pgpool."""
        parts = urlsplit(database_url)
        host = "127.0.0.1" if tcp else quote(str(self.folder))
        query = f"host={host}&port={self.port}" + ("&sslmode=disable" if tcp else "")
        return parts._replace(query=query).geturl()

    def log(self) -> str:
        """What pgpool wrote down."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def __enter__(self) -> PgPool:
        configuration = self._write("pgpool.conf", self._configuration())
        self._write("pcp.conf", "")
        self._write("pool_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 trust\n")
        assumed = os.geteuid() == 0
        if assumed:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        command = [self._program, "-n", "-D", "-f", str(configuration)]
        command += ["-F", str(self.folder / "pcp.conf"), "-a", str(self.folder / "pool_hba.conf")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                # pgpool would run as root, but opens the server's socket by its owner's account only.
                user=self._account.pw_uid if assumed else None,
                group=self._account.pw_gid if assumed else None,
                extra_groups=[] if assumed else None,
                cwd="/",
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        # At once, with all clients. A child that waits for CopyData does not hear it; were its parent killed, the
        # parent's semaphores would be left on the machine.
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            self._process.wait(10)
        shutil.rmtree(self.folder)

    def _configuration(self) -> str:
        own = {
            "port": self.port,
            "socket_dir": self.folder,
            "pcp_socket_dir": self.folder,
            "pcp_port": free_port(),
            "logdir": self.folder,
            "work_dir": self.folder,
            "backend_hostname0": self._server.socket_folder,
            "backend_port0": self._server.port,
            "backend_weight0": 1,
            "backend_flag0": "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER",
        }
        settings = self._settings | own
        settings["pid_file_name"] = self.folder / self._settings["pid_file_name"]
        return "".join(f"{name} = '{value}'\n" for name, value in settings.items())

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return path

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(f"{self.folder}/.s.PGSQL.{self.port}") == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"pgpool did not start: {self.log()}")
            time.sleep(0.02)
