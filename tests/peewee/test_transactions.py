"""Transactions, and what a write gives back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from peewee import (
    EXCLUDED,
    DataError,
    IntegerField,
    IntegrityError,
    InterfaceError,
    InternalError,
    Model,
    TextField,
)

from lightvec import Vector
from lightvec.peewee import Pg8000Database, VectorField
from tests.peewee.conftest import Use
from tests.peewee.models import Four


class Item(Model):
    id: Any
    name = TextField(unique=True)
    count = IntegerField(default=0)
    embedding = VectorField(2, null=True)

    class Meta:
        table_name = "peewee_item_rw"


@pytest.fixture(autouse=True)
def tables(use: Use) -> None:
    use(Item)


def names() -> list[str]:
    return [item.name for item in Item.select().order_by(Item.id)]


class Oops(Exception):
    """What a test raises itself."""


def add(db: Pg8000Database, *values: str, fail: bool = False) -> None:
    """All of these names, or none."""
    with db.atomic():
        for value in values:
            Item.create(name=value)
        if fail:
            raise Oops


# Transactions


def test_atomic_commits(db: Pg8000Database, url: str) -> None:
    with db.atomic():
        Item.create(name="a")
    other = Pg8000Database(url)
    assert other.execute_sql('SELECT name FROM "peewee_item_rw"').fetchall() == [("a",)]
    other.close()


def test_error_rolls_back(db: Pg8000Database) -> None:
    with pytest.raises(Oops):
        add(db, "a", fail=True)
    assert names() == []


def test_a_failed_statement_rolls_back(db: Pg8000Database) -> None:
    Item.create(name="a")
    with pytest.raises(IntegrityError):
        add(db, "b", "a")
    assert names() == ["a"]


def test_savepoint_inside(db: Pg8000Database) -> None:
    with db.atomic():
        Item.create(name="a")
        with pytest.raises(IntegrityError):
            add(db, "b", "a")
        Item.create(name="c")
        with db.savepoint() as savepoint:
            Item.create(name="d")
            savepoint.rollback()
        Item.create(name="e")
    assert names() == ["a", "c", "e"]


def test_atomic_passes_over_a_failed_transaction_as_with_other_drivers(db: Pg8000Database) -> None:
    with db.atomic():
        Item.create(name="a")
        with suppress(DataError):
            db.execute_sql("SELECT 1/0")
    assert names() == []
    assert not db.connection().in_transaction


def test_a_commit_as_sql_that_rolls_back_is_an_error(db: Pg8000Database) -> None:
    db.execute_sql("BEGIN")
    with suppress(DataError):
        db.execute_sql("SELECT 1/0")
    with pytest.raises(InternalError, match="rolled back, not committed"):
        db.execute_sql("COMMIT")


def test_transaction_can_be_rolled_back_by_hand(db: Pg8000Database) -> None:
    with db.transaction() as transaction:
        Item.create(name="a")
        transaction.rollback()
        Item.create(name="b")
    assert names() == ["b"]


def test_manual_commit(db: Pg8000Database) -> None:
    with db.manual_commit():
        db.begin()
        Item.create(name="a")
        db.rollback()
        db.begin()
        Item.create(name="b")
        db.commit()
    assert names() == ["b"]


def test_atomic_as_a_decorator(db: Pg8000Database) -> None:
    def create(fail: bool) -> None:
        Item.create(name=str(fail))
        if fail:
            raise Oops

    decorated = db.atomic()(create)
    decorated(False)
    with pytest.raises(Oops):
        decorated(True)
    assert names() == ["False"]


def test_three_levels_deep(db: Pg8000Database) -> None:
    with db.atomic():
        Item.create(name="1")
        with db.atomic():
            Item.create(name="2")
            with pytest.raises(Oops):
                add(db, "3", fail=True)
        Item.create(name="4")
    assert names() == ["1", "2", "4"]


# RETURNING


def test_insert_gives_the_key() -> None:
    key = Item.insert(name="a", embedding=[1, 2]).execute()
    assert Item.get_by_id(key).embedding == [1, 2]


def test_insert_returning_vectors() -> None:
    rows = Item.insert_many([{"name": "a", "embedding": [1, 2]}, {"name": "b", "embedding": None}]).returning(Item)
    assert [(row.name, row.embedding) for row in rows.execute()] == [("a", Vector([1, 2])), ("b", None)]


def test_update_returning() -> None:
    Item.create(name="a", embedding=[1, 2])
    query = Item.update(embedding=[3, 4]).where(Item.embedding == [1, 2]).returning(Item.name, Item.embedding)
    assert list(query.tuples().execute()) == [("a", Vector([3, 4]))]


def test_delete_returning() -> None:
    Item.create(name="a", embedding=[1, 2])
    query = Item.delete().where(Item.embedding == [1, 2]).returning(Item.embedding)
    assert [row.embedding for row in query.execute()] == [[1, 2]]
    assert names() == []


def test_updates_count_rows() -> None:
    Item.insert_many([{"name": name} for name in "abc"]).execute()
    assert Item.update(embedding=[1, 1]).where(Item.name != "a").execute() == 2
    assert Item.delete().where(Item.embedding == [1, 1]).execute() == 2


# Upserts


def test_conflict_ignored() -> None:
    Item.create(name="a", embedding=[1, 2])
    Item.insert(name="a", embedding=[3, 4]).on_conflict_ignore().execute()
    assert Item.get(Item.name == "a").embedding == [1, 2]


def test_conflict_updates_with_a_plain_list() -> None:
    Item.create(name="a", embedding=[1, 2])
    Item.insert(name="a", embedding=[3, 4]).on_conflict(
        conflict_target=[Item.name], update={Item.embedding: [5, 6], Item.count: Item.count + 1}
    ).execute()
    item: Any = Item.get(Item.name == "a")
    assert (item.embedding, item.count) == ([5, 6], 1)


def test_conflict_keeps_the_new_vector() -> None:
    Item.create(name="a", embedding=[1, 2])
    rows = [{"name": "a", "embedding": [3, 4]}, {"name": "b", "embedding": [5, 6]}]
    Item.insert_many(rows).on_conflict(conflict_target=[Item.name], preserve=[Item.embedding]).execute()
    assert [(item.name, item.embedding) for item in Item.select().order_by(Item.name)] == [
        ("a", Vector([3, 4])),
        ("b", Vector([5, 6])),
    ]


def test_conflict_by_the_excluded_row() -> None:
    Item.create(name="a", embedding=[1, 2])

    def upsert(count: int) -> None:
        Item.insert(name="a", count=count, embedding=[count, 0]).on_conflict(
            conflict_target=[Item.name],
            update={Item.embedding: EXCLUDED.embedding, Item.count: EXCLUDED.count},
            where=(EXCLUDED.count > Item.count),
        ).execute()

    upsert(5)
    upsert(3)
    item: Any = Item.get(Item.name == "a")
    assert (item.count, item.embedding) == (5, [5, 0])


def test_all_four_kinds_in_one_upsert(use: Use) -> None:
    use(Four)
    first = {"name": "a", "dense": [1, 2, 3], "half": [1, 2, 3], "sparse": [0, 0, 3], "bits": "101"}
    second = {"name": "a", "dense": [4, 5, 6], "half": [4, 5, 6], "sparse": [4, 0, 0], "bits": "010"}
    for row in (first, second):
        Four.insert(row).on_conflict(
            conflict_target=[Four.name], preserve=[Four.dense, Four.half, Four.sparse, Four.bits]
        ).execute()
    (stored,) = Four.select()
    assert stored.dense == [4, 5, 6]
    assert stored.half == [4, 5, 6]
    assert stored.sparse == [4, 0, 0]
    assert stored.bits == "010"


def test_without_a_block_or_a_connection_it_is_as_in_peewee(url: str) -> None:
    database = Pg8000Database(url)
    assert not database.session_commit()
    assert not database.session_rollback()
    for end in (database.commit, database.rollback):
        with pytest.raises(InterfaceError):
            end()
    database.close()
