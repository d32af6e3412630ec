"""``lightvec switch``: from one embedding model to the next, under traffic."""

from __future__ import annotations

import time
from shlex import quote
from typing import Any

import click

from lightvec.cli.create_index import shown_on
from lightvec.cli.errors import reporting_build
from lightvec.cli.fill import batch_option, fill_progress, tell_failed
from lightvec.cli.imports import embedder, models_at, own_database, with_option
from lightvec.cli.options import COUNT, dry_run_option, json_option, open_database, url_option
from lightvec.cli.output import Line, print_json
from lightvec.cli.streams import tell
from lightvec.errors import InvalidOption


@click.command("switch")
@click.argument("old", metavar="PACKAGE.MODULE:MODEL.FIELD")
@click.argument("new", metavar="NEW_FIELD")
@with_option
@batch_option
@click.option("--sample", default=50, show_default=True, type=COUNT, help="Rows to compare by.")
@click.option("--finish", is_flag=True, help="Drop the old column, when nobody reads it any more.")
@click.option(
    "--rename",
    is_flag=True,
    help="Drop the old column and give the new one its name; stop readers first.",
)
@click.option("--abandon", is_flag=True, help="Drop the new column.")
@dry_run_option
@url_option
@json_option
def command(
    old: str,
    new: str,
    function: str | None,
    batch: int,
    sample: int,
    finish: bool,
    rename: bool,
    abandon: bool,
    dry_run: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Move the vectors of a model's FIELD to NEW_FIELD, which is of another embedding model.

    The model class declares both, with model= and source=. The new column is added and filled, its
    indexes are built, and the two are compared, while others read and write. It can be interrupted
    and run again. Then deploy readers that search by NEW_FIELD, and run it with --finish.

    --finish and --rename refuse rows without a new vector of their text; --with fills them first.

    \b
    lightvec switch app.models:Doc.embedding embedding_v2 --with app:embed_v2
    lightvec switch app.models:Doc.embedding embedding_v2 --finish
    """
    from lightvec.search.switching import Switch

    endings = [name for name, is_given in (("finish", finish), ("rename", rename), ("abandon", abandon)) if is_given]
    if len(endings) > 1:
        raise click.UsageError(f"expected one of --finish, --rename and --abandon, got {len(endings)}")
    if not endings and function is None and not dry_run:
        raise click.UsageError("name the function that makes the new vectors: --with MODULE:FUNCTION")
    path, _, old_name = old.rpartition(".")
    if not path.partition(":")[2] or not old_name:
        raise click.UsageError(f"expected PACKAGE.MODULE:MODEL.FIELD, got {old!r}")
    (model,) = models_at(path)
    field = getattr(model, new, None)
    if not hasattr(field, "value_class"):
        raise InvalidOption(
            f"{model.__name__} has no vector field {new}: declare it beside {old_name}, with model= and source="
        )
    embed = None if function is None else embedder(function)
    with (
        open_database(url, None if url else own_database([model])) as database,
        database.bind_ctx([model]),
    ):
        switch = Switch(field, old_name)
        if dry_run:
            _print_sql(switch, endings, as_json)
        elif endings:
            if embed is not None and not abandon:
                _fill(switch, field, embed, batch)
            statements = getattr(switch, endings[0])()
            _print_ending(endings[0], statements, model._meta.table_name, old_name, new, as_json)
        elif embed is not None:
            comparison = _move(switch, field, embed, batch, sample)
            _print_comparison(comparison, f"{path}.{switch.old_column}", new, as_json)


def _move(switch: Any, field: Any, embed: Any, batch: int, sample: int) -> Any:
    """Do what is still to be done, up to the comparison."""
    with Line() as line:
        line.show("adding the column …")
        switch.prepare()
    _fill(switch, field, embed, batch)
    with Line() as line, reporting_build(True, ""):
        switch.build(progress=shown_on(line), notice=line.tell)
    # Rows that changed while the index was built.
    _fill(switch, field, embed, batch, is_quiet=True)
    begin = time.monotonic()
    with Line() as line:
        line.show("comparing …")
        comparison = switch.compare(sample)
    tell(f"compared in {time.monotonic() - begin:.1f} s")
    return comparison


def _fill(switch: Any, field: Any, embed: Any, batch: int, is_quiet: bool = False) -> None:
    from lightvec.peewee.filling import count_pending

    name = f"{field.model._meta.table_name}.{field.column_name}"
    rows = count_pending(field).rows
    with Line() as line:
        filled = switch.fill(embed, batch=batch, progress=fill_progress(line, name, rows))
    if rows or not is_quiet:
        tell(f"filled: {filled.written + filled.cleared:,} rows of {name}")
    tell_failed([(name, key, error) for key, error in filled.failed.items()])
    if filled.stopped is not None:
        tell(f"stopped: {filled.stopped}")
    if filled.failed or filled.stopped is not None:
        raise click.exceptions.Exit(1)


def _print_sql(switch: Any, endings: list[str], as_json: bool) -> None:
    names = [f"{name}_sql" for name in endings or ("prepare", "fill", "build")]
    statements = [statement for name in names for statement in getattr(switch, name)()]
    if as_json:
        print_json(statements)
    else:
        for statement in statements:
            click.echo(statement if statement.startswith("--") else f"{statement};")


def _print_ending(ending: str, statements: list[str], table: str, old: str, new: str, as_json: bool) -> None:
    if ending == "rename":
        done = f"renamed: {table}.{new} to {old}; declare {old} of the new model only"
        already = f"{table}.{old} has the new vectors"
    else:
        gone = new if ending == "abandon" else old
        done = f"dropped: {table}.{gone}"
        already = f"there is no column {table}.{gone}"
    if not statements:
        done = f"nothing to do: {already}"
    if as_json:
        print_json({"done": ending, "sql": statements})
    else:
        click.echo(done)


def _print_comparison(comparison: Any, old: str, new: str, as_json: bool) -> None:
    found = comparison.recall
    if as_json:
        values = {**vars(comparison), "recall": None if found is None else found.recall}
        print_json(values)
        return
    click.echo(f"{comparison.filled:,} rows have a vector in {new}, {comparison.pending:,} are pending")
    if comparison.kept is not None:
        click.echo(f"{100 * comparison.kept:.0f} % of the ten nearest rows stay (mean of {comparison.sample:,} rows)")
    if found is not None:
        click.echo(str(found).splitlines()[0])
    click.echo(f"next: deploy readers that search by {new}, then run lightvec switch {quote(old)} {new} --finish")
