"""TLS for a target: what is verified, and what a failure means.

Source: PostgreSQL 18 documentation, 34.19 "SSL Support", the table of ``sslmode``. Verification here:

=================================  ==========================================================
``sslmode``                        the server's certificate
=================================  ==========================================================
``allow``, ``prefer``, ``require`` must be signed by ``sslrootcert`` if there is one
``verify-ca``                      must be signed by ``sslrootcert``
``verify-full``                    the same or by the system's, and must name the host
=================================  ==========================================================

An ``ssl_context`` of the caller's own decides instead of all that.
"""

from __future__ import annotations

import functools
import os
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lightvec.pg8000.exceptions import OperationalError
from lightvec.pg8000.libpq.dsn import Address, Target

__all__ = ["context_for", "login_failure", "tls_failure"]


class _Settings(NamedTuple):
    """What makes one context; ``stamps`` are the files' times, so that a renewed certificate is read anew."""

    verify: bool
    check_hostname: bool
    rootcert: str | None
    cert: str | None
    key: str | None
    key_password: str
    least: ssl.TLSVersion | None
    greatest: ssl.TLSVersion | None
    stamps: tuple[int, ...]


def context_for(target: Target) -> ssl.SSLContext:
    """The context for the target's ``sslmode`` and files; an ``OperationalError`` if a file cannot be used.

    Loading the system's trust store takes about 25 ms, so contexts are kept for the next connection.
    """
    if target.ssl_context is not None:
        return target.ssl_context
    context = _context(_settings(target))
    if target.sslcert:
        _refuse_open_key(target.sslkey or target.sslcert)
    return context


def _settings(target: Target) -> _Settings:
    verify = target.sslmode in ("verify-ca", "verify-full") or target.sslrootcert is not None
    rootcert = target.sslrootcert if verify and target.sslrootcert != "system" else None
    files = {"sslrootcert": rootcert, "sslcert": target.sslcert, "sslkey": target.sslkey}
    return _Settings(
        verify=verify,
        check_hostname=target.sslmode == "verify-full",
        rootcert=rootcert,
        cert=target.sslcert,
        key=target.sslkey,
        key_password=target.sslpassword or "",
        least=target.ssl_min_protocol_version,
        greatest=target.ssl_max_protocol_version,
        stamps=tuple(_stamp(name, path) for name, path in files.items() if path),
    )


