"""fill(): each vector is of its row's present text, whoever else works on the table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from peewee import AutoField, CharField, CompositeKey, IntegerField, TextField

from lightvec.errors import InvalidOption, InvalidVector, SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField, fill
from lightvec.peewee.filling import Filled, adopt, count_pending
from lightvec.peewee.reflect import model_with
from lightvec.peewee.schema import plan, set_up
from lightvec.pg8000 import connect


def vector_of(text: str) -> list[float]:
    return [len(text), sum(text.encode()) % 1_000, 1]


def embed(texts: list[str]) -> list[list[float]]:
    return [vector_of(text) for text in texts]


@pytest.fixture
def database(empty_url: str) -> Iterator[Pg8000Database]:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        yield database


def page(database: Pg8000Database | None, name: str = "one", source: Any = "body") -> Any:
    fields: dict[str, Any] = {
        "id": AutoField(),
        "title": CharField(null=True),
        "body": TextField(null=True),
        "embedding": VectorField(3, metric="l2", model=name, source=source, index="hnsw"),
    }
    return model_with("page", fields, database=database)


@pytest.fixture
def pages(database: Pg8000Database) -> Any:
    """A hundred pages without a vector."""
    model = page(database)
    set_up(database, [model])
    model.insert_many([{"body": f"text {number}"} for number in range(100)]).execute()
    return model


def wrong_rows(model: Any) -> list[int]:
    """The rows whose vector is not that of their text."""
    rows = model.select(model.id, model.body, model.embedding).tuples()
    return [key for key, text, vector in rows if vector != (vector_of(text) if text and text.strip() else None)]


def test_all_rows_are_filled(pages: Any) -> None:
    assert count_pending(pages.embedding).rows == 100
    assert count_pending(pages.embedding).characters == sum(len(f"text {number}") for number in range(100))
    assert fill(pages.embedding, embed, batch=7) == Filled(written=100)
    assert wrong_rows(pages) == []
    assert fill(pages.embedding, embed) == Filled()
    pages.update(body="other").where(pages.id > 90).execute()
    assert fill(pages.embedding, embed) == Filled(written=10)
    assert wrong_rows(pages) == []


def test_a_row_without_a_text_gets_no_vector(pages: Any) -> None:
    fill(pages.embedding, embed)
    for key, text in enumerate([None, "", " \n"], 1):
        pages.update(body=text).where(pages.id == key).execute()
    assert fill(pages.embedding, embed) == Filled(cleared=3)
    assert wrong_rows(pages) == []
    assert pages.embedding.pending().count() == 0


def test_several_sources_are_lines(database: Pg8000Database) -> None:
    model = page(database, source=("title", "body"))
    set_up(database, [model])
    model.insert_many([{"title": "t", "body": "b"}, {"title": None, "body": "b"}]).execute()
    texts: list[str] = []
    fill(model.embedding, lambda given: texts.extend(given) or embed(given))  # type: ignore[func-returns-value]
    assert sorted(texts) == ["b", "t\nb"]


@pytest.mark.parametrize("bad", [{1}, {100}, {31, 32}, {5, 50, 95}])
def test_a_bad_row_is_found_by_halves(pages: Any, bad: set[int]) -> None:
    texts = {f"text {key - 1}" for key in bad}
    calls = count()

    def fails(given: list[str]) -> list[list[float]]:
        next(calls)
        if texts & set(given):
            raise ValueError("bad text")
        return embed(given)

    filled = fill(pages.embedding, fails)
    assert (filled.written, set(filled.failed), filled.stopped) == (100 - len(bad), bad, None)
    assert next(calls) <= 2 + 14 * len(bad) + 2
    assert wrong_rows(pages) == sorted(bad)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda texts: embed(texts)[1:],
        lambda texts: [[1, 2]] * len(texts),
        lambda texts: [[1, 2, float("nan")]] * len(texts),
        lambda texts: [None] * len(texts),
        lambda texts: None,
    ],
)
def test_what_is_no_vector_is_a_failure(pages: Any, wrong: Callable[[list[str]], Any]) -> None:
    filled = fill(pages.embedding, wrong)
    assert filled.written == 0
    assert filled.failed
    assert "16 times in succession" in (filled.stopped or "")
    assert all(isinstance(error, (InvalidVector, TypeError)) for error in filled.failed.values())
    assert pages.embedding.pending().count() == 100


def test_an_embedder_that_is_down_is_not_asked_for_each_row(pages: Any) -> None:
    calls = count()

    def down(texts: list[str]) -> Any:
        next(calls)
        raise ConnectionError("no route")

    filled = fill(pages.embedding, down)
    assert filled.stopped == "the embedder failed 16 times in succession, the last time with ConnectionError: no route"
    assert next(calls) == 16


def test_an_interrupt_passes_and_keeps_what_was_written(pages: Any) -> None:
    calls = count()

    def interrupted(texts: list[str]) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return embed(texts)

    with pytest.raises(KeyboardInterrupt):
        fill(pages.embedding, interrupted, batch=10)
    assert pages.embedding.pending().count() == 70
    assert fill(pages.embedding, embed) == Filled(written=70)


def test_the_limit(pages: Any) -> None:
    filled = fill(pages.embedding, embed, batch=8, limit=20)
    assert (filled.written, filled.stopped) == (20, "the limit of 20 rows is reached")


def test_no_batch_begins_that_could_not_end_in_time(pages: Any) -> None:
    left = iter([10_000, 10_000, 999])
    filled = fill(pages.embedding, embed, batch=10, deadline=lambda: next(left))
    assert (filled.written, filled.stopped) == (20, "the time is up")
    pages._meta.database.deadline = lambda: 500
    assert fill(pages.embedding, embed).stopped == "the time is up"
    pages._meta.database.deadline = None


def test_the_parts_are_the_whole(pages: Any) -> None:
    parts = [fill(pages.embedding, embed, part=(number, 3)).written for number in (1, 2, 3)]
    assert sum(parts) == 100
    assert all(15 < each < 55 for each in parts)


def test_progress_is_told_after_each_batch(pages: Any) -> None:
    seen: list[int] = []
    fill(pages.embedding, embed, batch=40, progress=lambda filled: seen.append(filled.tried))
    assert seen == [40, 80, 100]


def test_the_embedder_runs_outside_any_transaction(pages: Any, empty_url: str) -> None:
    def checks(texts: list[str]) -> Any:
        assert not pages._meta.database.in_transaction()
        with connect(empty_url) as other:
            # Neither a row nor the table is locked, and no snapshot is held.
            other.run("SELECT 1 FROM page FOR UPDATE NOWAIT")
            other.run("BEGIN; SET LOCAL lock_timeout = 1; LOCK TABLE page; ROLLBACK")
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"
            assert other.run(query)[0][0] == 0
        return embed(texts)

    assert fill(pages.embedding, checks) == Filled(written=100)


def test_a_text_that_changes_meanwhile_stays_pending(pages: Any, empty_url: str) -> None:
    edited: list[int] = []

    def edits(texts: list[str]) -> Any:
        if not edited:
            edited.append(1)
            with connect(empty_url) as other:
                other.run("UPDATE page SET body = body || ' edited' WHERE id % 2 = 0")
                other.run("DELETE FROM page WHERE id = 1")
        return embed(texts)

    filled = fill(pages.embedding, edits, batch=100)
    assert (filled.changed, filled.written) == (0, 49 + 50)
    assert wrong_rows(pages) == []


def test_a_locked_row_is_left_for_later(pages: Any, empty_url: str) -> None:
    with connect(empty_url) as other:
        other.run("BEGIN; SELECT FROM page WHERE id = 5 FOR UPDATE")
        filled = fill(pages.embedding, embed)
        assert (filled.written, filled.stopped) == (99, None)
        assert [row.id for row in pages.embedding.pending()] == [5]
    assert fill(pages.embedding, embed) == Filled(written=1)


def test_workers_keep_off_each_others_rows(pages: Any, empty_url: str) -> None:
    pages.insert_many([{"body": f"more {number}"} for number in range(400)]).execute()
    lock, at_work, seen = threading.Lock(), set[str](), list[str]()

    def embed_slowly(texts: list[str]) -> Any:
        with lock:
            assert not at_work & set(texts)
            at_work.update(texts)
            seen.extend(texts)
        threading.Event().wait(0.01)
        with lock:
            at_work.difference_update(texts)
        return embed(texts)

    def worker(_: int) -> Filled:
        database = Pg8000Database(empty_url)
        with database.connection_context():
            return fill(page(database).embedding, embed_slowly, batch=16)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(worker, range(4)))
    assert sum(each.written for each in done) == 500
    assert not any(each.failed or each.stopped for each in done)
    assert len(seen) == len(set(seen)) == 500
    assert wrong_rows(pages) == []


@pytest.mark.parametrize("source", ["body", ("title", "body")])
def test_composite_keys(database: Pg8000Database, source: Any) -> None:
    fields: dict[str, Any] = {
        "tenant": TextField(),
        "number": IntegerField(),
        "title": CharField(null=True),
        "body": TextField(),
        "embedding": VectorField(3, metric="l2", model="one", source=source),
    }
    model: Any = model_with("note", fields, ["tenant", "number"], database=database)
    assert isinstance(model._meta.primary_key, CompositeKey)
    set_up(database, [model])
    model.insert_many([{"tenant": f"t{n % 3}", "number": n, "body": f"b{n}"} for n in range(50)]).execute()
    texts = {"b7"}

    def fails(given: list[str]) -> Any:
        if texts & set(given):
            raise ValueError("bad")
        return embed(given)

    filled = fill(model.embedding, fails, batch=8)
    assert (filled.written, set(filled.failed)) == (49, {("t1", 7)})
    assert fill(model.embedding, embed, part=(1, 1)).written == 1


def test_another_model_is_refused_or_replaced(pages: Any, database: Pg8000Database) -> None:
    fill(pages.embedding, embed)
    new = page(database, "two")
    with pytest.raises(SchemaMismatch, match=r"has vectors of the model one.*lightvec switch"):
        fill(new.embedding, embed)
    assert new.embedding.pending().count() == 100
    assert fill(new.embedding, embed, limit=10, in_place=True).written == 10
    assert len(new.embedding.nearest([0, 0, 0], k=100, fresh=True)) == 10
    # The column's comment and the index of pending rows are of the new model.
    assert fill(new.embedding, embed).written == 90
    assert all(step.exists for step in plan(database, [new]))


def test_other_sources_make_all_rows_pending(pages: Any, database: Pg8000Database) -> None:
    fill(pages.embedding, embed)
    new = page(database, source=("title", "body"))
    assert fill(new.embedding, embed).written == 100
    assert all(step.exists for step in plan(database, [new]))


def test_vectors_that_were_there_are_adopted(pages: Any) -> None:
    pages.update(embedding=[1, 2, 3]).where(pages.id <= 60).execute()
    assert adopt(pages.embedding) == 60
    assert pages.embedding.pending().count() == 40
    assert adopt(pages.embedding) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "expected batch to be a number from 1, got 0"),
        ({"batch": True}, "expected batch"),
        ({"limit": 1.5}, "expected limit"),
        ({"part": (5, 4)}, r"expected part to be .*, got \(5, 4\)"),
        ({"part": (0, 4)}, "expected part"),
        ({"part": "1/4"}, "expected part"),
    ],
)
def test_wrong_options(pages: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        fill(pages.embedding, embed, **options)


def test_a_transaction_is_refused(pages: Any, database: Pg8000Database) -> None:
    with database.atomic(), pytest.raises(InvalidOption, match="leave the transaction first"):
        fill(pages.embedding, embed)


@contextmanager
def killed_after(url: str, calls: int) -> Iterator[Callable[[list[str]], Any]]:
    """An embedder during whose n-th call the server ends all other sessions."""
    numbers = count(1)

    def kills(texts: list[str]) -> Any:
        if next(numbers) == calls:
            with connect(url) as admin:
                admin.run(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return embed(texts)

    yield kills


def test_sessions_that_are_ended(pages: Any, empty_url: str) -> None:
    with killed_after(empty_url, 3) as kills:
        filled = fill(pages.embedding, kills, batch=10)
    assert filled == Filled(written=100)
    assert wrong_rows(pages) == []


def test_the_time_is_watched_while_a_batch_is_halved(pages: Any) -> None:
    calls = count()

    def down(texts: list[str]) -> Any:
        next(calls)
        raise TimeoutError("no answer")

    # Before the batch, and after each call.
    left = iter([10_000, 10_000, 900])
    filled = fill(pages.embedding, down, deadline=lambda: next(left))
    assert filled.stopped == "the time is up"
    assert next(calls) == 2


def test_a_blank_text_where_no_null_may_be(database: Pg8000Database) -> None:
    fields: dict[str, Any] = {
        "id": AutoField(),
        "body": TextField(),
        "embedding": VectorField(3, model="one", source="body", null=False),
    }
    model: Any = model_with("page", fields, database=database)
    set_up(database, [model])
    model.insert_many([{"body": text, "embedding": [1, 2, 3]} for text in ("one", " ", "three")]).execute()
    filled = fill(model.embedding, embed)
    assert (filled.written, set(filled.failed)) == (2, {2})
    assert "expected a text, got none, and page.embedding takes no NULL" in str(filled.failed[2])


def test_what_changed_and_was_then_written_counts_once(pages: Any, empty_url: str) -> None:
    calls = count()

    def edits(texts: list[str]) -> list[list[float]]:
        if next(calls) == 0:
            with connect(empty_url) as conn:
                conn.run("UPDATE page SET body = 'edited' WHERE id = 1")
        return embed(texts)

    assert fill(pages.embedding, edits, batch=10) == Filled(written=100)
    assert wrong_rows(pages) == []


def test_an_interrupted_change_of_the_model_is_made_up_for(
    pages: Any, database: Pg8000Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pages.embedding, embed)
    new = page(database, "two")

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lightvec.peewee.filling.create_index_sql", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fill(new.embedding, embed, in_place=True)
    assert fill(new.embedding, embed, in_place=True).written == 100
    assert all(step.exists for step in plan(database, [new]))


def test_workers_change_the_model_once(pages: Any, empty_url: str) -> None:
    fill(pages.embedding, embed)

    def work(number: int) -> Filled:
        database = Pg8000Database(empty_url)
        with database.connection_context():
            return fill(page(database, "two").embedding, embed, batch=8, part=(number, 4), in_place=True)

    with ThreadPoolExecutor(4) as pool:
        filled = list(pool.map(work, range(1, 5)))
    assert sum(each.written for each in filled) == 100
    assert wrong_rows(pages) == []
