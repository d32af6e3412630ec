"""From a fresh interpreter to the first search result, and to the help of a command."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from statistics import median

import lightvec
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.timing import Sample, alternate, walls
from tests.benchmarks.workbench import Workbench

_LIGHTVEC = ("peewee", "pg8000")
_PSYCOPG = ("peewee", "pgvector", "psycopg", "psycopg-binary")
_PSYCOPG2 = ("peewee", "pgvector", "psycopg2-binary")

#: The code that prints each side's help.
OUR_HELP = "from lightvec.cli import main; main(['--help'])"
THEIR_HELP = "from psycopg_tool import main; main(['--help'])"


def _first_result(bench: Workbench, rounds: int) -> Sequence[Pair]:
    assert bench.glosses
    # One environment each: Peewee imports every driver that is installed. NumPy is in none.
    ours = _environment(bench.folder / "lightvec", needed(_LIGHTVEC), "on_lightvec")
    _link_lightvec(ours)
    psycopg, psycopg2 = (
        _environment(bench.folder / packages[-1], needed(packages), "on_pgvector") for packages in (_PSYCOPG, _PSYCOPG2)
    )
    search = "import sys, {0}; {0}.main(sys.argv[1])"
    samples = alternate(
        rounds,
        partial(_start, ours, search.format("on_lightvec"), bench.url),
        partial(_start, psycopg, search.format("on_pgvector"), bench.url),
        partial(_start, psycopg2, search.format("on_pgvector"), bench.url),
        partial(_start, ours, "import peewee"),
        partial(_start, ours, "pass"),
    )
    in_ours, in_psycopg, in_psycopg2, in_peewee, bare = (walls(each, 1e3) for each in samples)
    note = f"python -c 'import peewee' takes {median(in_peewee):.1f} ms, -c pass {median(bare):.1f}"
    return [Pair(in_ours, in_psycopg, note), Pair(in_ours, in_psycopg2)]


def _help(bench: Workbench, rounds: int) -> Sequence[Pair]:
    ours = _environment(bench.folder / "our-tool", needed([*_LIGHTVEC, "click"]))
    _link_lightvec(ours)
    theirs = make_their_tool(bench.folder / "their-tool")
    samples = alternate(
        rounds,
        partial(_start, ours, OUR_HELP),
        partial(_start, theirs, THEIR_HELP),
        partial(_start, ours, "import click"),
    )
    in_ours, in_theirs, in_click = (walls(each, 1e3) for each in samples)
    return [Pair(in_ours, in_theirs, f"python -c 'import click' takes {median(in_click):.1f} ms")]


def make_their_tool(folder: Path) -> Path:
    """Create an environment with a command that uses psycopg; return its interpreter."""
    return _environment(folder, needed([*_PSYCOPG, "click"]), "psycopg_tool")


def _link_lightvec(python: Path) -> None:
    package = Path(lightvec.__file__).parent
    (python.parents[1] / _site_packages() / "lightvec").symlink_to(package)


def _environment(folder: Path, distributions: Sequence[str], *apps: str) -> Path:
    """Create an environment of links to installed distributions and apps; return its interpreter."""
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
    """These distributions and all that they require."""
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
        # A requirement of some platforms is one of this platform if it is installed.
        if match and "extra" not in condition and (not condition or _is_installed(match[0])):
            yield match[0]


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except ModuleNotFoundError:
        return False


def _top_level(name: str) -> set[Path]:
    """The files and folders of a distribution in site-packages."""
    installed = distribution(name)
    tops = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
    return {Path(str(installed.locate_file(top))).resolve() for top in tops}


def _site_packages() -> str:
    return f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def _start(python: Path, code: str, *args: str) -> Sample:
    began = time.perf_counter()
    # Bytecode is written in the first round, which is dropped.
    command = [str(python), "-I", "-c", code, *args]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={})
    return Sample(time.perf_counter() - began, 0)


FIGURES = (
    Figure(
        "cold-start",
        (
            Limit("fresh interpreter to first search result", "ms", 0.62, "Peewee on psycopg 3 (C)"),
            Limit("  the same", "ms", 1.2, "Peewee on psycopg2"),
        ),
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
