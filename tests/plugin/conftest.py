"""Projects of users with tests of their own, run as they run them: pytest in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import open_folder

ROOT = Path(__file__).parents[2]

SHOP = """
from peewee import Model, TextField
from lightvec.peewee import Pg8000Database, VectorField

database = Pg8000Database("postgresql://nobody@nowhere.invalid/production")


class Product(Model):
    name = TextField(unique=True)
    embedding = VectorField(3, metric="cosine", index="hnsw")

    class Meta:
        database = database
"""

CONFTEST = """
import pytest
from shop import Product


@pytest.fixture(scope="session")
def lightvec_models():
    return [Product]
"""


class Project:
    """A folder with files, and a temporary folder in which whatever is left behind can be seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir(0o755)
        self.write("shop.py", SHOP)
        self.write("conftest.py", CONFTEST)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Run its tests: warnings are errors, and nothing but lightvec's own and what is asked for is plugged in."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-W",
                "error",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:hypothesispytest",
                *options,
            ],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(self.temporary),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str, **environment: str) -> Outcome:
        process = self.start(*options, **environment)
        output, _ = process.communicate(timeout=120)
        return Outcome(output, process.returncode)

    def leftovers(self) -> list[str]:
        """The servers' folders that stand."""
        return [path.name for path in self.temporary.iterdir() if path.name.startswith("lightvec-")]


class Outcome:
    """What pytest said, and how many tests ended how."""

    def __init__(self, output: str, status: int) -> None:
        self.output = output
        self.status = status

    @property
    def counts(self) -> dict[str, int]:
        return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)", self.output)}


@pytest.fixture
def project() -> Iterator[Project]:
    folder = open_folder("plugin")
    try:
        yield Project(folder)
    finally:
        shutil.rmtree(folder)
