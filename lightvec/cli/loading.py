"""Rows of a file into a table by COPY: which value goes where, and what is said of one that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from peewee import Model

from lightvec.cli.files import Row, Rows
from lightvec.cli.values import Convert, at_fault, converter, is_read_here, needs_server
from lightvec.errors import InvalidOption, InvalidVector, LightvecError, SchemaMismatch
from lightvec.peewee import Pg8000Database
from lightvec.pg8000.exceptions import DatabaseError, DataError, ErrorFields
from lightvec.wire.copy import load
from lightvec.wire.copy.target import Column, look_up
from lightvec.wire.identifiers import identifier

__all__ = ["Loading", "Mapped"]

Progress = Callable[[int], object]

_UNIQUE_VIOLATION, _WRONG_OBJECT_TYPE = "23505", "42809"

#: Rows that are looked at before anything is sent.
_AHEAD = 100

_NOTHING = "expected a value for a column, got none that is loaded"

#: Columns that get a value of their own where a row has none: a default, of their type too, or a counter.
_DEFAULTED = """\
SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL)"""


class Loading:
    """A load into one table, inside a transaction; ``read`` counts the rows."""

    def __init__(self, database: Pg8000Database, model: type[Model], on_conflict: str | None) -> None:
        meta: Any = model._meta
        self.name: str = meta.table_name
        self._table = (meta.schema, meta.table_name) if meta.schema else meta.table_name
        self._conn: Any = database.connection().session
        found = look_up(self._conn, self._table, list(meta.columns)).columns
        self.known = {column.name: column for column in found}
        qualified = identifier(*filter(None, (meta.schema, meta.table_name)))
        self._defaulted = {name for (name,) in database.execute_sql(_DEFAULTED, (qualified,)).fetchall()}
        self._on_conflict = on_conflict
        self.read = 0

    def columns(self, named: dict[str, Any], file: Path, progress: Progress) -> int:
        """Load whole arrays by the names of their columns; how many rows went in."""
        if not named:
            raise SchemaMismatch(f"{file}: expected an array for a column of {self.name}, got none")
        self.read = len(next(iter(named.values())))
        try:
            return load.copy_columns(self._conn, self._table, named, on_conflict=self._on_conflict, progress=progress)
        except (InvalidVector, DataError) as error:
            if getattr(error, "fields", None):
                raise
            raise SchemaMismatch(f"{file}: {error}") from error

    def rows(
        self, source: Rows, mapped: Mapped, file: Path, vectors: tuple[str, Any] | None, progress: Progress
    ) -> int:
        """Load rows, of which ``vectors`` may be those of one column; how many went in.

        A COPY has one list of columns. A row that leaves out a column with a default ends it, so that it gets that; one
        that leaves out another gets NULL, as by INSERT. Where rows are written over, a column that is left out stays as
        it is, so that each list of columns is a COPY of its own.
        """
        if source.names is not None and not source.names:
            raise SchemaMismatch(f"{file}: {_NOTHING}")
        values = _Values(self, source, mapped, file)
        rows: Iterator[_Placed] = iter(values if vectors is None else _with_vectors(values, *vectors))
        ahead = list(islice(rows, _AHEAD))
        if source.names is not None:
            mapped.check_used()
        rows = _to_the_end(chain(ahead, rows), mapped)
        is_exact = self._on_conflict == "update"
        without = {} if is_exact else self._without_default(name for row in ahead for name in row.values)
        loaded, row = 0, next(rows, None)
        while row is not None:
            names = dict.fromkeys(row.values)
            if not is_exact:
                without |= self._without_default(names)
                names |= without
            columns = [self.known[name] for name in names]
            piece = _Piece(row, rows, columns, set(names) if is_exact else self._defaulted & set(names))
            loaded += self._copy(piece, values, progress)
            self.read += piece.count
            row = piece.next
        return loaded

    def _without_default(self, names: Iterable[str]) -> dict[str, None]:
        return {name: None for name in names if name not in self._defaulted}

    def _copy(self, piece: _Piece, values: _Values, progress: Progress) -> int:
        before = self.read
        try:
            return load.copy_rows(
                self._conn,
                self._table,
                piece.names,
                piece,
                on_conflict=self._on_conflict,
                as_text=piece.is_text,
                progress=lambda done: progress(before + done),
            )
        except (InvalidVector, DatabaseError) as error:
            fields = getattr(error, "fields", None)
            if isinstance(fields, ErrorFields) and fields.remedy and before:
                fields.remedy += f", counted from {values.place(piece.first.number)}"
            self._advise(fields)
            if fields or not isinstance(error, (InvalidVector, DataError)):
                raise
            what = at_fault(self.name, piece.columns, piece.row) or str(error)
            raise SchemaMismatch(f"{values.place(piece.last.number)}: {what}") from error

    def _advise(self, fields: Any) -> None:
        """Say which option helps, or where rows can go."""
        if not isinstance(fields, ErrorFields):
            return
        told = [fields.remedy] if fields.remedy else []
        if fields.get("C") == _UNIQUE_VIOLATION and self._on_conflict is None:
            told.append("--on-conflict ignore leaves the row that is there, --on-conflict update writes over it")
        elif fields.get("C") == _WRONG_OBJECT_TYPE:
            told.append("load the rows into the table behind it (and REFRESH MATERIALIZED VIEW)")
        fields.remedy = "; ".join(told) or None


def _to_the_end(rows: Iterable[_Placed], mapped: Mapped) -> Iterator[_Placed]:
    """The rows, and behind them, before anything is committed, a look at what they were to have."""
    yield from rows
    mapped.check_used()


class _Placed(NamedTuple):
    """A row by the table's columns, and where it stands in the file."""

    number: int
    values: dict[str, Any]


