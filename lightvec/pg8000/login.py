"""Who the client is: what the server asks at login, and what is answered to whom.

Here stands which way to prove it (clear text, MD5, SCRAM) may be used on which connection. Nothing of the password is
kept once the client is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pg8000.core import CoreConnection

from lightvec.errors import LightvecError
from lightvec.pg8000.exceptions import ConnectionLost, DatabaseError, ErrorFields, InternalError, OperationalError
from lightvec.pg8000.libpq.transport import is_tls, is_tls_error
from lightvec.pg8000.stream import Stream

if TYPE_CHECKING:
    from lightvec.pg8000.libpq.scram import Scram

__all__ = ["LoggedIn"]

#: AuthenticationOk, the requests for a password and the steps of SASL (PostgreSQL documentation, 54.7,
#: "Authentication…").
_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
#: What is not spoken here.
_OTHERS: Mapping[int, str] = MappingProxyType({2: "Kerberos V5", 7: "Kerberos (GSSAPI)", 9: "Windows' SSPI"})

#: What to do about a SQLSTATE at login, without TLS and with it; poolers have 08P01 for whatever they refuse.
_REMEDIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "28000": (
            "look for this user and address in the server's pg_hba.conf; if it wants TLS, say sslmode=verify-full",
            "look for this user and address in the server's pg_hba.conf; if it wants a client certificate, give "
            "sslcert and sslkey",
        ),
        "08P01": (
            "if the server or the pooler wants TLS, say sslmode=verify-full, otherwise look into its log",
            "look into the log of the server or the pooler",
        ),
    }
)
#: The same where a login was bound to the TLS channel and the server finds that it was to another one.
_ANOTHER_CHANNEL = (
    "the server has another certificate than the one that came here, so something is in between: "
    "connect to the server itself, or say channel_binding=disable if that may be"
)


class LoggedIn(CoreConnection):
    """A connection whose login is over; it raises if the server does not let the client in as it should.

    ``trusted`` says that nobody can listen: the server is on this machine or TLS is on. ``channel_binding`` is libpq's.
    ``password`` may be a function, which is asked when the server wants one.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        trusted: bool,
        channel_binding: str,
        password: str | bytes | Callable[[], str | None] | None = None,
        **start_up: Any,
    ) -> None:
        self._stream = stream
        self._trusted = trusted
        self._channel_binding = channel_binding
        self._secret = password
        self._scram: Scram | None = None
        self._was_asked = self._welcomed = False
        try:
            super().__init__(sock=_StartUp(stream), ssl_context=False, **start_up)
        except DatabaseError as error:
            refused = self._refused(error)
            if refused is not None:
                raise refused from error
            self._advise(error)
            raise
        finally:
            self._secret = self._scram = None
        if not self._welcomed:
            raise InternalError("the server was ready for statements before it had let the client in")

    def _refused(self, error: DatabaseError) -> DatabaseError | None:
        """What TLS says of this client, where it is TLS that ended the connection."""
        if not (is_tls(self._stream.socket) and is_tls_error(error.__cause__)):
            return None
        from lightvec.pg8000.libpq.tls import login_failure

        return login_failure(error.__cause__)

    def _advise(self, error: DatabaseError) -> None:
        """Have a refusal say what to do about it."""
        advice = _REMEDIES.get(error.sqlstate or "")
        if advice is None or not isinstance(error.fields, ErrorFields):
            return
        error.fields.remedy = advice[is_tls(self._stream.socket)]
        if self._scram is not None and self._scram.is_bound and not self._scram.is_proved:
            error.fields.remedy = _ANOTHER_CHANNEL

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Any) -> None:
        """What the server asks of the client to prove who it is, or that it is satisfied."""
        request, said = int.from_bytes(data[:4], "big") if len(data) >= 4 else -1, data[4:]
        if request == _OK:
            self._check_welcome()
            self._welcomed = True
        elif request in (_CLEARTEXT, _MD5, _SASL):
            if self._was_asked:
                raise InternalError("it asks for the password a second time")
            self._was_asked = True
            self._check_password_may_go(request, said)
            self._prove(request, said, self._password())
        elif request == _SASL_CONTINUE and self._scram is not None:
            self._answer(self._scram.final(said))
        elif request == _SASL_FINAL and self._scram is not None:
            self._scram.check(said)
        else:
            method = _OTHERS.get(request, f"login method {request}")
            raise InternalError(
                f"it asks for {method}, which is not spoken here; its pg_hba.conf can ask this user for scram-sha-256"
            )

    def _prove(self, request: int, said: bytes, password: bytes) -> None:
        if request == _CLEARTEXT:
            self._answer(password + b"\0")
        elif request == _MD5:
            inner = hashlib.md5(password + self.user, usedforsecurity=False).hexdigest().encode()
            outer = hashlib.md5(inner + said[:4], usedforsecurity=False).hexdigest().encode()
            self._answer(b"md5" + outer + b"\0")
        else:
            # What it needs takes 3 ms to load, and this machine's socket asks for no password.
            from lightvec.pg8000.libpq.scram import Scram

            self._scram = Scram(_names(said), password, self._certificate(), self._channel_binding)
            first = self._scram.first()
            self._answer(self._scram.mechanism.encode() + b"\0" + len(first).to_bytes(4, "big") + first)

    def _answer(self, data: bytes) -> None:
        """Send a PasswordMessage, SASLInitialResponse or SASLResponse."""
        self._stream.send(b"p" + (len(data) + 4).to_bytes(4, "big") + data)

    def _check_password_may_go(self, request: int, said: bytes) -> None:
        if self._secret is None:
            raise OperationalError(
                "the server asks for a password and none was given: "
                "put it into the connection string, password=, PGPASSWORD or the password file"
            )
        if request == _CLEARTEXT and not self._trusted:
            raise OperationalError(
                "the server asks for the password in clear text over a connection that has no TLS, "
                "so it was not sent: use sslmode=verify-full"
            )
        # A token stays valid for minutes, and what proves that the client knows it is no secret for long either.
        if callable(self._secret) and not self._trusted:
            raise OperationalError(
                "the password is a function, as tokens are, and the connection to this host has no TLS, "
                "so it was not asked for: use sslmode=verify-full"
            )
        if self._channel_binding == "require" and not self._can_bind(request, said):
            raise OperationalError(
                "channel_binding=require, but the server does not offer SCRAM bound to a TLS channel, "
                "so no password was sent: use TLS (sslmode=verify-full), or leave channel_binding out"
            )

    def _can_bind(self, request: int, said: bytes) -> bool:
        return request == _SASL and is_tls(self._stream.socket) and any(name.endswith("-PLUS") for name in _names(said))

    def _certificate(self) -> bytes | None:
        """The server's certificate in DER, where TLS is on."""
        sock: Any = self._stream.socket
        return sock.getpeercert(True) if is_tls(sock) else None

    def _password(self) -> bytes:
        """The password; one that is a function is asked for only now that the server wants it."""
        secret = self._asked_password(self._secret) if callable(self._secret) else self._secret
        if isinstance(secret, bytes):
            return secret
        try:
            # What the environment and files have that is no UTF-8 goes as it came.
            password = str(secret).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # The error itself would show the password.
            password = b"\0"
        if b"\0" in password:
            raise OperationalError("the password holds a character that cannot be sent: give it as it was set")
        return password

    def _asked_password(self, ask: Callable[[], str | None]) -> str | None:
        try:
            return ask()
        except LightvecError:
            raise
        except Exception as error:
            raise OperationalError(f"the function that gives the password failed ({error!r}): see its error") from error

    def _check_welcome(self) -> None:
        """The server, too, must have proved what was asked of it before it lets the client in."""
        if self._scram is not None and not self._scram.is_proved:
            raise OperationalError(
                "the server let the client in without a proof that it knows the password (SCRAM): "
                "is it the right server? use sslmode=verify-full"
            )
        if self._channel_binding == "require" and (self._scram is None or not self._scram.is_bound):
            raise OperationalError(
                "channel_binding=require, but the server logged the client in without SCRAM bound to a TLS channel: "
                "use TLS and a password that is kept as SCRAM, or leave channel_binding out"
            )


class _StartUp:
    """The stream as pg8000's start-up uses it.

    A server that refuses the client may be gone before the first message is sent. What it said is read next, and tells
    more than that the message could not be sent.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.read, self.write = stream.read, stream.write

    def makefile(self, mode: str) -> _StartUp:
        return self

    def flush(self) -> None:
        with suppress(ConnectionLost):
            self._stream.flush()


def _names(said: bytes) -> list[str]:
    """The mechanisms of SASL that the server offers."""
    return [name.decode("ascii", "replace") for name in said.split(b"\0") if name]
