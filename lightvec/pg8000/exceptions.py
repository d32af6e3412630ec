"""The exception classes of PEP 249, in a module of the same name as pg8000's.

If pg8000 is loaded, they are subclasses of its classes, too.
"""

from lightvec.wire.errors import (
    ConnectionLost,
    DatabaseError,
    DataError,
    Error,
    ErrorFields,
    IntegrityError,
    InterfaceError,
    InternalError,
    MissingExtension,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
    error_from_fields,
    join_pg8000,
)

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

join_pg8000()
