"""What a connection is taught, what is checked of its database, and what inspectdb says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from lightvec.django import checks
from lightvec.django.connections import types_of
from lightvec.pg8000 import connect
from tests.django.conftest import database_settings


@pytest.fixture
def elsewhere(empty_url: str) -> Iterator[str]:
    """Django's database is an empty one for a test; its URL."""
    kept = connections["default"]
    other = kept.copy()
    other.settings_dict = {**other.settings_dict, **database_settings(empty_url)}
    connections["default"] = other
    try:
        yield empty_url
    finally:
        connections["default"] = kept
        other.close()


def warnings() -> list[str | None]:
    return [found.id for found in run_checks(tags=[Tags.database], databases=["default"])]


def test_all_is_well() -> None:
    assert warnings() == []


def test_a_migration_will_create_it(elsewhere: str) -> None:
    assert warnings() == []


def test_nothing_creates_it(elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_operations", lambda: iter(()))
    (found,) = checks.check_extension(databases=["default"])
    assert found.id == "lightvec.W001"
    assert found.msg.endswith("has no pgvector, and no migration creates it.")
    assert "VectorExtension()" in str(found.hint)
    with connect(elsewhere) as admin:
        admin.run("CREATE EXTENSION vector")
    assert checks.check_extension(databases=["default"]) == []


def test_an_old_pgvector(elsewhere: str) -> None:
    with connect(elsewhere) as admin:
        admin.run("CREATE EXTENSION vector; ALTER TYPE halfvec RENAME TO not_yet")
    (found,) = checks.check_extension(databases=["default"])
    assert found.id == "lightvec.W002"
    assert re.search(r"has pgvector 0\.\d+\.\d+, which has no type halfvec\.$", found.msg)


def test_types_out_of_reach(elsewhere: str) -> None:
    with connect(elsewhere) as admin:
        admin.run("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions")
    (found,) = checks.check_extension(databases=["default"])
    assert found.id == "lightvec.W003"
    assert found.msg.endswith("has pgvector in the schema extensions, where halfvec is not found.")
    assert "-c search_path=public,extensions" in str(found.hint)


def test_types_are_asked_for_once() -> None:
    again = connection.copy()
    again.connect()
    try:
        assert types_of(again) is types_of(connection)
    finally:
        again.close()


def test_programs_do_not_count_the_query(elsewhere: str) -> None:
    with CaptureQueriesContext(connections["default"]) as queries, connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    assert [query["sql"] for query in queries] == ["SELECT 1"]


INSPECTED = """\
    id = models.IntegerField(blank=True, null=True)
    e = lightvec.django.VectorField(dimensions=3, blank=True, null=True)
    any_e = lightvec.django.VectorField(blank=True, null=True)
    h = lightvec.django.HalfVectorField(dimensions=2)
    s = lightvec.django.SparseVectorField(dimensions=1000000000, unique=True)
    b = lightvec.django.BitField(length=64, db_comment='bits')
    one = lightvec.django.BitField(length=1, blank=True, null=True)
    name = models.CharField(max_length=7, blank=True, null=True)
    number = models.DecimalField(max_digits=5, decimal_places=2, blank=True, null=True)
"""


def test_inspectdb() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            'CREATE TABLE "The Table" (id int, e vector(3), any_e vector, h halfvec(2) NOT NULL,'
            " s sparsevec(1000000000) NOT NULL UNIQUE, b bit(64) NOT NULL, one bit,"
            " name varchar(7), number numeric(5, 2));"
            """ COMMENT ON COLUMN "The Table".b IS 'bits'"""
        )
    output = StringIO()
    call_command("inspectdb", "The Table", stdout=output)
    assert INSPECTED in output.getvalue()
