"""The memory that building a vector index needs, by what pgvector allocates (its version 0.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isqrt

from lightvec.errors import InvalidOption
from lightvec.index_options import DEFAULTS
from lightvec.peewee.citus import shards_and_pages
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.indexes import VectorIndex
from lightvec.wire.identifiers import identifier

__all__ = ["Estimate", "estimate", "memory_size", "usual_lists"]

_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def memory_size(text: str) -> int:
    """The bytes of an amount of memory as PostgreSQL writes it: ``512MB``, ``2GB``; a bare number is in kB.

    >>> memory_size("2GB")
    2147483648
    """
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([kmgt]b)?\s*", text, re.IGNORECASE | re.ASCII)
    if found is None or not float(found[1]):
        raise InvalidOption(f"expected an amount of memory, such as 512MB or 2GB, got {text!r}")
    return int(float(found[1]) * _UNITS[(found[2] or "kb").lower()])


def usual_lists(rows: int) -> int:
    """How many lists an IVFFlat index on so many rows is to have (pgvector 0.8, README, "IVFFlat").

    >>> usual_lists(300), usual_lists(250_000), usual_lists(4_000_000)
    (1, 250, 2000)
    """
    return max(1, min(rows // 1_000 if rows <= 1_000_000 else isqrt(rows), 32_768))


@dataclass(frozen=True)
class Estimate:
    """What a build needs and has, in bytes; ``rows`` are those with a vector, counted on a sample of a large table.

    An HNSW build with too little is many times slower, an IVFFlat build fails.
    """

    rows: int
    needed: int
    allowed: int

    @property
    def fits(self) -> bool:
        """Whether the server may use as much as the build needs."""
        return self.needed <= self.allowed


_PAGES = """\
SELECT coalesce(sum(pg_catalog.pg_relation_size(relid) / current_setting('block_size')::int), 0)::bigint,
    pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem'))
FROM (SELECT to_regclass(%s) AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(%s))) tables"""

#: Pages that rows are counted on, and the most rows that a page holds (``MaxHeapTuplesPerPage``).
_SAMPLE, _ROWS_A_PAGE = 2_000, 291


def estimate(database: Pg8000Database, index: VectorIndex, maintenance_work_mem: int | None = None) -> Estimate:
    """What building this index on its table as it is now needs; ``maintenance_work_mem`` is what it will have."""
    meta = index.field.model._meta
    table = tuple(filter(None, (meta.schema, meta.table_name)))
    ((pages, allowed),) = database.execute_sql(_PAGES, (identifier(*table),) * 2).fetchall()
    shards, shards_pages = shards_and_pages(database, identifier(*table))
    rows, average = _rows(database, table, index.field.column_name, pages + shards_pages)
    if shards:
        # Each shard has a graph, or lists, of its own.
        each = _estimate(index, -(-rows // shards), average, shards_pages // shards, maintenance_work_mem or allowed)
        return replace(each, rows=rows)
    return _estimate(index, rows, average, pages, maintenance_work_mem or allowed)


def _estimate(index: VectorIndex, rows: int, average: float, pages: int, allowed: int) -> Estimate:
    size = _vector_bytes(index, average)
    if index.method == "hnsw":
        needed = rows * _hnsw_bytes(size, index._options.get("m", DEFAULTS["m"]))
    else:
        lists = index._options.get("lists", DEFAULTS["lists"])
        needed = _kmeans_bytes(size, index.field.dimensions, lists, rows, pages)
    return Estimate(rows, needed, allowed)


def _rows(database: Pg8000Database, table: tuple[str, ...], column: str, pages: int) -> tuple[int, float]:
    """The rows with a vector and the average size of one, by a sample of pages: what ANALYZE found may be long past."""
    percent = min(100.0, 100.0 * _SAMPLE / max(pages, 1))
    ((count, average),) = database.execute_sql(
        f"SELECT count({identifier(column)}), avg(pg_catalog.pg_column_size({identifier(column)})) "
        f"FROM {identifier(*table)} TABLESAMPLE SYSTEM (%s::real)",
        (percent,),
    ).fetchall()
    return round(count * 100 / percent), float(average or 0)


def _vector_bytes(index: VectorIndex, average: float) -> int:
    """The size of what is indexed of a row (pgvector 0.8, README, "Vector Type" and those of the other types)."""
    size: int = index.field.dimensions
    kind = index.operator_class.partition("_")[0]
    sizes = {"vector": 4 * size + 8, "halfvec": 2 * size + 8, "bit": -(-size // 8) + 8}
    return sizes.get(kind, round(average))


def _hnsw_bytes(size: int, m: int) -> int:
    """The memory of a row in the graph: what ``HnswInitElement`` (hnswutils.c) allocates of the structs in hnsw.h.

    An element has 128 bytes. For each level that it is on it has a pointer of 8 and an array: a head of 8 and 16 bytes
    a neighbour, ``2 * m`` on the lowest level and ``m`` above, where one row in ``m`` goes up. Each of these pieces has
    a chunk header of 8, and so has the vector.

    >>> _hnsw_bytes(4 * 768 + 8, 16)
    3787
    """
    lowest, above = 8 + 8 + 8 + 16 * 2 * m, 8 + 8 + 8 + 16 * m
    return round(128 + 8 + 8 + lowest + above / (m - 1) + size + 8)


def _kmeans_bytes(size: int, dimensions: int, lists: int, rows: int, pages: int) -> int:
    """The memory of the k-means of an IVFFlat build: ``ComputeCenters`` (ivfbuild.c), ``ElkanKmeans`` (ivfkmeans.c).

    There is room for as many samples as the pages could hold; what is kept of each is for those that there are.
    """
    room = max(1, min(max(50 * lists, 10_000), pages * _ROWS_A_PAGE))
    vectors = (2 * lists + room) * (-(-size // 8) * 8)
    return vectors + 4 * (lists * dimensions + min(room, rows) * (lists + 2) + lists * (lists + 3))
