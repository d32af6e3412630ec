"""The definitions that the tables of models have when they are created.

The server is asked: empty tables are created in a schema of their own, in a transaction that is
rolled back, so that types, defaults, conditions and operator classes are compared as it writes
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from peewee import SQL, Entity, ForeignKeyField, ProgrammingError, sort_models  # type: ignore[attr-defined]

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee._seam import (
    create_foreign_key_sql,
    create_index_sql,
    create_sequence_sql,
    create_table_sql,
    entity_path,
    execute_as_is,
    index_name,
    sequence_parts,
    table_sql,
)
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.definitions import Column, Constraint, IndexDefinition, Table, tables_named
from lightvec.peewee.indexes import VectorIndex, with_short_name
from lightvec.peewee.invalid_indexes import LOCK_TIMEOUT, sqlstate_of
from lightvec.wire.identifiers import identifier
from lightvec.wire.placeholders import from_format

__all__ = ["declared_indexes", "foreign_keys", "is_concurrent", "reference_index", "reference_tables", "with_targets"]

#: May not create a schema, or only read.
_REFUSED = ("42501", "25006")

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
#: A CREATE INDEX that is given as SQL, up to its table.
_CREATE_INDEX = re.compile(
    rf"\s*CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>(?!ON\s){_NAME}\s+)?ON\s+(?:ONLY\s+)?(?:{_NAME}\s*\.\s*)?{_NAME}",
    re.IGNORECASE,
)

_SETTINGS = """\
SELECT set_config('client_min_messages', 'error', true), set_config('lock_timeout', %s, true)"""

# Of a distributed database, only this server.
_LOCAL_ON_CITUS = """\
SELECT set_config('citus.enable_ddl_propagation', 'off', true),
    set_config('citus.enable_schema_based_sharding', 'off', true)"""


def with_targets(models: Iterable[type[Any]]) -> list[Any]:
    """The models and those that they refer to by foreign keys, directly or not; targets come first."""
    found: dict[Any, None] = {}
    waiting = list(models)
    while waiting:
        model: Any = waiting.pop()
        if model not in found:
            found[model] = None
            waiting += [field.rel_model for field in foreign_keys(model)]
    return list(sort_models(found))


def foreign_keys(model: Any) -> list[Any]:
    return [field for field in model._meta.sorted_fields if isinstance(field, ForeignKeyField)]


def reference_tables(database: Pg8000Database, models: Sequence[type[Any]]) -> dict[type[Any], Table]:
    """What the tables of the models would be in an empty database.

    Locks no table of the user's. Needs the right to create a schema in the database, or temporary
    tables. :class:`~lightvec.errors.SchemaMismatch` without both.
    """
    if not models:
        return {}
    with database.atomic() as transaction:
        try:
            return _Reference(database, with_targets(models)).tables(models)
        finally:
            transaction.rollback()


def reference_index(database: Pg8000Database, index: VectorIndex) -> IndexDefinition:
    """What an index of an existing table would be."""
    model = index.field.model
    with database.atomic() as transaction:
        try:
            return _Reference(database, [model]).index(model, index)
        finally:
            transaction.rollback()


class _Reference:
    """The schemas with the tables: one for each schema that the models name, and one for None."""

    def __init__(self, database: Pg8000Database, models: Sequence[Any]) -> None:
        self._database = database
        self._models = models
        self._schemas = self._create_schemas()
        # Peewee's builder of definitions takes anything that gives it a context.
        self._writer: Any = _Writer(database, self._schemas)

        self._begin()

    def tables(self, wanted: Sequence[Any]) -> dict[type[Any], Table]:
        for model in self._models:
            self._create(model)
        for model in self._models:
            for field in foreign_keys(model):
                if field.deferred:
                    execute_as_is(self._database, create_foreign_key_sql(field, self._writer))
        return self._read(wanted)

    def index(self, model: Any, index: VectorIndex) -> IndexDefinition:
        execute_as_is(self._database, f"CREATE TABLE {self._table(model)} (LIKE {table_sql(model)})")
        # Its own name may be that of the table.
        execute_as_is(self._database, self._index_sql(model, index.named(f"{uuid4()}")))
        (definition,) = self._read([model])[model].indexes.values()
        return definition

    def _begin(self) -> None:
        """Have names without a schema be those of the reference, for this transaction."""
        run = self._database.execute_sql
        run(_SETTINGS, (f"{LOCK_TIMEOUT}s",))
        extension = self._database.extension()
        if extension.citus:
            run(_LOCAL_ON_CITUS)
        ((path, visible),) = run("SELECT current_setting('search_path'), current_schemas(false)").fetchall()
        later = [identifier(extension.out_of_path)] if extension.out_of_path else []
        self._set_path([*map(identifier, self._schemas.values()), path, *later])
        # A table is written without its schema where that of the user's is.
        plain = [identifier(mine) for name, mine in self._schemas.items() if name is None or name in visible]
        self._path = [*plain, path]

    def _set_path(self, schemas: Iterable[str]) -> None:
        path = ", ".join(filter(None, dict.fromkeys(schemas)))
        self._database.execute_sql("SELECT set_config('search_path', %s, true)", (path,))

    def _read(self, wanted: Sequence[Any]) -> dict[type[Any], Table]:
        self._set_path(self._path)
        names = {model: self._table(model) for model in wanted}
        found = tables_named(self._database, list(names.values()))
        return {model: self._renamed(found[name]) for model, name in names.items()}

    def _table(self, model: Any) -> str:
        return identifier(self._schemas[model._meta.schema or None], model._meta.table_name)

    def _create_schemas(self) -> dict[str | None, str]:
        # None comes first: in the search path, names without a schema are found there.
        names = {model._meta.schema or None for model in self._models}
        schemas = {
            name: f"lightvec_reference_{uuid4().hex[:12]}" for name in sorted(names, key=lambda name: name or "")
        }
        try:
            with self._database.atomic():
                for schema in schemas.values():
                    self._database.execute_sql(f"CREATE SCHEMA {identifier(schema)}")
        except ProgrammingError as error:
            if sqlstate_of(error) not in _REFUSED:
                raise
            self._check_temporary()
            return dict.fromkeys(schemas, "pg_temp")
        return schemas

    def _check_temporary(self) -> None:
        """An error if temporary tables cannot stand for those of the models."""
        names = [model._meta.table_name for model in self._models]
        may = "SELECT has_database_privilege(current_database(), 'TEMP') AND NOT pg_is_in_recovery()"
        ((is_allowed,),) = self._database.execute_sql(may).fetchall()
        if not is_allowed or len(set(names)) < len(names):
            raise SchemaMismatch(
                "the models are compared with empty tables of theirs, which are rolled back, and this user may "
                "create neither a schema nor temporary tables for them: GRANT CREATE ON DATABASE, or ask another user"
            )

    def _create(self, model: Any) -> None:
        run = partial(execute_as_is, self._database)
        for field in model._meta.sorted_fields:
            if field.sequence:
                schema, name = sequence_parts(field)
                if not self._database.sequence_exists(name, schema):
                    run(create_sequence_sql(field, self._writer))
        run(create_table_sql(model, self._writer))
        for index in declared_indexes(model).values():
            run(self._index_sql(model, index))

    def _index_sql(self, model: Any, index: Any) -> str:
        if not isinstance(index, SQL):
            if isinstance(index, VectorIndex):
                index = index.built(concurrently=False)
            sql: str = create_index_sql(model, index, self._writer)
            return sql
        found: Any = _CREATE_INDEX.match(index.sql)
        words = ["CREATE", found["unique"], "INDEX", found["name"], "ON", self._table(model)]
        rest, _ = from_format(index.sql[found.end() :], ())
        return " ".join(filter(None, words)) + rest

    def _renamed(self, table: Table) -> Table:
        """The definitions with the names of the user's schemas."""

        def text(sql: str) -> str:
            for schema, mine in self._schemas.items():
                sql = sql.replace(f"{mine}.", f"{_written(schema)}." if schema else "")
            return sql

        def column(each: Column) -> Column:
            texts = (each.default, each.sequence, each.generated)
            default, sequence, generated = (one and text(one) for one in texts)
            return replace(each, default=default, sequence=sequence, generated=generated or "")

        def constraint(each: Constraint) -> Constraint:
            return replace(each, definition=text(each.definition))

        def index(each: IndexDefinition) -> IndexDefinition:
            return replace(each, definition=text(each.definition))

        return replace(
            table,
            columns={name: column(each) for name, each in table.columns.items()},
            constraints=[constraint(each) for each in table.constraints],
            indexes={name: index(each) for name, each in table.indexes.items()},
        )


