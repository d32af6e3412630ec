"""Peewee on pg8000: databases, vector fields, indexes and the nearest-neighbour query.

>>> from lightvec.peewee import Pg8000Database, VectorField
>>> class Doc(Model):
...     embedding = VectorField(3, metric="cosine")
...     class Meta:
...         database = database
...         temporary = True
>>> Doc.create_table()
>>> _ = Doc.insert_many([{"embedding": [1, 0, 0]}, {"embedding": [0, 1, 0]}]).execute()
>>> [(doc.id, doc.score) for doc in Doc.embedding.nearest([1, 0.1, 0], k=1)]  # doctest: +ELLIPSIS
[(1, 0.995...)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playhouse.db_url import register_database

from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.fields import FixedBitField, HalfVectorField, SparseVectorField, VectorField
from lightvec.peewee.functions import (
    avg,
    binary_quantize,
    l2_normalize,
    subvector,
    sum,
    vector_dims,
    vector_norm,
)
from lightvec.peewee.indexes import HnswIndex, IvfflatIndex
from lightvec.peewee.nearest import Nearest
from lightvec.peewee.pool import PooledPg8000Database

if TYPE_CHECKING:
    from lightvec.peewee.query_batch import run_many

__all__ = [
    "FixedBitField",
    "HalfVectorField",
    "HnswIndex",
    "IvfflatIndex",
    "Nearest",
    "Pg8000Database",
    "PooledPg8000Database",
    "SparseVectorField",
    "VectorField",
    "avg",
    "binary_quantize",
    "l2_normalize",
    "run_many",
    "subvector",
    "sum",
    "vector_dims",
    "vector_norm",
]

register_database(Pg8000Database, "pg8000")
register_database(PooledPg8000Database, "pg8000+pool")


def __getattr__(name: str) -> Any:
    if name == "run_many":
        from lightvec.peewee.query_batch import run_many

        return run_many
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
