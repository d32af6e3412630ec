"""Schema set-up that can be repeated: the extension, tables and indexes of models.

What exists is not changed; a table or an index that exists and differs from its model is an error.

>>> steps = set_up(database, [Doc])
>>> [(step.kind, step.name, step.exists) for step in steps]
[('extension', 'vector', True), ('table', 'doc', True), ('index', 'doc_embedding_cosine_hnsw', False)]
>>> all(step.exists for step in plan(database, [Doc]))
True
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import peewee
from peewee import Model, NotSupportedError, ProgrammingError

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee._seam import (
    create_index_sql,
    create_sequence_sql,
    create_table_sql,
    index_name,
    peewee_errors,
    sequence_parts,
)
from lightvec.peewee.citus import DistributionPlan, require_citus, schema_distribution_call
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.distribution import Distribution, distributions
from lightvec.peewee.indexes import VectorIndex, with_short_name
from lightvec.peewee.invalid_indexes import InvalidIndex, drop_invalid_index, sqlstate_of
from lightvec.peewee.sessions import server_process, session_settings
from lightvec.pg8000 import exceptions
from lightvec.wire.identifiers import identifier

__all__ = ["Step", "plan", "set_schema", "set_up"]

_INSUFFICIENT_PRIVILEGE = "42501"

#: The advisory lock of whoever sets up a schema in this database: "lightvec" in ASCII.
_LOCK = int.from_bytes(b"lightvec", "big")

#: Seconds between two attempts to get it.
_PATIENCE = 0.05


@dataclass(frozen=True)
class Step:
    """One thing that the schema needs: whether it exists, and if not, the SQL that creates it.

    ``invalid`` is an invalid index of that name, which is dropped before. ``alone`` says that the SQL cannot
    run inside a transaction (``CREATE INDEX CONCURRENTLY``), and ``note`` what may surprise about it.
    """

    kind: str
    name: str
    exists: bool
    make: tuple[str, ...] = ()
    alone: bool = False
    note: str = ""
    invalid: InvalidIndex | None = None

    @property
    def sql(self) -> tuple[str, ...]:
        """The statements."""
        if self.invalid is None:
            return self.make
        return (self.invalid.drop_statement(concurrently=self.alone), *self.make)


def set_schema(models: Iterable[type[Model]], schema: str) -> None:
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
    distribution: Distribution | None = None,
    distribute_schema: bool = False,
) -> list[Step]:
    """What the models need, in the order in which it is made; the database is read, not changed.

    ``schema`` is created if it does not exist. ``concurrently`` builds vector indexes without locking out writers.
    ``distribution`` is for models that declare none (:mod:`lightvec.peewee.distribution`); ``distribute_schema`` has
    Citus distribute the schema as a whole.
    :class:`~lightvec.errors.SchemaMismatch` where an existing table differs from its model,
    :class:`~lightvec.pg8000.exceptions.MissingExtension` where pgvector is not there and must not or cannot be created.
    """
    wanted = distributions(models, distribution)
    if wanted and distribute_schema:
        raise InvalidOption("a schema that is distributed has its tables whole: distribute it, or the tables, not both")
    if wanted or distribute_schema:
        require_citus(database)
    steps = [_extension(database, create_extension)]
    if schema is not None:
        exists = _exists(database, "SELECT to_regnamespace(%s)", identifier(schema))
        steps.append(Step("schema", schema, exists, (f"CREATE SCHEMA {identifier(schema)}",)))
    if distribute_schema:
        steps.append(_schema_distribution(database, schema))
    with database.bind_ctx(models):
        spread = DistributionPlan(database, models, wanted)
        for model in peewee.sort_models(models):  # type: ignore[attr-defined]
            steps += _sequences(database, model)
            table = _table(database, model, spread.keys_added_later(model))
            steps += (table, *_distribution(spread, model, table))
            steps += _indexes(database, model, concurrently)
    return steps


def set_up(database: Pg8000Database, models: Sequence[type[Model]], **options: Any) -> list[Step]:
    """Create what does not exist: all of it or nothing, but for what has to run alone, which comes last.

    Takes what :func:`plan` takes and gives its steps. One set-up of a database waits for another.
    """
    steps = _make_together(database, models, options)
    if any(step.alone and not step.exists for step in steps):
        with _alone(database), _untimed(database):
            # While this one waited for its turn, another may have built the same.
            _make(database, [step for step in plan(database, models, **options) if step.alone])
    return steps


def _make_together(database: Pg8000Database, models: Sequence[type[Model]], options: dict[str, Any]) -> list[Step]:
    """What runs in one transaction, under a lock that ends with it and so is safe behind a transaction pooler.

    Waiting for the lock inside a transaction would be a deadlock: CREATE INDEX CONCURRENTLY, which another set-up
    runs under the same lock, waits for the end of older transactions.
    """
    while True:
        with database.atomic():
            if _exists(database, "SELECT nullif(pg_try_advisory_xact_lock(%s), false)", _LOCK):
                # A table with rows has its index built here, which takes its time.
                database.execute_sql("SELECT set_config('statement_timeout', '0', true)")
                steps = plan(database, models, **options)
                _make(database, [step for step in steps if not step.alone])
                return steps
        time.sleep(_PATIENCE)


@contextmanager
def _alone(database: Pg8000Database) -> Iterator[None]:
    """The lock of a session, for what cannot run in a transaction."""
    while not _exists(database, "SELECT nullif(pg_try_advisory_lock(%s), false)", _LOCK):
        time.sleep(_PATIENCE)
    try:
        yield
    finally:
        database.execute_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))


@contextmanager
def _untimed(database: Pg8000Database) -> Iterator[None]:
    """No statement_timeout, which a build overruns; behind a pooler, which may run it on another session, it stays."""
    with peewee_errors:
        conn = database.live_connection()
        settings = {} if server_process(conn) is None else {"statement_timeout": "0"}
        with session_settings(conn, settings):
            yield


def _make(database: Pg8000Database, steps: Iterable[Step]) -> None:
    in_reach = False
    missing = [step for step in steps if not step.exists]
    if any(step.kind == "distribution" for step in missing):
        # Several tables in one transaction, of which some refer to others, go over one connection to each worker.
        database.execute_sql("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    for step in missing:
        if step.kind in ("table", "index") and not in_reach:
            in_reach = _bring_types_in_reach(database)
        try:
            if step.invalid is not None:
                drop_invalid_index(database, step.invalid, concurrently=step.alone)
            for statement in step.make:
                database.execute_sql(statement)
        except ProgrammingError as error:
            if step.kind == "extension" and sqlstate_of(error) == _INSUFFICIENT_PRIVILEGE:
                raise exceptions.ProgrammingError(
                    f"this user may not create the extension vector: the database's owner or an administrator must run "
                    f"`{step.sql[0]}` in it first"
                ) from error
            raise
        except NotSupportedError as error:
            if step.alone:
                raise SchemaMismatch(
                    f"the index {step.name} cannot be built concurrently ({error}): leave concurrently out"
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


# What exists, and what is to be created


def _extension(database: Pg8000Database, create: bool) -> Step:
    step = Step("extension", "vector", bool(database.connection().extension().oids), ("CREATE EXTENSION vector",))
    if step.exists:
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
            schema, name = sequence_parts(field)
            exists = database.sequence_exists(name, schema)
            yield Step("sequence", name, exists, () if exists else (create_sequence_sql(field),))


def _table(database: Pg8000Database, model: Any, keys_added_later: Sequence[Any] = ()) -> Step:
    name = _qualified(model)
    exists = _exists(database, "SELECT to_regclass(%s)", name)
    if exists:
        _check_columns(database, model, name)
    with _deferred(keys_added_later):
        return Step("table", model._meta.table_name, exists, (create_table_sql(model),))


@contextmanager
def _deferred(fields: Sequence[Any]) -> Iterator[None]:
    """Have Peewee leave these foreign keys out of a table's definition."""
    for field in fields:
        field.deferred = True
    try:
        yield
    finally:
        for field in fields:
            field.deferred = False


