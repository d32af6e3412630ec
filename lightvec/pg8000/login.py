"""Who the client is: what the server asks at login, and what is answered to whom.

pg8000 knows the methods (clear text, MD5, SCRAM); here stands which of them may be used on which connection.
"""

from __future__ import annotations

from typing import Any

from pg8000.core import CoreConnection

from lightvec.errors import LightvecError
from lightvec.pg8000.exceptions import InternalError, OperationalError
from lightvec.pg8000.stream import Stream

__all__ = ["LoggedIn"]

#: AuthenticationOk and the requests for a password (PostgreSQL documentation, 54.7, "Authentication…").
_OK, _CLEARTEXT, _MD5, _SASL = 0, 3, 5, 10


class LoggedIn(CoreConnection):
    """A connection whose login is over; it raises if the server does not let the client in as it should.

    ``trusted`` says that nobody can listen: the server is on this machine or TLS is on. ``channel_binding`` is libpq's.
    """

    def __init__(self, stream: Stream, *, trusted: bool, channel_binding: str, **start_up: Any) -> None:
        self._stream = stream
        self._trusted = trusted
        self._channel_binding = channel_binding
        self._welcomed = False
        super().__init__(sock=stream, ssl_context=False, **start_up)
        if not self._welcomed:
            raise InternalError("the server was ready for statements before it had let the client in")

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Any) -> None:
        """What the server asks of the client to prove who it is, or that it is satisfied."""
        request = int.from_bytes(data[:4], "big")
        if request in (_CLEARTEXT, _MD5, _SASL):
            self._check_password_may_go(request, data)
            self.password = self._asked_password()
        if request == _OK:
            self._check_welcome()
            self._welcomed = True
        # pg8000 binds SCRAM to the TLS channel when its socket is a TLS socket: let it see the socket itself.
        if self._channel_binding != "disable":
            self._usock = self._stream.socket
        super().handle_AUTHENTICATION_REQUEST(data, context)

    def _check_password_may_go(self, request: int, data: bytes) -> None:
        if self.password is None:
            raise OperationalError(
                "the server asks for a password and none was given: "
                "put it into the connection string, password=, PGPASSWORD or the password file"
            )
        if request == _CLEARTEXT and not self._trusted:
            raise OperationalError(
                "the server asks for the password in clear text over a connection that is not verified, "
                "so it was not sent: use sslmode=verify-full"
            )
        # A token stays valid for minutes, and what proves that the client knows it is no secret for long either.
        if callable(self.password) and not self._trusted:
            raise OperationalError(
                "the password is a function, as tokens are, and the connection to this host has no TLS, "
                "so it was not asked for: use sslmode=verify-full"
            )
        if self._channel_binding == "require" and not self._can_bind(data):
            raise OperationalError(
                "channel_binding=require, but the server does not offer SCRAM bound to a TLS channel, "
                "so no password was sent: use TLS (sslmode=verify-full), or leave channel_binding out"
            )

    def _asked_password(self) -> bytes:
        """The password; one that is a function is asked for only now that the server wants it."""
        if not callable(self.password):
            return bytes(self.password)
        try:
            return str(self.password()).encode()
        except LightvecError:
            raise
        except Exception as error:
            raise OperationalError(f"the function that gives the password failed ({error!r}): see its error") from error

    def _can_bind(self, sasl_mechanisms: bytes) -> bool:
        return b"-PLUS" in sasl_mechanisms and hasattr(self._stream.socket, "get_channel_binding")

    def _check_welcome(self) -> None:
        """The server, too, must have proved what was asked of it before it lets the client in."""
        auth = getattr(self, "auth", None)
        if auth is not None and auth.stage.name != "set_server_final":
            raise OperationalError(
                "the server let the client in without a proof that it knows the password (SCRAM): "
                "is it the right server? use sslmode=verify-full"
            )
        if self._channel_binding == "require" and (auth is None or not auth.mechanism_name.endswith("-PLUS")):
            raise OperationalError(
                "channel_binding=require, but the server logged the client in without SCRAM bound to a TLS channel: "
                "use TLS and a password that is kept as SCRAM, or leave channel_binding out"
            )