class _Piece:
    """The rows that one COPY takes, as it takes them; ``next`` is then the first one that it does not.

    A text that only the server can read ends a binary COPY, which is many times as quick, and begins one of text, which
    takes all that follows.
    """

    def __init__(self, first: _Placed, rows: Iterator[_Placed], columns: Sequence[Column], needed: set[str]) -> None:
        self.first = self.last = first
        self.row: Sequence[Any] = ()
        self.count = 0
        self.next: _Placed | None = None
        self.columns = columns
        self.names = [column.name for column in columns]
        self._unsure = [column for column in columns if column.element_oid or not is_read_here(column)]
        self.is_text = self._needs_server(first.values)
        self._rows = rows
        self._all = frozenset(self.names)
        self._needed = needed

    def __iter__(self) -> Iterator[Sequence[Any]]:
        names, columns, needed = self.names, self._all, self._needed
        for placed in chain([self.first], self._rows):
            values = placed.values
            fits = values.keys() <= columns and needed <= values.keys()
            if not fits or (not self.is_text and self._needs_server(values)):
                self.next = placed
                return
            self.last, self.count = placed, self.count + 1
            self.row = [values.get(name) for name in names]
            yield self.row

    def _needs_server(self, values: dict[str, Any]) -> bool:
        return any(needs_server(column, values.get(column.name)) for column in self._unsure)


class _Values:
    """The rows of a file by the table's columns, as COPY takes their values."""

    def __init__(self, loading: Loading, source: Rows, mapped: Mapped, file: Path) -> None:
        self._loading = loading
        self._source = source
        self._mapped = mapped
        self._file = file
        self._ways: dict[str, tuple[str, Convert | None] | None] = {}

    def __iter__(self) -> Iterator[_Placed]:
        for row in self._source.rows:
            yield _Placed(row.number, self._converted(row))

    def place(self, number: int) -> str:
        """Where a row is."""
        return f"{self._file}, {self._source.unit} {number:,}"

    def _converted(self, row: Row) -> dict[str, Any]:
        values: dict[str, Any] = {}
        try:
            for name, value in row.values.items():
                way = self._ways[name] if name in self._ways else self._way(name)
                if way is not None:
                    column, convert = way
                    values[column] = value if value is None or convert is None else convert(value)
        except LightvecError as error:
            raise SchemaMismatch(f"{self.place(row.number)}: {error}") from error
        if not values:
            raise SchemaMismatch(f"{self.place(row.number)}: {_NOTHING}")
        return values

    def _way(self, name: str) -> tuple[str, Convert | None] | None:
        """The column that a name of the file stands for, and what its values go through."""
        column = self._mapped.place(name)
        way = None
        if column is not None:
            way = (column.name, converter(self._loading.name, column, cells=self._source.cells))
        self._ways[name] = way
        return way


