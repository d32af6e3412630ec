"""Files of rows and of vectors, by the ending of their names."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, TextIO
from zipfile import BadZipFile

from lightvec.errors import InvalidOption, MissingExtra

__all__ = ["FORMATS", "MATRICES", "STDIN", "Row", "Rows", "arrays", "format_of", "matrix", "rows_of", "standard_input"]

#: Formats of rows that are read as text, and those of whole arrays.
TEXTS, MATRICES = ("jsonl", "jsonl.gz", "csv"), ("npy", "npz")

FORMATS = (*TEXTS, *MATRICES, "parquet")

#: The path that means standard input.
STDIN = Path("-")

#: Rows of a Parquet file that are in memory at once, beside what its row groups need.
_BATCH = 1_024


class Row(NamedTuple):
    """A row by the file's names, and where it stands, counted from 1."""

    number: int
    values: dict[str, Any]


class Rows:
    """Rows as they are read.

    ``unit`` is what a row's number counts. ``cells`` says that every value is the text of a cell. ``names`` are the
    columns of all rows, where the file says so. ``part`` gives how much of the file is read, from 0 to 1, for the
    number of rows that were; None: nobody knows.
    """

    def __init__(
        self,
        rows: Iterator[Row],
        close: Callable[[], object],
        part: Callable[[int], float | None],
        *,
        unit: str = "line",
        cells: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        self.rows = rows
        self.part = part
        self.unit = unit
        self.cells = cells
        self.names = names
        self._close = close

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def format_of(path: Path, format: str | None = None) -> str:
    """One of ``FORMATS``, by the ending of the file's name; standard input is JSON lines unless ``format`` says
    otherwise."""
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffix).removeprefix(".").lower()
    found = format or ("jsonl" if path == STDIN else ending)
    if found not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InvalidOption(f"{path}: expected a file that ends in {endings}, or --format")
    if path == STDIN and found not in TEXTS:
        raise InvalidOption(f"expected {', '.join(TEXTS)} on standard input, got {found}: save it as a file first")
    return found


def rows_of(path: Path, format: str, *, is_wanted: Callable[[str], bool] = bool, vectors: Collection[str] = ()) -> Rows:
    """The rows of a file in one of ``FORMATS`` that has rows.

    They are read as they are asked for. Numbers with a fraction are :class:`~decimal.Decimal`, as exact as they were
    written, but for those in the columns that are named as ``vectors``. Of a Parquet file only the columns that
    ``is_wanted`` are read.
    """
    if format == "parquet":
        return _parquet(path, is_wanted)
    file = standard_input().buffer if path == STDIN else path.open("rb")
    size = None if path == STDIN else path.stat().st_size

    def part(_: int) -> float | None:
        return file.tell() / size if size and not file.closed else None

    if format == "csv":
        return Rows(_csv(file, path), file.close, part, cells=True)
    read = _json_lines if format == "jsonl" else _json_lines_gz
    return Rows(read(file, path, frozenset(vectors)), file.close, part)


def standard_input() -> TextIO:
    """Standard input, unless it was closed (``<&-``)."""
    if sys.stdin is None:
        raise InvalidOption("expected something on standard input, which is closed")
    return sys.stdin


# Arrays


def matrix(path: Path) -> Any:
    """The matrix in a .npy file, one row a vector; it is mapped, not read."""
    numpy = _numpy(path)
    try:
        found = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        # NumPy's own words take whatever it cannot read for a pickle, and advise to load that.
        raise InvalidOption(f"{path}: expected a .npy file of numbers, as numpy.save(FILE, MATRIX) writes") from error
    if getattr(found, "ndim", 0) != 2:
        shape = getattr(found, "shape", "of several arrays")
        raise InvalidOption(f"{path}: expected a matrix of one row a vector, got the shape {shape}")
    return found


def arrays(path: Path) -> dict[str, Any]:
    """The arrays in a .npz file by their names, all of one length."""
    numpy = _numpy(path)
    try:
        # Opened here: NumPy leaves a file open that turns out to be broken.
        with path.open("rb") as file:
            found = numpy.load(file, allow_pickle=False)
            named = {name: found[name] for name in found.files} if hasattr(found, "files") else None
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InvalidOption(
            f"{path}: expected a .npz file of numbers and texts, as numpy.savez(FILE, COLUMN=ARRAY) writes"
        ) from error
    if named is None:
        raise InvalidOption(f"{path}: expected a .npz file of arrays, got a single array: name it .npy")
    lengths = {name: len(array) if array.ndim else None for name, array in named.items()}
    if not named or None in lengths.values() or len(set(lengths.values())) > 1:
        raise InvalidOption(f"{path}: expected arrays of one length, a row a value or a vector, got {lengths}")
    return named


def _numpy(path: Path) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", f"reading {path.name}") from error
    return numpy


# JSON lines


