"""The password file, ``~/.pgpass``: lines of ``host:port:database:user:password``.

Source: PostgreSQL 18 documentation, 34.16 "The Password File". ``*`` matches anything, a backslash
escapes a colon or a backslash, and the first line that matches counts.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence

__all__ = ["entries", "find"]


def entries(path: str | os.PathLike[str], stacklevel: int = 2) -> list[list[str]]:
    """The five fields of each line, still escaped; none where the file cannot be read.

    As in libpq, a file that others may read is ignored, with a warning; Windows has no such modes.
    """
    try:
        if os.name != "nt" and os.stat(path).st_mode & 0o077:
            message = f"the password file {path} is open to others and was not read: chmod 0600 {path}"
            warnings.warn(message, stacklevel=stacklevel + 1)
            return []
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = file.read().split("\n")
    except OSError:
        return []
    pattern = re.compile(r"(?:^|:)((?:[^:\\]|\\.?)*)", re.DOTALL)
    found = [pattern.findall(line.removesuffix("\r")) for line in lines if not line.startswith("#")]
    return [fields[:5] for fields in found if len(fields) >= 5]


def find(lines: Sequence[Sequence[str]], host: str, port: int, database: str, user: str) -> str | None:
    r"""The password of the first line that matches.

    >>> find([r"*:5432:*:me:a\:b".split(":", 4)], "db.example", 5432, "shop", "me")
    'a:b'
    """
    wanted = (host, str(port), database, user)
    for *fields, password in lines:
        if all(field == "*" or _unescaped(field) == want for field, want in zip(fields, wanted, strict=True)):
            return _unescaped(password) or None
    return None


def _unescaped(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL)
