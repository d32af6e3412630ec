"""From a connection string to a login: hosts, kinds of server, passwords, and what is no PostgreSQL at all."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lightvec import Vector
from lightvec.errors import InvalidOption
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import InternalError, OperationalError
from lightvec.server import Server, stop
from lightvec.wire import connecting
from lightvec.wire.auth import log_in
from lightvec.wire.libpq.target import Address
from lightvec.wire.session import Session
from lightvec.wire.transport import Transport


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def over_tcp() -> Iterator[dict[str, Any]]:
    """A server on a loopback port that asks for a password, and how to log in there."""
    folder = Path(tempfile.mkdtemp(prefix="lightvec-tcp-"))
    folder.chmod(0o755)
    port = refused_port()
    try:
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
        with Server(folder / "db", settings=settings) as server:
            with connect(server.url) as admin:
                admin.run("CREATE ROLE me LOGIN PASSWORD 'it''s secret'; CREATE EXTENSION IF NOT EXISTS vector")
            yield {"host": "127.0.0.1", "port": port, "user": "me", "dbname": "postgres"}
    finally:
        shutil.rmtree(folder)


@contextmanager
def listener(converse: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which each connection is answered by ``converse`` and closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        converse(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stopped.set()
            thread.join()


# --- hosts -------------------------------------------------------------------------------------------------------


def test_the_second_host_answers(url: str) -> None:
    folder = urlsplit(url).query.removeprefix("host=")
    where = {"host": f"127.0.0.1,{folder}", "port": f"{refused_port()},5432"}
    with connect(user="postgres", dbname="postgres", **where) as found:
        assert found.run("SELECT 1") == [[1]]


def test_no_host_answers() -> None:
    first, second = refused_port(), refused_port()
    with pytest.raises(OperationalError) as caught:
        connect(user="postgres", host="127.0.0.1,127.0.0.1", port=f"{first},{second}")
    message = str(caught.value)
    assert message.startswith("no host accepted the connection: ")
    assert f"port {first}" in message
    assert f"port {second}" in message


@pytest.mark.parametrize("wanted", ["any", "read-write", "primary", "prefer-standby"])
def test_a_primary_is_what_was_wanted(wanted: str, url: str) -> None:
    with connect(url, target_session_attrs=wanted) as connection:
        assert connection.run("SELECT pg_is_in_recovery()") == [[False]]


def test_one_that_cannot_say_what_it_is_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Session] = []

    def cannot_say(session: Session) -> bool:
        raise InternalError("it cannot say")

    def close(session: Session) -> None:
        closed.append(session)
        really_close(session)

    really_close = Session.close
    monkeypatch.setitem(connecting._KINDS, "standby", (cannot_say,))
    monkeypatch.setattr(Session, "close", close)
    with pytest.raises(InternalError, match="it cannot say"):
        connect(url, target_session_attrs="standby")
    assert [session.closed for session in closed] == [True]


@pytest.mark.parametrize("wanted", ["standby", "read-only"])
def test_a_primary_is_not_what_was_wanted(wanted: str, url: str) -> None:
    with pytest.raises(OperationalError, match=f"is not {wanted}, which target_session_attrs requires"):
        connect(url, target_session_attrs=wanted)


def test_a_session_that_is_read_only(url: str) -> None:
    options = "-c default_transaction_read_only=on"
    with connect(url, target_session_attrs="read-only", options=options) as connection:
        assert connection.run("SHOW transaction_read_only") == [["on"]]
    with pytest.raises(OperationalError, match="is not read-write"):
        connect(url, target_session_attrs="read-write", options=options)


def test_what_the_server_is_told(url: str) -> None:
    with connect(url, application_name="the app", options="-c work_mem=5MB") as connection:
        for name, value in {"application_name": "the app", "work_mem": "5MB", "client_encoding": "UTF8"}.items():
            assert connection.run(f"SHOW {name}") == [[value]]


def test_a_database_that_is_not_there(url: str) -> None:
    with pytest.raises(OperationalError, match="create the database or name another") as caught:
        connect(url, dbname="nowhere")
    assert caught.value.sqlstate == "3D000"


def test_another_host_is_not_asked_when_the_database_is_missing(url: str) -> None:
    folder = urlsplit(url).query.removeprefix("host=")
    with pytest.raises(OperationalError) as caught:
        connect(user="postgres", host=f"{folder},127.0.0.1", port=f"5432,{refused_port()}", dbname="nowhere")
    assert caught.value.sqlstate == "3D000"


def test_an_embedded_server() -> None:
    folder = Path(tempfile.mkdtemp(prefix="lightvec-embedded-"))
    folder.chmod(0o755)
    path = folder / "db"
    try:
        for _ in range(2):
            with connect(f"embedded:{path}") as connection:
                connection.run("CREATE EXTENSION IF NOT EXISTS vector")
                assert connection.run("SELECT :v", v=Vector([1])) == [[Vector([1])]]
    finally:
        stop(path)
        shutil.rmtree(folder)


# --- passwords ---------------------------------------------------------------------------------------------------


def test_a_password(over_tcp: dict[str, Any]) -> None:
    with connect(**over_tcp, password="it's secret") as connection:
        assert connection.run("SELECT current_user") == [["me"]]
    with pytest.raises(OperationalError, match="check the user and the password") as caught:
        connect(**over_tcp, password="wrong")
    assert caught.value.sqlstate == "28P01"
    assert "wrong" not in str(caught.value)
    with pytest.raises(OperationalError, match="none was given"):
        connect(**over_tcp)


def test_a_function_is_asked_at_each_login_and_not_for_nothing(over_tcp: dict[str, Any], url: str) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append("asked")
        return "it's secret"

    for count in (1, 2):
        with connect(**over_tcp, password=token) as connection:
            assert connection.run("SELECT 1") == [[1]]
        assert len(asked) == count
    with connect(url, password=token):
        pass
    with pytest.raises(OperationalError):
        connect(host="127.0.0.1", port=refused_port(), user="me", password=token)
    assert len(asked) == 2, "the one asks for no password, the other one does not listen"


def test_a_function_that_fails(over_tcp: dict[str, Any]) -> None:
    def token() -> str:
        raise RuntimeError("no credentials")

    with pytest.raises(OperationalError, match=r"password function failed .*no credentials") as caught:
        connect(**over_tcp, password=token)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(InvalidOption, match="returned int, expected str"):
        connect(**over_tcp, password=lambda: 7)


def test_a_token_does_not_go_to_a_remote_host_without_tls(
    over_tcp: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Address, "is_local", False)
    asked: list[str] = []

    def token() -> str:
        asked.append("asked")
        return "it's secret"

    with pytest.raises(OperationalError, match="has no TLS, so it was not called: use sslmode=verify-full"):
        connect(**over_tcp, password=token, sslmode="disable")
    assert asked == []
    with connect(**over_tcp, password="it's secret", sslmode="disable") as connection:
        assert connection.run("SELECT 1") == [[1]], "a lasting password is the caller's own risk, under SCRAM"


def test_a_password_where_nothing_is_loaded_yet(over_tcp: dict[str, Any]) -> None:
    """SCRAM's module is loaded by the login itself, in two threads at once."""
    code = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
