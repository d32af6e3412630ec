"""What is done on a connection that may break: each looks at its own answers.

Rows are told apart by the number of the run that writes them. What a scenario writes, it writes in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
import peewee
from peewee import CompositeKey, IntegerField, Model, TextField

from lightvec import Vector
from lightvec.errors import LightvecError
from lightvec.peewee import Pg8000Database, PooledPg8000Database, VectorField
from lightvec.pg8000 import Connection, connect, dbapi

__all__ = ["COLUMNS", "KINDS", "LARGE", "SCENARIOS", "TABLES", "Kind", "Row", "Scenario", "rows", "written_on"]

#: How many rows stand in the table that is only read.
READ = 100

TABLES = f"""\
CREATE TABLE faults_read (id int PRIMARY KEY, text text NOT NULL, embedding vector(3) NOT NULL);
INSERT INTO faults_read SELECT i, 'text ' || i, ARRAY[i, 1, 2]::vector FROM generate_series(0, {READ - 1}) i;
CREATE TABLE faults_written (
    run int, id int, text text NOT NULL, embedding vector(3) NOT NULL, PRIMARY KEY (run, id)
)"""

COLUMNS = ["run", "id", "text", "embedding"]
_INSERT = "INSERT INTO faults_written (run, id, text, embedding) VALUES"
_NEAREST = "SELECT id, text, embedding FROM faults_read ORDER BY embedding <-> {} LIMIT 3"
_ALL = "SELECT id, text, embedding FROM faults_read ORDER BY id"

Row = tuple[int, int, str, Vector]


def rows(run: int, count: int, width: int = 0) -> list[Row]:
    """So many rows that a run writes, with texts of this length at least."""
    return [(run, number, f"text {number}".ljust(width), Vector([number, 1, 2])) for number in range(count)]


def read(first: int = 0, count: int = READ) -> list[tuple[int, str, Vector]]:
    """Rows of the table that is only read."""
    return [row[1:] for row in rows(0, first + count)[first:]]


def _dicts(run: int, count: int) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows(run, count)]


def _tuples(found: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in found]


# Kinds of connections


class Kind:
    """A way to connect: how it is opened and closed, what it raises, and how it must be afterwards."""

    errors: type[Exception] = LightvecError

    def open(self, url: str, **limits: Any) -> Any:
        """A connection, or what makes one."""
        raise NotImplementedError

    def log_in(self, opened: Any) -> None:
        """Where opening did not do it."""

    def ask(self, opened: Any, number: int) -> int:
        """What the server answers to the question for a number: that number."""
        raise NotImplementedError

    def check_after(self, opened: Any, number: int) -> None:
        """It answers rightly, or knows that it is closed."""
        try:
            assert self.ask(opened, number) == number, "the answer is that to another statement"
        except LightvecError:
            assert opened.closed, "a connection that does not answer is not marked closed"

    def close(self, opened: Any) -> None:
        """It is quiet, also the second time."""
        for _ in range(2):
            opened.close()
            assert opened.closed


class _Native(Kind):
    def open(self, url: str, **limits: Any) -> Connection:
        return connect(url, **limits)

    def ask(self, opened: Connection, number: int) -> int:
        answer = opened.run("SELECT :number::int", number=number)
        return int(answer[0][0]) if answer else -1


class _Pep249(Kind):
    def open(self, url: str, **limits: Any) -> dbapi.Connection:
        return dbapi.connect(url, **limits)

    def ask(self, opened: dbapi.Connection, number: int) -> int:
        row = opened.cursor().execute("SELECT %s::int", (number,)).fetchone()
        return int(row[0]) if row else -1


class _Peewee(Kind):
    errors = peewee.PeeweeException

    def open(self, url: str, **limits: Any) -> Pg8000Database:
        return Pg8000Database(url, **limits)

    def log_in(self, opened: Pg8000Database) -> None:
        opened.connect()

    def ask(self, opened: Pg8000Database, number: int) -> int:
        row: Any = opened.execute_sql("SELECT %s::int", (number,)).fetchone()
        return int(row[0]) if row else -1

    def check_after(self, opened: Pg8000Database, number: int) -> None:
        """The next use is good again without anybody's help."""
        assert opened.transaction_depth() == 0
        assert self.ask(opened, number) == number, "the answer is that to another statement"
        assert opened.is_connection_usable()
        assert not opened.connection().in_transaction, "a transaction was left open"

    def close(self, opened: Pg8000Database) -> None:
        opened.close()
        assert opened.is_closed()