def _with_vectors(values: _Values, column: str, vectors: Any) -> Iterator[_Placed]:
    loading = values._loading
    convert = converter(loading.name, loading.known[column], cells=False)
    assert convert is not None, "the column is one of vectors"
    count = 0
    for count, row in enumerate(values, 1):
        if count > len(vectors):
            raise SchemaMismatch(f"the file has more rows than the matrix, which has {len(vectors)}")
        yield _Placed(row.number, {**row.values, column: convert(vectors[count - 1])})
    if count < len(vectors):
        raise SchemaMismatch(f"the file has {count} rows and the matrix {len(vectors)}: they do not belong together")


class Mapped:
    """Which names of a file stand for which columns of the table."""

    def __init__(self, loading: Loading, maps: Sequence[str], skips: Sequence[str], only: bool) -> None:
        self._loading = loading
        self._maps = dict(_map(each, loading.known) for each in maps)
        if len(self._maps) < len(maps):
            raise InvalidOption("expected each name of the file in one --map")
        self._skips = frozenset(skips)
        self._only = only
        self._taken: dict[str, str] = {}

    @property
    def vectors(self) -> frozenset[str]:
        """The names of the file that stand for dense vectors."""
        own = {name: name for name in self._loading.known} | self._maps
        dense = ("vector", "halfvec", "sparsevec")
        known = self._loading.known
        return frozenset(
            name for name, column in own.items() if known[column].vector in dense and not known[column].element_oid
        )

    def is_wanted(self, name: str) -> bool:
        """Whether this name of the file is loaded."""
        return name not in self._skips and (name in self._maps or not self._only)

    def place(self, name: str) -> Column | None:
        """The column that it is loaded into; None where it is not."""
        if not self.is_wanted(name):
            return None
        column = self._loading.known.get(self._maps.get(name, name))
        if column is None and not name:
            raise SchemaMismatch(
                "the file has a column without a name: --skip '' leaves it out; to load it, give it a name there"
            )
        if column is None:
            raise SchemaMismatch(
                f"the file has {name!r}, and the table {self._loading.name} no such column: it has "
                f"{', '.join(self._loading.known)} (--map {name}:COLUMN loads it into one, --skip {name} leaves it out)"
            )
        other = self._taken.setdefault(column.name, name)
        if other != name:
            raise SchemaMismatch(f"the file has {other!r} and {name!r} for the column {column.name}: skip one of them")
        return column

    def check_used(self) -> None:
        """Refuse a map of what the file does not have, once something of it was read."""
        unused = [name for name in self._maps if name not in self._taken.values() and name not in self._skips]
        if unused and (self._taken or self._only):
            raise SchemaMismatch(f"the file has no {unused[0]!r}, which --map names")


def _map(text: str, known: dict[str, Column]) -> tuple[str, str]:
    """NAME:COLUMN, of which both may hold colons: the part behind one must be a column."""
    places = [place for place, letter in enumerate(text) if letter == ":" and place and text[place + 1 :] in known]
    if len(places) != 1:
        which = "which of the colons is it" if places else f"the columns are {', '.join(known)}"
        raise InvalidOption(f"--map {text}: expected NAME:COLUMN, with a column of the table ({which})")
    return text[: places[0]], text[places[0] + 1 :]
