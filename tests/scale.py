"""How much is tried: enough for every run, or as much as `make soak` has time for."""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["SOAK", "scaled"]

T = TypeVar("T")

#: Whether this is the long run.
SOAK = bool(os.environ.get("LIGHTVEC_SOAK"))


def scaled(usual: T, soak: T) -> T:
    """One of the two, by which run this is."""
    return soak if SOAK else usual
