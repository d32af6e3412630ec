"""How a database differs from models, with the statements that mend it.

>>> Doc.create_table()
>>> diff(database, [Doc])
[]
>>> _ = database.execute_sql("ALTER TABLE doc ALTER COLUMN embedding DROP NOT NULL")
>>> for difference in diff(database, [Doc]):
...     print(difference.kind, difference.name, difference.differs)
null doc.embedding it is NULL, expected NOT NULL
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from peewee import Model, sort_models  # type: ignore[attr-defined]

from lightvec.peewee._seam import (
    create_foreign_key_sql,
    create_index_sql,
    create_sequence_sql,
    create_table_sql,
    sequence_parts,
    table_sql,
)
from lightvec.peewee.citus import DistributionPlan, require_citus
from lightvec.peewee.column_comments import comment_sql, declared_origin, with_origin
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.definitions import tables_named
from lightvec.peewee.differences import MISSING, Difference, table_differences
from lightvec.peewee.distribution import Distribution, distributions
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.reference_tables import (
    declared_indexes,
    foreign_keys,
    is_concurrent,
    reference_tables,
)

__all__ = ["Difference", "compare", "diff", "set_schema"]


def diff(database: Pg8000Database, models: Sequence[type[Model]], schema: str | None = None) -> list[Difference]:
    """What differs between the tables of the models and the database, in the order to mend it.

    The server is asked for both sides, so that types, defaults, conditions and options are compared
    as it writes them: empty tables of the models are created and rolled back. The user must be
    allowed to create a schema or temporary tables. No table of the user's is locked but
    against being altered, for a moment. ``schema`` is
    for models that declare none.
    """
    with _in_schema(models, schema):
        found = [each for each in compare(database, models) if each.differs]
    return sorted(found, key=lambda each: each.stage)


def set_schema(models: Sequence[Any], schema: str | None) -> list[Any]:
    """Set the schema of the models that declare none, and return those."""
    changed = [model for model in models if bool(model._meta.schema) != bool(schema)]
    for model in changed:
        model._meta.schema = schema
        del model._meta.table
    return changed


@contextmanager
def _in_schema(models: Sequence[Any], schema: str | None) -> Iterator[None]:
    changed = set_schema([model for model in models if not model._meta.schema], schema)
    try:
        yield
    finally:
        set_schema(changed, None)


def compare(
    database: Pg8000Database,
    models: Sequence[type[Model]],
    distribution: Distribution | None = None,
    *,
    concurrently: bool | None = None,
    new_concurrently: bool = False,
) -> Iterator[Difference]:
    """All that the models declare, with an empty ``differs`` where it is so, and what else their tables have.

    ``concurrently`` is for the indexes of tables that exist (None: where that is possible),
    ``new_concurrently`` for the vector indexes of others.
    """
    wanted = distributions(models, distribution)
    if wanted:
        require_citus(database)
    yield _extension(database, "IF NOT EXISTS " if concurrently is None else "")
    with database.bind_ctx(models):
        comparison = _Comparison(database, models, wanted, concurrently, new_concurrently)
        for model in sort_models(models):
            for each in comparison.of(model):
                yield replace(comparison.checked(each, model), model=model)
        yield from comparison.later


def _extension(database: Pg8000Database, condition: str) -> Difference:
    found = database.execute_sql(_EXTENSION).fetchall()
    if not found:
        return Difference("extension", "vector", f"it {_NOT_INSTALLED}")
    ((created, available),) = found
    if created is None:
        return Difference("extension", "vector", MISSING, (f"CREATE EXTENSION {condition}vector",))
    if _version(created) >= _version(available):
        return Difference("extension", "vector", "")
    words = f"it is {created}, expected {available}"
    return Difference("extension", "vector", words, ("ALTER EXTENSION vector UPDATE",))


_NOT_INSTALLED = (
    "is not installed on this server: its administrator must install the package first "
    "(Debian: postgresql-<version>-pgvector)"
)

_EXTENSION = """\
SELECT installed_version, default_version FROM pg_catalog.pg_available_extensions WHERE name = 'vector'"""


# An index is in the schema of its table; another relation is its own owner.
_TAKEN = """\
SELECT n.nspname, c.relname, coalesce(t.relname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
WHERE c.relname = ANY (%s) AND c.relkind <> 'c'"""


_ADDED_CONSTRAINT = re.compile(r'(ALTER TABLE .*) ADD CONSTRAINT ("(?:[^"]|"")+") ')


def _version(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


class _Comparison:
    """The models, the tables that exist and those that they would be."""

    def __init__(
        self,
        database: Pg8000Database,
        models: Sequence[Any],
        wanted: Any,
        concurrently: bool | None,
        new_concurrently: bool,
    ) -> None:
        self._database = database
        self._concurrently = concurrently
        #: Whether the statements may be run again.
        self._is_repeatable = concurrently is None
        self._new_concurrently = new_concurrently
        self._existing = tables_named(database, [table_sql(model) for model in models])
        self._distributions = wanted
        self._distributed = DistributionPlan(database, models, wanted)
        ((self._default_schema,),) = database.execute_sql("SELECT current_schema()").fetchall()
        self._has_extension = bool(database.extension().oids)
        self._reference = reference_tables(database, [model for model in models if self._is_comparable(model)])
        names = {model: declared_indexes(model) for model in models}
        self._indexes = names
        self._taken = self._taken_names([name for indexes in names.values() for name in indexes])
        #: The foreign keys of new tables to tables that come behind them.
        self.later: list[Difference] = []

    def _is_comparable(self, model: Any) -> bool:
        table = self._existing.get(table_sql(model))
        return table is not None and not table.not_table and not model._meta.temporary and self._can_create(model)

    def _can_create(self, model: Any) -> bool:
        """Whether the types of the columns exist."""
        return self._has_extension or not self._needs_extension(model)

    def _needs_extension(self, model: Any) -> bool:
        context = self._database.get_sql_context()
        for each in model._meta.sorted_fields:
            context.sql(each.ddl_datatype(context))
        return bool(context.has_vector_types)

    def of(self, model: Any) -> Iterator[Difference]:
        meta = model._meta
        for each in meta.sorted_fields:
            if each.sequence:
                schema, name = sequence_parts(each)
                exists = self._database.sequence_exists(name, schema)
                sql = () if exists else (create_sequence_sql(each),)
                yield Difference("sequence", name, "" if exists else MISSING, sql)
        table = self._existing.get(table_sql(model))
        if table is None:
            yield from self._new_table(model)
            return
        if table.not_table:
            yield Difference("table", meta.table_name, f"it is {table.not_table}, expected a table")
        elif model not in self._reference:
            words = "" if meta.temporary else "it has no column of a type of pgvector's, as the extension is missing"
            yield Difference("table", meta.table_name, words, unusable=bool(words))
        else:
            yield Difference("table", meta.table_name, "")
            if distribution := self._distributed.difference(model, table_exists=True):
                yield distribution
            wanted = self._reference[model]
            yield from table_differences(
                self._database,
                model,
                table,
                wanted,
                concurrently=self._concurrently,
                always_concurrently=[name for name, index in self._indexes[model].items() if is_concurrent(index)],
            )

    def _taken_names(self, names: Sequence[str]) -> dict[tuple[str, str], str]:
        rows = self._database.execute_sql(_TAKEN, (list(names),)).fetchall() if names else ()
        return {(schema, name): owner for schema, name, owner in rows}

    def checked(self, each: Difference, model: Any) -> Difference:
        """With the note of a new index; another difference if its name is taken."""
        index = self._indexes[model].get(each.name) if each.kind in ("index", "vector index") else None
        if index is None or not each.is_missing:
            return each
        table = self._existing.get(table_sql(model))
        schema = table.schema if table else model._meta.schema or self._default_schema
        owner = self._taken.get((schema, each.name))
        if owner is not None and (table is None or owner != table.name):
            words = f"it is to be on the table {model._meta.table_name}, and one of that name exists on {owner}"
            return Difference(each.kind, each.name, f"{words}: give one of them another name", unusable=True)
        return replace(each, note=index.note) if isinstance(index, VectorIndex) else each

    # A new table

    def _new_table(self, model: Any) -> Iterator[Difference]:
        name, table_name = table_sql(model), model._meta.table_name
        added_later = [key for key in self._distributed.keys_added_later(model) if not key.deferred]
        # Peewee leaves deferred foreign keys out of CREATE TABLE.
        deferred = [key for key in foreign_keys(model) if key.deferred]
        for key in added_later:
            key.deferred = True
        try:
            create = create_table_sql(model, safe=self._is_repeatable)
        finally:
            for key in added_later:
                key.deferred = False
        yield Difference("table", table_name, MISSING, (create,), (f"DROP TABLE IF EXISTS {name}",))
        if distribution := self._distributed.difference(model, table_exists=False):
            yield distribution
        for each in model._meta.sorted_fields:
            origin = declared_origin(each) if hasattr(each, "value_class") else None
            if origin is not None:
                comment = comment_sql(each, with_origin(None, origin))
                name = f"{table_name}.{each.column_name} {origin.model}"
                yield Difference("model", name, MISSING, (comment,))
        schema = self._database.extension().out_of_path
        for name, index in self._indexes[model].items():
            yield self._new_index(model, name, index, schema)
        for key in deferred:
            sql = create_foreign_key_sql(key)
            added = _ADDED_CONSTRAINT.match(sql)
            assert added is not None, "Peewee names the constraint"
            drop = f"{added[1]} DROP CONSTRAINT IF EXISTS {added[2]}"
            name_of_key = f"{table_name}.{key.column_name}"
            self.later.append(Difference("foreign key", name_of_key, MISSING, (drop, sql), (drop,), model=model))

    def _new_index(self, model: Any, name: str, index: Any, schema: str) -> Difference:
        kind, as_declared = "index", is_concurrent(index)
        if isinstance(index, VectorIndex):
            kind, as_declared = "vector index", as_declared or self._new_concurrently
            index = index.built(concurrently=as_declared).qualified(schema)
        sql = create_index_sql(model, index, safe=self._is_repeatable)
        return Difference(kind, name, MISSING, (sql,), outside_transaction=as_declared)
