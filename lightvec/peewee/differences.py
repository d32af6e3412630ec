"""How one table differs from what its model declares, with the statements that mend it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lightvec.peewee import alterations
from lightvec.peewee.column_comments import (
    Origin,
    comment_sql,
    declared_origin,
    origin_in,
    other_model,
    with_origin,
)
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.definitions import Column, Constraint, IndexDefinition, Table
from lightvec.peewee.invalid_indexes import LOCK_TIMEOUT
from lightvec.wire.identifiers import identifier, text_literal

__all__ = ["MISSING", "Difference", "table_differences"]

MISSING = "it is missing"

_CONSTRAINTS = {"p": "primary key", "u": "unique", "f": "foreign key", "c": "check", "x": "exclusion"}
#: Types of which another precision is another value.
_ROUNDED = {"numeric", "timestamp", "timestamptz", "time", "timetz", "interval"}
_VECTORS = {"vector", "halfvec", "sparsevec", "bit"}

#: What runs before what: a constraint may be in the way of a new type, and an index of the drop of a column.
FIRST, USUAL, LAST = range(3)


@dataclass(frozen=True)
class Difference:
    """What differs, and the statements that mend it.

    ``kind`` is extension, table, sequence, column, type, default, null, primary key, unique,
    foreign key, check, exclusion, index, vector index, model or distribution. ``differs`` is a
    sentence. ``sql`` are the statements in their order; there are none where a person must decide,
    as ``differs`` says. ``undo`` are those that take them back, as far as that is possible.
    ``loses_data`` says that values are lost, ``outside_transaction`` that a statement cannot run in
    one, and ``undeclared`` that the database has what no model declares.
    """

    kind: str
    name: str
    differs: str
    sql: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    loses_data: bool = False
    outside_transaction: bool = False
    undeclared: bool = False
    #: Whether the model's searches fail, or find the wrong rows.
    unusable: bool = field(default=False, repr=False)
    #: What may surprise about a new index.
    note: str = field(default="", repr=False)
    #: The index that exists, and the model.
    existing: IndexDefinition | None = field(default=None, repr=False)
    model: Any = field(default=None, repr=False)
    stage: int = field(default=USUAL, repr=False)

    @property
    def is_missing(self) -> bool:
        """Whether the whole object is to be created."""
        return self.differs == MISSING


def table_differences(
    database: Pg8000Database,
    model: Any,
    table: Table,
    wanted: Table,
    *,
    concurrently: bool | None,
    always_concurrently: Collection[str] = (),
) -> Iterator[Difference]:
    """What differs in a table; also what does not, with an empty ``differs``.

    ``concurrently`` is whether indexes are built so, None where that is possible;
    ``always_concurrently`` are names of indexes that are declared so.
    """
    comparison = _TableComparison(database, model, table, wanted, concurrently, always_concurrently)
    yield from comparison.columns()
    yield from comparison.constraints()
    yield from comparison.models()
    yield from comparison.indexes()


class _TableComparison:
    def __init__(
        self,
        database: Pg8000Database,
        model: Any,
        table: Table,
        wanted: Table,
        concurrently: bool | None,
        always_concurrently: Collection[str],
    ) -> None:
        self._database = database
        self._model = model
        self._table = table
        self._wanted = wanted
        self._concurrently = not table.is_partitioned if concurrently is None else concurrently
        self._always_concurrently = always_concurrently
        #: Columns that are dropped and added, and indexes that a new type is in the way of.
        self._replaced = {name for name in table.columns if self._is_replaced(name)}
        self._in_the_way = {
            index.name: index for index in table.indexes.values() if any(map(self._blocks(index), index.columns))
        }

    def _name(self, part: str) -> str:
        return f"{self._table.name}.{part}"

    @cached_property
    def _has_rows(self) -> bool:
        with self._database.atomic():
            self._database.execute_sql("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT}s",))
            ((found,),) = self._database.execute_sql(f"SELECT EXISTS (SELECT FROM {self._table.sql})").fetchall()
        return bool(found)

    # Columns

    def columns(self) -> Iterator[Difference]:
        table, wanted = self._table, self._wanted
        for name, column in wanted.columns.items():
            if name not in table.columns:
                yield self._missing_column(column)
            elif name in self._replaced:
                yield self._replaced_column(table.columns[name], column)
            else:
                yield from self._changed_column(table.columns[name], column)
        for name, column in table.columns.items():
            if name not in wanted.columns:
                yield Difference(
                    "column",
                    self._name(name),
                    f"{self._model.__name__} does not declare it ({column.type})",
                    alterations.drop_column(table, column),
                    tuple(alterations.restore_column(table, column)),
                    loses_data=True,
                    undeclared=True,
                    stage=LAST,
                )

    def _missing_column(self, column: Column) -> Difference:
        name, default = self._name(column.name), self._default(column)
        if default is None and self._lacks_value(column) and self._has_rows:
            words = f"{MISSING}, and the table has rows, for which it needs a default or null=True"
            return Difference("column", name, words, unusable=True)
        sql = alterations.add_column(self._table, column, default=default)
        undo = alterations.drop_column(self._table, column)
        return Difference("column", name, MISSING, sql, undo, unusable=True)

    def _default(self, column: Column) -> str | None:
        """The constant that the field gives new rows, as SQL."""
        value = self._model._meta.columns[column.name].default
        if not self._lacks_value(column) or not isinstance(value, (bool, int, float, str)):
            return None
        return text_literal(str(value))

    @staticmethod
    def _lacks_value(column: Column) -> bool:
        return column.not_null and not (column.default or column.identity or column.generated)

    def _is_replaced(self, name: str) -> bool:
        """Whether no cast keeps the values of the column."""
        old, new = self._table.columns[name], self._wanted.columns.get(name)
        if new is None or new.generated != old.generated:
            return new is not None
        if old.type == new.type:
            return False
        if not {old.type_name, new.type_name} & _VECTORS:
            return self._cast(old.type, new.type) is None
        sizes = {_size(old.type), _size(new.type)} - {None}
        are_bits = "bit" in (old.type_name, new.type_name)
        return len(sizes) > 1 or not {old.type_name, new.type_name} <= _VECTORS or are_bits

    def _blocks(self, index: IndexDefinition) -> Any:
        def blocks(name: str) -> bool:
            old, new = self._table.columns[name], self._wanted.columns.get(name)
            if new is None or name in self._replaced or old.type == new.type:
                return name in self._replaced
            return index.has_expressions or old.type_name in _VECTORS

        return blocks

    def _replaced_column(self, old: Column, new: Column) -> Difference:
        name = self._name(old.name)
        words = f"it is {_described(old)}, expected {_described(new)}"
        kind = "type"
        if self._lacks_value(new) and self._has_rows:
            return Difference(
                kind,
                name,
                f"{words}: its values cannot be kept, and the table has rows, for which it needs null=True",
                loses_data=True,
                unusable=new.type_name in _VECTORS,
            )
        table = self._table
        indexes = [index for index in self._in_the_way.values() if old.name in index.columns]
        constraints = [each for each in table.constraints if old.name in each.columns]
        return Difference(
            kind,
            name,
            words,
            (*alterations.drop_column(table, old), *alterations.add_column(table, new)),
            (
                *alterations.drop_column(table, new),
                *alterations.restore_column(table, old),
                *self._restored(indexes, constraints),
            ),
            loses_data=True,
            outside_transaction=self._concurrently and bool(indexes),
            unusable=new.type_name in _VECTORS,
        )

    def _restored(self, indexes: Sequence[IndexDefinition], constraints: Sequence[Constraint]) -> Iterator[str]:
        for constraint in constraints:
            yield from alterations.add_constraint(self._table, constraint)
        for index in indexes:
            if index.constraint is None:
                yield from alterations.create_index(self._table, index, concurrently=self._concurrently)

    def _changed_column(self, old: Column, new: Column) -> Iterator[Difference]:
        table, name = self._table, self._name(new.name)
        if (old.type, old.collation) != (new.type, new.collation):
            yield self._changed_type(old, new)
        elif (old.default, old.identity) != (new.default, new.identity):
            yield Difference(
                "default",
                name,
                f"it has {_default_words(old)}, expected {_default_words(new)}",
                alterations.change_default(table, old, new),
                alterations.change_default(table, new, old),
                undeclared=not (new.default or new.identity),
            )
        if old.not_null != new.not_null:
            is_key = any(each.kind == "p" and new.name in each.columns for each in table.constraints)
            stage = LAST if is_key else USUAL
            words = ("NULL", "NOT NULL")
            yield Difference(
                "null",
                name,
                f"it is {words[old.not_null]}, expected {words[new.not_null]}",
                alterations.change_null(table, new),
                alterations.change_null(table, old),
                stage=stage,
            )

    def _changed_type(self, old: Column, new: Column) -> Difference:
        table = self._table
        indexes = [index for index in self._in_the_way.values() if old.name in index.columns]
        drops = [alterations.drop_index(table, index, concurrently=self._concurrently) for index in indexes]
        using, is_lossy = self._cast(old.type, new.type) or (False, False)
        if old.type_name == new.type_name and old.type_name in _ROUNDED:
            is_lossy = True
        back, _ = self._cast(new.type, old.type) or (True, True)
        statements = alterations.change_type(table, old, new, using=using)
        reverse = alterations.change_type(table, new, old, using=back)
        words = f"it is {_described(old)}, expected {_described(new)}"
        if (old.default, old.identity) != (new.default, new.identity):
            statements = alterations.change_type_and_default(table, old, new, using=using)
            reverse = alterations.change_type_and_default(table, new, old, using=back)
            words = (
                f"it is {_described(old)} with {_default_words(old)}, "
                f"expected {_described(new)} with {_default_words(new)}"
            )
        return Difference(
            "type",
            self._name(new.name),
            words,
            (*drops, *statements),
            (*reverse, *self._restored(indexes, ())),
            loses_data=is_lossy,
            outside_transaction=self._concurrently and bool(indexes),
            unusable=new.type_name in _VECTORS,
        )

    def _cast(self, old: str, new: str) -> tuple[bool, bool] | None:
        """Whether a new type needs an explicit cast, and whether that may lose values; None if there is no cast."""
        rows = self._database.execute_sql(_CAST, (old, new)).fetchall()
        if not rows:
            return False, False  # The same type with another length, which is checked.
        ((context, is_text, is_half),) = rows
        if context is None and not is_text:
            return None
        return context in (None, "e"), context != "i" or is_half

    # Constraints

    def constraints(self) -> Iterator[Difference]:
        table = self._table
        left = [each for each in table.constraints if not self._replaced & {*each.columns}]
        # An index of that name serves as well where a constraint has made it.
        left = [each for each in left if each.name not in self._wanted.indexes or each.kind not in "ux"]
        missing = []
        for wanted in self._wanted.constraints:
            same = [each for each in left if (each.kind, each.definition) == (wanted.kind, wanted.definition)]
            same.sort(key=lambda each: each.name != wanted.name)
            if not same:
                missing.append(wanted)
                continue
            left.remove(same[0])
            if not same[0].valid:
                validate = f"ALTER TABLE {table.sql} VALIDATE CONSTRAINT {identifier(same[0].name)}"
                kind, name = _CONSTRAINTS[wanted.kind], self._name(same[0].name)
                yield Difference(kind, name, "it is not validated", (validate,))
        for wanted in missing:
            old = next((each for each in left if _is_counterpart(each, wanted)), None)
            if old is not None:
                left.remove(old)
            yield self._changed_constraint(old, wanted)
        for each in left:
            yield Difference(
                _CONSTRAINTS[each.kind],
                self._name(each.name),
                f"{self._model.__name__} does not declare it ({each.definition})",
                alterations.drop_constraint(table, each),
                alterations.add_constraint(table, each),
                undeclared=True,
                stage=FIRST,
            )

    def _changed_constraint(self, old: Constraint | None, wanted: Constraint) -> Difference:
        table = self._table
        words = MISSING if old is None else f"it is {old.definition}, expected {wanted.definition}"
        undo = (
            alterations.drop_constraint(table, wanted)
            if old is None
            else alterations.add_constraint(table, old, wanted)
        )
        return Difference(
            _CONSTRAINTS[wanted.kind],
            self._name(wanted.name),
            words,
            alterations.add_constraint(table, wanted, old),
            undo,
        )

    # Embedding models

    def models(self) -> Iterator[Difference]:
        for each in self._model._meta.sorted_fields:
            if hasattr(each, "value_class"):
                yield from self._model_difference(each)

    def _model_difference(self, each: Any) -> Iterator[Difference]:
        wanted, column = declared_origin(each), self._table.columns.get(each.column_name)
        is_new = column is None or each.column_name in self._replaced
        comment = None if column is None or is_new else column.comment
        found = origin_in(comment)
        origin = wanted or found
        if origin is None:
            return
        name = f"{self._name(each.column_name)} {origin.model}"
        sql = (comment_sql(each, with_origin(comment, wanted)),)
        undo = () if is_new else (comment_sql(each, comment),)
        if found == wanted:
            yield Difference("model", name, "")
        elif wanted is None:
            words = f"{self._model.__name__} does not declare it"
            yield Difference("model", name, words, sql, undo, undeclared=True)
        elif found is None:
            yield Difference("model", name, MISSING, sql, undo)
        elif found.model != wanted.model:
            yield Difference("model", name, str(other_model(each, found.model)), unusable=True)
        else:
            words = f"its source is {_listed(found)}, expected {_listed(wanted)}"
            yield Difference("model", name, words, sql, undo)

    # Indexes

    def indexes(self) -> Iterator[Difference]:
        declared = self._wanted.indexes
        for name, index in declared.items():
            if index.constraint is None:
                yield self._index_difference(name, index)
        for name, index in self._table.indexes.items():
            if name not in declared and index.constraint is None and name not in self._in_the_way:
                yield self._undeclared_index(index)

    def _index_difference(self, name: str, wanted: IndexDefinition) -> Difference:
        table = self._table
        concurrently = self._concurrently or name in self._always_concurrently
        kind, found = _kind(wanted), table.indexes.get(name)
        drop = (alterations.drop_index(table, wanted, concurrently=concurrently),)
        if found is None or name in self._in_the_way:
            sql = alterations.create_index(table, wanted, concurrently=concurrently)
            words = MISSING if found is None else "it goes with the column, which is changed"
            return Difference(kind, name, words, sql, drop, outside_transaction=concurrently)
        if found.being_built and not found.valid:
            return Difference(kind, name, "it is being built at this moment: wait until that is done", unusable=True)
        is_same = found.is_as(wanted)
        if is_same and found.valid:
            return Difference(kind, name, "")
        if is_same:
            sql = alterations.create_index(table, wanted, concurrently=concurrently)
            words = "it is invalid, as an interrupted build left it"
            return Difference(kind, name, words, sql, existing=found, outside_transaction=concurrently)
        return Difference(
            kind,
            name,
            f"it is {found.words}, expected {wanted.words}",
            tuple(alterations.replace_index(table, found, wanted, concurrently=concurrently)),
            tuple(alterations.replace_index(table, wanted, found, concurrently=concurrently)),
            existing=found,
            outside_transaction=concurrently,
            unusable=wanted.is_vector_index and found.form != wanted.form,
        )

    def _undeclared_index(self, index: IndexDefinition) -> Difference:
        table, concurrently = self._table, self._concurrently
        state = "" if index.valid else "invalid: "
        return Difference(
            _kind(index),
            index.name,
            f"{self._model.__name__} does not declare it ({state}{index.words})",
            (alterations.drop_index(table, index, concurrently=concurrently),),
            alterations.create_index(table, index, concurrently=concurrently),
            existing=index,
            outside_transaction=concurrently,
            undeclared=True,
        )


def _kind(index: IndexDefinition) -> str:
    return "vector index" if index.is_vector_index else "index"


def _size(written: str) -> int | None:
    """The dimensions of a type; None if it has none."""
    found = re.search(r"\((\d+)\)", written)
    return int(found[1]) if found else None


def _described(column: Column) -> str:
    words = column.type
    if column.collation:
        words += f" COLLATE {column.collation}"
    return f"{words} GENERATED ALWAYS AS ({column.generated})" if column.generated else words


def _default_words(column: Column) -> str:
    if column.identity:
        return "an identity"
    if column.default == "sequence":
        return "a sequence"
    return f"the default {column.default}" if column.default else "no default"


def _listed(origin: Origin) -> str:
    return ", ".join(origin.source) or "none"


def _is_counterpart(found: Constraint, wanted: Constraint) -> bool:
    """Whether one is in place of the other."""
    return found.name == wanted.name or found.kind == wanted.kind == "p"


# Every type has a cast to text and from it.
_CAST = """\
SELECT c.castcontext::text, 'S' IN (old.typcategory, new.typcategory), new.typname = 'halfvec'
FROM pg_catalog.pg_type old
CROSS JOIN pg_catalog.pg_type new
LEFT JOIN pg_catalog.pg_cast c ON c.castsource = old.oid AND c.casttarget = new.oid
WHERE old.oid = to_regtype(%s) AND new.oid = to_regtype(%s) AND old.oid <> new.oid"""
