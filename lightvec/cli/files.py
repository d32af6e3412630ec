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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO
from zipfile import BadZipFile

from lightvec.errors import InvalidOption, MissingExtra

__all__ = ["FORMATS", "MATRICES", "STDIN", "Rows", "arrays", "format_of", "matrix", "rows_of", "standard_input"]

#: Formats of rows that are read as text, and those of whole arrays.
TEXTS, MATRICES = ("jsonl", "jsonl.gz", "csv"), ("npy", "npz")

FORMATS = (*TEXTS, *MATRICES, "parquet")

#: The path that means standard input.
STDIN = Path("-")

#: Rows of a Parquet file converted at once.
_BATCH = 1_024


@dataclass
class Rows:
    """The rows of a file with their numbers, as they are read; closed as a context manager.

    ``unit`` is what the numbers count. ``names`` are the columns, where the file lists them. ``has_texts`` says that
    every value is a text (CSV), ``is_binary`` that it has a type of its own (Parquet). ``read_part`` gives the part of
    the file that is read, from 0 to 1, for a number of rows; None if that is unknown.
    """

    path: Path
    rows: Iterator[tuple[int, dict[str, Any]]]
    close: Callable[[], object]
    read_part: Callable[[int], float | None]
    unit: str = "line"
    names: Sequence[str] | None = None
    has_texts: bool = False
    is_binary: bool = False

    def place(self, number: int) -> str:
        """Where a row is, for errors."""
        return f"{self.path}, {self.unit} {number:,}"

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def rows_of(path: Path, format: str, *, is_loaded: Callable[[str], bool], with_numbers: Collection[str] = ()) -> Rows:
    """The rows of a file in one of ``FORMATS`` that has rows.

    Numbers of JSON are texts, exactly as written, but for the names ``with_numbers``. Of a Parquet file only the
    columns that ``is_loaded`` are read.
    """
    if format == "parquet":
        return _parquet(path, is_loaded)
    file = standard_input().buffer if path == STDIN else path.open("rb")
    size = None if path == STDIN else path.stat().st_size

    def read_part(_: int) -> float | None:
        return file.tell() / size if size and not file.closed else None

    if format == "csv":
        return _csv(file, path, read_part)
    read = _json_lines if format == "jsonl" else _json_lines_gz
    return Rows(path, read(file, path, frozenset(with_numbers)), file.close, read_part)


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


def _json_lines(
    file: Iterable[bytes], path: Path, with_numbers: frozenset[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, _object(line, f"{path}, line {number:,}", with_numbers)


def _json_lines_gz(file: BinaryIO, path: Path, with_numbers: frozenset[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from _json_lines(unpacked, path, with_numbers)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _object(line: bytes, where: str, with_numbers: frozenset[str]) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        if isinstance(found, dict) and not with_numbers.isdisjoint(found):
            found |= {name: value for name, value in json.loads(line).items() if name in with_numbers}
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(found, dict) or not found:
        got = type(found).__name__ if found else f"an empty {type(found).__name__}"
        raise InvalidOption(f"{where}: expected a JSON object with a value for a column, got {got}")
    return found


# CSV


#: The most characters of a cell: PostgreSQL holds no longer value. Python's own limit is 131,072, and a vector of
#: 16,000 dimensions takes up to three times as many.
_LONGEST_CELL = 1 << 30


def _csv(file: BinaryIO, path: Path, read_part: Callable[[int], float | None]) -> Rows:
    """Rows of a CSV file with a header; an empty cell is NULL. Bytes that are not UTF-8 are the server's to refuse."""
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    lines = _csv_lines(reader, path)
    try:
        _, names = next(lines, (0, []))
        _check_headings(names, path)
    except InvalidOption:
        text.close()
        raise
    return Rows(path, _csv_rows(lines, names, path), text.close, read_part, names=names or None, has_texts=True)


def _csv_lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    usual = csv.field_size_limit(_LONGEST_CELL)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise InvalidOption(
            f"{path}, line {reader.line_num:,}: expected CSV, with quotes around a cell: {error}"
        ) from error
    finally:
        csv.field_size_limit(usual)


def _csv_rows(
    lines: Iterable[tuple[int, list[str]]], names: Sequence[str], path: Path
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, cells in lines:
        if len(cells) != len(names):
            raise InvalidOption(f"{path}, line {number:,}: expected {len(names)} cells, got {len(cells)}")
        yield number, {name: cell or None for name, cell in zip(names, cells, strict=True)}


def _check_headings(names: Sequence[str], path: Path) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InvalidOption(
            f"{path}: expected each column once, got the heading {twice[0]!r} more than once: rename one"
        )


# Parquet


def _parquet(path: Path, is_loaded: Callable[[str], bool]) -> Rows:
    """Rows of a Parquet file, read in batches; lists of numbers are arrays if NumPy is installed."""
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
    names = [name for name in schema.names if is_loaded(name)]
    # A dot in a name would mean a column inside another one.
    columns = None if any("." in name for name in names) else names

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            for batch in file.iter_batches(_BATCH, columns=columns):
                values = [_column(pyarrow, batch.column(batch.schema.get_field_index(name))) for name in names]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, dict(zip(names, row, strict=True))
        except (pyarrow.ArrowException, OSError) as error:
            raise InvalidOption(f"{path}, after row {number:,}: expected a whole Parquet file: {error}") from error

    count = file.metadata.num_rows
    return Rows(
        path,
        rows(),
        file.close,
        lambda done: done / count if count else None,
        unit="row",
        names=names,
        is_binary=True,
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
