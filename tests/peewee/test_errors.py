"""Peewee's own exceptions come out, with lightvec's behind them."""

from __future__ import annotations

from typing import Any

import peewee
import pytest
from peewee import IntegerField, Model, TextField

from lightvec.errors import InvalidVector, LightvecError
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import dbapi, exceptions
from tests.peewee.conftest import Use


class Strict(Model):
    id: Any
    name = TextField(unique=True)
    size = IntegerField(null=True)
    embedding = VectorField(3, null=True)

    class Meta:
        table_name = "peewee_strict"


def raised(database: Pg8000Database, sql: str, *values: object) -> Any:
    with pytest.raises(peewee.DatabaseError) as caught:
        database.execute_sql(sql, values or None)
    return caught.value


@pytest.mark.parametrize(
    ("sql", "theirs", "ours", "sqlstate"),
    [
        ("SELECT 1 / 0", peewee.DataError, dbapi.DataError, "22012"),
        ("SELECT no_such", peewee.ProgrammingError, dbapi.ProgrammingError, "42703"),
        ("SELEC", peewee.ProgrammingError, dbapi.ProgrammingError, "42601"),
        ("SELECT '[1]'::vector <-> '[1,2]'", peewee.DataError, dbapi.DataError, "22000"),
        ("SELECT '[x]'::vector", peewee.DataError, dbapi.DataError, "22P02"),
        ("SET statement_timeout = 1; SELECT pg_sleep(1)", peewee.OperationalError, dbapi.OperationalError, "57014"),
        ("SAVEPOINT s", peewee.InternalError, dbapi.InternalError, "25P01"),
    ],
)
def test_classes(db: Pg8000Database, sql: str, theirs: type[Exception], ours: type[Exception], sqlstate: str) -> None:
    error = raised(db, sql)
    assert (type(error), type(error.orig)) == (theirs, ours)
    assert LightvecError in ours.__mro__
    assert error.orig.sqlstate == sqlstate
    assert f"(SQLSTATE {sqlstate})" in str(error)


def test_a_message_is_a_sentence(db: Pg8000Database) -> None:
    text = str(raised(db, "SELECT no_such"))
    assert text.startswith('column "no_such" does not exist (SQLSTATE 42703)')
    assert "{" not in text


def test_integrity(use: Use) -> None:
    use(Strict)
    Strict.create(name="a")
    with pytest.raises(peewee.IntegrityError) as caught:
        Strict.create(name="a")
    error: Any = caught.value
    assert isinstance(error.orig, dbapi.IntegrityError)
    assert (error.orig.constraint, error.orig.table) == ("strict_name", "peewee_strict")
    assert error.orig.detail == "Key (name)=(a) already exists."
    assert str(error).startswith("duplicate key value violates unique constraint")


def test_not_null_names_the_column(use: Use) -> None:
    use(Strict)
    with pytest.raises(peewee.IntegrityError) as caught:
        Strict.insert(size=1).execute()
    error: Any = caught.value
    assert (error.orig.sqlstate, error.orig.column) == ("23502", "name")


def test_a_number_that_does_not_fit(use: Use) -> None:
    use(Strict)
    with pytest.raises(peewee.DataError, match="out of range"):
        Strict.create(name="a", size=2**40)


def test_wrong_dimensions_of_the_column_come_from_the_server(use: Use, db: Pg8000Database) -> None:
    use(Strict)
    error = raised(db, 'INSERT INTO "peewee_strict" (name, embedding) VALUES (%s, %s)', "a", "[1,2]")
    assert isinstance(error, peewee.DataError)
    assert "expected 3 dimensions, not 2" in str(error)


def test_a_vector_that_does_not_fit_sends_nothing(use: Use, sent: list[bytes]) -> None:
    use(Strict)
    sent.clear()
    with pytest.raises(InvalidVector, match=r"Strict\.embedding expected 3 dimensions, not 2"):
        Strict.create(name="a", embedding=[1, 2])
    assert sent == []


def test_without_the_extension(empty_url: str) -> None:
    database = Pg8000Database(empty_url)
    with database.connection_context():
        with pytest.raises(peewee.ProgrammingError, match="CREATE EXTENSION vector") as caught:
            database.execute_sql("SELECT %s", (Strict.embedding.db_value([1, 2, 3]),))
        error: Any = caught.value
        assert isinstance(error.orig, exceptions.MissingExtension)
        assert database.extension().version == ()
        database.execute_sql("CREATE EXTENSION vector")
        row: Any = database.execute_sql("SELECT %s", (Strict.embedding.db_value([1, 2, 3]),)).fetchone()
        assert row[0] == [1, 2, 3]


def test_no_server(tmp_path: Any) -> None:
    database = Pg8000Database("postgres", host=str(tmp_path), user="postgres")
    with pytest.raises(peewee.OperationalError, match=str(tmp_path)):
        database.connect()
    assert database.is_closed()


def test_it_does_not_exist(use: Use) -> None:
    use(Strict)
    with pytest.raises(peewee.DoesNotExist):
        Strict.get(Strict.embedding == [1, 2, 3])
