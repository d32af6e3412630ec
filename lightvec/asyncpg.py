"""Vectors with `asyncpg <https://magicstack.github.io/asyncpg/>`_, which sends and reads binary.

::

    conn = await asyncpg.connect(...)
    await register_vector(conn)
    await conn.execute("INSERT INTO item (embedding) VALUES ($1)", [1, 2, 3])
    await conn.fetchval("SELECT embedding FROM item")  # Vector([1.0, 2.0, 3.0])

asyncpg gets the type of each parameter from the server, so a vector parameter (in
``copy_records_to_table``, too) takes whatever makes a ``Vector``: vectors (of pgvector's own package,
too), lists, tuples, ``array.array``, NumPy arrays, and PostgreSQL's text; halfvec and sparsevec likewise.
``vector[]`` takes a list of these, or a NumPy array of rows. Anything else is asyncpg's ``DataError``
from :class:`lightvec.errors.InvalidVector`, or in a COPY the latter itself.

Results of the three vector types are their classes, arrays of them lists. A ``bit`` stays asyncpg's own:
send ``asyncpg.BitString(bits.to_text())``, and convert a result by ``Bit(result)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lightvec import errors
from lightvec.extension import TYPES_SQL, ExtensionTypes, types_from
from lightvec.types.arrays import array_from_binary, array_to_binary
from lightvec.types.columns import VECTOR_TYPES, binary_encoder, field_encoder

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

    _Connection = Connection[Any] | PoolConnectionProxy[Any]

__all__ = ["MissingExtension", "register_vector"]


class MissingExtension(errors.MissingExtension, ValueError):
    """pgvector is not installed in the database; asyncpg raises ``ValueError`` for a missing type."""


async def register_vector(conn: _Connection, /, *, schema: str = "public") -> None:
    """Teach a connection the types vector, halfvec and sparsevec, in binary.

    One query finds the types in any schema; ``schema`` is ignored: pgvector's own package has it.
    Register again after the extension was recreated. It can be the ``init`` callback of
    ``asyncpg.create_pool``.

    Raises :class:`MissingExtension` if pgvector is not installed in the database.
    """
    types = types_from(await conn.fetch(TYPES_SQL))
    if "vector" not in types.oids:
        raise MissingExtension
    for name in types.oids:
        _register_array(conn, types, name)
        await conn.set_type_codec(
            name,
            schema=types.schema,
            encoder=binary_encoder(name),
            decoder=VECTOR_TYPES[name].from_binary,
            format="binary",
        )


def _register_array(conn: _Connection, types: ExtensionTypes, name: str) -> None:
    """asyncpg's own codec takes any element with a length, such as a vector, for an array in the array."""
    # set_type_codec() refuses arrays; this is its own inner call.
    conn.get_settings().add_python_codec(
        types.array_oids[name],
        f"_{name}",
        types.schema,
        [],
        "scalar",
        partial(_array, field_encoder(name), types.oids[name]),
        partial(array_from_binary, decode=VECTOR_TYPES[name].from_binary),
        "binary",
    )


def _array(encode: Callable[[Any], bytes], oid: int, value: Any) -> bytes:
    # Like asyncpg, any iterable; the rows of an ndarray are vectors.
    rows = value if isinstance(value, (list, tuple)) else list(value)
    return array_to_binary(rows, encode, oid, of_vectors=True)
