"""What an ALTER TABLE of playhouse.migrate takes along with a vector column.

Its indexes and the index of its pending rows keep the names that the model gives them, its hash
column and its comment stay with it, and an index is of the type that the column has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption
from lightvec.metrics import METRICS
from lightvec.peewee._seam import execute_as_is, index_name
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.column_comments import (
    Origin,
    comments_of,
    declared_origin,
    origin_in,
    other_model,
    with_origin,
)
from lightvec.peewee.embedding_source import PendingIndex, pending_name
from lightvec.peewee.indexes import VectorIndex, generated_name
from lightvec.peewee.quantization import usual_quantization
from lightvec.peewee.reflect import VECTOR_FIELDS, index_like, model_of, model_with
from lightvec.wire.identifiers import identifier, text_literal

__all__ = ["taking_along"]

_NAME = r'"(?:[^"]|"")+"'
#: The statements of playhouse.migrate, whose names are all quoted.
_ALTER = re.compile(
    rf"ALTER TABLE (?P<table>(?:{_NAME}\.)?{_NAME}) (?:"
    rf"RENAME TO (?P<new_table>{_NAME})"
    rf"|RENAME COLUMN (?P<old>{_NAME}) TO (?P<new>{_NAME})"
    rf"|DROP COLUMN (?P<dropped>{_NAME})"
    rf"|ALTER COLUMN (?P<altered>{_NAME}) TYPE (?P<type>\w+)(?:\((?P<size>\d+)\))?"
    rf"|ADD COLUMN )"
)


class _Table(NamedTuple):
    """A table as it is before the statement."""

    database: Any
    schema: str | None
    name: str
    comments: Mapping[str, str | None]
    indexes: Sequence[ExistingIndex]

    @property
    def path(self) -> tuple[str, ...]:
        return self.beside(self.name)

    def beside(self, name: str) -> tuple[str, ...]:
        """The path of what is in the same schema."""
        return (name,) if self.schema is None else (self.schema, name)

    def origins(self) -> Iterator[tuple[str, Origin]]:
        for column, comment in self.comments.items():
            if origin := origin_in(comment):
                yield column, origin

    def hash_of(self, column: str) -> str | None:
        """The hash column of a vector column."""
        origin, name = origin_in(self.comments.get(column)), f"{column}_hash"
        return name if origin and origin.source and name in self.comments else None

    def run(self, statement: str) -> None:
        execute_as_is(self.database, statement)


@contextmanager
def taking_along(database: Any, sql: str, fields: Sequence[Any]) -> Iterator[None]:
    """A block that runs an ALTER TABLE, which defines these fields."""
    found = _ALTER.match(sql)
    if found is None:
        yield
        return
    names = {key: _unquoted(name) for key, name in found.groupdict().items() if name}
    *schema, name = map(_unquoted, re.findall(_NAME, found["table"]))
    with database.atomic():
        table = _table(database, schema[0] if schema else None, name)
        indexes = _changed_indexes(table, names) if "altered" in names else []
        for existing, _ in indexes:
            table.run(f"DROP INDEX {identifier(existing.schema, existing.name)}")
        yield
        for _, index in indexes:
            database.execute(index)
        for statement in _statements(table, names):
            table.run(statement)
        for field in fields:
            if field.embedding_model:
                _describe(table, field)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _table(database: Any, schema: str | None, name: str) -> _Table:
    comments = comments_of(database, model_with(name, {}, schema=schema))
    return _Table(database, schema, name, comments, vector_indexes(database, name, schema))


def _statements(table: _Table, names: Mapping[str, str]) -> Iterable[str]:
    """What follows the statement."""
    if "new_table" in names:
        return _renamed_table(table, names["new_table"])
    if "new" in names:
        return _renamed_column(table, names["old"], names["new"])
    hash_column = table.hash_of(names.get("dropped", ""))
    if hash_column is None:
        return []
    return [f"ALTER TABLE {identifier(*table.path)} DROP COLUMN {identifier(hash_column)}"]


def _renamed_table(table: _Table, new: str) -> Iterator[str]:
    for existing in table.indexes:
        yield from _renamed_index(table, existing, new, existing.column)
    for column, origin in table.origins():
        if origin.source:
            yield _rename(table, pending_name(table.name, column), pending_name(new, column))


def _renamed_column(table: _Table, old: str, new: str) -> Iterator[str]:
    for existing in table.indexes:
        if existing.column == old:
            yield from _renamed_index(table, existing, table.name, new)
    if hash_column := table.hash_of(old):
        columns = f"{identifier(hash_column)} TO {identifier(f'{new}_hash')}"
        yield f"ALTER TABLE {identifier(*table.path)} RENAME COLUMN {columns}"
        yield _rename(table, pending_name(table.name, old), pending_name(table.name, new))
    for column, origin in table.origins():
        if old in origin.source:
            sources = tuple(new if source == old else source for source in origin.source)
            renamed = new if column == old else column
            yield _comment(table, renamed, origin._replace(source=sources), column)


def _renamed_index(
    table: _Table,
    existing: ExistingIndex,
    new_table: str,
    new_column: Any,
) -> Iterator[str]:
    """Rename an index that has the name that its column gives it."""
    for metric in METRICS:
        rest = metric, existing.quantize, existing.method
        if existing.name == generated_name(table.name, existing.column or "", *rest):
            yield _rename(table, existing.name, generated_name(new_table, new_column, *rest))


def _rename(table: _Table, old: str, new: str) -> str:
    return f"ALTER INDEX IF EXISTS {identifier(*table.beside(old))} RENAME TO {identifier(new)}"


def _comment(table: _Table, column: str, origin: Origin, old_column: str | None = None) -> str:
    comment = with_origin(table.comments.get(old_column or column), origin)
    path = (*table.path, column)
    return f"COMMENT ON COLUMN {identifier(*path)} IS {text_literal(comment)}"


def _changed_indexes(
    table: _Table,
    names: Mapping[str, str],
) -> list[tuple[ExistingIndex, VectorIndex]]:
    """The indexes of a column that gets another type, and what they are on that.

    The server would keep their operator classes, and the casts of their expressions.
    """
    column, kind = names["altered"], names["type"]
    size = int(names["size"]) if "size" in names else None
    changed: list[tuple[ExistingIndex, VectorIndex]] = []
    for existing in table.indexes:
        is_same = (existing.column_type, existing.dimensions) == (kind, size)
        if existing.column != column or is_same or kind not in VECTOR_FIELDS:
            continue
        field = VECTOR_FIELDS[kind](size, null=True)
        model_with(table.name, {column: field}, schema=table.schema)
        index = index_like(existing, field, _quantize(existing, kind, size))
        if index is not None:
            changed.append((existing, index))
    return changed


def _quantize(existing: ExistingIndex, kind: str, size: int | None) -> str | None:
    usual = usual_quantization(existing.column_type or "", existing.dimensions)
    # Halfvecs are no coarser form of a column of halfvecs.
    if existing.quantize in (usual, kind):
        return usual_quantization(kind, size)
    return existing.quantize


def _describe(table: _Table, field: Any) -> None:
    """Have a column's comment name its model and its source, and add what ``source=`` needs."""
    column = field.column_name
    # A field of add_column has no model: its source are columns.
    declared = declared_origin(field) if hasattr(field, "model") else None
    origin = declared or Origin(field.embedding_model, field.source)
    found = origin_in(table.comments.get(column))
    if found is not None and found.model != origin.model:
        reflected: Any = model_of(table.database, table.name, table.schema)
        raise other_model(reflected._meta.columns[column], found.model)
    for name in origin.source:
        if name not in table.comments:
            raise InvalidOption(
                f"{table.name}.{column}: expected source= to name columns of the table, "
                f"got {name!r}, which is no such field"
            )
    if found != origin:
        table.run(_comment(table, column, origin))
    if not origin.source:
        return
    hash_column = identifier(f"{column}_hash")
    table.run(f"ALTER TABLE {identifier(*table.path)} ADD COLUMN IF NOT EXISTS {hash_column} uuid")
    model: Any = model_of(table.database, table.name, table.schema)
    for index in model._meta.indexes:
        if isinstance(index, PendingIndex) and index.field.column_name == column:
            if found is not None and found != origin:
                # It is of the other source.
                table.run(f"DROP INDEX IF EXISTS {identifier(*table.beside(index_name(index)))}")
            table.database.execute(index)
