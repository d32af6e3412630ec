"""A PostgreSQL with TLS, a PgBouncer with TLS before the suite's server, and a host name that is not this machine's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import trustme

from lightvec.server import Server
from tests.pg8000.pgbouncer import PgBouncer
from tests.tls.certificates import Certificate, issued, now
from tests.tls.postgres import DATABASE, PASSWORD, ROLES, Postgres

#: A host that is not this machine, to whoever asks; ``remote`` makes it known.
REMOTE = "db.example"


def bouncer(server: Server, certificate: Certificate, **settings: str) -> PgBouncer:
    """PgBouncer with TLS, which every client must use."""
    files = {
        "server.crt": certificate.chain,
        "server.key": certificate.key,
        "clients.crt": certificate.clients or b"",
        "users.txt": b"".join(f'"{role}" "{PASSWORD}"\n'.encode() for role in ROLES),
    }
    names = {
        "client_tls_cert_file": "server.crt",
        "client_tls_key_file": "server.key",
        "client_tls_ca_file": "clients.crt",
        "client_tls_sslmode": "require",
        "auth_file": "users.txt",
        "auth_type": "scram-sha-256",
    }
    return PgBouncer(server, settings=names | settings, files=files)


class Stand(NamedTuple):
    """What the tests connect to: how, and with which certificates."""

    params: dict[str, Any]
    authority: trustme.CA
    certificate: Certificate

    def has(self, **params: Any) -> dict[str, Any]:
        """The parameters, with others."""
        return self.params | params


@pytest.fixture(autouse=True, scope="session")
def no_files_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """libpq reads certificates and passwords in the home folder; the caller's are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that is not this machine, as far as its name tells; it is found here all the same."""
    look_up = socket.getaddrinfo

    def found(host: Any, *args: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if host == REMOTE else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return REMOTE


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


@pytest.fixture(scope="session")
def stranger() -> trustme.CA:
    """Whom nobody trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="session")
def rootcert(authority: trustme.CA, files: Path) -> str:
    """The authority's certificate as a file."""
    path = files / "root.crt"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="session")
def certificates(authority: trustme.CA, stranger: trustme.CA) -> dict[str, Certificate]:
    """A right one and wrong ones; all of them take clients that the authority signed."""
    names = ("127.0.0.1", "localhost", REMOTE)
    return {
        "right": issued(authority, *names, clients=authority),
        "of a stranger": issued(stranger, *names, clients=authority),
        "expired": issued(authority, *names, not_before=now(days=-2), not_after=now(days=-1), clients=authority),
        "not yet valid": issued(authority, *names, not_before=now(days=1), clients=authority),
        "of another host": issued(authority, "elsewhere.example", "192.0.2.7", clients=authority),
    }


@pytest.fixture(scope="session")
def postgres(certificates: dict[str, Certificate]) -> Iterator[Postgres]:
    """The server, with the right certificate."""
    with Postgres() as server, server.serving(certificates["right"]):
        yield server


@pytest.fixture(scope="session")
def direct(postgres: Postgres, authority: trustme.CA, certificates: dict[str, Certificate], rootcert: str) -> Stand:
    """The server itself."""
    params = {
        "host": postgres.host,
        "port": postgres.port,
        "user": "me",
        "password": PASSWORD,
        "dbname": DATABASE,
        "sslmode": "verify-full",
        "sslrootcert": rootcert,
        "connect_timeout": 10,
    }
    return Stand(params, authority, certificates["right"])


@pytest.fixture(scope="session")
def pooled(
    server: Server, url: str, authority: trustme.CA, certificates: dict[str, Certificate], rootcert: str
) -> Iterator[Stand]:
    """PgBouncer, which wants TLS and a password, before the suite's server, which has pgvector."""
    with bouncer(server, certificates["right"]) as pooler:
        params = {
            "host": "127.0.0.1",
            "port": pooler.port,
            "user": "me",
            "password": PASSWORD,
            "dbname": urlsplit(url).path[1:],
            "sslmode": "verify-full",
            "sslrootcert": rootcert,
            "connect_timeout": 10,
        }
        yield Stand(params, authority, certificates["right"])
