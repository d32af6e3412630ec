"""The checks of the connection: latency, TLS, and poolers in between."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from statistics import median
from time import perf_counter
from typing import Any

from lightvec.peewee.database import Pg8000Database
from lightvec.pg8000 import dbapi
from lightvec.search.findings import NOTE, OK, PROBLEM, Finding, finding

__all__ = ["connection_findings"]

#: Round trips that are measured. A transaction pooler may choose another server process for each.
_ROUND_TRIPS = 10
#: Milliseconds from which a round trip dominates the time of a query.
_SLOW = 20.0


def connection_findings(database: Pg8000Database) -> Iterator[Finding]:
    connection: Any = database.connection()
    processes, times = [], []
    for _ in range(_ROUND_TRIPS):
        begin = perf_counter()
        ((process,),) = database.execute_sql("SELECT pg_backend_pid()").fetchall()
        times.append((perf_counter() - begin) * 1_000)
        processes.append(process)
    ms, socket = median(times), connection.session.transport.socket
    subject, is_local, is_private = _peer(socket.getpeername())
    if ms < _SLOW:
        yield Finding(OK, "latency", subject, f"a round trip takes {ms:.2f} ms")
    else:
        yield finding("latency", subject, ms=ms)
    yield _tls(socket, subject, is_local, is_private)
    yield _pooler(connection, processes, subject)


def _peer(address: Any) -> tuple[str, bool, bool]:
    """The other end in words, whether it is this machine, and whether it is in a private network."""
    if not isinstance(address, tuple):
        return f"the socket {address}", True, True
    ip = ip_address(str(address[0]).partition("%")[0])
    return f"{address[0]} port {address[1]}", ip.is_loopback, ip.is_private


def _tls(socket: Any, subject: str, is_local: bool, is_private: bool) -> Finding:
    context = getattr(socket, "context", None)
    level = NOTE if is_private else PROBLEM
    if context is None:
        local = Finding(OK, "tls", subject, "no TLS, and what is sent stays on this machine")
        return local if is_local else finding("no_tls", subject, level)
    if not context.verify_mode:
        return finding("tls_unverified", subject, level, tls=socket.version())
    verified = "certificate and host name are verified" if context.check_hostname else "certificate is verified"
    return Finding(OK, "tls", subject, f"{socket.version()}; its {verified}")


def _pooler(connection: Any, processes: list[int], subject: str) -> Finding:
    version = _pgpool_version(connection)
    if version is not None:
        return finding("pgpool", subject, version=version)
    count = len(set(processes))
    if count > 1:
        return finding("transaction_pooler", subject, statements=len(processes), processes=count)
    # The server names its process at login; a pooler invents a number.
    if connection.backend_pid != processes[0]:
        return finding("pooler", subject)
    return Finding(OK, "no_pooler", subject, "no pooler in between was seen")


def _pgpool_version(connection: Any) -> str | None:
    """The version of pgpool-II, which answers this itself; None for anything else."""
    if connection.in_transaction:
        return None
    try:
        return str(connection.execute_simple("SHOW pool_version").rows[0][0])
    except dbapi.DatabaseError:
        return None
