"""What a login is bound to, beside scramp's; that the server takes it is tested by logging in."""

from __future__ import annotations

import hashlib
import ssl

import pytest
from scramp.core import CBindData

from lightvec.pg8000.exceptions import OperationalError
from lightvec.wire.scram import end_point
from tests.tls.certificates import SIGNATURES, self_signed
from tests.tls.sentences import check_remedy

SHA256_BY_RSA, SHA1_BY_RSA, MD5_BY_RSA = (bytes.fromhex(f"2a864886f70d0101{end}") for end in ("0b", "05", "04"))


def der(signature: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(self_signed(signature, "db.example").chain.decode())


@pytest.mark.parametrize("signature", sorted(SIGNATURES.keys() - {"Ed25519"}))
def test_it_is_scramps(signature: str) -> None:
    certificate = der(signature)
    assert end_point(certificate) == bytes(CBindData.from_der(certificate))


@pytest.mark.parametrize("weak", [SHA1_BY_RSA, MD5_BY_RSA], ids=["SHA-1", "MD5"])
def test_a_weak_hash_is_not_used(weak: bytes) -> None:
    certificate = der("RSA-SHA256").replace(SHA256_BY_RSA, weak)
    assert end_point(certificate) == hashlib.sha256(certificate).digest()


@pytest.mark.parametrize("certificate", [der("Ed25519"), b"", b"0", b"\x30\x82", der("RSA-SHA256")[:300], b"\xff" * 99])
def test_where_there_is_no_hash(certificate: bytes) -> None:
    with pytest.raises(OperationalError) as caught:
        end_point(certificate)
    assert "channel_binding=disable" in check_remedy(caught.value)
