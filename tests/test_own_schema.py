"""The tests of a database that somebody names see only what they have created, and leave nothing."""

from __future__ import annotations

import pytest

from lightvec.pg8000 import connect
from tests.own_schema import own_schema

RELATIONS = "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid >= 16384"
NAMES = "SELECT oid FROM pg_namespace WHERE nspname LIKE 'lightvec%' UNION ALL SELECT oid FROM pg_extension"


def test_tables_of_others_are_out_of_sight(empty_url: str) -> None:
    with connect(empty_url) as admin:
        admin.run("CREATE TABLE note (id int); INSERT INTO note VALUES (7)")
        before = admin.run(RELATIONS), admin.run(NAMES)
        for url in (empty_url, f"{empty_url}&options=-c%20work_mem%3D8MB"):
            with own_schema(url) as own, connect(own) as conn:
                assert conn.run("SELECT to_regclass('note'), '[1]'::vector::text") == [[None, "[1]"]]
                conn.run("CREATE TABLE note (v vector(3)); CREATE TABLE word (id int)")
                assert conn.run("SHOW work_mem") == [["8MB" if "work_mem" in url else "4MB"]]
            assert (admin.run(RELATIONS), admin.run(NAMES)) == before
        assert admin.run("SELECT id FROM note") == [[7]]


def test_pgvector_in_a_schema_without_tables_is_used(empty_url: str) -> None:
    with connect(empty_url) as admin:
        admin.run('CREATE SCHEMA "My extensions"; CREATE EXTENSION vector SCHEMA "My extensions"; CREATE TABLE note ()')
        with own_schema(empty_url) as own, connect(own) as conn:
            assert conn.run("SELECT to_regclass('note'), '[1]'::vector::text") == [[None, "[1]"]]
        assert admin.extension().oids


def test_pgvector_beside_tables_of_others_is_refused(empty_url: str) -> None:
    with connect(empty_url) as admin:
        admin.run("CREATE EXTENSION vector; CREATE TABLE note (id int)")
        before = admin.run(RELATIONS), admin.run(NAMES)
        with (
            pytest.raises(AssertionError, match=r"the schema public, which has tables \(note\)"),
            own_schema(empty_url),
        ):
            pytest.fail("the tests would have run")
        assert (admin.run(RELATIONS), admin.run(NAMES)) == before
