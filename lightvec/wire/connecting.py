"""From a target to a session, with the first host that suits ``target_session_attrs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from lightvec.errors import LightvecError
from lightvec.wire.auth import log_in
from lightvec.wire.cancel import Canceller
from lightvec.wire.errors import CannotConnect, ConnectionLost, InternalError, OperationalError
from lightvec.wire.execute import execute_script
from lightvec.wire.libpq.target import Address, Target, pg8000_target, resolve
from lightvec.wire.session import Session
from lightvec.wire.sockets import is_tls, open_socket, tls_attempts
from lightvec.wire.timeouts import Deadline, Limits
from lightvec.wire.transport import Transport

__all__ = ["open_session", "pg8000_target"]

#: Classes of SQLSTATE that another host would report, too: wrong user, password or database.
_FINAL = ("28", "3D")

#: Decoding relies on these. Poolers know them, and keep the servers of clients apart by them.
_REQUIRED = {"client_encoding": "UTF8", "DateStyle": "ISO"}


def open_session(dsn: str | Target | None = None, params: Mapping[str, Any] | None = None) -> Session:
    """A session with the first host that accepts it; else the errors of all hosts are raised."""
    target = dsn if isinstance(dsn, Target) else resolve(dsn, **params or {})
    if target.embedded is not None:
        from lightvec.server import ensure

        target = target.served_at(ensure(target.embedded).url)
    failures: list[OperationalError] = []
    for is_suitable in _KINDS[target.target_session_attrs]:
        for session in _sessions(target, failures):
            suits = False
            try:
                suits = is_suitable(session)
            finally:
                if not suits:
                    session.close()
            if suits:
                return session
            kind = target.target_session_attrs
            message = f"a server is not {kind}, which target_session_attrs requires: name the host of one that is"
            failures.append(CannotConnect(message))
    if len(failures) == 1:
        raise failures[0]
    raise CannotConnect("no host accepted the connection: " + "; ".join(map(str, failures)))


def _sessions(target: Target, failures: list[OperationalError]) -> Iterator[Session]:
    """A session with each host that accepts one; the others' errors are added to ``failures``."""
    limits = Limits(target.command_timeout, target.deadline)
    for position, address in enumerate(target.hosts):
        deadline = limits.connecting(target.connect_timeout, len(target.hosts) - position)
        try:
            yield _session(target, address, deadline)
        except OperationalError as error:
            if (error.sqlstate or "")[:2] in _FINAL:
                raise
            failures.append(error)


def _session(target: Target, address: Address, deadline: Deadline) -> Session:
    """A session with one host, with TLS or without it as ``sslmode`` allows."""
    *earlier, last = tls_attempts(target, address)
    for tls in earlier:
        try:
            return _log_in(target, address, deadline, tls)
        except OperationalError as error:
            # PgBouncer reports 08P01 where it has no TLS, or requires it.
            if error.sqlstate not in ("28000", "08P01") and not getattr(error, "in_handshake", False):
                raise
    return _log_in(target, address, deadline, last)


def _log_in(target: Target, address: Address, deadline: Deadline, tls: bool) -> Session:
    sock = open_socket(address, target, deadline, tls=tls)
    transport = Transport(sock)
    transport.limit = deadline
    # A function is called only if the server requests a password.
    password = partial(target.password_for, address)
    try:
        backend = log_in(
            transport,
            user=target.user,
            database=target.database,
            password=password if callable(target.password) else password(),
            startup=_REQUIRED | target.startup,
            trusted=address.is_local or is_tls(sock),
            channel_binding=target.channel_binding,
        )
        transport.limit = None
        session = Session(
            transport,
            backend,
            limits=Limits(target.command_timeout, target.deadline),
            canceller=Canceller(sock, target, address, backend.key_data),
            prepare=target.prepare,
        )
        session.is_for_replication = target.replication is not None
        return session
    except BaseException as error:
        sock.close()
        if (failure := _login_failure(error, address)) is None:
            raise
        raise failure from None


def _login_failure(error: BaseException, address: Address) -> CannotConnect | None:
    """A sentence for an error that is neither the server's nor lightvec's."""
    if isinstance(error, ConnectionLost):
        from lightvec.wire.tls import client_certificate_failure

        if (failure := client_certificate_failure(error.__context__)) is not None:
            return failure
    if isinstance(error, (ConnectionLost, InternalError)) and not error.sqlstate:
        why = getattr(error, "what", error.args[0])
        return CannotConnect(f"{address} did not complete the login ({why}): is it PostgreSQL, and is it up?")
    # A TimeoutError is one of the caller's own signal handler.
    if not isinstance(error, Exception) or isinstance(error, (LightvecError, TimeoutError)):
        return None
    return CannotConnect(f"{address} answered the login with something malformed ({error!r}): is the port right?")


# --- target_session_attrs -------------------------------------------------------------------------


def _is_standby(session: Session) -> bool:
    # PostgreSQL 14 and newer report it at login.
    status = session.parameter_statuses.get("in_hot_standby")
    return _query(session, "SELECT pg_is_in_recovery()") if status is None else status == "on"


def _is_read_only(session: Session) -> bool:
    status = session.parameter_statuses.get("default_transaction_read_only")
    if status is None:
        return _query(session, "SELECT current_setting('transaction_read_only')::bool")
    return status == "on" or _is_standby(session)


def _query(session: Session, sql: str) -> bool:
    rows = execute_script(session, sql).rows
    if rows not in ([[True]], [[False]]):
        raise InternalError(f"the server answered {sql} with neither true nor false: is it PostgreSQL?")
    return bool(rows[0][0])


#: What a server must be, by ``target_session_attrs``; the hosts are tried once for each.
_KINDS: Mapping[str, tuple[Callable[[Session], bool], ...]] = {
    "any": (lambda _: True,),
    "read-write": (lambda session: not _is_read_only(session),),
    "read-only": (_is_read_only,),
    "primary": (lambda session: not _is_standby(session),),
    "standby": (_is_standby,),
    "prefer-standby": (_is_standby, lambda _: True),
}
