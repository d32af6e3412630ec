"""Rows come by distance, also where an index gives them in another order and the server trusts it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from peewee import IntegerField, Model, Select

from lightvec.peewee import HnswIndex, IvfflatIndex, Pg8000Database, VectorField, run_many

ROWS, DIMENSIONS = 3_000, 16
QUERIES = np.random.default_rng(7).random((20, DIMENSIONS), "f4")


class Ordered(Model):
    id: Any
    distance: Any
    kind = IntegerField()
    listed = VectorField(DIMENSIONS, metric="l2")
    half = VectorField(DIMENSIONS, metric="l2")
    bits = VectorField(DIMENSIONS, metric="cosine")

    class Meta:
        table_name = "nearest_ordered"


Ordered.add_index(IvfflatIndex(Ordered.listed, lists=150))
Ordered.add_index(HnswIndex(Ordered.half, quantize="halfvec"))
Ordered.add_index(HnswIndex(Ordered.bits, quantize="bit"))


@pytest.fixture(scope="module")
def ordered(url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(url)
    with database.bind_ctx([Ordered]), database.connection_context():
        database.create_tables([Ordered])
        base = np.random.default_rng(1).random((ROWS, DIMENSIONS), "f4")
        kinds = np.arange(ROWS, dtype="i4") % 10
        database.connection().copy_columns(
            "nearest_ordered", {"kind": kinds, "listed": base, "half": base, "bits": base - 0.5}
        )
        for name in ("listed_l2_ivfflat", "half_l2_halfvec_hnsw", "bits_cosine_bit_hnsw"):
            database.execute_sql(f"REINDEX INDEX nearest_ordered_{name}")
        database.execute_sql("ANALYZE nearest_ordered; SET enable_seqscan = off")
        yield database
        database.drop_tables([Ordered])


def answers(rows: Any) -> Any:
    """Peewee's annotations know nothing of a row's own columns."""
    return rows


def is_sorted(distances: Any) -> bool:
    return all(one <= other for one, other in pairwise(distances))


def far(vector: Any, k: int = 60) -> Any:
    """A search for which the lists that are looked at first have too few rows."""
    return Ordered.listed.nearest(vector, k, probes=1)


def test_the_index_gives_another_order(ordered: Pg8000Database) -> None:
    """Else the other tests would show nothing: this is what the server says is in order."""
    unsorted = 0
    for vector in QUERIES:
        cursor = ordered.execute(far(vector))
        unsorted += not is_sorted(row[-1] for row in cursor.fetchall())
    assert unsorted > 5


@pytest.mark.parametrize("vector", QUERIES[:5])
def test_ivfflat(ordered: Pg8000Database, vector: Any) -> None:
    assert is_sorted(row.distance for row in far(vector))
    extended = list(far(vector).order_by_extend(Ordered.kind))
    assert is_sorted(row.distance for row in extended)
    assert len(extended) == 60
    for page in range(1, 4):
        assert is_sorted(row.distance for row in far(vector).paginate(page, 20))


@pytest.mark.parametrize("vector", QUERIES)
def test_as_a_source(ordered: Pg8000Database, vector: Any) -> None:
    found = far(vector).alias("found")
    outer = Select([found], [found.c.id, found.c.distance]).order_by(found.c.distance).bind(ordered)
    own = [(row.id, row.distance) for row in far(vector)]
    assert list(outer.tuples()) == own
    assert list(outer.limit(1).tuples()) == own[:1]
    table = far(vector).cte("found")
    of_table = Select([table], [table.c.distance]).order_by(table.c.distance).with_cte(table).bind(ordered)
    assert [row[0] for row in of_table.tuples()] == [distance for _, distance in own]


def test_a_setting_of_the_session(ordered: Pg8000Database) -> None:
    """The query does not know of it, and its rows are in order all the same."""
    ordered.execute_sql("SET ivfflat.iterative_scan = relaxed_order")
    try:
        unsorted = 0
        for vector in QUERIES:
            query = Ordered.listed.nearest(vector, 40, iterative_scan=False, probes=1)
            unsorted += not is_sorted(row[-1] for row in ordered.execute(query).fetchall())
            assert is_sorted(row.distance for row in answers(query))
        assert unsorted > 0
    finally:
        ordered.execute_sql("RESET ivfflat.iterative_scan")


def test_in_a_union(ordered: Pg8000Database) -> None:
    one, other = (far(vector).select(Ordered.id) for vector in QUERIES[:2])
    both = one.union_all(other).alias("both")
    rows = Select([both], [both.c.distance]).order_by(both.c.distance).bind(ordered).tuples()
    assert is_sorted(row[0] for row in rows)


def test_run_many(ordered: Pg8000Database) -> None:
    """The settings of one hold for the other, which then gives rows in the order of the index, too."""
    for vector in QUERIES:
        plain = Ordered.listed.nearest(vector, 30, probes=1)
        filtered = Ordered.listed.nearest(vector, 5, probes=1).where(Ordered.kind == 1)
        first, second = answers(run_many([plain, filtered]))
        assert is_sorted(row.distance for row in first)
        assert is_sorted(row.distance for row in second)


def test_a_coarser_form(ordered: Pg8000Database) -> None:
    """The order of halfvec is not that of the vectors."""
    for vector in QUERIES:
        assert is_sorted(row.distance for row in answers(Ordered.half.nearest(vector, 40)))


def test_distinct_with_a_coarser_form(ordered: Pg8000Database) -> None:
    for field in (Ordered.half, Ordered.bits):
        for vector in QUERIES:
            found = list(field.nearest(vector - 0.5, 8).select(Ordered.kind).distinct().tuples())
            plain = list(field.nearest(vector - 0.5, 8).select(Ordered.kind).tuples())
            assert [row[1] for row in answers(found)] == [row[1] for row in answers(plain)]


def test_bits_without_a_limit_and_distinct(ordered: Pg8000Database) -> None:
    vector = QUERIES[0] - 0.5
    everything = [row.distance for row in answers(Ordered.bits.nearest(vector).limit(None))]
    assert (len(everything), is_sorted(everything)) == (ROWS, True)
    assert len(Ordered.bits.nearest(vector, 10**18)) >= 40
    distinct = list(Ordered.bits.nearest(vector, 5).select(Ordered.kind).distinct())
    assert is_sorted(row.distance for row in distinct)


def test_a_row_of_zeros_has_no_neighbours(ordered: Pg8000Database) -> None:
    class Zero(Model):
        id: Any
        embedding = VectorField(2, metric="cosine")

        class Meta:
            database = ordered
            temporary = True

    Zero.create_table()
    Zero.insert_many([([0, 0],), ([1, 0],), ([0, 1],)]).execute()
    zero, other, _ = Zero.select().order_by(Zero.id)
    query: Any = Zero.embedding.nearest(zero)
    assert list(query) == []
    assert "NULL or zeros" in str(query.shortfall)
    # Nor is it one by cosine.
    found: Any = Zero.embedding.nearest(other)
    assert [row.id for row in found] == [3]


def test_equal_rows_of_an_exact_search_are_in_the_order_of_the_key(ordered: Pg8000Database) -> None:
    with ordered.atomic() as transaction:
        Ordered.update(listed=[1] * DIMENSIONS).execute()
        # Where the rows lie in the table tells nothing of the key.
        Ordered.update(kind=0).where(Ordered.id <= 5).execute()
        found = [row.id for row in Ordered.listed.nearest([0.5] * DIMENSIONS, k=3, exact=True)]
        first = [row.id for row in Ordered.select().order_by(Ordered.id).limit(3)]
        transaction.rollback()
    assert found == first
