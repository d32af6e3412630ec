"""``lightvec doctor``: what is wrong in a database with vectors, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lightvec.cli.options import json_option, open_database, schema_option, url_option
from lightvec.cli.output import in_a_line, print_json

if TYPE_CHECKING:
    from lightvec.search.findings import Finding

__all__ = ["command"]

#: Level to color, in the order of the output.
_STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command("doctor")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@schema_option
@url_option
@json_option
def command(tables: tuple[str, ...], schema: str | None, url: str | None, as_json: bool) -> None:
    """Check the connection, the server, and the tables with vectors (or these) for what goes wrong unnoticed.

    Nothing is changed. Exit status 1 if there is a problem.

    \b
    lightvec doctor
    lightvec doctor doc --json
    """
    from lightvec.search.doctor import examine

    with open_database(url, schema=schema) as database:
        found = examine(database, tables, schema)
    if as_json:
        print_json([vars(finding) for finding in found])
    else:
        _print(found)
    if any(finding.level == "problem" for finding in found):
        raise click.exceptions.Exit(1)


def _print(found: Sequence[Finding]) -> None:
    """A line each and one for its remedy, problems last."""
    for level, color in _STYLES.items():
        for finding in found:
            if finding.level == level:
                subject = f"{finding.subject}: " if finding.subject else ""
                line = in_a_line(f"{subject}{finding.what}")
                click.echo(f"{click.style(f'{level:<7}', fg=color)}  {line}")
                if finding.remedy:
                    click.echo(f"         {in_a_line(finding.remedy)}")
    problems = sum(finding.level == "problem" for finding in found)
    click.echo(f"{problems} problem{'s' if problems != 1 else ''}", err=True)
