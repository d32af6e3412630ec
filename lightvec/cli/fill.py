"""``lightvec fill``: vectors for the rows whose text has none, or another one than before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.imports import embedder, models_at, own_database, with_option
from lightvec.cli.options import COUNT, json_option, open_database, url_option
from lightvec.cli.output import Line, duration, in_a_line, print_json
from lightvec.cli.streams import tell
from lightvec.errors import InvalidOption

if TYPE_CHECKING:
    from lightvec.peewee.filling import Filled

#: Keys of failed rows that are listed.
_MOST_LISTED = 10


batch_option = click.option("--batch", default=64, show_default=True, type=COUNT, help="Texts in a call.")


class _Part(click.ParamType[Any]):
    name = "part"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        number, _, parts = str(value).partition("/")
        if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
            self.fail(f"expected N/M, such as 1/4 for the first of four, got {value!r}", param, ctx)
        return int(number), int(parts)


@click.command("fill")
@click.argument("models", nargs=-1, required=True, metavar="PACKAGE.MODULE[:MODEL[.FIELD]]...")
@with_option
@batch_option
@click.option("--part", type=_Part(), metavar="N/M", help="Only the N-th of M parts of the keys.")
@click.option("--limit", type=COUNT, help="Rows to try.")
@click.option("--in-place", is_flag=True, help="Replace the vectors of another model.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take vectors that were stored otherwise as made of their present texts.",
)
@click.option("--dry-run", is_flag=True, help="Count the rows and characters, and change nothing.")
@url_option
@json_option
def command(
    models: tuple[str, ...],
    function: str | None,
    batch: int,
    part: tuple[int, int] | None,
    limit: int | None,
    in_place: bool,
    adopt: bool,
    dry_run: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Make the vectors of rows whose text has none yet, or has changed.

    The fields are those with source=. It can be interrupted and run again at any time, also several
    times beside each other. Exit status 1 if the embedder failed for a row.

    \b
    lightvec fill app.models --with app:embed
    lightvec fill app.models:Doc.embedding --dry-run
    """
    from lightvec.peewee import filling

    if function is None and not (adopt or dry_run):
        raise click.UsageError("name the function that makes the vectors: --with MODULE:FUNCTION")
    if adopt and dry_run:
        raise click.UsageError("expected --adopt or --dry-run, got both")
    if adopt and function is None and (part or limit or in_place):
        raise click.UsageError(
            "--part, --limit and --in-place are for --with, and --adopt takes all rows: leave them out"
        )
    found = {id(field): field for path in models for field in _fields_at(path)}
    fields = list(found.values())
    if function is not None:
        _check_one_model(fields, function)
    wanted = list(dict.fromkeys(field.model for field in fields))
    embed = None if function is None else embedder(function)
    own = None if url else own_database(wanted)
    results = []
    with open_database(url, own) as database, database.bind_ctx(wanted), Line() as line:
        for field in fields:
            name = f"{field.model._meta.table_name}.{field.column_name}"
            result: dict[str, Any] = {"column": name}
            if dry_run:
                result |= vars(filling.count_pending(field, part))
            if adopt:
                result["adopted"] = filling.adopt(field)
            if embed is not None and not dry_run:
                rows = filling.count_pending(field, part).rows
                progress = fill_progress(line, name, rows if limit is None else min(rows, limit))
                options: Any = {"batch": batch, "part": part, "limit": limit, "in_place": in_place}
                result |= vars(filling.fill(field, embed, progress=progress, **options))
            results.append(result)
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(f"{in_a_line(result['column'])}: {_in_words(result)}")
    failed = [(result["column"], key, error) for result in results for key, error in result.get("failed", {}).items()]
    tell_failed(failed)
    if failed:
        raise click.exceptions.Exit(1)


def tell_failed(failed: Sequence[tuple[str, Any, Exception]]) -> None:
    """Name the first rows for which the embedder failed."""
    for column, key, error in failed[:_MOST_LISTED]:
        tell(f"{column} of row {key}: {type(error).__name__}: {error}")
    if len(failed) > _MOST_LISTED:
        tell(f"and {len(failed) - _MOST_LISTED:,} rows more")


def _fields_at(path: str) -> list[Any]:
    """The vector fields with source= of a module, of a model, or one by name."""
    from lightvec.peewee.reflect import vector_fields

    module, _, rest = path.partition(":")
    name, _, wanted = rest.partition(".")
    fields = [
        field
        for model in models_at(f"{module}:{name}" if name else module)
        for field in vector_fields(model)
        if (field.name == wanted if wanted else field.source)
    ]
    if not fields:
        what = f"a vector field {wanted}" if wanted else "a vector field with source="
        raise InvalidOption(f"{path}: expected {what}, got a model without one")
    return fields


def _check_one_model(fields: Sequence[Any], function: str) -> None:
    """Check that all fields are of one embedding model: a function makes the vectors of one."""
    by_model = {field.embedding_model: field for field in fields}
    if len(by_model) > 1:
        names = ", ".join(f"{field.display_name} of {name}" for name, field in by_model.items())
        raise InvalidOption(
            f"--with {function}: expected fields of one embedding model, got {names}: name those that the "
            f"function makes the vectors of, such as MODULE:{next(iter(by_model.values())).display_name}"
        )


def fill_progress(line: Line, name: str, rows: int) -> Callable[[Filled], None]:
    begin = time.monotonic()

    def show(filled: Filled) -> None:
        rate = filled.tried / max(time.monotonic() - begin, 1e-9)
        left = duration(max(rows - filled.tried, 0) / rate) if rate else "?"
        line.show(f"{name}: {filled.tried:,} of {rows:,} rows, {rate:,.0f} rows/s, {left} left")

    return show


def _in_words(result: dict[str, Any]) -> str:
    """The counts that are not 0, and why it stopped."""
    if "characters" in result:
        return f"{result['rows']:,} rows pending, {result['characters']:,} characters"
    words = [
        f"{count:,} {name}" for name in ("adopted", "written", "cleared", "changed") if (count := result.get(name))
    ]
    if result.get("failed"):
        words.append(f"{len(result['failed']):,} failed")
    stopped = result.get("stopped")
    return (", ".join(words) or "nothing to do") + (f"; stopped: {stopped}" if stopped else "")
