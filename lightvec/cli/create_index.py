"""``lightvec create-index``: build a vector index, with progress."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.errors import reporting_interrupt
from lightvec.cli.options import not_empty, open_database, table_options
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.progress import Line, duration, size

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database
    from lightvec.peewee.build_progress import Progress
    from lightvec.peewee.index_build import IndexPlan
    from lightvec.peewee.indexes import VectorIndex

__all__ = ["command"]


def _memory(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from lightvec.errors import InvalidOption
    from lightvec.peewee.estimates import memory_size

    try:
        return None if value is None else memory_size(value)
    except InvalidOption as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command("create-index")
@click.argument("table")
@click.option("--method", type=click.Choice(["hnsw", "ivfflat"]), default="hnsw", show_default=True, help="Its kind.")
@click.option("--metric", metavar="NAME", help="The metric (default: that of an existing index, else cosine).")
@click.option("--m", metavar="N", type=int, help="HNSW: neighbors of each row (server's default: 16).")
@click.option("--ef-construction", metavar="N", type=int, help="HNSW: candidates while building (default: 64).")
@click.option("--lists", metavar="N", type=int, help="IVFFlat: the clusters (default: by the number of rows).")
@click.option(
    "--quantize",
    type=click.Choice(["halfvec", "bit"]),
    help="Index a coarser form of the vectors (default: where they are too long for an index).",
)
@click.option("--name", metavar="NAME", callback=not_empty, help="Its name (default: by table, column and metric).")
@click.option(
    "--concurrently/--no-concurrently",
    default=False,
    help="Do not lock out writers, which takes longer.",
)
@click.option(
    "--maintenance-work-mem",
    metavar="SIZE",
    callback=_memory,
    help="The memory for this build, such as 2GB (default: the server's).",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=0),
    help="Parallel workers (max_parallel_maintenance_workers; default: the server's).",
)
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and change nothing.")
@table_options
def command(
    table: str,
    name: str | None,
    maintenance_work_mem: int | None,
    workers: int | None,
    dry_run: bool,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Build a vector index on TABLE, with progress.

    The memory that the build needs is printed first. If the same index exists, nothing is done; an invalid one, which
    an interrupted build left, is dropped and built again.

    \b
    lightvec create-index doc --metric cosine --maintenance-work-mem 2GB
    lightvec create-index doc --method ivfflat --lists 1000 --concurrently
    lightvec create-index doc --quantize halfvec --dry-run
    """
    from lightvec.peewee.estimates import usual_lists
    from lightvec.peewee.index_build import plan_index
    from lightvec.peewee.reflect import model_of, vector_field

    seconds = 0.0
    with open_database(url, schema=schema) as database:
        field = vector_field(model_of(database, table, schema), vector_column)
        plan_it = partial(
            plan_index, database, maintenance_work_mem=maintenance_work_mem, workers=workers, any_name=name is None
        )
        index = _index(field, name=name, **options)
        plan = plan_it(index)
        if not plan.exists and index.method == "ivfflat" and options["lists"] is None:
            index = _index(field, name=name, **options | {"lists": usual_lists(plan.estimate.rows)})
            plan = plan_it(index)
        if not plan.exists:
            _print_needs(plan, index)
            if not dry_run:
                seconds = _build(database, plan)
    if as_json:
        print_json({**_as_json(plan, table, dry_run), "seconds": round(seconds, 3)})
    elif dry_run:
        _print_sql(plan)
    elif plan.exists:
        click.echo(f"exists: index {plan.name}", err=True)
    else:
        click.echo(f"created: index {plan.name}, in {duration(seconds)}", err=True)


