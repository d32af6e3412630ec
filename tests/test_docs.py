"""What the documentation shows runs, and gives what it shows."""

from __future__ import annotations

import doctest
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any, NamedTuple

import click
import pytest
from peewee import Model

import lightvec
from examples.models import Gloss
from lightvec import Vector
from lightvec.cli.commands import cli
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection, connect, dbapi
from lightvec.server import start, stop
from tests.places import open_folder

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
REPOSITORY = "https://github.com/lightvec/lightvec/blob/main/"

#: The pages whose code runs, and how many commands and programs each has at least.
PAGES = {
    "README.md": 6,
    "docs/quick-start.md": 4,
    "docs/models.md": 15,
    "docs/scripts.md": 8,
    "docs/command-line.md": 20,
    "docs/embeddings.md": 11,
    "docs/lambda.md": 2,
    "docs/indexes.md": 5,
    "docs/schema-changes.md": 10,
    "docs/testing.md": 1,
    "docs/libraries.md": 7,
    "docs/failures.md": 3,
    "docs/pgvector.md": 1,
    "docs/moving.md": 9,
}
#: These begin with an empty database, the others with the rows of the quick start.
FROM_NOTHING = {"README.md", "docs/embeddings.md", "docs/quick-start.md", "docs/libraries.md", "docs/schema-changes.md"}

#: The table that docs/quick-start.md creates and fills.
PRODUCT = """
    CREATE TABLE product (id serial PRIMARY KEY, name text NOT NULL, embedding vector(3) NOT NULL);
    CREATE INDEX product_embedding_cosine_hnsw ON product USING hnsw (embedding vector_cosine_ops);
    INSERT INTO product (name, embedding)
    VALUES ('tea', '[0.9,0.1,0]'), ('coffee', '[0.8,0.3,0.1]'), ('ladder', '[0,0.2,0.9]');
"""

MODULES = [
    module.name for module in pkgutil.walk_packages(lightvec.__path__, "lightvec.") if "__main__" not in module.name
]


@pytest.fixture
def names(conn: Connection, db: Pg8000Database, url: str) -> Iterator[dict[str, Any]]:
    """What the examples in docstrings take for granted."""

    class Doc(Model):
        embedding = VectorField(3, metric="cosine", index="hnsw")

        class Meta:
            database = db

    Doc.create_table(safe=True)
    Doc.drop_table()
    Doc._schema.create_table()  # type: ignore[attr-defined]
    with dbapi.connect(url) as cursors:
        yield {"conn": conn, "database": db, "db": cursors, "Vector": Vector, "Model": Model, "Doc": Doc}
    Doc.drop_table()


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str, names: dict[str, Any]) -> None:
    module = import_module(name)
    outcome = doctest.testmod(module, extraglobs=names, optionflags=doctest.IGNORE_EXCEPTION_DETAIL & 0)
    assert outcome.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    count = sum(len(test.examples) for name in MODULES for test in finder.find(import_module(name)))
    assert count > 60


# README and the pages, from top to bottom


class Block(NamedTuple):
    """A fenced block. Output follows the program that prints it, in a block without a language."""

    language: str
    text: str


def blocks(page: Path = README) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    """A folder for the pages. Its embedded server is started once."""
    folder = open_folder("docs")
    (folder / "examples").symlink_to(ROOT / "examples")
    try:
        yield folder
    finally:
        stop(folder / ".lightvec")
        shutil.rmtree(folder)


