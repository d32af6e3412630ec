"""Rows and arrays of a file into a table by COPY."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from peewee import Model

from lightvec.cli.arrow_files import arrow_rows
from lightvec.cli.column_texts import JSON, is_json, needs_numbers, rewrites_texts, text_writer
from lightvec.cli.exports import EXPORTS
from lightvec.cli.files import ARRAYS, TEXTS, Rows, text_rows
from lightvec.cli.json_objects import JsonObjects
from lightvec.cli.vector_files import arrays, matrix
from lightvec.errors import InvalidOption, InvalidVector, LightvecError, SchemaMismatch
from lightvec.peewee import Pg8000Database
from lightvec.pg8000 import Jsonb
from lightvec.pg8000.exceptions import DatabaseError, DataError, ErrorFields
from lightvec.types.inputs import is_ndarray
from lightvec.wire.copy import load
from lightvec.wire.copy.target import Column, describe_target
from lightvec.wire.datatypes import TYPES, oids
from lightvec.wire.identifiers import identifier

#: A row's number in the file, and its values by the table's columns.
_Row = tuple[int, dict[str, Any]]

_UNIQUE_VIOLATION, _WRONG_OBJECT_TYPE, _WRONG_BYTES = "23505", "42809", "22021"

#: The column types that binary COPY takes a Python value for.
_BINARY: dict[type, tuple[int, ...]] = {
    bool: oids("bool"),
    int: oids("int2", "int4", "int8", "oid", "float4", "float8", "numeric"),
    float: oids("float4", "float8"),
    Decimal: oids("numeric"),
    str: oids("text", "bpchar", "varchar"),
    bytes: oids("bytea"),
    date: oids("date"),
}

#: Columns that have a default, their own or their type's, or are an identity.
_DEFAULTS = """\
SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL)"""


class ColumnMap:
    """``--map``, ``--skip`` and ``--only``: which column a name in the file is loaded into."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        maps: Sequence[str],
        skips: Sequence[str],
        only: bool,
        rest: str | None = None,
        usual: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.table, self.columns, self.rest = table, columns, rest
        self.maps = dict(_parse(each, columns) for each in maps)
        if len(self.maps) < len(maps):
            raise InvalidOption("expected each name of the file in one --map")
        self._skips = frozenset(skips)
        self._only = only
        self._usual = usual
        self._sources: dict[str, str] = {}

    def is_loaded(self, name: str) -> bool:
        is_named = name in self.maps or name == self.rest
        return name not in self._skips and (is_named or not self._only)

    def column(self, name: str) -> str | None:
        """None if the options leave this name out."""
        if not self.is_loaded(name):
            return None
        column = self.maps.get(name, self._usual.get(name, name))
        if column not in self.columns:
            raise SchemaMismatch(self._no_column(name))
        source = self._sources.setdefault(column, name)
        if source != name:
            both = f"{source!r} and {name!r}"
            raise SchemaMismatch(f"the file has {both} for the column {column}: skip one of them")
        return column

    def _no_column(self, name: str) -> str:
        if not name:
            return "the file has a column without a name: name it, or leave it out with --skip ''"
        if any("\udc80" <= letter <= "\udcff" for letter in name):
            return f"expected names in UTF-8, got {name!r}: save the file as UTF-8"
        return (
            f"the file has {name!r}, and the table {self.table} no such column: it has "
            f"{', '.join(self.columns)} (--map {name}:COLUMN loads it into one, "
            f"--skip {name} leaves it out)"
        )

    def objects(self, columns: Iterable[Column], in_binary: bool, is_export: bool) -> JsonObjects:
        """How the objects of a JSON file become rows."""
        sources = {name: name for name in self.columns} | {**self._usual, **self.maps}
        found = {column.name: column for column in columns}
        of_json = [name for name, column in found.items() if column.oid in JSON]
        if self.rest is not None and self.rest not in of_json:
            listed = ", ".join(of_json) or "none"
            raise InvalidOption(f"--rest {self.rest}: expected a column of JSON, of: {listed}")
        paths = [name for name in (*self.maps, *self._skips) if "." in name]
        texts = {
            name
            for name, to in sources.items()
            if to in of_json and not any(f"{path}.".startswith(f"{name}.") for path in paths)
        }
        texts = set() if is_export else texts - {self.rest}
        needing = {name for name, to in sources.items() if needs_numbers(found[to], in_binary)}
        names = {name for name in (*sources, *self._skips, *paths) if self.is_loaded(name)}
        return JsonObjects(
            numbers=needing - texts,
            texts=texts,
            paths=paths,
            names=(names | self._skips) - {self.rest},
            rest=self.rest,
        )

    def check_maps(self) -> None:
        """Refuse a ``--map`` of a name that the file did not have."""
        found = {*self._sources.values(), *self._skips}
        unused = [name for name in self.maps if name not in found]
        if unused and (self._sources or self._only):
            raise SchemaMismatch(f"the file has no {unused[0]!r}, which --map names")


