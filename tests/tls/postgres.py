"""PostgreSQL with TLS, from the system's packages: the embedded one has none.

Each role stands for a kind of ``pg_hba.conf`` line, so that one server is many. Its certificate is changed while it
runs: what takes a second is ``initdb``, not a change of its settings.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server.programs import account
from tests.places import free_port, open_folder
from tests.tls.certificates import Certificate

__all__ = ["DATABASE", "PASSWORD", "PEOPLE", "ROLES", "Postgres", "programs"]

PASSWORD = "it's S3cret-Pa55"
DATABASE = "postgres"

#: Role to lines of ``pg_hba.conf``, without the database, the role and the address.
ROLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "me": (("host", "scram-sha-256"),),
    "only_tls": (("hostssl", "scram-sha-256"),),
    "only_clear": (("hostnossl", "scram-sha-256"),),
    "trusted": (("host", "trust"),),
    "by_cert": (("hostssl", "cert"),),
    "by_both": (("hostssl", "scram-sha-256 clientcert=verify-full"),),
    "by_clear_password": (("host", "password"),),
}

#: The role of those who come later, and log in by SCRAM.
PEOPLE = "people"

_CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
fsync = off
shared_buffers = 16MB
max_connections = 50
lc_messages = 'C'
"""
_SECONDS = 30.0


def programs() -> Path:
    """The folder of PostgreSQL's programs; where there is none, the test fails in CI and is skipped elsewhere."""
    found = [folder for folder in _folders() if (folder / "postgres").exists() and (folder / "initdb").exists()]
    if found:
        return found[0]
    message = "PostgreSQL with TLS is not installed: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _folders() -> Iterator[Path]:
    """Debian's, the newest release first, then what ``pg_config`` says."""
    numbered = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    if found := shutil.which("pg_config"):
        said = subprocess.run([found, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(said.stdout.strip())


class Postgres:
    """The server; as a context manager, it runs inside the block."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._programs = programs()
        self._account = account(Path("/nonexistent"))
        self._as_account: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}}
        if self._account.uid is not None:
            self._as_account |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        self._settings: dict[str, str] = {}
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def admin_url(self) -> str:
        """The database of the superuser, over the socket that only this account can use."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self.folder))}&port={self.port}"

    def log(self) -> str:
        """What the server wrote down."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def __enter__(self) -> Postgres:
        self.folder = open_folder("tls")
        try:
            self.folder.chmod(0o700)
            self._account.own(self.folder)
            self._make()
            self.start()
            self._make_roles()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data"],
                stdout=log,
                stderr=log,
                **self._as_account,
            )
        self._wait_for("SELECT true")

    def stop(self) -> None:
        """Stop at once, with all connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_SECONDS)
        self._process = None

    def restart(self) -> None:
        """Stop and start, with the same settings."""
        self.stop()
        self.start()

    @contextmanager
    def serving(self, certificate: Certificate | None, **settings: str) -> Iterator[Postgres]:
        """With this certificate, or without TLS, inside the block."""
        before = self._settings
        self._configure(self._tls(certificate) | settings)
        try:
            yield self
        finally:
            self._configure(before)

    def own(self, path: Path, mode: int = 0o600) -> None:
        """Let only the server read a file."""
        path.chmod(mode)
        self._account.own(path)

    def _tls(self, certificate: Certificate | None) -> dict[str, str]:
        if certificate is None:
            return {"ssl": "off"}
        # A name of its own for each: what was served before is served again afterwards.
        contents = {"cert": certificate.chain, "key": certificate.key, "ca": certificate.clients}
        settings = {"ssl": "on"}
        for kind, data in contents.items():
            if data is not None:
                path = self.folder / f"{next(self._numbers)}.pem"
                path.write_bytes(data)
                self.own(path)
                settings[f"ssl_{kind}_file"] = str(path)
        return settings

    def _make(self) -> None:
        data = self.folder / "data"
        command: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
        ]
        done = subprocess.run(
            [*command, "--locale=C", "--encoding=UTF8"], capture_output=True, text=True, timeout=120, **self._as_account
        )
        assert done.returncode == 0, f"initdb failed: {done.stderr}"
        with (data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(port=self.port, folder=self.folder))
            file.write(f"include_if_exists '{self.folder}/changing.conf'\n")
        lines = ["local all all trust", f"host all +{PEOPLE} 127.0.0.1/32 scram-sha-256"]
        for role, kinds in ROLES.items():
            lines += [f"{kind} all {role} 127.0.0.1/32 {method}" for kind, method in kinds]
        (data / "pg_hba.conf").write_text("\n".join(lines) + "\n")

    def _make_roles(self) -> None:
        with connect(self.admin_url) as admin:
            for role in ROLES:
                admin.run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
                admin.run(f"GRANT ALL ON DATABASE {DATABASE} TO {role}; GRANT ALL ON SCHEMA public TO {role}")
            admin.run(f"CREATE ROLE {PEOPLE} NOLOGIN")

    def _configure(self, settings: Mapping[str, str]) -> None:
        """Have the postmaster read its settings anew: its children, new sessions, say when it last did."""
        assert self._process is not None
        with connect(self.admin_url) as admin:
            rows = admin.run("SELECT pg_conf_load_time()::text") or []
        changing = self.folder / "changing.conf"
        changing.write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()))
        self.own(changing)
        self._settings = dict(settings)
        self._process.send_signal(signal.SIGHUP)
        self._wait_for(f"SELECT pg_conf_load_time()::text <> '{rows[0][0]}'")

    def _wait_for(self, question: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                with connect(self.admin_url) as admin:
                    if admin.run(question) == [[True]]:
                        return
            except OperationalError:
                assert self._process is not None
                if self._process.poll() is not None:
                    pytest.fail(f"PostgreSQL did not start: {self.log()}")
            if time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL is not ready: {self.log()}")
            time.sleep(0.01)
