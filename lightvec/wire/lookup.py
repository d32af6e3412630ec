"""The catalog queries that each connection runs once: pgvector's types, and whether there is a pooler.

They are sent before the first statement that returns rows, in the same write.

- On a direct connection ``pg_backend_pid()`` is the process ID of BackendKeyData; PgBouncer makes one
  up. Only on a direct connection statements can be prepared by name.
- Two statements under one Sync have the same ``transaction_timestamp()``, unless a pooler (pgpool-II)
  ends the implicit transaction between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightvec.extension import TYPES_SQL, types_from
from lightvec.wire.errors import InternalError
from lightvec.wire.results import Result
from lightvec.wire.settings import EXPLICIT, IMPLICIT
from lightvec.wire.statements import CatalogRequest, Request

if TYPE_CHECKING:
    from lightvec.wire.session import Session

_TIMESTAMP = "SELECT pg_catalog.to_char(pg_catalog.transaction_timestamp(), 'HH24MISSUS')"
# The process ID is padded, so that a connection's messages have the same lengths each time.
_CATALOG = f"""\
SELECT here.pid, pg_catalog.to_char(pg_catalog.transaction_timestamp(), 'HH24MISSUS'), types.*
FROM (SELECT pg_catalog.lpad(pg_catalog.pg_backend_pid()::text, 10, '0') AS pid) AS here
LEFT JOIN ({TYPES_SQL}) AS types ON true"""


def read_catalog(session: Session) -> None:
    """Run the queries now, in one round trip."""
    session.run(catalog_requests(session))


def catalog_requests(session: Session) -> list[Request]:
    """The requests; the session knows their result before the next reply is read."""
    encoding = session.adapters.encoding
    timestamp, catalog = (CatalogRequest(sql, (), encoding) for sql in (_TIMESTAMP, _CATALOG))
    is_idle = not session.in_transaction

    def store(result: Result) -> None:
        try:
            began = timestamp.rows[0][0] if timestamp.rows and is_idle else None
            _store(session, result.rows or [], began)
        except (LookupError, TypeError, ValueError) as error:
            raise InternalError("the server's catalog cannot be understood: is it PostgreSQL?") from error

    timestamp.on_complete = lambda result: None
    catalog.on_complete = store
    return [timestamp, catalog]


def _store(session: Session, rows: list[Any], began: str | None) -> None:
    extension = types_from([row[2:] for row in rows if row[2] is not None])
    if extension != session.extension:
        session.statements.clear()
        session.adapters.extension = extension
    session.catalog_is_read = True
    session.statements.may_prepare = session.prepare and int(rows[0][0]) == session.backend_pid
    if extension.citus:
        from lightvec.citus.settings_scope import CITUS

        session.settings_scope = CITUS
    elif began is not None:
        session.settings_scope = IMPLICIT if began == rows[0][1] else EXPLICIT