def _written(name: str) -> str:
    """A name as the server writes it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else identifier(name)


def declared_indexes(model: Any) -> dict[str, Any]:
    """The indexes of a model by their names; SQL that names none by the SQL."""
    return {_index_name(index): index for index in map(with_short_name, model._meta.fields_to_index())}


def is_concurrent(index: Any) -> bool:
    """Whether an index declares that it is built without locking out writers."""
    if isinstance(index, SQL):
        found = _CREATE_INDEX.match(index.sql)
        return found is not None and "CONCURRENTLY" in found[0].upper()
    return bool(getattr(index, "concurrently", False))


def _index_name(index: Any) -> str:
    if not isinstance(index, SQL):
        return index_name(index)
    if index.params:
        raise InvalidOption(f"the SQL of an index takes no parameters, got {index.sql!r} with {index.params!r}")
    found = _CREATE_INDEX.match(index.sql)
    if found is None:
        raise InvalidOption(f"expected SQL that begins with CREATE INDEX in Meta.indexes, got {index.sql!r}")
    name = (found["name"] or index.sql).strip()
    if not found["name"]:
        return name
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


class _Writer:
    """A database whose statements name other schemas."""

    def __init__(self, database: Pg8000Database, schemas: Mapping[str | None, str]) -> None:
        self._database = database
        self._schemas = schemas

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def get_sql_context(self, **options: Any) -> Any:
        context = self._database.get_sql_context(**options)
        write: Callable[[Any], Any] = context.sql

        def sql(node: Any) -> Any:
            if type(node) is Entity:
                schema, *rest = entity_path(node)
                if rest and schema in self._schemas:
                    node = Entity(self._schemas[schema], *rest)
            return write(node)

        context.sql = sql
        return context