def _stamp(name: str, path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError as error:
        message = f"{name}={path} cannot be read ({error.strerror}): give a file that exists, or leave it out"
        raise OperationalError(message) from error


@functools.lru_cache(maxsize=8)
def _context(settings: _Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    context.minimum_version = settings.least or ssl.TLSVersion.TLSv1_2
    context.maximum_version = settings.greatest or ssl.TLSVersion.MAXIMUM_SUPPORTED
    if settings.verify:
        _load_authorities(context, settings.rootcert)
    if settings.cert:
        _load_certificate(context, settings.cert, settings.key, settings.key_password)
    return context


def _load_authorities(context: ssl.SSLContext, path: str | None) -> None:
    if path is None:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise OperationalError(
            f"sslrootcert={path} holds no certificates that can be read: give a PEM file with the "
            f"certificate of the server's authority"
        ) from error


def _load_certificate(context: ssl.SSLContext, cert: str, key: str | None, password: str) -> None:
    try:
        # The password is always given: without one OpenSSL would ask on the terminal, and wait.
        context.load_cert_chain(cert, key, password)
    except OSError as error:
        raise OperationalError(
            f"the client certificate {cert} cannot be used with the key {key or cert}: give a PEM "
            f"certificate, its own private key as sslkey, and sslpassword if the key is encrypted"
        ) from error


def _refuse_open_key(path: str) -> None:
    """libpq's rule: nobody else may read a private key, but root's may be readable for its group (0640)."""
    status = Path(path).stat()
    others = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == 0:
        others = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
    if os.name != "nt" and status.st_mode & others:
        raise OperationalError(f"the private key {path} is open to other users: chmod 0600 {path}")


# --- what a failure means -----------------------------------------------------------------------------------

# X509_V_ERR_* of OpenSSL (x509_vfy.h): no chain to an authority that is trusted.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = frozenset({62, 64})

# Where the authority's certificate of a hosted server comes from, by the end of the host's name.
_SUPABASE = "download the certificate under Database Settings in Supabase and give it as sslrootcert=FILE"
_AUTHORITIES: Mapping[str, str] = MappingProxyType(
    {
        ".rds.amazonaws.com": (
            "download https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem and give it as "
            "sslrootcert=global-bundle.pem"
        ),
        ".postgres.database.azure.com": (
            "download DigiCert Global Root G2 and Microsoft RSA Root CA 2017, as Azure's page on TLS for "
            "PostgreSQL tells, and give them in one file as sslrootcert=FILE"
        ),
        ".sql.goog": (
            "download server-ca.pem on the instance's Connections page of Google Cloud SQL and give it as "
            "sslrootcert=server-ca.pem"
        ),
        ".supabase.co": _SUPABASE,
        ".supabase.com": _SUPABASE,
        ".neon.tech": "Neon's authority is a public one, so install this system's ca-certificates package",
        ".ondigitalocean.com": (
            "download ca-certificate.crt on the database's page and give it as sslrootcert=ca-certificate.crt"
        ),
        ".aivencloud.com": "download ca.pem on the service's page in Aiven and give it as sslrootcert=ca.pem",
    }
)
_ANY_AUTHORITY = (
    "give the certificate of the server's authority as sslrootcert=FILE (Google Cloud SQL by IP address: "
    "server-ca.pem of the instance's Connections page)"
)

# OpenSSL's own names (ssl.SSLError.reason), which are symbols and not text for people.
_NO_COMMON_VERSION = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"}
)
_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "BAD_RECORD_TYPE",
    }
)
_CLIENT_REFUSED = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSL/TLS_ALERT_BAD_CERTIFICATE",
        "SSL/TLS_ALERT_CERTIFICATE_EXPIRED",
        "SSL/TLS_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)
_REFUSED = "did not accept this client's certificate: give one that it trusts as sslcert and sslkey"


def tls_failure(error: ssl.SSLError, address: Address) -> OperationalError:
    """The sentence for an error of the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return OperationalError(_distrusted(error, address))
    reason = getattr(error, "reason", None) or ""  # only OpenSSL's own errors have one
    if reason in _CLIENT_REFUSED:
        why = _REFUSED
    elif reason.endswith("_ALERT_HANDSHAKE_FAILURE"):  # what TLS 1.2 says where a certificate is wanted and none came
        why = "broke the TLS handshake off: give sslcert and sslkey if it wants them, or look into the server's log"
    elif reason in _NO_COMMON_VERSION:
        why = "has no TLS version in common with this client: update the server to TLS 1.2 or newer"
    elif reason in _NOT_TLS:
        why = "answered with something that is not TLS: is it a PostgreSQL server, and nothing in between?"
    elif isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        why = "closed the connection while TLS was agreed: look into the server's log"
    else:
        why = f"broke the TLS handshake off ({reason or type(error).__name__}): look into the server's log"
    return OperationalError(f"{address} {why}")


def login_failure(error: BaseException | None) -> OperationalError | None:
    """The sentence for an error of TLS behind the handshake; None where it says nothing of the login.

    In TLS 1.3 the server looks at the client's certificate when the client is done, and says so at the first read.
    """
    refused = isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _CLIENT_REFUSED
    return OperationalError(f"the server {_REFUSED}") if refused else None


def _distrusted(error: ssl.SSLCertVerificationError, address: Address) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        remedy = _authority(address)
        return f"the certificate of {address} is signed by an authority that is not trusted here: {remedy}"
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
    host = address.host.lower().rstrip(".")
    known = (remedy for suffix, remedy in _AUTHORITIES.items() if host.endswith(suffix))
    return next(known, _ANY_AUTHORITY)
