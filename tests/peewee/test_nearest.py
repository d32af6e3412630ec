"""The nearest-neighbour query as a Peewee query: what it gives, and what may be done with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from logging import DEBUG
from typing import Any, cast

import numpy as np
import pytest
from peewee import (
    JOIN,
    PREFETCH_TYPE,
    SQL,
    CompositeKey,
    DoesNotExist,
    FloatField,
    IntegerField,
    Model,
    ProgrammingError,
    fn,
)

from lightvec import Vector
from lightvec.errors import InvalidOption, InvalidVector
from lightvec.metrics import METRICS
from lightvec.peewee import FixedBitField, Pg8000Database, VectorField
from tests.peewee.brute import DISTANCES, SCORES
from tests.peewee.conftest import Use
from tests.peewee.models import Author, Doc, Tag, add_documents

HERE = [2.2, 0, 0]


@pytest.fixture(autouse=True)
def tables(use: Use) -> None:
    use(Author, Doc, Tag)
    add_documents()


def nearest(k: int = 3, **options: Any) -> Any:
    """Those around 2.2: ``t2``, ``t3``, ``t1``, ``t4`` and so on."""
    return Doc.embedding.nearest(HERE, k, **options)


def titles(query: Any) -> list[str]:
    return [row.title for row in query]


# Rows


def test_models() -> None:
    rows = list(nearest())
    assert [type(row) for row in rows] == [Doc] * 3
    assert titles(rows) == ["t2", "t3", "t1"]
    assert [row.distance for row in rows] == pytest.approx([0.2, 0.8, 1.2], rel=1e-6)
    assert [row.score for row in rows] == pytest.approx([1 / 1.2, 1 / 1.8, 1 / 2.2], rel=1e-6)
    assert [row.embedding for row in rows] == [Vector([2, 0, 0]), Vector([3, 0, 0]), Vector([1, 0, 0])]


def test_dicts_tuples_and_namedtuples() -> None:
    query = nearest(1).select(Doc.title)
    near, score = pytest.approx(0.2, rel=1e-6), pytest.approx(1 / 1.2, rel=1e-6)
    assert list(query.dicts()) == [{"title": "t2", "distance": near, "score": score}]
    assert list(query.tuples()) == [("t2", near, score)]
    (row,) = query.namedtuples()
    assert (row.title, row.distance, row.score) == ("t2", near, score)
    (made,) = query.objects(dict)
    assert made == {"title": "t2", "distance": near, "score": score}


def test_iterating_twice_asks_once(sent: list[bytes]) -> None:
    query = nearest()
    sent.clear()
    assert titles(query) == titles(query) == ["t2", "t3", "t1"]
    assert len(query) == 3
    assert query[1].title == "t3"
    assert len(sent) == 1
    assert titles(query.clone()) == ["t2", "t3", "t1"]
    assert titles(nearest().iterator()) == ["t2", "t3", "t1"]


def test_ten_rows_unless_said_otherwise() -> None:
    add_documents(3)
    assert len(Doc.embedding.nearest(HERE)) == 10


@pytest.mark.parametrize(
    "vector",
    [HERE, tuple(HERE), Vector(HERE), np.array(HERE), (number for number in HERE)],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),
)
def test_vectors_in_any_form(vector: Any) -> None:
    assert titles(Doc.embedding.nearest(vector, 3)) == ["t2", "t3", "t1"]


def test_a_subquery_as_the_vector() -> None:
    like_t5 = Doc.select(Doc.embedding).where(Doc.title == "t5")
    query: Any = Doc.embedding.nearest(like_t5, 2).where(Doc.title != "t5").order_by_extend(Doc.number)
    assert titles(query) == ["t4", "t6"]


# The statement


def test_the_distance_is_named_once() -> None:
    for query in (nearest(), nearest(exact=True), nearest().select(Doc.title), nearest().where(Doc.number > 1)):
        sql, values = query.sql()
        assert (sql.count("<->"), sql.count("score")) == (1, 0)
        assert sum(isinstance(value, Vector) for value in values) == 1
        assert 'ORDER BY "distance"' in sql
    assert nearest(min_score=0.1).sql()[0].count("<->") == 2


@pytest.mark.parametrize(
    "column", [Doc.number.alias("distance"), fn.abs(Doc.number).alias("distance"), SQL("number AS distance")]
)
def test_another_column_that_is_called_distance(column: Any) -> None:
    rows = list(nearest().select(Doc.title, column).tuples())
    assert [row[:2] for row in rows] == [("t2", 2), ("t3", 3), ("t1", 1)]
    assert [row[2:] for row in rows] == [
        (pytest.approx(distance, rel=1e-6), pytest.approx(1 / (1 + distance), rel=1e-6)) for distance in (0.2, 0.8, 1.2)
    ]


def test_columns_behind_the_score_and_without_a_name() -> None:
    near, score = pytest.approx(0.2, rel=1e-6), pytest.approx(1 / 1.2, rel=1e-6)
    assert nearest(1).select(Doc.title).select_extend(Doc.number).tuples()[0] == ("t2", near, score, 2)
    assert nearest(1).select(fn.upper(Doc.title), Doc.number + 1).tuples()[0] == ("T2", 3, near, score)
    (row,) = nearest(1).select(SQL("*")).dicts()
    assert (row["title"], row["distance"], row["score"]) == ("t2", near, score)
    assert list(nearest(2).columns(Doc.title).tuples()) == [("t2",), ("t3",)]


def test_a_row_without_a_distance_has_no_score() -> None:
    query = nearest().join(Author, JOIN.RIGHT_OUTER, on=(Doc.number == Author.id + 1_000)).select(Author.name)
    assert sorted(query.tuples()) == [("Ann", None, None), ("Bob", None, None)]


# Going on with it


def test_where() -> None:
    assert titles(nearest().where(Doc.number > 2)) == ["t3", "t4", "t5"]
    assert titles(nearest().where(Doc.number > 2).where(Doc.number != 4)) == ["t3", "t5", "t6"]
    assert titles(nearest().where(Doc.title == "nothing")) == []


def test_select() -> None:
    query = nearest(1).select(Doc.title)
    (row,) = query
    assert (row.title, row.number, round(row.distance, 5)) == ("t2", None, 0.2)
    assert query.select(Doc.number).tuples()[0][0] == 2
    assert nearest(1).select_extend((Doc.number + 1).alias("next")).dicts()[0]["next"] == 3


def test_join() -> None:
    query = nearest().join(Author).where(Author.name == "Bob")
    assert titles(query) == ["t3", "t1", "t5"]


def test_join_with_a_select_of_both(sent: list[bytes]) -> None:
    query = nearest().select(Doc, Author).join(Author)
    sent.clear()
    assert [(row.title, row.author.name, round(row.distance, 5)) for row in query] == [
        ("t2", "Ann", 0.2),
        ("t3", "Bob", 0.8),
        ("t1", "Bob", 1.2),
    ]
    assert len(sent) == 1


def test_limit_offset_paginate() -> None:
    assert titles(nearest().limit(2)) == ["t2", "t3"]
    assert titles(nearest().limit(4)) == ["t2", "t3", "t1", "t4"]
    assert titles(nearest().offset(1)) == ["t3", "t1", "t4"]
    assert titles(nearest().paginate(2, 2)) == ["t1", "t4"]


def test_count_first_get_exists() -> None:
    assert nearest().count() == 3
    assert nearest().where(Doc.number > 7).count() == 2
    assert nearest().first().title == "t2"
    assert round(nearest().get().distance, 5) == 0.2
    assert nearest().exists()
    assert nearest().where(Doc.number > 99).first() is None
    assert nearest().where(Doc.number > 99).get_or_none() is None
    with pytest.raises(DoesNotExist):
        nearest().where(Doc.number > 99).get()


def test_an_alias() -> None:
    other: Any = Doc.alias()
    rows = list(other.embedding.nearest(HERE, 3))
    assert titles(rows) == ["t2", "t3", "t1"]
    assert round(rows[0].distance, 5) == 0.2
    pairs = other.embedding.nearest(Doc.embedding, 2).select(Doc.title, other.title.alias("of"))
    pairs = pairs.join(Doc, on=(Doc.number == other.number + 1)).order_by(Doc.number)
    assert [row[:2] for row in pairs.tuples()] == [("t1", "t0"), ("t2", "t1")]


@pytest.mark.parametrize("kind", [PREFETCH_TYPE.WHERE, PREFETCH_TYPE.JOIN])
def test_prefetch(kind: int, sent: list[bytes]) -> None:
    sent.clear()
    rows = nearest().prefetch(Tag, prefetch_type=kind)
    assert [(row.title, [tag.word for tag in row.tags]) for row in rows] == [
        ("t2", ["w2"]),
        ("t3", ["w3"]),
        ("t1", ["w1"]),
    ]
    assert len(sent) == 2


def test_with_related() -> None:
    row = nearest(1).with_related(Doc.author)[0]
    assert (row.title, row.author.name, round(row.distance, 5)) == ("t2", "Ann", 0.2)


def test_union() -> None:
    both = (nearest(2) | Doc.embedding.nearest([9, 0, 0], 2)).order_by(SQL("distance"))
    assert titles(both) == ["t9", "t2", "t3", "t8"]


def test_as_a_value_it_has_what_was_selected() -> None:
    chosen = Doc.select().where(Doc.id.in_(nearest().select(Doc.id))).order_by(Doc.number)
    assert titles(chosen) == ["t1", "t2", "t3"]
    by_key = Tag.select().where(Tag.doc.in_(nearest())).order_by(Tag.word)
    assert [tag.word for tag in by_key] == ["w1", "w2", "w3"]
    assert Doc.update(number=0).where(Doc.id.in_(nearest())).execute() == 3
    best = Author.select(Author.name, nearest(1).select(Doc.title).alias("best")).tuples()
    assert list(best) == [("Ann", "t2"), ("Bob", "t2")]


def test_as_a_source_it_has_distance_and_score() -> None:
    near = nearest().alias("near")
    query: Any = Tag.select(Tag.word, near.c.distance).join(near, on=(Tag.doc == near.c.id)).order_by(near.c.distance)
    assert [word for word, _ in query.tuples()] == ["w2", "w3", "w1"]
    cte = nearest().cte("near")
    assert [row[0] for row in cte.select_from(cte.c.title).order_by(cte.c.score.desc()).tuples()] == ["t2", "t3", "t1"]
    assert nearest().select_from(fn.max(SQL("distance"))).scalar() == pytest.approx(1.2, rel=1e-6)


# Scores


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine", "l1"])
@pytest.mark.parametrize("share", [0.25, 0.75])
def test_min_score(use: Use, metric: str, share: float) -> None:
    class Cloud(Model):
        id: Any
        place = VectorField(4)

        class Meta:
            table_name = "peewee_cloud"

    use(Cloud)
    random = np.random.default_rng(3)
    rows, query = random.normal(size=(40, 4)), random.normal(size=4)
    Cloud.insert_many({"place": row} for row in rows).execute()
    scores = np.sort(SCORES[metric](DISTANCES[metric](rows, query)))[::-1]
    place = int(40 * share)
    limit = float((scores[place] + scores[place + 1]) / 2)
    found: Any = Cloud.place.nearest(query, 100, metric=metric, min_score=limit)
    assert [row.score for row in found] == pytest.approx(list(scores[: place + 1]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_min_score_of_bits(use: Use, metric: str) -> None:
    class Flags(Model):
        id: Any
        bits = FixedBitField(4)

        class Meta:
            table_name = "peewee_flags"

    use(Flags)
    Flags.insert_many({"bits": f"{number:04b}"} for number in range(1, 16)).execute()
    found: Any = Flags.bits.nearest("1100", 20, metric=metric, min_score=0.5)
    expected = {
        "hamming": {"1100", "1000", "0100", "1110", "1101"},
        "jaccard": {"1100", "1000", "0100", "1110", "1101", "1111"},
    }
    assert {row.bits.to_text() for row in found} == expected[metric]
    assert next(iter(found)).score == METRICS[metric].score.of(0)


def test_a_score_that_all_rows_have_and_one_that_none_has() -> None:
    assert len(nearest(20, min_score=0)) == 10
    assert len(nearest(20, min_score=-5)) == 10
    assert len(nearest(20, min_score=1.5)) == 0


def test_rows_without_a_vector_are_no_neighbours(use: Use) -> None:
    """As an index has it, which leaves them out; a vector of zeros has no direction and comes last."""

    class Maybe(Model):
        id: Any
        place = VectorField(2, metric="cosine", null=True)

        class Meta:
            table_name = "peewee_maybe"

    use(Maybe)
    for place in (None, [0, 0], [0, 1], [1, 0]):
        Maybe.create(place=place)
    query: Any = Maybe.place.nearest([1, 0.1]).where(Maybe.id > 0)
    assert [row.place for row in query] == [Vector([1, 0]), Vector([0, 1]), Vector([0, 0])]
    assert not Maybe.place.nearest([1, 0.1]).is_filtered


def test_min_score_with_a_condition() -> None:
    assert titles(nearest(min_score=1 / 3).where(Doc.number != 2)) == ["t3", "t1", "t4"]


def test_a_column_called_score_keeps_its_name(use: Use) -> None:
    class Rated(Model):
        id: Any
        score = FloatField()
        place = VectorField(1, metric="l2")

        class Meta:
            table_name = "peewee_rated"

    use(Rated)
    Rated.create(score=7, place=[3])
    query: Any = Rated.place.nearest([2], 1)
    assert [(row.score, row.distance) for row in query] == [(7, 1)]
    by_alias = query.select(Rated.score.alias("rating")).dicts()
    assert list(by_alias) == [{"rating": 7, "distance": 1, "score": 0.5}]


# Wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "expected k, the number of rows, to be at least 1, got 0"),
        ({"k": -1}, "got -1"),
        ({"k": 1.5}, "got 1.5"),
        ({"k": True}, "got True"),
        ({"k": "3"}, "got '3'"),
        ({"iterative_scan": "fast"}, "expected iterative_scan to be .*, got 'fast'"),
        ({"iterative_scan": 1}, "got 1"),
        ({"min_score": float("nan")}, "expected min_score to be a number, got nan"),
        ({"ef_search": 0}, "expected ef_search from 1 to 1,000, got 0"),
        ({"ef_search": 1001}, "got 1001"),
        ({"probes": 0}, "expected probes from 1 to 32,768, got 0"),
        ({"metric": "near"}, "'near' is not a metric here"),
    ],
)
def test_options(options: dict[str, Any], message: str, sent: list[bytes]) -> None:
    sent.clear()
    with pytest.raises(InvalidOption, match=message):
        nearest(**options)
    assert sent == []


def test_a_vector_that_does_not_fit() -> None:
    with pytest.raises(InvalidVector, match=r"Doc\.embedding expected 3 dimensions, not 2"):
        Doc.embedding.nearest([1, 2])
    with pytest.raises(InvalidVector, match=r"Doc\.embedding\.nearest expected a vector, got None"):
        Doc.embedding.nearest(None)


def test_numpys_integers(db: Pg8000Database) -> None:
    assert len(nearest(np.int64(2))) == 2  # type: ignore[arg-type]


# The statement of a plain search is written once


def logged(caplog: pytest.LogCaptureFixture) -> tuple[str, list[Any]]:
    """What Peewee logged last: the SQL and its values."""
    sql, values = cast("Any", caplog.records[-1].msg)
    return sql, list(values)


def test_a_search_again_is_the_same_statement(db: Pg8000Database, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is added to a search, the second one has the SQL that Peewee writes for it, and its own vector."""
    shapes: list[Callable[[Any], Any]] = [
        lambda query: query,
        lambda query: query.select(Doc.id),
        lambda query: query.select(Doc.id, Doc.title),
        lambda query: query.select(Doc.title, Doc.id),
        lambda query: query.select(Doc.id, Doc.title.alias("distance")),
        lambda query: query.select(Doc.id, fn.upper(Doc.title)),
        lambda query: query.where(Doc.number > 1),
        lambda query: query.limit(3),
        lambda query: query.limit(None),
        lambda query: query.offset(0),
        lambda query: query.paginate(2, 2),
        lambda query: query.order_by(Doc.id),
        lambda query: query.order_by_extend(Doc.id),
        lambda query: query.distinct(),
        lambda query: query.join(Author, JOIN.LEFT_OUTER),
        lambda query: query.group_by(Doc.id),
        lambda query: query.for_update(),
        lambda query: query.alias("a"),
    ]
    options: list[dict[str, Any]] = [{}, {"exact": True}, {"metric": "cosine"}, {"min_score": 0.0}, {"k": 2}]
    written: dict[tuple[int, str], str] = {}
    for turn in range(3):
        for number, shape in enumerate(shapes):
            for chosen in options:
                vector = Vector([turn + 1, number, 1])
                query = shape(Doc.embedding.nearest(vector, **{"exact": False, **chosen}))
                caplog.clear()
                with caplog.at_level(DEBUG, "peewee"), suppress(ProgrammingError):  # GROUP BY and the like may not run.
                    db.execute(query)
                sql, params = logged(caplog)
                assert (sql, params) == query.sql()
                assert written.setdefault((number, str(chosen)), sql) == sql


