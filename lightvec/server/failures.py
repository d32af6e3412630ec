"""Failures in one sentence: what was tried, what came, what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lightvec.errors import ServerError

_OTHER_PATH = "choose a path that this user may read and write"
_NOT_A_FOLDER = "a part of this path is a file: choose another path"
_SPACE = "free some space, or choose a path on another file system"
_REMEDIES = {
    errno.EACCES: _OTHER_PATH,
    errno.EPERM: _OTHER_PATH,
    errno.EROFS: "choose a path on a file system that can be written",
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.ENAMETOOLONG: "choose a shorter path",
}

# "2026-11-22 22:26:37.748 UTC [5058] FATAL:  text" in the server's log, "initdb: error: text" from a program.
_MESSAGE = re.compile(r"\b(LOG|WARNING|FATAL|PANIC|ERROR|error|DETAIL|HINT|detail|hint): +(.*)")
_GRAVE = {"FATAL", "PANIC", "ERROR", "error"}
_REMARKS = {"DETAIL", "HINT", "detail", "hint"}


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a :class:`ServerError`: "cannot <action>: <reason>; <remedy>"."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0)
        raise ServerError(f"cannot {action}: {reason}" + (f"; {remedy}" if remedy else "")) from error


def essence(text: str) -> str:
    """The messages of a log that say why a program gave up, without times and process numbers.

    >>> essence("2026-01-01 [7] LOG:  starting\\n2026-01-01 [7] FATAL:  no room\\n")
    'no room'
    >>> essence("Segmentation fault\\n")
    'Segmentation fault'
    """
    grave = [message for severity, message in _messages(text) if severity in _GRAVE]
    lines = grave or [line for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines[-2:])) or "it wrote no reason"


def _messages(text: str) -> list[tuple[str, str]]:
    """Severity and text of each message; one with a detail or a hint counts as grave and carries it in brackets."""
    messages: list[tuple[str, str]] = []
    for match in _MESSAGE.finditer(text):
        severity, message = match.groups()
        if severity in _REMARKS and messages:
            messages[-1] = ("FATAL", f"{messages[-1][1]} ({message})")
        else:
            messages.append((severity, message))
    return messages
