"""Quote names, and texts that cannot be parameters, for SQL."""

from __future__ import annotations

from typing import Any

from lightvec.errors import InvalidOption

#: PostgreSQL truncates longer names (NAMEDATALEN - 1), so that they could name another object.
MAX_BYTES = 63


def identifier(*parts: str) -> str:
    """A name as SQL, quoted; several parts are a qualified name (PostgreSQL documentation, 4.1.1).

    :class:`~lightvec.errors.InvalidOption` for what :func:`check_name` refuses.

    >>> identifier("public", 'a "strange" name')
    '"public"."a ""strange"" name"'
    """
    return ".".join(map(_quoted, parts or ("",)))


def check_name(name: Any) -> None:
    """Raise :class:`~lightvec.errors.InvalidOption` for what cannot be a name, or would be truncated.

    >>> check_name("x" * 64)
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected a name of at most 63 bytes, got one of 64 bytes: 'xxxxxxxxxxxxxxxxxxxx…'
    """
    if not isinstance(name, str):
        raise InvalidOption(f"expected a name as a str, got {type(name).__name__}")
    if not name or "\x00" in name:
        raise InvalidOption(f"expected a name of at least one character and without NUL characters, got {name!r}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        raise InvalidOption(f"expected a name that is Unicode, got one with a lone surrogate: {name!a}") from None
    if size > MAX_BYTES:
        shown = f"{name[:20]}…"
        raise InvalidOption(f"expected a name of at most {MAX_BYTES} bytes, got one of {size} bytes: {shown!r}")


def text_literal(text: str) -> str:
    """A text as SQL, for statements that are shown or cannot have parameters (PostgreSQL documentation, 4.1.2).

    >>> text_literal("it's")
    "'it''s'"
    """
    if "\x00" in text:
        raise InvalidOption(f"expected a text without NUL characters, got {text[:20]!r}")
    quoted = text.replace("'", "''")
    if "\\" not in quoted:
        return f"'{quoted}'"
    escaped = quoted.replace("\\", "\\\\")
    return f"E'{escaped}'"


def _quoted(name: str) -> str:
    check_name(name)
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
