"""The exceptions of the driver: the classes of PEP 249, chosen by SQLSTATE.

Each is a :class:`lightvec.errors.LightvecError`, and, in a program that has loaded pg8000, also a
subclass of pg8000's class of the same name. As in pg8000, ``args[0]`` has the server's fields by
their one-letter keys (PostgreSQL documentation, 54.8 "Error and Notice Message Fields").
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightvec import errors
from lightvec.errors import LightvecError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CannotConnect",
    "ConnectionLost",
    "DataError",
    "DatabaseError",
    "Error",
    "ErrorFields",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "MissingExtension",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "error_from_fields",
    "join_pg8000",
    "lost_commit",
    "remedy_for",
]

_CLOSED = "connection is closed"
_IN_DOUBT = "whether the statement took effect is not known"


class ErrorFields(dict[str, str]):
    """The fields of an ErrorResponse, as pg8000 gives them; ``str()`` is a sentence.

    ``remedy`` says what to do, where the caller knows more than :func:`remedy_for`.

    >>> print(ErrorFields(C="42601", M='syntax error at or near "SELEC"'))
    syntax error at or near "SELEC" (SQLSTATE 42601)
    """

    remedy: str | None = None
    in_doubt = False

    def __str__(self) -> str:
        message = self.get("M", "the server reported an error")
        parts = [f"{message} (SQLSTATE {self.get('C', 'unknown')})"]
        parts += [self[key].rstrip(".") for key in "DH" if key in self]
        remedy = remedy_for(self) if self.remedy is None else self.remedy
        parts += [remedy] if remedy else []
        return "; ".join([*parts, _IN_DOUBT] if self.in_doubt else parts)


class _Field:
    """A field of the server's error as an attribute; None if the server did not send it."""

    def __init__(self, key: str, doc: str) -> None:
        self._key = key
        self.__doc__ = doc

    def __get__(self, error: Error, owner: type[Error]) -> str | None:
        return error.fields.get(self._key)


class Error(LightvecError):
    """The base class of the driver's exceptions.

    ``in_doubt``: a statement was sent and its result did not arrive, so whether it took effect is
    not known. If it is false, the statement did not.
    """

    in_doubt = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        join_pg8000()
        return super().__new__(cls, *args, **kwargs)

    def mark_in_doubt(self) -> None:
        """Set ``in_doubt`` and add it to the message, once."""
        if self.in_doubt:
            return
        self.in_doubt = True
        if isinstance(self.fields, ErrorFields):
            self.fields.in_doubt = True
        else:
            # In args, which Peewee copies into its own exception.
            self.args = (f"{self}; {_IN_DOUBT}",)

    @property
    def fields(self) -> Mapping[str, str]:
        """The server's fields by their one-letter keys; empty if the client raised the error."""
        return self.args[0] if self.args and isinstance(self.args[0], dict) else {}

    sqlstate = _Field("C", "The five-character code of the error, the same in every language.")
    detail = _Field("D", "The server's detailed explanation.")
    hint = _Field("H", "The server's suggestion.")
    schema = _Field("s", "The schema of the table that the error is about.")
    table = _Field("t", "The table that the error is about.")
    column = _Field("c", "The column that the error is about.")
    constraint = _Field("n", "The constraint that was violated.")


class Warning(LightvecError):
    """Required by PEP 249; lightvec does not raise it."""


class InterfaceError(Error):
    """Wrong use of a connection or a cursor."""


class DatabaseError(Error):
    """An error of the database."""


class DataError(DatabaseError):
    """An invalid value: out of range, wrong dimensions, malformed."""


class IntegrityError(DatabaseError):
    """A violated constraint; ``constraint``, ``table`` and ``column`` name it."""


class InternalError(DatabaseError):
    """An invalid state of the server or of the protocol."""


class NotSupportedError(DatabaseError):
    """Something that this server does not support."""


class OperationalError(DatabaseError):
    """An error of the connection, or of the server's resources or administration."""


class ProgrammingError(DatabaseError):
    """A statement with an unknown name, a wrong type or wrong syntax."""


class ConnectionLost(OperationalError):
    """The connection broke and is closed; ``what`` happened, without the in-doubt clause.

    The message always contains "connection is closed", by which SQLAlchemy's dialect for pg8000
    knows that its pool must reconnect. As in pg8000, it is an InterfaceError, too.
    """

    def __init__(self, what: str, *, in_doubt: bool = False) -> None:
        super().__init__(what if _CLOSED in what else f"{what}; the {_CLOSED}")
        self.what = what
        if in_doubt:
            self.mark_in_doubt()


class CannotConnect(OperationalError):
    """The connection failed. As in pg8000, it is an InterfaceError, too."""

    #: Whether it failed in the TLS handshake.
    in_handshake = False


class MissingExtension(ProgrammingError, errors.MissingExtension):
    """pgvector is not installed in the database."""


_JOINED: tuple[type, ...] = (
    *(Error, Warning, InterfaceError, DatabaseError, DataError, IntegrityError),
    *(InternalError, NotSupportedError, OperationalError, ProgrammingError),
)


