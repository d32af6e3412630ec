"""pg8000's own parameters become what they mean in libpq, and TLS is not weaker by them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from lightvec.errors import InvalidOption
from lightvec.pg8000 import Connection, connect
from lightvec.wire.errors import CannotConnect, InterfaceError, OperationalError
from lightvec.wire.libpq.target import Target, pg8000_target, resolve
from lightvec.wire.sockets import open_socket, tls_attempts
from lightvec.wire.timeouts import Deadline
from tests.relay import socket_of


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "env.example", "PGPASSWORD": "env", "PGSSLMODE": "disable", "HOME": "/none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:url@url.example/shop")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def opened(listener: socket.socket) -> Iterator[socket.socket]:
    with socket.create_connection(listener.getsockname()) as sock:
        yield sock


def target(**params: Any) -> Target:
    return pg8000_target(**{"user": "me", "host": "db.example"} | params)


def test_the_environment_is_not_read() -> None:
    found = target()
    assert (found.hosts[0].host, found.password, found.sslmode) == ("db.example", None, "verify-full")
    assert found.database == "me"


@pytest.mark.parametrize(
    ("host", "ssl_context", "sslmode"),
    [
        ("db.example", None, "verify-full"),
        ("db.example", True, "verify-full"),
        ("db.example", False, "disable"),
        ("localhost", None, "prefer"),
        ("localhost", True, "require"),
        ("localhost", False, "disable"),
    ],
)
def test_ssl_context(host: str, ssl_context: bool | None, sslmode: str) -> None:
    found = target(host=host, ssl_context=ssl_context)
    assert (found.sslmode, found.ssl_context) == (sslmode, None)


def test_a_context_of_the_callers_own() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for host in ("db.example", "localhost"):
        found = target(host=host, ssl_context=context)
        assert (found.sslmode, found.ssl_context) == ("require", context)


def test_ssl_context_and_sslmode_must_agree() -> None:
    assert target(ssl_context=True, sslmode="require").sslmode == "require"
    assert target(ssl_context=False, sslmode="disable").sslmode == "disable"
    for ssl_context, sslmode in ((False, "require"), (True, "disable")):
        with pytest.raises(InvalidOption, match="leave one of them out"):
            target(ssl_context=ssl_context, sslmode=sslmode)


def test_the_path_of_a_unix_socket() -> None:
    for name in (".s.PGSQL.6543", "other"):
        (address,) = target(unix_sock=f"/run/pg/{name}").hosts
        assert address.socket_path == f"/run/pg/{name}"
        assert address.is_local
    assert tls_attempts(target(unix_sock="/run/pg/x", ssl_context=True), address) == (False,)
    found = resolve("dbname=shop", unix_sock="/run/pg/x")
    assert (found.hosts[0].socket_path, found.password) == ("/run/pg/x", "env")


def test_timeout_is_the_default_of_both() -> None:
    found = target(timeout=3)
    assert (found.connect_timeout, found.command_timeout) == (3, 3)
    found = target(timeout=3, connect_timeout=1)
    assert (found.connect_timeout, found.command_timeout) == (1, 3)


def test_bytes_are_texts() -> None:
    found = target(user="mé".encode(), database=bytearray(b"shop"), password=b"\xff", application_name=b"app")
    assert (found.user, found.database, found.application_name) == ("mé", "shop", "app")
    assert str(found.password).encode("utf-8", "surrogateescape") == b"\xff"


def test_startup_params() -> None:
    found = target(startup_params={"work_mem": "5MB", "geqo": b"off"}, application_name="app")
    assert found.startup == {"application_name": "app", "work_mem": "5MB", "geqo": "off"}
    with pytest.raises(InvalidOption, match="startup_params from the arguments has user: give it as an argument"):
        target(startup_params={"user": "me"})
    with pytest.raises(InvalidOption, match="a mapping"):
        target(startup_params="geqo=off")


@pytest.mark.parametrize("value", [False, 0, "0"])
def test_prepare(value: object) -> None:
    assert target().prepare
    assert not target(prepare=value).prepare


def test_what_cannot_be() -> None:
    for params in ({"user": None}, {"host": None}, {"unix_sock": "/x", "sock": object()}):
        with pytest.raises(InterfaceError):
            target(**params)
    with pytest.raises(InvalidOption, match=r"a connected socket\.socket"):
        target(sock="socket")
    with pytest.raises(InvalidOption, match="a tuple of the host and the port"):
        target(source_address="127.0.0.1")
    with socket.socket() as unconnected, pytest.raises(InvalidOption, match="give an open socket"):
        target(sock=unconnected)


# --- sock -------------------------------------------------------------------------------------


def test_a_socket_of_this_machine(opened: socket.socket) -> None:
    found = target(sock=opened, timeout=2)
    (address,) = found.hosts
    assert (address.host, address.hostaddr, address.port) == ("db.example", *opened.getpeername())
    assert address.is_local
    assert tls_attempts(found, address) == (True,), "a tunnel's end: the server is asked for TLS"
    assert tls_attempts(target(sock=opened, ssl_context=False), address) == (False,)


def test_a_socket_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Remote(socket.socket):
        def getpeername(self) -> Any:
            return ("192.0.2.7", 5432)

    with Remote() as sock:
        found = target(sock=sock)
        assert (found.sslmode, found.hosts[0].is_local) == ("verify-full", False)
        assert str(found.hosts[0]) == "db.example (192.0.2.7) port 5432"
        found = resolve(sock=sock, user="me")
        assert (found.hosts[0].host, found.password) == ("192.0.2.7", "env"), "not what DATABASE_URL has"


def test_a_socket_with_tls_is_used_as_it_is(opened: socket.socket) -> None:
    context = ssl.create_default_context()
    with context.wrap_socket(opened, server_hostname="db.example", do_handshake_on_connect=False) as secured:
        found = target(sock=secured)
        assert tls_attempts(found, found.hosts[0]) == (False,)
        with pytest.raises(InvalidOption, match="sock has TLS already"):
            target(sock=secured, ssl_context=context)


def test_a_unix_socket_pair() -> None:
    near, far = socket.socketpair()
    with near, far:
        found = target(sock=near)
        assert found.hosts[0].is_local
        assert tls_attempts(found, found.hosts[0]) == (False,)


def test_a_socket_is_tuned_and_blocking(opened: socket.socket) -> None:
    opened.settimeout(3)
    found = target(sock=opened, ssl_context=False)
    assert open_socket(found.hosts[0], found, Deadline(None), tls=False) is opened
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert opened.gettimeout() is None


def test_what_runs_on_a_socket_cannot_be_canceled(url: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(socket_of(url))
        with connect(sock=sock, user="postgres", dbname="postgres") as connection:
            with pytest.raises(OperationalError, match=r"\(sock=\).*set statement_timeout instead"):
                connection.cancel()
            assert connection.run("SELECT 1") == [[1]]


# --- source_address ---------------------------------------------------------------------------


def test_source_address(listener: socket.socket) -> None:
    found = target(host="127.0.0.1", port=listener.getsockname()[1], ssl_context=False, source_address=("127.0.0.2", 0))
    with open_socket(found.hosts[0], found, Deadline(None), tls=False) as opened:
        assert opened.getsockname()[0] == "127.0.0.2"


def test_a_source_address_that_is_not_ours(listener: socket.socket) -> None:
    found = target(host="127.0.0.1", port=listener.getsockname()[1], source_address=("192.0.2.7", 0))
    with pytest.raises(CannotConnect, match="give another one"):
        open_socket(found.hosts[0], found, Deadline(None), tls=False)


def test_the_class_takes_them(url: str) -> None:
    with Connection(b"postgres", unix_sock=socket_of(url), database="postgres", timeout=7.5, prepare=False) as found:
        assert found.run("SELECT current_user") == [["postgres"]]
        assert found.command_timeout == 7.5
        assert not found.session.prepare