def _distribution(spread: DistributionPlan, model: Any, table: Step) -> Iterator[Step]:
    calls = spread.calls(model, is_there=table.exists)
    if calls is not None:
        yield Step("distribution", *calls)


def _schema_distribution(database: Pg8000Database, schema: str | None) -> Step:
    if schema is None:
        raise InvalidOption("name the schema that is to be distributed (schema=, --schema)")
    exists, call = schema_distribution_call(database, schema)
    return Step("distribution", f"schema {schema}", exists, (call,))


def _check_columns(database: Pg8000Database, model: Any, name: str) -> None:
    """The existing table must have the model's columns, and its vector columns their type and dimensions."""
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
                f"the table {model._meta.table_name} exists without the column {column} of {model.__name__}: add it "
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


class _Index(NamedTuple):
    """An existing index with the name of a wanted one; ``method`` and ``operator_class`` are its first
    column's."""

    schema: str
    name: str
    on_table: bool
    table: str
    method: str
    operator_class: str
    valid: bool
    being_built: bool


# An index lies in the schema of its table; one that is to come lies where its table will.
_INDEX = """\
SELECT n.nspname, c.relname, i.indrelid IS NOT DISTINCT FROM t.oid, i.indrelid::regclass::text, m.amname, o.opcname,
    i.indisvalid,
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid)
FROM (SELECT to_regclass(%s) AS oid) t
JOIN pg_catalog.pg_class c ON c.relname = %s AND c.relnamespace = coalesce(
    (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = t.oid),
    to_regnamespace(coalesce(%s, quote_ident(current_schema()))))
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
JOIN pg_catalog.pg_am m ON m.oid = c.relam
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]"""


