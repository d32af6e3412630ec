"""``lightvec server``: the embedded server."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lightvec.cli.options import EMBEDDED_PATH, json_option, not_empty
from lightvec.cli.output import print_json

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])


def _path(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    return Path(not_empty(context, parameter, value))


def _path_option(function: F) -> F:
    return click.option(
        "--path",
        type=click.Path(file_okay=False),
        default=EMBEDDED_PATH,
        show_default=True,
        callback=_path,
        help="The folder that holds its data.",
    )(function)


def _call(name: str, path: Path) -> str:
    """What to type for a command of the server in this folder."""
    place = "" if path == Path(EMBEDDED_PATH) else f" --path {shlex.quote(str(path))}"
    return f"lightvec server {name}{place}"


@click.group("server")
def command() -> None:
    """Run an embedded PostgreSQL with pgvector, for development and tests.

    \b
    lightvec server start
    psql "$(lightvec server url)"
    lightvec server stop
    """


@command.command()
@_path_option
def start(path: Path) -> None:
    """Start the server, or find it running, and print its URL.

    It goes on until it is stopped.

    \b
    lightvec server start
    lightvec server start --path /srv/vectors
    """
    from lightvec import server

    started = server.start(path)
    if started.data.parent != started.path:
        click.echo(f"its data is in {started.data}, where the server's account can reach it", err=True)
    click.echo(started.url)


@command.command()
@_path_option
def stop(path: Path) -> None:
    """Stop the server; its data stays.

    \b
    lightvec server stop
    """
    from lightvec import server

    click.echo("stopped" if server.stop(path) else f"no server runs in {path}", err=True)


@command.command()
@_path_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """Say whether the server runs and where its data is.

    Exit status 1 if it does not run.

    \b
    lightvec server status --json
    """
    from lightvec import server

    found = server.status(path)
    if as_json:
        print_json(vars(found))
    else:
        state = f"running, process {found.pid}" if found.running else "not running"
        lines = {
            "state": state,
            "url": found.url,
            "data": found.data,
            "log": found.log,
            "version": found.version,
        }
        for name, value in lines.items():
            click.echo(f"{name:<8} {value if value is not None else '-'}")
    if not found.running:
        raise click.exceptions.Exit(1)


@command.command()
@_path_option
def url(path: Path) -> None:
    """Print the URL of the server that runs.

    Exit status 1 if none does.

    \b
    psql "$(lightvec server url)"
    """
    from lightvec import server
    from lightvec.errors import ServerError

    found = server.status(path).url
    if found is None:
        raise ServerError(f"no server runs in {path}: start it with {_call('start', path)}")
    click.echo(found)
