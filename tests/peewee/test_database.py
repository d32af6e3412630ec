"""How a database is named, and what a connection of it is like."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from peewee import InterfaceError, Model, OperationalError, TextField
from peewee import ProgrammingError as PeeweeProgrammingError

from lightvec.errors import InvalidOption
from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.server import Server


def where(database: Pg8000Database) -> tuple[str, str]:
    """The database's and the user's name, as the server has them."""
    try:
        name, user = database.execute_sql("SELECT current_database(), current_user").fetchone() or ("", "")
    finally:
        database.close()
        if isinstance(database, PooledPg8000Database):
            database.close_idle()
    return name, user


class Place:
    """A URL by its parts."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        self.name = parts.path[1:]
        self.folder = options["host"][0]
        self.port = int(options.get("port", ["5432"])[0])


@pytest.fixture
def place(url: str) -> Place:
    return Place(url)


# Naming it


def test_uri(url: str, place: Place) -> None:
    assert where(Pg8000Database(url)) == (place.name, "postgres")


def test_keyword_string(place: Place) -> None:
    dsn = f"host={place.folder} port={place.port} dbname={place.name} user=postgres"
    assert where(Pg8000Database(dsn)) == (place.name, "postgres")


def test_peewees_own_form_with_a_socket_folder_as_host(place: Place) -> None:
    database = Pg8000Database(place.name, host=place.folder, port=place.port, user="postgres", password="unasked")
    assert where(database) == (place.name, "postgres")


def test_arguments_win_over_the_string(url: str, place: Place) -> None:
    assert where(Pg8000Database(f"{url}&application_name=string", dbname="postgres")) == ("postgres", "postgres")


def test_database_by_keyword(place: Place) -> None:
    database = Pg8000Database(database=place.name, host=place.folder, port=place.port, user="postgres")
    assert where(database) == (place.name, "postgres")


def test_dsn_by_keyword(url: str, place: Place) -> None:
    assert where(Pg8000Database(dsn=url)) == (place.name, "postgres")
    assert where(PooledPg8000Database(dsn=url)) == (place.name, "postgres")


def test_embedded(server: Server) -> None:
    assert where(Pg8000Database(f"embedded:{server.path}")) == ("postgres", "postgres")


@pytest.mark.parametrize("cls", [Pg8000Database, PooledPg8000Database])
def test_nothing_is_the_environment(
    cls: type[Pg8000Database], url: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert where(cls()) == (place.name, "postgres")


def test_the_environment_is_read_when_connecting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Pg8000Database()
    for name, value in {"PGHOST": place.folder, "PGPORT": str(place.port), "PGUSER": "postgres"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGDATABASE", place.name)
    assert where(database) == (place.name, "postgres")


@pytest.mark.parametrize("cls", [Pg8000Database, PooledPg8000Database])
def test_none_waits_for_init(cls: type[Pg8000Database], url: str, place: Place) -> None:
    database = cls(None)
    assert database.deferred
    with pytest.raises(InterfaceError, match="must be initialized"):
        database.connect()
    database.init(url)
    assert where(database) == (place.name, "postgres")


def test_init_takes_peewees_form(place: Place) -> None:
    database = Pg8000Database(None)
    database.init(place.name, host=place.folder, port=place.port, user="postgres")
    assert where(database) == (place.name, "postgres")


def test_what_chooses_a_psycopg_has_no_meaning(url: str, place: Place) -> None:
    database = Pg8000Database(url, prefer_psycopg3=True, register_unicode=False)
    assert where(database) == (place.name, "postgres")


def test_encoding_is_the_connections(url: str) -> None:
    database = Pg8000Database(url, encoding="UTF8")
    with database.connection_context():
        assert database.execute_sql("SHOW client_encoding").fetchone() == ("UTF8",)
        assert database.execute_sql("SELECT %s", ("ä€𝄞",)).fetchone() == ("ä€𝄞",)


def test_libpqs_parameters(url: str) -> None:
    database = Pg8000Database(url, application_name="tests", options="-c work_mem=8MB")
    with database.connection_context():
        row = database.execute_sql("SELECT current_setting('application_name'), current_setting('work_mem')").fetchone()
    assert row == ("tests", "8MB")


def test_unknown_parameter_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidOption, match="hots"):
        Pg8000Database(url, hots="x").connect()


def test_no_database_of_that_name(url: str) -> None:
    with pytest.raises((OperationalError, PeeweeProgrammingError), match="no_such") as caught:
        Pg8000Database(url, dbname="no_such").connect()
    error: Any = caught.value
    assert error.orig.sqlstate == "3D000"


def test_isolation_level_must_be_one(url: str) -> None:
    for level in ("sometimes", 7):
        with pytest.raises(InvalidOption, match=f"SERIALIZABLE, or its number, got {level!r}"):
            Pg8000Database(url, isolation_level=level)


# Isolation


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "read committed"),
        ("SERIALIZABLE", "serializable"),
        ("repeatable read", "repeatable read"),
        (4, "serializable"),
    ],
)
def test_isolation_level(url: str, given: str | int | None, expected: str) -> None:
    database = Pg8000Database(url, isolation_level=given)
    with database.connection_context(), database.atomic():
        assert database.execute_sql("SHOW transaction_isolation").fetchone() == (expected,)


def test_isolation_level_of_one_transaction(db: Pg8000Database) -> None:
    with db.atomic("SERIALIZABLE"):
        assert db.execute_sql("SHOW transaction_isolation").fetchone() == ("serializable",)
    with db.atomic():
        assert db.execute_sql("SHOW transaction_isolation").fetchone() == ("read committed",)


# What a statement is


def test_several_statements_without_parameters(db: Pg8000Database) -> None:
    db.execute_sql("CREATE TEMP TABLE several (n int); INSERT INTO several VALUES (1), (2)")
    assert db.execute_sql("SELECT sum(n) FROM several").fetchone() == (3,)


def test_percent_signs(db: Pg8000Database) -> None:
    assert db.execute_sql("SELECT %s %% 3", (7,)).fetchone() == (1,)

    class Percent(Model):
        text = TextField()

        class Meta:
            database = db
            temporary = True

    Percent.create_table()
    Percent.create(text="100%s")
    assert Percent.select().where(Percent.text.contains("%s")).count() == 1
    assert Percent.select().where(Percent.text.startswith("1%")).count() == 0


def test_a_statement_is_one_round_trip(db: Pg8000Database, sent: list[bytes]) -> None:
    db.connect()
    sent.clear()
    db.execute_sql("SELECT %s", (1,))
    assert len(sent) == 1


def test_server_version(db: Pg8000Database) -> None:
    db.connect()
    assert isinstance(db.server_version, int)
    assert db.server_version >= 140_000


def test_extension(db: Pg8000Database) -> None:
    assert db.extension().version >= (0, 8)
    assert set(db.extension().oids) == {"vector", "halfvec", "sparsevec"}


def test_rows_are_tuples_and_the_cursor_counts(db: Pg8000Database) -> None:
    cursor: Any = db.execute_sql("SELECT generate_series(1, 3)")
    assert cursor.rowcount == 3
    assert cursor.fetchall() == [(1,), (2,), (3,)]