class _Pool(_Peewee):
    def open(self, url: str, **limits: Any) -> PooledPg8000Database:
        return PooledPg8000Database(url, max_connections=2, **limits)

    def check_after(self, opened: Pg8000Database, number: int) -> None:
        """So is what the pool hands out next, and nothing that died counts as in use."""
        assert isinstance(opened, PooledPg8000Database)
        super().check_after(opened, number)
        opened.close()
        with opened.connection_context():
            assert not opened.connection().closed, "the pool hands out a dead connection"
            assert self.ask(opened, number) == number
            assert len(opened._in_use) == 1

    def close(self, opened: Pg8000Database) -> None:
        assert isinstance(opened, PooledPg8000Database)
        opened.close_all()


NATIVE, PEP249, PEEWEE, POOL = _Native(), _Pep249(), _Peewee(), _Pool()
KINDS = {"native": NATIVE, "pep249": PEP249, "peewee": PEEWEE, "pool": POOL}


@dataclass(frozen=True)
class Scenario:
    """One use of a connection: ``work`` gets what is open and the number of the run, and writes so many rows.

    The login is broken, too, where it is what the scenario is about.
    """

    kind: Kind
    work: Callable[[Any, int], object]
    writes: int
    with_login: bool = False
    width: int = 0

    def written(self, run: int) -> list[Row]:
        """What stands when a run of it is done."""
        return rows(run, self.writes, self.width)

    @property
    def name(self) -> str:
        """As the tests are named."""
        return self.work.__name__


SCENARIOS: list[Scenario] = []


def scenario(
    kind: Kind, writes: int = 0, *, with_login: bool = False
) -> Callable[[Callable[[Any, int], object]], Callable[[Any, int], object]]:
    """Add a function to the scenarios."""

    def add(work: Callable[[Any, int], object]) -> Callable[[Any, int], object]:
        SCENARIOS.append(Scenario(kind, work, writes, with_login))
        return work

    return add


# Native connections


@scenario(NATIVE, with_login=True)
def native_connect(conn: Connection, run: int) -> None:
    assert NATIVE.ask(conn, run) == run


@scenario(NATIVE)
def native_query(conn: Connection, run: int) -> None:
    query = "SELECT :run::int, embedding, embedding <-> :v FROM faults_read WHERE id = ANY(:ids) ORDER BY id"
    for _ in range(2):  # the second time with vectors in binary
        found = conn.run(query, run=run, v=Vector([1, 1, 2]), ids=[1, 2])
        assert found == [[run, Vector([1, 1, 2]), 0.0], [run, Vector([2, 1, 2]), 1.0]]


@scenario(NATIVE)
def native_query_with_settings(conn: Connection, run: int) -> None:
    settings = {"hnsw.ef_search": 77}
    assert conn.run("SELECT current_setting('hnsw.ef_search'), :run::int", run=run, settings=settings) == [["77", run]]
    found = conn.run(_NEAREST.format(":v"), v=Vector([5, 1, 2]), settings=settings)
    assert sorted(_tuples(found)) == read(4, 3)


@scenario(NATIVE, writes=1)
def native_insert(conn: Connection, run: int) -> None:
    ((_, number, text, v),) = rows(run, 1)
    found = conn.run(f"{_INSERT} (:run, :id, :text, :v) RETURNING run", run=run, id=number, text=text, v=v)
    assert found == [[run]]


@scenario(NATIVE, writes=2)
def native_transaction(conn: Connection, run: int) -> None:
    with conn.transaction():
        for _, number, text, v in rows(run, 2):
            conn.run(f"{_INSERT} (:run, :id, :text, :v)", run=run, id=number, text=text, v=v)


@scenario(NATIVE, writes=2)
def native_savepoint(conn: Connection, run: int) -> None:
    with conn.transaction():
        for _, number, text, v in rows(run, 2):
            with conn.transaction():
                conn.run(f"{_INSERT} (:run, :id, :text, :v)", run=run, id=number, text=text, v=v)


