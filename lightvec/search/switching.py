"""The next embedding model under traffic: a second column, until readers have moved.

All state is in the catalog. Each method does what is still to be done, so that a switch which was
interrupted goes on when it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from peewee import SQL, fn

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee._seam import create_index_sql, database_of, index_name
from lightvec.peewee.brief_locks import run_briefly
from lightvec.peewee.build_progress import Progress
from lightvec.peewee.catalog import ExistingIndex, indexes_named
from lightvec.peewee.citus import shard_sizes
from lightvec.peewee.column_comments import (
    comments_of,
    declared_origin,
    origin_in,
    origin_statements,
    record_origins,
)
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.embedding_source import (
    HashField,
    PendingIndex,
    hash_field,
    is_pending,
    source_hash,
)
from lightvec.peewee.filling import Embedder, Filled, count_pending, fill
from lightvec.peewee.index_build import build_index, plan_index
from lightvec.peewee.indexes import VectorIndex
from lightvec.peewee.invalid_indexes import drop_invalid_index, drop_statement
from lightvec.peewee.reflect import VECTOR_FIELDS
from lightvec.peewee.schema import lock_outside_transaction
from lightvec.peewee.session_settings import no_statement_timeout
from lightvec.search.recall_measurement import Recall, recall
from lightvec.types.columns import VECTOR_TYPES
from lightvec.wire.identifiers import identifier

__all__ = ["Comparison", "Switch"]

_COLUMNS = """\
SELECT a.attname, t.typname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped"""


@dataclass(frozen=True)
class Comparison:
    """The new column beside the old one.

    ``filled`` rows have a vector of their present text, ``pending`` rows do not. ``kept`` is the
    mean share of the ten nearest rows by the old vectors that are among the ten by the new ones,
    both by exact searches, over ``sample`` rows; None if no row has both. ``recall`` is that of the
    new index.
    """

    filled: int
    pending: int
    sample: int
    kept: float | None
    recall: Recall | None


class Switch:
    """A move of a model's vectors from one column to that of another field.

    The new field has ``source=`` and ``model=``; dimensions, type and metric may differ. The model
    class declares both until readers search by the new one; ``old`` is the name of a field or
    column, as the class may not declare it any more when :meth:`finish` is called.
    """

    def __init__(self, new: Any, old: str) -> None:
        model = new.model
        database = database_of(model)
        if not isinstance(database, Pg8000Database):
            raise InvalidOption(f"expected {model.__name__} to have a Pg8000Database to switch its vectors")
        if database.in_transaction():
            raise InvalidOption("a switch commits each step: leave the transaction first")
        source_hash(new)  # Raises without source=.
        meta = model._meta
        self._table = identifier(*filter(None, (meta.schema, meta.table_name)))
        if shard_sizes(database, self._table) is not None:
            raise InvalidOption(
                f"the table {meta.table_name} is distributed: a switch does not work on Citus; "
                f"add the column and fill it by statements of your own"
            )
        declared = meta.combined.get(old)
        self._database = database
        self._model = model
        self._new = new
        self._old, self._old_name = declared, old
        #: The old field's column, which names it when the class does not declare it any more.
        self.old_column = old if declared is None else declared.column_name
        if self.old_column == new.column_name:
            raise InvalidOption(f"expected two fields of {model.__name__}, got {new.name} twice")

    # Until readers move

    def prepare_sql(self) -> list[str]:
        """The statements of :meth:`prepare`."""
        self._check_fields()
        additions, origins = self._additions(), origin_statements(self._database, self._model)
        return [
            *([f"ALTER TABLE {self._table} {additions}"] if additions else ()),
            *(sql for _, exists, sql in origins if not exists),
            *self._pending_index_sql(),
        ]

    def prepare(self) -> None:
        """Add the new column, its hash and the index of its pending rows, and name its model."""
        self._check_fields()
        additions = self._additions()
        if additions:
            run_briefly(self._database, self._table, [f"ALTER TABLE {self._table} {additions}"])
        record_origins(self._database, self._model)
        if self._pending_index_sql():
            with lock_outside_transaction(self._database), no_statement_timeout(self._database):
                # Read again: another switch may have built it meanwhile.
                found = self._pending_index()
                if found is not None and not found.valid:
                    drop_invalid_index(self._database, found, concurrently=True)
                for statement in self._pending_index_sql():
                    self._database.execute_sql(statement)

    def fill_sql(self) -> list[str]:
        """What :meth:`fill` does, as an SQL comment."""
        is_there = {
            self._new.column_name,
            hash_field(self._new).column_name,
        } <= self._columns().keys()
        rows = count_pending(self._new).rows if is_there else self._model.select().count()
        return [f"-- fill {rows:,} rows of {self._new.display_name}"]

    def fill(
        self,
        embed: Embedder,
        *,
        batch: int = 64,
        progress: Callable[[Filled], object] | None = None,
    ) -> Filled:
        """Fill the new column (:func:`lightvec.peewee.fill`)."""
        return fill(self._new, embed, batch=batch, progress=progress)

    def build_sql(self) -> list[str]:
        """The statements of :meth:`build`."""
        indexes = self._vector_indexes()
        if self._new.column_name in self._columns():
            return [sql for index in indexes for sql in plan_index(self._database, index).sql]
        schema = self._database.extension().out_of_path
        return [create_index_sql(self._model, index.qualified(schema)) for index in indexes]

    def build(
        self,
        *,
        progress: Callable[[Progress], object] | None = None,
        notice: Callable[[str], object] = lambda message: None,
    ) -> None:
        """Build the vector indexes of the new field, without blocking writes."""
        for index in self._vector_indexes():
            build_index(self._database, plan_index(self._database, index), progress=progress, notice=notice)

    def compare(self, sample: int = 50) -> Comparison:
        """Compare the two columns by rows as queries."""
        new, old = self._new, self._old
        # In one statement, as others write.
        is_stale = is_pending(new)
        counts = fn.COUNT(SQL("*")).filter(is_stale), fn.COUNT(new).filter(~is_stale)
        ((pending, filled),) = self._model.select(*counts).tuples()
        rows: list[Any] = []
        if hasattr(old, "value_class"):
            both = self._model.select(*self._model._meta.get_primary_keys())
            both = both.where(old.is_null(False), new.is_null(False))
            rows = list(both.order_by(fn.RANDOM()).limit(sample))
        shares = [self._share_kept(row) for row in rows]
        return Comparison(
            filled=filled,
            pending=pending,
            sample=len(shares),
            kept=sum(shares) / len(shares) if shares else None,
            recall=recall(new, sample=sample) if filled > 1 else None,
        )

    # When readers have moved

    def finish_sql(self) -> list[str]:
        """The statement of :meth:`finish`; none if the column is gone already."""
        return self._column_drops(self.old_column)

    def finish(self) -> list[str]:
        """Drop the old column, its hash and their indexes; the statements that this took."""
        self._check_filled()
        return self._run(self.finish_sql())

    def abandon_sql(self) -> list[str]:
        """The statement of :meth:`abandon`; none if the column is gone already."""
        return self._column_drops(self._new.column_name)

    def abandon(self) -> list[str]:
        """Drop the new column, its hash and their indexes; the statements that this took."""
        return self._run(self.abandon_sql())

    def rename_sql(self) -> list[str]:
        """The statements of :meth:`rename`, which run in one transaction."""
        old, new = self.old_column, self._new.column_name
        columns = self._columns()
        if new not in columns:
            found = origin_in(comments_of(self._database, self._model).get(old))
            if found is not None and found.model == self._new.embedding_model:
                return []  # It was renamed.
            raise self._no_column(new)
        if old not in columns:
            raise self._no_column(old)
        if f"{old}_hash" in columns.keys() - self._own_columns(old):
            raise SchemaMismatch(f"the column {self._table}.{old}_hash is not lightvec's: rename it first")
        statements = self._column_drops(old)
        for suffix in ("", "_hash"):
            rename = f"RENAME COLUMN {identifier(new + suffix)} TO {identifier(old + suffix)}"
            statements.append(f"ALTER TABLE {self._table} {rename}")
        return statements + self._index_renames()

    def rename(self) -> list[str]:
        """Drop the old column, and give the new one and its indexes the old names.

        The statements that this took; none if it was done before. Readers of either name fail
        from then on, until the class declares the old name only.
        """
        statements = self.rename_sql()
        if statements:
            self._check_filled()
        return self._run(statements)

    # What exists

    def _columns(self) -> dict[str, tuple[str, str]]:
        """The type of each column: its name, and as it is declared."""
        rows = self._database.execute_sql(_COLUMNS, (self._table,)).fetchall()
        if not rows:
            raise SchemaMismatch(f"there is no table {self._table}: `lightvec init-db` creates it")
        return {name: (kind, declared) for name, kind, declared in rows}

    def _check_fields(self) -> None:
        """Check that there is an old column, and that the new one is to be another."""
        model, new, old = self._model, self._new, self._old
        if not hasattr(old, "value_class"):
            raise InvalidOption(
                f"{model.__name__} has no vector field {self._old_name}: name the field whose vectors are to move"
            )
        # A field without a metric cannot be compared in the end.
        kinds = [(each.ddl_datatype(None).sql.lower(), each.resolve_metric()) for each in (old, new)]
        if kinds[0] == kinds[1] and declared_origin(old) == declared_origin(new):
            raise InvalidOption(
                f"{new.display_name} is what {old.display_name} is, {kinds[1][0]} of the model "
                f"{new.embedding_model}: expected another model, source, type or metric"
            )
        if self.old_column not in self._columns():
            raise self._no_column(self.old_column)

    def _additions(self) -> str:
        """The columns to add, as SQL."""
        columns, schema = self._columns(), self._database.extension().out_of_path
        missing = []
        for field in (self._new, hash_field(self._new)):
            name, declared = field.column_name, field.ddl_datatype(None).sql
            if name not in columns:
                is_qualified = schema and field.field_type in VECTOR_TYPES
                kind = ".".join((identifier(schema), declared)) if is_qualified else declared
                missing.append(f"ADD COLUMN IF NOT EXISTS {identifier(name)} {kind}")
            elif (found := columns[name][1].rpartition(".")[2]) != declared.lower():
                remedy = "rename it" if isinstance(field, HashField) else "--abandon drops it"
                raise SchemaMismatch(
                    f"the column {self._table}.{name} is {found}, expected {declared.lower()}: {remedy}"
                )
        return ", ".join(missing)

    def _pending_index(self) -> ExistingIndex | None:
        name, meta = index_name(PendingIndex(self._new)), self._model._meta
        found: ExistingIndex | None = indexes_named(self._database, [name], meta.table_name, meta.schema).get(name)
        return found

    def _pending_index_sql(self) -> list[str]:
        found = self._pending_index()
        if found is not None and found.valid:
            return []
        drop = [] if found is None else [drop_statement(found, concurrently=True)]
        return [*drop, create_index_sql(self._model, PendingIndex(self._new), concurrently=True)]

    def _vector_indexes(self) -> list[VectorIndex]:
        indexes: Iterable[Any] = self._model._meta.indexes
        return [
            each.built(concurrently=True)
            for each in indexes
            if isinstance(each, VectorIndex) and each.field is self._new
        ]

    def _share_kept(self, row: Any) -> float:
        keys = self._model._meta.get_primary_keys()
        by_old, by_new = (
            # Distance and score follow the keys.
            {found[: len(keys)] for found in nearest.select(*keys).tuples().execute(self._database)}
            for nearest in (each.nearest(row, k=10, exact=True) for each in (self._old, self._new))
        )
        return len(by_old & by_new) / max(len(by_old), 1)

    # Removal

    def _own_columns(self, column: str) -> list[str]:
        """Those of a column of vectors and its hash that exist; a column of the user's may have that name, too."""
        columns, name = self._columns(), f"{column}_hash"
        origin = origin_in(comments_of(self._database, self._model).get(column))
        declared = self._model._meta.columns.get(name)
        is_declared = getattr(declared, "vector_field", None) is not None
        has_hash = columns.get(name, ("",))[0] == "uuid" and (is_declared or bool(origin and origin.source))
        return [*([column] if column in columns else ()), *([name] if has_hash else ())]

    def _column_drops(self, column: str) -> list[str]:
        """One statement, with the indexes; their files go when its locks are released."""
        kind, declared = self._columns().get(column, ("vector", ""))
        if kind not in VECTOR_FIELDS:
            raise SchemaMismatch(f"the column {self._table}.{column} is {declared}, expected one of vectors")
        drops = [f"DROP COLUMN IF EXISTS {identifier(name)}" for name in self._own_columns(column)]
        return [f"ALTER TABLE {self._table} {', '.join(drops)}"] if drops else []

    def _run(self, statements: list[str]) -> list[str]:
        run_briefly(self._database, self._table, statements)
        return statements

    def _check_filled(self) -> None:
        if self._new.column_name not in self._columns():
            raise self._no_column(self._new.column_name)
        pending = count_pending(self._new).rows
        if pending:
            raise SchemaMismatch(
                f"{pending:,} rows of {self._new.display_name} have no vector of their present text: "
                f"run the switch again, which fills them"
            )

    def _index_renames(self) -> list[str]:
        """Renames of the new column's indexes to the names that they would have on the old one."""
        meta, renames = self._model._meta, []
        indexes: list[Any] = [each for each in meta.indexes if getattr(each, "field", None) is self._new]
        existing = indexes_named(self._database, map(index_name, indexes), meta.table_name, meta.schema)
        for index in indexes:
            found = existing.get(index_name(index))
            here, there = (
                self._generated_name(index, self._new.column_name),
                self._generated_name(index, self.old_column),
            )
            # A name that was given stays.
            if found is not None and found.name == here:
                renames.append(f"ALTER INDEX {identifier(found.schema, here)} RENAME TO {identifier(there)}")
        return renames

    def _generated_name(self, index: Any, column: str) -> str:
        field = self._new.clone()
        field.model, field.name, field.column_name = self._model, column, column
        return index_name(PendingIndex(field) if isinstance(index, PendingIndex) else index.on(field))

    def _no_column(self, column: str) -> SchemaMismatch:
        hint = ": run the switch first" if column == self._new.column_name else ""
        return SchemaMismatch(f"the table {self._table} has no column {column}{hint}")
