"""The password file, ``~/.pgpass``.

Source: PostgreSQL 18 documentation, 34.16 "The Password File": lines of ``host:port:database:user:password``,
``*`` for any, backslash before a colon or a backslash, the first line that fits wins.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["entries", "find"]

Entry = tuple[str, ...]

_FIELD = re.compile(r"((?:[^:\\]|\\.?)*)(?::|$)")


def entries(path: Path) -> list[Entry]:
    r"""The lines of a password file as fields; none where there is no such file.

    What others may read is left alone with a warning, as in libpq; not on Windows, which has other means.
    """
    try:
        status = path.stat()
    except OSError:
        return []
    if not stat.S_ISREG(status.st_mode):
        return []
    if os.name != "nt" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(f"the password file {path} is open to others and was not read: chmod 0600 {path}", stacklevel=5)
        return []
    return list(_lines(path))


def _lines(path: Path) -> Iterator[Entry]:
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:
        return
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if line and not line.startswith("#") and (fields := _fields(line)):
            yield fields


def _fields(line: str) -> Entry | None:
    """Five fields, or None; what follows a fifth colon is no part of the password."""
    fields: list[str] = []
    position = 0
    while len(fields) < 5 and position <= len(line) and (match := _FIELD.match(line, position)):
        fields.append(match[1])
        position = match.end() + (not match[0].endswith(":"))
    return tuple(fields) if len(fields) == 5 else None


def find(lines: list[Entry], host: str, port: int, database: str, user: str) -> str | None:
    r"""The password of the first line that fits.

    >>> find([("*", "5432", "*", "me", r"a\:b")], "db.example", 5432, "shop", "me")
    'a:b'
    """
    wanted = (host, str(port), database, user)
    for line in lines:
        if all(field == "*" or _plain(field) == want for field, want in zip(line, wanted, strict=False)):
            return _plain(line[4]) or None
    return None


def _plain(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field)
