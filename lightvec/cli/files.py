"""Files of rows and of vectors, by the ending of their names."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from lightvec.errors import InvalidOption, MissingExtra

__all__ = ["FORMATS", "STDIN", "Rows", "matrix", "rows_of", "standard_input"]


FORMATS = ("jsonl", "jsonl.gz", "csv")

#: The path that means standard input.
STDIN = Path("-")


class Rows(NamedTuple):
    """Rows as they are read, and the file's bytes and position for whoever shows how far it is.

    ``size`` is None where it is not known; ``texts`` says that every value is the text of a cell.
    """

    rows: Iterator[dict[str, Any]]
    file: BinaryIO
    size: int | None
    texts: bool


def rows_of(path: Path, format: str | None = None) -> Rows:
    """The rows of a file in one of ``FORMATS``, by the ending of its name, each a mapping of column to value.

    They are read as they are asked for. Standard input (``-``) is JSON lines unless ``format`` says otherwise. Numbers
    with a fraction are :class:`~decimal.Decimal`, as exact as they were written.
    """
    format = format or ("jsonl" if path == STDIN else _ending(path))
    readers = dict(zip(FORMATS, (_json_lines, _json_lines_gz, _csv), strict=True))
    if format not in readers:
        endings = ", ".join(f".{name}" for name in (*FORMATS, "npy"))
        raise InvalidOption(f"{path}: expected a file that ends in {endings}, or --format")
    file = standard_input().buffer if path == STDIN else path.open("rb")
    size = None if path == STDIN else path.stat().st_size
    return Rows(readers[format](file, path), file, size, format == "csv")


def standard_input() -> TextIO:
    """Standard input, unless it was closed (``<&-``)."""
    if sys.stdin is None:
        raise InvalidOption("expected something on standard input, which is closed")
    return sys.stdin


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffix).removeprefix(".")


def matrix(path: Path) -> Any:
    """The matrix in a .npy file, one row a vector; it is mapped, not read."""
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", f"reading {path.name}") from error
    try:
        found = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidOption(f"{path}: expected a .npy file of numbers: {error}") from error
    if found.ndim != 2:
        raise InvalidOption(f"{path}: expected a matrix of one row a vector, got the shape {found.shape}")
    return found


def _json_lines(file: Iterable[bytes], path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield _object(line, f"{path}, line {number}")


def _json_lines_gz(file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from _json_lines(unpacked, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise InvalidOption(f"{where}: expected a JSON object, got {type(value).__name__}")
    if not value:
        raise InvalidOption(f"{where}: expected a JSON object with a value for a column, got an empty one")
    return value


def _csv(file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV file with a header; an empty cell is NULL."""
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        try:
            _check_headings(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    wanted = len(reader.fieldnames or ())
                    raise InvalidOption(f"{path}, line {reader.line_num}: expected {wanted} cells")
                yield {name: value or None for name, value in row.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidOption(f"{path}, line {reader.line_num}: expected CSV in UTF-8: {error}") from error


def _check_headings(names: Sequence[str], path: Path) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InvalidOption(
            f"{path}: expected each column once, got the heading {twice[0]!r} more than once: rename one"
        )
