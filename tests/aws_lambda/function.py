"""A function in a process of its own, as Lambda keeps one between invocations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

RUNTIME = Path(__file__).with_name("runtime.py")
EVENTS = Path(__file__).with_name("events")


def event(name: str, body: Any = None) -> dict[str, Any]:
    """An event document; with another body than its own, where one is given."""
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    if body is not None:
        document |= {"body": body if isinstance(body, str) else json.dumps(body), "isBase64Encoded": False}
    return document


class Answer(NamedTuple):
    """What came back: the status, the body, and the seconds that it took."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def ids(self) -> list[str]:
        """The documents that were found."""
        return [document["id"] for document in self.body["documents"]]


class Function:
    """The process; as a context manager it lives inside the block. Its log is read when it has ended."""

    def __init__(self, environment: Mapping[str, str], *folders: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-W", "error", RUNTIME, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment},
            cwd=folders[0],
        )
        self.log = ""
        try:
            #: The modules that it loaded from elsewhere.
            self.foreign: list[str] = self._read()["foreign"]
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def __enter__(self) -> Function:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        _, self.log = self._process.communicate(timeout=20)

    def invoke(self, event: Mapping[str, Any], milliseconds: int = 10_000) -> Answer:
        """One invocation, with so much time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"event": event, "milliseconds": milliseconds}) + "\n")
        self._process.stdin.flush()
        answered = self._read()
        response = answered["response"]
        assert response["headers"] == {"content-type": "application/json"}
        return Answer(response["statusCode"], json.loads(response["body"]), answered["seconds"])

    def freeze(self) -> None:
        """Stop the process where it is, and wait until it has stopped."""
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the function ended: {self._process.communicate(timeout=20)[1]}")
        return json.loads(line)
