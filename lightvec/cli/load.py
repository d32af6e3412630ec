"""``lightvec load``: rows and embeddings from files into a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from lightvec.cli.errors import reporting_interrupt
from lightvec.cli.exports import EXPORTS
from lightvec.cli.files import ARRAYS, FORMATS, MATRICES, format_of
from lightvec.cli.options import FILE, model_option, open_database, table_options
from lightvec.cli.output import Line, duration, in_a_line, print_json
from lightvec.cli.streams import discard, tell
from lightvec.errors import SchemaMismatch


@click.command("load")
@click.option(
    "--format",
    "given",
    type=click.Choice(FORMATS),
    help="What FILE holds (default: by its ending; of -, jsonl).",
)
@click.option(
    "--delimiter",
    type=click.Choice([",", ";", "|", "tab"]),
    metavar="CHARACTER",
    help="What separates the cells of a CSV file: a comma (default), ';', '|' or tab.",
)
@click.option(
    "--null",
    default="",
    metavar="TEXT",
    help="What stands for NULL in a CSV file (default: an empty cell).",
)
@click.option(
    "--vectors",
    type=FILE,
    help="A .npy matrix with the embedding of each row of FILE, in the same order.",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="NAME:COLUMN",
    help="Load what FILE calls NAME into COLUMN; in JSON also NAME.NAME, a value inside another. Can be repeated.",
)
@click.option(
    "--skip",
    "skips",
    multiple=True,
    metavar="NAME",
    help="Leave out what FILE calls NAME. Can be repeated.",
)
@click.option(
    "--rest",
    metavar="COLUMN",
    help="Load all else of a JSON object into this column of JSON, as one object.",
)
@click.option("--only", is_flag=True, help="Load what --map names, and nothing else of FILE.")
@click.option(
    "--on-conflict",
    type=click.Choice(["ignore", "update"]),
    help="Keep or overwrite a row that exists (default: an error).",
)
@model_option
@table_options
@click.argument("file", type=click.Path(True, dir_okay=False, allow_dash=True, path_type=Path))
def command(
    table: str,
    file: Path,
    given: str | None,
    delimiter: str | None,
    null: str,
    vectors: Path | None,
    maps: tuple[str, ...],
    skips: tuple[str, ...],
    rest: str | None,
    only: bool,
    on_conflict: str | None,
    embedding_model: str | None,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Load FILE into TABLE: all of it or nothing.

    FILE has rows (.jsonl or .ndjson, .csv, .tsv, .parquet, .feather or .arrow, OpenAI's batch output
    as .jsonl), words and vectors (.vec, GloVe's .txt), arrays by column (.npz), or a matrix of
    embeddings (.npy, .hdf5, .fvecs, .ivecs, .bvecs, .fbin); texts also with .gz behind; - is
    standard input. Keys or headings are the columns' names. A CSV file's embeddings are texts like
    [1,2,3]. A text for a json or jsonb column is JSON text, but in .jsonl, whose values are JSON
    already.

    \b
    lightvec load doc docs.jsonl.gz
    lightvec load doc nested.jsonl --map payload.title:title --rest meta
    lightvec load doc points.json --format qdrant --rest meta
    lightvec load doc docs.parquet --map text:title --skip url --on-conflict update
    lightvec load gloss glosses.jsonl.gz --vectors base.f16.npy --model bge-small-en-v1.5
    """
    from lightvec.cli.loading import ColumnMap, Loader
    from lightvec.peewee.reflect import model_of, vector_field
    from lightvec.wire.identifiers import identifier

    format = format_of(file, given)
    is_matrix = format in MATRICES and not (format == "hdf5" and maps)
    if is_matrix and (maps or skips):
        names = "without names to --map or --skip: say --vector-column"
        raise click.UsageError(f"{file} is one matrix, {names}")
    if only and not maps:
        raise click.UsageError("--only loads what --map names: name something")
    if delimiter and format not in ("csv", "csv.gz"):
        raise click.UsageError(f"--delimiter is for CSV files, and {file} is {format}")
    if null and format not in ("csv", "csv.gz"):
        raise click.UsageError(f"--null is for CSV files, and {file} is {format}")
    if rest is not None and not (format.startswith("jsonl") or format in EXPORTS):
        raise click.UsageError(f"--rest is for JSON objects, and {file} is {format}")
    if vectors and format in ARRAYS:
        raise click.UsageError(f"--vectors goes with a file of rows, and {file} is one of arrays")
    needs_column = bool(vectors) or is_matrix or format in ("vec", "vec.gz")
    if vector_column is not None and not (needs_column or format in EXPORTS or embedding_model):
        raise click.UsageError(
            f"--vector-column says where --vectors or a matrix go, and {file} names its columns "
            f"itself: leave it out, or say --map NAME:{vector_column}"
        )
    start = time.monotonic()
    with open_database(url, schema=schema) as database:
        with reporting_interrupt("no row was kept"):
            model = model_of(database, table, schema)
            column = vector_field(model, vector_column).column_name if needs_column else None
            if embedding_model is not None:
                _check_model(database, vector_field(model, vector_column), embedding_model)
            with Line() as line, database.atomic():
                usual = {}
                if format in EXPORTS and (to := _dense_column(model, vector_column)):
                    usual = {EXPORTS[format]: to}
                columns = list(model._meta.columns)
                column_map = ColumnMap(table, columns, maps, skips, only, rest, usual)
                progress = partial(show, line, start, "loading")
                loader = Loader(database, model, column_map, on_conflict, progress)
                loaded = loader.load(file, format, column, vectors, delimiter, null)
        seconds = time.monotonic() - start
        name = identifier(*filter(None, (schema, table)))
        with _analyzing(name):
            _report(table, loaded, loader.read - loaded, on_conflict, seconds, as_json)
            if loaded:
                database.execute_sql(f"ANALYZE {name}", settings=_ANALYZE_SETTINGS)


