"""Processes that can be interrupted."""

from __future__ import annotations

import signal


def heed() -> None:
    """In a process that begins (``preexec_fn``): heed SIGINT.

    Whoever runs the suite in the background of a shell has it ignored, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
