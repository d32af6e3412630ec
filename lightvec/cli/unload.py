"""``lightvec unload``: the rows of a table into a file that ``load`` reads back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.conditions import condition, naming_conditions, where_option
from lightvec.cli.errors import reporting_interrupt
from lightvec.cli.files import WRITTEN
from lightvec.cli.load import show
from lightvec.cli.options import open_database, table_options
from lightvec.cli.output import Line, print_json
from lightvec.cli.streams import tell
from lightvec.errors import SchemaMismatch

if TYPE_CHECKING:
    from lightvec.cli.column_values import Selection
    from lightvec.wire.copy.target import Column

#: The bytes of a batch as the server stores them, and the most rows of one.
_BYTES, _ROWS = 4_000_000, 2_000

#: What the texts of values depend on; all of it reads back under any setting but IntervalStyle.
_SETTINGS = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "timezone": "UTC",
}

_GENERATED = """\
SELECT attname FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%s) AND attgenerated <> '' AND NOT attisdropped"""


@click.command("unload")
@click.option(
    "--format",
    "given",
    type=click.Choice(WRITTEN),
    help="What to write (default: by the ending of FILE; to -, jsonl).",
)
@click.option(
    "--vectors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the embeddings into this .npy file, in the order of the rows of FILE.",
)
@where_option
@click.option(
    "--column",
    "--columns",
    "named",
    multiple=True,
    metavar="NAME,...",
    help="Only these columns (default: all that are not generated). Can be repeated.",
)
@click.option(
    "--null",
    default="",
    metavar="TEXT",
    help="What stands for NULL in a CSV file (default: an empty cell).",
)
@table_options
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
def command(
    table: str,
    file: Path,
    given: str | None,
    vectors: Path | None,
    conditions: tuple[str, ...],
    named: tuple[str, ...],
    null: str,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Write the rows of TABLE into FILE, from which load makes the same rows.

    FILE is .jsonl, .csv (both also with .gz behind), .npz, .parquet, or .npy for vectors alone; - is
    standard output. It is written beside an existing FILE, which it replaces when it is whole. What
    the format cannot hold is an error before anything is written.

    \b
    lightvec unload doc docs.jsonl.gz
    lightvec unload doc docs.jsonl --vectors base.npy --where 'year >= 1900'
    lightvec unload doc - --columns id,title --format csv --null NIL
    """
    from lightvec.cli.column_values import Selection
    from lightvec.cli.file_writers import format_for
    from lightvec.peewee.reflect import model_of, plain_fields, vector_field

    format = format_for(file, given)
    if null and not format.startswith("csv"):
        raise click.UsageError(f"--null is for CSV files, and {file} is {format}")
    if vectors and (not format.startswith("jsonl") or vectors.suffix != ".npy"):
        raise click.UsageError("--vectors names a .npy file, beside rows as .jsonl")
    if vector_column and not (vectors or format == "npy"):
        raise click.UsageError("--vector-column says what goes into a .npy file: use --columns")
    if as_json and str(file) == "-":
        raise click.UsageError("--json is about what was written, and - has the rows there")
    start = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(reporting_interrupt(_UNCHANGED[str(file) == "-"]))
        database = stack.enter_context(open_database(url, schema=schema))
        model: Any = model_of(database, table, schema)
        plain = {each.column_name: each for each in plain_fields(model)}
        selection = Selection(model, [condition(each, plain) for each in conditions])
        columns = _columns(database, model, named)
        matrix = None
        if vectors or format == "npy":
            matrix = columns.pop(vector_field(model, vector_column).column_name)
        _select(selection, format, columns, matrix, null)
        stack.enter_context(naming_conditions(conditions))
        # What is counted and checked must be what is written.
        stack.enter_context(database.atomic("REPEATABLE READ"))
        for setting in _SETTINGS.items():
            database.execute_sql("SELECT set_config(%s, %s, true)", setting)
        selection.check(database)
        line = stack.enter_context(Line())
        write = stack.enter_context(_writer(file, format, selection, vectors, null))
        done = 0
        for rows in _batches(database, selection):
            write(rows)
            done += len(rows)
            part = done / selection.count if selection.count else None
            show(line, start, "unloading", done, part)
        if done != selection.count and (matrix is not None or format == "npz"):
            # A view may be of random rows, and a foreign table has no snapshot.
            problem = "arrays have a length, and the rows changed while they were read"
            raise SchemaMismatch(f"{problem}: got {done:,} of {selection.count:,}")
    seconds = time.monotonic() - start
    if as_json:
        print_json({"table": table, "rows": done})
    else:
        speed = f" in {seconds:.1f} s, {done / seconds:,.0f} rows/s" if seconds >= 0.1 else ""
        tell(f"{done:,} rows of {table} written to {file}{speed}")


