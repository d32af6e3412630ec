"""The password file, ``~/.pgpass``.

Source: PostgreSQL 18 documentation, 34.16 "The Password File": lines of
``host:port:database:user:password``, ``*`` for any, a backslash before a colon or a backslash; the
first line that matches counts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence

__all__ = ["entries", "find"]

#: A field as written, and without its backslashes.
Field = tuple[str, str]


def entries(path: str | os.PathLike[str], stacklevel: int = 2) -> list[list[Field]]:
    """The lines of a password file, five fields each; none where the file cannot be read.

    A file that others may read is not read, with a warning, as in libpq; Windows has no such modes.
    """
    try:
        if os.name != "nt" and os.stat(path).st_mode & 0o077:
            message = f"the password file {path} is open to others and was not read: chmod 0600 {path}"
            warnings.warn(message, stacklevel=stacklevel + 1)
            return []
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return list(_entries(file.read()))
    except OSError:
        return []


def _entries(text: str) -> Iterator[list[Field]]:
    for line in text.split("\n"):
        fields = _fields(line.removesuffix("\r"))
        if not line.startswith("#") and len(fields) >= 5:
            yield fields[:5]


def _fields(line: str) -> list[Field]:
    fields = []
    written, plain = "", ""
    characters = iter(line)
    for character in characters:
        if character == ":":
            fields.append((written, plain))
            written, plain = "", ""
            continue
        if character == "\\":
            character = next(characters, "\\")
            written += "\\"
        written += character
        plain += character
    return [*fields, (written, plain)]


def find(lines: Sequence[Sequence[Field]], host: str, port: int, database: str, user: str) -> str | None:
    r"""The password of the first line that matches.

    >>> find([_fields(r"*:5432:*:me:a\:b")], "db.example", 5432, "shop", "me")
    'a:b'
    """
    wanted = (host, str(port), database, user)
    for line in lines:
        if all(written == "*" or plain == want for (written, plain), want in zip(line, wanted, strict=False)):
            return line[4][1] or None
    return None
