"""What a function's zip file carries."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.figures import Figure, Limit, Pair
from tests.benchmarks.stand import Stand
from tests.packaging import compiled_files, install, write_zip


def _zip(stand: Stand, rounds: int) -> Sequence[Pair]:
    installed = install(stand.folder / "source", stand.folder / "installed")
    size = write_zip(installed, stand.folder / "function.zip")
    return [Pair([size / 1e6]), Pair([len(compiled_files(installed))])]


FIGURES = (
    Figure(
        "zip",
        (Limit("deployment zip", "MB", 1.5), Limit("compiled files in it", "", 0)),
        _zip,
    ),
)
