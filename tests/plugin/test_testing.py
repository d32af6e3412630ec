"""``lightvec.testing`` by itself: databases on a server, and models that are moved there for a while."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import SQL, DatabaseProxy, Model, PostgresqlDatabase, TextField

from lightvec.peewee import Pg8000Database, PooledPg8000Database, VectorField
from lightvec.pg8000 import connect
from lightvec.server import Server
from lightvec.testing import Databases, bound_to

ELSEWHERE = "postgresql://nobody@nowhere.invalid/production"


def model_of(database: Any, **meta: Any) -> Any:
    class Thing(Model):
        name = TextField()
        embedding = VectorField(2, null=True)

    for name, value in {"database": database, "table_name": "testing_thing", **meta}.items():
        setattr(Thing._meta, name, value)
    if database is not None:
        Thing._meta.set_database(database)
    return Thing


def put_and_count(model: Any) -> int:
    model.create(name="a", embedding=[1, 2])
    return int(model.select().count())


@pytest.mark.parametrize(
    "database",
    [
        Pg8000Database(ELSEWHERE, deadline=lambda: 60_000, isolation_level="SERIALIZABLE"),
        Pg8000Database("production", host="nowhere.invalid", user="nobody", password="secret"),
        Pg8000Database(None),
        PooledPg8000Database(ELSEWHERE, max_connections=3),
    ],
    ids=["dsn", "parameters", "deferred", "pooled"],
)
def test_their_own_database_moves_and_comes_back(server: Server, database: Any) -> None:
    model = model_of(database)
    before = {**vars(database), "connect_params": dict(database.connect_params)}
    with Databases(server.url, [model]) as databases:
        for _ in range(2):
            with databases.new() as url, bound_to(url, [model]) as same:
                assert same is database
                assert put_and_count(model) == 1
    for name in ("database", "connect_params", "deferred", "deadline", "_isolation_level"):
        assert getattr(database, name) == before.get(name), name
    assert database.is_closed()


@pytest.mark.parametrize("inside", [None, Pg8000Database(ELSEWHERE), PostgresqlDatabase("other")])
def test_a_proxy(server: Server, inside: Any) -> None:
    proxy = DatabaseProxy()
    proxy.initialize(inside)
    model = model_of(proxy)
    with Databases(server.url, [model]) as databases, databases.new() as url, bound_to(url, [model]) as database:
        assert isinstance(database, Pg8000Database)
        assert proxy.obj is database
        with proxy.atomic():
            assert put_and_count(model) == 1
    assert proxy.obj is inside


def test_models_of_no_database_and_of_several(server: Server) -> None:
    models = [
        model_of(None),
        model_of(Pg8000Database(ELSEWHERE), table_name="testing_two"),
        model_of(PostgresqlDatabase("other"), table_name="testing_three"),
    ]
    before = [model._meta.database for model in models]
    with Databases(server.url, models) as databases, databases.new() as url, bound_to(url, models):
        assert [put_and_count(model) for model in models] == [1, 1, 1]
    assert [model._meta.database for model in models] == before


def test_a_schema_of_its_own(server: Server) -> None:
    model = model_of(Pg8000Database(ELSEWHERE), schema="shop")
    with Databases(server.url, [model]) as databases, databases.new() as url, bound_to(url, [model]):
        assert put_and_count(model) == 1


def test_without_models(server: Server) -> None:
    with Databases(server.url) as databases, databases.new() as url, bound_to(url) as database:
        assert database.extension().oids
        assert database.get_tables() == []


def test_a_keyword_string(server: Server) -> None:
    dsn = f"host={server.socket_folder} user=postgres dbname=postgres"
    with Databases(dsn) as databases, databases.new() as url, connect(url) as conn:
        assert conn.run("SELECT current_database()")[0][0].startswith("lightvec_test_")


@pytest.mark.parametrize(
    "form", ["{path}?{query}&dbname=postgres", "?dbname=postgres&{query}", "?database=postgres&{query}"]
)
def test_a_database_that_the_query_names(form: str, server: Server) -> None:
    """It would take precedence over the path, and is nobody's to test in."""
    query = server.url.partition("?")[2]
    url = f"postgresql://postgres@{form.format(path='/postgres', query=query)}"
    with Databases(url) as databases, databases.new() as found, connect(found) as conn:
        assert conn.run("SELECT current_database()")[0][0].startswith("lightvec_test_")


def test_a_name_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """All else comes from the environment."""
    monkeypatch.setenv("PGHOST", str(server.socket_folder))
    monkeypatch.setenv("PGUSER", "postgres")
    with Databases("postgres") as databases, databases.new() as url, connect(url) as conn:
        assert conn.run("SELECT current_database()")[0][0].startswith("lightvec_test_")


def test_an_embedded_server(server: Server) -> None:
    with Databases(f"embedded:{server.path}") as databases, databases.new() as url:
        assert str(server.socket_folder) in url


def test_whoever_is_still_connected_is_no_hindrance(server: Server) -> None:
    with Databases(server.url) as databases:
        with databases.new() as url:
            conn = connect(url)
        with pytest.raises(Exception, match=r"terminat|closed"):
            conn.run("SELECT 1")


def test_a_model_that_cannot_be_made_leaves_no_database(server: Server) -> None:
    model = model_of(Pg8000Database(ELSEWHERE))
    model._meta.add_field("bad", TextField(constraints=[SQL("CHECK (nonsense")]))
    with connect(server.url) as conn:
        count = conn.run("SELECT count(*) FROM pg_database")
        with pytest.raises(Exception, match=r"."), Databases(server.url, [model]):
            pass
        assert conn.run("SELECT count(*) FROM pg_database") == count
    assert model._meta.database.database == ELSEWHERE
