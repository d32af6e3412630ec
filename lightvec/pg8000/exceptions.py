"""What the database or the wire reports: the classes of PEP 249, chosen by SQLSTATE.

Each is a :class:`lightvec.errors.LightvecError` and also an instance of pg8000's class of the same meaning, so code
written for either catches it. ``args[0]`` stays what pg8000 puts there, the server's fields by their one-letter keys
(PostgreSQL documentation, 54.8 "Error and Notice Message Fields"); ``str()`` is a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from pg8000 import dbapi as theirs

from lightvec import errors
from lightvec.errors import LightvecError

__all__ = [
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
]


class ErrorFields(dict[str, str]):
    """The fields of an ErrorResponse, as pg8000 gives them, that print as a sentence.

    ``remedy`` says what to do where the statement's values tell more than the table below; ``in_doubt`` is the error's.

    >>> print(ErrorFields(C="42601", M='syntax error at or near "SELEC"'))
    syntax error at or near "SELEC" (SQLSTATE 42601)
    """

    remedy: str | None = None
    in_doubt = False

    def __str__(self) -> str:
        parts = [f"{self.get('M', 'the server reported an error')} (SQLSTATE {self.get('C', 'unknown')})"]
        parts += [self[key].rstrip(".") for key in "DH" if key in self]
        remedy = self.remedy or REMEDIES.get(self.get("C", ""))
        parts += [remedy] if remedy else []
        return "; ".join([*parts, _DOUBT] if self.in_doubt else parts)


_CLOSED = "connection is closed"
_DOUBT = "whether the statement took effect is not known"


class Error(LightvecError, theirs.Error):
    """The root of what the driver raises.

    ``in_doubt`` says that a statement was sent, and that its answer is missing, so that whether it took effect is not
    known. Where it is false, it did not.
    """

    in_doubt = False

    def leave_in_doubt(self) -> None:
        """Say so, once."""
        if self.in_doubt:
            return
        self.in_doubt = True
        if isinstance(self.fields, ErrorFields):
            self.fields.in_doubt = True
        else:
            # In the arguments, since those are what Peewee takes over.
            self.args = (f"{self}; {_DOUBT}",)

    @property
    def fields(self) -> Mapping[str, str]:
        """The server's fields by their one-letter keys; empty where the client itself raised the error."""
        return self.args[0] if self.args and isinstance(self.args[0], dict) else {}

    @property
    def sqlstate(self) -> str | None:
        """The five letters that classify the error, the same in every language."""
        return self.fields.get("C")

    @property
    def detail(self) -> str | None:
        """What the server says beside its message."""
        return self.fields.get("D")

    @property
    def hint(self) -> str | None:
        """What the server suggests."""
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


class Warning(LightvecError, theirs.Warning):
    """PEP 249 asks for it; lightvec does not raise it."""


class InterfaceError(Error, theirs.InterfaceError):
    """A connection or a cursor used in a way that cannot work."""


class DatabaseError(Error, theirs.DatabaseError):
    """What the database reports."""


class DataError(DatabaseError, theirs.DataError):
    """A value that the database cannot take: out of range, wrong dimensions, malformed."""


class IntegrityError(DatabaseError, theirs.IntegrityError):
    """A constraint that was violated; ``constraint``, ``table`` and ``column`` say which."""


class InternalError(DatabaseError, theirs.InternalError):
    """A state in which the server, or the conversation with it, cannot go on."""


class NotSupportedError(DatabaseError, theirs.NotSupportedError):
    """What this server does not do."""


class OperationalError(DatabaseError, theirs.OperationalError):
    """The connection, the server's resources, its administration: not the statement's fault."""


class ProgrammingError(DatabaseError, theirs.ProgrammingError):
    """A statement that cannot be right: a wrong name, a wrong type, wrong syntax."""


class ConnectionLost(OperationalError, theirs.InterfaceError):
    """The connection broke; it is closed and stays so. pg8000 calls this an InterfaceError, so it is one too.

    ``what`` is what happened, without the doubt that there may be. The text says that the connection is closed, by
    which SQLAlchemy's dialect for pg8000 knows that its pool has to connect anew.
    """

    def __init__(self, what: str, *, in_doubt: bool = False) -> None:
        super().__init__(what if _CLOSED in what else f"{what}; the {_CLOSED}")
        self.what = what
        if in_doubt:
            self.leave_in_doubt()


class MissingExtension(ProgrammingError, errors.MissingExtension):
    """pgvector is not installed in the database."""


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

#: What to do about a SQLSTATE, where one sentence can say it.
REMEDIES: Mapping[str, str] = {
    "25006": "the server is a standby, or default_transaction_read_only is on: connect to the primary "
    "(target_session_attrs=read-write), or turn that off",
    "25P02": "roll the transaction back, then run it again",
    "28P01": "check the user and the password",
    "3D000": "create the database or name another",
    "40001": "run the transaction again",
    "40P01": "run the transaction again",
    "3F000": "create the schema, or see how it is spelled",
    "42501": "connect as who may (the owner, an administrator), or have them GRANT it to this user",
    "42703": "see how it is spelled, and whether the table has it (\\d TABLE in psql)",
    "42P01": "create it first (lightvec init-db makes the tables of models), or see whether the search path has it",
    "53300": "close connections that are not needed, use a pool, or raise max_connections",
    "55P03": "somebody else has a lock on it: pg_stat_activity says who; run it again when that is done",
    "57014": "if nobody cancelled it, it took longer than statement_timeout: SET that to more, or ask for less",
    "57P01": "the connection is closed; connect again",
}


def error_from_fields(fields: Mapping[str, str]) -> DatabaseError:
    """The exception for the fields of an ErrorResponse, by class of SQLSTATE.

    >>> type(error_from_fields({"C": "23505", "M": "duplicate key"})).__name__
    'IntegrityError'
    """
    cls = _BY_CLASS.get(fields.get("C", "")[:2], DatabaseError)
    return cls(ErrorFields(fields))
