"""Vectors on any pg8000 connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pg8000.converters import PY_TYPES, _array_in
from pg8000.core import CoreConnection

from lightvec.extension import TYPES_SQL, types_from
from lightvec.pg8000.connection import BaseConnection
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.columns import VECTOR_TYPES
from lightvec.types.inputs import pgvector_classes
from lightvec.wire.adapters import Adapters
from lightvec.wire.datatypes import TYPES
from lightvec.wire.errors import MissingExtension
from lightvec.wire.parameters import flat, plain


def register_vector(conn: CoreConnection | BaseConnection) -> None:
    """Teach a connection of pg8000 (native, PEP 249 or legacy) the types vector, halfvec, sparsevec and bit.

    Their values, those of pgvector's own package if it was imported before, and NumPy arrays can then be
    parameters; results contain lightvec's classes, or lists of them. They are sent as text, the only
    format of pg8000. On a connection of :func:`lightvec.pg8000.connect` it changes nothing.

    Raises :class:`~lightvec.pg8000.exceptions.MissingExtension` if pgvector is not installed in the database.
    """
    if isinstance(conn, BaseConnection):
        if not conn.extension().oids:
            raise MissingExtension
        return
    types = types_from(conn.execute_simple(TYPES_SQL).rows or [])
    if not types.oids:
        raise MissingExtension
    _register(conn, Bit, TYPES["bit"].oid, TYPES["bit"].array_oid)
    for name, oid in types.oids.items():
        _register(conn, VECTOR_TYPES[name], oid, types.array_oids[name])
    for cls in pgvector_classes().values():
        conn.register_out_adapter(cls, _converted)
    _register_ndarray(conn)
    _register_list(conn)


def _register(conn: CoreConnection, cls: Any, oid: int, array_oid: int) -> None:
    conn.register_out_adapter(cls, cls.wire_text)
    conn.register_in_adapter(oid, cls.from_text)
    conn.register_in_adapter(array_oid, _array_in(cls.from_text))


def _register_ndarray(conn: CoreConnection) -> None:
    try:
        from numpy import ndarray
    except ImportError:
        return
    conn.register_out_adapter(ndarray, _converted)


def _converted(value: Any) -> str:
    text: str = plain(value).wire_text()
    return text


def _register_list(conn: CoreConnection) -> None:
    """Send arrays of vectors; pg8000, or an adapter of the caller's, sends all other lists."""
    array_out = cast("Callable[[Any], str]", PY_TYPES[list])
    text = Adapters().text
    if conn.py_types[list] is array_out:
        conn.register_out_adapter(list, lambda value: text(value) if _holds_vector(value) else array_out(value))


def _holds_vector(value: Any) -> bool:
    return any(isinstance(plain(element), (Vector, HalfVector, SparseVector, Bit)) for element in flat(value))
