"""The one table of index options of HNSW and IVFFlat: their limits and defaults.

Source: ``hnsw.h`` and ``ivfflat.h`` of pgvector 0.8, and its README, "Indexing".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption

__all__ = ["DEFAULTS", "OPTIONS", "Option", "check_options", "check_range"]


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
