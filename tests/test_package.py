"""What ``pip install`` brings: nothing compiled, and little of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging import compiled_files, install, write_zip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lightvec and what it needs, in an empty folder."""
    return install(tmp_path_factory.mktemp("source") / "lightvec", tmp_path_factory.mktemp("installed"))


def test_nothing_compiled(installed: Path) -> None:
    files = [path for path in installed.rglob("*") if path.is_file()]
    assert (installed / "lightvec" / "py.typed") in files
    assert (installed / "pg8000" / "core.py") in files
    assert compiled_files(installed) == []
    assert not (installed / "numpy").exists()


def test_the_tests_and_examples_are_not_installed(installed: Path) -> None:
    assert not (installed / "tests").exists()
    assert not (installed / "examples").exists()


def test_it_fits_in_a_small_zip(installed: Path, tmp_path: Path) -> None:
    assert write_zip(installed, tmp_path / "function.zip") < 1_500_000


def test_it_runs_from_there(installed: Path, url: str) -> None:
    """With a bare interpreter: nothing but the folder on the path."""
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [{str(installed)!r}]\n"
        "import lightvec\n"
        f"with lightvec.connect({url!r}) as conn: print(conn.run('SELECT :v::vector', v=lightvec.Vector([1, 2])))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert (done.stdout, done.stderr) == ("[[Vector([1.0, 2.0])]]\n", "")
