"""What is wrong with a certificate, or is done to a handshake, is refused, in one sentence that says what to do."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

import pytest

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server import Server
from tests.tls.between import Between, answering, handing_on, passing
from tests.tls.certificates import Certificate
from tests.tls.conftest import Stand, bouncer
from tests.tls.outcomes import REFUSED, libpqs, ours
from tests.tls.postgres import Postgres
from tests.tls.sentences import check_remedy

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
TLS_MODES = MODES[3:]
VERSIONS = ["TLSv1.2", "TLSv1.3"]


def refusal(**params: Any) -> str:
    with pytest.raises(OperationalError) as caught:
        connect(**params).close()
    return check_remedy(caught.value)


# --- certificates ------------------------------------------------------------------------------------------------

WRONG: Mapping[str, tuple[str, str]] = {
    "of a stranger": ("is signed by an authority that is not trusted here", "as sslrootcert=FILE"),
    "expired": ("has expired", "renew it on the server"),
    "not yet valid": ("is not valid yet", "set this machine's clock right"),
    "of another host": ("does not name '127.0.0.1'", "connect by a name that it has"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate(
    kind: str, postgres: Postgres, direct: Stand, certificates: dict[str, Certificate]
) -> None:
    with postgres.serving(certificates[kind]):
        for version in VERSIONS:
            check_wrong(kind, direct.has(ssl_max_protocol_version=version))


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate_of_pgbouncer(
    kind: str, server: Server, pooled: Stand, certificates: dict[str, Certificate]
) -> None:
    with bouncer(server, certificates[kind]) as pooler:
        for version in VERSIONS:
            check_wrong(kind, pooled.has(port=pooler.port, ssl_max_protocol_version=version))


def check_wrong(kind: str, params: dict[str, Any]) -> None:
    what, remedy = WRONG[kind]
    modes = ["verify-full"] if kind == "of another host" else TLS_MODES
    for sslmode in modes:
        message = refusal(**params | {"sslmode": sslmode})
        assert message.startswith(f"the certificate of 127.0.0.1 port {params['port']} {what}: ")
        assert remedy in message


# --- handshakes --------------------------------------------------------------------------------------------------


def hang_up(client: socket.socket, _: object) -> None:
    """Closes the connection as it should be closed."""
    client.shutdown(socket.SHUT_RDWR)


def reset(client: socket.socket, _: object) -> None:
    """Closes it as a machine does that knows nothing of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def hang_up_later(client: socket.socket, _: object) -> None:
    """Closes it in the middle of the handshake, when the client has said its first word."""
    client.recv(1 << 16)
    client.shutdown(socket.SHUT_RDWR)


def reset_later(client: socket.socket, _: object) -> None:
    client.recv(1 << 16)
    reset(client, _)


BEHAVIOURS = {
    "no TLS": answering(b"N", passing),
    "clear text behind the S": answering(b"S", passing),
    "more than the S": answering(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", handing_on),
    "more than the N": answering(b"NR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", passing),
    "an error": answering(b"E\0\0\0\x0cMrun rm\0\0", hang_up),
    "a good-bye": answering(b"", hang_up),
    "a reset": answering(b"", reset),
    "a good-bye in the handshake": answering(b"S", hang_up_later),
    "a reset in the handshake": answering(b"S", reset_later),
    "an alert": answering(b"S\x15\x03\x01\0\x02\x02\x28", hang_up_later),
    "HTTP": answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", hang_up),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("sslmode", TLS_MODES)
def test_nothing_is_said_without_tls(sslmode: str, behaviour: str, postgres: Postgres, direct: Stand) -> None:
    with Between(postgres.port, BEHAVIOURS[behaviour]) as between:
        message = refusal(**direct.has(port=between.port, sslmode=sslmode))
    assert message.startswith(f"127.0.0.1 port {between.port} ")
    assert "rm" not in message.split()


#: Ours and libpq's where the two differ. After a handshake that failed ``prefer`` goes on in clear text; libpq makes an
#: exception for this one, which protects nobody: who can put something in can answer "no TLS" as well.
DIFFERENCES = {("more than the S", "prefer"): (False, REFUSED)}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_a_mode_that_lets_it_be_is_libpqs(sslmode: str, behaviour: str, postgres: Postgres, direct: Stand) -> None:
    with Between(postgres.port, BEHAVIOURS[behaviour]) as between:
        params = direct.has(port=between.port, sslmode=sslmode)
        found = ours(**params), libpqs(**params)
        if (behaviour, sslmode) in DIFFERENCES:
            assert found == DIFFERENCES[behaviour, sslmode]
        else:
            assert found[0] == found[1]
