"""Progress on stderr: one line that is overwritten on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time

import click

from lightvec.cli.streams import messages, tell

_ERASE = "\r\x1b[K"


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
            self._write(_ERASE + text[: shutil.get_terminal_size().columns - 1])

    def tell(self, text: str) -> None:
        self.clear()
        tell(text)

    def clear(self) -> None:
        if self._is_written:
            self._write(_ERASE)
            self._is_written = False

    def _write(self, text: str) -> None:
        with messages():
            # NO_COLOR is about colors only.
            click.echo(text, nl=False, err=True, color=True)


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
