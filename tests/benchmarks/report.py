"""The table on the terminal, and the JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.figures import Limit, Result

_ROW = "{:<47} {:>16}  {:<32} {:>16}  {:>8} {:>8}  {}"


def print_head(versions: Mapping[str, str]) -> None:
    """The versions, and the heads of the columns."""
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    head = _ROW.format("what (medians, measured alternately)", "lightvec", "against", "", "ratio", "limit", "").rstrip()
    print(f"\n{head}\n{'─' * len(_ROW.format(*[''] * 7))}────", flush=True)


def print_result(result: Result) -> None:
    """A row, and its note if it has one."""
    limit = result.limit
    print(
        _ROW.format(
            limit.what,
            _number(result.ours, limit.unit),
            limit.against,
            _number(result.theirs, limit.unit),
            "" if result.ratio is None else f"{result.ratio:.2f} x",
            _bound(limit),
            _mark(result.is_kept),
        ).rstrip(),
        flush=True,
    )
    if result.pair.note:
        print(f"    {result.pair.note}", flush=True)


def verdict(results: Sequence[Result]) -> int:
    """Print how many limits were kept; return the exit status."""
    missed = [result for result in results if not result.is_kept]
    print(f"\n{len(results) - len(missed)} of {len(results)} limits kept")
    return 1 if missed else 0


def write_json(file: Path, versions: Mapping[str, str], results: Sequence[Result]) -> None:
    """Write every figure with its samples."""
    rows = [
        {
            "figure": result.figure,
            **dataclasses.asdict(result.limit),
            "ours": result.ours,
            "theirs": result.theirs,
            "ratio": result.ratio,
            "kept": result.is_kept,
            "samples": dataclasses.asdict(result.pair),
        }
        for result in results
    ]
    file.write_text(json.dumps({"versions": versions, "figures": rows}, indent=2) + "\n", encoding="utf-8")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    shown = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def _bound(limit: Limit) -> str:
    sign = "≥" if limit.at_least else "≤"
    return f"{sign} {limit.bound:g}{' x' if limit.against else ''}"


def _mark(is_kept: bool) -> str:
    word, color = ("kept", 32) if is_kept else ("MISSED", 31)
    return f"\033[{color}m{word}\033[0m" if sys.stdout.isatty() else word
