"""The one table of index options of HNSW and IVFFlat: their limits and defaults.

Source: ``hnsw.h`` and ``ivfflat.h`` of pgvector 0.8, and its README, "Indexing".
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from types import MappingProxyType
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption

__all__ = ["DEFAULTS", "OPTIONS", "Option", "check_options", "check_range", "usual_probes"]


class Option(NamedTuple):
    """The least and the most value of an option, and its default."""

    least: int
    most: int
    default: int


OPTIONS: Mapping[str, Mapping[str, Option]] = MappingProxyType(
    {
        "hnsw": {"m": Option(2, 100, 16), "ef_construction": Option(4, 1_000, 64)},
        "ivfflat": {"lists": Option(1, 32_768, 100)},
    }
)

#: The defaults of all options.
DEFAULTS: Mapping[str, int] = MappingProxyType(
    {name: option.default for options in OPTIONS.values() for name, option in options.items()}
)

#: By how much a filter raises the probes. Of 30,000 embeddings in 300 lists a filter that leaves
#: 1 % found 0.64 of the nearest with the plain square root, 0.79 with twice, 0.92 with four times
#: that. The planner counts probes, too, and rather compares all rows where that takes less.
_FILTERED = 4


def usual_probes(lists: int, *, is_filtered: bool = False) -> int:
    """How many lists of an IVFFlat index to search: the square root, more with a filter.

    >>> usual_probes(3), usual_probes(100), usual_probes(100, is_filtered=True)
    (2, 10, 40)
    """
    root = isqrt(lists - 1) + 1
    return min(lists, root * _FILTERED if is_filtered else root)


def check_options(method: str, **given: int | None) -> dict[str, int]:
    """The options that are not None, for an index of this method.

    :class:`~lightvec.errors.InvalidOption` for values that pgvector would refuse.

    >>> check_options("hnsw", m=24, ef_construction=None)
    {'m': 24}
    >>> check_options("hnsw", m=24, ef_construction=40)
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: expected ef_construction of at least twice m (48), got 40
    """
    for name, value in given.items():
        check_range(name, value, OPTIONS[method][name].least, OPTIONS[method][name].most)
    options = {name: value for name, value in given.items() if value is not None}
    if method == "hnsw":
        _check_effort(**{**DEFAULTS, **options})
    return options


def check_range(name: str, value: Any, least: int, most: int) -> None:
    """:class:`~lightvec.errors.InvalidOption` for a number that pgvector would refuse; None is none."""
    if value is not None and (type(value) is bool or not isinstance(value, int) or not least <= value <= most):
        raise InvalidOption(f"expected {name} from {least:,} to {most:,}, got {value!r}")


def _check_effort(m: int, ef_construction: int, **_: int) -> None:
    if ef_construction < 2 * m:
        raise InvalidOption(f"expected ef_construction of at least twice m ({2 * m}), got {ef_construction}")
