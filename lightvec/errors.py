"""Every exception that lightvec raises.

::

    LightvecError
    ├── InvalidVector (ValueError)          a value, a text or bytes that are no vector
    ├── InvalidOption (ValueError)          a DSN, a setting or an option that cannot be
    ├── MissingExtra (ImportError)          an optional library that is not installed
    ├── SchemaMismatch (ValueError)         a table that stands and does not fit its model
    ├── MissingExtension                    pgvector is not installed in the database
    ├── ServerError (RuntimeError)          the embedded server cannot start or stop
    └── lightvec.pg8000.exceptions.Error    what the database or the wire reports (PEP 249)
        ├── InterfaceError                  a connection or a cursor used in a way that cannot work
        └── DatabaseError                   a SQLSTATE of no class below
            ├── DataError                   values: SQLSTATE 22
            ├── IntegrityError              constraints: SQLSTATE 23
            ├── OperationalError            the server and its resources: SQLSTATE 08, 28, 3D, 40, 53, 55, 57, 58 …
            │   └── ConnectionLost          the connection broke and is closed
            ├── InternalError               states that cannot be: SQLSTATE 24, 25, XX …, and broken protocol
            ├── NotSupportedError           SQLSTATE 0A
            └── ProgrammingError            the statement: SQLSTATE 42, 26, 3F, P0 …
                └── MissingExtension        the one above, as the driver reports it

The classes below :class:`lightvec.pg8000.exceptions.Error` live beside the driver, because each is also an
instance of pg8000's class of the same meaning, and ``import lightvec`` does not load pg8000.
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
    """A value, a text or bytes that are no vector of the kind asked for."""


class InvalidOption(LightvecError, ValueError):
    """A connection string, a setting or an option that cannot be used as it was given."""


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
        # By what it is made of; Exception's own would make it of its sentence.
        return type(self), (self.extra, self._purpose)


class MissingExtension(LightvecError):
    """pgvector is not installed in the database.

    Where a driver has a class for such an error, what is raised is an instance of that one, too.
    """

    def __init__(self, type_name: str = "vector") -> None:
        super().__init__(
            f"the database has no type {type_name}, because pgvector is not installed in it or too old for "
            f"the type: run `lightvec init-db` or CREATE EXTENSION vector"
        )
        self._type_name = type_name

    def __reduce__(self) -> str | tuple[Any, ...]:
        return type(self), (self._type_name,)


class SchemaMismatch(LightvecError, ValueError):
    """A table that stands and does not fit the model or the rows that are meant for it."""


class ServerError(LightvecError, RuntimeError):
    """The embedded server cannot be started, stopped or found."""
