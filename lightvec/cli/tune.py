"""``lightvec tune``: the smallest setting with which the index finds enough."""

from __future__ import annotations

from typing import Any

import click

from lightvec.cli.recall import measure, measuring_options


@click.command("tune")
@click.option(
    "--target",
    "target_recall",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the true nearest rows to be found.",
)
@measuring_options(sample=200)
def command(**options: Any) -> None:
    """Print the smallest ef_search (HNSW) or probes (IVFFlat) with which an index finds enough.

    It is chosen by every other query, with a margin for chance, and tried on the rest. Nothing is
    changed.

    \b
    lightvec tune doc
    lightvec tune doc --target 0.99 --queries searches.npy --plot tuning.svg
    """
    from lightvec.search import tune

    measure(tune, **options)
