"""``lightvec recall``: how many of the true nearest rows the index finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lightvec.cli.options import (
    COUNT,
    FILE,
    k_option,
    metric_option,
    open_field,
    setting_options,
    table_options,
)
from lightvec.cli.output import Line, print_json
from lightvec.cli.streams import printable, tell
from lightvec.cli.vector_files import matrix

_queries_option = click.option(
    "--queries",
    type=FILE,
    help="A .npy matrix of vectors to search with instead of rows: real searches are best.",
)
_plot_option = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw recall against latency into a .png, .svg or .pdf file.",
)


def measuring_options(sample: int) -> Callable[[Any], Any]:
    """The options of ``recall`` and ``tune``."""
    sample_option = click.option(
        "--sample",
        default=sample,
        show_default=True,
        type=COUNT,
        help="How many rows to search with.",
    )

    def add(command: Any) -> Any:
        own = metric_option(_plot_option(table_options(command)))
        return k_option(sample_option(_queries_option(own)))

    return add


@click.command("recall")
@setting_options
@measuring_options(sample=100)
def command(**options: Any) -> None:
    """Print how many of the true nearest rows in TABLE its index finds, and how fast.

    What the index finds for some queries is compared with the exact answers. Nothing is changed.

    \b
    lightvec recall doc
    lightvec recall doc --ef-search 100 --queries searches.npy --plot recall.png
    """
    from lightvec.search import recall

    measure(recall, **options)


def measure(
    run: Any,
    table: str,
    url: str | None,
    schema: str | None,
    vector_column: str | None,
    metric: str | None,
    queries: Path | None,
    plot: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run ``recall`` or ``tune`` with progress on stderr, and print and draw the result."""
    if plot is not None:
        from lightvec.search import plots

        plots.check_plot(plot)
    vectors = None if queries is None else matrix(queries)
    opened = open_field(table, schema, vector_column, url, metric)
    with opened as (_, field, metric), Line() as line:

        def progress(what: str, done: int, total: int) -> None:
            line.show(f"{what}: {done:,} of {total:,}")

        result = run(field, metric=metric, queries=vectors, progress=progress, **settings)
    if plot is not None:
        plots.plot(result, plot)
        tell(f"drawn into {plot}")
    if as_json:
        index = result.index and {"name": result.index.name, "method": result.index.method}
        found = {**vars(result), "index": index}
        if hasattr(result, "curve"):
            found["curve"] = [vars(trial) for trial in result.curve]
        print_json(found)
    else:
        for text in str(result).splitlines():
            click.echo(printable(text))