#: What an interrupt leaves, in a file and on standard output.
_UNCHANGED = ("no file was written", "the output is cut short")


def _columns(database: Any, model: Any, named: Sequence[str]) -> dict[str, Any]:
    """The columns to unload by their names."""
    from lightvec.peewee.reflect import column_of
    from lightvec.wire.copy.target import describe_target
    from lightvec.wire.identifiers import identifier

    meta = model._meta
    name = tuple(filter(None, (meta.schema, meta.table_name)))
    found = describe_target(database.connection().session, name, list(meta.columns)).columns
    columns = {column.name: column for column in found}
    if named:
        parts = ([each] if each in columns else [part.strip() for part in each.split(",")] for each in named)
        names = [column_of(model, part).column_name for each in parts for part in each]
        return {each: columns[each] for each in dict.fromkeys(names)}
    # They cannot be loaded.
    generated = database.execute_sql(_GENERATED, (identifier(*name),)).fetchall()
    return {name: each for name, each in columns.items() if (name,) not in generated}


def _select(selection: Selection, format: str, columns: dict[str, Column], matrix: Column | None, null: str) -> None:
    if format.startswith("jsonl"):
        if "custom_id" in columns and not {"response", "error"}.isdisjoint(columns):
            problem = "would be read as output of OpenAI's Batch API: write .csv or .parquet"
            raise SchemaMismatch(f".jsonl with the column custom_id beside response or error {problem}")
    elif format == "npy":
        columns = {}
    for column in columns.values():
        if format.startswith("jsonl"):
            selection.add_object(column)
        elif format.startswith("csv"):
            selection.add_text(column, null)
        elif format == "npz":
            selection.add_array(column)
        else:
            selection.add_value(column)
    if matrix is not None:
        selection.add_array(matrix)


@contextmanager
def _writer(file: Path, format: str, selection: Selection, vectors: Path | None, null: str) -> Iterator[Any]:
    """What writes a batch of rows."""
    from lightvec.cli import file_writers as writers

    columns, count = selection.columns, selection.count
    with ExitStack() as stack:
        output = stack.enter_context(writers.replacing(file))
        if format == "npy":
            write = stack.enter_context(writers.matrix_writer(columns[0], count, output))
            yield lambda rows: write([vector for (vector,) in rows])
        elif format == "npz":
            yield stack.enter_context(writers.arrays_writer(columns, count, output, file.parent))
        elif format == "parquet":
            yield stack.enter_context(writers.parquet_writer(columns, output, file.name))
        elif vectors is None:
            yield stack.enter_context(writers.row_writer(file, output, format, columns, null))
        else:
            beside = stack.enter_context(writers.replacing(vectors))
            with (
                writers.row_writer(file, output, format, columns, null) as write,
                writers.matrix_writer(columns[0], count, beside) as write_vectors,
            ):

                def write_both(rows: Sequence[Any]) -> None:
                    write(rows)
                    write_vectors([row[-1] for row in rows])

                yield write_both
            # Both are whole before one of them replaces a file.
            output.flush()
            beside.flush()


def _batches(database: Any, selection: Selection) -> Iterator[list[Any]]:
    size = max(1, min(_ROWS, int(_BYTES // (selection.width + 1))))
    rows = database.stream(selection.rows(), size)
    while batch := list(islice(rows, size)):
        yield batch