class _Places:
    """Where in the file the rows of one COPY are, which the server counts from 1.

    Only the last breaks in the sequence are kept: the server lags by a few buffers at most.
    """

    def __init__(self, source: Rows) -> None:
        self.count = 0
        self._source = source
        self._last = 0
        self._starts: deque[tuple[int, int]] = deque(maxlen=100_000)

    def add(self, number: int) -> None:
        self.count += 1
        if not self._starts or number != self._last + 1:
            self._starts.append((self.count, number))
        self._last = number

    def of(self, row: int) -> str:
        starts = (start for start in reversed(self._starts) if start[0] <= row)
        first, number = next(starts, (row, row))
        return self._source.place(number + row - first)


class Loader:
    """Loads a file into a table; ``read`` counts the rows of the file."""

    def __init__(
        self,
        database: Pg8000Database,
        model: type[Model],
        column_map: ColumnMap,
        on_conflict: str | None,
        progress: Callable[[int, float | None], object],
    ) -> None:
        meta: Any = model._meta
        self._name: Any = tuple(filter(None, (meta.schema, meta.table_name)))
        self._session: Any = database.connection().session
        found = describe_target(self._session, self._name, column_map.columns).columns
        self._columns = {column.name: column for column in found}
        rows = database.execute_sql(_DEFAULTS, (identifier(*self._name),)).fetchall()
        self._defaults = {name for (name,) in rows}
        self._map = column_map
        self._on_conflict = on_conflict
        self._progress = progress
        self.read = 0

    def _load_arrays(self, file: Path, format: str, column: str | None) -> int:
        if column is not None:
            found = {column: matrix(file, format)}
        else:
            named = arrays(file, format, [*self._map.maps])
            found = {to: each for name, each in named.items() if (to := self._map.column(name))}
            self._map.check_maps()
        if not found:
            wanted = f"an array for a column of {self._map.table}"
            raise SchemaMismatch(f"{file}: expected {wanted}, got none")
        self.read = count = len(next(iter(found.values())))
        for name, values in found.items():
            if values.dtype.kind == "S":
                found[name] = values = _decoded(values, name, self._columns[name], file)
            if is_json(self._columns[name]) and values.dtype.kind == "U":
                found[name] = [Jsonb(text, dumps=str) for text in values.tolist()]
        with self._explained(file):
            return load.copy_columns(
                self._session,
                self._name,
                found,
                on_conflict=self._on_conflict,
                progress=lambda done: self._progress(done, done / count if count else None),
            )

    def load(
        self,
        file: Path,
        format: str,
        column: str | None,
        vectors: Path | None,
        delimiter: str | None,
        null: str,
    ) -> int:
        """Load the file, with ``vectors`` for the column; the number of rows inserted or updated.

        A new COPY begins where the columns change: one that a row leaves out gets its default, or
        by an update keeps its value.
        """
        if format in ARRAYS:
            return self._load_arrays(file, format, column)
        if format in TEXTS:
            columns = self._columns.values()
            objects = self._map.objects(columns, bool(vectors), format in EXPORTS)
            source = text_rows(file, format, column, objects, delimiter, null)
        else:
            source = arrow_rows(file, format, self._map.is_loaded)
        is_binary = source.is_binary or bool(vectors)
        nullable: set[str] = set()

        def copy_of(row: _Row) -> tuple[bool, frozenset[str]]:
            # All that follows a text COPY is text.
            nonlocal is_binary
            values = row[1]
            fits = (_fits_binary(self._columns[name], value) for name, value in values.items())
            is_binary = is_binary and all(fits)
            if self._on_conflict != "update":
                nullable.update(values.keys() - self._defaults)
            return is_binary, frozenset(nullable.union(values))

        with closing(source):
            rows = self._rows(source)
            if vectors and column:
                rows = _with_vectors(rows, column, matrix(vectors))
            copies = groupby(rows, copy_of)
            return sum(self._copy(*key, group, source) for key, group in copies)

    def _copy(
        self,
        is_binary: bool,
        names: frozenset[str],
        rows: Iterable[_Row],
        source: Rows,
    ) -> int:
        columns, before, places = sorted(names), self.read, _Places(source)

        def fields() -> Iterator[list[Any]]:
            for number, values in rows:
                places.add(number)
                self.read += 1
                yield [values.get(name) for name in columns]

        if not is_binary:
            rows = self._texts(rows, source)
        copy: Callable[..., int] = load.copy_rows if is_binary else load.copy_texts

        def show(done: int) -> None:
            self._progress(before + done, source.read_part(before + done))

        with self._explained(source.path, places):
            session, table, conflict = self._session, self._name, self._on_conflict
            return copy(session, table, columns, fields(), on_conflict=conflict, progress=show)

    def _rows(self, source: Rows) -> Iterator[_Row]:
        columns = {name: self._map.column(name) for name in source.names or ()}
        nothing = "expected a value for a column, got none that is loaded"
        if source.names is not None:
            self._map.check_maps()
            if not any(columns.values()):
                raise SchemaMismatch(f"{source.path}: {nothing}")
        for number, row in source.rows:
            try:
                columns |= {name: self._map.column(name) for name in row if name not in columns}
                values = {to: value for name, value in row.items() if (to := columns[name])}
                if not values:
                    raise SchemaMismatch(nothing)
            except SchemaMismatch as error:
                raise SchemaMismatch(f"{source.place(number)}: {error}") from error
            yield number, values
        self._map.check_maps()

    def _texts(self, rows: Iterable[_Row], source: Rows) -> Iterator[_Row]:
        columns, table, is_text = self._columns.items(), self._map.table, not source.is_json
        writers = {name: text_writer(f"{table}.{name}", each, is_text) for name, each in columns}
        rewritten = {name for name, each in columns if not is_text and rewrites_texts(each)}
        for number, values in rows:
            try:
                texts = {
                    name: value
                    if value is None or (isinstance(value, str) and name not in rewritten)
                    else writers[name](value)
                    for name, value in values.items()
                }
            except (LightvecError, ValueError) as error:
                raise SchemaMismatch(f"{source.place(number)}: {error}") from error
            yield number, texts

    @contextmanager
    def _explained(self, file: Path, places: _Places | None = None) -> Iterator[None]:
        """Add the row in the file and a remedy to an error of a COPY."""
        try:
            yield
        except (InvalidVector, DatabaseError) as error:
            fields = getattr(error, "fields", None)
            if isinstance(fields, ErrorFields):
                fields.remedy = self._remedy(fields, file, places)
            elif isinstance(error, (InvalidVector, DataError)):
                place, text = str(file), str(error)
                if places is not None:
                    # A row is encoded as soon as it is read.
                    place = places.of(places.count)
                    text = text.removeprefix(f"row {places.count:,}").lstrip(",: ")
                raise SchemaMismatch(f"{place}: {text}") from error
            raise

    def _remedy(self, fields: ErrorFields, file: Path, places: _Places | None) -> str | None:
        code, remedy = fields.get("C"), fields.remedy
        if code == _WRONG_OBJECT_TYPE:
            return "load the rows into the table behind it (and REFRESH MATERIALIZED VIEW)"
        parts: list[str | None] = []
        if context := load.row_context(fields):
            row = int(context[1])
            place = places.of(row) if places else f"{file}, row {row:,}"
            parts.append(f"{place}, {context[2]}" if context[2] else place)
            if remedy == f"it was row {row:,} of the load":
                remedy = None
        parts.append(remedy)
        if code == _WRONG_BYTES:
            parts.append("save the file as UTF-8, with no zero characters in texts")
        if code == _UNIQUE_VIOLATION and self._on_conflict is None:
            keeps = "--on-conflict ignore keeps the row that exists"
            parts.append(f"{keeps}, --on-conflict update overwrites it")
        return "; ".join(filter(None, parts)) or None


