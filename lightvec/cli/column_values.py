"""What ``unload`` selects for the columns of a table, and what a format cannot hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import SQL, Case, Function, Select, Value, fn

from lightvec.errors import SchemaMismatch
from lightvec.peewee.functions import vector_dims
from lightvec.wire.copy.target import Column
from lightvec.wire.datatypes import BY_OID, DENSE, TYPES, oids

_JSON, _JSONB = oids("json", "jsonb")
_BLANK_PADDED = oids("bpchar")
_BYTES = oids("bytea")
#: JSON has them as arrays, which load takes for PostgreSQL's arrays.
_LISTS = oids("int2vector", "oidvector")
#: Column types whose texts an array of NumPy holds.
_TEXTS = oids("text", "varchar", "bpchar", "name", "json", "jsonb")
_TIMES = {TYPES[name].oid: name for name in ("date", "timestamp", "timestamptz")}
#: All that Python has, less a day for time zones.
_FIRST_DAY, _LAST_DAY = "0001-01-02", "9999-12-30"

_NEVER_EMPTY = frozenset(BY_OID) - {
    *oids("text", "varchar", "bpchar", "name", "char", "varbit"),
    *_LISTS,
}

_INSTEAD = "write .jsonl, .csv or .parquet, or leave it out with --columns"


@dataclass
class Unloaded:
    """A column as a file has it: ``kind`` is a NumPy dtype, a type's name, or ``text``.

    ``size`` is the dimensions of its vectors, or the letters of its longest text.
    """

    name: str
    kind: str
    size: int = 0


class Selection:
    """The rows of a table as a format has them: ``objects`` are one JSON object, and come first."""

    def __init__(self, model: Any, where: Sequence[Any]) -> None:
        self._model, self._where = model, where
        self._objects: list[Any] = []
        self._values: list[Any] = []
        self._checks: list[tuple[Any, str]] = []
        self._sizes: list[tuple[Any, Unloaded]] = []
        self._fields: list[Any] = []
        self.columns: list[Unloaded] = []
        #: How many rows, and the mean size of one in bytes, as the server stores it.
        self.count, self.width = 0, 1

    def add_object(self, column: Column) -> None:
        """Add a column to the JSON object."""
        field = self._field(column)
        self._objects.append(_json_value(field, column).alias(column.name))
        if column.oid in (_JSON, _JSONB):
            kind = fn.json_typeof if column.oid == _JSON else fn.jsonb_typeof
            problem = "has JSON's null, which .jsonl cannot tell from NULL: write .csv or .parquet"
            self._refuse(kind(field) == "null", f"{column.name} {problem}")

    def add_text(self, column: Column, null: str) -> None:
        """Add a column of a CSV file, where ``null`` stands for NULL."""
        field = self._field(column)
        text = _text(field, column)
        self._add(text, column.name, "text")
        is_text = column.vector is None and not column.element_oid
        if null or (is_text and column.oid not in _NEVER_EMPTY):
            shown = f"the text {null!r}" if null else "an empty text"
            problem = f"has {shown}, which load reads as NULL: choose another --null, for load too"
            self._refuse(text == null, f"{column.name} {problem}")

    def add_value(self, column: Column) -> None:
        """Add a column of a Parquet file."""
        field, kind = self._field(column), _kind(column)
        self._add(_text(field, column) if kind == "text" else field, column.name, kind)
        if column.oid in _TIMES:
            problem = "has times that Python does not: write .jsonl or .csv"
            outside = (field < _FIRST_DAY) | (field > _LAST_DAY)
            self._refuse(outside, f"{column.name} {problem}")

    def add_array(self, column: Column) -> None:
        """Add a column of an .npz or .npy file."""
        field, kind = self._field(column), _kind(column)
        name = column.name
        if column.oid not in _TEXTS and (kind == "text" or kind in (*_TIMES.values(), "bytea")):
            raise SchemaMismatch(f"arrays cannot hold {name}, which is {column.type}: {_INSTEAD}")
        self._refuse(field.is_null(), f"{name} has NULLs, which arrays cannot hold: {_INSTEAD}")
        if kind == "text":
            text = _text(field, column)
            self._sizes.append((fn.max(fn.char_length(text)), self._add(text, name, kind)))
            return
        added = self._add(field, name, kind)
        if kind in DENSE:
            self._sizes.append((fn.max(vector_dims(field)), added))
            if not column.size or column.size < 0:
                differ = fn.min(vector_dims(field)) != fn.max(vector_dims(field))
                problem = f"{name} has vectors of several dimensions, which an array cannot hold"
                self._checks.append((differ, f"{problem}: {_INSTEAD}"))

    def _field(self, column: Column) -> Any:
        self._fields.append(self._model._meta.columns[column.name])
        return self._fields[-1]

    def _add(self, value: Any, name: str, kind: str) -> Unloaded:
        added = Unloaded(name, kind)
        self._values.append(value)
        self.columns.append(added)
        return added

    def check(self, database: Any) -> None:
        """Count the rows, and refuse what the format cannot hold."""
        checks = [holds for holds, _ in self._checks]
        sizes = [size for size, _ in self._sizes]
        # Stored, so that no value is read for it.
        widths = [fn.coalesce(fn.avg(fn.pg_column_size(field)), 0) for field in self._fields]
        counts = [fn.count(SQL("*")), sum(widths, Value(0)).cast("float8")]
        query = self._filtered(self._model.select(*counts, *checks, *sizes))
        self.count, self.width, *found = next(iter(query.tuples().execute(database)))
        for is_so, (_, problem) in zip(found, self._checks, strict=False):
            if is_so:
                raise SchemaMismatch(problem)
        for size, (_, column) in zip(found[len(checks) :], self._sizes, strict=True):
            column.size = size or 1

    def rows(self) -> Any:
        """The query, of tuples."""
        if not self._objects:
            return self._filtered(self._model.select(*self._values)).tuples()
        # The row as one JSON text, which the server writes.
        text = fn.row_to_json(SQL("r")).cast("text")
        if not self._values:
            inner = self._filtered(self._model.select(*self._objects)).alias("r")
            return Select([inner], [text]).tuples()
        inner = Select(None, self._objects).alias("r")
        return self._filtered(self._model.select(Select([inner], [text]), *self._values)).tuples()

    def _refuse(self, holds: Any, problem: str) -> None:
        self._checks.append((fn.bool_or(holds), problem))

    def _filtered(self, query: Any) -> Any:
        return query.where(*self._where) if self._where else query


def _kind(column: Column) -> str:
    if column.element_oid:
        return "text"
    if column.vector in DENSE:
        return str(column.vector)
    if column.oid in BY_OID and BY_OID[column.oid].dtype:
        return BY_OID[column.oid].dtype.replace(">", "<")
    return _TIMES.get(column.oid, "bytea" if column.oid in _BYTES else "text")


def _text(field: Any, column: Column) -> Any:
    """The text that the server reads as this value."""
    if column.oid in _BLANK_PADDED:
        # A cast would remove blanks at the end.
        return Case(None, [(field.is_null(False), Function("concat", (field,)).coerce(False))])
    return field.cast("text")


def _json_value(field: Any, column: Column) -> Any:
    """JSON that ``load`` reads as this value: a number, an array, or a string of its text."""
    if column.oid == _JSON:
        # A line is one object, and line breaks can only be between the parts of this one.
        return fn.translate(field.cast("text"), "\n\r", "  ").cast("json")
    if column.vector in DENSE and not column.element_oid:
        return field.cast("text").cast("json")
    is_list = column.element_oid in BY_OID and column.vector is None
    if is_list and column.element_oid not in (_JSON, _JSONB, *_LISTS):
        # An array whose indexes do not begin with 1 has its bounds before it.
        has_bounds = fn.starts_with(field.cast("text"), "[")
        as_text = fn.to_json(field.cast("text"))
        return Case(None, [(has_bounds, as_text)], fn.to_json(field)).coerce(False)
    if column.oid in BY_OID and column.oid not in _LISTS:
        return field
    return field.cast("text")
