"""The guide, from top to bottom: its commands run on the cluster and print what it shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightvec.pg8000 import connect
from lightvec.wire.identifiers import identifier
from tests.places import open_folder
from tests.test_docs import run_console

GUIDE = Path(__file__).parents[2] / "docs" / "citus.md"
TABLES = ("note", "word", "passage", "tenant", "language")


@pytest.fixture
def folder(citus_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder; the tables of the guide are dropped behind it."""
    folder = open_folder("guide")
    monkeypatch.setenv("DATABASE_URL", citus_url)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    try:
        yield folder
    finally:
        with connect(citus_url) as admin:
            ((schema,),) = admin.run("SELECT current_schema()")
            for table in TABLES:
                admin.run(f"DROP TABLE IF EXISTS {identifier(schema, table)} CASCADE")


def test_the_guide(folder: Path) -> None:
    ran = 0
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if language == "python":
            (folder / "spread.py").write_text(text, encoding="utf-8")
        else:
            ran += run_console(text, folder)
    assert ran == 7
