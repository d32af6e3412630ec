"""The targets again, fed by a fuzzer that sees which lines its bytes reach: ``python -m tests.fuzz.coverage_guided``.

It needs atheris (``pip install 'lightvec[fuzz]'``) and is part of ``make soak``. Each target runs in a process of its
own for a bounded time, from the seeds of the table and from what a real server said; what it fails at is kept, and
named with the command that feeds it again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["main"]

#: Bytes of an input: as long as the longest conversation.
_LONGEST = 24_000
#: What atheris and libFuzzer say of themselves.
_CHATTER = ("INFO:", "WARNING: Failed to find function")


class Outcome(NamedTuple):
    """What came of one target."""

    name: str
    times: int
    size: int
    failure: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Feed each target, or those that are named; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage_guided", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="names of the table (default: all of them)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once (default: processors)")
    parser.add_argument("--input", type=Path, help="feed the bytes of this file once, without the fuzzer")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.input is not None:
        for name in given.targets:
            _target(name)(given.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install 'lightvec[fuzz]'")
    if given.folder is not None:
        _fuzz(given.targets[0], given.folder, given.seconds)
    return _feed_all(given.targets, given.seconds, given.jobs)


# --- all targets ---------------------------------------------------------------------------------------------------


def _feed_all(names: Sequence[str], seconds: int, jobs: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix="lightvec-fuzz-"))
    chosen = {name: seeds for name, seeds in _seeds().items() if name in names or not names}
    if unknown := set(names) - set(chosen):
        raise SystemExit(f"there is no target {', '.join(sorted(unknown))}")
    for name, seeds in chosen.items():
        corpus = folder / name / "corpus"
        corpus.mkdir(parents=True)
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda name: _in_a_process(name, folder / name, seconds), chosen))
    times, size = sum(outcome.times for outcome in outcomes), sum(outcome.size for outcome in outcomes)
    failures = [outcome for outcome in outcomes if outcome.failure]
    print(f"{len(outcomes)} targets, {times:,} executions, {size:,} bytes, {len(failures)} failures")
    if not failures:
        shutil.rmtree(folder)
    return 1 if failures else 0


def _seeds() -> dict[str, Sequence[bytes]]:
    from tests.fuzz.targets import SPLIT, TARGETS

    found = {name: target.seeds for name, target in TARGETS.items()}
    return found | {f"use {name}": [SPLIT.join(turns)] for name, turns in _recorded().items()}


def _recorded() -> dict[str, list[bytes]]:
    """What a server of our own says to each use."""
    from lightvec.pg8000 import connect
    from lightvec.server import Server
    from tests.fuzz.uses import recorded
    from tests.places import open_folder

    folder = open_folder("fuzz")
    try:
        with Server(folder / "db", settings={"fsync": "off"}) as server:
            with connect(server.url) as admin:
                admin.run("CREATE EXTENSION IF NOT EXISTS vector; CREATE EXTENSION hstore")
            return recorded(server.url)
    finally:
        shutil.rmtree(folder)


def _in_a_process(name: str, folder: Path, seconds: int) -> Outcome:
    command = [sys.executable, "-m", __spec__.name, "--seconds", str(seconds), "--folder", str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 120, check=False)
    counted = folder / "counted"
    times, size = map(int, counted.read_text().split()) if counted.exists() else (0, 0)
    inputs = [file for file in folder.iterdir() if file.is_file() and file != counted]
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(_CHATTER))
    failure = "" if done.returncode == 0 and not inputs else said[-4_000:]
    print(f"{'FAILED' if failure else 'ok':6} {name}: {times:,} executions, {size:,} bytes", flush=True)
    if failure:
        print(failure)
        for file in inputs:
            print(f"again: python -m {__spec__.name} --input '{file}' '{name}'", flush=True)
    return Outcome(name, times, size, failure)


# --- one target, in its process ------------------------------------------------------------------------------------


def _target(name: str) -> Any:
    from tests.fuzz.targets import TARGETS, conversations
    from tests.fuzz.uses import USES

    known = TARGETS | conversations({use: [] for use in USES})
    return known[name].feed


def _fuzz(name: str, folder: Path, seconds: int) -> None:
    """Feed one target for so many seconds; libFuzzer ends the process."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["lightvec", "pg8000"]):
        feed = _target(name)
    counted = folder / "counted"
    times = size = 0

    def feed_and_count(data: bytes) -> None:
        nonlocal times, size
        times += 1
        size += len(data)
        if times % 256 == 1:
            counted.write_text(f"{times} {size}")
        feed(data)

    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/",
        f"-max_len={_LONGEST}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], feed_and_count)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
