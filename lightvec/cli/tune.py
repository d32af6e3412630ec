"""``lightvec tune``: the smallest setting with which the index finds enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightvec.cli.options import table_options
from lightvec.cli.recall import measuring, measuring_options, print_result

__all__ = ["command"]


@click.command("tune")
@click.argument("table")
@click.option(
    "--target",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the true nearest rows to be found.",
)
@measuring_options(sample=200)
@table_options
def command(table: str, target: float, as_json: bool, plot: Path | None, **given: Any) -> None:
    """Print the smallest ef_search (HNSW) or probes (IVFFlat) with which the index of TABLE finds enough.

    It is chosen by every other query, with a margin for chance, and tried on the rest. Nothing is changed.

    \b
    lightvec tune doc
    lightvec tune doc --target 0.99 --queries searches.npy --plot tuning.svg
    """
    from lightvec.search import tune

    with measuring(table, plot, **given) as (field, options):
        result = tune(field, target, **options)
    print_result(result, as_json, plot)
