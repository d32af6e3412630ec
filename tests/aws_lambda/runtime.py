"""Plays Lambda's runtime, in a bare interpreter (``python -I -S``): only the function's folder is on the path.

An invocation is a line of JSON on stdin, ``{"event": …, "milliseconds": …}``; what the handler returned is one on
stdout, with the seconds that it took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any


class Context:
    """What of a Lambda context functions use."""

    aws_request_id = "8f5c4a8e-0d0f-4f0c-9c53-2f1f2f1f9a01"

    def __init__(self, milliseconds: int) -> None:
        self._end = time.monotonic() + milliseconds / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is stopped."""
        return max(round((self._end - time.monotonic()) * 1000), 0)


def main(*folders: str) -> None:
    """Load the function, then wait for invocations until there are no more."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a function prints goes to its log
        sys.path[:0] = folders
        handler: Any = import_module("function.app").handler
        foreign = sorted(name for name, module in sys.modules.items() if not _belongs(module, folders))
        print(json.dumps({"foreign": foreign}), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            began = time.monotonic()
            response = handler(asked["event"], Context(asked["milliseconds"]))
            print(json.dumps({"response": response, "seconds": time.monotonic() - began}), file=answers, flush=True)


def _belongs(module: Any, folders: tuple[str, ...]) -> bool:
    """Whether a module is of the function or of the standard library."""
    file = getattr(module, "__file__", None)
    return file is None or module.__name__ == "__main__" or file.startswith((*folders, os.path.dirname(os.__file__)))  # noqa: PTH120


if __name__ == "__main__":
    main(*sys.argv[1:])
