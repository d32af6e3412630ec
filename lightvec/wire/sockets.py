"""One open, verified socket to one server.

Source: PostgreSQL 18 documentation, 34.19 "SSL Support" and 54.2.11 "SSL Session Encryption".
Failures are :class:`~lightvec.wire.errors.CannotConnect`.
"""

from __future__ import annotations

import errno
import socket
from threading import Thread
from typing import TYPE_CHECKING, Any

from lightvec.wire.errors import CannotConnect
from lightvec.wire.libpq.target import Address, Target
from lightvec.wire.timeouts import Deadline

if TYPE_CHECKING:
    import ssl

__all__ = ["is_tls", "open_socket", "tls_attempts"]

_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_TLS_ATTEMPTS = {"disable": (False,), "allow": (False, True), "prefer": (True, False)}
_TCP_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}


def tls_attempts(target: Target, address: Address) -> tuple[bool, ...]:
    """Whether to request TLS, in the order in which libpq tries.

    A second attempt, on a new connection, follows a TLS handshake that failed, or a login refused
    with SQLSTATE 28000 (``pg_hba.conf`` has a line for the other kind). For a server without TLS,
    :func:`open_socket` itself goes on in clear text under ``prefer``.
    """
    if is_tls(target.sock):
        return (False,)
    if target.sock is not None and target.ssl_context is not None:
        return (True,)
    if address.socket_path:
        return (False,)
    attempts = _TLS_ATTEMPTS.get(target.sslmode, (True,))
    return attempts if target.sock is None else attempts[:1]


def open_socket(address: Address, target: Target, deadline: Deadline, *, tls: bool) -> socket.socket:
    """A blocking socket to the address, with verified TLS if ``tls``, within ``deadline``."""
    context = None
    if tls:
        from lightvec.wire.tls import context_for  # Lazily: ssl takes 5 ms to load.

        context = context_for(target)
    try:
        opened = _connect(address, target, deadline)
        try:
            if context is not None:
                opened = _secured(opened, context, address, target, deadline)
            opened.settimeout(None)
        except BaseException:
            opened.close()
            raise
    except TimeoutError:
        raise CannotConnect(
            f"{address} did not answer within {deadline}: is it reachable from here, and is the time enough?"
        ) from None
    return opened


def is_tls(opened: Any) -> bool:
    """Whether a socket is one of TLS."""
    return hasattr(opened, "get_channel_binding")


# --- connecting -----------------------------------------------------------------------------------


def _connect(address: Address, target: Target, deadline: Deadline) -> socket.socket:
    """The first of the host's IP addresses that answers; each has its share of the time left."""
    if target.sock is not None:
        if target.sock.family in (socket.AF_INET, socket.AF_INET6):
            _set_no_delay(target.sock)
        return target.sock  # type: ignore[no-any-return]
    places = _resolve(address, deadline)
    for left in range(len(places), 0, -1):
        family, where = places[-left]
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            seconds = deadline.remaining()
            opened.settimeout(None if seconds is None else seconds / left)
            if not address.socket_path:
                _tune(opened, target)
            opened.connect(where)
        except OSError as error:
            opened.close()
            if left > 1:
                continue
            if isinstance(error, TimeoutError):
                raise
            raise CannotConnect(_unreachable(error, address, target)) from None
        except BaseException:
            opened.close()
            raise
        return opened
    raise AssertionError("getaddrinfo() gives an address or raises")


def _resolve(address: Address, deadline: Deadline) -> list[tuple[int, Any]]:
    """Address families, and the addresses that ``connect`` takes."""
    if address.socket_path:
        if not hasattr(socket, "AF_UNIX"):
            raise CannotConnect(f"this system has no Unix sockets for {address}: give a host name instead")
        return [(socket.AF_UNIX, address.socket_path)]
    host = address.hostaddr or address.host
    answers: list[list[Any]] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            answers.append([])

    if (seconds := deadline.remaining()) is None:
        ask()
    else:
        # getaddrinfo() cannot be interrupted.
        thread = Thread(target=ask, name=f"name resolution of {host}", daemon=True)
        thread.start()
        thread.join(seconds)
    if not answers:
        raise CannotConnect(
            f"the name {host!r} was not resolved within {deadline}: does this machine reach its name server?"
        )
    if not answers[0]:
        raise CannotConnect(
            f"no address is known for the host {address.host!r}: is the name right, and does this "
            f"machine reach its name server?"
        )
    return [(family, where) for family, _, _, _, where in answers[0]]


