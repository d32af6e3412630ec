"""``lightvec create-index``: a vector index on a table that has its rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.failing import Interrupted
from lightvec.cli.options import not_empty, open_database, table_options
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.progress import Line, duration, size

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database
    from lightvec.peewee.building import IndexPlan, Notice
    from lightvec.peewee.estimates import Estimate
    from lightvec.peewee.indexes import VectorIndex
    from lightvec.peewee.watching import Progress

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
@click.option("--metric", metavar="NAME", help="The metric (default: that of an index that stands, else cosine).")
@click.option("--m", metavar="N", type=int, help="HNSW: the neighbours that each row keeps (server's default: 16).")
@click.option("--ef-construction", metavar="N", type=int, help="HNSW: those looked at while building (default: 64).")
@click.option("--lists", metavar="N", type=int, help="IVFFlat: the clusters (default: by the number of rows).")
@click.option(
    "--quantize",
    type=click.Choice(["halfvec", "bit"]),
    help="Hold a coarser form of the vectors (default: where they are too long for an index).",
)
@click.option("--name", metavar="NAME", callback=not_empty, help="Its name (default: by table, column and metric).")
@click.option(
    "--concurrently/--no-concurrently",
    default=False,
    help="Let others write to the table meanwhile, which takes longer (default: they wait).",
)
@click.option(
    "--maintenance-work-mem",
    metavar="SIZE",
    callback=_memory,
    help="The memory that this build may take, such as 2GB (default: the server's).",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=0),
    help="Processes that help (max_parallel_maintenance_workers; default: the server's).",
)
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and change nothing.")
@table_options
def command(
    table: str,
    name: str | None,
    concurrently: bool,
    maintenance_work_mem: int | None,
    workers: int | None,
    dry_run: bool,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Build a vector index on TABLE, and show how far that is.

    It says before what memory the build needs. The same index that stands is left alone; one that an interrupted build
    left invalid is dropped and built again.

    \b
    lightvec create-index doc --metric cosine --maintenance-work-mem 2GB
    lightvec create-index doc --method ivfflat --lists 1000 --concurrently
    lightvec create-index doc --quantize halfvec --dry-run
    """
    from lightvec.peewee.building import plan_index
    from lightvec.peewee.estimates import usual_lists
    from lightvec.peewee.reflect import model_of, vector_field

    with open_database(url, schema=schema) as database:
        field = vector_field(model_of(database, table, schema), vector_column)
        options |= {"name": name, "concurrently": concurrently}
        given: dict[str, Any] = {
            "maintenance_work_mem": maintenance_work_mem,
            "workers": workers,
            "any_name": name is None,
        }
        index = _index(field, **options)
        plan = plan_index(database, index, **given)
        if not plan.stands and index.method == "ivfflat" and options["lists"] is None:
            index = _index(field, **options | {"lists": usual_lists(plan.estimate.rows)})
            plan = plan_index(database, index, **given)
        told = _Teller(plan)
        if not plan.stands:
            told.before(index.note)
        seconds = 0.0 if plan.stands or dry_run else _build(database, plan, told)
    if as_json:
        print_json({**_as_json(plan, dry_run), "seconds": round(seconds, 3)})
    elif dry_run:
        _print_sql(plan)
    else:
        told.after(seconds)


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


def _build(database: Pg8000Database, plan: IndexPlan, told: _Teller) -> float:
    from lightvec.peewee.building import build_index

    start = time.monotonic()
    try:
        with told.line:
            build_index(database, plan, progress=told.progress, notice=told.notice)
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {_left(database, plan)}") from error
    except Exception:
        left = _left(database, plan)
        if plan.concurrently and left != _NOTHING:
            click.echo(left, err=True)
        raise
    return time.monotonic() - start


_NOTHING = "the build was cancelled, and nothing of it was kept"


