"""What the documentation shows runs, and gives what it shows."""

from __future__ import annotations

import doctest
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest
from peewee import Model

import lightvec
from examples.models import Gloss
from lightvec import Vector
from lightvec.peewee import Pg8000Database, VectorField
from lightvec.pg8000 import Connection, dbapi
from lightvec.server import stop
from tests.places import open_folder

README = Path(__file__).parents[1] / "README.md"
#: What stands in a page as it is typed and as it is answered, and how many of them there are at least.
PAGES = {README: 20, README.parent / "examples" / "libraries.md": 7}

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


# README and the guides, from top to bottom


class Block:
    """A fenced block: its language, its text, and the block behind it if that is output."""

    def __init__(self, language: str, text: str) -> None:
        self.language = language
        self.text = text


def blocks(page: Path = README) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the examples in it, whose embedded server is stopped at the end."""
    folder = open_folder("readme")
    (folder / "examples").symlink_to(README.parent / "examples")
    monkeypatch.chdir(folder)
    # What a block exports is gone after the test.
    monkeypatch.setenv("DATABASE_URL", "")
    try:
        yield folder
    finally:
        stop(folder / ".lightvec")
        shutil.rmtree(folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(folder: Path, page: Path) -> None:
    shown = blocks(page)
    ran = 0
    for position, block in enumerate(shown):
        if block.language == "console":
            ran += run_console(block.text, folder)
        elif file := re.match(r"# (\w+\.py)$", block.text, re.MULTILINE):
            (folder / file[1]).write_text(block.text)
        elif block.language == "python":
            following = shown[position + 1]
            output = run([sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", block.text], folder)
            assert re.fullmatch(pattern(following.text if following.language == "" else ""), output), output
            ran += 1
    assert ran >= PAGES[page]


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
    setup = (README.parent / "setup.cfg").read_text()
    makefile = (README.parent / "Makefile").read_text()
    text = "".join(block.text for block in blocks() if block.language == "sh")
    for target in re.findall(r"^make ([\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    extras = {extra for found in re.findall(r"lightvec\[([\w,]+)\]", README.read_text()) for extra in found.split(",")}
    assert len(extras) > 10
    for extra in extras:
        assert re.search(rf"^{extra} =", setup, re.MULTILINE)


def test_the_page_has_no_table_of_the_demonstrations() -> None:
    """Who begins with ``make demo`` goes on in the same folder, and so on the same server."""
    made = re.findall(r"--table (\w+)", README.read_text(encoding="utf-8"))
    assert made == ["definition"]
    assert not {*made, "product"} & {Gloss._meta.table_name}


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, *README.parent.glob("examples/**/README.md")):
        for target in re.findall(r"\]\((?!\w+:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
