"""Run one statement: one write, one Sync, one round trip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lightvec.wire import protocol
from lightvec.wire.errors import DatabaseError, ErrorFields, InterfaceError, InternalError, MissingExtension
from lightvec.wire.framing import IMPLICIT
from lightvec.wire.lookup import look_up, look_up_requests
from lightvec.wire.placeholders import may_be_several
from lightvec.wire.protocol import IDLE, TEXT, Parameter
from lightvec.wire.results import CatalogResult, Result, RowClass
from lightvec.wire.session import Session
from lightvec.wire.settings import WithSchema
from lightvec.wire.statements import Request, Statement, gives_rows

__all__ = [
    "ask",
    "check_count",
    "company",
    "end_transaction",
    "execute",
    "execute_script",
    "execute_text",
    "lacks_types",
    "look_up_framing",
    "parameters_of",
    "renewed",
    "request_of",
    "step",
]

T = TypeVar("T")

_BEGIN = re.compile(r"\s*(BEGIN|START)\b", re.IGNORECASE)

#: A prepared statement whose columns have changed or that is not there, with the server's routine that says so
#: (src/backend/utils/cache/plancache.c, src/backend/commands/prepare.c): a function that ran may use the code, too.
_PREPARED_IN_VAIN = (("0A000", "RevalidateCachedQuery"), ("26000", "FetchPreparedStatement"))
#: Types that are gone, unless PL/pgSQL's RAISE says so (src/pl/plpgsql/src/pl_exec.c).
_INTERNAL, _RAISE = "XX000", "exec_stmt_raise"
_BIND_REFUSED = "08P01"
#: A type, function or operator that is not there, or no longer: perhaps the extension was created anew.
_MISSING = ("42704", "42883", "XX000")
#: SQLSTATEs that may have to do with vectors, placeholders or lists: also numbers out of range, data, syntax, types.
_ADVISED = ("42704", "42883", "22003", "22000", "42601", "42804", "22P02")


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
    formats of the columns, where the caller knows them.

    Where the statement did not run because the server has lost or replaced what the connection
    remembers of it, and no transaction was open before, it is sent once more.
    """
    session.check_usable()
    parameters = parameters_of(session, values, oids)
    if settings:
        look_up_framing(session)
    request = request_of(session, Result(sql, row_class), parameters, result_formats)
    requests = [request]
    if settings or begin is not None or not session.is_looked_up:
        before, after = company(session, sql, settings, begin)
        requests = [*before, request, *after]
    was_inside = session.transaction_status != IDLE
    try:
        session.run(requests)
    except DatabaseError as error:
        if session.closed:
            raise
        has_changed = _forget_changed(session, request, error)
        if not was_inside and (begin is None or has_changed):
            end_transaction(session, "ROLLBACK")
        if has_changed and not was_inside:
            return _execute_again(session, sql, values, oids, settings, begin, row_class)
        _explain(session, error, sql, values)
        if session.in_transaction and error.sqlstate in _MISSING:
            session.is_looked_up = False  # It is asked for again behind the transaction.
        raise
    if session.transaction_status != IDLE and not was_inside and begin is None and not _BEGIN.match(sql):
        end_transaction(session, "COMMIT")
    if _has_other_columns(session, request):
        session.statements.forget(request)
        begin = None if session.in_transaction else begin
        return _execute_again(session, sql, values, oids, settings, begin, row_class)
    if not session.is_looked_up and session.extension.oids and not session.in_failed_transaction:
        _decode_renewed(session, request.result)
    if result_formats is None:
        for each in requests:
            if each.statement is not None and not each.statement.is_prepared:
                session.statements.remember(each, session.adapters)
    return request.result


def _has_other_columns(session: Session, request: Request) -> bool:
    """Whether a query that is not prepared has other columns than before, in a format that nobody can read."""
    statement = request.statement
    assert statement is not None
    if statement.is_prepared or not statement.answer or not statement.asks_binary:
        return False
    return not session.adapters.can_read(request.result.columns)


def _execute_again(
    session: Session,
    sql: str,
    values: Sequence[Any],
    oids: Sequence[int | None],
    settings: Mapping[str, object] | None,
    begin: str | None,
    row_class: RowClass,
) -> Result:
    """The second run asks for nothing that the connection remembers: it cannot fail for the same reason."""
    path = session.extension.out_of_path
    others = {name: value for name, value in (settings or {}).items() if not isinstance(value, WithSchema)}
    settings = ({"search_path": WithSchema(path)} if path else {}) | others
    return execute(session, sql, values, oids, settings=settings, begin=begin, row_class=row_class)


def look_up_framing(session: Session) -> None:
    """Look up now, if that was not done yet, how settings are made to hold for one statement."""
    if not session.is_looked_up or (session.framing is None and not session.in_transaction):
        look_up(session)


def company(
    session: Session, sql: str, settings: Mapping[str, object] | None, begin: str | None = None
) -> tuple[list[Request], list[Request]]:
    """The requests that go with a statement in its write: those before it and those behind it.

    The look-up of types costs no round trip there. It goes only ahead of statements that give rows:
    what cannot run inside a transaction block (VACUUM, CREATE INDEX CONCURRENTLY) cannot share its
    Sync with another statement either.
    """
    before = [] if begin is None else [step(session, begin)]
    if not session.is_looked_up and not session.in_failed_transaction and gives_rows(sql):
        before += look_up_requests(session)
    if not settings:
        return before, []
    inside = session.in_transaction or begin is not None
    first, last = (session.framing or IMPLICIT).around(settings, inside=inside)
    return before + [step(session, *each) for each in first], [step(session, *each) for each in last]


