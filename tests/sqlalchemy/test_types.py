"""The types themselves: how they are written, copied, pickled, cached, attached to columns and reflected."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    cast,
    create_engine,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import lightvec.sqlalchemy
from lightvec import Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.pg8000 import connect
from lightvec.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR
from tests.sqlalchemy.conftest import DRIVERS, engine_of, item

TYPES: list[tuple[Any, str, str]] = [
    (VECTOR(), "VECTOR()", "VECTOR"),
    (VECTOR(3), "VECTOR(dim=3)", "VECTOR(3)"),
    (VECTOR(3, metric="cosine"), "VECTOR(dim=3, metric='cosine')", "VECTOR(3)"),
    (HALFVEC(2), "HALFVEC(dim=2)", "HALFVEC(2)"),
    (SPARSEVEC(9), "SPARSEVEC(dim=9)", "SPARSEVEC(9)"),
    (BIT(), "BIT()", "BIT"),
    (BIT(3, metric="hamming"), "BIT(length=3, metric='hamming')", "BIT(3)"),
    (BIT(length=8, varying=True), "BIT(length=8, varying=True)", "BIT VARYING(8)"),
]


@pytest.mark.parametrize(("made", "written", "sql"), TYPES)
def test_a_type_is_written_copied_and_pickled(made: Any, written: str, sql: str) -> None:
    again = eval(written, vars(lightvec.sqlalchemy))
    for same in (made, again, made.copy(), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (type(same), repr(same), same.get_col_spec()) == (type(made), written, sql)
        assert same.compile(dialect=postgresql.dialect()) == sql
        assert same._static_cache_key == made._static_cache_key


def test_pgvectors_names() -> None:
    names = lightvec.sqlalchemy
    assert (names.Vector, names.HalfVec, names.SparseVec, names.Bit) == (VECTOR, HALFVEC, SPARSEVEC, BIT)
    for name in names.__all__:
        assert hasattr(names, name)


@pytest.mark.parametrize("name", ["VECTOR", "HALFVEC", "SPARSEVEC", "BIT"])
def test_modules_that_pgvectors_migrations_name(name: str) -> None:
    """Alembic writes ``pgvector.sqlalchemy.vector.VECTOR(dim=3)`` into a migration."""
    module = getattr(lightvec.sqlalchemy, name.lower())  # such a migration imports the package only
    assert getattr(module, name) is getattr(lightvec.sqlalchemy, name)


def test_declarations_that_cannot_be() -> None:
    for make in (lambda: VECTOR(0), lambda: VECTOR(True), lambda: BIT(-1), lambda: VECTOR(3, metric="hamming")):
        with pytest.raises(InvalidOption):
            make()
    with pytest.raises(InvalidOption, match=r"^t\.v declares no metric: write VECTOR\(metric='l2'\)"):
        Table("t", MetaData(), Column("v", VECTOR(3))).c.v.distance([1, 2, 3])
    with pytest.raises(InvalidOption, match="'jaccard' is not a metric here"):
        item.c.dense.score([1, 2, 3], metric="jaccard")


def test_a_column_is_named_if_it_is_one() -> None:
    shared, own = VECTOR(3), VECTOR(3)
    table = Table("t", MetaData(), Column("a", shared), Column("b", shared), Column("c", own))
    assert (shared.place, own.place, VECTOR(3).place) == ("VECTOR(3)", "t.c", "VECTOR(3)")
    copied: Any = table.to_metadata(MetaData(), name="u").c.c.type
    assert copied.place == "u.c"
    with pytest.raises(InvalidVector, match=r"^t\.c expected 3 dimensions, not 1"):
        own.value([1])


def test_a_copied_column_keeps_its_variants() -> None:
    """A mixin's columns are copied, and a model that runs on SQLite in tests has a variant."""

    class Base(DeclarativeBase):
        pass

    class Embedded:
        embedding: Mapped[Any] = mapped_column(VECTOR(3).with_variant(JSON(), "sqlite"))

    class Doc(Embedded, Base):
        __tablename__ = "sqla_variant"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Doc(embedding=[1, 2, 3]))
        session.commit()
        assert session.scalars(select(Doc.embedding)).all() == [[1, 2, 3]]
        assert session.scalars(text("SELECT embedding FROM sqla_variant")).all() == ["[1, 2, 3]"]
    engine.dispose()
    adapted: Any = VECTOR(3).with_variant(JSON(), "sqlite").adapt(VECTOR)
    assert adapted.compile(dialect=sqlite.dialect()) == "JSON"


def test_statements_are_cached_by_what_they_are(wire: Engine) -> None:
    def keys(metric: str, vector: Any) -> Any:
        return select(item.c.dense.distance(vector, metric=metric))._generate_cache_key()

    assert keys("l2", [1, 2, 3]) == keys("l2", [4, 5, 6])
    assert keys("l2", [1, 2, 3]) != keys("cosine", [1, 2, 3])
    jaccard, hamming = item.c.bits.jaccard_distance("101"), item.c.bits.hamming_distance("101")
    assert select(jaccard)._generate_cache_key() != select(hamming)._generate_cache_key()
    casts = [select(cast([1, 2], VECTOR(dim)))._generate_cache_key() for dim in (2, 3)]
    assert casts[0] != casts[1]


