"""From nothing to the first search result, and to the help of a command line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from statistics import median

import lightvec
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.measuring import Sample, in_turn, walls
from tests.benchmarks.stand import Stand

_OURS = ("peewee", "pg8000")
_THEIRS = ("peewee", "pgvector", "psycopg", "psycopg-binary")

#: What each side runs for its help.
OUR_HELP = "from lightvec.cli import main; main(['--help'])"
THEIR_HELP = "from tool import main; main(['--help'])"


def _first_result(stand: Stand, rounds: int) -> Sequence[Pair]:
    assert stand.glosses
    ours, theirs = make_deployments(stand.folder)
    samples = in_turn(
        rounds,
        lambda: _started(ours, "import ours, sys; ours.main(sys.argv[1])", stand.url),
        lambda: _started(theirs, "import theirs, sys; theirs.main(sys.argv[1])", stand.url),
        lambda: _started(ours, "pass"),
    )
    bare = median(walls(samples[2], 1e3))
    return [Pair(walls(samples[0], 1e3), walls(samples[1], 1e3), f"python -c pass: {bare:.1f} ms, in both")]


def _help(stand: Stand, rounds: int) -> Sequence[Pair]:
    ours = _environment(stand.folder / "our-tool", needed([*_OURS, "click"]))
    _link_lightvec(ours)
    theirs = make_their_tool(stand.folder / "their-tool")
    samples = in_turn(
        rounds,
        lambda: _started(ours, OUR_HELP),
        lambda: _started(theirs, THEIR_HELP),
        lambda: _started(ours, "import click"),
    )
    least = median(walls(samples[2], 1e3))
    return [Pair(walls(samples[0], 1e3), walls(samples[1], 1e3), f"python -c 'import click': {least:.1f} ms, in both")]


def make_their_tool(folder: Path) -> Path:
    """The interpreter of an environment with a command line that stands on psycopg."""
    return _environment(folder, needed([*_THEIRS, "click"]), "tool")


def make_deployments(folder: Path) -> tuple[Path, Path]:
    """The interpreters of two environments, each with what its side needs and nothing else.

    Peewee imports every driver that is installed, so the two may not share one. NumPy is in both: it is there to be
    left alone.
    """
    ours = _environment(folder / "ours", [*needed(_OURS), "numpy"], "ours")
    _link_lightvec(ours)
    return ours, _environment(folder / "theirs", [*needed(_THEIRS), "numpy"], "theirs")


def _link_lightvec(python: Path) -> None:
    (python.parents[1] / _site_packages() / "lightvec").symlink_to(Path(lightvec.__file__).parent)


def _environment(folder: Path, distributions: Sequence[str], *apps: str) -> Path:
    """A virtual environment with links to installed distributions and to apps; its interpreter."""
    venv.create(folder, symlinks=True)
    packages = folder / _site_packages()
    for name in distributions:
        for path in _top_level(name):
            if not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    for app in apps:
        (packages / f"{app}.py").symlink_to(Path(__file__).parent / "apps" / f"{app}.py")
    return folder / "bin" / "python"


def needed(names: Sequence[str]) -> list[str]:
    """The distributions by these names and what they need in turn."""
    found: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += _requirements(name)
    return found


def _requirements(name: str) -> Iterator[str]:
    for requirement in distribution(name).requires or ():
        wanted, _, condition = requirement.partition(";")
        match = re.match(r"[\w.-]+", wanted)
        # What only some systems need is needed here if it is installed here.
        if match and "extra" not in condition and (not condition or _is_installed(match[0])):
            yield match[0]


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except ModuleNotFoundError:
        return False


def _top_level(name: str) -> set[Path]:
    """The folders and files that a distribution has put beside others."""
    installed = distribution(name)
    tops = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
    return {Path(str(installed.locate_file(top))).resolve() for top in tops}


def _site_packages() -> str:
    return f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def _started(python: Path, code: str, *args: str) -> Sample:
    began = time.perf_counter()
    # The working directory comes first in the path of -c: one without packages.
    subprocess.run([python, "-c", code, *args], check=True, stdout=subprocess.DEVNULL, env={}, cwd=python.parents[1])
    return Sample(time.perf_counter() - began, 0)


FIGURES = (
    Figure(
        "cold-start",
        (Limit("fresh interpreter to first search result", "ms", 0.7, "Peewee on psycopg 3 (C)"),),
        _first_result,
        rounds=40,
    ),
    Figure(
        "help",
        (Limit("lightvec --help", "ms", 0.3, "a tool on psycopg 3 (C) and Peewee"),),
        _help,
        rounds=40,
    ),
)