params, barrier = json.loads(sys.argv[1]), Barrier(2)
scram = "lightvec.wire.scram"
assert scram not in sys.modules

def login(password):
    barrier.wait(20)
    try:
        with connect(**params, password=password, sslmode="disable") as conn:
            return conn.run("SELECT current_user")[0][0]
    except OperationalError as error:
        return error.sqlstate

with ThreadPoolExecutor(2) as pool:
    print(*pool.map(login, ["it's secret", "no secret"]), scram in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", code, json.dumps(over_tcp)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("me 28P01 True\n", "")


AUTHENTICATION = {"clear text": b"\0\0\0\3", "md5": b"\0\0\0\5salt", "scram": b"\0\0\0\x0aSCRAM-SHA-256\0\0"}


@pytest.mark.parametrize("method", AUTHENTICATION)
@pytest.mark.parametrize("options", ["function", "channel_binding", "clear text"])
def test_nothing_is_sent_where_it_may_not(method: str, options: str) -> None:
    if options == "clear text" and method != "clear text":
        return
    near, far = socket.socketpair()
    body = AUTHENTICATION[method]
    with near, far:
        near.settimeout(5)
        far.sendall(b"R" + (len(body) + 4).to_bytes(4, "big") + body)
        with pytest.raises(OperationalError, match=r"not called: use|no password was sent: use|not sent: use"):
            log_in(
                Transport(near),
                user="me",
                database="me",
                startup={},
                trusted=options == "channel_binding",
                password=pytest.fail if options == "function" else "secret",
                channel_binding="require" if options == "channel_binding" else "prefer",
            )
        near.close()
        said = b""
        while piece := far.recv(1000):
            said += piece
    length = int.from_bytes(said[:4], "big")
    assert said[length:] in (b"", b"X\0\0\0\4"), "nothing after the StartupMessage but a good-bye"


def test_a_server_must_prove_that_it_knows_the_password() -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(4096)
        body = AUTHENTICATION["scram"]
        connection.sendall(b"R" + (len(body) + 4).to_bytes(4, "big") + body)
        connection.recv(4096)
        connection.sendall(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")

    with listener(converse) as port, pytest.raises(OperationalError, match="without a proof"):
        connect(host="127.0.0.1", port=port, user="me", password="secret", sslmode="disable")


def test_channel_binding_needs_tls(over_tcp: dict[str, Any], url: str) -> None:
    with pytest.raises(OperationalError, match=r"channel_binding=require, .* no password was sent"):
        connect(**over_tcp, password="it's secret", channel_binding="require")
    with pytest.raises(OperationalError, match=r"channel_binding=require, .* without SCRAM"):
        connect(url, channel_binding="require")


# --- not PostgreSQL ----------------------------------------------------------------------------------------------


def says(answer: bytes) -> Callable[[socket.socket], None]:
    def converse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return converse


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00" * 100,
        bytes(range(256)) * 10,
        b"R\x00\x00\x00\x08\x00\x00\x00\x07",
        b"R\x00\x00\x00\x05\x00",
        b"Z\x00\x00\x00\x03I",
        b"Z\x00\x00\x00\x05I",
        b"N\xff\xff\xff\xff",
        b"N\x00\x00\x00\x00" * 100,
        b"T\x00\x00\x00\x06\xff\xff",
    ],
)
def test_what_listens_is_not_postgresql(answer: bytes, sslmode: str) -> None:
    with listener(says(answer)) as port, pytest.raises(OperationalError) as caught:
        connect(host="127.0.0.1", port=port, user="me", sslmode=sslmode, connect_timeout=3)
    message = str(caught.value)
    assert f"127.0.0.1 port {port}" in message
    assert "\n" not in message
    assert ": " in message


def test_the_next_host_is_asked_when_the_first_is_not_postgresql(over_tcp: dict[str, Any]) -> None:
    with listener(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        params = over_tcp | {"host": "127.0.0.1,127.0.0.1", "port": f"{port},{over_tcp['port']}"}
        for sslmode in ("disable", "prefer"):
            with connect(**params, password="it's secret", sslmode=sslmode) as connection:
                assert connection.run("SELECT 1") == [[1]]


def test_an_error_at_the_login_is_the_servers_own() -> None:
    fields = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
    answer = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    with listener(says(answer)) as port, pytest.raises(OperationalError, match="too many clients") as caught:
        connect(host="127.0.0.1", port=port, user="me", sslmode="disable")
    assert caught.value.sqlstate == "53300"


def test_nobody_says_anything() -> None:
    done = threading.Event()
    with listener(lambda _: print(done.wait(10))) as port:
        before = time.monotonic()
        for sslmode in ("disable", "prefer"):
            with pytest.raises(OperationalError, match="did not"):
                connect(host="127.0.0.1", port=port, user="me", sslmode=sslmode, connect_timeout=0.3)
        assert time.monotonic() - before < 3
        done.set()
