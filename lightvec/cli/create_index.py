"""``lightvec create-index``: build a vector index, with progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.errors import reporting_interrupt
from lightvec.cli.options import COUNT, not_empty, open_database, table_options
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.progress import Line, duration, size
from lightvec.cli.streams import tell

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database
    from lightvec.peewee.build_progress import Progress
    from lightvec.peewee.index_build import IndexPlan
    from lightvec.peewee.indexes import VectorIndex

#: The options of each method, by their parameters.
_OPTIONS = {
    "hnsw": {"m": "--m", "ef_construction": "--ef-construction"},
    "ivfflat": {"lists": "--lists"},
}


@click.command("create-index")
@click.argument("table")
@click.option(
    "--method",
    type=click.Choice([*_OPTIONS]),
    default="hnsw",
    show_default=True,
    help="Its access method.",
)
@click.option("--metric", metavar="NAME", help="The metric (default: the index's, else cosine).")
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
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and change nothing.")
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
    from lightvec.peewee.index_build import plan_index
    from lightvec.peewee.indexes import HnswIndex, IvfflatIndex
    from lightvec.peewee.quantization import usual_quantization
    from lightvec.peewee.reflect import default_metric, model_of, vector_field

    own = {option: value for option, value in given.items() if value is not None}
    for other, options in _OPTIONS.items():
        for option in own.keys() & options.keys() if other != method else ():
            raise click.UsageError(f"{options[option]} is for --method {other}")
    cls: type[VectorIndex] = HnswIndex if method == "hnsw" else IvfflatIndex
    memory = None if maintenance_work_mem is None else memory_size(maintenance_work_mem)
    seconds = 0.0
    with open_database(url, schema=schema) as database:
        field = vector_field(model_of(database, table, schema), vector_column)

        def plan_with(**options: Any) -> tuple[VectorIndex, IndexPlan]:
            index = cls(
                field,
                metric=metric or field.metric or default_metric(field),
                quantize=quantize or usual_quantization(field.field_type, field.dimensions),
                name=name,
                concurrently=concurrently,
                **options,
            )
            return index, plan_index(
                database,
                index,
                maintenance_work_mem=memory,
                workers=workers,
                any_name=name is None,
            )

        index, plan = plan_with(**own)
        if not plan.exists and method == "ivfflat" and not own:
            index, plan = plan_with(lists=usual_lists(plan.estimate.rows))
        if not plan.exists:
            _print_needs(plan, index)
            if not dry_run:
                seconds = _build(database, plan)
    if as_json:
        print_json({**_as_json(plan, table, dry_run), "seconds": round(seconds, 3)})
    elif dry_run:
        _print_sql(plan)
    elif plan.exists:
        tell(f"exists: index {plan.name}")
    else:
        tell(f"created: index {plan.name}, in {duration(seconds)}")


def _print_needs(plan: IndexPlan, index: VectorIndex) -> None:
    for other in plan.invalid:
        tell(f"the index {other.name} is invalid, as an interrupted build leaves it: it is dropped")
    if index.note:
        tell(index.note)
    needs = plan.estimate
    remedy = ""
    if not needs.fits:
        # Parallel workers take some of it, too.
        enough = (needs.needed * 1.1 / (1 << 20) + 8) // 64 * 64 + 64
        slow = "a build that exceeds it is many times slower"
        effect = slow if index.method == "hnsw" else "the build will fail"
        option = f"--maintenance-work-mem {enough:.0f}MB"
        remedy = f"; {effect}: use {option}, if the server has that much"
    tell(
        f"about {needs.rows:,} rows: the build needs about {size(needs.needed)} of memory, "
        f"and maintenance_work_mem is {size(needs.allowed)}{remedy}"
    )


def _build(database: Pg8000Database, plan: IndexPlan) -> float:
    """Build the index; the seconds that it took."""
    from peewee import PeeweeException

    from lightvec.peewee.index_build import build_index
    from lightvec.peewee.invalid_indexes import LEFT_INVALID

    start = time.monotonic()
    canceled = "the build was canceled, and nothing of it was kept"
    with Line() as line, reporting_interrupt(LEFT_INVALID if plan.concurrently else canceled):
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
        self._last: tuple[object, ...] = ()

    def __call__(self, progress: Progress) -> None:
        words = [progress.phase]
        if progress.waits_for is not None:
            words.append(f"for process {progress.waits_for} (see pg_stat_activity)")
        if progress.done is not None:
            words.append(f"{progress.done:.0%}")
        if progress.seconds_left is not None:
            words.append(f"{duration(progress.seconds_left)} left")
        step = (progress.phase, progress.waits_for, int(10 * (progress.done or 0)))
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
        setting = f"{text_literal(name)}, {text_literal(str(value))}"
        click.echo(f"SELECT set_config({setting}, false);")
    for statement in plan.sql:
        click.echo(f"{statement};")
