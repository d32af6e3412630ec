"""Run the test suite on a built wheel: ``python -m tests.wheel WHEEL [PYTEST'S ARGUMENTS]``.

The tests are copied to a folder without the sources: pytest puts the folder above ``tests`` on the path, and in the
checkout that one holds lightvec.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.packaging import ROOT, environment

#: What the tests read beside themselves.
_READ = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "setup.cfg",
)

#: This one builds from the sources.
_LEFT_OUT = ("--ignore=tests/test_package.py",)


def main(wheel: str, *arguments: str) -> int:
    """Install the wheel with what the tests need, and run them on it; pytest's status."""
    with tempfile.TemporaryDirectory(prefix="lightvec-wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        python = environment(
            folder / "environment", f"{Path(wheel).resolve()}[test]", "pip"
        )  # some tests install things
        checkout = _copied(folder / "checkout")
        _check(python, checkout)
        command: Sequence[str | Path] = [python, "-m", "pytest", *_LEFT_OUT, *arguments]
        return subprocess.run(command, cwd=checkout, check=False).returncode


def _copied(folder: Path) -> Path:
    folder.mkdir()
    for name in ("tests", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in _READ:
        shutil.copy(ROOT / name, folder)
    return folder


def _check(python: Path, checkout: Path) -> None:
    """See that it is the wheel that will be tested."""
    said = subprocess.run(
        [python, "-c", "import lightvec; print(lightvec.__file__)"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if python.parents[1] not in Path(said).parents:
        sys.exit(f"expected lightvec from the wheel, got {said}")
    print(f"testing {said}", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