def _left(database: Pg8000Database, plan: IndexPlan) -> str:
    """What a build that was stopped left behind."""
    from lightvec.peewee.building import is_left_invalid

    if not plan.concurrently:
        return _NOTHING
    again = "running the command again drops it and builds it anew"
    try:
        left = is_left_invalid(database, plan)
    except Exception as error:
        return f"the index {plan.name} may be left invalid, which nothing uses ({error}): {again}"
    return f"the index {plan.name} is left invalid, which nothing uses: {again}" if left else _NOTHING


class _Teller:
    """What is said of a build, all of it on stderr."""

    def __init__(self, plan: IndexPlan) -> None:
        self.line = Line()
        self._plan = plan
        self._said = ""

    def before(self, note: str) -> None:
        """What is to be known before it begins."""
        plan, needs = self._plan, self._plan.estimate
        for other in plan.remains:
            self.line.tell(f"the index {other.name} is not valid, as an interrupted build leaves one: it is dropped")
        if note:
            self.line.tell(note)
        what = "the graph" if plan.method == "hnsw" else "k-means"
        self.line.tell(
            f"about {needs.rows:,} rows: {what} needs about {size(needs.needed)} of memory, and maintenance_work_mem "
            f"is {size(needs.allowed)}{'' if needs.fits else f'; {self._too_little(needs)}'}"
        )

    def progress(self, found: Progress) -> None:
        """How far it is: all the time on a terminal, else by phases and tenths."""
        parts = [found.phase]
        if found.waits_for is not None:
            parts.append(f"for process {found.waits_for} (pg_stat_activity says what it does)")
        if found.done is not None:
            parts.append(f"{found.done:.0%}")
        if found.seconds_left is not None:
            parts.append(f"{duration(found.seconds_left)} left")
        self.line.show("  ".join(parts))
        mark = f"{found.phase} {found.waits_for} {int(10 * (found.done or 0))}"
        if not self.line.is_live and mark != self._said:
            self._said = mark
            self.line.tell("  ".join(parts))

    def notice(self, said: Notice) -> None:
        """What the server remarks, and what to do about it."""
        remedy = ""
        if said.is_memory:
            remedy = f"stop it and give --maintenance-work-mem {_advised(self._plan.estimate)}, or wait"
        words = [said.message, said.detail.rstrip("."), remedy or said.hint.rstrip(".")]
        self.line.tell(f"the server says: {'; '.join(filter(None, words))}")

    def after(self, seconds: float) -> None:
        """How it ended."""
        if self._plan.stands:
            self.line.tell(f"stands: index {self._plan.name}")
        else:
            self.line.tell(f"made: index {self._plan.name}, in {duration(seconds)}")

    def _too_little(self, needs: Estimate) -> str:
        then = (
            "past that the build is many times slower" if self._plan.method == "hnsw" else "with that the build fails"
        )
        return f"{then}: give --maintenance-work-mem {_advised(needs)}, if the server has as much to spare"


def _advised(needs: Estimate) -> str:
    """An amount that is enough, also for what a parallel build takes of it for itself."""
    megabytes = needs.needed * 1.1 / (1 << 20) + 8
    return f"{-(-megabytes // 64) * 64:.0f}MB" if megabytes < 1024 else f"{-(-megabytes // 1024):.0f}GB"


def _as_json(plan: IndexPlan, dry_run: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "index": plan.name,
        "table": plan.table,
        "made": not (plan.stands or dry_run),
        "stands": plan.stands,
        "dropped": [] if dry_run else [other.name for other in plan.remains],
        "rows": plan.estimate.rows,
        "memory_needed": plan.estimate.needed,
        "maintenance_work_mem": plan.estimate.allowed,
    }
    return {**told, "sql": plan.sql} if dry_run else told


def _print_sql(plan: IndexPlan) -> None:
    """What psql may run: the settings, and what is run with them."""
    from lightvec.wire.identifiers import text_literal

    for name, value in {} if plan.stands else plan.settings.items():
        click.echo(f"SELECT set_config({text_literal(name)}, {text_literal(str(value))}, false);")
    for statement in plan.sql:
        click.echo(f"{statement};")
    if plan.stands:
        click.echo(f"-- index {in_a_line(plan.name)} stands")
