"""The group of commands, imported lazily."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click

from lightvec import __version__
from lightvec.cli.errors import exit_status

#: The summaries. A command's module is imported lazily: with all of them, ``lightvec --help`` took
#: twice as long.
_COMMANDS = {
    "init-db": "Create the extension, and the tables and indexes of models.",
    "diff": "Print how a database differs from models, and the SQL for it.",
    "create-index": "Build a vector index, with progress.",
    "load": "Load a file into a table: all of it or nothing.",
    "unload": "Write rows into a file that load reads back.",
    "fill": "Make the vectors of rows whose text has changed.",
    "switch": "Move to another embedding model, under traffic.",
    "search": "Print the rows nearest to a vector.",
    "doctor": "Check a database for common problems.",
    "recall": "Measure how many of the nearest rows an index finds.",
    "tune": "Find the smallest setting that finds enough of them.",
    "server": "Run an embedded PostgreSQL with pgvector.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module: Any = import_module(f"lightvec.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lightvec")
def cli() -> None:
    """Vector search in PostgreSQL, with nothing compiled.

    \b
    lightvec init-db myapp.models
    lightvec load doc embeddings.jsonl.gz
    lightvec search doc --like 42
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    color = False if is_plain else None
    call = partial(cli.main, args, "lightvec", standalone_mode=False, color=color)
    return exit_status(call)
