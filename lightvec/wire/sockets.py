"""One open, verified socket to one server.

Source: PostgreSQL 18 documentation, 34.19 "SSL Support" and 54.2.11 "SSL Session Encryption". Whatever
fails is a :class:`~lightvec.wire.errors.CannotConnect` of one sentence, with the error of the operating
system or of OpenSSL as its cause.
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

__all__ = ["is_tls", "is_tls_error", "open_socket", "tls_attempts"]

_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_TLS_ATTEMPTS = {"disable": (False,), "allow": (False, True), "prefer": (True, False)}


def tls_attempts(target: Target, address: Address) -> tuple[bool, ...]:
    """Whether to ask for TLS, in the order in which libpq tries; a later attempt is a new connection.

    The next attempt is for a TLS handshake that failed and for a login that the server refuses with
    SQLSTATE 28000 (``pg_hba.conf`` has a line for the other kind). A server that has no TLS needs none:
    :func:`open_socket` goes on in clear text under ``prefer``. A socket that was given serves one attempt.
    """
    if is_tls(target.sock):
        return (False,)
    attempts = _TLS_ATTEMPTS.get(target.sslmode, (True,))
    if target.sock is not None and target.ssl_context is not None:
        return (True,)
    if address.socket_path:
        return (False,)
    return attempts if target.sock is None else attempts[:1]


def open_socket(
    address: Address, target: Target, deadline: Deadline | None = None, *, tls: bool | None = None
) -> socket.socket:
    """A blocking socket to the address, with TLS if ``tls`` (the first of :func:`tls_attempts` unless given).

    ``deadline`` bounds all of it, looking the name up too; without one it is the target's
    ``connect_timeout``. The result is an ``ssl.SSLSocket`` if TLS was negotiated, verified as the
    target's ``sslmode`` says.
    """
    attempts = tls_attempts(target, address)
    tls = attempts[0] if tls is None else tls
    if tls not in attempts:
        raise CannotConnect(f"sslmode={target.sslmode} does not allow {address} {'with' if tls else 'without'} TLS")
    deadline = Deadline(target.connect_timeout, "connect_timeout") if deadline is None else deadline
    context = _context(target) if tls else None
    opened = _connect(address, target, deadline)
    try:
        if context is not None:
            opened = _secured(opened, context, address, target, deadline)
        opened.settimeout(None)
    except BaseException:
        opened.close()
        raise
    return opened


def is_tls(opened: Any) -> bool:
    """Whether a socket is one of TLS."""
    return hasattr(opened, "get_channel_binding")


def is_tls_error(error: BaseException | None) -> bool:
    """Whether an error is one of TLS."""
    import ssl

    return isinstance(error, ssl.SSLError)


def _context(target: Target) -> ssl.SSLContext:
    # ssl takes 5 ms to load, which connections without TLS do not need.
    from lightvec.wire.tls import context_for

    return context_for(target)


# --- connecting -------------------------------------------------------------------------------


def _connect(address: Address, target: Target, deadline: Deadline) -> socket.socket:
    """The first of the host's IP addresses that answers; each may take its share of the time left."""
    if target.sock is not None:
        if target.sock.family in (socket.AF_INET, socket.AF_INET6):
            _set_no_delay(target.sock)
        return target.sock  # type: ignore[no-any-return]
    try:
        places = _look_up(address, deadline)
    except TimeoutError as error:
        raise _timed_out(address, deadline) from error
    for position, (family, where) in enumerate(places, 1):
        try:
            return _connect_to(family, where, target, deadline, len(places) - position + 1)
        except OSError as error:
            if position == len(places):
                raise _unreachable(error, address, target, deadline) from error
    raise AssertionError("getaddrinfo gives an address or raises")


def _look_up(address: Address, deadline: Deadline) -> list[tuple[int, Any]]:
    """Address families, and what ``connect`` takes."""
    if address.socket_path:
        if not hasattr(socket, "AF_UNIX"):
            raise CannotConnect(f"this system has no Unix sockets for {address}: give a host name instead")
        return [(socket.AF_UNIX, address.socket_path)]
    try:
        found = _getaddrinfo(address.hostaddr or address.host, address.port, deadline)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotConnect(
            f"no address is known for the host {address.host!r}: is the name right, and does this machine "
            f"reach its name server?"
        ) from error
    return [(family, where) for family, _, _, _, where in found]


def _getaddrinfo(host: str, port: int, deadline: Deadline) -> list[Any]:
    """getaddrinfo() cannot be interrupted, so where there is a deadline a thread calls it."""
    seconds = deadline.remaining()
    if seconds is None:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = Thread(target=ask, name=f"look-up of {host}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise CannotConnect(
            f"the name {host!r} was not looked up within {deadline}: does this machine reach its name server?"
        )
    if isinstance(answers[0], Exception):
        raise answers[0]
    return list(answers[0])


