"""The one place where a name becomes SQL."""

from __future__ import annotations

from lightvec.errors import InvalidOption

__all__ = ["identifier"]


def identifier(*parts: str) -> str:
    """A name as SQL, quoted; several parts are a qualified name (PostgreSQL documentation, 4.1.1).

    >>> identifier("public", 'a "strange" name')
    '"public"."a ""strange"" name"'
    """
    return ".".join(map(_quoted, parts))


def _quoted(name: str) -> str:
    if not name or "\x00" in name:
        raise InvalidOption(f"expected a name of at least one character and without NUL characters, got {name!r}")
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
