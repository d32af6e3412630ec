"""What a command prints: a table for people, JSON for machines."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from unicodedata import combining, east_asian_width

import click

from lightvec.cli.streams import printable


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
