"""Measure: ``python -m tests.benchmarks [FIGURE ...] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import (
    cold_start,
    copy_in,
    deployment,
    fetch,
    nearest,
    query,
    report,
    round_trips,
    streaming,
)
from tests.benchmarks.figures import Figure, Result, run
from tests.benchmarks.workbench import Workbench, open_workbench

FIGURES: Sequence[Figure] = (
    *copy_in.FIGURES,
    *fetch.FIGURES,
    *query.FIGURES,
    *nearest.FIGURES,
    *cold_start.FIGURES,
    *round_trips.FIGURES,
    *streaming.FIGURES,
    *deployment.FIGURES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 0 if every limit is kept."""
    options = _options(argv)
    chosen = [figure for figure in FIGURES if not options.figures or figure.name in options.figures]
    with open_workbench() as bench:
        results = _measure(chosen, bench, options.quick)
        if options.json:
            report.write_json(options.json, bench.versions, results)
    return report.verdict(results)


def _measure(figures: Sequence[Figure], bench: Workbench, quick: bool) -> list[Result]:
    report.print_head(bench.versions)
    results: list[Result] = []
    for figure in figures:
        for result in run(figure, bench, quick=quick):
            report.print_result(result)
            results.append(result)
    return results


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("figures", metavar="FIGURE", nargs="*", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every sample there")
    options = parser.parse_args(argv)
    if unknown := set(options.figures) - set(names):
        parser.error(f"no such figure: {', '.join(sorted(unknown))} (there are {', '.join(names)})")
    return options


if __name__ == "__main__":
    sys.exit(main())
