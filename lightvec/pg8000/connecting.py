"""From a target to a connection that is open, logged in and of the wanted kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from lightvec.errors import LightvecError
from lightvec.pg8000.exceptions import ConnectionLost, InternalError, OperationalError
from lightvec.pg8000.libpq.cancel import Canceller
from lightvec.pg8000.libpq.dsn import Address, Target, resolve
from lightvec.pg8000.libpq.transport import is_tls, is_tls_error, open_socket, tls_attempts
from lightvec.pg8000.limits import Deadline, Limits
from lightvec.pg8000.stream import Stream
from lightvec.pg8000.wire import Wire

__all__ = ["open_connection"]

W = TypeVar("W", bound=Wire)

#: SQLSTATE classes that another host would answer with, too: who you are, and which database.
_FINAL = ("28", "3D")


def open_connection(cls: type[W], dsn: str | None, params: Mapping[str, Any]) -> W:
    """A connection of this class to the first host that accepts it; the errors of all hosts if none does."""
    target = resolve(dsn, **params)
    if target.embedded is not None:
        from lightvec.server import ensure

        target = target.served_at(ensure(target.embedded).url)
    failures: list[OperationalError] = []
    for suits in _passes(target.target_session_attrs):
        for connection in _logged_in(cls, target, failures):
            if _is_suitable(connection, suits):
                return connection
            failures.append(
                OperationalError(
                    f"a server was reached that is not {target.target_session_attrs}, as target_session_attrs asks: "
                    f"name the host of one that is, too"
                )
            )
    raise _all_failed(failures)


def _logged_in(cls: type[W], target: Target, failures: list[OperationalError]) -> Iterator[W]:
    """A connection for each host that accepts one, in order; the others' errors are added to ``failures``."""
    limits = Limits(target.command_timeout, target.deadline)
    for position, address in enumerate(target.hosts):
        try:
            yield _connected(
                cls, target, address, limits.connecting(target.connect_timeout, len(target.hosts) - position)
            )
        except OperationalError as error:
            if (error.sqlstate or "")[:2] in _FINAL:
                raise
            failures.append(error)


def _connected(cls: type[W], target: Target, address: Address, deadline: Deadline) -> W:
    """One host: with TLS or without, as ``sslmode`` has it."""
    *earlier, last = tls_attempts(target.sslmode, address)
    for tls in earlier:
        try:
            return _login(cls, target, address, deadline, tls)
        except OperationalError as error:
            # Refused for its kind of connection, or a handshake that failed: libpq tries the other kind.
            # PgBouncer says 08P01 where it has no TLS, or nothing else.
            if error.sqlstate not in ("28000", "08P01") and not is_tls_error(error.__cause__):
                raise
    return _login(cls, target, address, deadline, last)


def _login(cls: type[W], target: Target, address: Address, deadline: Deadline, tls: bool) -> W:
    startup = target.startup | _EXPECTED
    sock = open_socket(address, target, deadline, tls=tls)
    stream = Stream(sock)
    stream.limit = deadline
    try:
        connection = cls(
            stream,
            trusted=address.is_local or is_tls(sock),
            channel_binding=target.channel_binding,
            user=target.user,
            database=target.database,
            password=_password(target, address),
            application_name=startup.pop("application_name", None),
            replication=startup.pop("replication", None),
            startup_params=startup,
        )
        stream.limit = None
        connection.bound_by(
            Limits(target.command_timeout, target.deadline),
            Canceller.of(sock, target, address, connection._backend_key_data),
        )
    except BaseException as error:
        sock.close()
        failure = _login_failure(error, address)
        if failure is error:
            raise
        raise failure from error
    return connection


def _password(target: Target, address: Address) -> str | Callable[[], str | None] | None:
    """The password, or what asks for it: a token is made only where a server wants it."""
    if callable(target.password):
        return lambda: target.password_for(address)
    return target.password_for(address)


def _login_failure(error: BaseException, address: Address) -> BaseException:
    """The error to raise: what the server or lightvec said as it is, what pg8000 did not expect as a sentence."""
    if isinstance(error, (ConnectionLost, InternalError, TimeoutError)) and not getattr(error, "sqlstate", None):
        why = getattr(error, "what", error.args[0])
        return OperationalError(f"{address} did not complete the login ({why}): is it PostgreSQL, and is it up?")
    if isinstance(error, Exception) and not isinstance(error, LightvecError):
        return OperationalError(
            f"{address} answered the login with something that PostgreSQL does not say ({error!r}): is the port right?"
        )
    return error


#: What the codecs rely on. Poolers know these parameters and keep them apart by client.
_EXPECTED = {"client_encoding": "UTF8", "DateStyle": "ISO"}


def _passes(wanted: str) -> list[Callable[[Wire], bool]]:
    """What a server must be, by ``target_session_attrs``; ``prefer-standby`` asks twice."""
    tests: dict[str, list[Callable[[Wire], bool]]] = {
        "any": [lambda _: True],
        "read-write": [lambda connection: not _is_read_only(connection)],
        "read-only": [_is_read_only],
        "primary": [lambda connection: not _is_standby(connection)],
        "standby": [_is_standby],
        "prefer-standby": [_is_standby, lambda _: True],
    }
    return tests[wanted]


def _is_suitable(connection: Wire, suits: Callable[[Wire], bool]) -> bool:
    """Whether it is what is looked for; if not, or if it cannot say so, it is closed."""
    is_suitable = False
    try:
        is_suitable = suits(connection)
    finally:
        if not is_suitable:
            connection.close()
    return is_suitable


def _is_standby(connection: Wire) -> bool:
    # PostgreSQL 14 and newer say so at login.
    told = connection.parameter_statuses.get("in_hot_standby")
    return _asked(connection, "SELECT pg_is_in_recovery()") if told is None else told == "on"


def _is_read_only(connection: Wire) -> bool:
    told = connection.parameter_statuses.get("default_transaction_read_only")
    if told is None:
        return _asked(connection, "SELECT current_setting('transaction_read_only')::bool")
    return told == "on" or _is_standby(connection)


def _asked(connection: Wire, question: str) -> bool:
    rows = connection.execute_simple(question).rows
    if rows not in ([[True]], [[False]]):
        raise InternalError(f"the server answered {question} with something else than true or false: is it PostgreSQL?")
    return bool(rows[0][0])


def _all_failed(failures: list[OperationalError]) -> OperationalError:
    if len(failures) == 1:
        return failures[0]
    return OperationalError("no host accepted the connection: " + "; ".join(map(str, failures)))
