"""Searches for one row of each group, and for rows unlike each other, as Peewee queries."""

from __future__ import annotations

import re
from typing import Any

import pytest
from peewee import SQL, CompositeKey, IntegerField, Model, fn

from lightvec import Vector
from lightvec.errors import InvalidOption
from lightvec.peewee import HnswIndex, Pg8000Database, VectorField, run_many
from lightvec.peewee.candidates import most_diverse
from lightvec.wire.settings import AtLeast
from tests.peewee.conftest import Use
from tests.peewee.models import Author, Doc, Tag, add_documents

HERE = [2.2, 0, 0]


@pytest.fixture(autouse=True)
def tables(use: Use) -> None:
    use(Author, Doc, Tag)
    add_documents()


def per(k: int = 10, most: int = 1, **options: Any) -> Any:
    """Even documents are by Ann, odd ones by Bob."""
    return Doc.embedding.nearest(HERE, k, **options).per(Doc.author, most)


def titles(query: Any) -> list[str]:
    return [row.title for row in query]


# One of each group


def test_the_nearest_of_each() -> None:
    rows = list(per())
    assert [type(row) for row in rows] == [Doc] * 2
    assert [(row.title, row.author.name) for row in rows] == [("t2", "Ann"), ("t3", "Bob")]
    assert [row.distance for row in rows] == pytest.approx([0.2, 0.8], rel=1e-6)
    assert [row.score for row in rows] == pytest.approx([1 / 1.2, 1 / 1.8], rel=1e-6)
    assert titles(per(most=2)) == ["t2", "t3", "t1", "t4"]
    assert titles(per(3, most=2)) == ["t2", "t3", "t1"], "k is the number of rows"
    assert titles(per(most=2, exact=True)) == ["t2", "t3", "t1", "t4"]


def test_a_query_goes_on() -> None:
    assert titles(per().where(Doc.number > 2)) == ["t3", "t4"]
    assert titles(per().order_by(Doc.title.desc())) == ["t3", "t2"]
    assert titles(per(most=2).offset(1).limit(2)) == ["t3", "t1"]
    assert per().select(Doc.title).tuples()[0][:1] == ("t2",)
    assert per().select(Doc.title).dicts().get().keys() == {"title", "distance", "score"}
    assert (per().count(), per().exists(), per().get().title, per().first().title) == (2, True, "t2", "t2")
    assert titles(Doc.embedding.nearest(HERE).where(Doc.number > 2).per(Doc.author)) == ["t3", "t4"]
    by_first = Doc.embedding.nearest(HERE).per(fn.mod(Doc.number, 3))
    assert titles(by_first) == ["t2", "t3", "t1"]
    assert titles(Doc.embedding.nearest(HERE, min_score=0.5).per(Doc.author)) == ["t2", "t3"]
    assert [row.title for row in per().prefetch(Tag)] == ["t2", "t3"]


def test_a_join() -> None:
    joined = Doc.embedding.nearest(HERE).join(Author)
    assert titles(joined.per(Author.name)) == ["t2", "t3"]
    assert titles(joined.where(Author.name == "Bob").per(Author.name)) == ["t3"]
    assert [row.author.name for row in joined.select(Doc, Author).per(Doc.author)] == ["Ann", "Bob"]


def test_a_join_to_several_rows_each() -> None:
    for doc in Doc.select():
        Tag.create(doc=doc, word="more")
    joined = Doc.embedding.nearest(HERE).join(Tag, on=(Tag.doc == Doc.id)).per(Doc.author, 2)
    assert titles(joined) == ["t2", "t2", "t3", "t3", "t1", "t1", "t4", "t4"]


def test_in_another_query() -> None:
    chosen = Doc.select().where(Doc.id.in_(per().select(Doc.id))).order_by(Doc.number)
    assert titles(chosen) == ["t2", "t3"]
    near = per().alias("near")
    query: Any = Tag.select(Tag.word, near.c.distance).join(near, on=(Tag.doc == near.c.id)).order_by(near.c.distance)
    assert [word for word, _ in query.tuples()] == ["w2", "w3"]
    assert [titles(rows) for rows in run_many([per(), per(most=2)])] == [["t2", "t3"], ["t2", "t3", "t1", "t4"]]
    assert titles(Doc._meta.database.stream(per())) == ["t2", "t3"]


def test_like_a_stored_row() -> None:
    t5 = Doc.get(Doc.title == "t5")
    found = Doc.embedding.nearest(t5).per(Doc.author)
    assert {row.number % 2 for row in found} == {0, 1}
    assert "t5" not in titles(found)


def test_an_alias() -> None:
    other: Any = Doc.alias()
    assert titles(other.embedding.nearest(HERE).per(other.author)) == ["t2", "t3"]
    assert titles(other.embedding.nearest(HERE, 3, exact=True)) == ["t2", "t3", "t1"]
    assert len(other.embedding.nearest(HERE, 2, diverse=0.5)) == 2


