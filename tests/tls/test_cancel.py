"""A statement is cancelled over TLS, too, on a second connection that is verified as the first was."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lightvec.pg8000 import Connection, connect
from lightvec.pg8000.exceptions import OperationalError
from tests.tls.between import SSL_REQUEST, Behaviour, Between, passing
from tests.tls.certificates import Certificate
from tests.tls.conftest import Stand
from tests.tls.postgres import Postgres
from tests.tls.sentences import check_remedy

CANCELLED = "57014"
VERSIONS = ["TLSv1.2", "TLSv1.3"]
SLOW = "SELECT pg_sleep(30)"


@contextmanager
def running(connection: Connection) -> Iterator[list[OperationalError]]:
    """Runs what is slow in another thread during the block; the error that it ends with."""
    errors: list[OperationalError] = []

    def run() -> None:
        try:
            connection.run(SLOW)
        except OperationalError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        time.sleep(0.1)
        yield errors
    finally:
        thread.join(40)


def check_cancelled(connection: Connection) -> None:
    begun = time.monotonic()
    with running(connection) as errors:
        connection.cancel()
    assert [error.sqlstate for error in errors] == [CANCELLED]
    assert time.monotonic() - begun < 10
    assert connection.run("SELECT 1") == [[1]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_another_thread_cancels(place: str, version: str, request: pytest.FixtureRequest) -> None:
    stand: Stand = request.getfixturevalue(place)
    with connect(**stand.has(ssl_max_protocol_version=version)) as connection:
        check_cancelled(connection)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_a_statement_that_takes_too_long(place: str, version: str, request: pytest.FixtureRequest) -> None:
    stand: Stand = request.getfixturevalue(place)
    with connect(**stand.has(ssl_max_protocol_version=version, command_timeout=0.2)) as connection:
        for _ in range(2):
            with pytest.raises(OperationalError, match=r"it took longer than 0\.2 s") as caught:
                connection.run(SLOW)
            assert caught.value.sqlstate == CANCELLED
            assert connection.run("SELECT 1") == [[1]]


def test_a_remote_host_is_verified_by_its_name(remote: str, direct: Stand) -> None:
    """The address is where the first connection led to; the certificate must have the name all the same."""
    with connect(**direct.has(host=remote)) as connection:
        check_cancelled(connection)


@pytest.mark.parametrize("kind", ["of a stranger", "of another host", "expired"])
def test_a_certificate_that_became_wrong(
    kind: str, direct: Stand, postgres: Postgres, certificates: dict[str, Certificate]
) -> None:
    with connect(**direct.params) as connection, running(connection) as errors:
        with postgres.serving(certificates[kind]):
            with pytest.raises(OperationalError) as caught:
                connection.cancel()
            assert "certificate" in check_remedy(caught.value)
            assert errors == [], "it runs on"
        connection.cancel()
    assert [error.sqlstate for error in errors] == [CANCELLED]


def first_words(heard: list[bytes]) -> Behaviour:
    """Passing on, and keeping what each client says first."""

    def behave(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
        heard.append(client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL))
        passing(client, to_server)

    return behave


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_the_request_is_never_in_clear_text(sslmode: str, postgres: Postgres, direct: Stand) -> None:
    """Who hears the key could cancel what runs later."""
    heard: list[bytes] = []
    with (
        Between(postgres.port, first_words(heard)) as between,
        connect(**direct.has(port=between.port, sslmode=sslmode)) as connection,
    ):
        check_cancelled(connection)
    assert heard == [SSL_REQUEST] * 2


def test_the_key_does_not_go_where_tls_is_gone(postgres: Postgres, direct: Stand) -> None:
    """Under prefer the server's word that it has no TLS is taken, but not for a key that was given over TLS."""
    heard: list[bytes] = []

    def behave(client: socket.socket, to_server: Callable[[], socket.socket]) -> None:
        if heard:
            client.recv(len(SSL_REQUEST))
            client.sendall(b"N")
            heard.append(client.recv(100))
        else:
            heard.append(b"")
            passing(client, to_server)

    with Between(postgres.port, behave) as between:
        connection = connect(**direct.has(port=between.port, sslmode="prefer"))
        with pytest.raises(OperationalError, match="nothing is canceled"):
            connection.cancel()
        connection.close()
    assert heard == [b"", b""]


def test_what_was_said_in_clear_text_is_cancelled_so(postgres: Postgres, direct: Stand) -> None:
    for sslmode, user in (("disable", "me"), ("prefer", "only_clear"), ("allow", "only_tls")):
        with connect(**direct.has(sslmode=sslmode, user=user)) as connection:
            check_cancelled(connection)


def test_a_server_that_is_gone(postgres: Postgres, direct: Stand) -> None:
    with Between(postgres.port, passing) as between:
        connection: Any = connect(**direct.has(port=between.port))
    with pytest.raises(OperationalError) as caught:
        connection.cancel(timeout=1)
    check_remedy(caught.value)
    connection.close()
