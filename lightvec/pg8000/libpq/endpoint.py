"""What a login is bound to: a hash of the server's certificate, made as the certificate was signed.

Source: RFC 5929, section 4.1. The algorithm stands in the certificate (RFC 5280, section 4.1): a sequence of what is
signed, the algorithm and the signature, in DER.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from lightvec.pg8000.exceptions import OperationalError

__all__ = ["end_point"]

_SEQUENCE, _HASH_OF_PSS = 0x30, 0xA0

#: Object identifiers of signatures, and of the hashes of RSASSA-PSS, in DER without their head. What was signed by MD5
#: or SHA-1 is hashed by SHA-256.
_HASHES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("2a864886f70d010104", "2a864886f70d010105", "2b0e03021a", "2a8648ce3d0401"), "sha256"),
        **dict.fromkeys(("2a864886f70d01010b", "2a8648ce3d040302", "608648016503040201"), "sha256"),
        **dict.fromkeys(("2a864886f70d01010c", "2a8648ce3d040303", "608648016503040202"), "sha384"),
        **dict.fromkeys(("2a864886f70d01010d", "2a8648ce3d040304", "608648016503040203"), "sha512"),
        **dict.fromkeys(("2a864886f70d01010e", "2a8648ce3d040301", "608648016503040204"), "sha224"),
    }
)
_PSS = "2a864886f70d01010a"


def end_point(certificate: bytes) -> bytes:
    """The hash of a certificate; an ``OperationalError`` where its signature names none, as those by Ed25519."""
    name = _HASHES.get(_algorithm(certificate))
    if name is None:
        raise OperationalError(
            "the server's certificate is signed by an algorithm (Ed25519?) to which no login can be bound: "
            "give the server one signed by ECDSA or RSA with SHA-256, or say channel_binding=disable"
        )
    return hashlib.new(name, certificate).digest()


def _algorithm(certificate: bytes) -> str:
    """The object identifier of the signature, or of its hash where that is a parameter."""
    try:
        _, inside, _ = _element(certificate)
        _, _, behind = _element(inside)
        _, algorithm, _ = _element(behind)
        _, identifier, parameters = _element(algorithm)
        if identifier.hex() == _PSS:
            return _hash_of_pss(parameters)
    except IndexError:
        return ""
    return identifier.hex()


def _hash_of_pss(parameters: bytes) -> str:
    _, inside, _ = _element(parameters)
    kind, hashed, _ = _element(inside)
    if kind != _HASH_OF_PSS:
        return "2b0e03021a"  # SHA-1, which is left out
    _, algorithm, _ = _element(hashed)
    _, identifier, _ = _element(algorithm)
    return identifier.hex()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element of DER: its tag, what is in it, and what follows it."""
    length, start = data[1], 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(data[2:start], "big")
    return data[0], data[start : start + length], data[start + length :]
