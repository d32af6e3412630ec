"""The question that every connection asks once: pgvector's types, and what stands between client and server.

It goes ahead of the first statement that gives rows, in the same write.

- A direct connection is told from a pooler by the process ID of the login's BackendKeyData: it is
  what ``pg_backend_pid()`` says, and a number that the pooler made up behind PgBouncer in every mode.
  Statements can be prepared by name on a direct connection only.
- Two statements under one Sync have the same ``transaction_timestamp()``, unless a pooler (pgpool-II)
  ends the implicit transaction between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightvec.extension import TYPES_SQL, types_from
from lightvec.wire.errors import InternalError
from lightvec.wire.framing import EXPLICIT, IMPLICIT, Framing
from lightvec.wire.results import CatalogResult, Result
from lightvec.wire.statements import Request, Statement

if TYPE_CHECKING:
    from lightvec.wire.session import Session

__all__ = ["look_up", "look_up_requests"]

_TIMESTAMP = "SELECT pg_catalog.to_char(pg_catalog.transaction_timestamp(), 'HH24MISSUS')"
# The process ID has one length, so that the messages of a connection have the same lengths each time.
_QUESTION = f"""\
SELECT here.pid, pg_catalog.to_char(pg_catalog.transaction_timestamp(), 'HH24MISSUS'), types.*
FROM (SELECT pg_catalog.lpad(pg_catalog.pg_backend_pid()::text, 10, '0') AS pid) AS here
LEFT JOIN ({TYPES_SQL}) AS types ON true"""


def look_up(session: Session) -> None:
    """Ask now, in a round trip."""
    session.run(look_up_requests(session))


def look_up_requests(session: Session) -> list[Request]:
    """The requests; what they find is there before the answer behind them is read."""
    first, second = (CatalogResult(sql, session.adapters.encoding) for sql in (_TIMESTAMP, _QUESTION))
    is_idle = not session.in_transaction

    def take_up(result: Result) -> None:
        try:
            began = first.rows[0][0] if first.rows else None
            _take_up(session, result, began if is_idle else None)
        except (IndexError, TypeError, ValueError) as error:
            raise InternalError("the server's catalog cannot be understood: is it PostgreSQL?") from error

    first.on_complete = lambda result: None
    second.on_complete = take_up
    return [Request(Statement(session.encode(result.sql), ()).message(()), result) for result in (first, second)]


def _take_up(session: Session, result: Result, began: str | None) -> None:
    rows = result.rows or []
    extension = types_from([row[2:] for row in rows if row[2] is not None])
    if extension != session.extension:
        session.statements.clear()
        session.adapters.extension = extension
    session.is_looked_up = True
    session.statements.may_prepare = session.prepare and int(rows[0][0]) == session.backend_pid
    if extension.citus:
        from lightvec.citus.framing import CITUS

        session.framing = CITUS
    elif began is not None:
        session.framing = _framing(began, rows[0][1])


def _framing(began: str, then: str) -> Framing:
    return IMPLICIT if began == then else EXPLICIT
