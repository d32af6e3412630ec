"""The login: StartupMessage and authentication.

Source: PostgreSQL 18 documentation, 54.2.1 "Start-up" and 54.3 "SASL Authentication". The rules for
what may be sent on which connection are here. No password is kept after the login.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from lightvec.errors import LightvecError
from lightvec.wire import protocol
from lightvec.wire.errors import (
    CannotConnect,
    ConnectionLost,
    ErrorFields,
    InternalError,
    error_from_fields,
    remedy_for,
)
from lightvec.wire.sockets import is_tls

if TYPE_CHECKING:
    from lightvec.wire.scram import Scram
    from lightvec.wire.transport import Transport

__all__ = ["Backend", "Password", "log_in"]

#: A password, or a function that is called for it when the server asks.
Password = str | bytes | Callable[[], str | None] | None

#: Codes of Authentication messages.
_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_UNSUPPORTED = {2: "Kerberos V5", 7: "GSSAPI", 9: "SSPI"}

#: What to do about a refused login, by SQLSTATE, or SQLSTATE and the server's routine
#: (src/backend/utils/init/miscinit.c, src/backend/libpq/auth.c). Poolers have 08P01 for any.
_REMEDIES = {
    "28000 InitializeSessionUserId": "create the role with LOGIN (ALTER ROLE where it exists), or "
    "connect as another user (user=, PGUSER)",
    "28000 auth_failed": "the server's pg_hba.conf identifies this user without a password",
    "28000": "check that the server's pg_hba.conf has a line for this user and address",
    "28P01": "check the user and the password",
    "08P01": "look into the log of the server or the pooler",
    "57P01": "the server is stopping: connect again when it is up",
    "57P03": "the server is starting, stopping or recovering: connect again in a moment",
}
#: What may help in addition, without TLS and with it.
_IF_WANTED = {
    "28000 auth_failed": (
        " (peer): connect as the role that it names, or over TCP with a password (host=localhost)",
        "; if it wants a client certificate, give sslcert and sslkey",
    ),
    "28000": (
        "; if it wants TLS, say sslmode=verify-full",
        "; if it wants a client certificate, give sslcert and sslkey",
    ),
    "08P01": ("; if it wants TLS, say sslmode=verify-full", ""),
}
_OTHER_CERTIFICATE = (
    "the server has another certificate than the one that came here, so something is in between: "
    "connect to the server itself, or say channel_binding=disable if that is intended"
)


class Backend(NamedTuple):
    """What the server reported during the login; ``key_data`` is the body of BackendKeyData."""

    parameter_statuses: dict[str, str]
    key_data: bytes | None
    notices: list[dict[bytes, bytes]]


def log_in(
    transport: Transport,
    *,
    user: str,
    database: str,
    password: Password,
    startup: Mapping[str, str],
    trusted: bool,
    channel_binding: str,
) -> Backend:
    """Send StartupMessage and answer the server until it is ready for statements.

    ``trusted`` says that nobody can listen: the connection is local or has TLS.
    ``channel_binding`` is libpq's. A refusal of the server is an error by its SQLSTATE, one of
    lightvec a :class:`~lightvec.wire.errors.CannotConnect`.
    """
    exchange = _Exchange(transport, user, password, trusted, channel_binding)
    # A server that refuses the client may have closed the connection; its error is read next.
    with suppress(ConnectionLost):
        transport.send(_startup_message({"user": user, "database": database, **startup}))
    backend = Backend({}, None, [])
    while True:
        code, body = transport.read_message()
        if code == b"R":
            exchange.authenticate(body)
        elif code == b"K":
            backend = backend._replace(key_data=body)
        elif code == b"v":
            _check_options(body)
        elif code == protocol.PARAMETER_STATUS:
            name, value = protocol.parameter_status(body, "utf-8")
            backend.parameter_statuses[name] = value
        elif code == protocol.NOTICE_RESPONSE:
            backend.notices.append(protocol.notice_fields(body))
        elif code == protocol.ERROR_RESPONSE:
            raise exchange.refusal(protocol.error_fields(body, "utf-8"))
        elif code == protocol.READY_FOR_QUERY and exchange.is_over:
            protocol.transaction_status(body, "ascii")
            return backend
        else:
            raise InternalError(f"it sent a message {code!r} that does not belong there")


def _startup_message(parameters: Mapping[str, str]) -> bytes:
    words = (word for pair in parameters.items() for word in pair)
    body = b"\0\3\0\0" + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def _check_options(body: bytes) -> None:
    """NegotiateProtocolVersion: a version, and the number of ``_pq_.`` options not known."""
    if body[4:8] != bytes(4):
        raise CannotConnect("the server does not know the protocol options (_pq_.): leave them out of startup_params")


class _Exchange:
    """The authentication of one login."""

    def __init__(
        self, transport: Transport, user: str, password: Password, trusted: bool, channel_binding: str
    ) -> None:
        self.is_over = False
        self._transport = transport
        self._has_tls = is_tls(transport.socket)
        self._user = user
        self._secret = password
        self._trusted = trusted
        self._channel_binding = channel_binding
        self._scram: Scram | None = None
        self._was_asked = False

    def authenticate(self, body: bytes) -> None:
        """Answer an Authentication message."""
        request, data = int.from_bytes(body[:4], "big") if len(body) >= 4 else -1, body[4:]
        if self.is_over:
            raise InternalError("it sent an Authentication message after AuthenticationOk")
        if request == _OK:
            self._check_proof()
            self.is_over = True
        elif request in (_CLEARTEXT, _MD5, _SASL):
            if self._was_asked:
                raise InternalError("it asks for the password a second time")
            self._was_asked = True
            self._check_allowed(request, data)
            self._prove(request, data, self._password())
        elif request == _SASL_CONTINUE and self._scram is not None:
            self._send(self._scram.final(data))
        elif request == _SASL_FINAL and self._scram is not None:
            self._scram.check(data)
        else:
            method = _UNSUPPORTED.get(request, f"login method {request}")
            raise InternalError(
                f"it asks for {method}, which is not supported; its pg_hba.conf can ask this user for scram-sha-256"
            )

    def refusal(self, fields: Mapping[str, str]) -> Exception:
        """The error for an ErrorResponse, with what to do about it at login."""
        error_fields = ErrorFields(fields)
        sqlstate, scram = fields.get("C", ""), self._scram
        key = f"{sqlstate} {fields.get('R')}"
        key = key if key in _REMEDIES else sqlstate
        if key in _IF_WANTED and scram is not None and scram.is_bound and not scram.is_proved:
            error_fields.remedy = _OTHER_CERTIFICATE
        elif key in _REMEDIES:
            error_fields.remedy = _REMEDIES[key] + _IF_WANTED.get(key, ("", ""))[self._has_tls]
        else:
            error_fields.remedy = remedy_for({"C": sqlstate}) or ""
        return error_from_fields(error_fields)

    def _prove(self, request: int, data: bytes, password: bytes) -> None:
        if request == _CLEARTEXT:
            self._send(password + b"\0")
        elif request == _MD5:
            inner = hashlib.md5(password + self._user.encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + data[:4], usedforsecurity=False).hexdigest()
            self._send(f"md5{outer}\0".encode())
        else:
            from lightvec.wire.scram import Scram  # Lazily: other logins do not need it.

            sock: Any = self._transport.socket
            certificate = sock.getpeercert(True) if self._has_tls else None
            self._scram = Scram(_names(data), password, certificate, self._channel_binding)
            first = self._scram.first()
            self._send(self._scram.mechanism.encode() + b"\0" + len(first).to_bytes(4, "big") + first)

    def _send(self, data: bytes) -> None:
        """Send a PasswordMessage, SASLInitialResponse or SASLResponse."""
        self._transport.send(b"p" + (len(data) + 4).to_bytes(4, "big") + data)

    def _check_allowed(self, request: int, data: bytes) -> None:
        """Refuse to send a password, or to call its function, where others could use it."""
        if self._secret is None:
            raise CannotConnect(
                "the server asks for a password and none was given: "
                "put it into the connection string, password=, PGPASSWORD or the password file"
            )
        if request == _CLEARTEXT and not self._trusted:
            raise CannotConnect(
                "the server asks for the password in clear text over a connection that has no TLS, "
                "so it was not sent: use sslmode=verify-full"
            )
        # A token is valid for minutes, and a dictionary attack on its proof takes less.
        if callable(self._secret) and not self._trusted:
            raise CannotConnect(
                "the password is a function, as for tokens, and the connection to this host has no TLS, "
                "so it was not called: use sslmode=verify-full"
            )
        is_offered = request == _SASL and any(name.endswith("-PLUS") for name in _names(data))
        if self._channel_binding == "require" and not (is_offered and self._has_tls):
            raise CannotConnect(
                "channel_binding=require, but the server does not offer SCRAM bound to a TLS channel, "
                "so no password was sent: use TLS (sslmode=verify-full), or leave channel_binding out"
            )

    def _password(self) -> bytes:
        secret = self._secret
        if callable(secret):
            try:
                secret = secret()
            except LightvecError:
                raise
            except Exception as error:
                raise CannotConnect(f"the password function failed ({error!r}): see its error") from error
        if isinstance(secret, bytes):
            return secret
        try:
            # Bytes of the environment and of files that are not UTF-8 are sent unchanged.
            password = str(secret).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            password = b"\0"  # Raised below: as its context, this error would show the password.
        if b"\0" in password:
            raise CannotConnect("the password holds a character that cannot be sent: give it as it was set")
        return password

    def _check_proof(self) -> None:
        """The server, too, must have proved itself before it ends the login."""
        if self._scram is not None and not self._scram.is_proved:
            raise CannotConnect(
                "the server ended the login without a proof that it knows the password (SCRAM): "
                "is it the right server? use sslmode=verify-full"
            )
        if self._channel_binding == "require" and (self._scram is None or not self._scram.is_bound):
            raise CannotConnect(
                "channel_binding=require, but the server logged the client in without SCRAM bound to a "
                "TLS channel: use TLS and a password stored as SCRAM, or leave channel_binding out"
            )


def _names(data: bytes) -> list[str]:
    """The mechanisms of SASL that the server offers."""
    return [name.decode("ascii", "replace") for name in data.split(b"\0") if name]
