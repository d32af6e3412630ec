"""Rows that are read as they are asked for."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import peewee
import pytest
from peewee import IntegerField, Model, fn

from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.peewee.adapter import PAGE

COUNT = 5_000


class Number(Model):
    value = IntegerField(primary_key=True)


@pytest.fixture
def numbers(db: Pg8000Database) -> Iterator[type[Number]]:
    """A table of numbers from 1 on."""
    with db.bind_ctx([Number]):
        db.create_tables([Number])
        db.execute_sql("INSERT INTO number SELECT generate_series(1, %s::int)", (COUNT,))
        yield Number
        db.rollback()
        db.drop_tables([Number])


def waiting(db: Pg8000Database) -> bool:
    return bool(db.connection().has_unread_rows)


def test_all_rows_come_in_their_order(numbers: type[Number], db: Pg8000Database) -> None:
    query = numbers.select().order_by(numbers.value)
    assert [row.value for row in query.iterator()] == list(range(1, COUNT + 1))
    assert not waiting(db)
    kept = query.clone()
    assert [row.value for row in kept] == list(range(1, COUNT + 1))
    assert len(kept) == COUNT


def test_the_first_rows_come_before_the_last(numbers: type[Number], db: Pg8000Database) -> None:
    rows = numbers.select().order_by(numbers.value).tuples().iterator()
    assert next(rows) == (1,)
    assert waiting(db)


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_any_number_of_rows(numbers: type[Number], db: Pg8000Database, count: int) -> None:
    query = numbers.select().order_by(numbers.value).limit(count).tuples()
    assert list(query.clone().iterator()) == [(n,) for n in range(1, count + 1)]
    assert list(query) == [(n,) for n in range(1, count + 1)]
    assert not waiting(db)


def test_other_statements_go_in_between(numbers: type[Number], db: Pg8000Database) -> None:
    seen = []
    for row in numbers.select().order_by(numbers.value).iterator():
        seen.append(row.value)
        if row.value % 500 == 0:
            assert numbers.select(fn.COUNT(numbers.value)).scalar() == COUNT
            numbers.update(value=-row.value).where(numbers.value == row.value).execute()
    assert seen == list(range(1, COUNT + 1))
    assert numbers.select().where(numbers.value < 0).count() == COUNT // 500


def test_two_iterators_at_once(numbers: type[Number]) -> None:
    up = numbers.select().order_by(numbers.value).tuples().iterator()
    down = numbers.select().order_by(numbers.value.desc()).tuples().iterator()
    assert list(zip(up, down, strict=True)) == [((n,), (COUNT + 1 - n,)) for n in range(1, COUNT + 1)]


def test_an_iterator_that_is_given_up_is_not_in_the_way(numbers: type[Number], db: Pg8000Database) -> None:
    rows = numbers.select().iterator()
    next(rows)
    del rows
    gc.collect()
    assert numbers.select(fn.COUNT(numbers.value)).scalar() == COUNT
    assert not waiting(db)


def test_in_a_transaction(numbers: type[Number], db: Pg8000Database) -> None:
    with db.atomic() as transaction:
        numbers.delete().where(numbers.value <= 10).execute()
        rows = numbers.select().order_by(numbers.value).tuples().iterator()
        assert next(rows) == (11,)
        transaction.rollback()
        assert len(list(rows)) == COUNT - 11, "what was asked for before stays the answer"
    assert numbers.select().count() == COUNT


def test_an_error_behind_the_first_page_is_peewees(numbers: type[Number], db: Pg8000Database) -> None:
    query = numbers.select(1 / (numbers.value - (COUNT - 5))).order_by(numbers.value).tuples()
    rows = query.iterator()
    next(rows)
    with pytest.raises(peewee.DataError, match="division by zero"):
        list(rows)
    assert numbers.select().count() == COUNT


def test_an_error_that_another_statement_meets_is_the_iterators(numbers: type[Number], db: Pg8000Database) -> None:
    rows = numbers.select(1 / (numbers.value - (COUNT - 5))).order_by(numbers.value).tuples().iterator()
    next(rows)
    assert numbers.select().count() == COUNT
    with pytest.raises(peewee.DataError, match="division by zero"):
        list(rows)


def test_a_connection_that_is_closed_in_between(numbers: type[Number], db: Pg8000Database) -> None:
    rows = numbers.select().iterator()
    next(rows)
    db.close()
    with pytest.raises(peewee.InterfaceError, match="closed"):
        list(rows)
    assert numbers.select().count() == COUNT


def test_a_backend_that_is_terminated_in_between(numbers: type[Number], db: Pg8000Database, url: str) -> None:
    # More than the sockets hold: the server is in the middle of the answer.
    pid = numbers.select(fn.pg_backend_pid()).scalar()
    rows = numbers.select(numbers.value, peewee.Value("x" * 5_000)).tuples().iterator()
    next(rows)
    other = Pg8000Database(url)
    other.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    other.close()
    with pytest.raises(peewee.OperationalError):
        list(rows)
    assert numbers.select().count() == COUNT, "the next statement has a connection again"


def test_another_statement_behind_a_backend_that_is_terminated(
    numbers: type[Number], db: Pg8000Database, url: str
) -> None:
    pid = numbers.select(fn.pg_backend_pid()).scalar()
    rows = numbers.select(numbers.value, peewee.Value("x" * 5_000)).tuples().iterator()
    next(rows)
    other = Pg8000Database(url)
    other.execute_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    other.close()
    assert numbers.insert(value=0).execute() == 0, "none of it was sent on the old connection"
    with pytest.raises(peewee.InterfaceError, match="closed"):
        list(rows)


def test_functions_are_done_when_execute_returns(numbers: type[Number], db: Pg8000Database) -> None:
    db.execute_sql("CREATE TEMPORARY SEQUENCE done")
    numbers.select(fn.nextval("done")).execute()
    assert not waiting(db)


def test_a_pool_lets_a_connection_with_unread_rows_go(numbers: type[Number], url: str) -> None:
    pool = PooledPg8000Database(url, max_connections=2)
    with pool.bind_ctx([Number]):
        pool.connect()
        first = pool.connection()
        next(numbers.select().iterator())
        # The iterator is gone, its rows are still on their way.
        assert first.has_unread_rows
        pool.close()
        assert first.closed
        with pool.connection_context():
            assert numbers.select().count() == COUNT
    pool.close_all()


def test_another_thread_has_its_own_connection(numbers: type[Number], db: Pg8000Database) -> None:
    rows = numbers.select().iterator()
    next(rows)
    counts: list[int] = []

    def count() -> None:
        counts.append(numbers.select().count())
        db.close()

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    assert counts == [COUNT]
    assert len(list(rows)) == COUNT - 1


_MEASURED = """
import sys
from peewee import BigIntegerField, Model
from playhouse.postgres_ext import ServerSide
from lightvec.peewee import Pg8000Database

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

db = Pg8000Database(sys.argv[1])
class Million(Model):
    n = BigIntegerField(primary_key=True)
    class Meta:
        database = db

query = Million.select()
rows = {"iterator": query.iterator, "server": lambda: ServerSide(query)}[sys.argv[2]]
Million.select().limit(2_000).execute()
before = resident()
total = sum(row.n for row in rows())
print(total, resident() - before)
"""


@pytest.mark.parametrize("way", ["iterator", "server"])
def test_a_million_rows_in_bounded_memory(db: Pg8000Database, url: str, way: str) -> None:
    db.execute_sql("CREATE TABLE million AS SELECT generate_series(1, 1000000)::bigint AS n")
    try:
        done = subprocess.run([sys.executable, "-c", _MEASURED, url, way], capture_output=True, text=True, check=True)
    finally:
        db.execute_sql("DROP TABLE million")
    total, kilobytes = map(int, done.stdout.split())
    assert total == 500_000_500_000
    assert kilobytes < 32 * 1024
