"""Who runs PostgreSQL's programs, which refuse to run as root."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightvec.errors import ServerError

# Accounts that a system has already; lightvec makes none.
_SERVICE_ACCOUNTS = ("postgres", "nobody")
# What the programs need of the environment. PG* variables would reach into them, the rest is none of their business.
_VARIABLES = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Account:
    """A user and a group by number. ``assumed`` says that this process is root and takes them on for its programs."""

    uid: int
    gid: int
    assumed: bool = False

    @property
    def name(self) -> str:
        """The account's name, or its number where it has none (usual in containers)."""
        return _name(self.uid)

    def run(self, command: Sequence[str | Path], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as this account: quiet, without input, in a session of its own, its messages in
        English.

        The working folder is ``/``, because the account may not be able to read the caller's.
        """
        try:
            return self._run(command, timeout)
        except OSError as error:
            if self.assumed and error.errno in (errno.EPERM, errno.EINVAL):
                raise ServerError(
                    "PostgreSQL refuses to run as root, and root may not become the account "
                    f"{self.name} here ({error.strerror}; a container without SETUID and SETGID?): "
                    "run as an ordinary user"
                ) from error
            raise

    def _run(self, command: Sequence[str | Path], timeout: float | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [os.fspath(part) for part in command],
            user=self.uid if self.assumed else None,
            group=self.gid if self.assumed else None,
            extra_groups=[] if self.assumed else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ} | {"LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            timeout=timeout,
            check=False,
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether the account can pass through ``folder`` and everything above it; asked of the system itself."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder]).returncode == 0

    def own(self, path: Path) -> None:
        """Give this account what root has just made."""
        if self.assumed:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def current() -> Account:
    """The account of this process."""
    return Account(os.geteuid(), os.getegid())


def owner(path: Path) -> Account:
    """The account that owns ``path``, for root to take on."""
    found = path.stat()
    return Account(found.st_uid, found.st_gid, assumed=True)


def service() -> Account:
    """The system's unprivileged account, for root to take on."""
    import pwd

    for name in _SERVICE_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, assumed=True)
    raise ServerError(
        "PostgreSQL refuses to run as root, and this system has no account to run it as "
        f"(looked for {' and '.join(_SERVICE_ACCOUNTS)}): run as an ordinary user"
    )


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