def _index(
    field: Any,
    *,
    method: str,
    metric: str | None,
    m: int | None,
    ef_construction: int | None,
    lists: int | None,
    quantize: str | None,
    **options: Any,
) -> VectorIndex:
    from lightvec.peewee.indexes import HnswIndex, IvfflatIndex
    from lightvec.peewee.quantization import usual_quantization
    from lightvec.peewee.reflect import default_metric

    options["metric"] = metric or field.metric or default_metric(field)
    options["quantize"] = quantize or usual_quantization(field.field_type, field.dimensions)
    if method == "hnsw":
        if lists is not None:
            raise click.UsageError("--lists is for --method ivfflat")
        return HnswIndex(field, m=m, ef_construction=ef_construction, **options)
    if m is not None or ef_construction is not None:
        raise click.UsageError("--m and --ef-construction are for --method hnsw")
    return IvfflatIndex(field, lists=lists, **options)


def _print_needs(plan: IndexPlan, index: VectorIndex) -> None:
    """What to know before the build."""
    for other in plan.invalid:
        click.echo(f"the index {other.name} is invalid, as an interrupted build leaves it: it is dropped", err=True)
    if index.note:
        click.echo(index.note, err=True)
    needs = plan.estimate
    remedy = ""
    if not needs.fits:
        # Parallel workers take some of it, too.
        megabytes = needs.needed * 1.1 / (1 << 20) + 8
        rounded = f"{-(-megabytes // 64) * 64:.0f}MB" if megabytes < 1024 else f"{-(-megabytes // 1024):.0f}GB"
        effect = "a build that exceeds it is many times slower" if index.method == "hnsw" else "the build will fail"
        remedy = f"; {effect}: use --maintenance-work-mem {rounded}, if the server has that much"
    click.echo(
        f"about {needs.rows:,} rows: the build needs about {size(needs.needed)} of memory, and maintenance_work_mem is "
        f"{size(needs.allowed)}{remedy}",
        err=True,
    )


def _build(database: Pg8000Database, plan: IndexPlan) -> float:
    """Build the index with progress; the seconds that it took."""
    from peewee import PeeweeException

    from lightvec.peewee.index_build import build_index
    from lightvec.peewee.invalid_indexes import LEFT_INVALID

    start = time.monotonic()
    left = LEFT_INVALID if plan.concurrently else "the build was canceled, and nothing of it was kept"
    with Line() as line, reporting_interrupt(left):
        try:
            build_index(database, plan, progress=_Display(line), notice=line.tell)
        except PeeweeException:
            if plan.concurrently:
                line.tell(LEFT_INVALID)
            raise
    return time.monotonic() - start


class _Display:
    """Shows progress: continuously on a terminal, elsewhere by phases and tenths."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        words = [progress.phase]
        if progress.waits_for is not None:
            words.append(f"for process {progress.waits_for} (see pg_stat_activity)")
        if progress.done is not None:
            words.append(f"{progress.done:.0%}")
        if progress.seconds_left is not None:
            words.append(f"{duration(progress.seconds_left)} left")
        step = f"{progress.phase} {progress.waits_for} {int(10 * (progress.done or 0))}"
        if self._line.is_live:
            self._line.show("  ".join(words))
        elif step != self._last:
            self._last = step
            self._line.tell("  ".join(words))


def _as_json(plan: IndexPlan, table: str, dry_run: bool) -> dict[str, Any]:
    result = {
        "index": plan.name,
        "table": table,
        "created": not (plan.exists or dry_run),
        "exists": plan.exists,
        "dropped": [] if dry_run else [other.name for other in plan.invalid],
        "rows": plan.estimate.rows,
        "memory_needed": plan.estimate.needed,
        "maintenance_work_mem": plan.estimate.allowed,
    }
    return {**result, "sql": plan.sql} if dry_run else result


def _print_sql(plan: IndexPlan) -> None:
    from lightvec.wire.identifiers import text_literal

    if plan.exists:
        click.echo(f"-- index {in_a_line(plan.name)} exists")
        return
    for name, value in plan.settings.items():
        click.echo(f"SELECT set_config({text_literal(name)}, {text_literal(str(value))}, false);")
    for statement in plan.sql:
        click.echo(f"{statement};")
