"""A host that is not this machine is verified unless the caller says otherwise; what else differs from libpq."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from lightvec.pg8000 import connect
from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire import tls
from tests.tls.certificates import Certificate
from tests.tls.conftest import REMOTE, Stand
from tests.tls.outcomes import REFUSED, libpqs, ours
from tests.tls.postgres import Postgres


class Difference(NamedTuple):
    """What is asked for beside the usual; what becomes of it here and in libpq."""

    asked: dict[str, Any]
    ours: bool | str
    libpqs: bool | str
    certificate: str | None = "right"
    by_system: bool = False


NOTHING: dict[str, Any] = {"sslmode": None, "sslrootcert": None}

#: Where lightvec does on purpose what libpq does not, and what is near to it. None of it holds for hosts that are this
#: machine, and all the rest of test_modes.py is as in libpq.
DIFFERENCES: Mapping[str, Difference] = {
    "the default verifies": Difference(NOTHING, REFUSED, True),
    "the default verifies the authority": Difference({"sslmode": None}, True, True),
    "the default verifies the name": Difference({"sslmode": None}, REFUSED, True, "of another host"),
    "the default does not fall back": Difference(NOTHING, REFUSED, False, None),
    "libpq's default can be said": Difference({"sslmode": "prefer", "sslrootcert": None}, True, True),
    "and its fall-back": Difference({"sslmode": "prefer", "sslrootcert": None}, False, False, None),
    "verify-full knows the system's authorities": Difference({"sslrootcert": None}, True, REFUSED, by_system=True),
    "verify-ca does not": Difference({"sslmode": "verify-ca", "sslrootcert": None}, REFUSED, REFUSED, by_system=True),
    "the default knows them, too": Difference(NOTHING, True, True, by_system=True),
    "they can be asked for": Difference({"sslrootcert": "system"}, True, True, by_system=True),
    "they are asked for what they signed": Difference({"sslrootcert": "system"}, REFUSED, REFUSED),
}


@pytest.fixture
def systems_authority(rootcert: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has the system trust the authority of the tests."""
    monkeypatch.setenv("SSL_CERT_FILE", rootcert)
    tls._context.cache_clear()
    yield
    tls._context.cache_clear()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_differences(
    name: str,
    remote: str,
    direct: Stand,
    postgres: Postgres,
    certificates: dict[str, Certificate],
    request: pytest.FixtureRequest,
) -> None:
    difference = DIFFERENCES[name]
    if difference.by_system:
        request.getfixturevalue("systems_authority")
    with postgres.serving(certificates[difference.certificate] if difference.certificate else None):
        params = direct.has(host=remote, **difference.asked)
        assert ours(**params) == difference.ours
        assert libpqs(**params, hostaddr="127.0.0.1") == difference.libpqs


@pytest.mark.usefixtures("remote")
def test_one_host_that_is_not_this_machine_has_all_verified(postgres: Postgres, direct: Stand) -> None:
    params = direct.has(host=f"127.0.0.1,{REMOTE}", port=f"{postgres.port},{postgres.port}", **NOTHING)
    with pytest.raises(OperationalError) as caught:
        connect(**params)
    assert str(caught.value).count("is signed by an authority that is not trusted here") == 2


@pytest.mark.parametrize(
    "place",
    [{"host": "127.0.0.1"}, {"host": "localhost"}, {"host": "LOCALHOST"}, {"host": REMOTE, "hostaddr": "127.0.0.1"}],
    ids=["address", "localhost", "upper case", "hostaddr"],
)
def test_what_stays_on_this_machine_is_libpqs_default(place: dict[str, str], direct: Stand) -> None:
    params = direct.has(**NOTHING, **place)
    assert ours(**params) is libpqs(**params) is True


def test_a_name_that_is_found_here_is_remote_all_the_same(remote: str, postgres: Postgres, direct: Stand) -> None:
    """Who answers for a name is what verification asks, so where it was found says nothing."""
    with postgres.serving(None), pytest.raises(OperationalError, match="does not speak TLS, which sslmode=verify-full"):
        connect(**direct.has(host=remote, **NOTHING))
