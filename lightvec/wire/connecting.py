"""From a target to a session: the first host that accepts the connection and is of the wanted kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightvec.errors import LightvecError
from lightvec.wire.auth import log_in
from lightvec.wire.cancel import Canceller
from lightvec.wire.errors import CannotConnect, ConnectionLost, InternalError, OperationalError
from lightvec.wire.execute import execute_script
from lightvec.wire.libpq.target import Address, Target, pg8000_target, resolve
from lightvec.wire.session import Session
from lightvec.wire.sockets import is_tls, is_tls_error, open_socket, tls_attempts
from lightvec.wire.timeouts import Deadline, Limits
from lightvec.wire.transport import Transport

__all__ = ["open_session", "pg8000_target"]

#: Classes of SQLSTATE that another host would report, too: a wrong user or password, no such database.
_FINAL = ("28", "3D")

#: What decoding relies on. Poolers know these parameters and keep the servers of clients apart by them.
_EXPECTED = {"client_encoding": "UTF8", "DateStyle": "ISO"}


def open_session(dsn: str | Target | None = None, params: Mapping[str, Any] | None = None) -> Session:
    """A session with the first host that accepts it; the errors of all hosts if none does."""
    target = dsn if isinstance(dsn, Target) else resolve(dsn, **params or {})
    if target.embedded is not None:
        from lightvec.server import ensure

        target = target.served_at(ensure(target.embedded).url)
    failures: list[OperationalError] = []
    for is_wanted in _KINDS[target.target_session_attrs]:
        for session in _sessions(target, failures):
            if _is_suitable(session, is_wanted):
                return session
            failures.append(
                CannotConnect(
                    f"a server was reached that is not {target.target_session_attrs}, as target_session_attrs "
                    f"asks: name the host of one that is, too"
                )
            )
    if len(failures) == 1:
        raise failures[0]
    raise CannotConnect("no host accepted the connection: " + "; ".join(map(str, failures)))


def _sessions(target: Target, failures: list[OperationalError]) -> Iterator[Session]:
    """A session with each host that accepts one, in order; the others' errors are added to ``failures``."""
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
    """A session with one host: with TLS or without, as ``sslmode`` has it."""
    *earlier, last = tls_attempts(target, address)
    for tls in earlier:
        try:
            return _log_in(target, address, deadline, tls)
        except OperationalError as error:
            # Refused for its kind of connection, or a failed handshake: libpq tries the other kind.
            # PgBouncer reports 08P01 where it has no TLS, or wants it.
            if error.sqlstate not in ("28000", "08P01") and not is_tls_error(error.__cause__):
                raise
    return _log_in(target, address, deadline, last)


def _log_in(target: Target, address: Address, deadline: Deadline, tls: bool) -> Session:
    sock = open_socket(address, target, deadline, tls=tls)
    transport = Transport(sock)
    transport.limit = deadline
    try:
        backend = log_in(
            transport,
            user=target.user,
            database=target.database,
            password=_password(target, address),
            startup=_EXPECTED | target.startup,
            trusted=address.is_local or is_tls(sock),
            channel_binding=target.channel_binding,
        )
        transport.limit = None
        session = Session(
            transport,
            backend,
            limits=Limits(target.command_timeout, target.deadline),
            canceller=Canceller.of(sock, target, address, backend.key_data),
            prepare=target.prepare,
        )
        session.is_for_replication = target.replication is not None
        return session
    except BaseException as error:
        sock.close()
        failure = _login_failure(error, address)
        if failure is error:
            raise
        raise failure from error


def _password(target: Target, address: Address) -> str | Callable[[], str | None] | None:
    """The password, or a function: a token is made only where a server asks for it."""
    if callable(target.password):
        return lambda: target.password_for(address)
    return target.password_for(address)


def _login_failure(error: BaseException, address: Address) -> BaseException:
    """The error to raise: of the server or of lightvec as it is, any other as a sentence."""
    if isinstance(error, ConnectionLost) and is_tls_error(error.__cause__):
        from lightvec.wire.tls import login_failure

        if (refused := login_failure(error.__cause__)) is not None:
            return refused
    if isinstance(error, TimeoutError):
        return error  # Of the caller's own signal handler.
    if isinstance(error, (ConnectionLost, InternalError)) and not getattr(error, "sqlstate", None):
        why = getattr(error, "what", error.args[0])
        return CannotConnect(f"{address} did not complete the login ({why}): is it PostgreSQL, and is it up?")
    if isinstance(error, Exception) and not isinstance(error, LightvecError):
        return CannotConnect(
            f"{address} answered the login with something that PostgreSQL does not say ({error!r}): is the port right?"
        )
    return error


# --- target_session_attrs ---------------------------------------------------------------------


def _is_standby(session: Session) -> bool:
    # PostgreSQL 14 and newer report it at login.
    status = session.parameter_statuses.get("in_hot_standby")
    return _asked(session, "SELECT pg_is_in_recovery()") if status is None else status == "on"


def _is_read_only(session: Session) -> bool:
    status = session.parameter_statuses.get("default_transaction_read_only")
    if status is None:
        return _asked(session, "SELECT current_setting('transaction_read_only')::bool")
    return status == "on" or _is_standby(session)


#: What a server must be, by ``target_session_attrs``; the hosts are tried once for each.
_KINDS: Mapping[str, tuple[Callable[[Session], bool], ...]] = {
    "any": (lambda _: True,),
    "read-write": (lambda session: not _is_read_only(session),),
    "read-only": (lambda session: _is_read_only(session),),
    "primary": (lambda session: not _is_standby(session),),
    "standby": (lambda session: _is_standby(session),),
    "prefer-standby": (lambda session: _is_standby(session), lambda _: True),
}


def _is_suitable(session: Session, is_wanted: Callable[[Session], bool]) -> bool:
    """Whether it is of the wanted kind; if it is not, or cannot say so, it is closed."""
    is_suitable = False
    try:
        is_suitable = is_wanted(session)
    finally:
        if not is_suitable:
            session.close()
    return is_suitable


def _asked(session: Session, sql: str) -> bool:
    rows = execute_script(session, sql).rows
    if rows not in ([[True]], [[False]]):
        raise InternalError(f"the server answered {sql} with something else than true or false: is it PostgreSQL?")
    return bool(rows[0][0])
