"""What is said of distribution before any SQL is sent, and on a server without Citus; tests/citus has a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import BigIntegerField, CompositeKey, ForeignKeyField, IntegerField, Model, TextField

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.peewee.citus import DistributionPlan
from lightvec.peewee.distribution import Distribution, distributions
from lightvec.peewee.schema import plan, set_up
from lightvec.pg8000 import Connection
from lightvec.pg8000.exceptions import NotSupportedError
from tests.cli.conftest import Run, run

__all__ = ["run"]


class Page(Model):
    tenant = IntegerField(column_name="tenant_id")
    id = BigIntegerField()
    slug = TextField()
    embedding = VectorField(3)

    class Meta:
        primary_key = CompositeKey("tenant", "id")
        distribute_by = "tenant"
        shards = 4
        indexes = ((("slug", "tenant"), True),)


def made(**meta: Any) -> Any:
    """A model with an id, a tenant, a slug and these options."""
    fields = {"tenant": IntegerField(), "slug": TextField(), "embedding": VectorField(3)}
    return type("Doc", (Model,), {**fields, "Meta": type("Meta", (), meta)})


def test_a_column_is_meant_by_its_name_or_its_fields() -> None:
    for name in ("tenant", "tenant_id"):
        Page._meta.distribute_by = name  # type: ignore[attr-defined]
        assert distributions([Page]) == {Page: Distribution("tenant_id", 4)}


def test_a_model_that_says_nothing_takes_what_is_given() -> None:
    bare = made(primary_key=False)
    assert distributions([bare]) == {}
    assert distributions([bare], Distribution("tenant", 2)) == {bare: Distribution("tenant", 2)}
    assert distributions([Page], Distribution(reference=True)) == {Page: Distribution("tenant_id", 4)}


def test_subclasses_inherit_it() -> None:
    class Base(Model):
        class Meta:
            distribute_by = "tenant"
            primary_key = False

    class Child(Base):
        tenant = IntegerField()

    assert distributions([Child]) == {Child: Distribution("tenant")}


@pytest.mark.parametrize(
    ("meta", "error", "said"),
    [
        ({"distribute_by": "tenant"}, SchemaMismatch, r"primary_key = CompositeKey\('tenant', 'id'\)"),
        (
            {"distribute_by": "nope", "primary_key": False},
            SchemaMismatch,
            "no such column, but tenant, slug",
        ),
        ({"distribute_by": "embedding", "primary_key": False}, SchemaMismatch, "a vector: name a column of ids"),
        (
            {"distribute_by": "tenant", "primary_key": False, "indexes": ((("slug",), True),)},
            SchemaMismatch,
            r"indexes = \(\(\('tenant', 'slug'\), True\),\)",
        ),
        ({"shards": 4}, InvalidOption, "Doc: a number of shards needs the column"),
        ({"reference": True, "distribute_by": "tenant"}, InvalidOption, "whole on each node"),
        ({"distribute_by": "tenant", "primary_key": False, "shards": 0}, InvalidOption, "expected shards from 1"),
        ({"distribute_by": "tenant", "primary_key": False, "shards": True}, InvalidOption, "expected shards from 1"),
    ],
)
def test_what_citus_would_refuse(meta: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        distributions([made(**meta)])


def test_a_unique_field() -> None:
    class User(Model):
        tenant = IntegerField()
        email = TextField(unique=True)

        class Meta:
            primary_key = False
            distribute_by = "tenant"

    with pytest.raises(SchemaMismatch, match=r"email is to be unique.*indexes = \(\(\('tenant', 'email'\), True\),\)"):
        distributions([User])


def spread(*models: Any) -> DistributionPlan:
    return DistributionPlan(None, models, distributions(models))  # type: ignore[arg-type]


class Tenant(Model):
    id = BigIntegerField(primary_key=True)

    class Meta:
        distribute_by = "id"


def child(**meta: Any) -> Any:
    fields = {"tenant": ForeignKeyField(Tenant), "number": IntegerField()}
    return type("Child", (Model,), {**fields, "Meta": type("Meta", (), {"primary_key": False, **meta})})


def test_foreign_keys_between_distributed_tables() -> None:
    together = child(distribute_by="tenant")
    assert [field.name for field in spread(together, Tenant).keys_added_later(together)] == ["tenant"]
    counted = child(distribute_by="tenant", shards=4)
    assert spread(counted, Tenant).keys_added_later(counted), "the number of the other is the server's to say"
    for other in (child(distribute_by="number"), child(reference=True)):
        with pytest.raises(SchemaMismatch, match="only where Child is distributed by tenant_id and Tenant by id"):
            spread(other, Tenant)


def test_conflict_targets(db: Pg8000Database) -> None:
    """Peewee asks how to write the conflict when it writes the statement: nothing is sent."""
    with db.bind_ctx([Page]):
        values = {"tenant": 1, "id": 2, "slug": "a", "embedding": [1, 2, 3]}
        for target in ([Page.id], "id", ["slug", "id"]):
            query = Page.insert(values).on_conflict(conflict_target=target, update={Page.slug: "b"})
            with pytest.raises(SchemaMismatch, match="put the distribution column into conflict_target"):
                query.sql()
        for fitting in ([Page.tenant, Page.id], ["tenant_id", "id"]):
            sql, _ = Page.insert(values).on_conflict(conflict_target=fitting, update={Page.slug: "b"}).sql()
            assert "ON CONFLICT" in sql


@pytest.mark.parametrize("options", [{}, {"distribution": Distribution(reference=True)}, {"distribute_schema": True}])
def test_a_server_without_citus(options: dict[str, Any], db: Pg8000Database) -> None:
    models: list[type[Model]] = [made(table_name="not_made")] if options else [Page]
    if "distribute_schema" in options:
        options = {**options, "schema": "not_made"}
    for make in (plan, set_up):
        with pytest.raises(NotSupportedError, match=r"this database has no Citus.*CREATE EXTENSION citus on each node"):
            make(db, models, **options)
    assert not db.table_exists("not_made")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--shards", "4"], 2, "--shards needs --distribute-by"),
        (["--reference", "--distribute-by", "id"], 2, "got both"),
        (["--distribute-schema"], 2, "--distribute-schema needs --schema"),
        (["--distribute-by", "id"], 1, "has no Citus"),
        (["--reference"], 1, "has no Citus"),
        (["--distribute-by", "nope"], 1, "doc is to be distributed by nope and has no such column, but id, embedding"),
        (["--distribute-by", "embedding"], 1, "a vector"),
    ],
)
def test_calls(arguments: list[str], status: int, said: str, url: str, run: Run) -> None:
    outcome = run("init-db", "--url", url, "--table", "doc", "--dimensions", "3", *arguments)
    assert (outcome.status, said in outcome.err) == (status, True), outcome.err


def test_other_databases_are_told_nothing_of_citus(conn: Connection, sent: list[bytes]) -> None:
    assert conn.extension().citus == ()
    sent.clear()
    with conn.transaction():
        conn.run("SELECT 1", settings={"hnsw.ef_search": 100})
    assert b"citus" not in b"".join(sent)
    assert len(sent) == 3
