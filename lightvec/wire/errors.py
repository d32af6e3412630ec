"""What the database or the wire reports: the classes of PEP 249, chosen by SQLSTATE.

Each is a :class:`lightvec.errors.LightvecError`, and, in a program that has loaded pg8000, also a
subclass of pg8000's class of the same name, so that code written for either catches it. ``args[0]``
is what pg8000 puts there, the server's fields by their one-letter keys (PostgreSQL documentation,
54.8 "Error and Notice Message Fields"); ``str()`` is a sentence.
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
    "check_committed",
    "error_from_fields",
    "join_pg8000",
]

_CLOSED = "connection is closed"
_DOUBT = "whether the statement took effect is not known"


class ErrorFields(dict[str, str]):
    """The fields of an ErrorResponse, as pg8000 gives them; ``str()`` is a sentence.

    ``remedy`` says what to do, where the caller knows more than :data:`REMEDIES`; ``in_doubt`` is the
    error's.

    >>> print(ErrorFields(C="42601", M='syntax error at or near "SELEC"'))
    syntax error at or near "SELEC" (SQLSTATE 42601)
    """

    remedy: str | None = None
    in_doubt = False

    def __str__(self) -> str:
        message = self.get("M", "the server reported an error")
        parts = [f"{message} (SQLSTATE {self.get('C', 'unknown')})"]
        parts += [self[key].rstrip(".") for key in "DH" if key in self]
        remedy = self._default_remedy() if self.remedy is None else self.remedy
        parts += [remedy] if remedy else []
        return "; ".join([*parts, _DOUBT] if self.in_doubt else parts)

    def _default_remedy(self) -> str | None:
        # S is V in the server's language; poolers send S only.
        if self.get("V", self.get("S")) in ("FATAL", "PANIC"):
            return f"the {_CLOSED}: connect again"
        return REMEDIES.get(self.get("C", ""))


class Error(LightvecError):
    """The root of what the driver raises.

    ``in_doubt``: a statement was sent and its result did not arrive, so whether it took effect is not
    known. Where it is false, it did not.
    """

    in_doubt = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        join_pg8000()
        return super().__new__(cls, *args, **kwargs)

    def leave_in_doubt(self) -> None:
        """Set ``in_doubt`` and add it to the message, once."""
        if self.in_doubt:
            return
        self.in_doubt = True
        if isinstance(self.fields, ErrorFields):
            self.fields.in_doubt = True
        else:
            # In args, which Peewee copies into its own exception.
            self.args = (f"{self}; {_DOUBT}",)

    @property
    def fields(self) -> Mapping[str, str]:
        """The server's fields by their one-letter keys; empty where the client itself raised the error."""
        return self.args[0] if self.args and isinstance(self.args[0], dict) else {}

    @property
    def sqlstate(self) -> str | None:
        """The five-character code of the error, the same in every language."""
        return self.fields.get("C")

    @property
    def detail(self) -> str | None:
        """The server's further explanation of its message."""
        return self.fields.get("D")

    @property
    def hint(self) -> str | None:
        """The server's suggestion."""
        return self.fields.get("H")

    @property
    def schema(self) -> str | None:
        """The schema of the table that the error is about."""
        return self.fields.get("s")

    @property
    def table(self) -> str | None:
        """The table that the error is about."""
        return self.fields.get("t")

    @property
    def column(self) -> str | None:
        """The column that the error is about."""
        return self.fields.get("c")

    @property
    def constraint(self) -> str | None:
        """The constraint that was violated."""
        return self.fields.get("n")


class Warning(LightvecError):
    """Required by PEP 249; lightvec does not raise it."""


class InterfaceError(Error):
    """A connection or a cursor used in a way that cannot work."""


class DatabaseError(Error):
    """What the database reports."""


class DataError(DatabaseError):
    """A value that the database cannot take: out of range, wrong dimensions, malformed."""


class IntegrityError(DatabaseError):
    """A violated constraint; ``constraint``, ``table`` and ``column`` say which."""


class InternalError(DatabaseError):
    """An invalid state of the server or of the protocol."""


class NotSupportedError(DatabaseError):
    """Something that this server does not support."""


class OperationalError(DatabaseError):
    """The connection, the server's resources or its administration, not the statement."""


class ProgrammingError(DatabaseError):
    """A statement with an unknown name, a wrong type or wrong syntax."""


