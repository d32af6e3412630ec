"""``lightvec tune``: the smallest setting with which the index finds enough."""

from __future__ import annotations

from typing import Any

import click

from lightvec.cli.recall import measuring, measuring_options, print_result


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
def command(target: float, **options: Any) -> None:
    """Print the smallest ef_search (HNSW) or probes (IVFFlat) with which an index finds enough.

    It is chosen by every other query, with a margin for chance, and tried on the rest. Nothing is
    changed.

    \b
    lightvec tune doc
    lightvec tune doc --target 0.99 --queries searches.npy --plot tuning.svg
    """
    from lightvec.search import tune

    with measuring(**options) as (field, given):
        result = tune(field, target, **given)
    print_result(result, **options)
