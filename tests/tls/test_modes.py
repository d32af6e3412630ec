"""``sslmode`` means what it means in libpq: psycopg connects, or does not, to the same servers in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tls.certificates import Certificate, self_signed
from tests.tls.conftest import REMOTE, Stand
from tests.tls.outcomes import REFUSED, libpqs, ours
from tests.tls.postgres import Postgres

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
#: Roles, each of which makes another kind of server of the one.
KINDS = {"TLS or not": "me", "TLS only": "only_tls", "clear text only": "only_clear"}
#: The certificates that the server has one after the other; in the end it has no TLS.
CERTIFICATES = ["right", "of a stranger", "expired", "of another host", None]


@pytest.fixture(scope="module", params=CERTIFICATES)
def kind_of_certificate(
    request: pytest.FixtureRequest, postgres: Postgres, certificates: dict[str, Certificate]
) -> Iterator[str | None]:
    with postgres.serving(certificates[request.param] if request.param else None):
        yield request.param


def at_remote(direct: Stand, **params: Any) -> dict[str, Any]:
    """A host of another name, whose address both drivers are told."""
    return direct.has(host=REMOTE, hostaddr="127.0.0.1", **params)


# --- the matrix --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind_of_certificate")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sslmode", MODES)
def test_a_mode_is_libpqs(sslmode: str, kind: str, direct: Stand) -> None:
    params = at_remote(direct, sslmode=sslmode, user=KINDS[kind])
    assert ours(**params) == libpqs(**params)


@pytest.mark.parametrize("sslmode", ["allow", "prefer", "require"])
def test_without_an_authority_nothing_is_verified(sslmode: str, kind_of_certificate: str | None, direct: Stand) -> None:
    params = at_remote(direct, sslmode=sslmode, sslrootcert=None)
    assert ours(**params) == libpqs(**params)
    if kind_of_certificate:
        assert ours(**params) == (sslmode != "allow")


@pytest.mark.parametrize("sslmode", MODES)
def test_a_mode_is_libpqs_before_pgbouncer(sslmode: str, pooled: Stand) -> None:
    """Its server is local and has no TLS, so what is compared is who gets there at all."""
    params = pooled.has(sslmode=sslmode)
    assert ours(**params) == libpqs(**params) == (REFUSED if sslmode == "disable" else False)


@pytest.mark.parametrize("name", ["127.0.0.1", REMOTE])
@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
@pytest.mark.parametrize("has_names", [True, False], ids=["names", "common name only"])
def test_a_certificate_that_is_its_own_authority(
    has_names: bool, sslmode: str, name: str, postgres: Postgres, direct: Stand, tmp_path: Path
) -> None:
    certificate = self_signed("ECDSA-SHA256", *([name] if has_names else []), common_name=name)
    file, _ = certificate.write(tmp_path, "server")
    with postgres.serving(certificate):
        params = direct.has(host=name, hostaddr="127.0.0.1", sslmode=sslmode, sslrootcert=str(file))
        assert (ours(**params), libpqs(**params)) == OWN_AUTHORITY.get((has_names, sslmode, name), (True, True))


#: Ours and libpq's where the two differ: a common name that is an IP address names no host here (RFC 6125, 1.7.2).
OWN_AUTHORITY: Mapping[tuple[bool, str, str], tuple[bool | str, bool | str]] = {
    (False, "verify-full", "127.0.0.1"): (REFUSED, True),
}
