"""The size and content of a function's deployment zip."""

from __future__ import annotations

from collections.abc import Sequence

from examples.aws_lambda.build import collect, unfit, write_zip
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.workbench import Workbench


def _zip(bench: Workbench, rounds: int) -> Sequence[Pair]:
    contents = collect()
    file = bench.folder / "function.zip"
    write_zip(contents, file)
    return [Pair([file.stat().st_size / 1e6]), Pair([len(unfit(contents))])]


FIGURES = (Figure("zip", (Limit("deployment zip", "MB", 1.4), Limit("  compiled files in it", "", 0)), _zip),)
