"""``lightvec create-index``: build a vector index, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from lightvec.cli.errors import reporting_build
from lightvec.cli.options import (
    COUNT,
    dry_run_option,
    metric_option,
    not_empty,
    open_field,
    table_options,
)
from lightvec.cli.output import Line, duration, print_json, print_sql, size
from lightvec.cli.streams import tell

#: The method that an option is for.
_METHODS = {"m": "hnsw", "ef_construction": "hnsw", "lists": "ivfflat"}


@click.command("create-index")
@click.option(
    "--method",
    type=click.Choice(["hnsw", "ivfflat"]),
    default="hnsw",
    show_default=True,
    help="Its access method.",
)
@metric_option
@click.option("--m", type=int, help="HNSW: neighbors of each row (server's default: 16).")
@click.option(
    "--ef-construction",
    type=int,
    help="HNSW: candidates while building (default: 64).",
)
@click.option(
    "--lists",
    type=int,
    help="IVFFlat: the clusters (default: by the number of rows).",
)
@click.option(
    "--quantize",
    type=click.Choice(["halfvec", "bit"]),
    help="Index a coarser form of the vectors (default: where they are too long for an index).",
)
@click.option(
    "--name",
    metavar="NAME",
    callback=not_empty,
    help="Its name (default: by table, column and metric).",
)
@click.option(
    "--concurrently/--no-concurrently",
    default=False,
    help="Do not lock out writers, which takes longer.",
)
@click.option(
    "--maintenance-work-mem",
    metavar="SIZE",
    help="The memory for this build, such as 2GB (default: the server's).",
)
@click.option(
    "--workers",
    type=click.IntRange(0, COUNT.max),
    help="Parallel workers (max_parallel_maintenance_workers; default: the server's).",
)
@dry_run_option
@table_options
def command(
    table: str,
    method: str,
    metric: str | None,
    quantize: str | None,
    name: str | None,
    concurrently: bool,
    maintenance_work_mem: str | None,
    workers: int | None,
    dry_run: bool,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
    **given: int | None,
) -> None:
    """Build a vector index on TABLE, with progress.

    The memory that the build needs is printed first. If the same index exists, nothing is done; an
    invalid one, which an interrupted build left, is dropped and built again.

    \b
    lightvec create-index doc --metric cosine --maintenance-work-mem 2GB
    lightvec create-index doc --method ivfflat --lists 1000 --concurrently
    lightvec create-index doc --quantize halfvec --dry-run
    """
    from lightvec.peewee.estimates import memory_size, usual_lists
    from lightvec.peewee.index_build import build_index, plan_index
    from lightvec.peewee.indexes import HnswIndex, IvfflatIndex
    from lightvec.peewee.quantization import usual_quantization
    from lightvec.wire.identifiers import text_literal

    own: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for option in own:
        if _METHODS[option] != method:
            words = option.replace("_", "-")
            raise click.UsageError(f"--{words} is for --method {_METHODS[option]}")
    cls: Any = HnswIndex if method == "hnsw" else IvfflatIndex
    memory = None if maintenance_work_mem is None else memory_size(maintenance_work_mem)
    seconds = 0.0
    with open_field(table, schema, vector_column, url, metric) as (database, field, metric):
        own["metric"] = metric
        own["quantize"] = quantize or usual_quantization(field.field_type, field.dimensions)

        def plan_with(**options: Any) -> Any:
            index = cls(field, name=name, concurrently=concurrently, **own, **options)
            settings = {"maintenance_work_mem": memory, "workers": workers}
            return index, plan_index(database, index, **settings, any_name=name is None)

        index, plan = plan_with()
        if not plan.exists and method == "ivfflat" and "lists" not in own:
            index, plan = plan_with(lists=usual_lists(plan.estimate.rows))
        if not plan.exists:
            _print_needs(plan, index)
        if not (plan.exists or dry_run):
            start = time.monotonic()
            left = "the build was canceled, and nothing of it was kept"
            with reporting_build(concurrently, left), Line() as line:
                build_index(database, plan, progress=shown_on(line), notice=line.tell)
            seconds = time.monotonic() - start
    if as_json:
        sql = {"sql": plan.sql} if dry_run else {}
        print_json(
            {
                "index": plan.name,
                "table": table,
                "created": not (plan.exists or dry_run),
                "exists": plan.exists,
                "dropped": [] if dry_run else [other.name for other in plan.invalid],
                "rows": plan.estimate.rows,
                "memory_needed": plan.estimate.needed,
                "maintenance_work_mem": plan.estimate.allowed,
                **sql,
                "seconds": round(seconds, 3),
            }
        )
    elif dry_run:
        for setting, value in {} if plan.exists else plan.settings.items():
            arguments = f"{text_literal(setting)}, {text_literal(str(value))}"
            click.echo(f"SELECT set_config({arguments}, false);")
        print_sql("index", plan)
    elif plan.exists:
        tell(f"exists: index {plan.name}")
    else:
        tell(f"created: index {plan.name}, in {duration(seconds)}")


def _print_needs(plan: Any, index: Any) -> None:
    for other in plan.invalid:
        tell(f"the index {other.name} is invalid, as an interrupted build leaves it: it is dropped")
    if index.note:
        tell(index.note)
    needs = plan.estimate
    remedy = ""
    if not needs.fits:
        # Parallel workers take some of it, too.
        enough = (needs.needed * 1.1 / (1 << 20) + 8) // 64 * 64 + 64
        effect = "the build will fail"
        if index.method == "hnsw":
            effect = "a build that exceeds it is many times slower"
        use = f"use --maintenance-work-mem {enough:.0f}MB"
        remedy = f"; {effect}: {use}, if the server has that much"
    tell(
        f"about {needs.rows:,} rows: the build needs about {size(needs.needed)} of memory, "
        f"and maintenance_work_mem is {size(needs.allowed)}{remedy}"
    )


def shown_on(line: Line) -> Callable[[Any], None]:
    """Shows progress: continuously on a terminal, elsewhere by phases and tenths."""
    last: tuple[object, ...] = ()

    def show(progress: Any) -> None:
        nonlocal last
        words = [progress.phase]
        if progress.waits_for is not None:
            words.append(f"for process {progress.waits_for} (see pg_stat_activity)")
        if progress.done is not None:
            words.append(f"{progress.done:.0%}")
        if progress.seconds_left is not None:
            words.append(f"{duration(progress.seconds_left)} left")
        step = (progress.phase, progress.waits_for, int(10 * (progress.done or 0)))
        if line.is_live:
            line.show("  ".join(words))
        elif step != last:
            last = step
            line.tell("  ".join(words))

    return show
