"""Failures in one sentence: what was tried, the reason, the remedy."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lightvec.errors import ServerError

_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose a path that this user may read and write"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of this path is a file: choose another path"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or choose another file system"),
    errno.EROFS: "choose a path on a writable file system",
    errno.ENOTEMPTY: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
}

# "2026-11-22 22:26:37.748 UTC [5058] FATAL:  text" in the log, "initdb: error: text" of a program.
# A LOG message with a hint is the cause of the FATAL one that follows.
_ERROR = re.compile(
    r"\b(?:(?:FATAL|PANIC|ERROR|error): +(.*)|LOG: +(.*)(?=\n.*\bHINT:))"
    r"(?:\n.*\b(?:DETAIL|HINT|detail|hint): +(.*))?"
)


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`ServerError`: "cannot <action>: <reason>; <remedy>"."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        reason = "; ".join(filter(None, (error.strerror or str(error), remedy)))
        raise ServerError(f"cannot {action}: {reason}") from error


def failure_reason(text: str) -> str:
    """The last errors in a log or on stderr, without times and process ids.

    >>> failure_reason("2026-01-01 [7] LOG:  starting\\n2026-01-01 [7] FATAL:  out of memory\\n")
    'out of memory'
    """
    found = _ERROR.findall(text)
    errors = [f"{a or b} ({remark})" if remark else a or b for a, b, remark in found]
    lines = errors or [line for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines[-2:])) or "no reason was logged (is the disk full?)"
