"""A place with nothing in it but an interpreter, a program and the database's socket.

Its root is read-only except for ``/tmp``. There is no home, no ``/etc``, no ``/proc``, no shell, no compiler and no
network (not even loopback is up), the account has no name, and the environment is empty. Linux's namespaces make it,
by way of util-linux; who is not root needs user namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["TASK", "Jail"]

#: Where the program lies, as in AWS Lambda.
TASK = Path("/var/task")

#: The root; then pairs, what is bound to where; "--"; and the command that goes in.
_BUILD = """\
set -eu
root=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then
        mkdir -p "$root$2"
    else
        mkdir -p "$root${2%/*}"
        : >"$root$2"
    fi
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro,nosuid,nodev "$root$2"
    shift 2
done
shift
for link in lib lib32 lib64 libx32; do
    if [ -L "/$link" ]; then ln -s "$(readlink "/$link")" "$root/$link"; fi
done
for compiler in "$root/usr/lib/gcc" "$root/usr/lib/llvm"*; do
    if [ -d "$compiler" ]; then mount -t tmpfs -o ro tmpfs "$compiler"; fi
done
mount -o remount,bind,ro "$root"
exec "$@"
"""


_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_START = f"import sys; sys.path.insert(0, {str(TASK)!r})\n"


class Jail:
    """The place; ``program`` is the folder that lies at :data:`TASK`, ``socket`` the database's.

    ``mountpoint`` is an empty folder, which stays empty for everybody else. Root becomes the account that owns the
    socket, since no other one may use it; who is not root stays who he is, by another number.
    """

    def __init__(self, mountpoint: Path, program: Path, socket: Path) -> None:
        self._mountpoint = mountpoint
        self._bound = [*_interpreter(), (program, TASK), (socket, socket)]
        self._owner = socket.stat()

    def run(self, code: str, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run code in there, on a bare interpreter with nothing but the program on its path."""
        if refused := _refusal():
            _give_up(refused)
        pairs = [path for pair in self._bound for path in pair]
        build = [*_namespaces(), "/bin/sh", "-c", _BUILD, "sh", self._mountpoint, *pairs, "--"]
        python = [os.path.realpath(sys.executable), "-I", "-S", "-W", "error", "-c", _START + code, *arguments]
        return subprocess.run(
            [*map(str, [*build, *self._entering(), *python])],
            env={},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def _entering(self) -> list[str]:
        if os.geteuid() == 0:
            account = f"--userspec={self._owner.st_uid}:{self._owner.st_gid}"
            return [_tool("chroot"), account, "--groups=", str(self._mountpoint)]
        return [_tool("unshare"), "--user", "--map-user=65534", "--map-group=65534", f"--root={self._mountpoint}"]


def _interpreter() -> Iterator[tuple[Path, Path]]:
    """What Python is made of, and the system's libraries; no programs beside it."""
    executable = Path(os.path.realpath(sys.executable))
    yield executable, executable
    folders = {Path("/lib"), Path("/lib32"), Path("/lib64"), Path("/libx32"), Path("/usr/lib"), Path("/usr/lib64")}
    system = {folder for folder in folders if folder.is_dir() and not folder.is_symlink()}
    own = {Path(sysconfig.get_path(name, vars={"base": sys.base_prefix})) for name in ("stdlib", "platstdlib")}
    own |= {Path(sys.base_prefix, "lib")}
    for folder in sorted(system | own):
        if folder.is_dir() and not (system & {*folder.parents}):
            yield folder, folder


def _namespaces() -> list[str]:
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [_tool("unshare"), *mapped, "--mount", "--net", "--ipc", "--uts", "--pid", "--fork"]


@cache
def _refusal() -> str | None:
    """Why the place cannot be made here, if it cannot."""
    if missing := [name for name in ("unshare", "chroot", "mount") if shutil.which(name, path=_PATH) is None]:
        return f"{', '.join(missing)} not installed: apt-get install util-linux"
    trial = [*_namespaces(), "/bin/sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    done = subprocess.run(trial, env={}, capture_output=True, text=True, check=False)
    return f"namespaces are refused here ({done.stderr.strip()})" if done.returncode else None


def _give_up(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def _tool(name: str) -> str:
    return shutil.which(name, path=_PATH) or name
