"""Rows and arrays of a file into a table by COPY."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

from peewee import Model

from lightvec.cli.column_map import ColumnMap
from lightvec.cli.column_texts import text_writer
from lightvec.cli.files import Rows
from lightvec.errors import InvalidVector, LightvecError, SchemaMismatch
from lightvec.peewee import Pg8000Database
from lightvec.pg8000.exceptions import DatabaseError, DataError, ErrorFields
from lightvec.types.inputs import is_ndarray
from lightvec.wire.copy import load
from lightvec.wire.copy.target import Column, look_up
from lightvec.wire.datatypes import TYPES, oids
from lightvec.wire.identifiers import identifier

__all__ = ["Loader"]

Progress = Callable[[int], object]

_UNIQUE_VIOLATION, _WRONG_OBJECT_TYPE, _WRONG_BYTES = "23505", "42809", "22021"

#: OIDs of the columns that binary COPY takes a value for, by the value's type.
_BINARY: dict[type, tuple[int, ...]] = {
    bool: oids("bool"),
    int: oids("int2", "int4", "int8", "oid", "float4", "float8", "numeric"),
    float: oids("float4", "float8"),
    Decimal: oids("numeric"),
    str: oids("text", "bpchar", "varchar"),
    bytes: oids("bytea"),
    date: oids("date"),
}

#: The column in the context of an error (``CopyFromErrorCallback``, src/backend/commands/copyfromparse.c).
_COLUMN = re.compile(r"^COPY .{1,200}?, \D{1,100} \d{1,18}, (.+)", re.MULTILINE)

#: Columns that have a value where a row names none: a default, their own or their type's, or an identity.
_DEFAULTS = """\
SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL)"""


class _Row(NamedTuple):
    """A row by the table's columns, and its number in the file."""

    number: int
    values: dict[str, Any]