@pytest.mark.parametrize("schema", ["extensions", "the ext.s"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_reflection_of_types_off_the_search_path(empty_url: str, driver: str, schema: str) -> None:
    with connect(empty_url) as admin:
        admin.run(
            f'CREATE SCHEMA "{schema}"; CREATE EXTENSION vector SCHEMA "{schema}";'
            f'CREATE TABLE note (id int, a "{schema}".vector(3), b "{schema}".halfvec(2)[],'
            f'c "{schema}".sparsevec, d bit(3));'
            "CREATE SCHEMA other; CREATE TYPE other.mood AS ENUM ('sad'); ALTER TABLE note ADD e other.mood"
        )
    engine = engine_of(driver.split()[0], empty_url)
    try:
        found = {column["name"]: repr(column["type"]) for column in inspect(engine).get_columns("note")}
        reflected = Table("note", MetaData(), autoload_with=engine)
    finally:
        engine.dispose()
    assert found["a"] == "VECTOR(dim=3)"
    assert "HALFVEC(dim=2)" in found["b"]
    assert (found["c"], found["d"]) == ("SPARSEVEC()", "BIT(length=3)")
    assert found["e"].startswith("ENUM(")
    assert repr(reflected.c.a.type) == "VECTOR(dim=3)"


def test_other_librarys_types_are_reflected_as_before() -> None:
    postgresql.base.ischema_names["geometry"] = JSON
    try:
        assert postgresql.dialect().ischema_names.get("geometry") is JSON
        assert postgresql.dialect().ischema_names.get("app.geometry") is None
    finally:
        del postgresql.base.ischema_names["geometry"]


def test_reflection_with_indexes(engine: Engine) -> None:
    metadata = MetaData()
    table = Table(
        "sqla_indexed",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("dense", VECTOR(3)),
        Column("half", HALFVEC(3)),
        Column("sparse", SPARSEVEC(3)),
        Column("bits", BIT(3)),
        Column("open", BIT(5, varying=True)),
        Column("pages", postgresql.ARRAY(VECTOR(3))),
        Index(
            "sqla_hnsw",
            "dense",
            postgresql_using="hnsw",
            postgresql_with={"m": 8, "ef_construction": 32},
            postgresql_ops={"dense": "vector_cosine_ops"},
        ),
        Index("sqla_ivfflat", "half", postgresql_using="ivfflat", postgresql_ops={"half": "halfvec_l2_ops"}),
    )
    quantized = func.cast(table.c.dense, HALFVEC(3)).label("dense")
    Index("sqla_cast", quantized, postgresql_using="hnsw", postgresql_ops={"dense": "halfvec_ip_ops"})
    metadata.drop_all(engine)
    metadata.create_all(engine)
    again = Table("sqla_indexed", MetaData(), autoload_with=engine)
    written = [repr(column.type) for column in again.c]
    assert written[1:6] == [repr(column.type) for column in table.c][1:6]
    pages: Any = again.c.pages.type
    assert repr(pages.item_type) == "VECTOR(dim=3)"
    indexes = {index["name"]: index["dialect_options"] for index in inspect(engine).get_indexes("sqla_indexed")}
    assert indexes["sqla_hnsw"]["postgresql_using"] == indexes["sqla_cast"]["postgresql_using"] == "hnsw"
    assert indexes["sqla_hnsw"]["postgresql_with"] == {"m": "8", "ef_construction": "32"}
    assert indexes["sqla_ivfflat"]["postgresql_using"] == "ivfflat"
    metadata.drop_all(engine)


def test_orm(engine: Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Doc(Base):
        __tablename__ = "sqla_doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        embedding: Mapped[Any] = mapped_column(VECTOR(3, metric="cosine"))
        bits: Mapped[Any] = mapped_column(BIT(3))

    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Doc(embedding=[1, 0, 0], bits="100"), Doc(embedding=np.array([0, 1, 0]), bits="010")])
        session.add_all([Doc(embedding=[number, 1, 1], bits="111") for number in range(2, 20)])
        session.commit()
        first, second = session.scalars(select(Doc).order_by(Doc.embedding.distance([1, 0, 0]), Doc.id).limit(2))
        assert (first.id, first.embedding, type(first.embedding)) == (1, [1, 0, 0], Vector)
        assert second.id == 20
        assert session.scalars(select(Doc.id).order_by(Doc.bits.jaccard_distance("010")).limit(1)).all() == [2]
        first.embedding = np.array([1, 0, 0])
        assert not session.is_modified(first)
        first.embedding = [5, 5, 5]
        assert session.is_modified(first)
        session.commit()
        assert session.get_one(Doc, 1).embedding == [5, 5, 5]
        first.embedding = [1, 2]
        with pytest.raises(Exception, match=r"sqla_doc\.embedding expected 3 dimensions, not 2"):
            session.commit()
    Base.metadata.drop_all(engine)
