"""The group of commands, imported lazily."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from lightvec import __version__
from lightvec.cli.errors import exit_status

__all__ = ["cli", "run"]

#: Command to its module and its summary. Imported lazily: with all modules, ``lightvec --help`` took twice as long.
_COMMANDS = {
    "init-db": ("lightvec.cli.init_db", "Create the extension, and the tables and indexes of models."),
    "create-index": ("lightvec.cli.create_index", "Build a vector index, and show how far that is."),
    "load": ("lightvec.cli.load", "Load a file into a table: all of it or nothing."),
    "search": ("lightvec.cli.search", "Print the rows nearest to a vector."),
    "doctor": ("lightvec.cli.doctor", "Look for what goes wrong quietly."),
    "recall": ("lightvec.cli.recall", "Measure how many of the nearest rows an index finds."),
    "tune": ("lightvec.cli.tune", "Find the smallest setting that finds enough of them."),
    "server": ("lightvec.cli.server", "Run an embedded PostgreSQL with pgvector."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


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
    """Run the command line; the status to leave with."""
    return exit_status(lambda: cli.main(args, prog_name="lightvec", standalone_mode=False))
