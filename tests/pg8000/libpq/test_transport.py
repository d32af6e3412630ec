"""Sockets and TLS on loopback; the double speaks the SSLRequest exchange and nothing more."""

from __future__ import annotations

import datetime
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire import sockets, tls
from lightvec.wire.libpq.target import Address, Target, resolve
from lightvec.wire.sockets import open_socket, tls_attempts
from lightvec.wire.timeouts import Deadline

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL documentation, 54.7: length 8, code 80877103
VERIFYING = ("verify-ca", "verify-full")
TLS_MODES = ("require", *VERIFYING)
HANG_UP = b""


class Listener:
    """One port: reads the SSLRequest, answers it and echoes a message, over TLS if agreed.

    ``answer=None`` never answers, and without a context nothing follows ``S``. What arrived first is in
    ``requests``. A handshake that fails here is expected in half of the tests and ends its connection only.
    """

    def __init__(self, answer: bytes | None, context: ssl.SSLContext | None) -> None:
        self.answer, self.context = answer, context
        self.requests: list[bytes] = []
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(5)
                try:
                    self._converse(connection)
                except OSError:
                    continue

    def _converse(self, connection: socket.socket) -> None:
        first = connection.recv(8)
        if not first:
            return
        self.requests.append(first)
        if self.answer is None:
            self._stopped.wait(5)
            return
        if first != SSL_REQUEST:
            connection.sendall(first)
            return
        connection.sendall(self.answer)
        if self.answer == HANG_UP:
            return
        if self.answer[:1] != b"S":
            connection.sendall(connection.recv(64))
            return
        if self.context is None:
            connection.recv(4096)
            self._stopped.wait(5)
            return
        with self.context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(secured.recv(64))


@contextmanager
def listening(answer: bytes | None = b"S", context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    listener = Listener(answer, context)
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def rootcert(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "root.crt"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def good(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority.issue_cert("127.0.0.1", "db.example"))


def target(port: int = 5432, *, host: str = "127.0.0.1", **params: Any) -> Target:
    return resolve(environ={"HOME": "/nonexistent"}, host=host, port=port, user="me", **params)


def opened(wanted: Target, deadline: Deadline | None = None, tls: bool | None = None) -> socket.socket:
    """A socket by the first attempt, unless ``tls`` says which."""
    deadline = deadline or Deadline(wanted.connect_timeout, "connect_timeout")
    tls = tls_attempts(wanted, wanted.hosts[0])[0] if tls is None else tls
    return open_socket(wanted.hosts[0], wanted, deadline, tls=tls)


def failure(wanted: Target, **options: Any) -> str:
    with pytest.raises(OperationalError) as caught:
        opened(wanted, **options)
    message = str(caught.value)
    assert re.fullmatch(r"[^\n]+: [^\n]+", message), "one sentence with a remedy"
    return message


def echo(connection: socket.socket) -> bytes:
    with connection:
        connection.sendall(b"hello")
        return connection.recv(64)


# --- which attempts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sslmode", "expected"),
    [("disable", (False,)), ("allow", (False, True)), ("prefer", (True, False))]
    + [(mode, (True,)) for mode in TLS_MODES],
)
def test_attempts_are_libpqs(sslmode: str, expected: tuple[bool, ...]) -> None:
    wanted = target(sslmode=sslmode, sslrootcert="root.crt")
    assert tls_attempts(wanted, Address("db.example", 5432)) == expected
    assert tls_attempts(wanted, Address("/tmp", 5432)) == (False,)


# --- sockets ------------------------------------------------------------------------------------------------


def test_the_socket_is_tuned_and_blocking() -> None:
    with listening() as server:
        wanted = target(server.port, sslmode="disable", keepalives_idle=77)
        with opened(wanted) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
            assert connection.gettimeout() is None
        with opened(target(server.port, sslmode="disable", keepalives=0)) as connection:
            assert not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_refused_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    message = failure(target(port))
    assert message == f"nothing listens on 127.0.0.1 port {port}: is the server running and is the port right?"


def test_a_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.6000"))
        listener.listen()
        with opened(target(6000, host=str(tmp_path), sslmode="verify-full")) as connection:
            assert not isinstance(connection, ssl.SSLSocket)


def test_a_unix_socket_that_is_not_there_or_not_served(tmp_path: Path) -> None:
    path = tmp_path / ".s.PGSQL.6000"
    assert failure(target(6000, host=str(tmp_path))).startswith(f"there is no socket {path}: ")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert failure(target(6000, host=str(tmp_path))).startswith(f"nothing listens on socket {path}: ")
    assert "cannot be reached" in failure(target(6000, host=str(tmp_path / ("x" * 200))))


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failure(target(host="nobody.example")).startswith("no address is known for the host 'nobody.example': ")


def test_a_name_that_cannot_be_one() -> None:
    assert "no address is known" in failure(target(host="x" * 70 + ".example"))


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server, socket.create_server(("127.0.0.1", 0)) as closed:
        places = [("127.0.0.1", closed.getsockname()[1]), ("127.0.0.1", server.port)]
        closed.close()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with opened(target(host="two.example", sslmode="disable")) as connection:
            assert connection.getpeername() == places[1]


# --- time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, b"S"])
def test_a_server_that_says_nothing_ends_in_time(answer: bytes | None) -> None:
    with listening(answer) as server:
        before = time.monotonic()
        message = failure(target(server.port, sslmode="require", connect_timeout=0.3))
        assert 0.2 < time.monotonic() - before < 3
    assert message.startswith(f"127.0.0.1 port {server.port} did not answer within 0.3 s (connect_timeout): ")


def test_addresses_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    class Slow(socket.socket):
        def connect(self, address: Any) -> None:
            given.append(self.gettimeout())
            raise TimeoutError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))] * 3
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Slow)
    assert "did not answer within 6 s" in failure(target(host="slow.example", connect_timeout=6))
    assert given == [pytest.approx(2, abs=0.5), pytest.approx(3, abs=0.5), pytest.approx(6, abs=0.5)]