def _dense_column(model: Any, name: str | None) -> str | None:
    """The column of this name, or else the only one of dense vectors."""
    from lightvec.peewee.reflect import vector_field, vector_fields
    from lightvec.wire.datatypes import DENSE

    if name is not None:
        return str(vector_field(model, name).column_name)
    dense = [each.column_name for each in vector_fields(model) if each.field_type in DENSE]
    return dense[0] if len(dense) == 1 else None


def _check_model(database: Any, field: Any, name: str) -> None:
    """Check that the column's comment names this embedding model."""
    from lightvec.peewee.column_comments import Origin, comment_sql, comments_of, with_origin

    if field.embedding_model is not None:
        field.check_model(name)
        return
    remedy = f"declare the field with model={name!r} and run lightvec init-db"
    # A message is one line, and a user's comment would be lines of their own.
    if not comments_of(database, field.model).get(field.column_name):
        remedy += f", or run {comment_sql(field, with_origin(None, Origin(name)))}"
    raise SchemaMismatch(f"{field.display_name} names no model to check --model {name} with: {remedy}")


#: VACUUM, among others, holds a lock that ANALYZE needs.
_ANALYZE_SETTINGS = {"lock_timeout": "2s", "statement_timeout": 0}


@contextmanager
def _analyzing(name: str) -> Iterator[None]:
    """If the ANALYZE after a load fails, say that the rows are loaded.

    Without it the planner may not use an index; autovacuum runs a minute later, or never.
    """
    from peewee import PeeweeException

    try:
        yield
    except (KeyboardInterrupt, PeeweeException) as error:
        why = in_a_line(str(error)) or "interrupted"
        tell(f"the rows are loaded, but the table is not analyzed ({why}): run ANALYZE {name}")


def show(line: Line, start: float, word: str, done: int, part: float | None) -> None:
    took = max(time.monotonic() - start, 0.001)
    words = [f"{word}  {done:,} rows", f"{done / took:,.0f} rows/s"]
    if part:
        words += [f"{part:.0%}", f"{duration(took / part - took)} left"]
    line.show("  ".join(words))


def _report(
    table: str,
    loaded: int,
    left_out: int,
    conflict: str | None,
    seconds: float,
    as_json: bool,
) -> None:
    """The rows are there, so the exit status is 0 even if the output fails."""
    if as_json:
        others = {"left_out": left_out} if conflict else {}
        try:
            print_json({"table": table, "rows": loaded, **others})
        except OSError as error:
            discard(sys.stdout)
            tell(f"{loaded:,} rows loaded, but the output cannot be written: {error.strerror}")
    elif not loaded and not left_out:
        tell(f"0 rows loaded into {table}: the file holds no rows")
    else:
        speed = f" in {seconds:.1f} s, {loaded / seconds:,.0f} rows/s" if seconds >= 0.1 else ""
        why = {"ignore": "existed already", "update": "came again further down"}
        rest = f"; {left_out:,} {why[conflict]}" if conflict and left_out else ""
        tell(f"{loaded:,} rows loaded into {table}{speed}{rest}")
