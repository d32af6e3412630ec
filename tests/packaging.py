"""lightvec and what it needs as ``pip install`` brings them, for the tests and the benchmarks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from examples.aws_lambda.build import build

ROOT = Path(__file__).parents[1]
COMPILED = {".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".c", ".pyx"}


def install(source: Path, target: Path) -> Path:
    """Install into the folder ``target``; ``source`` is where the checkout is copied to."""
    # A build leaves folders behind; they are not to be in the checkout.
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--root-user-action=ignore", "--target", target, source], check=True, capture_output=True)
    return target


def unpack(folder: Path) -> None:
    """Put what is in the function's zip file into a folder."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "function.zip")
        build(file)
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)


def compiled_files(installed: Path) -> list[Path]:
    """The files that only one kind of machine can use."""
    return [path for path in installed.rglob("*") if path.is_file() and path.suffix in COMPILED]


def write_zip(installed: Path, file: Path) -> int:
    """The zip file that a function would be deployed as; its size in bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(installed.rglob("*")):
            if path.is_file() and installed / "bin" not in path.parents:
                archive.write(path, path.relative_to(installed))
    return file.stat().st_size
