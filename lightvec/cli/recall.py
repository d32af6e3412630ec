"""``lightvec recall``: how many of the true nearest rows the index finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from lightvec.cli.options import COUNT, FILE, metric_option, open_field, table_options
from lightvec.cli.output import print_json
from lightvec.cli.progress import Line
from lightvec.cli.streams import printable, tell
from lightvec.cli.vector_files import matrix

F = TypeVar("F", bound=Callable[..., Any])

_k_option = click.option("-k", default=10, show_default=True, type=COUNT, help="Rows of a query.")
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


def measuring_options(sample: int) -> Callable[[F], F]:
    """The options of ``recall`` and ``tune``."""
    sample_option = click.option(
        "--sample",
        default=sample,
        show_default=True,
        type=COUNT,
        help="How many rows to search with.",
    )

    def add(command: F) -> F:
        own = metric_option(_plot_option(table_options(command)))
        return _k_option(sample_option(_queries_option(own)))

    return add


@click.command("recall")
@click.argument("table")
@click.option("--ef-search", type=int, help="HNSW: the rows to consider (1 to 1,000).")
@click.option("--probes", type=int, help="IVFFlat: the lists to search.")
@measuring_options(sample=100)
def command(ef_search: int | None, probes: int | None, **options: Any) -> None:
    """Print how many of the true nearest rows in TABLE its index finds, and how fast.

    What the index finds for some queries is compared with the exact answers. Nothing is changed.

    \b
    lightvec recall doc
    lightvec recall doc --ef-search 100 --queries searches.npy --plot recall.png
    """
    from lightvec.search import recall

    with measuring(**options) as (field, given):
        result = recall(field, ef_search=ef_search, probes=probes, **given)
    print_result(result, **options)


@contextmanager
def measuring(
    table: str,
    *,
    url: str | None,
    schema: str | None,
    vector_column: str | None,
    metric: str | None,
    queries: Path | None,
    plot: Path | None,
    k: int,
    sample: int,
    as_json: bool,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The field, and the options for the library."""
    if plot is not None:
        from lightvec.search.plots import check_plot

        check_plot(plot)
    vectors = None if queries is None else matrix(queries)
    with open_field(table, schema, vector_column, url, metric) as (_, field, metric), Line() as line:
        given = {
            "k": k,
            "sample": sample,
            "metric": metric,
            "queries": vectors,
            "progress": lambda what, done, total: line.show(f"{what}: {done:,} of {total:,}"),
        }
        yield field, given


def print_result(result: Any, *, as_json: bool, plot: Path | None, **others: Any) -> None:
    if plot is not None:
        from lightvec.search.plots import plot as draw

        draw(result, plot)
        tell(f"drawn into {plot}")
    if as_json:
        index = result.index and {"name": result.index.name, "method": result.index.method}
        found = {**vars(result), "index": index}
        if hasattr(result, "curve"):
            found["curve"] = [vars(trial) for trial in result.curve]
        print_json(found)
    else:
        for line in str(result).splitlines():
            click.echo(printable(line))
