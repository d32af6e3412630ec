"""``lightvec init-db``: the extension, tables and indexes that models need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from lightvec.cli.errors import reporting_build
from lightvec.cli.imports import models_at, own_database
from lightvec.cli.options import (
    COUNT,
    dry_run_option,
    json_option,
    not_empty,
    open_database,
    schema_option,
    url_option,
)
from lightvec.cli.output import in_a_line, print_json, print_sql
from lightvec.cli.streams import tell
from lightvec.errors import InvalidOption
from lightvec.metrics import INDEX_DIMENSIONS


@click.command("init-db")
@click.argument("models", nargs=-1, metavar="[PACKAGE.MODULE[:MODEL]]...")
@url_option
@dry_run_option
@click.option(
    "--create-extension/--no-create-extension",
    default=True,
    help="Create the extension vector if it does not exist (default).",
)
@schema_option
@click.option("--concurrently", is_flag=True, help="Build vector indexes without blocking writes.")
@click.option("--table", metavar="NAME", callback=not_empty, help="Without a model: the table.")
@click.option("--dimensions", type=COUNT, help="With --table: the dimensions of its embeddings.")
@click.option(
    "--metric",
    metavar="NAME",
    help="With --table: cosine (default), l2, ip, l1; for bit: hamming, jaccard.",
)
@click.option(
    "--type",
    "vector_type",
    type=click.Choice([*INDEX_DIMENSIONS]),
    help="With --table: the type of its embeddings (default: vector).",
)
@click.option(
    "--index",
    type=click.Choice(["hnsw", "ivfflat", "none"]),
    help="With --table: the index on its embeddings (default: hnsw).",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME:TYPE",
    help="With --table: another column, such as title:text.",
)
@click.option(
    "--distribute-by",
    metavar="COLUMN",
    callback=not_empty,
    help="On Citus: spread the tables by it.",
)
@click.option("--shards", type=COUNT, help="With --distribute-by: the number of shards.")
@click.option("--reference", is_flag=True, help="On Citus: keep the tables whole on each node.")
@click.option(
    "--distribute-schema",
    is_flag=True,
    help="On Citus: with --schema, keep each such schema on one node.",
)
@json_option
def command(
    models: tuple[str, ...],
    url: str | None,
    dry_run: bool,
    schema: str | None,
    concurrently: bool,
    distribute_by: str | None,
    shards: int | None,
    reference: bool,
    distribute_schema: bool,
    as_json: bool,
    create_extension: bool,
    **table: Any,
) -> None:
    """Create the extension, tables and indexes of models; what exists is not changed.

    The exit status is 1 if something exists in another form.

    Models are named as package.module (all models in it) or package.module:Model. Without a model,
    --table creates a table with an id, an embedding and the columns of --column.

    \b
    lightvec init-db myapp.models
    lightvec init-db myapp.models:Doc --dry-run
    lightvec init-db --table doc --dimensions 384 --metric cosine --column title:text
    lightvec init-db --table doc --dimensions 384 --column tenant:int --distribute-by tenant
    """
    from lightvec.peewee import schema as schema_setup
    from lightvec.peewee.distribution import Distribution

    if shards is not None and distribute_by is None:
        raise click.UsageError("--shards needs --distribute-by COLUMN")
    if reference and distribute_by is not None:
        raise click.UsageError("expected --distribute-by or --reference, got both")
    is_distributed = reference or distribute_by
    distribution = Distribution(distribute_by, shards, reference) if is_distributed else None
    if distribute_schema and schema is None:
        raise click.UsageError("--distribute-schema needs --schema NAME")
    wanted = _wanted(models, table, distribute_by)
    if schema is not None:
        schema_setup.set_schema(wanted, schema)
    set_up: Any = schema_setup.plan if dry_run else schema_setup.set_up
    own = None if url else own_database(wanted)
    reporting = reporting_build(concurrently and not dry_run, "nothing was kept")
    with open_database(url, own) as database, reporting:
        steps: list[Any] = set_up(
            database,
            wanted,
            create_extension=create_extension,
            schema=schema,
            concurrently=concurrently,
            distribution=distribution,
            distribute_schema=distribute_schema,
        )
        extension_schema = database.extension().out_of_path
    for step in steps:
        if step.note and not step.exists:
            tell(f"note: {step.note}")
    if as_json:
        print_json([_as_json(step, dry_run) for step in steps])
    elif dry_run:
        _print_sql(steps, extension_schema)
    else:
        _print_steps(steps)
    if not dry_run and any(step.differs for step in steps):
        named = " ".join(models) or "PACKAGE.MODULE"
        tell(f"what differs was not changed: `lightvec diff {named}` prints the statements that do")
        raise click.exceptions.Exit(1)


def _as_json(step: Any, dry_run: bool) -> dict[str, Any]:
    created = not (step.exists or step.differs or dry_run)
    differs = {"differs": step.differs} if step.differs else {}
    sql = {"exists": step.exists, "sql": () if step.exists else step.sql} if dry_run else {}
    return {"kind": step.kind, "name": step.name, "created": created, **differs, **sql}


def _wanted(paths: Sequence[str], table: dict[str, Any], by: str | None) -> list[Any]:
    if table["table"] is None:
        for name in table:
            if table[name]:
                option = {"vector_type": "type", "columns": "column"}.get(name, name)
                raise click.UsageError(f"--{option} describes a table, so it needs --table NAME")
        if not paths:
            model = "a model (package.module or package.module:Model)"
            raise click.UsageError(f"name {model} or a table (--table NAME)")
        return list(dict.fromkeys(model for path in paths for model in models_at(path)))
    if paths:
        raise click.UsageError("name models or --table, not both")
    if table["dimensions"] is None:
        raise click.UsageError("--table needs --dimensions, those of your embedding model")
    return [_table_model(**table, distribute_by=by)]


#: The types of ``--column``.
_TYPES = {
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "double precision"), "double precision"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("timestamp", "timestamptz"), "timestamp with time zone"),
    **dict.fromkeys(("json", "jsonb"), "jsonb"),
    **dict.fromkeys(("bytes", "bytea"), "bytea"),
    **{name: name for name in ("text", "bigint", "numeric", "date", "uuid")},
}


def _table_model(
    table: str,
    dimensions: int,
    metric: str | None,
    vector_type: str | None,
    index: str | None,
    columns: Sequence[str],
    distribute_by: str | None,
) -> Any:
    import peewee

    from lightvec.peewee.distribution import CountedField
    from lightvec.peewee.reflect import VECTOR_FIELDS, default_metric, model_with

    # The distribution column has to be in the key.
    has_own_key = distribute_by in (None, "id")
    fields: dict[str, Any] = {"id": peewee.BigAutoField() if has_own_key else CountedField()}
    for column in columns:
        name, _, given = column.rpartition(":")
        if not name or given.lower() not in _TYPES:
            types = ", ".join(_TYPES)
            raise InvalidOption(f"--column {column}: expected NAME:TYPE, with a TYPE of {types}")
        if name in (*fields, "embedding"):
            raise InvalidOption(f"--column {column}: the table has a column {name} already")
        fields[name] = peewee.Field(null=True)
        fields[name].field_type = _TYPES[given.lower()]
    cls = VECTOR_FIELDS[vector_type or "vector"]
    method = False if index == "none" else index or "hnsw"
    metric = metric or default_metric(cls)
    fields["embedding"] = cls(dimensions, metric=metric, index=method, null=True)
    if has_own_key or distribute_by not in fields:
        return model_with(table, fields)
    fields[distribute_by].null = False
    return model_with(table, fields, [distribute_by, "id"])


def _print_sql(steps: Sequence[Any], extension_schema: str) -> None:
    from lightvec.wire.identifiers import identifier, text_literal

    if extension_schema and any(step.sql for step in steps if not step.exists):
        # What lightvec runs finds pgvector there by itself; psql goes by the search path.
        schema = text_literal(", " + identifier(extension_schema))
        click.echo(
            "SELECT pg_catalog.set_config('search_path', "
            f"pg_catalog.current_setting('search_path') || {schema}, false);"
        )
    for step in steps:
        print_sql(step.kind, step)


def _print_steps(steps: Sequence[Any]) -> None:
    width = max(9, *(len(step.kind) for step in steps))
    for step in steps:
        word = click.style("created", fg="green")
        name = in_a_line(step.name)
        if step.differs:
            word, name = click.style("differs", fg="yellow"), f"{name}: {in_a_line(step.differs)}"
        elif step.exists:
            word = click.style("exists ", dim=True)
        click.echo(f"{word}  {step.kind:<{width}}  {name}")
