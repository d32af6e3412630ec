"""Hybrid search: what it gives, under conditions and in other queries, and that it beats either half."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import CompositeKey, ForeignKeyField, IntegerField, Model, TextField
from playhouse.postgres_ext import TSVectorField

from examples import data
from lightvec.errors import InvalidOption
from lightvec.peewee import IvfflatIndex, Pg8000Database, VectorField
from lightvec.peewee.nearest import settings_of
from lightvec.pg8000 import connect
from lightvec.search import hybrid
from lightvec.wire.settings import AtLeast
from tests.pg8000.roundtrips import Relay

WORDNET = Path(data.__path__[0]) / "wordnet"
#: Peewee's annotations know nothing of a model's fields.
search: Any = hybrid
OWN = ["distance", "score", "vector_rank", "text_rank"]


class Category(Model):
    name = TextField()

    class Meta:
        table_name = "hybrid_category"


class Page(Model):
    id: Any
    title = TextField(null=True)
    body = TextField()
    words = TSVectorField(null=True)
    category = ForeignKeyField(Category, null=True)
    embedding = VectorField(2, metric="cosine", index="hnsw")

    class Meta:
        table_name = "hybrid_page"


@pytest.fixture(scope="module")
def pages(url: str) -> Iterator[Pg8000Database]:
    db = Pg8000Database(url)
    with db.bind_ctx([Category, Page]), db.connection_context():
        db.create_tables([Category, Page])
        Category.insert_many([{"name": "feet"}, {"name": "head"}]).execute()
        Page.insert_many(
            [
                {"title": "A", "body": "red shoes", "category": 1, "embedding": [1, 0]},
                {"title": "B", "body": "blue shoes", "category": 1, "embedding": [0, 1]},
                {"title": "hat", "body": "something red", "category": 2, "embedding": [1, 1]},
                {"title": None, "body": "green gloves", "category": None, "embedding": [-1, 0.1]},
            ]
        ).execute()
        db.execute_sql("UPDATE hybrid_page SET words = to_tsvector('english', body)")
        yield db
        db.drop_tables([Page, Category])


def bodies(query: Any) -> list[str]:
    return [page.body for page in query]


# What it gives


def test_both_halves_add_up(pages: Pg8000Database) -> None:
    first, second, *_ = search(Page.embedding, [1, 0.1], Page.body, "red shoes")
    assert first.body == "red shoes"
    assert (first.vector_rank, first.text_rank) == (1, 1)
    assert first.score == pytest.approx(2 / 61)
    assert first.distance == pytest.approx(1 - 1 / np.hypot(1, 0.1))
    assert second.score == pytest.approx(1 / (60 + second.vector_rank) + 1 / (60 + second.text_rank))


def test_a_row_of_one_half_only(pages: Pg8000Database) -> None:
    rows = {page.body: page for page in search(Page.embedding, [1, 0.1], Page.body, "gloves")}
    assert len(rows) == 4
    assert rows["red shoes"].text_rank is None
    assert rows["red shoes"].score == pytest.approx(1 / 61)
    (page,) = search(Page.embedding, [1, 0.1], Page.body, "gloves", k=1, candidates=1, weights=(0, 1))
    assert (page.body, page.distance, page.vector_rank, page.text_rank) == ("green gloves", None, None, 1)


def test_weights(pages: Pg8000Database) -> None:
    near_and_worded = [
        bodies(search(Page.embedding, [0, 1], Page.body, "gloves", k=1, candidates=1, weights=weights))[0]
        for weights in ((2, 1), (1, 2))
    ]
    assert near_and_worded == ["blue shoes", "green gloves"]


@pytest.mark.parametrize(
    ("match", "text", "found"),
    [
        ("any", "red hat", ["red shoes", "something red"]),
        ("all", "red hat", []),
        ("all", "red shoes", ["red shoes"]),
        ("web", "shoes -red", ["blue shoes"]),
        ("web", '"something red"', ["something red"]),
        ("any", "", []),
        ("any", "it's & | ! <-> (' \\ :* ", []),
    ],
)
def test_matches(match: str, text: str, found: list[str], pages: Pg8000Database) -> None:
    query: Any = search(Page.embedding, [0, 1], Page.body, text, match=match, weights=(0, 1), language="english")
    assert sorted(page.body for page in query if page.text_rank) == found


def test_languages(pages: Pg8000Database) -> None:
    def found(language: str | None) -> list[str]:
        query: Any = search(Page.embedding, [0, 1], Page.body, "shoe", language=language)
        return sorted(page.body for page in query if page.text_rank)

    assert found("english") == found(None) == ["blue shoes", "red shoes"]
    assert found("simple") == []


def test_several_text_fields_or_a_generated_column(pages: Pg8000Database) -> None:
    several: Any = search(Page.embedding, [0, 1], [Page.title, Page.body], "hat gloves", weights=(0, 1), k=2)
    assert sorted(bodies(several)) == ["green gloves", "something red"], "a title that is NULL is no text"
    generated: Any = search(Page.embedding, [0, 1], Page.words, "gloves", weights=(0, 1), k=1)
    assert bodies(generated) == ["green gloves"]
    assert "to_tsvector" not in generated.sql()[0]


# Going on with it


def test_conditions_hold_for_both_halves(pages: Pg8000Database) -> None:
    query: Any = search(Page.embedding, [1, 0.1], Page.body, "red", k=10).where(Page.body != "red shoes")
    first: Any = query.get()
    assert (first.body, first.text_rank) == ("something red", 1)
    assert "red shoes" not in bodies(query)
    joined: Any = search(Page.embedding, [1, 0.1], Page.body, "red").join(Category).where(Category.name == "feet")
    assert [(page.body, page.vector_rank, page.text_rank) for page in joined] == [
        ("red shoes", 1, 1),
        ("blue shoes", 2, None),
    ]


def test_other_forms(pages: Pg8000Database) -> None:
    query: Any = search(Page.embedding, [1, 0.1], Page.body, "red", k=2)
    assert query.select(Page.body).dicts().get().keys() == {"body", *OWN}
    assert [row[0] for row in query.select(Page.body).tuples()] == bodies(query)
    assert (query.count(), query.get().body) == (2, "red shoes")
    assert bodies(query.offset(1).limit(1)) == bodies(query)[1:]
    assert bodies(query.order_by(Page.body.desc())) == ["something red", "red shoes"]
    ranked = query.alias("ranked")
    outer = Page.select(Page.body, ranked.c.score).join(ranked, on=ranked.c.id == Page.id).order_by(Page.id)
    assert bodies(outer) == bodies(query)


def test_one_round_trip_with_its_settings(pages: Pg8000Database, url: str) -> None:
    with Relay(url) as relay:
        db = Pg8000Database(relay.url)
        with db.bind_ctx([Page, Category]), db.connection_context():
            for _ in range(2):
                query: Any = search(Page.embedding, [1, 0], Page.body, "red", k=60, ef_search=100)
                with relay.recording() as record:
                    assert len(query) == 4
            assert record.round_trips == 1


# What cannot be


def test_a_key_of_several_columns(pages: Pg8000Database) -> None:
    class Twofold(Model):
        id = IntegerField()
        category = ForeignKeyField(Category, backref="twofold")
        body = TextField()
        embedding = VectorField(2, metric="cosine")

        class Meta:
            database = pages
            primary_key = CompositeKey("category", "id")
            table_name = "hybrid_twofold"

    Twofold.create_table()
    rows = [
        (number, category, f"{word} shoes", [category**2 + 0.3, number])
        for number, word in enumerate(("red", "blue", "green"), 1)
        for category in (1, 2)
    ]
    Twofold.insert_many(rows, fields=[Twofold.id, Twofold.category, Twofold.body, Twofold.embedding]).execute()
    found: Any = hybrid(Twofold.embedding, [1, 1], Twofold.body, "blue", k=3)
    told = [(row.category_id, row.id, row.vector_rank, row.text_rank) for row in found]
    assert told == [(1, 2, 3, 1), (2, 2, 4, 2), (1, 1, 1, None)]
    joined: Any = hybrid(Twofold.embedding, [1, 1], Twofold.body, "blue", k=3)
    joined = joined.join(Category).where(Category.name == "head")
    assert [(row.category_id, row.id) for row in joined] == [(2, 2), (2, 3), (2, 1)]
    Twofold.drop_table()


def test_calls_that_cannot_be_right(pages: Pg8000Database) -> None:
    class Keyless(Page):
        class Meta:
            primary_key = False

    for change, why in (
        ({"match": "some"}, "expected match="),
        ({"text": None}, "as a str"),
        ({"candidates": 3}, "at least k"),
        ({"weights": (1,)}, "two weights"),
        ({"weights": (0, 0)}, "not both 0"),
        ({"weights": (-1, 1)}, "at least 0"),
        ({"text_field": Category.name}, "text fields of Page"),
        ({"text_field": []}, "text fields of Page"),
        ({"text_field": [Page.words, Page.body]}, "one TSVectorField"),
        ({"field": Keyless.embedding, "text_field": Keyless.body}, "no primary key"),
    ):
        call: dict[str, Any] = {
            "field": Page.embedding, "vector": [1, 0], "text_field": Page.body, "text": "red"
        }  # fmt: skip
        with pytest.raises(InvalidOption, match=why):
            search(**call | change)


# What it is worth


class Gloss(Model):
    id = IntegerField(primary_key=True)
    text = TextField()
    embedding = VectorField(384, metric="cosine")

    class Meta:
        table_name = "hybrid_gloss"


def test_it_beats_either_half(url: str) -> None:
    """Finding a definition again, of which one word is remembered, and roughly what it says.

    The vector is the definition's own with noise that is five times as long, the word one of middling length. How well
    a search does is the mean reciprocal rank of the definition, 0 where it is not among the first 20.
    """
    with gzip.open(WORDNET / "glosses.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    matrix = np.load(WORDNET / "base.f16.npy").astype("f4")
    dice = np.random.default_rng(3)
    db = Pg8000Database(url)
    with db.bind_ctx([Gloss]), db.connection_context():
        Gloss.create_table()
        with connect(url) as conn:
            conn.copy_columns("hybrid_gloss", {"id": np.arange(len(texts)), "text": texts, "embedding": matrix})
        wanted = dice.choice(len(texts), 60, replace=False)
        ranks: dict[str, list[float]] = {name: [] for name in ("vector", "text", "both")}
        for number in wanted.tolist():
            noise = dice.normal(size=384)
            vector = matrix[number] + 5 * noise / np.linalg.norm(noise)
            words = sorted(
                {word.strip(".,;()\"'") for word in texts[number].split()}, key=lambda word: (len(word), word)
            )
            for name, weights in (("vector", (1, 0)), ("text", (0, 1)), ("both", (1, 1))):
                query: Any = search(Gloss.embedding, vector, Gloss.text, words[len(words) // 2], k=20, weights=weights)
                found = [row.id for row in query.select(Gloss.id) if row.score > 0]
                ranks[name].append(1 / (found.index(number) + 1) if number in found else 0.0)
        Gloss.drop_table()
    vector_alone, text_alone, both = (float(np.mean(ranks[name])) for name in ("vector", "text", "both"))
    print(f"mean reciprocal rank: vector {vector_alone:.3f}, text {text_alone:.3f}, both {both:.3f}")
    assert both > 1.1 * max(vector_alone, text_alone)


# What an index gives in another order


class Listed(Model):
    id = IntegerField(primary_key=True)
    text = TextField()
    embedding = VectorField(384, metric="cosine")

    class Meta:
        table_name = "hybrid_listed"


Listed.add_index(IvfflatIndex(Listed.embedding, lists=45))


def test_ivfflat_that_searches_on_gives_ranks_by_distance(url: str) -> None:
    """With lists of 45 rows an index has to search on for 50 candidates, and gives them list by list."""
    base, queries = (np.load(WORDNET / f"{name}.f16.npy").astype(np.float32) for name in ("base", "queries"))
    db = Pg8000Database(url)
    with db.bind_ctx([Listed]), db.connection_context():
        db.create_tables([Listed])
        try:
            rows = {"id": list(range(len(base))), "text": ["nothing"] * len(base), "embedding": base}
            db.connection().copy_columns("hybrid_listed", rows)
            db.execute_sql("REINDEX INDEX hybrid_listed_embedding_cosine_ivfflat")
            db.execute_sql("SET enable_seqscan = off")
            for query in queries:
                found = list(search(Listed.embedding, query, Listed.text, "quagga", 50))
                distances = [row.distance for row in sorted(found, key=lambda row: row.vector_rank)]
                assert distances == sorted(distances)
                assert [row.vector_rank for row in found] == list(range(1, 51))
        finally:
            db.drop_tables([Listed])


def test_a_condition_has_ivfflat_search_more_lists(pages: Pg8000Database) -> None:
    with pages.bind_ctx([Listed]):
        query: Any = search(Listed.embedding, [1.0] * 384, Listed.text, "quagga")
        for each, probes in ((query, 7), (query.where(Listed.id < 9), 28)):
            context: Any = pages.get_sql_context()
            context.sql(each)
            assert dict(settings_of(context.nearest, pages) or {})["ivfflat.probes"] == AtLeast(probes, default=1)


# Arguments, limits, joins


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"k": -1},
        {"k": 2.5},
        {"k": "5"},
        {"k": None},
        {"k": True},
        {"candidates": True},
        {"weights": None},
        {"weights": (float("inf"), 1)},
        {"weights": (float("nan"), 1)},
    ],
)
def test_more_arguments_that_cannot_be(pages: Pg8000Database, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="expected"):
        search(Page.embedding, [1, 0], Page.body, "red", **options)


def test_candidates_follow_the_limit(pages: Pg8000Database) -> None:
    class Many(Model):
        body = TextField()
        embedding = VectorField(2, metric="cosine")

        class Meta:
            database = pages
            temporary = True

    Many.create_table()
    Many.insert_many([("red", [1, n]) for n in range(300)]).execute()
    query = search(Many.embedding, [1, 0], Many.body, "red", 10)
    assert len(query.limit(200)) == 200
    assert len(query.limit(None)) == 300
    paged = [row.id for page in range(1, 11) for row in query.paginate(page, 30)]
    assert sorted(paged) == list(range(1, 301))


def test_equal_rows_are_in_the_order_of_the_key(pages: Pg8000Database) -> None:
    """Also where an update has moved them: a LIMIT among equals takes the same ones in each run."""

    class Equal(Model):
        id: Any
        body = TextField()
        embedding = VectorField(2, metric="l2")

        class Meta:
            database = pages
            temporary = True

    Equal.create_table()
    # Each second row is as near as the others, and each row is as good a match.
    Equal.insert_many([("red", [1, n % 2]) for n in range(200)]).execute()

    def found(**options: Any) -> list[tuple[Any, ...]]:
        query = search(Equal.embedding, [1, 0], Equal.body, "red", 10, candidates=20, **options)
        return [(row.id, row.vector_rank, row.text_rank) for row in query]

    first = found()
    Equal.update(body="red").where(Equal.id < 60).execute()
    assert found() == found(exact=True) == first
    assert [row for row, *_ in first] == list(range(1, 20, 2))
    assert [row for row, *_ in found(weights=(0, 1))] == list(range(1, 11))


def test_as_a_value_it_is_what_was_selected(pages: Pg8000Database) -> None:
    found = search(Page.embedding, [1, 0.1], Page.body, "red shoes", 2)
    assert bodies(Page.select().where(Page.id.in_(found.select(Page.id))).order_by(Page.id)) == [
        "red shoes",
        "blue shoes",
    ]
    assert len(Page.select().where(Page.id.in_(found))) == 2


def test_a_join_to_several_rows_each(pages: Pg8000Database) -> None:
    """It says which rows there are and how often each one comes, not what ranks they have."""

    class Tag(Model):
        page = ForeignKeyField(Page)
        name = TextField()

        class Meta:
            database = pages
            table_name = "hybrid_tag"

    Tag.create_table()
    try:
        Tag.insert_many([(1, "a"), (1, "b"), (1, "c"), (2, "a"), (3, "a")]).execute()
        alone = {page.id: page for page in search(Page.embedding, [1, 0.1], Page.body, "red shoes").where(Page.id < 4)}
        joined = list(search(Page.embedding, [1, 0.1], Page.body, "red shoes").join(Tag))
        assert [page.id for page in joined] == [page for page in alone for _ in range(3 if page == 1 else 1)]
        for page in joined:
            own = alone[page.id]
            assert (page.vector_rank, page.text_rank, page.score) == (own.vector_rank, own.text_rank, own.score)
        named = search(Page.embedding, [1, 0.1], Page.body, "red shoes").join(Tag).where(Tag.name == "b")
        assert bodies(named) == ["red shoes"]
    finally:
        Tag.drop_table()


def test_one_row_of_each_group(pages: Pg8000Database) -> None:
    query: Any = search(Page.embedding, [1, 0.1], Page.body, "red shoes")
    every = list(query)
    found = list(query.per(Page.category))
    firsts = [next(row for row in every if row.category_id == each) for each in (1, 2, None)]
    assert [page.body for page in found] == ["red shoes", "something red", "green gloves"]
    own = [[getattr(page, name) for name in OWN] for page in found]
    assert own == [[getattr(page, name) for name in OWN] for page in firsts]
    assert bodies(query.per(Page.category, 2)) == [page.body for page in every]
    joined = query.join(Category).per(Category.name)
    assert bodies(joined) == ["red shoes", "something red"]
    assert bodies(joined.where(Category.name == "head")) == ["something red"]
    assert query.per(Page.category).count() == 3
    assert bodies(query.per(Page.category).limit(1).offset(1)) == ["something red"]
    assert query.per(Page.category).select(Page.body).dicts().get().keys() == {"body", *OWN}
    assert query.shortfall is None
    assert query.per(Page.category).shortfall == (
        "3 of 10 rows: the 100 candidates have no more of category_id, and there may be none; "
        "candidates=1000 takes more"
    )
    assert query.per(Page.category).limit(3).shortfall is None
    assert bodies(search(Page.embedding, [1, 0], Page.body, "red", 1, candidates=1).per(Page.category)) == ["red shoes"]


def test_per_repeats_a_row_only_for_a_join(pages: Pg8000Database) -> None:
    class Word(Model):
        page = IntegerField()
        name = TextField()

        class Meta:
            database = pages
            temporary = True

    Word.create_table()
    Word.insert_many([(page, name) for page in (1, 2, 3) for name in "ab"]).execute()
    joined: Any = search(Page.embedding, [1, 0.1], Page.body, "red shoes").join(Word, on=(Word.page == Page.id))
    grouped = joined.per(Page.category)
    assert bodies(grouped) == ["red shoes", "red shoes", "something red", "something red"]
    assert bodies(grouped.where(Word.name == "a")) == ["red shoes", "something red"]


def test_diverse_is_of_a_search_by_vector_only(pages: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match="leave diverse out"):
        list(search(Page.embedding, [1, 0.1], Page.body, "red shoes", diverse=0.5))


def test_per_on_real_embeddings(url: str) -> None:
    """Against ranks and groups that Python makes of the whole result."""
    base = np.load(WORDNET / "base.f16.npy").astype(np.float32)[:600]
    with gzip.open(WORDNET / "glosses.jsonl.gz", "rt") as lines:
        texts = [json.loads(line)["text"] for line in lines][:600]

    class Part(Model):
        id: Any
        group = IntegerField()
        body = TextField()
        embedding = VectorField(384, metric="cosine")

        class Meta:
            database = Pg8000Database(url)
            temporary = True

    with Part._meta.database.connection_context():
        Part.create_table()
        rows = ((n % 40, text, vector) for n, (text, vector) in enumerate(zip(texts, base, strict=True)))
        Part._meta.database.copy_rows(Part, rows, [Part.group, Part.body, Part.embedding])
        query: Any = search(Part.embedding, base[7], Part.body, texts[7], k=600, candidates=600)
        every = [(row.id, row.group, row.score) for row in query]
        firsts: dict[int, Any] = {}
        for row in every:
            firsts.setdefault(row[1], row)
        found = [(row.id, row.group, row.score) for row in query.per(Part.group)]
        assert found == list(firsts.values())
