"""What ``pip install`` brings: nothing compiled, and little of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILED = {".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".c", ".pyx"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lightvec and what it needs, in an empty folder."""
    source = tmp_path_factory.mktemp("source") / "lightvec"
    # A build leaves folders behind; they are not to be in the checkout.
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--root-user-action=ignore", "--target", target, source], check=True, capture_output=True)
    return target


def test_nothing_compiled(installed: Path) -> None:
    files = [path for path in installed.rglob("*") if path.is_file()]
    assert (installed / "lightvec" / "py.typed") in files
    assert (installed / "pg8000" / "core.py") in files
    assert [path for path in files if path.suffix in COMPILED] == []
    assert not (installed / "numpy").exists()


def test_the_tests_and_examples_are_not_installed(installed: Path) -> None:
    assert not (installed / "tests").exists()
    assert not (installed / "examples").exists()


def test_it_fits_in_a_small_zip(installed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "function.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(installed.rglob("*")):
            if path.is_file() and installed / "bin" not in path.parents:
                archive.write(path, path.relative_to(installed))
    assert (tmp_path / "function.zip").stat().st_size < 1_500_000


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
