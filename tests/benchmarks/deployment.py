"""What a function's zip file carries."""

from __future__ import annotations

from collections.abc import Sequence

from examples.aws_lambda.build import collect, unfit, write_zip
from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.stand import Stand


def _zip(stand: Stand, rounds: int) -> Sequence[Pair]:
    contents = collect()
    file = stand.folder / "function.zip"
    write_zip(contents, file)
    return [Pair([file.stat().st_size / 1e6]), Pair([len(unfit(contents))])]


FIGURES = (
    Figure(
        "zip",
        (Limit("deployment zip", "MB", 1.5), Limit("compiled files in it", "", 0)),
        _zip,
    ),
)