def test_composite_keys_of_other_columns(db: Pg8000Database, use: Use) -> None:
    """Two models of one table; what Peewee calls a composite key does not say its columns."""
    fields = {"a": IntegerField(), "b": IntegerField(), "embedding": VectorField(3, metric="l2")}

    def keyed_by(*key: str) -> Any:
        meta = type("Meta", (), {"database": db, "table_name": "keyed", "primary_key": CompositeKey(*key)})
        return type("Keyed", (Model,), {**deepcopy(fields), "Meta": meta, "__module__": __name__})

    first, second = keyed_by("a", "b"), keyed_by("b", "a")
    use(first)
    first.insert(a=1, b=2, embedding=HERE).execute()
    for model, key in ((first, (1, 2)), (second, (2, 1))):
        query = model.embedding.nearest(HERE, k=1).select(model._meta.primary_key).tuples()
        assert [row[:2] for row in query] == [key]


def test_one_plan_serves_all_plain_searches(db: Pg8000Database) -> None:
    for _ in range(12):
        list(Doc.embedding.nearest([1, 2, 3], k=2).select(Doc.id))
    sql = "SELECT generic_plans > 0 FROM pg_prepared_statements WHERE statement LIKE '%%<->%%LIMIT 2'"
    assert db.execute_sql(sql).fetchall() == [(True,)]