def _set_no_delay(opened: socket.socket) -> None:
    # Without it a parameter of 18 to 37 KB waited up to 21 ms, on loopback.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tune(opened: socket.socket, target: Target) -> None:
    _set_no_delay(opened)
    if target.source_address is not None:
        opened.bind(target.source_address)
    if target.keepalives:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, option in _TCP_OPTIONS.items():
            # As in libpq, zero is the system's default, and an option that it lacks is ignored.
            if getattr(target, name) > 0 and hasattr(socket, option):
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), getattr(target, name))


def _unreachable(error: OSError, address: Address, target: Target) -> str:
    if isinstance(error, ConnectionRefusedError) and not target.is_named:
        return (
            f"no server is named, and nothing listens on {address}: name one by a connection string, "
            f"DATABASE_URL or PGHOST (embedded:PATH starts one)"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {address}: is the server running and is the port right?"
    if isinstance(error, FileNotFoundError):
        return f"there is no {address}: is the server running, and are socket folder and port right?"
    if isinstance(error, PermissionError):
        return f"this user may not open {address}: give the user access, or connect by a host name"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE) and target.source_address:
        return f"source_address={target.source_address} cannot be used ({error.strerror}): give another one"
    return f"{address} cannot be reached ({error.strerror or error}): are host and port right, and is the network up?"


# --- TLS ------------------------------------------------------------------------------------------


def _secured(
    plain: socket.socket, context: ssl.SSLContext, address: Address, target: Target, deadline: Deadline
) -> socket.socket:
    """TLS over the socket; the socket itself if the server has no TLS and ``prefer`` allows that."""
    import ssl

    from lightvec.wire.tls import handshake_failure

    try:
        plain.settimeout(deadline.remaining())
        if _accepts_tls(plain, address):
            return _handshake(plain, context, address, deadline)
    except ssl.SSLError as error:
        raise handshake_failure(error, address) from None
    except ValueError:
        raise CannotConnect(f"the host name {address.host!r} cannot be verified: give a valid one") from None
    except TimeoutError:
        raise
    except OSError:
        raise CannotConnect(
            f"{address} closed the connection during the TLS handshake: look into the server's log"
        ) from None
    if target.sslmode == "prefer":
        return plain
    raise CannotConnect(
        f"{address} does not speak TLS, which sslmode={target.sslmode} requires: switch ssl on in the "
        f"server, or say sslmode=disable if the network between is trusted"
    )


def _accepts_tls(plain: socket.socket, address: Address) -> bool:
    """Send SSLRequest, and read one byte and no more: what follows belongs to TLS (CVE-2021-23222).

    An error of a server that is not verified yet is not shown (CVE-2024-10977).
    """
    plain.sendall(_SSL_REQUEST)
    answer = plain.recv(1)
    if not answer:
        raise ConnectionResetError("closed instead of answering the SSLRequest")
    if answer not in (b"S", b"N"):
        what = "an error" if answer == b"E" else "something that is not PostgreSQL"
        raise CannotConnect(f"{address} answered the request for TLS with {what}: does PostgreSQL listen on this port?")
    return answer == b"S"


def _handshake(plain: socket.socket, context: ssl.SSLContext, address: Address, deadline: Deadline) -> ssl.SSLSocket:
    import ssl

    name = address.host.partition("%")[0]  # an IPv6 address without its zone, as certificates have it
    secured = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
    try:
        secured.settimeout(deadline.remaining())
        secured.do_handshake()
    except BaseException as error:
        secured.close()
        if isinstance(error, ConnectionError):
            # A failed handshake, too, so that prefer goes on without TLS.
            raise ssl.SSLEOFError(error.errno, error.strerror) from None
        raise
    return secured
