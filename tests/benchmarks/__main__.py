"""Run the figures: ``python -m tests.benchmarks [--only NAME] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import copying, deployment, fetching, queries, report, searching, starting, streaming, trips
from tests.benchmarks.figures import Figure, Result, run
from tests.benchmarks.stand import Stand, open_stand

FIGURES: Sequence[Figure] = (
    *copying.FIGURES,
    *fetching.FIGURES,
    *queries.FIGURES,
    *searching.FIGURES,
    *starting.FIGURES,
    *trips.FIGURES,
    *streaming.FIGURES,
    *deployment.FIGURES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit status whether every limit was kept."""
    options = _parser().parse_args(argv)
    for name in [name for name in os.environ if name.startswith("PG")] + ["DATABASE_URL", "LIGHTVEC_URL"]:
        os.environ.pop(name, None)
    chosen = [figure for figure in FIGURES if options.only in (None, figure.name)]
    with open_stand() as stand:
        results = _measured(chosen, stand, options.quick)
        if options.json:
            report.write_json(options.json, stand.versions, results)
    return report.verdict(results)


def _measured(figures: Sequence[Figure], stand: Stand, quick: bool) -> list[Result]:
    report.print_head(stand.versions)
    results: list[Result] = []
    for figure in figures:
        for result in run(figure, stand, quick=quick):
            report.print_result(result)
            results.append(result)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=[figure.name for figure in FIGURES], help="one figure")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the medians and every sample there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