def request_of(
    session: Session,
    result: Result,
    parameters: Sequence[Parameter],
    result_formats: Sequence[int] | None = None,
) -> Request:
    """The request for a statement, which may have been run before."""
    statement = None
    if result_formats is None:
        statement = session.statements.get(result.sql, parameters, session.transaction_status)
    if statement is None:
        statement = Statement(session.encode(result.sql), parameters, result_formats or ())
    return Request(statement.message(parameters), result, statement, parameters)


def step(session: Session, sql: str, values: Sequence[str] = ()) -> Request:
    """The request for a statement of ours."""
    return request_of(session, Result(sql), session.adapters.parameters(values))


def end_transaction(session: Session, sql: str) -> None:
    """End a transaction that nobody but the driver or a pooler has begun, if one is open.

    pgpool-II begins one ahead of the first INSERT of a client, and leaves its end to the client.
    """
    if session.in_transaction:
        session.run([step(session, "ROLLBACK" if session.in_failed_transaction else sql)])


def execute_script(session: Session, sql: str, row_class: RowClass = list) -> Result:
    """Run one or more statements without parameters by a Query; results come as text."""
    session.check_usable()
    result = Result(sql, row_class)
    session.run([Request([protocol.query(session.encode(sql))], result)], end=b"")
    return result


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
    """What ``read`` makes of each row of a query on the catalog, every value as text; one round trip."""
    session.check_usable()
    result = CatalogResult(sql, session.adapters.encoding)
    parameters = session.adapters.parameters(values)
    session.run([Request(Statement(session.encode(sql), parameters).message(parameters), result)])
    try:
        return [read(*row) for row in result.rows or ()]
    except (TypeError, ValueError) as error:
        raise InternalError("the server's catalog cannot be understood: is it PostgreSQL?") from error


def parameters_of(session: Session, values: Sequence[Any], oids: Sequence[int | None] = ()) -> list[Parameter]:
    """The parameters for these values; a round trip where they need pgvector's types and those are not known."""
    if len(values) > protocol.MAX_PARAMETERS:
        check_count(values)
    adapters = session.adapters
    try:
        return adapters.parameters(values, oids) if oids else [adapters.parameter(value) for value in values]
    except MissingExtension:
        look_up(session)
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
    """Forget what the error shows to be out of date; whether the statement may fare better when sent anew."""
    from lightvec.wire.advice import may_be_pgvectors

    statement, sqlstate = request.statement, error.sqlstate
    assert statement is not None
    routine = error.fields.get("R")
    is_in_vain = (sqlstate, routine) in _PREPARED_IN_VAIN or (sqlstate == _INTERNAL and routine != _RAISE)
    is_out_of_date = (bool(statement.name) and is_in_vain) or (statement.asks_binary and sqlstate == _BIND_REFUSED)
    if is_out_of_date or (statement.name and not statement.is_prepared):
        session.statements.forget(request)
    if is_out_of_date and isinstance(error.fields, ErrorFields):
        error.fields.remedy = "what the statement uses was altered since it was prepared: roll back, and run it again"
    if session.is_looked_up and not session.in_transaction:
        is_missing = sqlstate in _MISSING and may_be_pgvectors(request.result.sql)
        if is_missing or ((is_out_of_date or sqlstate in _MISSING) and _has_vectors(session, request)):
            known = session.extension
            look_up(session)
            is_out_of_date = is_out_of_date or session.extension != known
    return is_out_of_date


def renewed(session: Session, error: BaseException | None = None) -> bool:
    """Whether pgvector's types are others than were known.

    A round trip where an error, or a column of an unknown type, makes that likely.
    """
    if session.in_transaction or session.closed or not session.extension.oids:
        return False
    if session.is_looked_up and getattr(error, "sqlstate", None) not in _MISSING:
        return False
    known = session.extension
    look_up(session)
    return session.extension != known


def _decode_renewed(session: Session, result: Result) -> None:
    """Decode vectors that came as texts of an unknown type, since the extension was created anew."""
    known = session.extension
    look_up(session)
    columns = result.columns or ()
    places = [place for place, column in enumerate(columns) if session.adapters.has_binary(column.type_oid)]
    if session.extension == known or not result.rows:
        return
    for number, row in enumerate(result.rows):
        values = list(row)
        for place in places:
            if isinstance(values[place], str):
                values[place] = session.adapters.decoder(columns[place].type_oid, TEXT)(values[place].encode())
        result.rows[number] = result.row_class(values)


def _has_vectors(session: Session, request: Request) -> bool:
    """Whether parameters or columns have types of pgvector's, which may have been created anew."""
    types = session.extension.oids.values()
    columns = (request.statement.columns if request.statement else None) or ()
    return any(oid in types for oid, _, _ in request.parameters) or any(each.type_oid in types for each in columns)


def _explain(session: Session, error: DatabaseError, sql: str, values: Sequence[Any]) -> None:
    """Have an error say what to do about vectors or placeholders."""
    if error.sqlstate not in _ADVISED or not isinstance(error.fields, ErrorFields):
        return
    from lightvec.wire.advice import advice, may_be_pgvectors

    is_missing = error.sqlstate in _MISSING
    if is_missing and not session.is_looked_up and not session.in_transaction and may_be_pgvectors(sql):
        look_up(session)
    types = session.extension if session.is_looked_up else None
    error.fields.remedy = advice(types, sql, error.sqlstate, values) or error.fields.remedy
