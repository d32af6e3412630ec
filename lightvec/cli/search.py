"""``lightvec search``: the rows nearest to a vector or to another row."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.files import matrix, standard_input
from lightvec.cli.options import open_database, table_options
from lightvec.cli.output import print_json, print_table
from lightvec.errors import InvalidOption, SchemaMismatch

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database

__all__ = ["command"]


@click.command("search")
@click.argument("table")
@click.option("--vector", metavar="VECTOR", help="A vector as text, [1,2,3]; @FILE or - reads one, also from .npy.")
@click.option("--like", metavar="ID", help="Search with the embedding of the row with this primary key.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many rows.")
@click.option("--metric", metavar="NAME", help="The metric (default: the index's, else cosine or hamming).")
@click.option("--exact", is_flag=True, help="Compare with every row, and leave the vector index alone.")
@table_options
def command(
    table: str,
    vector: str | None,
    like: str | None,
    k: int,
    metric: str | None,
    exact: bool,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Print the rows of TABLE nearest to a vector, nearest first.

    \b
    lightvec search doc --vector '[0.1,0.2,0.3]'
    lightvec search gloss --like 42 -k 5 --json

    The measure of each row comes first and is called score, higher is better; a column of that name is shown as score_.
    """
    from lightvec.peewee.reflect import default_metric, model_of, vector_field

    if (vector is None) == (like is None):
        raise click.UsageError("say what to search with: --vector or --like")
    with open_database(url) as database:
        model = model_of(database, table, schema)
        field = vector_field(model, vector_column)
        metric = metric or field.metric or default_metric(field)
        wanted = _embedding_of(model, field, like) if vector is None else _read(vector, field)
        rows = _nearest(database, model, field.nearest(wanted, k, metric=metric, exact=exact), like)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, list(rows[0]) if rows else ["score"])


def _nearest(database: Pg8000Database, model: Any, query: Any, like: str | None) -> list[dict[str, Any]]:
    """The rows with their score first, without their vectors, and without the row itself that was searched with."""
    from lightvec.peewee.reflect import plain_fields

    shown = plain_fields(model)
    if like is not None:
        query = query.where(model._meta.primary_key.cast("text") != like)
    names = [_shown_name(field.column_name, model._meta.columns) for field in shown]
    # By position: the table may have columns with the names of the query's own two, which come last.
    rows = query.select(*shown).tuples().execute(database)
    return [{"score": row[-1], **dict(zip(names, row, strict=False))} for row in rows]


def _shown_name(column: str, columns: Collection[str]) -> str:
    name = column
    while name == "score" or (name != column and name in columns):
        name += "_"
    return name


def _embedding_of(model: Any, field: Any, key: str | None) -> Any:
    if not model._meta.primary_key or model._meta.composite_key:
        raise SchemaMismatch(
            f"the table {model._meta.table_name} has no primary key of one column to find a row by: use --vector"
        )
    row = model.select(field).where(model._meta.primary_key.cast("text") == key).tuples().first()
    if row is None:
        raise SchemaMismatch(f"the table {model._meta.table_name} has no row {key}")
    if row[0] is None:
        raise SchemaMismatch(f"the row {key} of {model._meta.table_name} has no embedding")
    return row[0]


def _read(text: str, field: Any) -> Any:
    """A vector from the command line, a file or standard input."""
    if text == "-":
        text = standard_input().read()
    elif text.startswith("@"):
        path = Path(text[1:])
        if path.suffix == ".npy":
            return _only_row(path)
        text = _text_of(path)
    return field.value_class.from_text(text.strip())


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidOption(f"{path}: expected a vector as text, such as [1,2,3], or a .npy file: {error}") from error


def _only_row(path: Path) -> Any:
    found = matrix(path)
    if len(found) != 1:
        raise InvalidOption(f"{path}: expected a matrix of one row to search with, got {len(found)}")
    return found[0]
