"""What is built and installed: the distributions, the function's zip file, and environments with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

from examples.aws_lambda.build import COMPILED, build

ROOT = Path(__file__).parents[1]

#: What lies in a working copy and is no part of the project.
_MADE = (".*", "build", "dist", "*.egg-info", "__pycache__", "*.pyc")


class Distributions(NamedTuple):
    """What ``make dist`` builds, and the copy of the checkout that it was built from."""

    wheel: Path
    sdist: Path
    source: Path


def build_distributions(folder: Path) -> Distributions:
    """Build them as ``make dist`` does, from a copy, so that nothing is left in the checkout."""
    source, built = folder / "source", folder / "dist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*_MADE))
    # What building says is a warning to whoever publishes; there is to be none.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", built, source],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Deprecat" not in done.stdout, done.stdout
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    return Distributions(wheel, sdist, source)


def environment(folder: Path, *requirements: str) -> Path:
    """A virtual environment with these and what they need, without pip; its interpreter."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--root-user-action=ignore", *requirements], check=True)
    return python


def packages_of(python: Path) -> Path:
    """Where an environment has its packages."""
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    return packages


def unpack(folder: Path, *, bytecode: bool = False) -> None:
    """Put what is in the function's zip file into a folder."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "function.zip")
        build(file, bytecode=bytecode)
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)


def compiled_files(installed: Path) -> list[Path]:
    """The files that only one kind of machine can use."""
    return [path for path in installed.rglob("*") if path.is_file() and path.suffix in COMPILED]
