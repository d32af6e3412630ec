"""Certificates: good ones, bad ones, and those of every signature."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

__all__ = ["SIGNATURES", "Certificate", "issued", "now", "self_signed"]


class Certificate(NamedTuple):
    """What a server has, in PEM: its own certificate with those between it and the root, its key, and the authority of
    the clients whose certificates it takes."""

    chain: bytes
    key: bytes
    clients: bytes | None = None

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of the certificate and of the key, which only their owner can read."""
        chain, key = folder / f"{name}.crt", folder / f"{name}.key"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return chain, key


def now(**offset: float) -> datetime.datetime:
    """The time, so many days or hours from here."""
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**offset)


def issued(authority: trustme.CA, *names: str, clients: trustme.CA | None = None, **options: Any) -> Certificate:
    """A certificate of this authority."""
    leaf = authority.issue_cert(*names, **options)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Certificate(chain, leaf.private_key_pem.bytes(), clients.cert_pem.bytes() if clients else None)


_Sign = Callable[[x509.CertificateBuilder, Any], x509.Certificate]


def _hashed(algorithm: hashes.HashAlgorithm, **options: Any) -> _Sign:
    return lambda builder, key: builder.sign(key, algorithm, **options)  # type: ignore[arg-type]


def _rsa() -> Any:
    return rsa.generate_private_key(65537, 2048)


def _ecdsa() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)

#: Name of a signature to what makes a key and what signs with it.
SIGNATURES: dict[str, tuple[Callable[[], Any], _Sign]] = {
    "RSA-SHA256": (_rsa, _hashed(hashes.SHA256())),
    "RSA-SHA384": (_rsa, _hashed(hashes.SHA384())),
    "RSA-SHA512": (_rsa, _hashed(hashes.SHA512())),
    "RSA-PSS-SHA384": (_rsa, _hashed(hashes.SHA384(), rsa_padding=_PSS)),
    "ECDSA-SHA256": (_ecdsa, _hashed(hashes.SHA256())),
    "ECDSA-SHA384": (_ecdsa, _hashed(hashes.SHA384())),
    "ECDSA-SHA512": (_ecdsa, _hashed(hashes.SHA512())),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, lambda builder, key: builder.sign(key, None)),
}


def self_signed(signature: str = "ECDSA-SHA256", *names: str, common_name: str = "lightvec tests") -> Certificate:
    """A certificate that is its own authority; without names it has its common name only, as in many a how-to."""
    make_key, sign = SIGNATURES[signature]
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now(days=-1))
        .not_valid_after(now(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(text) for text in names]), critical=False)
    certificate = sign(builder, key)
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
