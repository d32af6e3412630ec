"""Selects are read whole; ``db.stream`` and server-side cursors read a part at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import peewee
import pytest
from peewee import IntegerField, Model, RawQuery, fn
from playhouse.postgres_ext import ServerSide

from lightvec.errors import InvalidOption
from lightvec.peewee import Pg8000Database, PooledPg8000Database, VectorField

COUNT = 8_000


class Number(Model):
    value = IntegerField(primary_key=True)
    seen = IntegerField(default=0)


@pytest.fixture
def numbers(db: Pg8000Database) -> Iterator[type[Number]]:
    """A table of numbers from 1 on."""
    with db.bind_ctx([Number]):
        db.create_tables([Number])
        db.execute_sql("INSERT INTO number SELECT generate_series(1, %s::int), 0", (COUNT,))
        yield Number
        db.rollback()
        db.drop_tables([Number])


def in_order(numbers: type[Number]) -> Any:
    return numbers.select(numbers.value).order_by(numbers.value)


def open_portals(db: Pg8000Database) -> int:
    """Statements of this session whose rows are not read to their end, but for this one."""
    ((count,),) = db.execute_sql("SELECT count(*) FROM pg_cursors WHERE statement NOT LIKE '%%pg_cursors%%'").fetchall()
    return int(count)


# Selects


def test_a_loop_is_no_statement_that_runs(numbers: type[Number], db: Pg8000Database) -> None:
    """The rows are here when the loop begins, however long it takes."""
    db.execute_sql("SET statement_timeout = 100")
    seen = 0
    for row in in_order(numbers).iterator():
        seen += 1
        if row.value % 4_000 == 0:
            time.sleep(0.15)
    assert seen == COUNT


def test_a_break_leaves_nothing_behind(numbers: type[Number], db: Pg8000Database, url: str) -> None:
    for row in in_order(numbers).iterator():
        if row.value == 10:
            break
    pid = db.connection().backend_pid
    other = Pg8000Database(url)
    asked = "SELECT state, backend_xmin FROM pg_stat_activity WHERE pid = %s"
    assert other.execute_sql(asked, (pid,)).fetchone() == ("idle", None)
    other.close()
    assert open_portals(db) == 0


def test_rows_are_saved_in_a_loop(numbers: type[Number]) -> None:
    for row in numbers.select().where(numbers.value <= 1_500).iterator():
        row.seen = row.value
        row.save()
    assert numbers.select(fn.SUM(numbers.seen)).scalar() == 1_500 * 1_501 // 2


def test_two_loops_at_once(numbers: type[Number]) -> None:
    up = in_order(numbers).tuples().iterator()
    down = numbers.select(numbers.value).order_by(numbers.value.desc()).tuples().iterator()
    assert list(zip(up, down, strict=True)) == [((n,), (COUNT + 1 - n,)) for n in range(1, COUNT + 1)]


def test_an_error_behind_the_first_rows_comes_when_the_query_runs(numbers: type[Number]) -> None:
    query = numbers.select(1 / (numbers.value - (COUNT - 5))).order_by(numbers.value).tuples()
    with pytest.raises(peewee.DataError, match="division by zero"):
        query.execute()


# Streams


def test_rows_as_the_query_makes_them(numbers: type[Number], db: Pg8000Database) -> None:
    query = in_order(numbers)
    assert [row.value for row in db.stream(query)] == list(range(1, COUNT + 1))
    assert [type(row) for row in db.stream(query.limit(2))] == [Number, Number]
    assert list(db.stream(query.limit(2).dicts(), batch=1)) == [{"value": 1}, {"value": 2}]
    assert list(db.stream(query.limit(3).tuples(), batch=2)) == [(1,), (2,), (3,)]
    assert [row.value for row in db.stream(query.limit(1).namedtuples())] == [1]
    assert list(db.stream(query.where(numbers.value < 0))) == []
    assert list(db.stream(RawQuery("SELECT 7 AS n").bind(db))) == [{"n": 7}]


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_000])
def test_any_number_of_rows(numbers: type[Number], db: Pg8000Database, count: int) -> None:
    assert list(db.stream(in_order(numbers).limit(count).tuples())) == [(n,) for n in range(1, count + 1)]


def test_the_first_rows_come_before_the_last(numbers: type[Number], db: Pg8000Database, url: str) -> None:
    rows = db.stream(in_order(numbers).tuples(), batch=10)
    assert next(rows) == (1,)
    with pytest.raises(peewee.InterfaceError, match="rows are being streamed"):
        numbers.select().count()
    del rows
    assert numbers.select().count() == COUNT
    assert open_portals(db) == 0


def test_a_stream_that_is_left(numbers: type[Number], db: Pg8000Database) -> None:
    with db.atomic():
        for (_,) in db.stream(in_order(numbers).tuples(), batch=5):
            break
        assert numbers.delete().where(numbers.value == 1).execute() == 1
    assert list(islice(db.stream(in_order(numbers).tuples()), 1)) == [(2,)]
    assert numbers.select().count() == COUNT - 1


def test_an_error_in_a_stream_is_peewees(numbers: type[Number], db: Pg8000Database) -> None:
    rows = db.stream(numbers.select(1 / (numbers.value - 5)).order_by(numbers.value).tuples(), batch=2)
    assert next(rows) == (0,)
    with pytest.raises(peewee.DataError, match="division by zero"):
        list(rows)
    with pytest.raises(peewee.ProgrammingError):
        next(db.stream(RawQuery("SELECT * FROM nothing_here")))
    assert numbers.select().count() == COUNT


def test_what_is_no_query(db: Pg8000Database) -> None:
    with pytest.raises(InvalidOption, match="expected a Peewee query, got str"):
        db.stream("SELECT 1")
    assert db.is_closed()


def test_a_nearest_neighbour_query(db: Pg8000Database) -> None:
    class Place(Model):
        id = IntegerField(primary_key=True)
        point = VectorField(2, metric="l2", index="hnsw")

        class Meta:
            database = db
            temporary = True

    db.create_tables([Place])
    Place.insert_many([(n, [n, 0]) for n in range(1, 301)]).execute()
    db.execute_sql("SET enable_seqscan = off; SET enable_sort = off")
    query = Place.point.nearest([0, 0], 200)
    found = list(db.stream(query, batch=50))
    assert [row.id for row in found] == list(range(1, 201)), "its settings went along"
    assert [(row.distance, row.score) for row in found[:2]] == [(1, 0.5), (2, 1 / 3)]
    rows = db.stream(Place.point.nearest([0, 0], 3, exact=True).select(Place.id).tuples(), batch=1)
    assert list(rows) == [(1, 1, 0.5), (2, 2, 1 / 3), (3, 3, 0.25)]


def test_hooks_see_it(numbers: type[Number], db: Pg8000Database) -> None:
    events: list[peewee.QueryEvent] = []
    db.query_hooks.append(events.append)
    list(db.stream(in_order(numbers).limit(3), batch=1))
    with pytest.raises(peewee.DataError):
        list(db.stream(numbers.select(1 / (numbers.value - 1)).order_by(numbers.value)))
    db.execute_sql("SELECT 1", settings={"work_mem": "5MB"})
    assert [bool(event.exception) for event in events] == [False, True, False]
    assert events[0].sql.startswith('SELECT "t1"."value"')


def test_a_pool_gets_its_connection_back(numbers: type[Number], url: str) -> None:
    pool = PooledPg8000Database(url, max_connections=2)
    with pool.bind_ctx([Number]):
        pool.connect()
        rows = pool.stream(in_order(numbers).tuples(), batch=2)
        next(rows)
        pool.close()  # The connection is in the middle of the rows: it is not kept.
        with pool.connection_context():
            assert numbers.select().count() == COUNT
    pool.close_all()


def test_another_thread_has_its_own_connection(numbers: type[Number], db: Pg8000Database) -> None:
    rows = db.stream(in_order(numbers))
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

db = Pg8000Database(sys.argv[1], server_side_cursors=sys.argv[2] == "all")
class Million(Model):
    n = BigIntegerField(primary_key=True)
    class Meta:
        database = db

query = Million.select()
rows = {"stream": lambda: db.stream(query), "server": lambda: ServerSide(query), "all": query.iterator}[sys.argv[2]]
Million.select().limit(2_000).execute()
before = resident()
total = sum(row.n for row in rows())
print(total, resident() - before)
"""


@pytest.mark.parametrize("way", ["stream", "server", "all"])
def test_a_million_rows_in_bounded_memory(db: Pg8000Database, url: str, way: str) -> None:
    db.execute_sql("CREATE TABLE million AS SELECT generate_series(1, 1000000)::bigint AS n")
    try:
        done = subprocess.run([sys.executable, "-c", _MEASURED, url, way], capture_output=True, text=True, check=True)
    finally:
        db.execute_sql("DROP TABLE million")
    total, kilobytes = map(int, done.stdout.split())
    assert total == 500_000_500_000
    assert kilobytes < 32 * 1024


def test_a_server_side_cursor_lets_others_in_between(numbers: type[Number], db: Pg8000Database) -> None:
    with db.atomic():
        for row in ServerSide(numbers.select().where(numbers.value <= 50), array_size=10):
            row.seen = 1
            row.save()
    assert numbers.select().where(numbers.seen == 1).count() == 50
