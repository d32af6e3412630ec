"""Schema set-up that can be repeated: the extension, tables and indexes of models.

What stands is left alone; a table that stands with other columns than its model is refused, not changed.

>>> steps = plan(database, [Doc])
>>> [(step.kind, step.name, step.stands) for step in steps]
[('extension', 'vector', True), ('table', 'doc', True), ('index', 'doc_embedding_cosine_hnsw', False)]
>>> run(database, steps)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import peewee
from peewee import Model, ProgrammingError

from lightvec.errors import SchemaMismatch
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.indexes import VectorIndex
from lightvec.pg8000 import exceptions
from lightvec.pg8000.identifiers import identifier

__all__ = ["Step", "place", "plan", "run"]

_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True)
class Step:
    """One thing that the schema needs: whether it stands, and if not, the SQL that makes it.

    ``alone`` says that the SQL cannot run inside a transaction (``CREATE INDEX CONCURRENTLY``).
    """

    kind: str
    name: str
    stands: bool
    sql: tuple[str, ...] = ()
    alone: bool = False


def place(models: Iterable[type[Model]], schema: str) -> None:
    """Put the models that name no schema of their own into this one."""
    for model in models:
        if not model._meta.schema:
            model._meta.schema = schema
            del model._meta.table


def plan(
    database: Pg8000Database,
    models: Sequence[type[Model]],
    *,
    create_extension: bool = True,
    schema: str | None = None,
    concurrently: bool = False,
) -> list[Step]:
    """What the models need, in the order in which it is made; the database is read, not changed.

    ``schema`` is made too if it does not stand. ``concurrently`` builds vector indexes without locking out writers.
    :class:`~lightvec.errors.SchemaMismatch` where a table stands that does not fit its model,
    :class:`~lightvec.pg8000.exceptions.MissingExtension` where pgvector is not there and must not or cannot be created.
    """
    steps = [_extension(database, create_extension)]
    if schema is not None:
        stands = _exists(database, "SELECT to_regnamespace(%s)", identifier(schema))
        steps.append(Step("schema", schema, stands, (f"CREATE SCHEMA {identifier(schema)}",)))
    with database.bind_ctx(models):
        for model in peewee.sort_models(models):  # type: ignore[attr-defined]
            steps += _sequences(database, model)
            steps.append(_table(database, model))
            steps += _indexes(database, model, concurrently)
    return steps


def run(database: Pg8000Database, steps: Iterable[Step]) -> None:
    """Make what does not stand: all of it or nothing, but for what has to run alone, which comes last."""
    missing = [step for step in steps if not step.stands]
    with database.atomic():
        _make(database, [step for step in missing if not step.alone])
    _make(database, [step for step in missing if step.alone])


def _make(database: Pg8000Database, steps: Iterable[Step]) -> None:
    in_reach = False
    for step in steps:
        if step.kind in ("table", "index") and not in_reach:
            in_reach = _bring_types_in_reach(database)
        try:
            for statement in step.sql:
                database.execute_sql(statement)
        except ProgrammingError as error:
            if step.kind == "extension" and _sqlstate(error) == _INSUFFICIENT_PRIVILEGE:
                raise exceptions.ProgrammingError(
                    f"this user may not create the extension vector: the database's owner or an administrator must run "
                    f"`{step.sql[0]}` in it first"
                ) from error
            raise


def _bring_types_in_reach(database: Pg8000Database) -> bool:
    """Where pgvector is in a schema outside the search path, find its types and operator classes for these definitions.

    In a transaction this ends with it.
    """
    schema = database.connection().extension().schema
    database.execute_sql(
        "SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(%s), %s) "
        "WHERE NOT %s = ANY(current_schemas(true))",
        (schema, database.in_transaction(), schema),
    )
    return True


# What stands, and what is to be made


def _extension(database: Pg8000Database, create: bool) -> Step:
    step = Step("extension", "vector", bool(database.connection().extension().oids), ("CREATE EXTENSION vector",))
    if step.stands:
        return step
    if not _exists(database, "SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = %s", "vector"):
        raise exceptions.ProgrammingError(
            "pgvector is not installed on this server: its administrator must install the package first "
            "(Debian: postgresql-<version>-pgvector)"
        )
    if not create:
        raise exceptions.MissingExtension
    return step


def _sequences(database: Pg8000Database, model: Any) -> Iterator[Step]:
    for field in model._meta.sorted_fields:
        if field.sequence:
            schema, name = field._sequence_parts()
            stands = database.sequence_exists(name, schema)
            yield Step("sequence", name, stands, () if stands else _sql(model._schema._create_sequence(field)))


def _table(database: Pg8000Database, model: Any) -> Step:
    name = _qualified(model)
    stands = _exists(database, "SELECT to_regclass(%s)", name)
    if stands:
        _check_columns(database, model, name)
    return Step("table", model._meta.table_name, stands, _sql(model._schema._create_table(safe=False)))


def _check_columns(database: Pg8000Database, model: Any, name: str) -> None:
    """The table that stands must have the model's columns, and its vector columns their type and dimensions."""
    found = dict(
        database.execute_sql(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (name,),
        ).fetchall()
    )
    for field in model._meta.sorted_fields:
        column = field.column_name
        if column not in found:
            raise SchemaMismatch(
                f"the table {model._meta.table_name} stands without the column {column} of {model.__name__}: add it "
                f"with ALTER TABLE (playhouse.migrate does), or rename the model's table"
            )
        if hasattr(field, "value_class"):
            wanted = field.ddl_datatype(None).sql
            # An extension in a schema outside the search path is named with it.
            if found[column].rpartition(".")[2] != wanted:
                raise SchemaMismatch(
                    f"the column {model._meta.table_name}.{column} is {found[column]}, and "
                    f"{model.__name__}.{field.name} says {wanted}: change the model, or make a "
                    f"new column for the other embeddings"
                )


def _indexes(database: Pg8000Database, model: Any, concurrently: bool) -> Iterator[Step]:
    for index in model._meta.fields_to_index():
        alone = concurrently and isinstance(index, VectorIndex)
        name = identifier(*filter(None, (model._meta.schema, index._name)))
        valid = _valid(database, name)
        create = _sql(model._schema._create_index(index.concurrent() if alone else index, safe=False))
        # An interrupted CONCURRENTLY leaves an index that nothing uses and IF NOT EXISTS takes for whole.
        sql = create if valid is None else (f"DROP INDEX {name}", *create)
        yield Step("index", index._name, bool(valid), sql, alone)


def _valid(database: Pg8000Database, name: str) -> bool | None:
    """Whether an index is valid; None where there is none."""
    row = database.execute_sql(
        "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s)", (name,)
    ).fetchone()
    return None if row is None else bool(row[0])


def _sqlstate(error: Any) -> str | None:
    """The SQLSTATE behind Peewee's exception."""
    state: str | None = error.orig.sqlstate
    return state


def _qualified(model: Any) -> str:
    return identifier(*filter(None, (model._meta.schema, model._meta.table_name)))


def _exists(database: Pg8000Database, question: str, *values: object) -> bool:
    row = database.execute_sql(question, values).fetchone()
    return row is not None and row[0] is not None


def _sql(context: Any) -> tuple[str, ...]:
    statement, parameters = context.query()
    assert not parameters, "definitions cannot take parameters, so Peewee writes their values into the SQL"
    return (statement,)
