"""Names that break SQL which is put together carelessly."""

from __future__ import annotations

from typing import Any

#: The table that an injected statement would drop.
SENTINEL = "untouched"

#: What PostgreSQL can have as a name: each must mean exactly itself.
HOSTILE = (
    '"',
    'a"b',
    f'a"; DROP TABLE {SENTINEL}; --',
    f"a'); DROP TABLE {SENTINEL}; --",
    "'",
    "a'b",
    "a\\'b",
    "a\nb",
    "a\r\nDROP TABLE untouched; --",
    " a ",
    "\x01\x7f",
    "%",
    "%s",
    "%(a)s",
    "100%%",
    ":a",
    "$1",
    "$$",
    "a.b",
    '"a"."b"',
    "a=b",
    "--",
    "表",
    "😀",
    "\u202eabc",
    "y" * 63,
    "ü" * 31 + "y",
    "select",
    "user",
    "UPPER",
    "1st",
)

#: A few of them, for what takes long.
FEW = ('a"b', "a'b", "a.b", "%s", "a\nb", "UPPER", "表", f'a"; DROP TABLE {SENTINEL}; --')

#: What the server would cut off, to a name that another object has.
LONG = ("x" * 64, "x" * 200, "é" * 32, "é" * 31 + "xy")

#: What can be no name, beside those.
IMPOSSIBLE = ("", "\0", "a\0b", "\udcff")

REFUSED = (*LONG, *IMPOSSIBLE)

#: What is no text at all.
NO_TEXT: tuple[Any, ...] = (None, 1, b"a", True, ["a"])


def cut(name: str) -> str:
    """What the server makes of a name that is too long."""
    return name.encode()[:63].decode(errors="ignore")


#: What names that are cut off, folded, trimmed or split would hit, each with one row.
DECOYS = (SENTINEL, "upper", "a", *dict.fromkeys(map(cut, LONG)))


def shown(name: Any) -> str:
    """A name as a test's id."""
    return ascii(name if len(str(name)) < 30 else f"{name[:3]} and more, {len(name)}")