def test_a_deadline_that_is_over_connects_to_nothing() -> None:
    with listening() as server:
        assert "did not answer" in failure(target(server.port), deadline=Deadline(-1))
        assert server.requests == []


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", ["prefer", *TLS_MODES])
def test_tls_with_the_right_authority(sslmode: str, good: ssl.SSLContext, rootcert: str) -> None:
    with listening(context=good) as server:
        connection = opened(target(server.port, sslmode=sslmode, sslrootcert=rootcert))
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.gettimeout() is None
        assert echo(connection) == b"hello"
        assert server.requests == [SSL_REQUEST]


@pytest.mark.parametrize("sslmode", ["disable", "allow"])
def test_no_tls_is_asked_for(sslmode: str, good: ssl.SSLContext) -> None:
    with listening(context=good) as server:
        assert echo(opened(target(server.port, sslmode=sslmode))) == b"hello"
        assert server.requests == [b"hello"]


def test_the_second_attempt_of_allow_is_tls(good: ssl.SSLContext) -> None:
    with listening(context=good) as server:
        connection = opened(target(server.port, sslmode="allow"), tls=True)
        assert isinstance(connection, ssl.SSLSocket)
        assert echo(connection) == b"hello"


def test_prefer_goes_on_in_clear_text_when_there_is_no_tls() -> None:
    with listening(b"N") as server:
        assert echo(opened(target(server.port, sslmode="prefer"))) == b"hello"


@pytest.mark.parametrize("sslmode", ["allow", *TLS_MODES])
def test_no_tls_where_it_is_needed(sslmode: str, rootcert: str) -> None:
    with listening(b"N") as server:
        message = failure(target(server.port, sslmode=sslmode, sslrootcert=rootcert), tls=True)
    assert message.startswith(f"127.0.0.1 port {server.port} does not speak TLS, which sslmode={sslmode} requires: ")


