"""Run one statement: one write, one Sync, one round trip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lightvec.wire import protocol
from lightvec.wire.errors import (
    DatabaseError,
    ErrorFields,
    InterfaceError,
    InternalError,
    MissingExtension,
    NotSupportedError,
)
from lightvec.wire.lookup import catalog_requests, read_catalog
from lightvec.wire.placeholders import may_be_several
from lightvec.wire.protocol import IDLE, TEXT, Parameter
from lightvec.wire.results import Result, RowClass
from lightvec.wire.session import Session
from lightvec.wire.settings import IMPLICIT, WithSchema
from lightvec.wire.statements import BEGINNING, CatalogRequest, Request, Statement, gives_rows, key_of

T = TypeVar("T")

_BEGIN = re.compile(BEGINNING + r"(BEGIN|START)\b", re.IGNORECASE)
_CONTROL = re.compile(
    BEGINNING + r"(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE\s+TRANSACTION)\b", re.IGNORECASE
)

#: The prepared statement does not exist or has other columns now. With the server's routine
#: (src/backend/utils/cache/plancache.c, src/backend/commands/prepare.c): a function may raise the code, too.
_STALE_PLAN_ERRORS = (("0A000", "RevalidateCachedQuery"), ("26000", "FetchPreparedStatement"))
#: Types that no longer exist, unless PL/pgSQL's RAISE reports it (src/pl/plpgsql/src/pl_exec.c).
_INTERNAL, _RAISE = "XX000", "exec_stmt_raise"
_BIND_REFUSED = "08P01"
#: A type, function or operator does not exist: perhaps the extension was created anew.
_MISSING = ("42704", "42883", "XX000")
#: Errors that may have to do with vectors, placeholders or lists.
_ADVISED = ("42704", "42883", "42602", "22003", "22000", "42601", "42804", "22P02")
#: The statement cannot run in a transaction block, or ends transactions itself (CALL).
_ONLY_OUTSIDE = ("25001", "2D000")


def execute(
    session: Session,
    sql: str,
    values: Sequence[Any] = (),
    oids: Sequence[int | None] = (),
    *,
    settings: Mapping[str, object] | None = None,
    begin: str | None = None,
    row_class: RowClass = list,
    result_formats: Sequence[int] | None = None,
) -> Result:
    """Run a statement with ``$1`` parameters; its result.

    ``oids`` are types of parameters that the caller knows better. ``settings`` hold for this statement
    only. ``begin`` is a statement that opens a transaction in the same write. ``result_formats`` are the
    formats of the columns, if the caller knows them.

    If the statement did not run because what the connection remembers of it is out of date, and no
    transaction was open before, it is sent once more.
    """
    parameters = parameters_of(session, values, oids)
    if settings:
        read_settings_scope(session)
    request = request_of(session, sql, parameters, row_class, result_formats)
    requests = [request]
    if settings or begin is not None or not session.catalog_is_read:
        before, after = surrounding_requests(session, sql, settings, begin)
        requests = [*before, request, *after]
    was_inside = session.transaction_status != IDLE
    try:
        session.run(requests)
    except DatabaseError as error:
        if session.closed:
            raise
        again = _forget_changed(session, request, error)
        if not was_inside and (begin is None or again):
            end_transaction(session, "ROLLBACK")
        if was_inside or not again:
            if error.sqlstate in _ONLY_OUTSIDE and not was_inside and isinstance(error.fields, ErrorFields):
                error.fields.remedy = _outside_remedy(bool(settings), begin)
            _explain(session, error, sql, values)
            raise
    else:
        is_open = session.transaction_status != IDLE and not was_inside
        if is_open and begin is None and not _BEGIN.match(sql):
            end_transaction(session, "COMMIT")
        if request.statement.is_prepared and len(requests) == 1:
            return request
        again = _has_other_columns(session, request)
    if again:
        # Without what the connection remembers, so that it cannot fail for the same reason.
        session.statements.forget(request)
        begin = None if session.in_transaction else begin
        others = {k: v for k, v in (settings or {}).items() if not isinstance(v, WithSchema)}
        path = session.extension.out_of_path
        settings = ({"search_path": WithSchema(path)} if path else {}) | others
        return execute(session, sql, values, oids, settings=settings, begin=begin, row_class=row_class)
    if not session.catalog_is_read and session.extension.oids and not session.in_failed_transaction:
        _decode_renewed(session, request)
    if result_formats is None:
        for each in requests:
            session.statements.remember(each, session.adapters)
    return request


def _has_other_columns(session: Session, request: Request) -> bool:
    """Whether a statement that is not prepared has new columns, in a format that cannot be read."""
    statement = request.statement
    is_guess = not statement.is_prepared and bool(statement.answer) and statement.asks_binary
    return is_guess and not session.adapters.can_read(request.columns)


def read_settings_scope(session: Session) -> None:
    """Determine how settings can be made to hold for one statement, unless that is known."""
    if not session.catalog_is_read or (session.settings_scope is None and not session.in_transaction):
        read_catalog(session)


def surrounding_requests(
    session: Session, sql: str, settings: Mapping[str, object] | None, begin: str | None = None
) -> tuple[list[Request], list[Request]]:
    """The requests to send before and after a statement in the same write.

    There the query of the catalog takes no round trip. It precedes only statements that return
    rows: one that cannot run inside a transaction block (VACUUM, CREATE INDEX CONCURRENTLY) cannot
    share its Sync either.
    """
    before = [] if begin is None else [step(session, begin)]
    if not session.catalog_is_read and not session.in_failed_transaction and gives_rows(sql):
        before += catalog_requests(session)
    if not settings:
        return before, []
    if _CONTROL.match(sql):
        raise InterfaceError(
            "settings hold for one statement, which cannot be one that begins or ends a transaction or a savepoint: "
            "give them to the statements in the transaction"
        )
    if (0, 5) <= session.extension.version < (0, 8):
        _check_settings(session, settings)
    inside = session.in_transaction or begin is not None
    first, last = (session.settings_scope or IMPLICIT).around(settings, inside=inside)
    return before + [step(session, *each) for each in first], [step(session, *each) for each in last]


def _check_settings(session: Session, settings: Mapping[str, object]) -> None:
    """Refuse settings of a newer pgvector, which a session that has not loaded it would ignore."""
    from lightvec.wire.advice import newer_pgvector

    names = " ".join(map(str, settings))
    if not newer_pgvector(session.extension, names) or session.in_failed_transaction:
        return
    read_catalog(session)  # Another session may have updated it.
    if newer := newer_pgvector(session.extension, names):
        raise NotSupportedError(newer)


def request_of(
    session: Session,
    sql: str,
    parameters: Sequence[Parameter] = (),
    row_class: RowClass = list,
    result_formats: Sequence[int] | None = None,
) -> Request:
    """The request for a statement, which may have been run before."""
    key = key_of(sql, parameters)
    statement = None
    if result_formats is None:
        statement = session.statements.get(key, session.transaction_status)
    if statement is None:
        statement = Statement(key, session.encode(sql), result_formats or ())
    return Request(sql, statement.message(parameters), statement, row_class)


def step(session: Session, sql: str, values: Sequence[str] = ()) -> Request:
    """The request for a statement of lightvec's own."""
    return request_of(session, sql, session.adapters.parameters(values))


