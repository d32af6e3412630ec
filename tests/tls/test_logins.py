"""Who the client is, over TLS: SCRAM bound to the channel, and certificates of clients."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.server import Server
from tests.tls.between import Between, forging
from tests.tls.certificates import SIGNATURES, Certificate, issued, now, self_signed
from tests.tls.conftest import Stand, bouncer
from tests.tls.outcomes import REFUSED, libpqs, ours
from tests.tls.postgres import PASSWORD, PEOPLE, Postgres
from tests.tls.sentences import check_remedy

VERSIONS = ["TLSv1.2", "TLSv1.3"]
#: Signatures whose certificates no login can be bound to: they name no hash.
UNBOUND = {"Ed25519"}


def refusal(**params: Any) -> str:
    with pytest.raises(OperationalError) as caught:
        connect(**params).close()
    return check_remedy(caught.value)


# --- channel binding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", SIGNATURES)
def test_scram_is_bound_to_a_certificate(signature: str, postgres: Postgres, direct: Stand, tmp_path: Path) -> None:
    certificate = self_signed(signature, "127.0.0.1")
    file, _ = certificate.write(tmp_path, "server")
    with postgres.serving(certificate):
        for channel_binding in ("require", "prefer", "disable"):
            params = direct.has(sslrootcert=str(file), channel_binding=channel_binding)
            expected = REFUSED if signature in UNBOUND and channel_binding != "disable" else True
            assert ours(**params) == libpqs(**params) == expected
            if expected == REFUSED:
                assert "or say channel_binding=disable" in refusal(**params)


@pytest.fixture(scope="module")
def forger(postgres: Postgres, authority: trustme.CA) -> Iterator[Between]:
    """Someone in between whose certificate is as good as the server's, but another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Between(postgres.port, forging(context)) as forger:
        yield forger


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("channel_binding", ["disable", "prefer", "require"])
def test_a_forger_is_found_out(channel_binding: str, sslmode: str, forger: Between, direct: Stand) -> None:
    params = direct.has(port=forger.port, sslmode=sslmode, channel_binding=channel_binding)
    found = ours(**params)
    assert found == libpqs(**params)
    if channel_binding == "disable":
        assert found is True, "he passes for the server"
    elif channel_binding == "require" or sslmode != "prefer":
        assert found == REFUSED
        if sslmode != "prefer":
            assert "so something is in between: connect to the server itself" in refusal(**params)


def test_pgbouncer_binds_nothing(pooled: Stand) -> None:
    for channel_binding in ("prefer", "disable"):
        with connect(**pooled.has(channel_binding=channel_binding)) as connection:
            assert connection.run("SELECT 1") == [[1]]
    message = refusal(**pooled.has(channel_binding="require"))
    assert message.startswith("channel_binding=require, but the server does not offer SCRAM bound to a TLS channel")


def test_what_does_not_bind_is_refused_under_require(direct: Stand) -> None:
    for user in ("trusted", "by_clear_password"):
        params = direct.has(user=user, channel_binding="require")
        assert ours(**params) == libpqs(**params) == REFUSED
    params = direct.has(sslmode="disable", channel_binding="require")
    assert ours(**params) == libpqs(**params) == REFUSED


# --- passwords ---------------------------------------------------------------------------------------------------

PASSWORDS = [
    "plain",
    "with 'quotes\" and \\ and , = comma",
    "\x01\x1f\x7f",
    " ",
    "é",
    "e\u0301",
    "\u2168",
    "\u00a0x\u00ad",
    "\U0001f600",
    "\U0001fae0 of Unicode 14",
    "\u0627\u0031",
    "\u0627\u0628",
    "a\u0627",
    "\ufdd0\ue000",
    "\u00ad",
    "x" * 900,
]


USERS = ["so=and,so", "\U0001f600", "\x01", "n=admin,r=x", " "]


@contextmanager
def role(postgres: Postgres, name: str, password: str) -> Iterator[None]:
    """A role that logs in by SCRAM, for a while; the password may be what the server keeps of one."""
    with connect(postgres.admin_url) as admin:
        rows: Any = admin.run("SELECT quote_ident(:name), quote_literal(:password)", name=name, password=password)
        admin.run(f"CREATE ROLE {rows[0][0]} LOGIN PASSWORD {rows[0][1]} IN ROLE {PEOPLE}")
        try:
            yield
        finally:
            admin.run(f"DROP ROLE {rows[0][0]}")


@pytest.mark.parametrize("password", PASSWORDS, ids=ascii)
def test_a_password_is_what_it_is_in_libpq(password: str, postgres: Postgres, direct: Stand) -> None:
    with role(postgres, "someone", password):
        params = direct.has(user="someone", password=password)
        assert ours(**params) is libpqs(**params) is True
        assert ours(**params | {"password": f"{password}x"}) == REFUSED