@pytest.mark.parametrize("sslmode", ["prefer", *TLS_MODES])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"E\0\0\0\x10SFATAL", "answered the request for TLS with an error"),
        (b"HTTP/1.1 400", "something that is not PostgreSQL"),
        (HANG_UP, "closed the connection"),
    ],
)
def test_other_answers_are_refused_and_not_quoted(sslmode: str, answer: bytes, expected: str, rootcert: str) -> None:
    with listening(answer) as server:
        message = failure(target(server.port, sslmode=sslmode, sslrootcert=rootcert, connect_timeout=3))
    assert expected in message
    assert "FATAL" not in message


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
@pytest.mark.parametrize("early", [b"hello", b"Z\0\0\0\x05I" * 20])
def test_bytes_in_clear_text_before_the_handshake_are_refused(sslmode: str, early: bytes, good: ssl.SSLContext) -> None:
    """CVE-2021-23222: nothing that came before TLS may be taken for something that came through it."""
    with listening(b"S" + early, good) as server:
        message = failure(target(server.port, sslmode=sslmode, connect_timeout=3))
    assert "cannot agree on TLS with this client" in message


def test_only_one_byte_is_read_before_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"Sabc")
        assert sockets._accepts_tls(near, Address("h", 1))
        assert near.recv(16) == b"abc"