@pytest.mark.parametrize("in_transaction", [False, True])
def test_one_round_trip(db: Pg8000Database, sent: list[bytes], in_transaction: bool) -> None:
    with db.atomic() if in_transaction else db.connection_context():
        db.extension()
        for query in (per(100), per(10, exact=True), Doc.embedding.nearest(HERE, 20, diverse=0.3, exact=False)):
            sent.clear()
            assert len(query) > 1
            assert len(sent) == 1


def test_no_vector_comes() -> None:
    query = Doc.embedding.nearest(HERE, 4, diverse=0.3).select(Doc.id).tuples()
    assert not [value for row in query for value in row if isinstance(value, (Vector, list))]


def test_as_many_candidates_as_were_asked_for(db: Pg8000Database) -> None:
    def found(query: Any) -> Any:
        context = db.get_sql_context()
        context.sql(query).query()
        return [each.settings(db) for each in context.nearest if each.settings(db)]

    (settings,) = found(per())
    assert settings["hnsw.ef_search"] == AtLeast(100, default=40)
    (settings,) = found(per(candidates=300))
    assert settings["hnsw.ef_search"] == AtLeast(300, default=40)
    (settings,) = found(per(candidates=300).offset(5))
    assert settings["hnsw.iterative_scan"] == "relaxed_order", "the candidates are sorted afterwards"
    assert found(Doc.embedding.nearest(HERE, diverse=0.5)) == []
    (settings,) = found(Doc.embedding.nearest(HERE, 20, diverse=0.5))
    assert settings["hnsw.ef_search"] == AtLeast(80, default=40)
    (settings,) = found(Doc.embedding.nearest(HERE, candidates=90))
    assert settings["hnsw.ef_search"] == AtLeast(90, default=40)


def test_too_few_groups() -> None:
    assert per(2).shortfall is None
    assert per(3).shortfall == (
        "2 of 3 rows: the 100 candidates have no more of author_id, and there may be none; "
        "candidates=1000 takes more, exact=True compares with every row"
    )
    assert per(3, exact=True).shortfall == "2 of 3 rows: no more match"
    query: Any = Doc.embedding.nearest(HERE, 2, candidates=2).where(Doc.number != 3).per(Doc.author)
    assert titles(query) == ["t2", "t1"]


def test_quantized_indexes(use: Use) -> None:
    class Coarse(Model):
        id: Any
        kind = IntegerField()
        place = VectorField(4, metric="l2")

        class Meta:
            table_name = "peewee_coarse"

    use(Coarse)
    Coarse.add_index(HnswIndex(Coarse.place, quantize="bit"))
    rows = [(n % 3, [(n >> bit) % 4 - 1.5 for bit in range(4)]) for n in range(60)]
    Coarse.insert_many(rows, fields=[Coarse.kind, Coarse.place]).execute()
    vector = [1.1, 1.2, 0.9, 1.4]
    exact: Any = Coarse.place.nearest(vector, exact=True).per(Coarse.kind)
    found: Any = Coarse.place.nearest(vector).per(Coarse.kind)
    assert [row.distance for row in found] == [row.distance for row in exact]
    assert "binary_quantize" in found.sql()[0]
    both = [Coarse.place.nearest(vector, 5, diverse=0.4, exact=value) for value in (True, False)]
    assert [row.id for row in both[0]] == [row.id for row in both[1]]


