"""The memory that building a vector index needs, by what pgvector allocates (its version 0.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt

from lightvec.errors import InvalidOption
from lightvec.index_options import DEFAULTS
from lightvec.peewee.citus import shard_sizes
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.indexes import VectorIndex
from lightvec.wire.identifiers import identifier

__all__ = ["Estimate", "estimate", "memory_size", "usual_lists"]

_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def memory_size(text: str) -> int:
    """The bytes of an amount of memory in PostgreSQL's notation, such as ``512MB``; a bare number is in kB.

    >>> memory_size("2GB")
    2147483648
    """
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([kmgt]b)?\s*", text, re.IGNORECASE | re.ASCII)
    if found is None or not float(found[1]):
        raise InvalidOption(f"expected an amount of memory, such as 512MB or 2GB, got {text!r}")
    return int(float(found[1]) * _UNITS[(found[2] or "kb").lower()])


def usual_lists(rows: int) -> int:
    """The lists of an IVFFlat index for this number of rows (pgvector 0.8, README, "IVFFlat").

    >>> usual_lists(300), usual_lists(250_000), usual_lists(4_000_000)
    (1, 250, 2000)
    """
    return max(1, min(rows // 1_000 if rows <= 1_000_000 else isqrt(rows), 32_768))


@dataclass(frozen=True)
class Estimate:
    """The bytes that a build needs, and ``maintenance_work_mem``; the ``rows`` of a large table are estimated.

    With less memory, an HNSW build is many times slower and an IVFFlat build fails.
    """

    rows: int
    needed: int
    allowed: int

    @property
    def fits(self) -> bool:
        """Whether the build fits in ``maintenance_work_mem``."""
        return self.needed <= self.allowed


_PAGES = """\
SELECT coalesce(sum(pg_catalog.pg_relation_size(relid) / current_setting('block_size')::int), 0)::bigint,
    pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem'))
FROM (SELECT to_regclass(%s) AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(%s))) tables"""

#: Pages of the sample, and the most rows that a page holds (``MaxHeapTuplesPerPage``).
_SAMPLE, _ROWS_A_PAGE = 2_000, 291


def estimate(database: Pg8000Database, index: VectorIndex, maintenance_work_mem: int | None = None) -> Estimate:
    """Estimate the memory for building an index, which will have ``maintenance_work_mem`` bytes."""
    meta = index.field.model._meta
    table, column = identifier(*filter(None, (meta.schema, meta.table_name))), identifier(index.field.column_name)
    ((pages, allowed),) = database.execute_sql(_PAGES, (table, table)).fetchall()
    shards = shard_sizes(database, table)
    # A sample, because the statistics of ANALYZE may be old. Its size is no parameter: Citus does not pass one on to
    # the only shard of a table.
    percent = min(100.0, 100.0 * _SAMPLE / max(pages + (shards.pages if shards else 0), 1))
    ((count, average),) = database.execute_sql(
        f"SELECT count({column}), avg(pg_catalog.pg_column_size({column})) FROM {table} "
        f"TABLESAMPLE SYSTEM ({percent:.9f})"
    ).fetchall()
    rows = rows_of_one = round(count * 100 / percent)
    if shards:
        # Each shard has an index of its own, of which the largest decides.
        rows_of_one, allowed = -(-rows * shards.largest // max(shards.pages, 1)), shards.maintenance_work_mem
        pages = shards.largest
    size, options = _vector_bytes(index, float(average or 0)), {**DEFAULTS, **index.options}
    if index.method == "hnsw":
        needed = rows_of_one * _hnsw_bytes(size, options["m"])
    else:
        needed = _kmeans_bytes(size, index.field.dimensions, options["lists"], rows_of_one, pages)
    return Estimate(rows, needed, maintenance_work_mem or allowed)


def _vector_bytes(index: VectorIndex, average: float) -> int:
    """The size of an indexed value (pgvector 0.8, README, "Vector Type" and those of the other types)."""
    size: int = index.field.dimensions
    kind = index.operator_class.partition("_")[0]
    sizes = {"vector": 4 * size + 8, "halfvec": 2 * size + 8, "bit": -(-size // 8) + 8}
    return sizes.get(kind, round(average))


def _hnsw_bytes(size: int, m: int) -> int:
    """The memory of a row in the graph: what ``HnswInitElement`` (hnswutils.c) allocates of the structs in hnsw.h.

    An element has 128 bytes; for each level a pointer of 8 and an array of a header of 8 and 16 bytes a neighbor,
    ``2 * m`` on the lowest level and ``m`` above, which one row in ``m`` reaches. Each of these, and the vector, has a
    chunk header of 8.

    >>> _hnsw_bytes(4 * 768 + 8, 16)
    3787
    """
    lowest, above = 8 + 8 + 8 + 16 * 2 * m, 8 + 8 + 8 + 16 * m
    return round(128 + 8 + 8 + lowest + above / (m - 1) + size + 8)


def _kmeans_bytes(size: int, dimensions: int, lists: int, rows: int, pages: int) -> int:
    """The memory of the k-means of an IVFFlat build: ``ComputeCenters`` (ivfbuild.c), ``ElkanKmeans`` (ivfkmeans.c).

    The samples are allocated for as many rows as the pages could hold, their bounds for the rows there are.
    """
    room = max(1, min(max(50 * lists, 10_000), pages * _ROWS_A_PAGE))
    vectors = (2 * lists + room) * (-(-size // 8) * 8)
    return vectors + 4 * (lists * dimensions + min(room, rows) * (lists + 2) + lists * (lists + 3))
