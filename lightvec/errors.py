"""Every exception that lightvec raises.

::

    LightvecError
    ├── InvalidVector (ValueError)          an invalid value, text or binary form of a vector
    ├── InvalidOption (ValueError)          an invalid DSN, setting or option
    ├── MissingExtra (ImportError)          an optional library that is not installed
    ├── SchemaMismatch (ValueError)         an existing table that does not match its model
    ├── MissingExtension                    pgvector is not installed in the database, or too old
    ├── ServerError (RuntimeError)          the embedded server cannot start or stop
    └── lightvec.pg8000.exceptions.Error    what the database or the wire reports (PEP 249)
        ├── InterfaceError                  a connection or a cursor used wrongly
        └── DatabaseError                   a SQLSTATE of no class below
            ├── DataError                   values: SQLSTATE 22
            ├── IntegrityError              constraints: SQLSTATE 23
            ├── OperationalError            the server, its resources: SQLSTATE 08, 28, 40, 53, 57 …
            │   └── ConnectionLost          the connection broke and is closed
            ├── InternalError               impossible states: SQLSTATE 24, 25, XX …; the protocol
            ├── NotSupportedError           SQLSTATE 0A
            └── ProgrammingError            the statement: SQLSTATE 42, 26, 3F, P0 …
                └── MissingExtension        the one above, as the driver reports it

The classes from :class:`lightvec.pg8000.exceptions.Error` down are also subclasses of pg8000's
classes of the same meaning, where a program has loaded pg8000.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "InvalidOption",
    "InvalidVector",
    "LightvecError",
    "MissingExtension",
    "MissingExtra",
    "SchemaMismatch",
    "ServerError",
]


class LightvecError(Exception):
    """The root: ``except LightvecError`` catches whatever lightvec raises."""


class InvalidVector(LightvecError, ValueError):
    """A value, a text or bytes that are not a valid vector of the type."""


class InvalidOption(LightvecError, ValueError):
    """An invalid connection string, setting or option."""


class MissingExtra(LightvecError, ImportError):
    """An optional library that is needed here and is not installed.

    >>> str(MissingExtra("embedded", "the embedded server"))
    "the embedded server needs a library that is not installed: pip install 'lightvec[embedded]'"
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs a library that is not installed: pip install 'lightvec[{extra}]'")
        self.extra = extra
        self._purpose = purpose

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Exception's own would pass the message to __init__.
        return type(self), (self.extra, self._purpose)


class MissingExtension(LightvecError):
    """pgvector is not installed in the database, or too old for the type.

    Where a driver has a class for such an error, the exception is an instance of that class, too.

    >>> str(MissingExtension("halfvec", "0.6.2"))
    'pgvector 0.6.2 of this database has no type halfvec, 0.7 has: update it on the server, then ALTER EXTENSION vector UPDATE'
    """  # noqa: E501 (an error is one line)

    def __init__(self, type_name: str = "vector", installed: str = "") -> None:
        create = "run `lightvec init-db` or CREATE EXTENSION vector"
        message = f"the database has no type {type_name}, because pgvector is not installed in it: {create}"
        if installed:
            message = (
                f"pgvector {installed} of this database has no type {type_name}, 0.7 has: "
                f"update it on the server, then ALTER EXTENSION vector UPDATE"
            )
        elif type_name != "vector":
            message = (
                f"the database has no type {type_name}, because pgvector is not installed in it or older "
                f"than 0.7: {create}, or ALTER EXTENSION vector UPDATE"
            )
        super().__init__(message)
        self._arguments = type_name, installed

    def __reduce__(self) -> str | tuple[Any, ...]:
        return type(self), self._arguments


class SchemaMismatch(LightvecError, ValueError):
    """An existing table that does not match the model or the rows."""


class ServerError(LightvecError, RuntimeError):
    """The embedded server cannot be started, stopped or found."""