def end_transaction(session: Session, sql: str) -> None:
    """End a transaction that only the driver or a pooler has begun, if one is open.

    pgpool-II begins one before a client's first INSERT, and does not end it.
    """
    if session.in_transaction:
        session.run([step(session, "ROLLBACK" if session.in_failed_transaction else sql)])


def execute_script(session: Session, sql: str, row_class: RowClass = list) -> Result:
    """Run one or more statements without parameters by a Query; results come as text."""
    request = Request(sql, [protocol.query(session.encode(sql))], row_class=row_class)
    session.run([request], end=b"")
    return request


def execute_text(
    session: Session,
    sql: str,
    *,
    settings: Mapping[str, object] | None = None,
    begin: str | None = None,
    row_class: RowClass = list,
) -> Result:
    """Run a text without parameters; one that may hold several statements goes as a Query."""
    if not isinstance(sql, str) or not (session.is_for_replication or may_be_several(sql)):
        return execute(session, sql, settings=settings, begin=begin, row_class=row_class)
    if settings:
        raise InterfaceError("settings hold for one statement: run the statements one by one")
    if begin is not None:
        execute_script(session, begin)
    return execute_script(session, sql, row_class)


def ask(session: Session, sql: str, *values: str, read: Callable[..., T]) -> list[T]:
    """What ``read`` makes of each row of a query on the catalog, every value as text."""
    parameters = session.adapters.parameters(values)
    request = CatalogRequest(sql, parameters, session.adapters.encoding)
    session.run([request])
    try:
        return [read(*row) for row in request.rows or ()]
    except (TypeError, ValueError) as error:
        raise InternalError("the server's catalog cannot be understood: is it PostgreSQL?") from error


