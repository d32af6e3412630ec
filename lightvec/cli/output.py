"""What a command prints: tables, JSON, SQL, and progress on stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from unicodedata import combining, east_asian_width

import click

from lightvec.cli.streams import messages, printable, tell


def in_a_line(text: str) -> str:
    """Names may hold line breaks, which end an SQL comment."""
    return printable(" ".join(text.splitlines()))


def print_json(value: Any) -> None:
    """JSON on stdout: NaN and infinity as null, bytes as hex digits, other types as text."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    # JSON has them as they are, and a terminal would obey them.
    click.echo(re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text))


def print_sql(kind: str, plan: Any) -> None:
    """The SQL of an index plan or a step, or that its object exists or differs."""
    what = f"-- {kind} {in_a_line(plan.name)}"
    if differs := getattr(plan, "differs", ""):
        click.echo(f"{what} differs: {in_a_line(differs)}")
    elif plan.exists:
        click.echo(f"{what} exists")
    else:
        for statement in plan.sql:
            click.echo(f"{statement};")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows under their columns' names; on a terminal lines are cut to its width."""
    heads = [_cell(column) for column in columns]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    click.echo(click.style(_line(heads, widths), bold=True))
    for line in cells:
        click.echo(_line(line, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    line = "  ".join(cell + " " * (width - _width(cell)) for cell, width in pairs).rstrip()
    room = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or _width(line) <= room:
        return line
    end = len(line)
    while _width(line[:end]) >= room:
        end -= 1
    return line[:end] + "…"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(combining(letter) > 0 for letter in text)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, bytes):
        return value.hex()
    return "" if value is None else printable(" ".join(str(value).split()))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if hasattr(value, "to_list"):
        value = value.to_list()
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else str(value)


class Line:
    """The progress line, on a terminal, and messages that stay."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._is_written = False

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Overwrite the line, ten times a second at most."""
        if self.is_live and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._is_written = True
            self._write(text[: shutil.get_terminal_size().columns - 1])

    def tell(self, text: str) -> None:
        self.clear()
        tell(text)

    def clear(self) -> None:
        if self._is_written:
            self._write("")
            self._is_written = False

    def _write(self, text: str) -> None:
        with messages():
            # NO_COLOR is about colors only.
            click.echo(f"\r\x1b[K{text}", nl=False, err=True, color=True)


def duration(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> duration(7), duration(3_725.5)
    ('0:07', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes in the unit that fits.

    >>> size(900), size(3_900_000_000)
    ('1 kB', '3.6 GB')
    """
    for unit in ("kB", "MB", "GB"):
        count /= 1024
        if count < 1000:
            return f"{count:.1f} {unit}" if unit == "GB" else f"{max(round(count), 1)} {unit}"
    return f"{count / 1024:.1f} TB"