class Loader:
    """Loads into one table, inside a transaction; ``read`` counts the rows of the file."""

    def __init__(self, database: Pg8000Database, model: type[Model], on_conflict: str | None) -> None:
        meta: Any = model._meta
        self.table: str = meta.table_name
        self._name = (meta.schema, meta.table_name) if meta.schema else meta.table_name
        self._session: Any = database.connection().session
        found = look_up(self._session, self._name, list(meta.columns)).columns
        self.columns = {column.name: column for column in found}
        qualified = identifier(*filter(None, (meta.schema, meta.table_name)))
        self._defaults = {name for (name,) in database.execute_sql(_DEFAULTS, (qualified,)).fetchall()}
        self._on_conflict = on_conflict
        self.read = 0

    def load_arrays(self, arrays: dict[str, Any], file: Path, progress: Progress) -> int:
        """Load whole arrays by the names of their columns; the rows inserted or updated."""
        if not arrays:
            raise SchemaMismatch(f"{file}: expected an array for a column of {self.table}, got none")
        self.read = len(next(iter(arrays.values())))
        with self._explained(f"{file}"):
            return load.copy_columns(
                self._session, self._name, arrays, on_conflict=self._on_conflict, progress=progress
            )

    def load_rows(self, source: Rows, column_map: ColumnMap, vectors: Any, progress: Progress) -> int:
        """Load rows; the rows inserted or updated. ``vectors`` is (column, matrix) or None.

        A COPY has one list of columns, so rows that name different columns with a default take one each. Other columns
        that a row leaves out are NULL, as by INSERT. An update must not touch what a row leaves out.
        """
        rows = self._rows(source, column_map)
        if vectors is not None:
            rows = _with_vectors(rows, *vectors)
        is_binary = source.is_binary or vectors is not None
        nullable: set[str] = set()

        def copy_of(row: _Row) -> tuple[bool, frozenset[str]]:
            """Whether the COPY for this row is binary, and its columns; once one is of text, all that follow are."""
            nonlocal is_binary
            is_binary = is_binary and all(_fits_binary(self.columns[name], each) for name, each in row.values.items())
            if self._on_conflict != "update":
                nullable.update(row.values.keys() - self._defaults)
            return is_binary, frozenset(nullable.union(row.values))

        return sum(self._copy(*key, group, source, progress) for key, group in groupby(rows, copy_of))

    def _copy(
        self, is_binary: bool, names: frozenset[str], rows: Iterator[_Row], source: Rows, progress: Progress
    ) -> int:
        first = next(rows)
        columns, before = sorted(names), self.read
        rows = chain([first], rows)
        copy: Any = load.copy_rows if is_binary else load.copy_texts
        values = self._values(rows if is_binary else self._texts(rows, source), columns)
        with self._explained(source.place(first.number)):
            loaded: int = copy(
                self._session,
                self._name,
                columns,
                values,
                on_conflict=self._on_conflict,
                progress=lambda done: progress(before + done),
            )
        return loaded

    def _rows(self, source: Rows, column_map: ColumnMap) -> Iterator[_Row]:
        columns = {name: column_map.column(name) for name in source.names or ()}
        nothing = "expected a value for a column, got none that is loaded"
        if source.names is not None:
            column_map.check_maps()
            if not any(columns.values()):
                raise SchemaMismatch(f"{source.path}: {nothing}")
        for number, row in source.rows:
            try:
                columns |= {name: column_map.column(name) for name in row if name not in columns}
                values = {column.name: value for name, value in row.items() if (column := columns[name])}
                if not values:
                    raise SchemaMismatch(nothing)
            except SchemaMismatch as error:
                raise SchemaMismatch(f"{source.place(number)}: {error}") from error
            yield _Row(number, values)
        column_map.check_maps()

    def _texts(self, rows: Iterable[_Row], source: Rows) -> Iterator[_Row]:
        """The rows with their values as texts."""
        writers = {name: text_writer(self.table, column) for name, column in self.columns.items()}
        for number, values in rows:
            try:
                texts = {
                    name: value
                    if value is None or (source.has_texts and isinstance(value, str))
                    else writers[name](value)
                    for name, value in values.items()
                }
            except (LightvecError, ValueError) as error:
                raise SchemaMismatch(f"{source.place(number)}: {error}") from error
            yield _Row(number, texts)

    def _values(self, rows: Iterable[_Row], columns: Sequence[str]) -> Iterator[list[Any]]:
        for row in rows:
            self.read += 1
            yield [row.values.get(name) for name in columns]

    @contextmanager
    def _explained(self, place: str) -> Iterator[None]:
        """Have errors of a COPY say where its first row is, and what helps."""
        try:
            yield
        except (InvalidVector, DatabaseError) as error:
            fields = getattr(error, "fields", None)
            if isinstance(fields, ErrorFields):
                fields.remedy = self._remedy(fields, place)
            elif isinstance(error, (InvalidVector, DataError)):
                raise SchemaMismatch(f"{place}: {error}") from error
            raise

    def _remedy(self, fields: ErrorFields, place: str) -> str | None:
        if fields.get("C") == _WRONG_OBJECT_TYPE:
            return "load the rows into the table behind it (and REFRESH MATERIALIZED VIEW)"
        parts = [f"{fields.remedy}, counted from {place}"] if fields.remedy else []
        if column := _COLUMN.search(fields.get("W", "")):
            parts.append(column[1])
        if fields.get("C") == _WRONG_BYTES:
            parts.append("save the file as UTF-8, with no zero characters in texts")
        if fields.get("C") == _UNIQUE_VIOLATION and self._on_conflict is None:
            parts.append("--on-conflict ignore keeps the row that exists, --on-conflict update overwrites it")
        return "; ".join(parts) or None


def _fits_binary(column: Column, value: Any) -> bool:
    if value is None:
        return True
    if column.vector is not None:
        return is_ndarray(value) or isinstance(value, list)
    if isinstance(value, datetime):
        return column.oid == TYPES["timestamp" if value.tzinfo is None else "timestamptz"].oid
    return column.oid in _BINARY.get(type(value), ())


def _with_vectors(rows: Iterable[_Row], column: str, matrix: Any) -> Iterator[_Row]:
    count = 0
    for count, row in enumerate(rows, 1):
        if count > len(matrix):
            raise SchemaMismatch(f"the file has more rows than the matrix, which has {len(matrix)}")
        yield _Row(row.number, {**row.values, column: matrix[count - 1]})
    if count < len(matrix):
        raise SchemaMismatch(f"the file has {count} rows and the matrix {len(matrix)}: expected as many")
