"""Standard output and error, which may be closed or full."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

#: A terminal would obey them; surrogates cannot be encoded.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with its control characters as escapes.

    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def discard(stream: TextIO) -> None:
    """Send all output to /dev/null: Python would try again at exit, and exit with status 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def messages() -> Iterator[None]:
    """Around writing to stderr: what cannot be written is lost."""
    try:
        yield
    except OSError:
        discard(sys.stderr)


def tell(text: str) -> None:
    """Print a line on stderr."""
    with messages():
        click.echo(printable(text), err=True)
