"""TLS for a target: what is verified, and what a failure means.

Source: PostgreSQL 18 documentation, 34.19 "SSL Support", the table of ``sslmode``. Verification here:

=================================  ==========================================================
``sslmode``                        the server's certificate
=================================  ==========================================================
``allow``, ``prefer``, ``require`` must be signed by ``sslrootcert`` if there is one
``verify-ca``                      must be signed by ``sslrootcert``
``verify-full``                    the same or by the system's, and must name the host
=================================  ==========================================================

The caller's own ``ssl_context`` replaces all that.
"""

from __future__ import annotations

import functools
import os
import ssl

from lightvec.wire.errors import CannotConnect
from lightvec.wire.libpq.target import Address, Target

__all__ = ["context_for", "login_failure", "tls_failure"]


#: What a context depends on.
_FIELDS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"]
_FIELDS += ["ssl_min_protocol_version", "ssl_max_protocol_version"]


def context_for(target: Target) -> ssl.SSLContext:
    """The context for the target's ``sslmode`` and files; a ``CannotConnect`` if a file cannot be used.

    Loading the system's trust store takes about 25 ms, so contexts are kept for the next connection,
    until a file changes.
    """
    if target.ssl_context is not None:
        return target.ssl_context
    files = {"sslrootcert": target.sslrootcert, "sslcert": target.sslcert, "sslkey": target.sslkey}
    stamps = tuple(_stamp(name, path) for name, path in files.items() if path and path != "system")
    context = _context(Target((), "", "", **{name: getattr(target, name) for name in _FIELDS}), stamps)
    if target.sslcert:
        _refuse_open_key(target.sslkey or target.sslcert)
    return context


def _stamp(name: str, path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        message = f"{name}={path} cannot be read ({error.strerror}): give a file that exists, or leave it out"
        raise CannotConnect(message) from error


@functools.lru_cache(maxsize=8)
def _context(target: Target, stamps: tuple[int, ...]) -> ssl.SSLContext:
    is_verified = target.sslmode in ("verify-ca", "verify-full") or target.sslrootcert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = target.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE
    context.minimum_version = target.ssl_min_protocol_version or ssl.TLSVersion.TLSv1_2
    context.maximum_version = target.ssl_max_protocol_version or ssl.TLSVersion.MAXIMUM_SUPPORTED
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
    except OSError as error:  # ssl.SSLError is one
        raise CannotConnect(
            f"sslrootcert={path} holds no certificates that can be read: give a PEM file with the "
            f"certificate of the server's authority"
        ) from error


def _load_certificate(context: ssl.SSLContext, cert: str, key: str | None, password: str) -> None:
    try:
        # The password is always given: without one OpenSSL would ask on the terminal, and wait.
        context.load_cert_chain(cert, key, password)
    except OSError as error:
        raise CannotConnect(
            f"the client certificate {cert} cannot be used with the key {key or cert}: give a PEM "
            f"certificate, its own private key as sslkey, and sslpassword if the key is encrypted"
        ) from error


def _refuse_open_key(path: str) -> None:
    """libpq's rule: nobody else may read a private key, but root's may be readable for its group (0640)."""
    status = os.stat(path)
    others = 0o037 if status.st_uid == 0 else 0o077
    if os.name != "nt" and status.st_mode & others:
        raise CannotConnect(f"the private key {path} is open to other users: chmod 0600 {path}")


# --- what a failure means ---------------------------------------------------------------------

# X509_V_ERR_* of OpenSSL (x509_vfy.h): no chain to an authority that is trusted.
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21, 27)
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = (62, 64)

#: The certificate of a hosted server's authority, by the end of the host's name.
_AUTHORITIES = {
    ".rds.amazonaws.com": "global-bundle.pem from truststore.pki.rds.amazonaws.com/global/",
    ".postgres.database.azure.com": "DigiCert Global Root G2 and Microsoft RSA Root CA 2017 in one file",
    ".sql.goog": "server-ca.pem of the Cloud SQL instance's Connections page",
    ".supabase.co": "the certificate of Supabase's Database Settings",
    ".supabase.com": "the certificate of Supabase's Database Settings",
    ".ondigitalocean.com": "ca-certificate.crt of the database's page",
    ".aivencloud.com": "ca.pem of the service's page",
}

# OpenSSL's own names (ssl.SSLError.reason), which are the same in every language.
_NO_COMMON_VERSION = (
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
)
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "BAD_RECORD_TYPE",
)
#: Alerts about the client's certificate, without what stands before them in one version or the other.
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


def tls_failure(error: ssl.SSLError, address: Address) -> CannotConnect:
    """The sentence for an error of the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CannotConnect(_distrusted(error, address))
    reason = getattr(error, "reason", None) or ""  # only OpenSSL's own errors have one
    if reason.endswith(_CLIENT_REFUSED):
        why = _REFUSED
    elif reason.endswith("_ALERT_HANDSHAKE_FAILURE"):  # TLS 1.2: no certificate was sent
        why = "broke the TLS handshake off: give sslcert and sslkey if it wants them, or look into the server's log"
    elif reason in _NO_COMMON_VERSION:
        why = "has no TLS version in common with this client: update the server to TLS 1.2 or newer"
    elif reason in _NOT_TLS:
        why = "answered with something that is not TLS: is it a PostgreSQL server, and nothing in between?"
    elif isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        why = "closed the connection while TLS was negotiated: look into the server's log"
    else:
        why = f"broke the TLS handshake off ({reason or type(error).__name__}): look into the server's log"
    return CannotConnect(f"{address} {why}")


def login_failure(error: BaseException | None) -> CannotConnect | None:
    """The sentence for an error of TLS after the handshake; None where it is not about the login.

    In TLS 1.3 the server verifies the client's certificate after the client has finished its handshake.
    """
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    return CannotConnect(f"the server {_REFUSED}") if reason and reason.endswith(_CLIENT_REFUSED) else None


def _distrusted(error: ssl.SSLCertVerificationError, address: Address) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return f"the certificate of {address} is signed by an authority that is not trusted here: {_authority(address)}"
    if code in _WRONG_NAME:
        return (
            f"the certificate of {address} does not name {address.host!r}: connect by a name that it has "
            f"(hostaddr says where that name is), or say sslmode=verify-ca to check its authority only"
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        state = "has expired" if code == _EXPIRED else "is not valid yet"
        return f"the certificate of {address} {state}: renew it on the server, or set this machine's clock right"
    return f"the certificate of {address} cannot be verified ({error.verify_message}): replace it on the server"


def _authority(address: Address) -> str:
    """How to get the certificate of the authority."""
    host = address.host.lower().rstrip(".")
    if host.endswith(".neon.tech"):
        return "Neon's authority is a public one: install this system's ca-certificates package"
    known = (file for suffix, file in _AUTHORITIES.items() if host.endswith(suffix))
    file = next(known, "the certificate of the server's authority")
    return f"give {file} as sslrootcert=FILE"