def _indexes(database: Pg8000Database, model: Any, concurrently: bool) -> Iterator[Step]:
    for index in map(with_short_name, model._meta.fields_to_index()):
        alone = concurrently and isinstance(index, VectorIndex)
        sql = (create_index_sql(model, index.concurrent() if alone else index),)
        name = index_name(index)
        found = _index(database, model, name)
        invalid = None
        if found is not None:
            _check_index(model, index, found)
            # IF NOT EXISTS takes it for whole.
            invalid = None if found.valid else InvalidIndex(found.schema, found.name, found.table)
        note = index.note if isinstance(index, VectorIndex) else ""
        yield Step("index", name, found is not None and found.valid, sql, alone, note, invalid)


def _index(database: Pg8000Database, model: Any, name: str) -> _Index | None:
    schema = model._meta.schema and identifier(model._meta.schema)
    row = database.execute_sql(_INDEX, (_qualified(model), name, schema)).fetchone()
    return None if row is None else _Index(*row)


def _check_index(model: Any, index: Any, found: _Index) -> None:
    """The existing index must be the wanted one, valid or left invalid."""
    table, name = model._meta.table_name, index_name(index)
    if not found.on_table:
        raise SchemaMismatch(
            f"the index {name} of {model.__name__} is to be on the table {table}, and one of that name exists on "
            f"{found.table}: give one of them another name"
        )
    if isinstance(index, VectorIndex):
        wanted, got = (index.method, index.operator_class), (found.method, found.operator_class)
        if wanted != got:
            raise SchemaMismatch(
                f"the index {name} on {table} is {' with '.join(got)}, and {model.__name__} says "
                f"{' with '.join(wanted)}: drop it, or give the model's index another name"
            )
    if found.being_built and not found.valid:
        raise SchemaMismatch(f"the index {name} on {table} is being built at this moment: wait until that is done")


def _qualified(model: Any) -> str:
    return identifier(*filter(None, (model._meta.schema, model._meta.table_name)))


def _exists(database: Pg8000Database, question: str, *values: object) -> bool:
    row = database.execute_sql(question, values).fetchone()
    return row is not None and row[0] is not None
