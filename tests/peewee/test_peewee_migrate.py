"""peewee-migrate writes files that run."""

from __future__ import annotations

from pathlib import Path

import pytest
from peewee_migrate import Migrator, Router

from lightvec.errors import SchemaMismatch
from lightvec.peewee import Pg8000Database, VectorField
from tests.peewee.versions import VERSIONS, catalog, is_as_declared, models_of


def test_peewee_migrate_through_versions_of_a_model(empty: Pg8000Database, tmp_path: Path) -> None:
    states = []
    for number, source in enumerate(VERSIONS):
        states.append(catalog(empty, "item"))
        model = models_of(source, empty)
        Router(empty, migrate_dir=tmp_path).create("next", auto=[model])
        assert Router(empty, migrate_dir=tmp_path).run() == [f"00{number + 1}_next"]
        assert is_as_declared(model, empty)
        assert Router(empty, migrate_dir=tmp_path).create("again", auto=[model]) is None
        model.insert(name="abc", n=9).execute()
    for state in reversed(states):
        Router(empty, migrate_dir=tmp_path).rollback()
        assert catalog(empty, "item") == state


def test_peewee_migrate_renames_and_refuses_another_model(empty: Pg8000Database) -> None:
    model = models_of(VERSIONS[0], empty)
    migrator = Migrator(empty)
    migrator.create_model(model)
    migrator()
    migrator.rename_field("item", "dense", "vector")
    migrator()
    assert "vector_hash uuid false" in catalog(empty, "item")
    migrator.change_fields("item", vector=VectorField(3, metric="l2", model="m-9", source="name"))
    with pytest.raises(SchemaMismatch, match="has vectors of the model m-1"):
        migrator()
