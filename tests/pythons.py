"""The Pythons of this machine that lightvec is for, on PATH or in pyenv's folder: a version and a path a line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: From setup.cfg's python_requires to the newest that may be installed somewhere.
MINORS = range(10, 15)


def found() -> Iterator[tuple[str, str]]:
    """A path for each version that is there."""
    for minor in MINORS:
        version = f"3.{minor}"
        path = next((path for path in _candidates(version) if _is(path, version)), None)
        if path is not None:
            yield version, path


def _candidates(version: str) -> Iterator[str]:
    if path := shutil.which(f"python{version}"):
        yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser(), "versions")
    releases = sorted(pyenv.glob(f"{version}.*"), key=lambda folder: [*map(int, re.findall(r"\d+", folder.name))])
    yield from (str(folder / "bin" / "python") for folder in reversed(releases))


def _is(path: str, version: str) -> bool:
    """Whether it runs, and as this version: a shim of pyenv is there for versions that are switched off, too."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == version


if __name__ == "__main__":
    for number, executable in found():
        print(number, executable)
