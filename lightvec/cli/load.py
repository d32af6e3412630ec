"""``lightvec load``: rows and embeddings from files into a table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightvec.cli.errors import reporting_interrupt
from lightvec.cli.files import FORMATS, MATRICES, arrays, format_of, matrix, rows_of
from lightvec.cli.options import open_database, table_options
from lightvec.cli.output import in_a_line, print_json
from lightvec.cli.progress import Line, duration

if TYPE_CHECKING:
    from lightvec.cli.column_map import ColumnMap
    from lightvec.cli.loading import Loader

__all__ = ["command"]


@click.command("load")
@click.argument("table")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--format", type=click.Choice(FORMATS), help="What FILE holds (default: by its ending; of -, jsonl).")
@click.option(
    "--vectors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .npy matrix with the embedding of each row of FILE, in the same order.",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="NAME:COLUMN",
    help="Load what FILE calls NAME into COLUMN. Can be repeated.",
)
@click.option("--skip", "skips", multiple=True, metavar="NAME", help="Leave out what FILE calls NAME. Can be repeated.")
@click.option("--only", is_flag=True, help="Load what --map names, and nothing else of FILE.")
@click.option(
    "--on-conflict",
    type=click.Choice(["ignore", "update"]),
    help="Keep or overwrite a row that exists (default: an error).",
)
@table_options
def command(
    table: str,
    file: Path,
    format: str | None,
    vectors: Path | None,
    maps: tuple[str, ...],
    skips: tuple[str, ...],
    only: bool,
    on_conflict: str | None,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Load FILE into TABLE: all of it or nothing.

    FILE is .jsonl, .jsonl.gz, .csv, .parquet, a .npy matrix of embeddings, .npz arrays by column, or - for standard
    input. Keys or headings are the columns' names. A CSV file's embeddings are texts like [1,2,3]; its JSON cells are
    JSON.

    \b
    lightvec load doc docs.jsonl.gz
    lightvec load doc docs.parquet --map text:title --skip url --on-conflict update
    lightvec load gloss glosses.jsonl.gz --vectors base.f16.npy
    """
    from lightvec.cli.column_map import ColumnMap
    from lightvec.cli.loading import Loader
    from lightvec.peewee.reflect import model_of, vector_field
    from lightvec.wire.identifiers import identifier

    if only and not maps:
        raise click.UsageError("--only loads what --map names: name something")
    found = format_of(file, format)
    if vectors and found in MATRICES:
        raise click.UsageError(
            f"--vectors goes with a file of rows, and {file} is one of arrays: put them into one .npz"
        )
    if vector_column is not None and not vectors and found != "npy":
        raise click.UsageError(
            f"--vector-column says where --vectors or a .npy matrix go, and {file} names its columns itself: leave it "
            f"out, or say --map NAME:{vector_column}"
        )
    start = time.monotonic()
    with open_database(url, schema=schema) as database:
        with reporting_interrupt("no row was kept"):
            model = model_of(database, table, schema)
            column = vector_field(model, vector_column).column_name if vectors or found == "npy" else None
            with Line() as line, database.atomic():
                loader = Loader(database, model, on_conflict)
                column_map = ColumnMap(table, loader.columns, maps, skips, only)
                progress = _Progress(line)
                if found in MATRICES:
                    loaded = _load_arrays(loader, column_map, file, column, progress)
                else:
                    loaded = _load_rows(loader, column_map, file, found, vectors, column, progress)
        named = filter(None, (schema, table))
        with _analyzing(table, schema):
            if as_json:
                left_out = {"left_out": loader.read - loaded} if on_conflict else {}
                print_json({"table": table, "rows": loaded, **left_out})
            else:
                _tell(table, loaded, loader.read - loaded, on_conflict, time.monotonic() - start)
            if loaded:
                database.execute_sql(f"ANALYZE {identifier(*named)}", settings=_ANALYZE_SETTINGS)


def _load_arrays(loader: Loader, column_map: ColumnMap, file: Path, column: str | None, progress: _Progress) -> int:
    """Load a matrix into the vector column, or arrays by their names."""
    if column is not None:
        named = {column: matrix(file)}
    else:
        named = {to.name: each for name, each in arrays(file).items() if (to := column_map.column(name))}
    column_map.check_maps()
    count = len(next(iter(named.values()), ()))
    return loader.load_arrays(named, file, lambda done: progress(done, done / count if count else None))


def _load_rows(
    loader: Loader,
    column_map: ColumnMap,
    file: Path,
    format: str,
    vectors: Path | None,
    column: str | None,
    progress: _Progress,
) -> int:
    from lightvec.cli.column_texts import needs_numbers

    extra = None if column is None or vectors is None else (column, matrix(vectors))
    with_numbers = column_map.names_of(
        {name for name, each in loader.columns.items() if needs_numbers(each, in_binary=extra is not None)}
    )
    with rows_of(file, format, is_loaded=column_map.is_loaded, with_numbers=with_numbers) as source:
        return loader.load_rows(source, column_map, extra, lambda done: progress(done, source.read_part(done)))


#: How long ANALYZE waits for a lock on the table, such as that of a VACUUM.
_ANALYZE_SETTINGS = {"lock_timeout": "2s", "statement_timeout": 0}


@contextmanager
def _analyzing(table: str, schema: str | None) -> Iterator[None]:
    """Around the ANALYZE that follows a load: if it fails, say that the rows are loaded.

    Without it the planner guesses, and may not use an index; autovacuum runs a minute later, or never.
    """
    from peewee import PeeweeException

    from lightvec.wire.identifiers import identifier

    try:
        yield
    except (KeyboardInterrupt, PeeweeException) as error:
        why = in_a_line(str(error)) or "interrupted"
        name = identifier(*filter(None, (schema, table)))
        click.echo(f"the rows are loaded, but the table is not analyzed ({why}): run ANALYZE {name}", err=True)


class _Progress:
    """How far a load is, on a terminal."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._start = time.monotonic()

    def __call__(self, done: int, part: float | None) -> None:
        if not self._line.is_due:
            return
        took = max(time.monotonic() - self._start, 0.001)
        words = [f"loading  {done:,} rows", f"{done / took:,.0f} rows/s"]
        if part:
            words += [f"{part:.0%}", f"{duration(took / part - took)} left"]
        self._line.show("  ".join(words))


def _tell(table: str, loaded: int, left_out: int, on_conflict: str | None, seconds: float) -> None:
    if not loaded and not left_out:
        click.echo(f"0 rows loaded into {table}: the file holds no rows", err=True)
        return
    speed = f" in {seconds:.1f} s, {loaded / seconds:,.0f} rows/s" if seconds >= 0.1 else ""
    why = {"ignore": "were there already", "update": "came again further down"}.get(on_conflict or "", "")
    others = f"; {left_out:,} {why}" if left_out and why else ""
    click.echo(f"{loaded:,} rows loaded into {table}{speed}{others}", err=True)
