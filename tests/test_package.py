"""What ``pip install`` brings: nothing compiled, little of it, and a command line that starts at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from statistics import median

import pytest

from lightvec import __version__
from tests.benchmarks.cold_start import THEIR_HELP, make_their_tool
from tests.packaging import Distributions, build_distributions, compiled_files, environment, packages_of

#: What setuptools adds to a sdist.
_ADDED = {"PKG-INFO", "lightvec.egg-info"}

#: The figure is 0.3 (make bench); a busy machine may be unfair to one side.
_TOLERATED = 0.45


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build_distributions(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def python(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and nothing that it does not ask for."""
    return environment(tmp_path_factory.mktemp("environment"), str(built.wheel))


# The distributions


def test_the_wheel_holds_the_package_and_its_types(built: Distributions) -> None:
    assert built.wheel.name == f"lightvec-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(built.wheel) as archive:
        names = {*archive.namelist()}
    about = f"lightvec-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"lightvec", about}
    assert {"lightvec/py.typed", f"{about}/licenses/LICENSE", f"{about}/entry_points.txt"} <= names
    modules = {path.relative_to(built.source).as_posix() for path in (built.source / "lightvec").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules


def test_the_sdist_holds_everything(built: Distributions) -> None:
    with tarfile.open(built.sdist) as archive:
        members = [Path(*Path(member.name).parts[1:]) for member in archive.getmembers() if member.isfile()]
    packed = {member for member in members if member.parts[0] not in _ADDED}
    there = {path.relative_to(built.source) for path in built.source.rglob("*") if path.is_file()}
    # Building leaves its own behind.
    assert packed == {path for path in there if path.parts[0] not in {*_ADDED, "build"}}


def test_the_tests_run_from_the_sdist(built: Distributions, tmp_path: Path) -> None:
    shutil.unpack_archive(built.sdist, tmp_path, filter="data")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/test_metrics.py", "tests/peewee/test_catalog.py"],
        cwd=tmp_path / f"lightvec-{__version__}",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# What is installed


def test_nothing_compiled(python: Path) -> None:
    packages = packages_of(python)
    names = {path.name for path in packages.iterdir()}
    assert {"lightvec", "peewee.py", "pg8000", "click"} <= names
    assert names.isdisjoint({"numpy", "tests", "examples"})
    assert compiled_files(packages) == []


def test_it_runs_from_there(python: Path, url: str) -> None:
    code = (
        "import lightvec\n"
        f"with lightvec.connect({url!r}) as conn: print(conn.run('SELECT :v::vector', v=lightvec.Vector([1, 2])))\n"
        "print(lightvec.__file__)"
    )
    done = subprocess.run([python, "-I", "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    where = packages_of(python) / "lightvec" / "__init__.py"
    assert (done.stdout, done.stderr) == (f"[[Vector([1.0, 2.0])]]\n{where}\n", "")


def test_help_comes_in_a_part_of_the_time_of_a_tool_on_psycopg(python: Path, tmp_path: Path) -> None:
    theirs = make_their_tool(tmp_path / "theirs")
    sides = ([str(python.with_name("lightvec")), "--help"], [str(theirs), "-c", THEIR_HELP])
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(8):
        for command, taken in zip(sides, times, strict=True):
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True, env={}, cwd=tmp_path)
            if round_number:  # the first one writes bytecode
                taken.append(time.perf_counter() - began)
            assert "create-index" in done.stdout
    assert median(times[0]) < _TOLERATED * median(times[1])
