"""Vectors on any pg8000 connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pg8000.converters import PY_TYPES, _array_in
from pg8000.core import CoreConnection

from lightvec.pg8000.exceptions import MissingExtension
from lightvec.pg8000.extension import LookUp
from lightvec.pg8000.parameters import holds_vector, plain, text_of
from lightvec.pg8000.results import BIT
from lightvec.pg8000.wire import Wire
from lightvec.types import Bit
from lightvec.types.columns import VECTOR_TYPES

__all__ = ["register_vector"]


def register_vector(conn: CoreConnection) -> None:
    """Teach a connection of pg8000 (native, PEP 249 or legacy) the types vector, halfvec, sparsevec and bit.

    Their values, and NumPy arrays, can then be parameters; results give :class:`lightvec.Vector`,
    :class:`~lightvec.HalfVector`, :class:`~lightvec.SparseVector` and :class:`~lightvec.Bit`, arrays of them lists.
    They travel as text, because that is all pg8000 sends. A connection of :func:`lightvec.pg8000.connect` knows them
    already, as binary; registering it, or registering twice, is harmless.

    :class:`~lightvec.pg8000.exceptions.MissingExtension` where pgvector is not installed in the database.
    """
    if isinstance(conn, Wire):
        if not conn.extension().oids:
            raise MissingExtension
        return
    look_up = LookUp()
    look_up.rows = conn.execute_simple(look_up.statement).rows
    types = look_up.types
    if not types.oids:
        raise MissingExtension
    _register(conn, Bit, BIT, BIT + 1)
    for name, oid in types.oids.items():
        _register(conn, VECTOR_TYPES[name], oid, types.array_oids[name])
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
    conn.register_out_adapter(ndarray, lambda value: plain(value).wire_text())


def _register_list(conn: CoreConnection) -> None:
    """Arrays of vectors; every other list, and a list adapter of the caller's own, stays with pg8000."""
    array_out = cast("Callable[[Any], str]", PY_TYPES[list])
    if conn.py_types[list] is array_out:
        conn.register_out_adapter(list, lambda value: text_of(value) if holds_vector(value) else array_out(value))
