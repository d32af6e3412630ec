"""How a refused value is shown: short enough to be read, whatever came."""

from __future__ import annotations

import reprlib
from typing import Any

_LONGEST = 60
_MOST_SHOWN = 10**30

_brief = reprlib.Repr()
_brief.maxlevel = 2
_brief.maxlist = _brief.maxtuple = _brief.maxarray = _brief.maxdict = _brief.maxset = 4
_brief.maxstring = _brief.maxother = _brief.maxlong = 40


def show(value: Any) -> str:
    """The value in at most 60 characters, and its type.

    >>> show("two")
    "'two' (str)"
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return show_bytes(value)
    return f"{_text(value)} ({type(value).__name__})"


def show_number(value: int) -> str:
    """The number with commas; Python refuses to print one of 4,300 digits.

    >>> show_number(16_000)
    '16,000'
    """
    return f"{value:,}" if -_MOST_SHOWN < value < _MOST_SHOWN else "a very large number"


def show_bytes(value: bytes | bytearray | memoryview) -> str:
    """The length and the first bytes.

    >>> show_bytes(bytes([0, 3, 0, 0, 9]))
    '5 bytes (00 03 00 00 09)'
    """
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    start = bytes(value[:12]).hex(" ")
    return f"{size:,} bytes ({start}{' ...' if size > 12 else ''})"


def _text(value: Any) -> str:
    try:
        text = " ".join(_brief.repr(value).split())
    except ValueError:  # an int of more digits than Python agrees to print
        return "a very large number"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
