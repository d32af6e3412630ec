"""Indexes of coarser forms: what is declared, what is chosen by itself, and that the query finds them and is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peewee import CompositeKey, ForeignKeyField, IntegerField, Model, TextField

from lightvec.errors import InvalidOption
from lightvec.peewee import HalfVectorField, HnswIndex, IvfflatIndex, Pg8000Database, SparseVectorField, VectorField
from lightvec.peewee.reflect import model_of

DIMENSIONS = 64
ROWS = 3_000
_rng = np.random.default_rng(5)
#: Around centres, as embeddings lie: bits say nothing about points that lie anywhere.
MATRIX = (_rng.normal(size=(30, DIMENSIONS)).repeat(ROWS // 30, 0) + _rng.normal(size=(ROWS, DIMENSIONS))).astype("f4")


class Coarse(Model):
    id: Any
    distance: float
    number = IntegerField()
    half = VectorField(DIMENSIONS, metric="l2")
    bits = VectorField(DIMENSIONS, metric="cosine")
    half_bits = HalfVectorField(DIMENSIONS, metric="cosine")

    class Meta:
        table_name = "coarse"
        indexes = (
            HnswIndex("half", quantize="halfvec"),
            HnswIndex("bits", quantize="bit", m=8),
            IvfflatIndex("half_bits", quantize="bit", lists=4),
        )


class Note(Model):
    coarse = ForeignKeyField(Coarse)
    text = TextField()

    class Meta:
        table_name = "coarse_note"


@pytest.fixture(scope="module")
def filled(url: str) -> Iterator[Pg8000Database]:
    db = Pg8000Database(url)
    with db.bind_ctx([Coarse, Note]), db.connection_context():
        db.create_tables([Coarse, Note])
        rows = [{"number": n, "half": v, "bits": v, "half_bits": v} for n, v in enumerate(MATRIX)]
        db.copy_rows(Coarse, rows)
        Note.insert_many([{"coarse": n, "text": str(n % 2)} for n in range(1, 101) for _ in range(2)]).execute()
        db.execute_sql("ANALYZE coarse")
        yield db
        db.drop_tables([Note, Coarse])


def plan(query: Any, db: Pg8000Database) -> str:
    sql, values = query.sql()
    with db.atomic():
        db.execute_sql("SET LOCAL enable_seqscan = off")
        return "\n".join(row[0] for row in db.execute_sql(f"EXPLAIN (COSTS off) {sql}", values).fetchall())


FIELDS = [("half", "coarse_half_l2_halfvec_hnsw"), ("bits", "coarse_bits_cosine_bit_hnsw")]


@pytest.mark.parametrize(
    ("name", "index"), [*FIELDS, ("half_bits", "coarse_half_bits_cosine_bit_ivfflat")], ids=lambda value: value
)
def test_the_query_finds_the_index(name: str, index: str, filled: Pg8000Database) -> None:
    field: Any = getattr(Coarse, name)
    assert index in plan(field.nearest(MATRIX[0], 5), filled)
    assert index not in plan(field.nearest(MATRIX[0], 5, exact=True), filled)


@pytest.mark.parametrize(("name", "index"), FIELDS)
def test_it_finds_what_is_nearest(name: str, index: str, filled: Pg8000Database) -> None:
    field: Any = getattr(Coarse, name)
    found = shared = 0
    for number in range(0, ROWS, 100):
        rows = list(field.nearest(MATRIX[number], 10))
        exact = list(field.nearest(MATRIX[number], 10, exact=True))
        distances = [row.distance for row in rows]
        assert rows[0].number == number
        assert distances == sorted(distances), "by the whole vector"
        assert [row.distance for row in rows if row in exact] == [row.distance for row in exact if row in rows]
        found += len(rows)
        shared += len(set(rows) & set(exact))
    assert found == ROWS // 10
    assert shared / found > 0.95


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_an_index_of_bits_serves_each_metric_that_bits_are_for(metric: str, filled: Pg8000Database) -> None:
    models: list[Any] = [Coarse, model_of(filled, "coarse")]
    for model in models:
        found, exact = (model.bits.nearest(MATRIX[7], 10, metric=metric, exact=exact) for exact in (False, True))
        assert "coarse_bits_cosine_bit_hnsw" in plan(found, filled)
        assert [row.distance for row in found] == sorted(row.distance for row in found)
        assert len({row.id for row in found} & {row.id for row in exact}) >= 9
        assert "coarse_bits_cosine_bit_hnsw" not in plan(model.bits.nearest(MATRIX[7], 10, metric="l1"), filled)


def test_equal_rows_are_in_the_order_of_the_key(filled: Pg8000Database) -> None:
    with filled.atomic() as transaction:
        Coarse.update(bits=MATRIX[7]).where(Coarse.number < 8).execute()
        # Where the rows lie in the table tells nothing of the key.
        Coarse.update(half=MATRIX[7]).where(Coarse.number < 4).execute()
        found = [row.number for row in Coarse.bits.nearest(MATRIX[7], 3)]
        transaction.rollback()
    assert found == [0, 1, 2]


def test_an_index_on_the_vectors_comes_before_one_of_bits(filled: Pg8000Database) -> None:
    class Both(Model):
        bits = VectorField(DIMENSIONS, metric="l2")

        class Meta:
            database = filled
            table_name = "coarse"
            indexes = (HnswIndex("bits", quantize="bit", metric="cosine"), HnswIndex("bits"))

    assert "binary_quantize" not in Both.bits.nearest(MATRIX[7], 5).sql()[0]
    assert "binary_quantize" in Both.bits.nearest(MATRIX[7], 5, metric="cosine").sql()[0]


def test_a_model_of_a_table_with_bits_and_another_metric(db: Pg8000Database) -> None:
    with db.connection_context(), db.atomic() as transaction:
        db.execute_sql("CREATE TABLE both_kinds (e vector(3))")
        db.execute_sql("CREATE INDEX ON both_kinds USING hnsw ((binary_quantize(e)::bit(3)) bit_hamming_ops)")
        db.execute_sql("CREATE INDEX ON both_kinds USING hnsw (e vector_l1_ops)")
        field: Any = model_of(db, "both_kinds").e  # type: ignore[attr-defined]
        assert field.metric == "l1"
        assert "binary_quantize" not in field.nearest([1, 2, 3]).sql()[0]
        assert "binary_quantize" in field.nearest([1, 2, 3], metric="l2").sql()[0]
        transaction.rollback()


def test_with_filters_joins_offsets_and_in_other_queries(filled: Pg8000Database) -> None:
    query: Any = Coarse.bits.nearest(MATRIX[7], 5)
    exact: Any = Coarse.bits.nearest(MATRIX[7], 5, exact=True)
    for change in (
        lambda each: each.where(Coarse.number > 2_900),
        lambda each: each.offset(3),
        lambda each: each.limit(1),
        lambda each: each.join(Note, on=Note.coarse == Coarse.id).where(Note.text == "1"),
        lambda each: Coarse.select(Coarse.number).where(Coarse.id.in_(each.select(Coarse.id))),
        lambda each: each.select(Coarse.number).dicts(),
    ):
        got, wanted = (sorted(map(key, change(each))) for each in (query, exact))
        assert len(got) == len(wanted)
        assert len(set(got) ^ set(wanted)) <= 2, "one of them may be another"
    assert query.count() == 5
    assert query.get().number == 7


def key(row: Any) -> int:
    return int(row["number"] if isinstance(row, dict) else row.number)


def test_without_a_key_of_one_column(filled: Pg8000Database) -> None:
    class Keyless(Model):
        number = IntegerField()
        bits = VectorField(DIMENSIONS, metric="cosine")

        class Meta:
            database = filled
            table_name = "coarse"
            primary_key = False
            indexes = (HnswIndex("bits", quantize="bit"),)

    class Composite(Keyless):
        class Meta:
            database = filled
            table_name = "coarse"
            primary_key = CompositeKey("number", "bits")

    for model in (Keyless, Composite):
        found: Any = model.bits.nearest(MATRIX[9], 1)
        assert [row.number for row in found] == [9]


def test_a_model_of_the_table_knows_them(filled: Pg8000Database) -> None:
    model: Any = model_of(filled, "coarse")
    assert (model.half.metric, model.bits.metric, model.half_bits.metric) == ("l2", None, None)
    assert "coarse_half_l2_halfvec_hnsw" in plan(model.half.nearest(MATRIX[0], 5), filled)
    assert "coarse_bits_cosine_bit_hnsw" in plan(model.bits.nearest(MATRIX[0], 5, metric="cosine"), filled)


def test_an_index_on_the_vectors_themselves_comes_first(db: Pg8000Database) -> None:
    class Both(Model):
        v = VectorField(3, metric="l2", index="hnsw")

        class Meta:
            database = db
            indexes = (HnswIndex("v", quantize="halfvec"),)

    assert "halfvec" not in Both.v.nearest([1, 2, 3]).sql()[0]


# What is chosen by itself


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (VectorField(2_000, metric="l2", index="hnsw"), "big_v_l2_hnsw"),
        (VectorField(2_001, metric="l2", index="hnsw"), "big_v_l2_halfvec_hnsw"),
        (VectorField(4_000, metric="ip", index="ivfflat"), "big_v_ip_halfvec_ivfflat"),
        (VectorField(4_001, metric="cosine", index="hnsw"), "big_v_cosine_bit_hnsw"),
        (HalfVectorField(4_001, metric="cosine", index="hnsw"), "big_v_cosine_bit_hnsw"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_finest_that_an_index_takes(field: Any, name: str, db: Pg8000Database) -> None:
    class Big(Model):
        v = field

        class Meta:
            database = db

    (index,) = Big._meta.indexes
    assert index._name == name
    assert bool(index.note) == (field.dimensions > 2_000)
    vector = np.ones(field.dimensions)
    with db.atomic() as transaction:
        Big.create_table()
        Big.insert(v=vector).execute()
        assert [row.distance for row in Big.v.nearest(vector)] == [
            pytest.approx(-field.dimensions if "ip" in name else 0)
        ]
        assert name in plan(Big.v.nearest(vector), db)
        transaction.rollback()


# What there is not


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: HnswIndex("v", quantize="half"), "expected quantize='halfvec' or quantize='bit'"),
        (lambda: HnswIndex(bound(HalfVectorField(3, metric="l2")), quantize="halfvec"), "leave quantize out"),
        (lambda: HnswIndex(bound(SparseVectorField(3, metric="l2")), quantize="bit"), "for vector and halfvec columns"),
        (lambda: HnswIndex(bound(VectorField(3, metric="l1")), quantize="bit"), "by l2, ip, cosine"),
        (lambda: IvfflatIndex(bound(VectorField(3, metric="l1")), quantize="halfvec"), "no ivfflat index"),
        (lambda: HnswIndex(bound(VectorField(3_072, metric="l2"))), "say quantize='halfvec'"),
        (lambda: HnswIndex(bound(VectorField(5_000, metric="l2")), quantize="halfvec"), "say quantize='bit'"),
        (lambda: HnswIndex(bound(VectorField(metric="l2")), quantize="bit"), "declares no dimensions"),
    ],
)
def test_what_cannot_be(make: Any, why: str) -> None:
    with pytest.raises(InvalidOption, match=why):
        make()


def bound(field: Any) -> Any:
    class Owner(Model):
        v = field

    return Owner.v