def _connect_to(family: int, where: Any, target: Target, deadline: Deadline, shares: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        left = deadline.remaining()
        opened.settimeout(None if left is None else left / shares)
        if family != getattr(socket, "AF_UNIX", None):
            _tune(opened, target)
        opened.connect(where)
    except BaseException:
        opened.close()
        raise
    return opened


def _set_no_delay(opened: socket.socket) -> None:
    # Without it a parameter of 18 to 37 KB waited up to 21 ms, on loopback.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tune(opened: socket.socket, target: Target) -> None:
    _set_no_delay(opened)
    if target.source_address is not None:
        opened.bind(target.source_address)
    if target.tcp_keepalives:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in target.tcp_options:
            if hasattr(socket, name):  # as in libpq, no effect where the system has none
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _unreachable(error: OSError, address: Address, target: Target, deadline: Deadline) -> CannotConnect:
    if isinstance(error, TimeoutError):
        return _timed_out(address, deadline)
    if isinstance(error, ConnectionRefusedError) and not target.is_named:
        why = (
            f"no server is named, and nothing listens on {address}: name one by a connection string, DATABASE_URL or "
            f"PGHOST (embedded:PATH is one of your own)"
        )
    elif isinstance(error, ConnectionRefusedError):
        why = f"nothing listens on {address}: is the server running and is the port right?"
    elif isinstance(error, FileNotFoundError):
        why = f"there is no {address}: is the server running, and are socket folder and port right?"
    elif isinstance(error, PermissionError):
        why = f"this user may not open {address}: give the user access, or connect by a host name"
    elif error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        why = f"no route leads to {address}: is this machine's network up, and is the address right?"
    elif error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE) and target.source_address:
        why = f"nothing can be sent from source_address={target.source_address} ({error.strerror}): give another one"
    else:
        why = f"{address} cannot be opened ({error.strerror or error}): are host and port right?"
    return CannotConnect(why)


def _timed_out(address: Address, deadline: Deadline) -> CannotConnect:
    return CannotConnect(
        f"{address} did not answer within {deadline}: is it reachable from here, and is the time enough?"
    )


# --- TLS --------------------------------------------------------------------------------------


def _secured(
    plain: socket.socket, context: ssl.SSLContext, address: Address, target: Target, deadline: Deadline
) -> socket.socket:
    """TLS over the socket, or the socket itself if the server has no TLS and ``prefer`` allows that."""
    import ssl

    from lightvec.wire.tls import tls_failure

    try:
        plain.settimeout(deadline.remaining())
        if _accepts_tls(plain, address):
            return _handshake(plain, context, address, deadline)
    except ssl.SSLError as error:
        raise tls_failure(error, address) from error
    except ValueError as error:
        raise CannotConnect(f"the host name {address.host!r} cannot be verified: give a valid one") from error
    except TimeoutError as error:
        raise _timed_out(address, deadline) from error
    except OSError as error:
        raise CannotConnect(
            f"{address} closed the connection while TLS was negotiated: look into the server's log"
        ) from error
    if target.sslmode == "prefer":
        return plain
    raise CannotConnect(
        f"{address} does not speak TLS, which sslmode={target.sslmode} asks for: switch ssl on in the "
        f"server, or say sslmode=disable if the network between is trusted"
    )


def _accepts_tls(plain: socket.socket, address: Address) -> bool:
    """Asks, and reads one byte and no more: what follows it belongs to TLS (CVE-2021-23222).

    An ErrorResponse comes from a server that is not verified yet, so its text is not read (CVE-2024-10977).
    """
    plain.sendall(_SSL_REQUEST)
    answer = plain.recv(1)
    if answer in (b"S", b"N"):
        return answer == b"S"
    if not answer:
        raise ConnectionResetError("closed instead of answering the SSLRequest")
    if answer == b"E":
        raise CannotConnect(
            f"{address} answered the request for TLS with an error: does it accept connections, and does it speak TLS?"
        )
    raise CannotConnect(f"{address} answered with something that is not PostgreSQL: is the port right?")


def _handshake(plain: socket.socket, context: ssl.SSLContext, address: Address, deadline: Deadline) -> ssl.SSLSocket:
    import ssl

    name = address.host.partition("%")[0]  # an IPv6 address without its zone, as certificates have it
    secured = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
    try:
        secured.settimeout(deadline.remaining())
        secured.do_handshake()
    except ConnectionError as error:
        secured.close()
        # A failed handshake, too, where the other side closes in it: prefer goes on without TLS.
        raise ssl.SSLEOFError(error.errno, error.strerror) from error
    except BaseException:
        secured.close()
        raise
    return secured
