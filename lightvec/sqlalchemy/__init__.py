"""pgvector's types for SQLAlchemy, and so for SQLModel, on any of its PostgreSQL drivers.

>>> from sqlalchemy import Column, Integer, MetaData, Table
>>> doc = Table("doc", MetaData(), Column("id", Integer), Column("embedding", VECTOR(3, metric="cosine")))
>>> print(doc.c.embedding.distance([1, 2, 3]), "|", doc.c.embedding.score([1, 2, 3]))
doc.embedding <=> :embedding_1 | :param_1 - (doc.embedding <=> :embedding_1)

Values are lists, tuples, arrays, NumPy arrays and lightvec's vectors; results are :class:`lightvec.Vector` and its
like. Other drivers send them as text; lightvec's own sends binary, in one round trip a query::

    create_engine("postgresql+pg8000://", module=lightvec.pg8000.dbapi)

There the connection parameters are those of :func:`lightvec.pg8000.connect`: what the URL leaves out comes from
``DATABASE_URL`` and the ``PG*`` variables, and ``connect_args={"dsn": "embedded:.lightvec"}`` is an embedded server.
A driver works with and without the types registered on it (``lightvec.psycopg`` and its like).

Where the database lacks the extension, SQLAlchemy raises its ``sqlalchemy.exc.ProgrammingError`` with the remedy in its
text; with lightvec's driver its ``orig`` is :class:`lightvec.pg8000.exceptions.MissingExtension`.

In a model of SQLModel or Pydantic a field can be annotated ``Vector``; it takes whatever makes one. In JSON, and in a
field annotated ``Any``, a vector is a list of numbers; a sparse vector and bits are texts.

Alembic compares the types by itself; ``context.configure(render_item=render_item, …)`` gives migrations the import.
The modules that migrations made with pgvector's package name (``pgvector.sqlalchemy.vector.VECTOR``) exist here, too.

``types`` has what the four types share, each of which has a module. ``comparators``: distances. ``functions``:
aggregates. ``arrays``: arrays of vectors. ``migrations``: Alembic. ``remedies``: what errors advise.
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
