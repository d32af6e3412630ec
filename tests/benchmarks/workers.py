"""Sides that run in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType

from tests.benchmarks.timing import Sample
from tests.benchmarks.workbench import ROOT


class Worker:
    """A module of ``apps`` in a process: it replies to each line with one line of JSON."""

    def __init__(self, app: str, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.apps.{app}", *args],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def send(self) -> None:
        """Ask for one round."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def answer(self) -> list[float]:
        """The numbers that one round returned."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker exited with status {self._process.wait()}: see its message above")
        numbers: list[float] = json.loads(line)
        return numbers

    def __call__(self) -> Sample:
        """One round."""
        self.send()
        return Sample(*self.answer())
