"""The group of commands, each imported when it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from lightvec import __version__
from lightvec.cli.failing import exit_status

__all__ = ["cli", "run"]

#: Command to the module that holds it; a command's module is imported when the command is looked at.
_COMMANDS = {
    "init-db": "lightvec.cli.init_db",
    "create-index": "lightvec.cli.create_index",
    "load": "lightvec.cli.load",
    "search": "lightvec.cli.search",
    "doctor": "lightvec.cli.doctor",
    "recall": "lightvec.cli.recall",
    "tune": "lightvec.cli.tune",
    "server": "lightvec.cli.server",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = import_module(module).command
        return command


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
