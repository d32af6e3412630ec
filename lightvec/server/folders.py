"""What lies where: the folder of a server, the socket's folder, and how they are made.

::

    PATH/                 or, for root, /var/lib/lightvec/NAME-HASH/ where no other account can reach PATH
    ├── data/             PostgreSQL's data directory
    ├── log               PostgreSQL's log
    ├── run/              the socket, if its path is short enough; else <temp>/lightvec-HASH/
    ├── lock              held while the server is made, started or stopped
    ├── users             held, shared, by each process that uses the server
    └── keep              stands while start() wants the server to run on
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lightvec.errors import ServerError
from lightvec.server import accounts
from lightvec.server.accounts import Account
from lightvec.server.failures import explained

SYSTEM_FOLDER = Path("/var/lib/lightvec")
# sockaddr_un.sun_path holds 108 bytes on Linux and 104 elsewhere, with the closing zero.
_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103


@dataclass(frozen=True)
class Folders:
    """Where a server is: ``path`` is what the user asked for, ``home`` is where everything really lies."""

    path: Path
    home: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def users(self) -> Path:
        return self.home / "users"

    @property
    def keep(self) -> Path:
        return self.home / "keep"

    def exist(self) -> bool:
        """Whether a database has been made here. A data directory gets its name when it is complete."""
        return (self.data / "PG_VERSION").exists()

    def socket_folder(self, port: int) -> Path:
        """The first folder in which a socket's path is not too long and which the account can reach."""
        outside = f"lightvec-{_digest(self.home)}"
        candidates = [self.home / "run", Path(tempfile.gettempdir(), outside), Path("/tmp", outside)]
        for folder in candidates:
            if _fits(folder / f".s.PGSQL.{port}") and self._reaches(folder):
                return folder
        raise ServerError(
            f"no folder for the server's socket: {candidates[0]} and the temporary folder "
            f"{tempfile.gettempdir()} are too long or closed; choose a shorter path"
        )

    def _reaches(self, folder: Path) -> bool:
        inside = folder.parent == self.home
        return inside or not self.account.assumed or self.account.can_enter(folder.parent)


def locate(path: str | os.PathLike[str]) -> Folders:
    """Decide, alike in every process, where the server of ``path`` is and who runs it; nothing is made."""
    _need_posix()
    asked = Path(path).expanduser()
    with explained(f"look at {asked}"):
        _check_name(asked)
        asked = asked.resolve()
        _check(asked)
        return _locate_as_root(asked) if os.geteuid() == 0 else _locate_as_user(asked)


def prepare(folders: Folders) -> None:
    """Make the folder of the server if it is missing: closed to others, and the account's own."""
    with explained(f"make the folder {folders.home}"):
        if SYSTEM_FOLDER in folders.home.parents:
            make_open(SYSTEM_FOLDER)
        if not folders.home.is_dir():
            _make_parents(folders.home.parent)
            _make_whole(folders.home, folders.account)


def make_closed(folder: Path, account: Account) -> None:
    """Make a folder that is only the account's, or check that the one that stands there is.

    The check matters in the temporary folder, where anybody can take a name first.
    """
    with explained(f"make the folder {folder}"):
        try:
            folder.mkdir(0o700)
        except FileExistsError:
            _check_closed(folder, account)
        else:
            account.own(folder)


def open_file(path: Path, account: Account) -> int:
    """A descriptor of a file of the account's, made if it is missing, that no started program inherits.

    A link is not followed: as root that would open, or give away, what somebody else's link points to.
    """
    common = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, common | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, common)
    if account.assumed:
        os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def _need_posix() -> None:
    try:
        import fcntl  # noqa: F401
    except ImportError as error:
        raise ServerError(
            "the embedded server runs on Linux and macOS only: on Windows use WSL, or give a server's URL"
        ) from error


def _check_name(asked: Path) -> None:
    if re.search(r"[\r\n\0]", str(asked)):
        raise ServerError(f"the path {str(asked)!r} contains a line break or a zero, which PostgreSQL cannot store")


def _check(asked: Path) -> None:
    nearest = _nearest(asked)
    if not nearest.is_dir():
        raise ServerError(f"{nearest} is a file, and the embedded server needs a folder: choose another path")
    if (asked / "PG_VERSION").exists():
        raise ServerError(
            f"{asked} is itself a PostgreSQL data directory, and lightvec keeps its own in a folder below "
            "the path it is given: choose another path"
        )


def _locate_as_user(asked: Path) -> Folders:
    folders = Folders(asked, asked, accounts.current())
    if folders.exist() and folders.data.stat().st_uid != folders.account.uid:
        raise ServerError(
            f"{folders.data} belongs to the account {accounts.owner(folders.data).name}: "
            "run as this account, or choose another path"
        )
    return folders


def _locate_as_root(asked: Path) -> Folders:
    service = accounts.service()
    elsewhere = SYSTEM_FOLDER / _system_name(asked)
    for home in (asked, elsewhere):
        folders = Folders(asked, home, service)
        if folders.exist():
            return Folders(asked, home, _owner_or(service, folders.data))
    return Folders(asked, asked if service.can_enter(_nearest(asked)) else elsewhere, service)


def _owner_or(service: Account, data: Path) -> Account:
    """A database made by an ordinary user stays this user's when root uses it."""
    owner = accounts.owner(data)
    return owner if owner.uid != 0 else service


def _nearest(path: Path) -> Path:
    """``path`` or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _system_name(path: Path) -> str:
    return f"{re.sub('[^A-Za-z0-9_-]', '', path.name)[:32]}-{_digest(path)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _fits(socket: Path) -> bool:
    # A comma separates hosts in a URL, and folders in the setting, where a quote would need quoting too.
    return len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES and not re.search('[,"]', str(socket))


def _make_parents(folder: Path) -> None:
    """``mkdir -p``; what root makes here can be passed through by the account, whatever the umask."""
    if folder.exists():
        return
    _make_parents(folder.parent)
    make_open(folder, 0o711 if os.geteuid() == 0 else 0)


def make_open(folder: Path, mode: int = 0o755) -> None:
    """Make a folder with at least this mode, whatever the umask; one that stands already is left as it is."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) | mode)


def _make_whole(folder: Path, account: Account) -> None:
    """Make a folder under another name first: it appears with its owner and its mode, so that a process that
    asks meanwhile whether the account can enter gets the same answer as before and after."""
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    account.own(made)
    move(made, folder)


def move(made: Path, folder: Path) -> None:
    """Give ``made`` its final name, unless another process was first."""
    try:
        made.rename(folder)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _check_closed(folder: Path, account: Account) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or stat.S_IMODE(found.st_mode) & 0o077:
        raise ServerError(
            f"{folder} is not a folder that only the account {account.name} can use, so the server's "
            "socket would not be safe there: remove it"
        )