# --- certificates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", TLS_MODES)
def test_another_authority(sslmode: str, good: ssl.SSLContext, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(other)
    with listening(context=good) as server:
        message = failure(target(server.port, sslmode=sslmode, sslrootcert=other))
    assert "signed by an authority that is not trusted here: " in message
    assert "sslrootcert=FILE" in message


@pytest.mark.parametrize("rootcert", ["system", None])
def test_the_systems_authorities(rootcert: str | None, good: ssl.SSLContext) -> None:
    with listening(context=good) as server:
        assert "not trusted here" in failure(target(server.port, sslmode="verify-full", sslrootcert=rootcert))


def test_require_without_a_root_certificate_verifies_nothing(good: ssl.SSLContext) -> None:
    with listening(context=good) as server:
        assert echo(opened(target(server.port, sslmode="require"))) == b"hello"


def test_an_expired_certificate(authority: trustme.CA, rootcert: str) -> None:
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    context = server_context(authority.issue_cert("127.0.0.1", not_after=past))
    with listening(context=context) as server:
        for sslmode in VERIFYING:
            message = failure(target(server.port, sslmode=sslmode, sslrootcert=rootcert))
            assert f"the certificate of 127.0.0.1 port {server.port} has expired: " in message


@pytest.mark.parametrize("host", ["127.0.0.1", "wrong.example"])
def test_a_certificate_for_another_name(host: str, authority: trustme.CA, rootcert: str) -> None:
    with listening(context=server_context(authority.issue_cert("db.example"))) as server:
        wanted = {"host": host, "hostaddr": "127.0.0.1", "sslrootcert": rootcert}
        assert f"does not name '{host}'" in failure(target(server.port, sslmode="verify-full", **wanted))
        assert echo(opened(target(server.port, sslmode="verify-ca", **wanted))) == b"hello"


def test_hostaddr_does_not_replace_the_name(good: ssl.SSLContext, rootcert: str) -> None:
    with listening(context=good) as server:
        wanted = target(
            server.port, host="db.example", hostaddr="127.0.0.1", sslmode="verify-full", sslrootcert=rootcert
        )
        assert echo(opened(wanted)) == b"hello"


def test_a_context_of_the_callers_own(good: ssl.SSLContext, authority: trustme.CA) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with listening(context=good) as server:
        assert "not trusted here" in failure(target(server.port, ssl_context=own))
        authority.configure_trust(own)
        assert echo(opened(target(server.port, ssl_context=own))) == b"hello"


def test_versions_without_overlap(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with listening(context=context) as server:
        wanted = target(server.port, sslmode="require", ssl_min_protocol_version="TLSv1.3")
        assert "with TLS 1.2 or newer" in failure(wanted)


def test_a_server_that_hangs_up_in_the_handshake() -> None:
    with listening(b"S", None) as server:
        threading.Timer(0.1, server.stop).start()
        message = failure(target(server.port, sslmode="require", connect_timeout=3))
    assert message.startswith(f"127.0.0.1 port {server.port} closed the connection during the TLS handshake: ")


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture
def client_files(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    issued = authority.issue_cert("me@example.com")
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return cert, key


@pytest.fixture
def demanding(authority: trustme.CA) -> ssl.SSLContext:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that a refusal shows in the handshake
    authority.configure_trust(context)
    return context


def test_a_client_certificate(demanding: ssl.SSLContext, client_files: tuple[Path, Path]) -> None:
    cert, key = client_files
    with listening(context=demanding) as server:
        assert echo(opened(target(server.port, sslmode="require", sslcert=cert, sslkey=key))) == b"hello"


def test_a_client_certificate_that_is_refused(demanding: ssl.SSLContext, tmp_path: Path) -> None:
    stranger = trustme.CA().issue_cert("me@example.com")
    both = tmp_path / "both.pem"
    stranger.private_key_and_cert_chain_pem.write_to_path(both)
    both.chmod(0o600)
    with listening(context=demanding) as server:
        message = failure(target(server.port, sslmode="require", sslcert=both))
    assert "did not accept this client's certificate" in message


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o660])
def test_a_key_that_others_may_read(mode: int, client_files: tuple[Path, Path]) -> None:
    cert, key = client_files
    key.chmod(mode)
    message = failure_before_connecting(sslmode="require", sslcert=cert, sslkey=key)
    assert message == f"the private key {key} is open to other users: chmod 0600 {key}"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no file owners here")
def test_a_key_that_roots_group_may_read(client_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = client_files
    key.chmod(0o640)
    if os.geteuid() == 0:
        tls._check_key_mode(str(key))
        os.chown(key, 1, 1)
    with pytest.raises(OperationalError, match="open to other users"):
        tls._check_key_mode(str(key))


def failure_before_connecting(**params: Any) -> str:
    """The failure of an address where nothing listens: files are looked at before a packet is sent."""
    return failure(target(1, **params))


def test_files_that_are_missing_or_wrong(client_files: tuple[Path, Path], tmp_path: Path) -> None:
    cert, _ = client_files
    none, text = tmp_path / "none", tmp_path / "text"
    text.write_text("no certificate")
    assert f"sslrootcert={none} cannot be read" in failure_before_connecting(sslmode="verify-ca", sslrootcert=none)
    assert f"sslrootcert={text} holds no cert" in failure_before_connecting(sslmode="verify-ca", sslrootcert=text)
    assert f"sslcert={none} cannot be read" in failure_before_connecting(sslmode="require", sslcert=none)
    assert "cannot be used with the key" in failure_before_connecting(sslmode="require", sslcert=cert)
    assert f"sslkey={none} cannot" in failure_before_connecting(sslmode="require", sslcert=cert, sslkey=none)


def test_an_encrypted_key_needs_its_password(
    demanding: ssl.SSLContext, client_files: tuple[Path, Path], tmp_path: Path
) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    cert, key = client_files
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret-Pa55"),
        )
    )
    encrypted.chmod(0o600)
    files: dict[str, Any] = {"sslmode": "require", "sslcert": cert, "sslkey": encrypted}
    for password in (None, "wrong"):
        assert "sslpassword" in failure_before_connecting(**files, sslpassword=password)
    with listening(context=demanding) as server:
        assert echo(opened(target(server.port, **files, sslpassword="s3cret-Pa55"))) == b"hello"


def test_contexts_are_kept_until_a_file_changes(rootcert: str, authority: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    authority.cert_pem.write_to_path(path)
    wanted = target(sslmode="verify-full", sslrootcert=path)
    first = tls.context_for(wanted)
    assert tls.context_for(wanted) is first
    os.utime(path, ns=(1, 1))
    assert tls.context_for(wanted) is not first
