"""Files of rows and of vectors, by the ending of their names."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lightvec.errors import InvalidOption, MissingExtra

__all__ = ["Rows", "matrix", "rows_of"]


class Rows(NamedTuple):
    """Rows as they are read, and the file's bytes and position for whoever shows how far it is."""

    rows: Iterator[dict[str, Any]]
    file: BinaryIO
    size: int


def rows_of(path: Path) -> Rows:
    """The rows of a .jsonl, .jsonl.gz or .csv file, each a mapping of column to value, as they are read."""
    readers = {".jsonl": _json_lines, ".jsonl.gz": _json_lines_gz, ".csv": _csv}
    reader = readers.get("".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix)
    if reader is None:
        raise InvalidOption(f"{path}: expected a file that ends in {', '.join([*readers, '.npy'])}")
    file = path.open("rb")
    return Rows(reader(file, path), file, path.stat().st_size)


def matrix(path: Path) -> Any:
    """The matrix in a .npy file, one row a vector; it is mapped, not read."""
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", f"reading {path.name}") from error
    try:
        found = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
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
    except (gzip.BadGzipFile, EOFError) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise InvalidOption(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def _csv(file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV file with a header; an empty cell is NULL."""
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    wanted = len(reader.fieldnames or ())
                    raise InvalidOption(f"{path}, line {reader.line_num}: expected {wanted} cells")
                yield {name: value or None for name, value in row.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidOption(f"{path}, line {reader.line_num}: expected CSV in UTF-8: {error}") from error
