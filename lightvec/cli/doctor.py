"""``lightvec doctor``: problems of a database, and their remedies."""

from __future__ import annotations

import click

from lightvec.cli.options import json_option, open_database, schema_option, url_option
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.streams import tell

#: Level to color, in the order of the output.
_COLORS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command("doctor")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@schema_option
@url_option
@json_option
def command(tables: tuple[str, ...], schema: str | None, url: str | None, as_json: bool) -> None:
    """Check the connection, the server, and the tables with vectors (or these) for problems.

    Nothing is changed. Exit status 1 if there is a problem.

    \b
    lightvec doctor
    lightvec doctor doc --json
    """
    from lightvec.search.doctor import examine

    with open_database(url, schema=schema) as database:
        found = examine(database, tables, schema)
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
