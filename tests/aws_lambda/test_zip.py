"""The zip file: small, for every machine, and the same bytes whenever and wherever it is built."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.metadata import requires
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

import lightvec
from examples.aws_lambda.build import DEFAULT, LIMIT, PYTHON, REQUIREMENTS, ROOT, unfit
from tests.benchmarks.cold_start import needed


def built(checkout: Path, file: Path, *options: str, **environment: str) -> bytes:
    """What a checkout makes of itself, in a process of its own."""
    command = [sys.executable, "-m", "examples.aws_lambda.build", str(file), *options]
    subprocess.run(command, cwd=checkout, env=os.environ | environment, check=True, capture_output=True, umask=0o077)
    return file.read_bytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("zip") / "function.zip"
    built(ROOT, file)
    return file


def test_another_checkout_at_another_time_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "elsewhere"
    for folder, copied in ((Path(lightvec.__file__).parent, "lightvec"), (REQUIREMENTS.parent, "examples/aws_lambda")):
        shutil.copytree(folder, checkout / copied, copy_function=shutil.copy)
    for name in ("LICENSE", "examples/__init__.py"):
        shutil.copy(ROOT / name, checkout / name)
    for path in checkout.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1e9, 1e9))
    again = built(checkout, tmp_path / "again.zip", TZ="Pacific/Chatham", PYTHONHASHSEED="7", LC_ALL="C")
    assert again == file.read_bytes()


def test_what_is_in_it(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
    names = [entry.filename for entry in entries]
    assert names == sorted(set(names))
    assert {"function/app.py", "function/models.py", "lightvec/__init__.py", "peewee.py"} <= {*names}
    assert {PurePosixPath(name).parts[0] for name in names}.isdisjoint({"examples", "tests", "numpy", "bin"})
    assert not [name for name in names if name.endswith(".pyc")]
    assert unfit(dict.fromkeys(names, b"")) == []
    assert {stat.filemode(entry.external_attr >> 16) for entry in entries} == {"-rw-r--r--"}
    assert file.stat().st_size < LIMIT == 1_500_000


def test_the_guide_says_how_large_it_is(file: Path) -> None:
    guide = (REQUIREMENTS.parent / "README.md").read_text(encoding="utf-8")
    said = re.search(r"dist/lambda\.zip: ([\d.]+) MB", guide)
    assert said is not None
    assert float(said[1]) * 1e6 == pytest.approx(file.stat().st_size, rel=0.05)


def test_with_bytecode_it_loads_without_compiling(file: Path, tmp_path: Path) -> None:
    # Before Python 3.11 the sets in bytecode are in the order that the seed of hashes gives.
    seeds = ("0", "7") if sys.version_info >= (3, 11) else ("0", "0")
    compiled = tmp_path / "bytecode.zip"
    built(ROOT, compiled, "--bytecode", PYTHONHASHSEED=seeds[0])
    again = tmp_path / "again.zip"
    built(ROOT, again, "--bytecode", PYTHONHASHSEED=seeds[1])
    assert again.read_bytes() == compiled.read_bytes()
    folder = tmp_path / "task"
    with zipfile.ZipFile(compiled) as archive, zipfile.ZipFile(file) as plain:
        assert {*plain.namelist()} < {*archive.namelist()}
        archive.extractall(folder)
    load = f"import sys; sys.path.insert(0, {str(folder)!r}); import function.app"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-v", "-c", load], capture_output=True, text=True, check=True
    )
    # "code object from" names the bytecode, or the source where that had to be compiled.
    loaded = [line for line in done.stderr.splitlines() if "code object from" in line and str(folder) in line]
    assert len(loaded) > 50
    assert [line for line in loaded if ".pyc" not in line] == []


def test_what_may_not_be_in_it() -> None:
    wrong = ["a/b.so", "numpy/__init__.py", "c.cpython-313-x86_64-linux-gnu.so"]
    assert unfit(dict.fromkeys(["a.py", *wrong, "a/numpy.py"], b"")) == wrong


def test_the_template_is_for_what_was_built(file: Path) -> None:
    template = (REQUIREMENTS.parent / "template.yaml").read_text(encoding="utf-8")
    said = dict(re.findall(r"^ +(CodeUri|Handler|Runtime): (\S+)$", template, re.MULTILINE))
    module, _, name = said["Handler"].rpartition(".")
    assert hasattr(import_module(f"examples.aws_lambda.{module}"), name)
    assert said["Runtime"] == f"python{PYTHON}"
    assert (REQUIREMENTS.parent / said["CodeUri"]).resolve() == DEFAULT


def test_the_requirements_are_all_that_lightvec_needs() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+) \\$", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = [Requirement(text) for text in requires("lightvec") or () if "extra" not in text]
    assert {requirement.name for requirement in wanted} == {"peewee", "pg8000", "click"}
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
    # What a later Python needs is pinned, too; older ones may have older releases that need less or more.
    if sys.version_info >= (3, 11):
        assert {*pinned} == set(needed([requirement.name for requirement in wanted]))
