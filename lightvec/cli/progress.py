"""Progress on stderr: one line that is overwritten on a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

import click

__all__ = ["Line", "duration", "size"]

#: Seconds between two updates.
_PACE = 0.1


class Line:
    """The progress line, shown only on a terminal, and messages that stay, everywhere."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty()
        self._next = 0.0
        self._is_written = False

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    @property
    def is_due(self) -> bool:
        """Whether it would be shown now."""
        return self.is_live and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Overwrite the line, unless that was done a moment ago."""
        if self.is_due:
            self._next = time.monotonic() + _PACE
            self._is_written = True
            room = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:room]}", nl=False, err=True)

    def tell(self, text: str) -> None:
        """Print a message that stays."""
        self.clear()
        click.echo(text, err=True)

    def clear(self) -> None:
        """Erase the line."""
        if self._is_written:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._is_written = False


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
