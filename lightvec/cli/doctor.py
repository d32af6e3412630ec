"""``lightvec doctor``: problems of a database, and their remedies."""

from __future__ import annotations

import click

from lightvec.cli.imports import embedder, with_option
from lightvec.cli.options import (
    json_option,
    not_empty,
    open_database,
    schema_option,
    url_option,
    vector_column_option,
)
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.streams import tell

#: Level to color, in the order of the output.
_COLORS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command("doctor")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@with_option
@click.option(
    "--text-column",
    metavar="NAME",
    callback=not_empty,
    help="With --with: the column of the texts (default: the source that the column records).",
)
@vector_column_option
@schema_option
@url_option
@json_option
def command(
    tables: tuple[str, ...],
    function: str | None,
    text_column: str | None,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Check the connection, the server, and the tables with vectors (or these) for problems.

    With --with it embeds the texts of 16 rows of TABLE, and compares with the vectors stored: that
    finds another model, another prefix of the texts, and another normalization.

    Nothing is changed. Exit status 1 if there is a problem.

    \b
    lightvec doctor
    lightvec doctor doc --json
    lightvec doctor doc --with app:embed --text-column body
    """
    from lightvec.search.doctor import examine
    from lightvec.search.doctor_embeddings import Embedder

    if function is None and (text_column or vector_column):
        option = "--text-column" if text_column else "--vector-column"
        raise click.UsageError(f"{option} says what --with compares: give that, too")
    if function is not None and len(tables) != 1:
        raise click.UsageError(f"--with compares the vectors of one TABLE: got {len(tables)}")
    compared = function and Embedder(embedder(function), function, text_column, vector_column)
    with open_database(url, schema=schema) as database:
        found = examine(database, tables, schema, compared or None)
    problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        print_json([vars(finding) for finding in found])
    else:
        for finding in sorted(found, key=lambda each: [*_COLORS].index(each.level)):
            subject = f"{finding.subject}: " if finding.subject else ""
            level = click.style(f"{finding.level:<7}", fg=_COLORS[finding.level])
            click.echo(f"{level}  {in_a_line(subject + finding.what)}")
            if finding.remedy:
                click.echo(f"         {in_a_line(finding.remedy)}")
        tell(f"{problems} problem{'s' if problems != 1 else ''}")
    if problems:
        raise click.exceptions.Exit(1)
