"""``make demo``: the program that it runs, on a server of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lightvec.server import status, stop
from tests.places import open_folder

ROOT = Path(__file__).parents[1]


def test_demo() -> None:
    folder = open_folder("demo")
    # The demonstration works in the current folder, which is not the checkout here.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "100", "HOME": str(folder)}
    try:
        for _ in range(2):
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-W", "error", "-m", "examples.demo"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert time.monotonic() - began < 60
            assert_shows_what_it_found(done.stdout)
        assert not status(folder / ".lightvec").running
    finally:
        stop(folder / ".lightvec")
        shutil.rmtree(folder)


def assert_shows_what_it_found(output: str) -> None:
    assert "$ lightvec init-db examples.models" in output
    assert "$ lightvec load gloss" in output
    assert re.search(r"0\.693 │ White House, EXEC +│ the chief executive department", output)
    found = re.search(r"50 searches, .* recall of the ten nearest: ([\d.]+)", output)
    assert found is not None
    assert float(found[1]) >= 0.97
