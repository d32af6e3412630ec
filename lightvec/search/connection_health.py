"""The way to the server: where it is, how long a round trip takes, whether it is encrypted, what is in between."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from statistics import median
from time import perf_counter
from typing import Any

from lightvec.peewee.database import Pg8000Database
from lightvec.pg8000 import dbapi
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding

__all__ = ["connection_findings"]

#: Round trips that are measured; a pooler that shares sessions has as many occasions to take another one.
_TRIPS = 10
#: Milliseconds from which on a round trip is what a query takes.
_SLOW = 20.0


def connection_findings(database: Pg8000Database) -> Iterator[Finding]:
    """What there is to say of the open connection."""
    connection: Any = database.connection()
    processes, milliseconds = _trips(database)
    where, is_local, is_private = _peer(connection)
    yield _latency(where, milliseconds)
    yield _tls(connection, where, is_local, is_private)
    yield _pooler(connection, processes, where)


def _trips(database: Pg8000Database) -> tuple[list[int], float]:
    """The server's process of each of several statements, and the time of a round trip in milliseconds."""
    processes, times = [], []
    for _ in range(_TRIPS):
        begun = perf_counter()
        ((process,),) = database.execute_sql("SELECT pg_backend_pid()").fetchall()
        times.append((perf_counter() - begun) * 1_000)
        processes.append(process)
    return processes, median(times)


def _peer(connection: Any) -> tuple[str, bool, bool]:
    """Where the other end is, whether that is this machine, whether it is a private network."""
    peer = connection.session.transport.socket.getpeername()
    if not isinstance(peer, tuple):
        return f"the socket {peer}", True, True
    address = ip_address(str(peer[0]).partition("%")[0])
    return f"{peer[0]} port {peer[1]}", address.is_loopback, address.is_private


def _latency(where: str, milliseconds: float) -> Finding:
    told = f"a round trip takes {milliseconds:.2f} ms"
    if milliseconds < _SLOW:
        return Finding(OK, "latency", where, told)
    return Finding(
        NOTE,
        "latency",
        where,
        f"{told}, longer than a search by an index",
        "bring the program nearer to the server (the same region and zone)",
    )


def _tls(connection: Any, where: str, is_local: bool, is_private: bool) -> Finding:
    socket = connection.session.transport.socket
    context = getattr(socket, "context", None)
    if context is None:
        if is_local:
            return Finding(OK, "tls", where, "no TLS, and what is sent stays on this machine")
        return Finding(
            NOTE if is_private else PROBLEM,
            "no_tls",
            where,
            f"no TLS: whoever is between here and {where} can read and change what is sent",
            "say sslmode=verify-full",
        )
    if not context.verify_mode:
        return Finding(
            NOTE if is_private else PROBLEM,
            "tls_unverified",
            where,
            f"{socket.version()}, and the server's certificate is not verified: it may be anybody's",
            "say sslmode=verify-full, with sslrootcert=FILE where its authority is not a public one",
        )
    verified = "its certificate and host name are verified" if context.check_hostname else "its certificate is verified"
    return Finding(OK, "tls", where, f"{socket.version()}; {verified}")


def _pgpool_version(connection: Any) -> str | None:
    """What pgpool-II says of itself, which no server answers; None behind anything else."""
    if connection.in_transaction:
        return None
    try:
        return str(connection.execute_simple("SHOW pool_version").rows[0][0])
    except dbapi.DatabaseError:
        return None


def _pooler(connection: Any, processes: list[int], where: str) -> Finding:
    """A server says at login which process it is; a pooler makes up a number of its own."""
    version = _pgpool_version(connection)
    if version is not None:
        return Finding(
            NOTE,
            "pooler",
            where,
            f"pgpool-II {version} is in between: it keeps a session of the server for each client",
            "do not stream() rows through it: it passes on no PortalSuspended, so run() reads them whole",
        )
    count = len(set(processes))
    if count > 1:
        return Finding(
            NOTE,
            "transaction_pooler",
            where,
            f"a pooler in between shares sessions by the transaction: {len(processes)} statements went to {count} "
            f"processes of the server",
            "keep nothing on the session: no SET, LISTEN, temporary tables, or advisory locks outside a transaction "
            "(lightvec keeps nothing)",
        )
    if connection.backend_pid != processes[0]:
        return Finding(
            NOTE,
            "pooler",
            where,
            "a pooler in between: the process of the server is not the one that the login named; whether it shares "
            "sessions by the transaction was not seen",
            "unless it pools by the session, keep nothing on the session (lightvec keeps nothing)",
        )
    return Finding(OK, "no_pooler", where, "no pooler in between was seen")