@scenario(NATIVE, writes=30)
def native_copy_rows(conn: Connection, run: int) -> None:
    assert conn.copy_rows("faults_written", COLUMNS, iter(rows(run, 30))) == 30


@scenario(NATIVE, writes=30)
def native_copy_columns(conn: Connection, run: int) -> None:
    numbers = numpy.arange(30)
    columns = {
        "run": numpy.full(30, run),
        "id": numbers,
        "text": [f"text {number}" for number in numbers],
        "embedding": numpy.stack([numbers, numpy.ones(30), numpy.full(30, 2)], axis=1),
    }
    assert conn.copy_columns("faults_written", columns) == 30


@scenario(NATIVE, writes=10)
def native_copy_rows_on_conflict(conn: Connection, run: int) -> None:
    loaded = [(run, 0, "is written over", Vector([9, 9, 9])), *rows(run, 10)]
    assert conn.copy_rows("faults_written", COLUMNS, loaded, on_conflict="update") == 10


@scenario(NATIVE, writes=30)
def native_execute_many(conn: Connection, run: int) -> None:
    statements = ((f"{_INSERT} ($1, $2, $3, $4)", row) for row in rows(run, 30))
    assert conn.execute_many(statements) == 30


@scenario(NATIVE)
def native_stream(conn: Connection, run: int) -> None:
    query = "SELECT id, text, embedding FROM faults_read WHERE :run::int > 0 ORDER BY id"
    assert _tuples(conn.stream(query, batch=30, run=run)) == read()


@scenario(NATIVE, writes=5)
def native_stream_that_writes(conn: Connection, run: int) -> None:
    query = (
        f"{_INSERT.removesuffix('VALUES')} SELECT :run::int, id, text, embedding FROM faults_read "
        "WHERE id < 5 ORDER BY id RETURNING id"
    )
    assert _tuples(conn.stream(query, batch=2, run=run)) == [(0,), (1,), (2,), (3,), (4,)]


@scenario(NATIVE)
def native_fetch_columns(conn: Connection, run: int) -> None:
    columns = conn.fetch_columns(_ALL)
    assert columns["id"].tolist() == list(range(READ))
    assert columns["text"] == [text for _, text, _ in read()]
    assert columns["embedding"].tolist() == [list(v) for _, _, v in read()]


# More than the sockets hold (TCP took 3 MB that nobody read), so that who sends it waits for the server

_MANY, _WIDE = 300, 30_000


def native_large_load(conn: Connection, run: int) -> None:
    assert conn.copy_rows("faults_written", COLUMNS, rows(run, _MANY, _WIDE)) == _MANY


def native_large_execute_many(conn: Connection, run: int) -> None:
    statement = f"{_INSERT} ($1, $2, $3, $4)"
    assert conn.execute_many((statement, row) for row in rows(run, _MANY, _WIDE)) == _MANY


LARGE = [Scenario(NATIVE, work, _MANY, width=_WIDE) for work in (native_large_load, native_large_execute_many)]


# PEP 249


@scenario(PEP249, writes=2)
def pep249_commit(conn: dbapi.Connection, run: int) -> None:
    with conn.cursor() as cursor:
        for row in rows(run, 2):
            assert cursor.execute(f"{_INSERT} (%s, %s, %s, %s)", row).rowcount == 1
    conn.commit()


@scenario(PEP249, writes=10)
def pep249_executemany(conn: dbapi.Connection, run: int) -> None:
    with conn.cursor() as cursor:
        assert cursor.executemany(f"{_INSERT} (%s, %s, %s, %s)", rows(run, 10)).rowcount == 10
    conn.commit()


@scenario(PEP249, writes=10)
def pep249_executemany_autocommit(conn: dbapi.Connection, run: int) -> None:
    conn.autocommit = True
    with conn.cursor() as cursor:
        assert cursor.executemany(f"{_INSERT} (%s, %s, %s, %s)", rows(run, 10)).rowcount == 10


@scenario(PEP249, writes=10)
def pep249_copy_rows(conn: dbapi.Connection, run: int) -> None:
    assert conn.copy_rows("faults_written", COLUMNS, rows(run, 10)) == 10
    conn.commit()