@pytest.fixture
def folder(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a page: an empty database, and no files of the page before."""
    for path in shared_folder.iterdir():
        if path.name not in {".lightvec", "examples"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with connect(start(shared_folder / ".lightvec").url) as conn:
        conn.execute_simple("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE EXTENSION vector")
    monkeypatch.chdir(shared_folder)
    monkeypatch.setenv("DATABASE_URL", "embedded:.lightvec")
    return shared_folder


@pytest.mark.parametrize("name", PAGES)
def test_page(folder: Path, name: str) -> None:
    if name not in FROM_NOTHING:
        (folder / "shop.py").write_text(next(block.text for block in blocks(ROOT / "docs/quick-start.md")[1:]))
        with connect() as conn:
            conn.execute_simple(PRODUCT)
    shown = [*blocks(ROOT / name), Block("end", "")]
    ran = 0
    for block, following in pairwise(shown):
        if block.language == "console":
            ran += run_console(block.text, folder)
        elif file := re.match(r"# (\w+\.py)$", block.text, re.MULTILINE):
            (folder / file[1]).write_text(block.text)
        elif block.language == "python":
            output = run([sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", block.text], folder)
            assert re.fullmatch(pattern(following.text if following.language == "" else ""), output), output
            ran += 1
    assert ran >= PAGES[name]


def run(command: str | list[str], folder: Path) -> str:
    """What a command prints and says; a text is for the shell."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shell = isinstance(command, str)
    done = subprocess.run(
        command, shell=shell, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT, text=True, check=False
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def run_console(text: str, folder: Path) -> int:
    """Runs each ``$`` line and compares what follows it with what the command prints and says, where ``…`` stands
    for what is never twice the same; an export holds from there on."""
    ran = 0
    for chunk in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, expected = re.sub(r"\\\n *", "", chunk).partition("\n")
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ[name] = run(f"echo -n {value}", folder)
            continue
        output = run(line, folder)
        assert re.fullmatch(pattern(expected), output), (line, output)
        ran += 1
    return ran


def pattern(expected: str) -> str:
    """What an output has to match: ``…`` is any text in a line, and on a line of its own any lines."""
    return re.sub(r"^…\\\n", r"(?:.*\n)*", re.escape(expected), flags=re.MULTILINE).replace("…", ".*")


def test_shell_blocks_name_targets_and_extras_that_exist() -> None:
    setup = (ROOT / "setup.cfg").read_text()
    makefile = (ROOT / "Makefile").read_text()
    pages = [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    commands = "".join(block.text for page in pages for block in blocks(page) if block.language == "sh")
    for target in re.findall(r"^make ([\w-]+)", commands, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    extras = {extra for found in re.findall(r"lightvec\[([\w,]+)\]", text) for extra in found.split(",")}
    assert len(extras) > 10
    for extra in extras:
        assert re.search(rf"^{extra} =", setup, re.MULTILINE)


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_with_programs_runs() -> None:
    with_programs = {
        page.relative_to(ROOT).as_posix()
        for page in (README, *ROOT.glob("docs/*.md"))
        if any(block.language in {"console", "python"} for block in blocks(page))
    }
    # Citus's is run on a cluster, by tests/citus.
    assert with_programs - {"docs/citus.md"} == PAGES.keys()


#: What langchain-postgres and vecs create, with a row each.
MOVED = """\
CREATE TABLE langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar NOT NULL UNIQUE, cmetadata json);
CREATE TABLE langchain_pg_embedding (
    id varchar PRIMARY KEY, collection_id uuid REFERENCES langchain_pg_collection ON DELETE CASCADE,
    embedding vector, document varchar, cmetadata jsonb
);
CREATE INDEX ix_cmetadata_gin ON langchain_pg_embedding USING gin (cmetadata jsonb_path_ops);
CREATE SCHEMA IF NOT EXISTS vecs;
CREATE TABLE vecs.articles (id text PRIMARY KEY, vec vector(2) NOT NULL, metadata jsonb NOT NULL DEFAULT '{}');
INSERT INTO langchain_pg_collection (uuid, name) VALUES (gen_random_uuid(), 'articles'), (gen_random_uuid(), 'other');
INSERT INTO langchain_pg_embedding SELECT name, uuid, '[1,0]', 'Tea', '{"lang": "en"}' FROM langchain_pg_collection;
INSERT INTO vecs.articles VALUES ('v1', '[0.6,0.8]', '{"title": "Ladder"}');
"""


def test_recipes_of_other_libraries(folder: Path) -> None:
    run("lightvec init-db --table note --dimensions 2 --metric cosine --column title:text --column meta:jsonb", folder)
    with connect() as conn:
        conn.execute_simple(MOVED)
        recipes = [block.text for block in blocks(ROOT / "docs/moving.md") if block.language == "sql"]
        assert len(recipes) == 2
        for recipe in recipes:
            conn.execute_simple(recipe)
        assert conn.run("SELECT title, meta, embedding FROM note ORDER BY id") == [
            ["Tea", {"lang": "en", "langchain_id": "articles"}, [1, 0]],
            ["Ladder", {"title": "Ladder", "vecs_id": "v1"}, Vector([0.6, 0.8])],
        ]
        found = json.loads(run("lightvec search articles --schema vecs --vector '[1,0]' -k 1 --json", folder))
        assert found == [{"score": pytest.approx(0.6), "id": "v1", "metadata": {"title": "Ladder"}}]
        conn.execute_simple("DROP SCHEMA vecs CASCADE")


def test_the_pages_have_no_table_of_the_demonstration() -> None:
    """Whoever begins with ``make demo`` goes on in the same folder, and so on the same server."""
    pages = [page for name in PAGES for page in blocks(ROOT / name)]
    tables = {table for page in pages for table in re.findall(r"--table (\w+)", page.text)}
    assert tables == {"note", "definition"}
    assert not {*tables, "product"} & {Gloss._meta.table_name}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def documents() -> list[Path]:
    folders = [path for name in ("docs", "examples") for path in (ROOT / name).rglob("*.md")]
    return sorted({*ROOT.glob("*.md"), *folders})


def test_links_lead_somewhere() -> None:
    for page in documents():
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)]+)\)|^\[[\w-]+\]: (\S+)$", text, re.MULTILINE):
            target, _, anchor = "".join(link).partition("#")
            if target.startswith(REPOSITORY):
                path = ROOT / target.removeprefix(REPOSITORY)
            elif re.match(r"\w+:", target):
                continue
            else:
                # Of a README that PyPI shows, a relative link leads nowhere.
                assert page != README, f"{page}: {target} is relative"
                path = page.parent / target if target else page
            assert path.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors(path), f"{page}: {target}#{anchor}"


def test_references_have_targets() -> None:
    for page in documents():
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        used = {*re.findall(r"\]\[([\w-]+)\]", text)}
        assert used == {*re.findall(r"^\[([\w-]+)\]: ", text, re.MULTILINE)}, page


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {*re.findall(r"\]\(([\w-]+\.md)\)", index)} == pages


def test_the_page_of_commands_has_each_of_them() -> None:
    """And the options that a section names are those of its command."""
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    context = click.Context(cli)
    assert sections.keys() == {*cli.list_commands(context)}
    for name, text in sections.items():
        command = cli.get_command(context, name)
        assert command is not None
        commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        options = {
            option for each in commands for param in each.params for option in (*param.opts, *param.secondary_opts)
        }
        assert {*re.findall(r"(?<![\w-])--[a-z][\w-]*", text)} <= options, name
