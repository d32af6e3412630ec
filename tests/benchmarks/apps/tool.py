"""A command line of the same shape as lightvec's, written in the usual way on psycopg: what it may need is imported
at the top of the file."""

from __future__ import annotations

from typing import Any

import click
import psycopg
from peewee import PostgresqlDatabase, SqliteDatabase
from pgvector.peewee import VectorField
from pgvector.psycopg import register_vector

USES: tuple[Any, ...] = (psycopg.connect, PostgresqlDatabase, SqliteDatabase, VectorField, register_vector)

url_option = click.option("--url", metavar="DSN", help="The database.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0.1.0", prog_name="tool")
def main() -> None:
    """Vector search in PostgreSQL.

    \b
    tool init-db myapp.models
    tool load doc embeddings.jsonl.gz
    tool search doc --like 42
    """


@main.command("init-db")
@click.argument("models", nargs=-1)
@url_option
def init_db(**given: Any) -> None:
    """Create the extension, and the tables and indexes of models."""


@main.command("create-index")
@click.argument("table")
@url_option
def create_index(**given: Any) -> None:
    """Build a vector index, and show how far that is."""


@main.command()
@click.argument("table")
@click.argument("file")
@url_option
def load(**given: Any) -> None:
    """Load a file into a table: all of it or nothing."""


@main.command()
@click.argument("table")
@url_option
def search(**given: Any) -> None:
    """Print the rows nearest to a vector."""


@main.command()
@click.argument("tables", nargs=-1)
@url_option
def doctor(**given: Any) -> None:
    """Look for what goes wrong quietly."""


@main.command()
@click.argument("table")
@url_option
def recall(**given: Any) -> None:
    """Measure how many of the nearest rows an index finds."""


@main.command()
@click.argument("table")
@url_option
def tune(**given: Any) -> None:
    """Find the smallest setting that finds enough of them."""


@main.command()
def server(**given: Any) -> None:
    """Run a PostgreSQL."""
