"""Peewee on pg8000: databases, vector fields, indexes and the nearest-neighbor query.

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

- ``database``: the databases and their driver. ``_seam``: all private names of Peewee.
- ``fields`` and ``functions``: the vector fields and pgvector's functions. ``vector_values``: lists
  as vectors where Peewee does not convert values. ``generics``: bases of fields and searches.
- ``embedding_source``, ``column_comments`` and ``filling``: what vectors are made of, the models
  that make them, and :func:`fill`. ``filters``: :func:`where`, conditions from a request body.
- ``nearest``: searches and :func:`run_many`. ``quantization``: coarser forms of vectors.
  ``copy_rows``: rows by binary COPY.
- ``indexes``: index definitions. ``schema``: repeatable set-up. ``index_build``,
  ``build_progress``, ``invalid_indexes``, ``estimates`` and ``session_settings``: building an
  index. ``catalog`` and ``reflect``: what the database has; ``definitions``: tables
  as the server writes them.
- ``schema_diff``: :func:`diff`, by ``reference_tables``, the tables that models would have, and
  ``differences`` of one table, with the statements of ``alterations``. ``schema_changes``: running
  them, and migrations.
- ``playhouse_hooks`` and ``peewee_migrate_hooks``: vector fields in reflection and migrations.
  ``altered_tables``: what ALTER TABLE takes along with a vector column.
- ``distribution`` and ``citus``: distributed tables.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from playhouse.db_url import register_database

from lightvec.peewee.database import Pg8000Database, PooledPg8000Database
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
from lightvec.peewee.nearest import Nearest, run_many

if TYPE_CHECKING:
    from lightvec.peewee.filling import fill
    from lightvec.peewee.filters import where
    from lightvec.peewee.schema_diff import diff

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
    "diff",
    "fill",
    "l2_normalize",
    "run_many",
    "subvector",
    "sum",
    "vector_dims",
    "vector_norm",
    "where",
]

register_database(Pg8000Database, "pg8000")
register_database(PooledPg8000Database, "pg8000+pool")


#: Names and their modules, which a search does not need.
_MODULES = {"diff": "schema_diff", "fill": "filling", "where": "filters"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"lightvec.peewee.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
