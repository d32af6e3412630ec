"""Vector indexes: their SQL, where they may be declared, and that pgvector takes and uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from peewee import SQL, IntegerField, Model, TextField

from lightvec.errors import InvalidOption
from lightvec.index_options import usual_probes
from lightvec.metrics import METRICS
from lightvec.peewee import (
    FixedBitField,
    HalfVectorField,
    HnswIndex,
    IvfflatIndex,
    Pg8000Database,
    SparseVectorField,
    VectorField,
)
from tests.peewee.conftest import Use


class Point(Model):
    id: Any
    name = TextField()
    place = VectorField(3, metric="cosine")
    half = HalfVectorField(3, metric="l2")
    sparse = SparseVectorField(3, metric="ip")
    bits = FixedBitField(8, metric="hamming")
    bare = VectorField(3)
    loose = VectorField(metric="l2")

    class Meta:
        table_name = "peewee_point"


def sql(index: Any, db: Pg8000Database) -> str:
    with db.bind_ctx([index.field.model]):
        text, values = index.field.model._schema._create_index(index).query()
    assert values == []
    return str(text)


def indexes(db: Pg8000Database, table: str) -> dict[str, str]:
    return {index.name: index.sql.partition(" ON ")[2] for index in db.get_indexes(table)}


# SQL


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (
            HnswIndex(Point.place),
            'CREATE INDEX IF NOT EXISTS "peewee_point_place_cosine_hnsw" ON "peewee_point" '
            'USING hnsw ("place" vector_cosine_ops)',
        ),
        (
            HnswIndex(Point.half, m=8, ef_construction=32),
            'CREATE INDEX IF NOT EXISTS "peewee_point_half_l2_hnsw" ON "peewee_point" '
            'USING hnsw ("half" halfvec_l2_ops) WITH (m = 8, ef_construction = 32)',
        ),
        (
            HnswIndex(Point.sparse, metric="l1", name="mine"),
            'CREATE INDEX IF NOT EXISTS "mine" ON "peewee_point" USING hnsw ("sparse" sparsevec_l1_ops)',
        ),
        (
            IvfflatIndex(Point.bits, lists=7),
            'CREATE INDEX IF NOT EXISTS "peewee_point_bits_hamming_ivfflat" ON "peewee_point" '
            'USING ivfflat ("bits" bit_hamming_ops) WITH (lists = 7)',
        ),
        (
            HnswIndex(Point.bare, metric="ip", concurrently=True, where=(Point.name == "it's") & (Point.id > 5)),
            'CREATE INDEX CONCURRENTLY IF NOT EXISTS "peewee_point_bare_ip_hnsw" ON "peewee_point" '
            """USING hnsw ("bare" vector_ip_ops) WHERE (("name" = 'it''s') AND ("id" > 5))""",
        ),
    ],
    ids=["plain", "options", "metric and name", "ivfflat", "where and concurrently"],
)
def test_sql(index: Any, expected: str, db: Pg8000Database) -> None:
    assert sql(index, db) == expected


def test_long_names_are_cut_and_stay_apart(db: Pg8000Database) -> None:
    class Long(Model):
        embedding_of_the_title_ä = VectorField(3, metric="l2")
        embedding_of_the_title_ö = VectorField(3, metric="l2")

        class Meta:
            table_name = "a_table_with_quite_a_long_name_for_a_table"

    names = {HnswIndex(field)._name for field in (Long.embedding_of_the_title_ä, Long.embedding_of_the_title_ö)}
    assert len(names) == 2
    for name in names:
        assert len(name.encode()) <= 63
        assert name.startswith("a_table_with_quite_a_long_name_for_a_table_e"[:38])
        assert name.endswith("_l2_hnsw")


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 1}, "expected m from 2 to 100, got 1"),
        ({"m": 101}, "expected m from 2 to 100, got 101"),
        ({"m": 2.5}, "expected m from 2 to 100, got 2.5"),
        ({"ef_construction": 3}, "expected ef_construction from 4 to 1,000, got 3"),
        ({"ef_construction": 1001}, "got 1001"),
        ({"m": 40}, r"ef_construction of at least twice m \(80\), got 64"),
        ({"ef_construction": 20}, r"at least twice m \(32\), got 20"),
        ({"metric": "hamming"}, "'hamming' is not a metric here"),
    ],
)
def test_hnsw_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        HnswIndex(Point.place, **options)


@pytest.mark.parametrize("lists", [0, 32_769, "x"])
def test_ivfflat_options(lists: Any) -> None:
    with pytest.raises(InvalidOption, match="expected lists from 1 to 32,768"):
        IvfflatIndex(Point.place, lists=lists)


def test_what_pgvector_does_not_index() -> None:
    with pytest.raises(InvalidOption, match="no ivfflat index on sparsevec columns by ip; it has hnsw"):
        IvfflatIndex(Point.sparse)
    with pytest.raises(InvalidOption, match="no ivfflat index on vector columns by l1; it has hnsw"):
        IvfflatIndex(Point.place, metric="l1")
    with pytest.raises(InvalidOption, match="no ivfflat index on bit columns by jaccard; it has hnsw"):
        IvfflatIndex(Point.bits, metric="jaccard")


def test_no_metric() -> None:
    with pytest.raises(InvalidOption, match=r"Point\.bare declares no metric"):
        HnswIndex(Point.bare)


def test_no_dimensions() -> None:
    with pytest.raises(InvalidOption, match=r"Point\.loose declares no dimensions.*write VectorField\(384\)"):
        HnswIndex(Point.loose)


def test_dimension_limits() -> None:
    class Wide(Model):
        most = VectorField(2_000, metric="l2")
        half = HalfVectorField(4_000, metric="l2")
        half_over = HalfVectorField(4_001, metric="l2")
        sparse = SparseVectorField(1_000_000, metric="l2")
        over = VectorField(2_001, metric="l2")

    for field in (Wide.most, Wide.half, Wide.sparse):
        assert HnswIndex(field).operator_class.endswith("_l2_ops")
    with pytest.raises(InvalidOption, match=r"Wide\.half_over has 4001 dimensions"):
        HnswIndex(Wide.half_over)
    with pytest.raises(InvalidOption, match=r"Wide\.over has 2001 dimensions"):
        IvfflatIndex(Wide.over)


def test_an_index_by_name_needs_a_model() -> None:
    with pytest.raises(InvalidOption, match="'place' belongs to no model yet"):
        HnswIndex("place").field  # noqa: B018 (it raises)


# Declaring them


def test_on_the_field_in_meta_and_added(use: Use, db: Pg8000Database) -> None:
    class Declared(Model):
        title = TextField()
        a = VectorField(2, metric="l2", index="hnsw")
        b = HalfVectorField(2, metric="ip", index="ivfflat")
        c = VectorField(2, metric="cosine", column_name="see")

        class Meta:
            table_name = "peewee_declared"
            indexes = ((("title",), True), (("a", "title"), False), HnswIndex("c", m=4), HnswIndex("a", metric="l1"))

    Declared.add_index(HnswIndex(Declared.b, where=Declared.title == "x"))
    Declared.add_index("a vector_cosine_ops", using="hnsw", name="as_pgvector_writes_it")
    Declared.add_index(SQL("CREATE INDEX IF NOT EXISTS raw ON peewee_declared USING hnsw (see vector_l2_ops)"))
    use(Declared)
    made = indexes(db, "peewee_declared")
    declared = "public.peewee_declared USING "
    assert made.pop("peewee_declared_pkey")
    assert made == {
        "declared_title": declared + "btree (title)",
        "declared_a_title": declared + "btree (a, title)",
        "peewee_declared_a_l2_hnsw": declared + "hnsw (a vector_l2_ops)",
        "peewee_declared_a_l1_hnsw": declared + "hnsw (a vector_l1_ops)",
        "peewee_declared_b_ip_ivfflat": declared + "ivfflat (b halfvec_ip_ops)",
        "peewee_declared_see_cosine_hnsw": declared + "hnsw (see vector_cosine_ops) WITH (m='4')",
        "peewee_declared_b_ip_hnsw": declared + "hnsw (b halfvec_ip_ops) WHERE (title = 'x'::text)",
        "as_pgvector_writes_it": declared + "hnsw (a vector_cosine_ops)",
        "raw": declared + "hnsw (see vector_l2_ops)",
    }
    db.create_tables([Declared])
    schema: Any = vars(Declared)["_schema"]
    for _ in range(2):
        schema.drop_index(index=HnswIndex(Declared.c))
    assert "peewee_declared_see_cosine_hnsw" not in indexes(db, "peewee_declared")


def test_children_have_indexes_of_their_own(use: Use, db: Pg8000Database) -> None:
    class Base(Model):
        place = VectorField(2, metric="l2", index="hnsw")
        other = VectorField(2, metric="l2")

        class Meta:
            indexes = (HnswIndex("other", name="only_one"),)

    Base.add_index(HnswIndex(Base.place, metric="cosine"))

    class First(Base):
        class Meta:
            table_name = "peewee_first"

    class Second(Base):
        class Meta:
            table_name = "peewee_second"

    class Third(Second):
        class Meta:
            table_name = "peewee_third"

    use(First, Second, Third)
    for table in ("peewee_first", "peewee_second", "peewee_third"):
        assert set(indexes(db, table)) == {
            f"{table}_pkey",
            f"{table}_place_l2_hnsw",
            f"{table}_place_cosine_hnsw",
            f"{table}_other_l2_hnsw",
        }
    assert Base._meta.indexes[0]._name == "only_one"
    assert len(First._meta.fields_to_index()) == 3


def test_concurrently(use: Use, db: Pg8000Database) -> None:
    class Busy(Model):
        place = VectorField(2, metric="l2")

        class Meta:
            table_name = "peewee_busy"

    Busy.add_index(HnswIndex(Busy.place, concurrently=True))
    use(Busy)
    assert "peewee_busy_place_l2_hnsw" in indexes(db, "peewee_busy")


def test_an_index_in_a_schema(db: Pg8000Database) -> None:
    class Elsewhere(Model):
        place = VectorField(2, metric="l2", index="hnsw")

        class Meta:
            database = db
            schema = "else where"

    db.execute_sql('CREATE SCHEMA "else where"')
    try:
        db.create_tables([Elsewhere])
        db.create_tables([Elsewhere])
        assert {index.name for index in db.get_indexes("elsewhere", "else where")} == {
            "elsewhere_pkey",
            "elsewhere_place_l2_hnsw",
        }
        made: Any = Elsewhere
        made._schema.drop_indexes()
        assert {index.name for index in db.get_indexes("elsewhere", "else where")} == {"elsewhere_pkey"}
    finally:
        db.execute_sql('DROP SCHEMA "else where" CASCADE')


# What the server makes of them


class Grid(Model):
    id: Any
    number = IntegerField()
    vector = VectorField(8)
    halfvec = HalfVectorField(8)
    sparsevec = SparseVectorField(8)
    bit = FixedBitField(16)

    class Meta:
        table_name = "peewee_grid"

    FIELDS: ClassVar[tuple[str, ...]] = ("vector", "halfvec", "sparsevec", "bit")


CLASSES = [
    (method, metric.name, column)
    for metric in METRICS.values()
    for method, types in metric.indexed_types.items()
    for column in types
]


@pytest.fixture(scope="module")
def grid(url: str) -> Iterator[Pg8000Database]:
    """2,000 rows, without an index."""
    db = Pg8000Database(url)
    random = np.random.default_rng(7)
    numbers = random.normal(size=(2_000, 8))
    bits = random.integers(0, 2, size=(2_000, 16)).astype(bool)
    with db.bind_ctx([Grid]):
        db.drop_tables([Grid])
        db.create_tables([Grid])
        Grid.insert_many(
            {"number": n, "vector": row, "halfvec": row, "sparsevec": row, "bit": bits[n]}
            for n, row in enumerate(numbers)
        ).execute()
        db.execute_sql("ANALYZE peewee_grid")
        yield db
        db.drop_tables([Grid])
    db.close()


@pytest.mark.parametrize(("method", "metric", "column"), CLASSES)
def test_every_operator_class_can_be_made_and_is_used(
    grid: Pg8000Database, method: str, metric: str, column: str
) -> None:
    field: Any = getattr(Grid, column)
    cls: Any = {"hnsw": HnswIndex, "ivfflat": IvfflatIndex}[method]
    index = cls(field, metric=metric, **({"lists": 5} if method == "ivfflat" else {"m": 4, "ef_construction": 16}))
    stored = Grid.get(Grid.number == 17)
    query = field.nearest(getattr(stored, column), k=3, metric=metric)
    with grid.atomic() as transaction:
        grid.execute_sql("SET LOCAL client_min_messages = error")
        model: Any = Grid
        grid.execute(model._schema._create_index(index))
        text, values = query.sql()
        plan = "\n".join(line for (line,) in grid.execute_sql("EXPLAIN " + text, values).fetchall())
        assert f"Index Scan using {index._name}" in plan
        assert "Sort" not in plan
        assert len(list(query)) == 3
        transaction.rollback()


def test_nothing_is_missing_from_the_table(grid: Pg8000Database) -> None:
    rows = grid.execute_sql(
        "SELECT a.amname, c.opcname FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod "
        "WHERE a.amname IN ('hnsw', 'ivfflat')"
    ).fetchall()
    ours = {(method, METRICS[metric].operator_class(column, method)) for method, metric, column in CLASSES}
    assert set(rows) == ours


@pytest.mark.parametrize(
    ("lists", "plain", "filtered"),
    [(1, 1, 1), (2, 2, 2), (3, 2, 3), (4, 2, 4), (5, 3, 5), (100, 10, 40), (101, 11, 44)],
)
def test_how_many_lists_a_search_reads(lists: int, plain: int, filtered: int) -> None:
    assert (usual_probes(lists), usual_probes(lists, is_filtered=True)) == (plain, filtered)
