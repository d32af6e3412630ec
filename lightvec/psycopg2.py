"""Vectors with `psycopg 2 <https://www.psycopg.org/docs/>`_, which sends and reads text.

::

    conn = psycopg2.connect(...)
    register_vector(conn)
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO item (embedding) VALUES (%s)", [Vector([1, 2, 3])])
        cursor.execute("SELECT embedding FROM item")
        cursor.fetchall()  # [(Vector([1.0, 2.0, 3.0]),)]

Sent as vectors are ``Vector``, ``HalfVector``, ``SparseVector`` and ``Bit``, those of pgvector's own
package if it was imported before, and NumPy arrays and ``array.array`` of numbers. They are literals of
the type of the column or operand beside them; elsewhere write ``%s::vector``, and ``%s::vector[]`` for a
list of them. A plain list of numbers is an ``ARRAY[...]`` to psycopg2, which PostgreSQL casts where it is
stored in a column or written ``%s::vector``; operators do not cast: pass ``Vector(numbers)``.

Results of the three vector types are their classes, arrays of them lists. A ``bit`` stays a text.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

from lightvec import errors
from lightvec.errors import MissingExtra
from lightvec.extension import TYPES_SQL, ExtensionTypes, types_from
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.columns import VALUES, VECTOR_TYPES
from lightvec.types.inputs import pgvector_classes

try:
    import psycopg2
    from psycopg2.extensions import (
        TRANSACTION_STATUS_IDLE,
        QuotedString,
        connection,
        cursor,
        new_array_type,
        new_type,
        register_adapter,
        register_type,
    )
except ModuleNotFoundError as error:
    raise MissingExtra("psycopg2", "lightvec.psycopg2") from error

__all__ = ["MissingExtension", "register_vector"]

_Kind = type[Vector] | type[HalfVector] | type[SparseVector] | type[Bit]


class MissingExtension(errors.MissingExtension, psycopg2.ProgrammingError):
    """pgvector is not installed in the database."""


def register_vector(conn_or_curs: connection | cursor, /, *, globally: bool = False, arrays: bool = True) -> None:
    """Teach a connection, or one cursor, the types vector, halfvec and sparsevec.

    One query finds the types in any schema. ``globally`` applies to results on all connections of the
    process, which must be to the same database. ``arrays=False`` leaves arrays of vectors as texts.
    Sending values is always registered for the whole process.

    Raises :class:`MissingExtension` if pgvector is not installed in the database.
    """
    conn = conn_or_curs if isinstance(conn_or_curs, connection) else conn_or_curs.connection
    types = _types(conn)
    if "vector" not in types.oids:
        raise MissingExtension
    scope = None if globally else conn_or_curs
    for name, oid in types.oids.items():
        reader = new_type((oid,), name.upper(), _reader(VECTOR_TYPES[name]))
        register_type(reader, scope)
        if arrays:
            register_type(new_array_type((types.array_oids[name],), f"{name.upper()}ARRAY", reader), scope)
    _register_values()


def _types(conn: connection) -> ExtensionTypes:
    idle = conn.info.transaction_status == TRANSACTION_STATUS_IDLE
    with conn.cursor(cursor_factory=cursor) as curs:  # the connection's own factory may return rows as dicts
        curs.execute(TYPES_SQL)
        types = types_from(curs.fetchall())
    if idle and not conn.autocommit:
        conn.rollback()
    return types


def _reader(kind: _Kind) -> Callable[[Any, cursor], Any]:
    return lambda text, _: None if text is None else kind.from_text(text)


def _register_values() -> None:
    theirs = pgvector_classes()
    for kind in set(VALUES.values()):
        register_adapter(kind, _literal)
        if kind.__name__ in theirs:
            register_adapter(theirs[kind.__name__], partial(_converted, kind))
    register_adapter(array, partial(_converted, Vector))
    try:
        from numpy import ndarray
    except ImportError:
        return
    register_adapter(ndarray, partial(_converted, Vector))


def _literal(value: Any) -> QuotedString:
    return QuotedString(value.wire_text())


def _converted(kind: _Kind, value: Any) -> QuotedString:
    return _literal(kind(value))