def join_pg8000() -> None:
    """Make the classes subclasses of pg8000's, too, if the program has loaded pg8000.

    Loading it here would take 20 ms, so each new error looks into ``sys.modules``.
    """
    dbapi: Any = sys.modules.get("pg8000.dbapi")
    # Its last class: another thread may be importing the module.
    if not hasattr(dbapi, "NotSupportedError") or issubclass(ConnectionLost, dbapi.InterfaceError):
        return
    pairs = [(cls, getattr(dbapi, cls.__name__)) for cls in _JOINED]
    for cls, base in [*pairs, (CannotConnect, dbapi.InterfaceError), (ConnectionLost, dbapi.InterfaceError)]:
        if not issubclass(cls, base):
            cls.__bases__ = (*cls.__bases__, base)


#: SQLSTATE classes (PostgreSQL documentation, Appendix A) by exception.
_SQLSTATES: dict[type[DatabaseError], str] = {
    DataError: "22",
    IntegrityError: "23",
    InternalError: "24 25 2B 2D XX",
    NotSupportedError: "0A",
    OperationalError: "08 27 28 2F 34 38 39 3B 3D 40 53 54 55 57 58 72 F0 HV",
    ProgrammingError: "20 21 26 3F 42 44 P0",
}
#: Citus's routine (src/backend/distributed/commands/multi_copy.c) that passes on a worker's message
#: and detail without its SQLSTATE. Of errors in COPY, violated constraints have a detail.
_CITUS_COPY = "ReportCopyError"
_BY_SQLSTATE = {code: cls for cls, codes in _SQLSTATES.items() for code in codes.split()}

_REMOTE = "another server that this one uses (a worker of Citus)"
#: What to do about a SQLSTATE, or SQLSTATE and the server's routine, on an open connection.
_REMEDIES: Mapping[str, str] = {
    "08006": f"{_REMOTE} cannot be reached: check that it is up, then run it again",
    "22023 InitBuildState": "declare them: ALTER TABLE ... ALTER COLUMN ... TYPE vector(n)",
    "25006": "a standby, BEGIN READ ONLY or default_transaction_read_only makes it read-only: connect "
    "to the primary (target_session_attrs=read-write), or begin it READ WRITE",
    "25P02": "roll the transaction back, then run it again",
    "3D000": "create the database or name another",
    "3F000": "create the schema, or correct its name or the search_path",
    "40001": "run the transaction again",
    "40P01": "run the transaction again",
    "42501 ExecWithCheckOptions": "a policy or the view's check option does not let this role write such a row",
    "42501": "connect as the owner or a superuser, or ask them to GRANT the privilege",
    "42703": "correct its name, or add the column to the table (\\d TABLE in psql lists its columns)",
    "42P01 errorMissingRTE": "add the table to FROM, or use the alias that it has there",
    "42P01": "create it (lightvec init-db creates the tables of models), or correct its name or the search_path",
    "53300": "close unused connections, use a pool, or raise max_connections",
    "54000 InitBuildState": "index (column::halfvec(n)), up to 4,000 dimensions, or "
    "(binary_quantize(column)::bit(n)), up to 64,000",
    "55P03": "another session holds a lock on it (see pg_stat_activity): run it again when that has ended",
    "57014": "if nobody canceled it, it ran longer than statement_timeout: raise that, or ask for less",
    "57P01": f"{_REMOTE} ended its session: run it again",
    "57P02": f"{_REMOTE} crashed: run it again",
}


def remedy_for(fields: Mapping[str, str]) -> str | None:
    """What to do about an error of the server, if one sentence can say it."""
    # S is V in the server's language; poolers send S only.
    if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
        return f"the {_CLOSED}: connect again"
    sqlstate = fields.get("C", "")
    return _REMEDIES.get(f"{sqlstate} {fields.get('R')}") or _REMEDIES.get(sqlstate)


def error_from_fields(fields: Mapping[str, str]) -> DatabaseError:
    """The exception for the fields of an ErrorResponse, by class of SQLSTATE.

    >>> type(error_from_fields({"C": "23505", "M": "duplicate key"})).__name__
    'IntegrityError'
    """
    cls = _BY_SQLSTATE.get(fields.get("C", "")[:2], DatabaseError)
    if fields.get("R") == _CITUS_COPY and "D" in fields:
        cls = IntegrityError
    return cls(fields if isinstance(fields, ErrorFields) else ErrorFields(fields))


_COMMIT = re.compile(r"(?s:\s|--[^\n]*\n|/\*.*?\*/)*(COMMIT|END|PREPARE)\b", re.IGNORECASE)


def lost_commit(sql: str, first: BaseException | None) -> InternalError | None:
    """The error of a COMMIT that the server answered by ROLLBACK, because a statement had failed; ``first`` is why."""
    if not _COMMIT.match(sql):
        return None
    error = InternalError(
        "the transaction was rolled back, not committed, because a statement in it had failed"
        f"{f' ({first})' if first else ''}: nothing of it is kept, so run it again"
    )
    error.__cause__ = first
    return error
