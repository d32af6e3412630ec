"""``lightvec diff``: how a database differs from models, and the statements that change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from lightvec.cli.imports import models_at, own_database
from lightvec.cli.options import json_option, not_empty, open_database, schema_option, url_option
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.streams import tell


@click.command("diff")
@click.argument("models", nargs=-1, required=True, metavar="PACKAGE.MODULE[:MODEL]...")
@click.option("--apply", is_flag=True, help="Run the statements that lose no data, after a question.")
@click.option("--yes", is_flag=True, help="With --apply: do not ask.")
@click.option(
    "--migration",
    metavar="NAME",
    callback=not_empty,
    help="Write a migration for pwmigrate, Peewee's runner.",
)
@click.option(
    "--directory",
    metavar="FOLDER",
    default="migrations",
    show_default=True,
    help="With --migration: the folder of the migrations.",
)
@schema_option
@url_option
@json_option
def command(
    models: tuple[str, ...],
    apply: bool,
    yes: bool,
    migration: str | None,
    directory: str,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Print what differs between models and database, and the SQL that changes it.

    The exit status is 0 if nothing differs, else 1. --apply runs what loses no data and leaves
    alone what no model declares; a migration has all of it.

    \b
    lightvec diff app.models
    lightvec diff app.models --apply
    lightvec diff app.models --migration add_author
    """
    from lightvec.peewee import schema_changes
    from lightvec.peewee.schema_diff import diff, set_schema

    if apply and migration is not None:
        raise click.UsageError("expected --apply or --migration, got both")
    wanted = list(dict.fromkeys(model for path in models for model in models_at(path)))
    if schema is not None:
        set_schema([model for model in wanted if not model._meta.schema], schema)
    own = None if url else own_database(wanted)
    with open_database(url, own) as database:
        found = diff(database, wanted)
        if as_json:
            print_json([_as_json(each) for each in found])
        else:
            _print(found)
        if migration is not None and found:
            tell(f"written: {schema_changes.write_migration(migration, found, directory)}")
            return
        chosen = _without_loss(found)
        if apply:
            if chosen and not yes:
                click.confirm(f"run the statements of {len(chosen)} of {len(found)} differences?", abort=True, err=True)
            for each in chosen:
                schema_changes.run(database, each.sql)
                tell(f"done: {each.kind} {each.name}")
            found = diff(database, wanted)
            for each in found:
                tell(f"still differs: {each.kind} {each.name}: {each.differs}")
    if found:
        raise click.exceptions.Exit(1)


def _without_loss(found: Sequence[Any]) -> list[Any]:
    """What can be applied: no index of a table with a column that stays as it is."""
    chosen = [each for each in found if each.sql and not (each.loses_data or each.undeclared)]
    left = {each.model for each in found if each.unusable and each not in chosen}
    return [each for each in chosen if "index" not in each.kind or each.model not in left]


def _as_json(each: Any) -> dict[str, Any]:
    names = ("kind", "name", "differs", "sql", "undo", "loses_data", "outside_transaction", "undeclared")
    return {name: getattr(each, name) for name in names}


def _print(found: Sequence[Any]) -> None:
    for each in found:
        lossy = click.style(" (loses data)", fg="red") if each.loses_data else ""
        click.echo(f"-- {each.kind} {in_a_line(each.name)}: {in_a_line(each.differs)}{lossy}")
        for statement in each.sql:
            click.echo(f"{statement};")