def _json_lines(file: Iterable[bytes], path: Path, vectors: frozenset[str]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield Row(number, _object(line, f"{path}, line {number}", vectors))


def _json_lines_gz(file: BinaryIO, path: Path, vectors: frozenset[str]) -> Iterator[Row]:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from _json_lines(unpacked, path, vectors)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _object(line: bytes, where: str, vectors: frozenset[str]) -> dict[str, Any]:
    try:
        value = json.loads(line)
        # Of 384 numbers, exact ones take three times as long to read; in a vector they would be rounded anyway.
        if isinstance(value, dict) and any(map(_has_fraction, _others(value, vectors))):
            exact = json.loads(line, parse_float=Decimal)
            value = {name: value[name] if name in vectors else exact[name] for name in value}
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise InvalidOption(f"{where}: expected a JSON object, got {type(value).__name__}")
    if not value:
        raise InvalidOption(f"{where}: expected a JSON object with a value for a column, got an empty one")
    return value


def _others(values: dict[str, Any], vectors: frozenset[str]) -> Iterator[Any]:
    return (value for name, value in values.items() if name not in vectors)


def _has_fraction(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_fraction, value.values()))
    return isinstance(value, float) or (isinstance(value, list) and any(map(_has_fraction, value)))


# CSV


#: The most characters of a cell: PostgreSQL holds no longer value. Python's own limit is 131,072, and a vector of
#: 16,000 dimensions takes up to three times as many.
_LONGEST_CELL = 1 << 30


def _csv(file: BinaryIO, path: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header; an empty cell is NULL."""
    usual = csv.field_size_limit(_LONGEST_CELL)
    try:
        with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
            reader = csv.DictReader(_of_utf8(text, path), strict=True)
            try:
                yield from _csv_rows(reader, path)
            except csv.Error as error:
                # Not DictReader's own number, which is that of the last whole row.
                line = reader.reader.line_num
                raise InvalidOption(f"{path}, line {line}: expected CSV, with quotes around a cell: {error}") from error
    finally:
        csv.field_size_limit(usual)


def _csv_rows(reader: csv.DictReader[str], path: Path) -> Iterator[Row]:
    names = reader.fieldnames or ()
    _check_headings(names, path)
    for row in reader:
        if None in row or None in row.values():
            raise InvalidOption(f"{path}, line {reader.line_num}: expected {len(names)} cells")
        yield Row(reader.line_num, {name: value or None for name, value in row.items()})


def _of_utf8(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The lines, of which none has bytes that are no UTF-8: those came as surrogates, so that their line is known."""
    for number, line in enumerate(lines, 1):
        try:
            line.isascii() or line.encode()
        except UnicodeEncodeError as error:
            byte = ord(line[error.start]) - 0xDC00
            raise InvalidOption(
                f"{path}, line {number}: expected CSV in UTF-8, got the byte {byte:#04x}: save it as UTF-8"
            ) from error
        yield line


def _check_headings(names: Sequence[str], path: Path) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InvalidOption(
            f"{path}: expected each column once, got the heading {twice[0]!r} more than once: rename one"
        )


# Parquet


def _parquet(path: Path, is_wanted: Callable[[str], bool]) -> Rows:
    """Rows of a Parquet file, a batch at a time; lists of numbers are arrays where NumPy is there."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("parquet", f"reading {path.name}") from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidOption(f"{path}: expected a Parquet file: {error}") from error
    schema = file.schema_arrow
    _check_headings(schema.names, path)
    names = [name for name in schema.names if is_wanted(name)]
    # A dot in a name would mean a column inside another one.
    columns = None if any("." in name for name in names) else names

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(_BATCH, columns=columns):
                values = [_column(pyarrow, batch.column(batch.schema.get_field_index(name))) for name in names]
                for row in zip(*values, strict=True):
                    number += 1
                    yield Row(number, dict(zip(names, row, strict=True)))
        except (pyarrow.ArrowException, OSError) as error:
            raise InvalidOption(f"{path}, behind row {number:,}: expected a whole Parquet file: {error}") from error

    count = file.metadata.num_rows
    return Rows(
        rows(),
        file.close,
        lambda done: done / count if count else None,
        unit="row",
        names=names,
    )


def _is_list(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _column(pyarrow: Any, array: Any) -> Sequence[Any]:
    """The values of a column as Python has them."""
    kind = array.type
    if _is_list(pyarrow, kind) and pyarrow.types.is_floating(kind.value_type):
        return _vectors(array)
    if pyarrow.types.is_timestamp(kind):
        # Python has no nanoseconds, and of time zones UTC only is sure to be there.
        array = array.cast(pyarrow.timestamp("us", "UTC" if kind.tz else None), safe=False)
    values: list[Any] = array.to_pylist()
    return values


def _vectors(array: Any) -> Sequence[Any]:
    """Vectors of one length as the rows of a matrix."""
    values = array.flatten()
    width, rest = divmod(len(values), max(len(array), 1))
    is_even = not (array.null_count or values.null_count or rest) and set(array.value_lengths().to_pylist()) <= {width}
    try:
        import numpy  # noqa: F401  (to_numpy needs it)
    except ImportError:
        is_even = False
    rows: Sequence[Any] = (
        values.to_numpy(zero_copy_only=False).reshape(len(array), width) if is_even else array.to_pylist()
    )
    return rows
