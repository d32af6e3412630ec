"""``lightvec load``: rows and embeddings from files into a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.failing import told_if_interrupted
from lightvec.cli.files import FORMATS, Rows, matrix, rows_of
from lightvec.cli.options import open_database, table_options
from lightvec.cli.output import print_json
from lightvec.errors import SchemaMismatch

if TYPE_CHECKING:
    from peewee import Model

    from lightvec.peewee import Pg8000Database

__all__ = ["command"]

#: Rows a statement: enough that round trips no longer count, few enough parameters for one statement.
_BATCH = 200


@click.command("load")
@click.argument("table")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--format", type=click.Choice(FORMATS), help="What FILE holds (default: by its ending; of -, jsonl).")
@click.option(
    "--vectors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .npy matrix with the embedding of each row of FILE, in the same order.",
)
@table_options
def command(
    table: str,
    file: Path,
    format: str | None,
    vectors: Path | None,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Load FILE (.jsonl, .jsonl.gz, .csv, a .npy matrix, or - for standard input) into TABLE: all of it or nothing.

    Keys or headings are the columns' names. A CSV file's embeddings are texts like [1,2,3]; its JSON cells are JSON.

    \b
    lightvec load doc docs.jsonl.gz
    lightvec load gloss glosses.jsonl.gz --vectors base.f16.npy
    """
    from lightvec.peewee.reflect import model_of, vector_field

    is_matrix = format is None and file.suffix == ".npy"
    with open_database(url) as database, told_if_interrupted("no row was kept"):
        model = model_of(database, table, schema)
        field = vector_field(model, vector_column) if vectors or is_matrix else None
        if is_matrix:
            loaded = _load_matrix(database, model, field, file)
        else:
            source = rows_of(file, format)
            loaded = _load_rows(database, model, field, source, None if vectors is None else matrix(vectors))
    if as_json:
        print_json({"table": table, "rows": loaded})
    else:
        click.echo(f"{loaded:,} rows loaded into {table}", err=True)


def _load_matrix(database: Pg8000Database, model: type[Model], field: Any, file: Path) -> int:
    found = matrix(file)
    rows = ({field.name: vector} for vector in found)
    with click.progressbar(rows, length=len(found), label="loading", file=sys.stderr) as shown:
        return _insert(database, model, iter(shown))


def _load_rows(database: Pg8000Database, model: type[Model], field: Any, source: Rows, vectors: Any) -> int:
    with source.file, _progress(source) as told:
        fields = {field.column_name: field for field in model._meta.sorted_fields}

        def shown() -> Iterator[dict[str, Any]]:
            for row in source.rows:
                yield _by_field(row, fields, model, source.texts)
                told()

        rows = shown() if vectors is None else _with_vectors(shown(), field, vectors)
        return _insert(database, model, rows)


@contextmanager
def _progress(source: Rows) -> Iterator[Callable[[], None]]:
    """A bar on stderr, and what moves it to where the file is read; nothing where there is no telling how far it is."""
    if source.size is None:
        yield lambda: None
        return
    with click.progressbar(length=source.size, label="loading", file=sys.stderr) as bar:
        yield lambda: bar.update(source.file.tell() - bar.pos)


def _with_vectors(rows: Iterator[dict[str, Any]], field: Any, vectors: Any) -> Iterator[dict[str, Any]]:
    count = 0
    for count, row in enumerate(rows, 1):
        if count > len(vectors):
            raise SchemaMismatch(f"the file has more rows than the matrix, which has {len(vectors)}")
        yield {**row, field.name: vectors[count - 1]}
    if count < len(vectors):
        raise SchemaMismatch(f"the file has {count} rows and the matrix {len(vectors)}: they do not belong together")


def _insert(database: Pg8000Database, model: type[Model], rows: Iterator[dict[str, Any]]) -> int:
    loaded = 0
    with database.atomic():
        # An INSERT has the columns of its first row: rows with other columns need one of their own.
        for _, alike in groupby(rows, dict.keys):
            while batch := list(islice(alike, _BATCH)):
                model.insert_many(batch).execute()
                loaded += len(batch)
    return loaded


def _by_field(row: dict[str, Any], fields: dict[str, Any], model: type[Model], texts: bool) -> dict[str, Any]:
    """A row of the file by the model's names."""
    unknown = sorted(row.keys() - fields.keys())
    if unknown:
        raise SchemaMismatch(
            f"the file has {unknown[0]!r}, and the table {model._meta.table_name} no such column: "
            f"it has {', '.join(fields)}"
        )
    return {fields[name].name: _value(fields[name], value, texts) for name, value in row.items()}


def _value(field: Any, value: Any, texts: bool) -> Any:
    """A vector may be written as text; JSON in the cell of a CSV file is."""
    if isinstance(value, str):
        if hasattr(field, "value_class"):
            return field.value_class.from_text(value)
        if texts and hasattr(field, "from_text"):
            return field.from_text(value)
    return value
