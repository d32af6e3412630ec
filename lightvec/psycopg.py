"""Vectors with `psycopg 3 <https://www.psycopg.org/psycopg3/>`_, as text and binary.

::

    with psycopg.connect(...) as conn:
        register_vector(conn)
        conn.execute("INSERT INTO item (embedding) VALUES (%s)", [Vector([1, 2, 3])])
        conn.execute("SELECT embedding FROM item", binary=True).fetchall()  # [(Vector([1.0, 2.0, 3.0]),)]

Sent as vectors are ``Vector``, ``HalfVector``, ``SparseVector`` and ``Bit``, those of pgvector's own
package, NumPy arrays and ``array.array`` of numbers, and lists of all these as arrays. A plain list of
floats is ``float8[]`` to psycopg, which PostgreSQL casts where it is stored in a column or written
``%s::vector``; operators do not cast: pass ``Vector(numbers)``. A binary COPY after
``copy.set_types(["vector", ...])`` takes whatever the types' classes can be made of.

Results of the three vector types are their classes, arrays of them lists. psycopg returns a ``bit`` as
a text of 0 and 1, and in binary as the bytes that ``Bit.from_binary`` reads.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, ClassVar

from lightvec import errors
from lightvec.errors import InvalidOption, MissingExtra
from lightvec.extension import TYPES_SQL, types_from
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.arrays import array_to_binary
from lightvec.types.columns import VALUES, VECTOR_TYPES, binary_encoder, field_encoder
from lightvec.types.inputs import pgvector_classes
from lightvec.types.value import read_value

try:
    import psycopg
    from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
    from psycopg.abc import AdaptContext, Buffer
    from psycopg.adapt import AdaptersMap, Dumper, Loader
    from psycopg.postgres import types as builtin_types
    from psycopg.pq import Format
    from psycopg.rows import tuple_row
    from psycopg.sql import Identifier
    from psycopg.types import TypeInfo
except ModuleNotFoundError as error:
    raise MissingExtra("psycopg", "lightvec.psycopg") from error

__all__ = ["MissingExtension", "register_vector", "register_vector_async"]

_Kind = type[Vector] | type[HalfVector] | type[SparseVector] | type[Bit]


class MissingExtension(psycopg.ProgrammingError, errors.MissingExtension):
    """pgvector is not installed in the database."""


def register_vector(context: AdaptContext, /, *, adapters: AdaptersMap | None = None) -> None:
    """Teach a :class:`psycopg.Connection`, or one cursor, the types vector, halfvec, sparsevec and bit.

    One query finds the types in any schema. Register again after the extension was recreated. With
    ``adapters``, the types are registered in that map: ``psycopg.adapters`` is that of all later
    connections, which must be to the same database. It can be the ``configure`` callback of a
    :class:`psycopg_pool.ConnectionPool`.

    Raises :class:`MissingExtension` if pgvector is not installed in the database,
    :class:`lightvec.errors.InvalidOption` for a ``context`` without such a connection.
    """
    conn = context.connection
    if not isinstance(conn, Connection):
        raise _no_connection(context, "Connection")
    with conn.transaction(), Cursor(conn, row_factory=tuple_row) as cursor:
        rows = cursor.execute(TYPES_SQL).fetchall()
    _register(adapters or context.adapters, rows)


async def register_vector_async(context: AdaptContext, /, *, adapters: AdaptersMap | None = None) -> None:
    """The same as :func:`register_vector`, of a :class:`psycopg.AsyncConnection` or a cursor of one."""
    conn = context.connection
    if not isinstance(conn, AsyncConnection):
        raise _no_connection(context, "AsyncConnection")
    async with conn.transaction(), AsyncCursor(conn, row_factory=tuple_row) as cursor:
        rows = await (await cursor.execute(TYPES_SQL)).fetchall()
    _register(adapters or context.adapters, rows)


def _no_connection(context: AdaptContext, expected: str) -> InvalidOption:
    got = type(context.connection or context).__name__
    return InvalidOption(
        f"expected a psycopg.{expected} or a cursor of one, got {got}: register_vector is for connections, "
        f"await register_vector_async(...) for asynchronous ones"
    )


def _register(adapters: AdaptersMap, rows: Sequence[tuple[Any, ...]]) -> None:
    types = types_from([[_text(value) for value in row] for row in rows])
    if "vector" not in types.oids:
        raise MissingExtension
    for name, oid in types.oids.items():
        # ClientCursor writes casts with the regtype.
        regtype = Identifier(types.schema, name).as_string()
        TypeInfo(name, oid, types.array_oids[name], regtype=regtype).register(adapters)
        adapters.register_dumper(None, _array_dumper(name, oid, types.array_oids[name]))
        for loader in _loaders(name):
            adapters.register_loader(oid, loader)
    for name, oid in {**types.oids, "bit": builtin_types["bit"].oid}.items():
        for kind in _classes(name):
            for dumper in _dumpers(name, oid):
                adapters.register_dumper(kind, dumper)


def _classes(name: str) -> Iterator[type[Any] | str]:
    """The classes of a type's values; by name where they are not loaded.

    psycopg replaces the name by the class at the first value; from then on only the class counts.
    """
    kind = VALUES[name]
    yield kind
    # The modules of pgvector's own package have the types' names.
    yield pgvector_classes().get(kind.__name__, f"pgvector.{name}.{kind.__name__}")
    if name == "vector":
        yield array
        yield getattr(sys.modules.get("numpy"), "ndarray", "numpy.ndarray")


def _text(value: Any) -> Any:
    """A text, which psycopg returns as bytes where the client encoding is SQL_ASCII."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _TextDumper(Dumper):
    kind: ClassVar[_Kind]

    def dump(self, obj: Any) -> bytes:
        return read_value(self.kind, obj).wire_text().encode()


class _BinaryDumper(Dumper):
    format = Format.BINARY
    encode: ClassVar[staticmethod[[Any], bytes]]

    def dump(self, obj: Any) -> bytes:
        return self.encode(obj)


class _TextLoader(Loader):
    kind: ClassVar[_Kind]

    def load(self, data: Buffer) -> Any:
        return self.kind.from_text(str(data, "ascii", "replace"))


class _BinaryLoader(Loader):
    format = Format.BINARY
    kind: ClassVar[_Kind]

    def load(self, data: Buffer) -> Any:
        return self.kind.from_binary(data)


# Cached: psycopg keeps every registered class, so new ones for each connection would leak.
@cache
def _dumpers(name: str, oid: int) -> tuple[type[Dumper], type[Dumper]]:
    """Text and binary; of two, psycopg takes the last one registered for ``%s``."""
    text = {"oid": oid, "kind": VALUES[name]}
    binary = {"oid": oid, "encode": staticmethod(binary_encoder(name))}
    return type(f"{name}_dumper", (_TextDumper,), text), type(f"{name}_binary_dumper", (_BinaryDumper,), binary)


@cache
def _array_dumper(name: str, oid: int, array_oid: int) -> type[Dumper]:
    """For COPY with types set; psycopg's own takes a list of numbers for a dimension of the array."""
    encode = partial(array_to_binary, encode=field_encoder(name), oid=oid, of_vectors=True)
    members = {"oid": array_oid, "encode": staticmethod(encode)}
    return type(f"{name}_array_binary_dumper", (_BinaryDumper,), members)


@cache
def _loaders(name: str) -> tuple[type[Loader], type[Loader]]:
    members = {"kind": VECTOR_TYPES[name]}
    return type(f"{name}_loader", (_TextLoader,), members), type(f"{name}_binary_loader", (_BinaryLoader,), members)
