"""A command with lightvec's subcommands, on psycopg, with its imports at the top of the file."""

from __future__ import annotations

from typing import Any

import click
import psycopg
from peewee import PostgresqlDatabase, SqliteDatabase
from pgvector.peewee import VectorField
from pgvector.psycopg import register_vector

USES: tuple[Any, ...] = (
    psycopg.connect,
    PostgresqlDatabase,
    SqliteDatabase,
    VectorField,
    register_vector,
)

COMMANDS = {
    "init-db": "Create the extension, and the tables and indexes of models.",
    "create-index": "Build a vector index, and show its progress.",
    "load": "Load a file into a table, whole or not at all.",
    "search": "Print the rows nearest to a vector.",
    "doctor": "Look for what silently goes wrong.",
    "recall": "Measure how many of the nearest rows an index finds.",
    "tune": "Find the smallest setting that finds enough of them.",
    "server": "Run a PostgreSQL.",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0.1.0", prog_name="tool")
def main() -> None:
    """Vector search in PostgreSQL.

    \b
    tool init-db myapp.models
    tool load doc embeddings.jsonl.gz
    tool search doc --like 42
    """


def _add(name: str, text: str) -> None:
    @main.command(name, help=text)
    @click.argument("arguments", nargs=-1)
    @click.option("--url", metavar="DSN", help="The database.")
    def command(**given: Any) -> None:
        pass


for _name, _text in COMMANDS.items():
    _add(_name, _text)