def test_a_key_of_several_columns_and_none(db: Pg8000Database) -> None:
    for key in (CompositeKey("a", "b"), False):

        class Keyed(Model):
            a = IntegerField()
            b = IntegerField()
            place = VectorField(1, metric="l2")

            class Meta:
                database = db
                primary_key = key
                table_name = "peewee_keyed"
                temporary = True

        with db.atomic() as transaction:
            Keyed.create_table()
            Keyed.insert_many([(n, n % 2, [n]) for n in range(9)], fields=[Keyed.a, Keyed.b, Keyed.place]).execute()
            found: Any = Keyed.place.nearest([3.2]).per(Keyed.b)
            assert [row.a for row in found] == [3, 4]
            diverse: Any = Keyed.place.nearest([3.2], 3, diverse=0.9)
            assert [row.a for row in diverse] == [3, 8, 0]
            transaction.rollback()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("author",), r"expected a field, such as Chunk\.document, for \.per\(\), got 'author'"),
        ((Author,), r"expected a field, such as Chunk\.document, for \.per\(\), got "),
        ((Doc.author, 0), "expected most, the rows of each author_id, to be at least 1, got 0"),
        ((Doc.author, True), "got True"),
        ((Doc.author, 1.5), "got 1.5"),
    ],
)
def test_groups_that_cannot_be(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Doc.embedding.nearest(HERE).per(*arguments)


def test_distinct_names_per() -> None:
    for query in (Doc.embedding.nearest(HERE), per()):
        with pytest.raises(InvalidOption, match=r"^distinct\(\) with fields .*: \.per\(field\) gives the nearest row"):
            list(query.distinct(Doc.author))
    ordered = Doc.embedding.nearest(HERE).distinct(Doc.author).order_by(Doc.author, SQL("distance"))
    assert titles(ordered) == ["t2", "t3"], "as before"
    assert len(Doc.embedding.nearest(HERE).distinct()) == 10


# Rows unlike each other


def test_the_next_is_far_from_those_before() -> None:
    assert titles(Doc.embedding.nearest(HERE, 4, diverse=0.01)) == ["t2", "t3", "t1", "t4"]
    assert titles(Doc.embedding.nearest(HERE, 3, diverse=1)) == ["t2", "t9", "t5"]
    rows = list(Doc.embedding.nearest(HERE, 3, diverse=1))
    assert [row.distance for row in rows] == pytest.approx([0.2, 6.8, 2.8], rel=1e-6)
    assert [row.score for row in rows] == pytest.approx([1 / 1.2, 1 / 7.8, 1 / 3.8], rel=1e-6)


def test_diverse_queries_go_on() -> None:
    query: Any = Doc.embedding.nearest(HERE, 3, diverse=1)
    assert titles(query.where(Doc.number < 7)) == ["t2", "t6", "t4"]
    assert titles(query.order_by(Doc.number)) == ["t2", "t5", "t9"]
    assert titles(query.offset(1)) == ["t9", "t5", "t0"]
    assert titles(query.limit(2)) == ["t2", "t9"]
    assert (query.get().title, query.clone().first().title) == ("t2", "t2")
    assert query.clone().select(Doc.title).tuples()[1][:1] == ("t9",)
    assert list(query.columns(Doc.title).tuples()) == [("t2",), ("t9",), ("t5",)]
    joined = Doc.embedding.nearest(HERE, 3, diverse=1).select(Doc, Author).join(Author)
    assert [(row.title, row.author.name) for row in joined] == [("t2", "Ann"), ("t9", "Bob"), ("t5", "Bob")]
    assert titles(Doc.embedding.nearest(HERE, 3, diverse=1).per(Doc.author)) == ["t2", "t3"]
    like = Doc.embedding.nearest(Doc.get(Doc.title == "t2"), 2, diverse=1)
    assert titles(like)[1:] == ["t9"]
    assert "t2" not in titles(like)


def test_too_few_rows_are_searched_for_again() -> None:
    query: Any = Doc.embedding.nearest(HERE, 3, diverse=0.5).where(Doc.number == 2)
    assert titles(query) == ["t2"]
    assert query.fallback
    assert query.shortfall == "1 of 3 rows: no more match"


def test_a_join_repeats_rows() -> None:
    for doc in Doc.select():
        Tag.create(doc=doc, word="more")
    joined = Doc.embedding.nearest(HERE, 20, diverse=0.5).join(Tag, on=(Tag.doc == Doc.id))
    assert sorted(titles(joined)) == sorted(2 * [f"t{number}" for number in range(10)])


def test_without_a_direction(use: Use) -> None:
    class Zero(Model):
        id: Any
        place = VectorField(2, metric="cosine", null=True)

        class Meta:
            table_name = "peewee_zero"

    use(Zero)
    for place in (None, [0, 0], [0, 1], [1, 0], [1, 0.1]):
        Zero.create(place=place)
    query: Any = Zero.place.nearest([1, 0.1], diverse=0.6)
    assert [row.place for row in query] == [Vector(each) for each in ([1, 0.1], [0, 1], [1, 0], [0, 0])]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diverse": -0.1}, "expected diverse from 0 to 1, got -0.1"),
        ({"diverse": 1.5}, "got 1.5"),
        ({"diverse": float("nan")}, "got nan"),
        ({"diverse": True}, "got True"),
        ({"diverse": "much"}, "got 'much'"),
        ({"candidates": 0}, "expected candidates, the number of rows to choose among, to be at least 1, got 0"),
        ({"candidates": 1.5}, "got 1.5"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Doc.embedding.nearest(HERE, **options)


def test_what_diverse_cannot_be() -> None:
    query: Any = Doc.embedding.nearest(HERE, diverse=0.3)
    for each, why in (
        (query.distinct(), "leave distinct"),
        (query.group_by(Doc.author), "leave distinct"),
        (query.limit(None), "at most 1,000, got the limit None"),
        (query.limit(1_001), "at most 1,000, got 1,001"),
        (query.offset(2_000), "got 2,010"),
        (Doc.embedding.nearest(HERE, diverse=0.3, candidates=1_001), "got 1,001"),
    ):
        with pytest.raises(InvalidOption, match=re.escape(why)):
            list(each)
    assert len(query.limit(900)) == 10


def test_nothing_to_choose_among() -> None:
    assert most_diverse([], 3, 0.5) == []
    assert list(Doc.embedding.nearest(HERE, diverse=0.3).where(Doc.number > 99)) == []
