"""The rows of a statement in batches, with bounded memory, from a portal.

There is no Sync before the end: a portal ends with its transaction, and until then a pooler keeps the
server connection for this client.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from lightvec.wire import protocol
from lightvec.wire.errors import DatabaseError, InterfaceError, InternalError
from lightvec.wire.execute import (
    execute,
    parameters_of,
    read_settings_scope,
    refresh_after,
    step,
    surrounding_requests,
)
from lightvec.wire.protocol import (
    DESCRIBE_PORTAL,
    DESCRIBE_STATEMENT,
    FLUSH,
    SYNC,
    Parameter,
)
from lightvec.wire.results import Result
from lightvec.wire.session import Session
from lightvec.wire.settings import EXPLICIT
from lightvec.wire.statements import Request

_COMPLETE = protocol.COMMAND_COMPLETE + protocol.EMPTY_QUERY
#: These end a batch; an error does, too.
_ENDS = _COMPLETE + protocol.PORTAL_SUSPENDED


def stream(
    session: Session,
    result: Result,
    values: Sequence[Any] = (),
    oids: Sequence[int | None] = (),
    *,
    batch: int,
    settings: Mapping[str, object] | None = None,
) -> Generator[Any, None, None]:
    """The rows one by one, ``batch`` of them in a round trip; nothing is sent before the first is requested.

    The connection is in use until the rows end or the generator is closed. The statement is one
    transaction, or part of the open one. ``result`` has the columns from the first row on.
    """
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise InterfaceError(f"expected a batch of at least 1 row, got {batch!r}")
    session.check_usable()
    return _rows(session, result, values, oids, batch, settings)


def _rows(
    session: Session,
    result: Result,
    values: Sequence[Any],
    oids: Sequence[int | None],
    batch: int,
    settings: Mapping[str, object] | None,
) -> Generator[Any, None, None]:
    session.check_usable()
    if session.settings_scope is EXPLICIT:
        # pgpool-II does not forward PortalSuspended.
        sql, row_class = result.sql, result.row_class
        whole = execute(session, sql, values, oids, settings=settings, row_class=row_class)
        result.columns = whole.columns
        yield from whole.rows or ()
        return
    parameters = parameters_of(session, values, oids)
    if settings:
        read_settings_scope(session)
    before, after = surrounding_requests(session, result.sql, settings)
    try:
        try:
            yield from _batches(session, result, parameters, before, batch)
        finally:
            if session.phase == "streaming" and session.belongs_here:
                # After an error the server skips everything before the Sync.
                error = result.error
                is_failed = isinstance(error, DatabaseError) and error.sqlstate is not None
                _finish(session, result, [] if is_failed else after)
    except BaseException:
        session.abandon()  # For an interrupt before the end.
        raise
    if result.columns is None and refresh_after(session, result.error):
        result.reset()
        yield from _rows(session, result, values, oids, batch, settings)
    elif result.error is not None:
        raise result.error


def _batches(
    session: Session,
    result: Result,
    parameters: Sequence[Parameter],
    before: Sequence[Request],
    batch: int,
) -> Generator[Any, None, None]:
    with session.turn("streaming", [result]):
        # A round trip of its own describes the statement: cached columns may be out of date, and rows
        # that were yielded cannot be taken back.
        code = b""
        if describe(session, result, parameters, before):
            formats = session.adapters.result_formats(result.columns)
            bind = protocol.bind(parameters, formats)
            session.send(bind + DESCRIBE_PORTAL + protocol.execute(batch) + FLUSH)
            code = session.read_until(_ENDS, result)
    while result.error is None:
        rows, result.rows = result.rows or [], []
        is_suspended = code == protocol.PORTAL_SUSPENDED
        if is_suspended and len(rows) != batch:
            raise InternalError(f"expected {batch:,} rows of a longer result, got {len(rows):,}: rows were lost")
        yield from rows
        if not is_suspended:
            break
        with session.turn("streaming", [result]):
            session.send(protocol.execute(batch) + FLUSH)
            code = session.read_until(_ENDS, result)


def _finish(session: Session, result: Result, after: Sequence[Request]) -> None:
    """Restore settings, and close the portal by a Sync."""
    result.is_done = True  # No further rows are requested.
    results: Sequence[Result] = after or [result]
    with session.turn("idle", results):
        parts = [part for request in after for part in request.parts]
        for request in after:
            request.begin_reading()
        session.send(b"".join([*parts, SYNC]), takes_effect=True)
        session.read_ready(results)
    for request in after:
        if request.error is None:
            session.statements.remember(request, session.adapters)
    if session.in_failed_transaction and any(request.sql == "COMMIT" for request in after):
        session.run([step(session, "ROLLBACK")])


def describe(session: Session, result: Result, parameters: Sequence[Parameter], before: Sequence[Request]) -> bool:
    """Prepare the unnamed statement and describe it, in a turn; False if the server reported an error.

    The result has the error, also that of a statement in ``before``.
    """
    parts = [part for request in before for part in request.parts]
    parse = protocol.parse(session.encode(result.sql), [parameter.oid for parameter in parameters])
    session.send(b"".join([*parts, parse, DESCRIBE_STATEMENT, FLUSH]))
    for request in before:
        request.begin_reading()
        if session.read_until(_COMPLETE, request) == protocol.ERROR_RESPONSE:
            result.error = request.error
            return False
    for request in before:
        session.statements.remember(request, session.adapters)
    ends = protocol.ROW_DESCRIPTION + protocol.NO_DATA
    return session.read_until(ends, result) != protocol.ERROR_RESPONSE