@scenario(PEP249)
def pep249_server_cursor(conn: dbapi.Connection, run: int) -> None:
    with conn.cursor("faults") as cursor:
        cursor.execute("SELECT id, text, embedding FROM faults_read WHERE %s::int > 0 ORDER BY id", (run,))
        assert cursor.fetchmany(40) == read(0, 40)
        assert cursor.fetchall() == read(40, READ - 40)
    conn.rollback()


# Peewee


def read_on(db: Pg8000Database) -> Any:
    """A model of the table that is only read. Runs go on beside each other, and a model has one database."""

    class Read(Model):
        id = IntegerField(primary_key=True)
        text = TextField()
        embedding = VectorField(3, metric="l2")

        class Meta:
            database = db
            table_name = "faults_read"

    return Read


def written_on(db: Pg8000Database) -> Any:
    """A model of the table that is written to."""

    class Written(Model):
        run = IntegerField()
        id = IntegerField()
        text = TextField()
        embedding = VectorField(3)

        class Meta:
            database = db
            table_name = "faults_written"
            primary_key = CompositeKey("run", "id")

    return Written


@scenario(PEEWEE, with_login=True)
def peewee_connect(db: Pg8000Database, run: int) -> None:
    assert PEEWEE.ask(db, run) == run


@scenario(PEEWEE, writes=1)
def peewee_create(db: Pg8000Database, run: int) -> None:
    (row,) = _dicts(run, 1)
    assert written_on(db).create(**row).id == 0


@scenario(PEEWEE)
def peewee_nearest(db: Pg8000Database, run: int) -> None:
    model = read_on(db)
    query = model.embedding.nearest([5, 1, 2], k=3, ef_search=100).where(model.id < run)
    assert sorted((row.id, row.text, row.embedding) for row in query) == read(4, 3)


@scenario(PEEWEE, writes=2)
def peewee_atomic(db: Pg8000Database, run: int) -> None:
    model = written_on(db)
    with db.atomic():
        for row in _dicts(run, 2):
            model.create(**row)


@scenario(PEEWEE, writes=2)
def peewee_nested_atomic(db: Pg8000Database, run: int) -> None:
    model = written_on(db)
    with db.atomic():
        for row in _dicts(run, 2):
            with db.atomic():
                model.create(**row)


@scenario(PEEWEE, writes=10)
def peewee_insert_many(db: Pg8000Database, run: int) -> None:
    written_on(db).insert_many(_dicts(run, 10)).execute()


@scenario(PEEWEE, writes=10)
def peewee_copy_rows(db: Pg8000Database, run: int) -> None:
    assert db.copy_rows(written_on(db), _dicts(run, 10)) == 10


@scenario(PEEWEE, writes=10)
def peewee_copy_rows_on_conflict(db: Pg8000Database, run: int) -> None:
    twice = [*_dicts(run, 10), *_dicts(run, 10)]
    assert db.copy_rows(written_on(db), twice, on_conflict="ignore") == 10


@scenario(PEEWEE)
def peewee_iterator(db: Pg8000Database, run: int) -> None:
    model = read_on(db)
    # Longer than a page, so that the rest is read while the first rows are used.
    other = model.alias()
    query = model.select(model.id, other.id.alias("other")).join(other, on=(other.id < 12)).order_by(model.id, other.id)
    found = [(row["id"], row["other"]) for row in query.dicts().iterator()]
    assert found == [(number, other) for number in range(READ) for other in range(12)]


@scenario(POOL, writes=1)
def pool_create_and_select(db: PooledPg8000Database, run: int) -> None:
    written, table = written_on(db), read_on(db)
    with db.connection_context():
        found = table.select().where(table.id.in_([1, 2])).order_by(table.id)
        assert [(row.id, row.text, row.embedding) for row in found] == read(1, 2)
    (row,) = _dicts(run, 1)
    with db.connection_context():
        written.create(**row)


@scenario(POOL, writes=2)
def pool_atomic(db: PooledPg8000Database, run: int) -> None:
    model = written_on(db)
    with db.connection_context(), db.atomic():
        for row in _dicts(run, 2):
            model.create(**row)