def _decoded(values: Any, name: str, column: Column, file: Path) -> Any:
    """An array of bytes as one of texts; NumPy drops the zeros at the end of bytes."""
    import numpy

    if column.oid in oids("bytea"):
        raise SchemaMismatch(
            f"{file}: {name} is bytea, got an array of {values.dtype}, which has lost zeros at the "
            f"end of its values: load them from Parquet"
        )
    try:
        return numpy.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        wanted = f"{name} is {column.type}, which needs bytes in UTF-8"
        raise SchemaMismatch(f"{file}: {wanted}, got others: {error}") from error


def _fits_binary(column: Column, value: Any) -> bool:
    if value is None:
        return True
    if column.vector is not None:
        return is_ndarray(value) or isinstance(value, list)
    if isinstance(value, datetime):
        return column.oid == TYPES["timestamp" if value.tzinfo is None else "timestamptz"].oid
    return column.oid in _BINARY.get(type(value), ())


def _with_vectors(rows: Iterable[_Row], column: str, matrix: Any) -> Iterator[_Row]:
    wanted, count = len(matrix), 0
    for count, (number, values) in enumerate(rows, 1):
        if count > wanted:
            break
        yield number, {**values, column: matrix[count - 1]}
    if count != wanted:
        got = "more" if count > wanted else count
        raise SchemaMismatch(f"expected as many rows as the matrix, {wanted}, got {got}")


def _parse(text: str, columns: Sequence[str]) -> tuple[str, str]:
    # Both may hold colons.
    colons = (at for at, letter in enumerate(text) if letter == ":" and at)
    splits = [(text[:at], text[at + 1 :]) for at in colons if text[at + 1 :] in columns]
    if len(splits) != 1:
        why = "which of the colons is it" if splits else f"the columns are {', '.join(columns)}"
        wanted = "NAME:COLUMN, with a column of the table"
        raise InvalidOption(f"--map {text}: expected {wanted} ({why})")
    return splits[0]
