"""``lightvec server``: the embedded server."""

from __future__ import annotations

import os
import shlex
from functools import wraps
from pathlib import Path
from typing import Any

import click

from lightvec.cli.options import EMBEDDED_PATH, embedded_path, json_option, not_empty
from lightvec.cli.output import print_json
from lightvec.cli.streams import tell

_path_option = click.option(
    "--path",
    type=click.Path(file_okay=False),
    callback=not_empty,
    help=f"The folder that holds its data (default: {EMBEDDED_PATH}).",
)
_url_option = click.option(
    "--url",
    envvar="LIGHTVEC_URL",
    metavar="embedded:PATH",
    callback=not_empty,
    help="The same, as other commands take it (default: LIGHTVEC_URL or DATABASE_URL).",
)


def _folder_options(function: Any) -> Any:
    """Pass the folder that the options name."""

    @_path_option
    @_url_option
    @wraps(function)
    def call(path: str | None, url: str | None, **options: Any) -> Any:
        folder = embedded_path(url) if path is None else Path(path)
        if folder is None and url not in (None, os.environ.get("LIGHTVEC_URL")):
            raise click.UsageError(f"expected --url embedded:PATH, got {url}")
        return function(folder or EMBEDDED_PATH, **options)

    return call


@click.group("server")
def command() -> None:
    """Run an embedded PostgreSQL with pgvector, for development and tests.

    \b
    lightvec server start
    psql "$(lightvec server url)"
    lightvec server stop
    """


@command.command()
@_folder_options
def start(folder: Path) -> None:
    """Start the server, or find it running, and print its URL.

    It runs until it is stopped.

    \b
    lightvec server start
    lightvec server start --path /srv/vectors
    """
    from lightvec import server

    started = server.start(folder)
    if started.data.parent != started.path:
        tell(f"its data is in {started.data}, where the server's account can reach it")
    click.echo(started.url)


@command.command()
@_folder_options
def stop(folder: Path) -> None:
    """Stop the server; its data stays.

    \b
    lightvec server stop
    """
    from lightvec import server

    tell("stopped" if server.stop(folder) else f"no server runs in {folder}")


@command.command()
@_folder_options
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Print whether the server runs and where its data is.

    Exit status 1 if it does not run.

    \b
    lightvec server status --json
    """
    from lightvec import server

    found = server.status(folder)
    if as_json:
        print_json(vars(found))
    else:
        state = f"running, process {found.pid}" if found.running else "not running"
        click.echo(f"state    {state}")
        for name in ("url", "data", "log", "version"):
            click.echo(f"{name:<8} {getattr(found, name) or '-'}")
    if not found.running:
        raise click.exceptions.Exit(1)


@command.command("url")
@_folder_options
def print_url(folder: Path) -> None:
    """Print the URL of the running server.

    Exit status 1 if it does not run.

    \b
    psql "$(lightvec server url)"
    """
    from lightvec import server
    from lightvec.errors import ServerError

    found = server.status(folder).url
    if found is None:
        place = "" if folder == EMBEDDED_PATH else f" --path {shlex.quote(str(folder))}"
        raise ServerError(f"no server runs in {folder}: start it with lightvec server start{place}")
    click.echo(found)
