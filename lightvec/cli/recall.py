"""``lightvec recall``: how many of the true nearest rows the index finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from lightvec.cli.files import matrix
from lightvec.cli.options import open_database, table_options
from lightvec.cli.output import print_json
from lightvec.cli.progress import Line

__all__ = ["command", "measuring", "measuring_options", "print_result"]

F = TypeVar("F", bound=Callable[..., Any])


def measuring_options(sample: int) -> Callable[[F], F]:
    """The options of ``recall`` and ``tune``; ``sample`` is the default of ``--sample``."""
    options = (
        click.option(
            "-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many rows a query wants."
        ),
        click.option(
            "--sample",
            default=sample,
            show_default=True,
            type=click.IntRange(min=1),
            help="How many rows to search with.",
        ),
        click.option(
            "--queries",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A .npy matrix of vectors to search with instead of rows: those of real searches tell more.",
        ),
        click.option("--metric", metavar="NAME", help="The metric (default: the index's, else cosine or hamming)."),
        click.option(
            "--plot",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Draw recall against latency into a .png, .svg or .pdf file.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command("recall")
@click.argument("table")
@click.option("--ef-search", type=int, help="HNSW: the rows to consider (1 to 1,000).")
@click.option("--probes", type=int, help="IVFFlat: the lists to search.")
@measuring_options(sample=100)
@table_options
def command(
    table: str, ef_search: int | None, probes: int | None, as_json: bool, plot: Path | None, **given: Any
) -> None:
    """Print how many of the true nearest rows in TABLE its index finds, and how fast.

    What the index finds for some queries is compared with the exact answers. Nothing is changed.

    \b
    lightvec recall doc
    lightvec recall doc --ef-search 100 --queries searches.npy --plot recall.png
    """
    from lightvec.search import recall

    with measuring(table, plot, **given) as (field, options):
        result = recall(field, ef_search=ef_search, probes=probes, **options)
    print_result(result, as_json, plot)


@contextmanager
def measuring(
    table: str,
    plot: Path | None,
    *,
    url: str | None,
    schema: str | None,
    vector_column: str | None,
    metric: str | None,
    queries: Path | None,
    k: int,
    sample: int,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The field and the options that ``recall`` and ``tune`` share, with progress on stderr."""
    from lightvec.peewee.reflect import default_metric, model_of, vector_field

    if plot is not None:
        from lightvec.search.plots import check_plot

        check_plot(plot)
    vectors = None if queries is None else matrix(queries)
    with open_database(url, schema=schema) as database, Line() as line:
        field = vector_field(model_of(database, table, schema), vector_column)
        yield (
            field,
            {
                "k": k,
                "sample": sample,
                "metric": metric or field.metric or default_metric(field),
                "queries": vectors,
                "progress": lambda what, done, total: line.show(f"{what}: {done:,} of {total:,}"),
            },
        )


def print_result(result: Any, as_json: bool, plot: Path | None) -> None:
    """Print the result, and draw it."""
    if plot is not None:
        from lightvec.search.plots import plot as draw

        draw(result, plot)
        click.echo(f"drawn into {plot}", err=True)
    if as_json:
        index = None if result.index is None else {"name": result.index.name, "method": result.index.method}
        curve = {"curve": [vars(trial) for trial in result.curve]} if hasattr(result, "curve") else {}
        print_json({**vars(result), "index": index, **curve})
    else:
        click.echo(result)