def test_what_looks_the_same_is_the_same_password(postgres: Postgres, direct: Stand) -> None:
    with role(postgres, "someone", "\u2168 e\u0301"):
        for password in ("\u2168 e\u0301", "IX \u00e9", "IX\u00a0\u00ad\u00e9"):
            assert ours(**direct.has(user="someone", password=password)) is True


@pytest.mark.parametrize("user", USERS, ids=ascii)
def test_a_user_is_whoever_he_is(user: str, postgres: Postgres, direct: Stand) -> None:
    with role(postgres, user, PASSWORD):
        params = direct.has(user=user)
        assert ours(**params) is libpqs(**params) is True


def verifier(password: bytes, iterations: int, salt: bytes = b"sixteen bytes...") -> str:
    """What the server keeps of a password (PostgreSQL documentation, 52.8 "pg_authid")."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    parts = [b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


@pytest.mark.parametrize("iterations", [1, 4095, 100_000])
def test_as_many_iterations_as_the_server_has(iterations: int, postgres: Postgres, direct: Stand) -> None:
    with role(postgres, "someone", verifier(PASSWORD.encode(), iterations)):
        params = direct.has(user="someone")
        assert ours(**params) is libpqs(**params) is True


@pytest.mark.parametrize("salt", [b"x", b"y" * 500], ids=len)
def test_salt_of_any_length(salt: bytes, postgres: Postgres, direct: Stand) -> None:
    with role(postgres, "someone", verifier(PASSWORD.encode(), 4096, salt)):
        assert ours(**direct.has(user="someone")) is True


def test_a_password_in_clear_text(direct: Stand, remote: str) -> None:
    assert ours(**direct.has(user="by_clear_password", host=remote)) is True
    message = refusal(**direct.has(user="by_clear_password", host=remote, sslmode="disable"))
    assert "in clear text over a connection that has no TLS, so it was not sent: use sslmode=verify-full" in message


def test_md5(server: Server, certificates: dict[str, Certificate], pooled: Stand) -> None:
    with bouncer(server, certificates["right"], auth_type="md5") as pooler:
        params = pooled.has(port=pooler.port)
        assert ours(**params) is libpqs(**params) is False
        assert ours(**params | {"password": "wrong"}) == REFUSED


# --- certificates of clients -------------------------------------------------------------------------------------


NOT_ACCEPTED = "did not accept this client's certificate: give one that it trusts as sslcert and sslkey"


@pytest.fixture(scope="module")
def clients(authority: trustme.CA, stranger: trustme.CA, files: Path) -> dict[str, dict[str, str]]:
    """``sslcert`` and ``sslkey`` of all kinds; the common name is the role."""
    kinds = {
        "right": issued(authority, "x@example.com", common_name="by_cert"),
        "with password": issued(authority, "x@example.com", common_name="by_both"),
        "of another role": issued(authority, "x@example.com", common_name="someone"),
        "of a stranger": issued(stranger, "x@example.com", common_name="by_cert"),
        "expired": issued(
            authority, "x@example.com", common_name="by_cert", not_before=now(days=-2), not_after=now(days=-1)
        ),
    }
    found = {}
    for kind, certificate in kinds.items():
        cert, key = certificate.write(files, f"client {kind}")
        found[kind] = {"sslcert": str(cert), "sslkey": str(key)}
    return found | {"none": {}}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("user", ["by_cert", "by_both", "me"])
@pytest.mark.parametrize("kind", ["right", "with password", "of another role", "of a stranger", "expired", "none"])
def test_a_clients_certificate(
    kind: str, user: str, version: str, clients: dict[str, dict[str, str]], direct: Stand
) -> None:
    params = direct.has(user=user, ssl_min_protocol_version=version, ssl_max_protocol_version=version, **clients[kind])
    for sslmode in ("verify-full", "prefer"):
        assert ours(**params | {"sslmode": sslmode}) == libpqs(**params | {"sslmode": sslmode})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_wrong_with_a_clients_certificate(
    version: str, clients: dict[str, dict[str, str]], direct: Stand
) -> None:
    params = direct.has(user="by_cert", ssl_max_protocol_version=version)
    for kind in ("of a stranger", "expired"):
        assert NOT_ACCEPTED in refusal(**params, **clients[kind])
    for kind in ("of another role", "none"):
        assert "if it wants a client certificate, give sslcert and sslkey" in refusal(**params, **clients[kind])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clients_certificate_for_pgbouncer(
    version: str,
    server: Server,
    certificates: dict[str, Certificate],
    clients: dict[str, dict[str, str]],
    pooled: Stand,
) -> None:
    with bouncer(server, certificates["right"], client_tls_sslmode="verify-full", auth_type="cert") as pooler:
        params = pooled.has(port=pooler.port, user="by_cert", ssl_max_protocol_version=version)
        for kind, files in clients.items():
            found = ours(**params, **files)
            assert found == libpqs(**params, **files) == (False if kind == "right" else REFUSED)
        for kind in ("of a stranger", "expired"):
            assert NOT_ACCEPTED in refusal(**params, **clients[kind])
        assert "sslcert and sslkey" in refusal(**params)