class ConnectionLost(OperationalError):
    """The connection broke and is closed. pg8000 raises its InterfaceError for this, so it is one, too.

    ``what`` is what happened, without the in-doubt clause. The message always has "connection is
    closed" in it: by that, SQLAlchemy's dialect for pg8000 knows that its pool has to reconnect.
    """

    def __init__(self, what: str, *, in_doubt: bool = False) -> None:
        super().__init__(what if _CLOSED in what else f"{what}; the {_CLOSED}")
        self.what = what
        if in_doubt:
            self.leave_in_doubt()


class CannotConnect(OperationalError):
    """No connection came about. pg8000 raises its InterfaceError for this, so it is one, too."""


class MissingExtension(ProgrammingError, errors.MissingExtension):
    """pgvector is not installed in the database."""


_JOINED: list[type] = [Error, Warning, InterfaceError, DatabaseError, DataError, IntegrityError]
_JOINED += [InternalError, NotSupportedError, OperationalError, ProgrammingError]


def join_pg8000() -> None:
    """Make the classes subclasses of pg8000's, too, if the program has loaded pg8000.

    Without pg8000 nobody can name its classes, and loading it takes 20 ms. So it is not imported here:
    whenever an error is created, and the classes are not joined yet, ``sys.modules`` tells.
    """
    theirs: Any = sys.modules.get("pg8000.dbapi")
    # Its last class: another thread may be in the middle of importing the module.
    if not hasattr(theirs, "NotSupportedError") or issubclass(ConnectionLost, theirs.InterfaceError):
        return
    for cls in _JOINED:
        _add_base(cls, getattr(theirs, cls.__name__))
    for cls in (CannotConnect, ConnectionLost):
        _add_base(cls, theirs.InterfaceError)


def _add_base(cls: type, base: type) -> None:
    if not issubclass(cls, base):
        cls.__bases__ = (*cls.__bases__, base)


# SQLSTATE class (the first two letters) to exception: PostgreSQL documentation, Appendix A, read as PEP 249 means it.
_BY_CLASS: dict[str, type[DatabaseError]] = {
    **dict.fromkeys(("0A",), NotSupportedError),
    **dict.fromkeys(("20", "21", "26", "3F", "42", "44", "P0"), ProgrammingError),
    **dict.fromkeys(("22",), DataError),
    **dict.fromkeys(("23",), IntegrityError),
    **dict.fromkeys(("24", "25", "2B", "2D", "XX"), InternalError),
    **dict.fromkeys(("08", "27", "28", "2F", "34", "38", "39", "3B", "3D", "40"), OperationalError),
    **dict.fromkeys(("53", "54", "55", "57", "58", "72", "F0", "HV"), OperationalError),
}

#: What to do about a SQLSTATE, where one sentence can say it and the connection is still open.
REMEDIES: Mapping[str, str] = {
    "25006": "the server is a standby, or default_transaction_read_only is on: connect to the primary "
    "(target_session_attrs=read-write), or SET it to off",
    "25P02": "roll the transaction back, then run it again",
    "28P01": "check the user and the password",
    "3D000": "create the database or name another",
    "3F000": "create the schema, or correct its name",
    "40001": "run the transaction again",
    "40P01": "run the transaction again",
    "42501": "connect as the owner or a superuser, or ask them to GRANT the privilege",
    "42703": "correct its name, or add the column to the table (\\d TABLE in psql lists its columns)",
    "42P01": "create it (lightvec init-db creates the tables of models), or correct its name or the search_path",
    "53300": "close unused connections, use a pool, or raise max_connections",
    "55P03": "another session holds a lock on it (see pg_stat_activity): run it again when that has ended",
    "57014": "if nobody canceled it, it ran longer than statement_timeout: raise that, or ask for less",
}


def error_from_fields(fields: Mapping[str, str]) -> DatabaseError:
    """The exception for the fields of an ErrorResponse, by class of SQLSTATE.

    >>> type(error_from_fields({"C": "23505", "M": "duplicate key"})).__name__
    'IntegrityError'
    """
    cls = _BY_CLASS.get(fields.get("C", "")[:2], DatabaseError)
    return cls(ErrorFields(fields))


_COMMIT = re.compile(r"\s*(COMMIT|END)\b", re.IGNORECASE)


def check_committed(command: str, sql: str) -> None:
    """Raise after the COMMIT of a transaction in which a statement failed: the server rolls it back."""
    if command == "ROLLBACK" and _COMMIT.match(sql):
        raise InternalError(
            "the transaction was rolled back, not committed, because a statement in it had failed: "
            "nothing of it is kept, so run it again"
        )
