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

Alembic compares the types by itself; ``context.configure(render_item=render_item, …)`` gives migrations the import.
"""

from __future__ import annotations

from lightvec.sqlalchemy.arrays import teach_dialects
from lightvec.sqlalchemy.functions import avg, sum
from lightvec.sqlalchemy.migrations import render_item
from lightvec.sqlalchemy.remedies import explain_missing_types
from lightvec.sqlalchemy.types import BIT, HALFVEC, SPARSEVEC, VECTOR, Bit, HalfVec, SparseVec, Vector

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

teach_dialects()
explain_missing_types()
