"""TLS for a target: what is verified, and what a failure means.

Source: PostgreSQL 18 documentation, 34.19 "SSL Support". The server's certificate must be signed by
``sslrootcert`` if that is given, whatever ``sslmode`` is; ``verify-full`` without it takes the
system's authorities, and requires that the certificate names the host. The caller's own
``ssl_context`` replaces all that.
"""

from __future__ import annotations

import functools
import os
import ssl

from lightvec.wire.errors import CannotConnect
from lightvec.wire.libpq.target import Address, Target

__all__ = ["client_certificate_failure", "context_for", "handshake_failure"]

#: What a context depends on.
_FIELDS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"]
_FIELDS += ["ssl_min_protocol_version", "ssl_max_protocol_version"]


def context_for(target: Target) -> ssl.SSLContext:
    """The context for the target's ``sslmode`` and files.

    Loading the system's trust store takes about 25 ms, so contexts are cached until a file changes.
    """
    if target.ssl_context is not None:
        return target.ssl_context
    files = {name: getattr(target, name) for name in ("sslrootcert", "sslcert", "sslkey")}
    changed = tuple(_modified(name, path) for name, path in files.items() if path and path != "system")
    context = _context(Target((), "", "", **{name: getattr(target, name) for name in _FIELDS}), changed)
    if target.sslcert:
        _check_key_mode(target.sslkey or target.sslcert)
    return context


def _modified(name: str, path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        message = f"{name}={path} cannot be read ({error.strerror}): give a file that exists, or leave it out"
        raise CannotConnect(message) from None


@functools.lru_cache(maxsize=8)
def _context(target: Target, changed: tuple[int, ...]) -> ssl.SSLContext:
    is_verified = target.sslmode in ("verify-ca", "verify-full") or target.sslrootcert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = target.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE
    # Older versions than 1.2 are never used.
    is_newest = target.ssl_min_protocol_version == "TLSv1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if is_newest else ssl.TLSVersion.TLSv1_2
    if target.ssl_max_protocol_version == "TLSv1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if is_verified:
        _load_authorities(context, target.sslrootcert)
    if target.sslcert:
        _load_certificate(context, target.sslcert, target.sslkey, target.sslpassword or "")
    return context


def _load_authorities(context: ssl.SSLContext, path: str | None) -> None:
    if path in (None, "system"):
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(path)
    except OSError:  # ssl.SSLError is one
        raise CannotConnect(
            f"sslrootcert={path} holds no certificates: give a PEM file with the certificate of the server's authority"
        ) from None


def _load_certificate(context: ssl.SSLContext, cert: str, key: str | None, password: str) -> None:
    try:
        # The password is always given: without one OpenSSL would ask on the terminal, and wait.
        context.load_cert_chain(cert, key, password)
    except OSError:
        raise CannotConnect(
            f"the client certificate {cert} cannot be used with the key {key or cert}: give a PEM "
            f"certificate, its own private key as sslkey, and sslpassword if the key is encrypted"
        ) from None


def _check_key_mode(path: str) -> None:
    """libpq's rule: only the user may read a private key, and its group if it is root's."""
    status = os.stat(path)
    others = 0o037 if status.st_uid == 0 else 0o077
    if os.name != "nt" and status.st_mode & others:
        raise CannotConnect(f"the private key {path} is open to other users: chmod 0600 {path}")


# --- what a failure means -------------------------------------------------------------------------

# X509_V_ERR_* of OpenSSL (x509_vfy.h): no chain to an authority that is trusted.
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21, 27)
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = (62, 64)

#: OpenSSL's names of alerts about the client's certificate, without their prefix, which depends on
#: the version.
_CLIENT_REFUSED = (
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_ACCESS_DENIED",
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_REQUIRED",
)
_REFUSED = "did not accept this client's certificate: give one that it trusts as sslcert and sslkey"


def handshake_failure(error: ssl.SSLError, address: Address) -> CannotConnect:
    """The sentence for an error of the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _failed(f"the certificate of {address} {_distrust(error, address)}")
    reason = getattr(error, "reason", None) or ""  # only OpenSSL's own errors have one
    if reason.endswith(_CLIENT_REFUSED):
        why = _REFUSED
    elif reason.endswith("_ALERT_HANDSHAKE_FAILURE"):  # TLS 1.2: no certificate was sent
        why = "ended the TLS handshake: give sslcert and sslkey if it wants them, or look into the server's log"
    elif isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        why = "closed the connection during the TLS handshake: look into the server's log"
    else:
        reason = reason or type(error).__name__
        why = f"cannot agree on TLS with this client ({reason}): is it PostgreSQL, with TLS 1.2 or newer?"
    return _failed(f"{address} {why}")


def _failed(message: str) -> CannotConnect:
    failure = CannotConnect(message)
    failure.in_handshake = True
    return failure


def client_certificate_failure(error: BaseException | None) -> CannotConnect | None:
    """The sentence for an alert about the client's certificate; None for any other error.

    In TLS 1.3 it comes after the handshake, which does not wait for the server's verdict.
    """
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    return CannotConnect(f"the server {_REFUSED}") if reason and reason.endswith(_CLIENT_REFUSED) else None


def _distrust(error: ssl.SSLCertVerificationError, address: Address) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return (
            "is signed by an authority that is not trusted here: give the authority's certificate as "
            "sslrootcert=FILE (cloud providers publish theirs), or install this system's ca-certificates "
            "if it is a public one"
        )
    if code in _WRONG_NAME:
        return (
            f"does not name {address.host!r}: connect by a name that it has (hostaddr says where that name is), "
            f"or say sslmode=verify-ca to check its authority only"
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        state = "has expired" if code == _EXPIRED else "is not valid yet"
        return f"{state}: renew it on the server, or set this machine's clock right"
    return f"cannot be verified ({error.verify_message}): replace it on the server"