def parameters_of(session: Session, values: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
    """The parameters for these values; a round trip if they need pgvector's types, which are not known."""
    if len(values) > protocol.MAX_PARAMETERS:
        check_count(values)
    adapters = session.adapters
    try:
        # Without oids, a call saved: 0.05 of 16 µs.
        return adapters.parameters(values, oids) if oids else [adapters.parameter(each) for each in values]
    except MissingExtension:
        pass  # Looked up below, so that a second error is not chained to this one.
    read_catalog(session)
    return adapters.parameters(values, oids)


def check_count(values: Sequence[Any]) -> None:
    """Refuse more parameters than a Bind can carry."""
    if len(values) > protocol.MAX_PARAMETERS:
        raise InterfaceError(
            f"a statement takes at most {protocol.MAX_PARAMETERS:,} parameters, got {len(values):,}: "
            f"send fewer rows in one statement, or send an array"
        )


def lacks_types(session: Session, values: Sequence[Any]) -> bool:
    """Whether these values need pgvector's types, which are not known."""
    return not session.extension.oids and any(map(session.adapters.needs_extension, values))


def _forget_changed(session: Session, request: Request, error: DatabaseError) -> bool:
    """Forget what the error shows to be out of date; whether the statement may succeed when sent anew."""
    from lightvec.wire.advice import may_be_pgvectors

    statement, sqlstate = request.statement, error.sqlstate
    routine = error.fields.get("R")
    is_in_vain = (sqlstate, routine) in _STALE_PLAN_ERRORS or (sqlstate == _INTERNAL and routine != _RAISE)
    is_out_of_date = (bool(statement.name) and is_in_vain) or (statement.asks_binary and sqlstate == _BIND_REFUSED)
    if is_out_of_date or (statement.name and not statement.is_prepared):
        session.statements.forget(request)
    if is_out_of_date and isinstance(error.fields, ErrorFields):
        error.fields.remedy = "what the statement uses was altered since it was prepared: roll back, and run it again"
    if session.catalog_is_read and not session.in_transaction:
        is_missing = sqlstate in _MISSING
        may_have_vectors = _has_vectors(session, request)
        if (is_missing and (may_have_vectors or may_be_pgvectors(request.sql))) or (
            is_out_of_date and may_have_vectors
        ):
            is_out_of_date = _refresh_types(session) or is_out_of_date
    return is_out_of_date


def _refresh_types(session: Session) -> bool:
    """Look pgvector's types up again; whether they have changed."""
    known = session.extension
    read_catalog(session)
    return session.extension != known


def refresh_after(session: Session, error: BaseException | None = None) -> bool:
    """Whether pgvector's types are others than were known.

    A round trip if an error, or a column of an unknown type, makes that likely.
    """
    if session.in_transaction or session.closed or not session.extension.oids:
        return False
    is_missing = getattr(error, "sqlstate", None) in _MISSING
    return (is_missing or not session.catalog_is_read) and _refresh_types(session)


def _decode_renewed(session: Session, result: Result) -> None:
    """Decode vectors that came as texts of an unknown type, because the extension was created anew."""
    has_new_types = _refresh_types(session)
    adapters, columns = session.adapters, result.columns or ()
    if not has_new_types or not result.rows:
        return
    oids = [each.type_oid if adapters.has_binary(each.type_oid) else None for each in columns]
    for number, row in enumerate(result.rows):
        result.rows[number] = result.row_class(
            value if oid is None or not isinstance(value, str) else adapters.decoder(oid, TEXT)(value.encode())
            for oid, value in zip(oids, row, strict=True)
        )


def _outside_remedy(has_settings: bool, begin: str | None) -> str | None:
    if has_settings:
        return "settings= needs a transaction: run it without, between SET and RESET on a direct connection"
    return None if begin is None else "set autocommit = True before it"


def _has_vectors(session: Session, request: Request) -> bool:
    """Whether parameters or columns have types of pgvector's, which may have been created anew."""
    statement = request.statement
    used = {oid for oid, _ in statement.key[1:]}
    used |= {column.type_oid for column in statement.columns or ()}
    return not used.isdisjoint(session.extension.oids.values())


def _explain(session: Session, error: DatabaseError, sql: str, values: Sequence[Any]) -> None:
    """Have an error say what to do about vectors or placeholders."""
    is_missing = error.sqlstate in _MISSING
    if error.sqlstate in _ADVISED and isinstance(error.fields, ErrorFields):
        from lightvec.wire.advice import advice, may_be_pgvectors

        is_unknown = is_missing and not session.catalog_is_read and not session.in_transaction
        if is_unknown and may_be_pgvectors(sql):
            read_catalog(session)
        types = session.extension if session.catalog_is_read else None
        error.fields.remedy = advice(types, sql, error.sqlstate, values) or error.fields.remedy
    if is_missing and session.in_transaction:
        session.catalog_is_read = False  # Look it up again after the transaction.
