"""Vectors that follow their texts, and the model that a column's comment names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peewee import AutoField, CharField, IntegerField, Model, TextField

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import HalfVectorField, Pg8000Database, VectorField
from lightvec.peewee.column_comments import Origin, origin_in, with_origin
from lightvec.peewee.embedding_source import source_hash
from lightvec.peewee.reflect import model_of, model_with
from lightvec.peewee.schema import plan, set_up

MODEL = "it's a 50%-\\model ü"


@pytest.fixture
def database(empty_url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        yield database


def page(name: str = MODEL, source: Any = "body", **options: Any) -> Any:
    fields: dict[str, Any] = {
        "id": AutoField(),
        "title": CharField(null=True),
        "body": TextField(null=True),
        "embedding": VectorField(3, metric="cosine", model=name, source=source, **options),
    }
    return model_with("page", fields)


def fill_all(model: Any, database: Pg8000Database) -> None:
    model.update({model.embedding_hash: source_hash(model.embedding)}).execute(database)


def pending(model: Any, database: Pg8000Database) -> list[int]:
    return sorted(row.id for row in model.embedding.pending().execute(database))


@pytest.mark.parametrize("by", ["set_up", "create_tables", "create_table"])
def test_the_comment_names_model_and_source(database: Pg8000Database, by: str) -> None:
    model = page()
    if by == "set_up":
        assert [step.name for step in set_up(database, [model]) if step.kind == "model"] == [f"page.embedding {MODEL}"]
    else:
        with database.bind_ctx([model]):
            database.create_tables([model]) if by == "create_tables" else model.create_table()
    assert all(step.exists for step in plan(database, [model]))
    reflected: Any = model_of(database, "page")
    assert (reflected.embedding.embedding_model, reflected.embedding.source) == (MODEL, ("body",))


def test_the_users_comment_stays(database: Pg8000Database) -> None:
    set_up(database, [page(source=())])
    database.execute_sql("COMMENT ON COLUMN page.embedding IS 'Of 100%% of the body.\nlightvec: soon'")
    set_up(database, [page(source=())])
    ((comment,),) = database.execute_sql("SELECT col_description('page'::regclass, 4)").fetchall()
    assert comment == with_origin("Of 100% of the body.\nlightvec: soon", Origin(MODEL))
    assert all(step.exists for step in plan(database, [page(source=())]))


@given(st.text(), st.text(min_size=1), st.lists(st.text()), st.text(min_size=1))
def test_a_comment_reads_back(users: str, model: str, source: list[str], other: str) -> None:
    origin = Origin(model, tuple(source))
    comment = with_origin(users, origin)
    assert origin_in(comment) == origin
    assert comment.startswith(users) or origin_in(users) is not None
    assert with_origin(comment, Origin(other)) == with_origin(users, Origin(other))


@pytest.mark.parametrize(
    "comment", [None, "", "lightvec: {}", 'lightvec: {"model": 1}', "lightvec: {", 'lightvec: {"model": "a"} ']
)
def test_words_that_are_no_record(comment: str | None) -> None:
    assert origin_in(comment) is None


@pytest.mark.parametrize("by", ["set_up", "create_tables"])
def test_another_model_is_refused(database: Pg8000Database, by: str) -> None:
    set_up(database, [page("old")])
    model = page("new")
    message = r"has vectors of the model old, and page.embedding says new.*lightvec switch"
    with database.bind_ctx([model]), pytest.raises(SchemaMismatch, match=message):
        set_up(database, [model]) if by == "set_up" else database.create_tables([model])
    assert pending(page("old"), database) == []


def test_nearest_checks_the_model_before_any_sql(database: Pg8000Database, sent: list[bytes]) -> None:
    model = page("new")
    sent.clear()
    with pytest.raises(SchemaMismatch, match="holds vectors of new, got one of old"):
        model.embedding.nearest([1, 2, 3], model="old")
    with pytest.raises(SchemaMismatch, match="that it does not name"):
        VectorField(3).nearest([1, 2, 3], model="old")
    assert not sent
    assert model.embedding.nearest([1, 2, 3], model="new").sql() == model.embedding.nearest([1, 2, 3]).sql()


@pytest.mark.parametrize("source", ["body", ("body",), ("title", "body")])
def test_what_makes_a_row_pending(database: Pg8000Database, source: Any) -> None:
    model = page("one", source)
    set_up(database, [model])
    with database.bind_ctx([model]):
        model.insert_many([{"title": "t", "body": "a"}, {"title": "t", "body": None}, {"body": "-"}]).execute()
        model.insert(title=None, body=None).execute()
        # A row without a text needs no vector.
        assert pending(model, database) == ([1, 3] if len(source) != 2 else [1, 2, 3])
        fill_all(model, database)
        assert pending(model, database) == []
        database.execute_sql("UPDATE page SET body = 'b' WHERE id = 1")
        assert pending(model, database) == [1]
        database.execute_sql("UPDATE page SET body = 'a' WHERE id = 1")
        assert pending(model, database) == []
        database.execute_sql("UPDATE page SET title = 'x' WHERE id = 1")
        assert pending(model, database) == ([1] if source == ("title", "body") else [])
        database.execute_sql("UPDATE page SET title = NULL, body = NULL WHERE id = 3")
        assert 3 in pending(model, database)
        assert pending(page("two", source), database)[:1] == [1]


def test_texts_do_not_run_into_each_other(database: Pg8000Database) -> None:
    model = page("one", ("title", "body"))
    set_up(database, [model])
    rows = [("ab", "c"), ("a", "bc"), ("", "abc"), (None, "abc"), ("abc", None), ("-", "abc")]
    with database.bind_ctx([model]):
        model.insert_many([{"title": title, "body": body} for title, body in rows]).execute()
        fill_all(model, database)
        assert len({row.embedding_hash for row in model.select()}) == len(rows)


@given(st.lists(st.one_of(st.none(), st.text().filter(lambda text: "\0" not in text)), min_size=2, max_size=2))
def test_the_hash_that_an_application_stores(texts: list[str | None]) -> None:
    model = page("ü", ("title", "body"))
    stored = HASHES.setdefault(tuple(texts), model.embedding.hash_of(*texts))
    assert (stored is None) == (texts == [None, None])
    assert list(HASHES.values()).count(stored) == 1


HASHES: dict[Any, Any] = {}


def test_the_server_computes_the_same_hash(database: Pg8000Database) -> None:
    for source, texts in (("body", ["ä'\\%\n"]), ("body", [None]), (("title", "body"), ["é", None])):
        model = page(source=source)
        set_up(database, [model])
        names = [source] if isinstance(source, str) else source
        values = dict(zip(names, texts, strict=True))
        with database.bind_ctx([model]):
            model.create(**values, embedding=[1, 2, 3], embedding_hash=model.embedding.hash_of(*texts))
            assert pending(model, database) == []
            model.drop_table()


def test_the_partial_index_serves(database: Pg8000Database) -> None:
    for source in ("body", ("title", "body")):
        model = page(source=source)
        set_up(database, [model])
        with database.bind_ctx([model]):
            model.insert_many([{"title": "t", "body": f"text {n}"} for n in range(2_000)]).execute()
            fill_all(model, database)
            database.execute_sql("VACUUM ANALYZE page")
            sql, values = model.embedding.pending().select(model.id).sql()
            plan_lines = [line for (line,) in database.execute_sql(f"EXPLAIN {sql}", values)]
            assert "page_embedding_pending" in plan_lines[0]
            model.drop_table()


def test_fresh_leaves_stale_rows_out(database: Pg8000Database) -> None:
    model = page("one")
    set_up(database, [model])
    with database.bind_ctx([model]):
        model.insert_many([{"body": str(n), "embedding": [n, 1, 1]} for n in range(5)]).execute()
        assert list(model.embedding.nearest([1, 1, 1], fresh=True)) == []
        fill_all(model, database)
        model.update(body="new").where(model.id == 2).execute()
        assert 2 not in {row.id for row in model.embedding.nearest([1, 1, 1], fresh=True)}
        assert 2 in {row.id for row in model.embedding.nearest([1, 1, 1])}


def test_rows_are_loaded_without_the_hash(database: Pg8000Database) -> None:
    model = page("one")
    set_up(database, [model])
    assert database.copy_rows(model, [("t", "b", [1, 2, 3]), ("t", None, None)]) == 2
    assert pending(model, database) == [1]


def test_a_subclass_has_its_own(database: Pg8000Database) -> None:
    class Base(Model):
        body = TextField()
        embedding = HalfVectorField(3, model="one", source="body")

    class Child(Base):
        extra = IntegerField(null=True)

    set_up(database, [Base, Child])
    assert all(step.exists for step in plan(database, [Base, Child]))
    names = [step.name for step in plan(database, [Child]) if step.kind == "index"]
    assert names == ["child_embedding_pending"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "body"}, "source= needs model="),
        ({"model": ""}, "expected model= to be the name"),
        ({"model": 3}, "expected model= to be the name"),
        ({"source": "nothing", "model": "one"}, "got 'nothing', which is no such field"),
        ({"source": "id", "model": "one"}, "got 'id', which is a AutoField"),
        ({"model": "one"}, "says no text that it is made of"),
    ],
)
def test_wrong_declarations(options: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"id": AutoField(), "body": TextField()}
    with pytest.raises(InvalidOption, match=message):
        model_with("wrong", {**fields, "embedding": VectorField(3, **options)}).embedding.pending()  # type: ignore[attr-defined]


def test_a_source_needs_a_primary_key(database: Pg8000Database) -> None:
    fields: dict[str, Any] = {"body": TextField(), "embedding": VectorField(3, model="one", source="body")}
    with pytest.raises(InvalidOption, match="needs one"):
        set_up(database, [model_with("keyless", fields)])


def test_a_field_of_the_users_in_place_of_the_hash() -> None:
    class Page(Model):
        body = TextField()
        embedding = VectorField(3, model="one", source="body")
        embedding_hash = TextField()

    with pytest.raises(InvalidOption, match=r"adds the column embedding_hash: expected none .* got a TextField"):
        Page.embedding.pending()


@pytest.mark.parametrize("column", ["embedding", "embedding_hash", "body"])
def test_a_column_that_was_renamed_since(database: Pg8000Database, column: str) -> None:
    """The table is read all the same, without a source."""
    set_up(database, [page()])
    database.execute_sql(f"ALTER TABLE page RENAME {column} TO other")
    reflected: Any = model_of(database, "page")
    (field,) = (each for each in reflected._meta.sorted_fields if hasattr(each, "value_class"))
    assert (field.embedding_model, field.source) == (MODEL, ())
    assert list(reflected.select().execute(database)) == []
    with pytest.raises(InvalidOption, match="says no text that it is made of"):
        field.nearest([1, 2, 3], k=1, metric="cosine", fresh=True)
