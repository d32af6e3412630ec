"""pgvector's types for SQLAlchemy, and so for SQLModel, on any of its PostgreSQL drivers.

>>> from sqlalchemy import Column, Integer, MetaData, Table
>>> doc = Table("doc", MetaData(), Column("id", Integer), Column("embedding", VECTOR(3, metric="cosine")))
>>> print(doc.c.embedding.distance([1, 2, 3]), "|", doc.c.embedding.score([1, 2, 3]))
doc.embedding <=> :embedding_1 | :param_1 - (doc.embedding <=> :embedding_1)

Lists, tuples, arrays, NumPy arrays and lightvec's vectors are values wherever one can stand; what comes back is
:class:`lightvec.Vector` and its like. They travel as text, because the drivers of others know nothing else, and as
binary on lightvec's own wire, which also needs one round trip a query::

    create_engine("postgresql+pg8000://", module=lightvec.pg8000.dbapi)

There the connection parameters are those of :func:`lightvec.pg8000.connect`: what the URL does not say comes from
``DATABASE_URL`` and the ``PG*`` variables, ``connect_args={"dsn": "embedded:.lightvec"}`` is a server of its own.
A driver on which the types are registered (``lightvec.psycopg`` and its like) serves as well as one where they are not.

Where the database lacks the extension, the error is the one that SQLAlchemy always raises for a type that is not
there, ``sqlalchemy.exc.ProgrammingError``, with what to do about it in its text; on lightvec's wire a vector that
cannot be sent has :class:`lightvec.pg8000.exceptions.MissingExtension` as its ``orig``.

In a model of SQLModel or Pydantic a field can be annotated ``Vector``; it takes whatever makes one. In JSON it is a
list of its numbers, as it is in a field that is annotated ``Any``; a sparse vector and bits are their texts there.

Alembic compares the types by itself; ``context.configure(render_item=render_item, …)`` gives migrations the import.
Migrations that were made with pgvector's package name its modules (``pgvector.sqlalchemy.vector.VECTOR``), which stand
here under the same names.
"""

from __future__ import annotations

from lightvec.errors import MissingExtra

try:
    import sqlalchemy  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtra("sqlalchemy", "lightvec.sqlalchemy") from error

from lightvec.sqlalchemy.arrays import teach_dialects
from lightvec.sqlalchemy.bit import BIT
from lightvec.sqlalchemy.functions import avg, sum
from lightvec.sqlalchemy.halfvec import HALFVEC
from lightvec.sqlalchemy.migrations import render_item
from lightvec.sqlalchemy.remedies import explain_missing_types
from lightvec.sqlalchemy.sparsevec import SPARSEVEC
from lightvec.sqlalchemy.vector import VECTOR

__all__ = [
    "BIT",
    "HALFVEC",
    "SPARSEVEC",
    "VECTOR",
    "Bit",
    "HalfVec",
    "SparseVec",
    "Vector",
    "avg",
    "render_item",
    "sum",
]

Vector, HalfVec, SparseVec, Bit = VECTOR, HALFVEC, SPARSEVEC, BIT

teach_dialects()
explain_missing_types()
