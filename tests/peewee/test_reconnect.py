"""Connections that break: replaced where nothing is lost by it, reported where something is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from peewee import InterfaceError, Model, OperationalError, PeeweeException, TextField

from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection
from tests.peewee.conftest import Use

Kill = Callable[[Pg8000Database], None]


class Note(Model):
    id: Any
    text = TextField()
    embedding = VectorField(2, metric="l2", null=True)

    class Meta:
        table_name = "peewee_note"


def backend(database: Pg8000Database) -> int:
    row: Any = database.execute_sql("SELECT pg_backend_pid()").fetchone()
    return int(row[0])


@pytest.fixture
def kill(conn: Connection) -> Kill:
    """Ends a database's connection from another one, and waits until it has ended."""

    def end(database: Pg8000Database) -> None:
        pid = backend(database)
        assert conn.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid) == [[True]]

    return end


@pytest.fixture
def notes(use: Use) -> None:
    use(Note)


def test_the_next_query_works(db: Pg8000Database, kill: Kill) -> None:
    before = backend(db)
    kill(db)
    assert db.execute_sql("SELECT 1").fetchone() == (1,)
    assert backend(db) != before


@pytest.mark.usefixtures("notes")
def test_the_next_write_is_done_once(db: Pg8000Database, kill: Kill) -> None:
    Note.create(text="a")
    kill(db)
    Note.create(text="b")
    assert [note.text for note in Note.select().order_by(Note.id)] == ["a", "b"]


@pytest.mark.usefixtures("notes")
def test_a_nearest_query_works(db: Pg8000Database, kill: Kill) -> None:
    Note.create(text="a", embedding=[1, 2])
    kill(db)
    query: Any = Note.embedding.nearest([1, 2], k=100).where(Note.text == "a")
    assert [note.text for note in query] == ["a"]


@pytest.mark.usefixtures("notes")
def test_the_next_transaction_works(db: Pg8000Database, kill: Kill) -> None:
    kill(db)
    with db.atomic():
        Note.create(text="a")
    assert Note.select().count() == 1


@pytest.mark.usefixtures("notes")
def test_inside_a_transaction_it_is_an_operational_error(db: Pg8000Database, kill: Kill) -> None:
    def write() -> None:
        with db.atomic():
            Note.create(text="lost")
            kill(db)
            Note.create(text="never")

    with pytest.raises(OperationalError) as caught:
        write()
    error: Any = caught.value
    assert "connection" in str(error)
    # One error, and not another one from the rollback that follows it.
    assert not isinstance(error.__context__, PeeweeException)
    assert db.transaction_depth() == 0
    Note.create(text="after")
    assert [note.text for note in Note.select()] == ["after"]


@pytest.mark.usefixtures("notes")
def test_inside_a_savepoint_too(db: Pg8000Database, kill: Kill) -> None:
    def write() -> None:
        with db.atomic(), db.atomic():
            Note.create(text="lost")
            kill(db)
            Note.create(text="never")

    with pytest.raises(OperationalError):
        write()
    assert db.transaction_depth() == 0
    Note.create(text="after")
    assert Note.select().count() == 1


@pytest.mark.usefixtures("notes")
def test_a_commit_that_cannot_be_is_reported(db: Pg8000Database, kill: Kill) -> None:
    def write() -> None:
        with db.atomic():
            Note.create(text="lost")
            kill(db)

    with pytest.raises(OperationalError):
        write()
    assert Note.select().count() == 0


@pytest.mark.usefixtures("notes")
def test_a_transaction_whose_error_was_passed_over_does_not_seem_committed(db: Pg8000Database, kill: Kill) -> None:
    def write() -> None:
        with db.atomic():
            Note.create(text="lost")
            kill(db)
            with suppress(OperationalError):
                Note.create(text="lost, too")

    with pytest.raises(OperationalError):
        write()
    assert Note.select().count() == 0


def test_a_transaction_begun_as_sql_is_not_gone_on_with_elsewhere(db: Pg8000Database, kill: Kill) -> None:
    db.execute_sql("BEGIN")
    kill(db)
    with pytest.raises(OperationalError):
        db.execute_sql("SELECT 1")
    assert db.execute_sql("SELECT 1").fetchone() == (1,)


def test_a_connection_context_goes_on(url: str, kill: Kill) -> None:
    database = Pg8000Database(url)
    with database.connection_context():
        with database.connection_context():
            kill(database)
            assert database.execute_sql("SELECT 1").fetchone() == (1,)
        assert not database.is_closed()
    assert database.is_closed()


def test_a_connection_context_does_not_hide_why_there_is_no_new_connection(url: str, kill: Kill) -> None:
    database = Pg8000Database(url)

    def use() -> None:
        with database.connection_context():
            kill(database)
            database.connect_params["dbname"] = "no_such_database"
            database.execute_sql("SELECT 1")

    with pytest.raises(PeeweeException, match="no_such_database"):
        use()
    assert database.is_closed()


def test_a_closed_database_stays_closed(url: str) -> None:
    database = Pg8000Database(url, autoconnect=False)
    with pytest.raises(InterfaceError):
        database.execute_sql("SELECT 1")
    assert database.is_closed()


def test_without_autoconnect_a_broken_connection_is_replaced_too(url: str, kill: Kill) -> None:
    database = Pg8000Database(url, autoconnect=False)
    with database.connection_context():
        kill(database)
        assert database.execute_sql("SELECT 1").fetchone() == (1,)


def test_closing_what_broke_is_quiet(db: Pg8000Database, kill: Kill) -> None:
    kill(db)
    assert db.close()
    assert db.is_closed()


def test_usable(db: Pg8000Database) -> None:
    db.connect()
    assert db.is_connection_usable()
    with db.atomic() as transaction:
        with suppress(PeeweeException):
            db.execute_sql("SELECT 1 / 0")
        assert not db.is_connection_usable()
        transaction.rollback()
        assert db.is_connection_usable()
