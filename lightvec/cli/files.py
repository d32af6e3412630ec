"""Files of rows and of vectors: which kind a file is, and the rows of those that are text."""

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
from typing import Any, BinaryIO, TextIO

from lightvec.cli.vector_files import batch_rows, word_vectors
from lightvec.errors import InvalidOption

__all__ = [
    "ARRAYS",
    "FORMATS",
    "MATRICES",
    "TEXTS",
    "NumberedRows",
    "Rows",
    "check_headings",
    "format_of",
    "standard_input",
    "text_rows",
]

#: Formats of rows as text; of one matrix, a row a vector, which may begin with any bytes or not;
#: of arrays.
TEXTS = ("jsonl", "jsonl.gz", "csv", "vec")
_ANY_BYTES = ("fvecs", "ivecs", "bvecs", "fbin")
MATRICES = ("npy", "hdf5", *_ANY_BYTES)
ARRAYS = ("npz", *MATRICES)

FORMATS = (*TEXTS, *ARRAYS, "parquet", "feather")

#: Other endings of file names.
_ENDINGS = {"tsv": "csv", "h5": "hdf5", "arrow": "feather", "glove": "vec"}

#: How files begin, to the format, or the kind if that is none that is read.
_SIGNATURES = {
    b"\x93NUMPY": "npy",
    b"\x89HDF\r\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "feather",
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a Python pickle"),
    b"PARE": "encrypted Parquet",
    b"FEA1": "Feather of version 1",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull brings the file)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"\xfd7zXZ": "an xz file",
    b"BZh91AY&SY": "a bzip2 file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"<?xml": "XML",
    b"<!": "XML or HTML",
    b"<html": "XML or HTML",
}

#: Rows with their numbers in the file.
NumberedRows = Iterator[tuple[int, dict[str, Any]]]

#: The part of the file that is read, from 0 to 1, for a number of rows; None if that is unknown.
ReadPart = Callable[[int], float | None]

#: The path that means standard input.
_STDIN = Path("-")


@dataclass
class Rows:
    """The rows of a file with their numbers, as they are read.

    ``unit`` is what the numbers count. ``names`` are the columns, where the file lists them.
    ``is_json`` says that values are JSON's, so that a text is JSON as it is; elsewhere a text for a
    ``json`` column is JSON text. ``is_binary`` says that values have types of their own.
    """

    path: Path
    rows: NumberedRows
    close: Callable[[], object]
    read_part: ReadPart
    unit: str = "line"
    names: Sequence[str] | None = None
    is_json: bool = False
    is_binary: bool = False

    def place(self, number: int) -> str:
        """Where a row is, for errors."""
        return f"{self.path}, {self.unit} {number:,}"


def format_of(path: Path, format: str | None = None) -> str:
    """One of ``FORMATS``: ``format``, or by the ending of the file's name, or JSON lines on stdin.

    :class:`~lightvec.errors.InvalidOption` if the file begins as another kind does.
    """
    if path == _STDIN:
        if format not in (None, *TEXTS):
            texts = ", ".join(TEXTS)
            raise InvalidOption(f"expected {texts} on standard input, got {format}: save it first")
        return format or "jsonl"
    head = b""
    if path.is_file():  # A pipe could be read only once.
        with path.open("rb") as file:
            head = file.read(4_096)
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffix)[1:].lower()
    found = format or _ENDINGS.get(ending, ending)
    if ending == "txt" and _is_word_vector(head):
        found = format or "vec"
    if found in _ANY_BYTES:
        return found
    held = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), found)
    if head.startswith(b"\x1f\x8b"):
        held = "jsonl.gz" if found == "jsonl.gz" else "a gzip file"
    if head.startswith(b"PK\x03\x04"):
        held = "npz" if b".npy" in head[:200] or found == "npz" else "a zip archive"
    if found in FORMATS and held == found:
        return found
    endings = ", ".join(f".{name}" for name in FORMATS)
    if held in FORMATS:
        raise InvalidOption(f"{path}: it holds {held}: name it .{held}, or say --format {held}")
    holds = "" if held == found else f"it holds {held}; "
    raise InvalidOption(f"{path}: {holds}expected a file that ends in {endings}, or --format")


def _is_word_vector(head: bytes) -> bool:
    """Whether a text begins with a word and numbers, or with two numbers as fastText's files do."""
    _, *numbers = head.partition(b"\n")[0].split() or [b""]
    try:
        return bool([float(number) for number in numbers[-2:]])
    except ValueError:
        return False


def standard_input() -> TextIO:
    """Standard input, unless it was closed (``<&-``)."""
    if sys.stdin is None:
        raise InvalidOption("expected something on standard input, which is closed")
    return sys.stdin


def text_rows(
    path: Path,
    format: str,
    vector_column: str | None,
    with_numbers: Collection[str],
    delimiter: str | None,
) -> Rows:
    """The rows of a file in one of ``TEXTS``.

    Numbers of JSON are texts, exactly as written, but for the names ``with_numbers``.
    """
    file = standard_input().buffer if path == _STDIN else path.open("rb")
    size = None if path == _STDIN else path.stat().st_size

    def read_part(_: int) -> float | None:
        return file.tell() / size if size and not file.closed else None

    if format == "csv":
        return _csv(file, path, read_part, delimiter)
    if format == "vec":
        names = ["word", vector_column or "embedding"]
        return Rows(path, word_vectors(file, path, names), file.close, read_part, names=names)
    read = _json_lines if format == "jsonl" else _json_lines_gz
    rows = read(file, path, frozenset(with_numbers))
    return Rows(path, rows, file.close, read_part, is_json=True)


# JSON lines


def _json_lines(file: Iterable[bytes], path: Path, with_numbers: frozenset[str]) -> NumberedRows:
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{path}, line {number:,}"
            found = _object(line, where, with_numbers)
            if _is_of_a_batch(found):
                yield from ((number, row) for row in batch_rows(found, where))
            else:
                yield number, found


def _is_of_a_batch(found: dict[str, Any]) -> bool:
    """Whether a line of OpenAI's Batch API; one that failed has null as its response, or an error."""
    response = found.get("response")
    return "custom_id" in found and (
        (isinstance(response, dict) and "body" in response) or (not response and "error" in found)
    )


def _json_lines_gz(file: BinaryIO, path: Path, with_numbers: frozenset[str]) -> NumberedRows:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from _json_lines(unpacked, path, with_numbers)
        if not file.tell():
            raise EOFError("it is empty")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _object(line: bytes, where: str, with_numbers: frozenset[str]) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        if isinstance(found, dict) and not with_numbers.isdisjoint(found):
            values = json.loads(line)
            found |= {name: values[name] for name in with_numbers & found.keys()}
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(found, dict) or not found:
        got = type(found).__name__ if found else f"an empty {type(found).__name__}"
        raise InvalidOption(f"{where}: expected a JSON object with a value for a column, got {got}")
    return found


# CSV


#: The most characters of a cell: PostgreSQL holds no longer value. Python's own limit is 131,072,
#: and a vector of 16,000 dimensions takes up to three times as many.
_LONGEST_CELL = 1 << 30


def _csv(file: BinaryIO, path: Path, read_part: ReadPart, delimiter: str | None) -> Rows:
    """Rows of a CSV file with headings; an empty cell is NULL.

    Bytes that are not UTF-8 are the server's to refuse.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    is_tabbed = delimiter is None and path.suffix.lower() == ".tsv"
    letter = "\t" if is_tabbed or delimiter == "tab" else delimiter or ","
    lines = _csv_lines(csv.reader(text, strict=True, delimiter=letter), path)
    try:
        names = next((cells for _, cells in lines if "".join(cells).strip()), [])
        check_headings(names, path)
        is_default = delimiter is None and not is_tabbed
        if is_default and len(names) == 1 and not {*";\t|"}.isdisjoint(names[0]):
            raise InvalidOption(
                f"{path}: expected headings separated by commas, got {names[0]!r}: "
                f"say what separates them with --delimiter"
            )
    except InvalidOption:
        text.close()
        raise
    return Rows(path, _csv_rows(lines, names, path), text.close, read_part, names=names or None)


def _csv_lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    usual = csv.field_size_limit(_LONGEST_CELL)
    end = 0
    try:
        for row in reader:
            # A quoted cell may hold line breaks.
            number, end = end + 1, reader.line_num
            if row:
                yield number, row
    except csv.Error as error:
        raise InvalidOption(
            f"{path}, line {reader.line_num:,}: expected CSV, with quotes around a cell: {error}; "
            f"say --delimiter if commas do not separate the cells"
        ) from error
    finally:
        csv.field_size_limit(usual)


def _csv_rows(lines: Iterator[Any], names: Sequence[str], path: Path) -> NumberedRows:
    for number, cells in lines:
        if len(cells) != len(names):
            raise InvalidOption(
                f"{path}, line {number:,}: expected {len(names)} cells, as there are headings, "
                f"got {len(cells)}: put quotes around a cell with commas, such as a vector "
                f'("[1,2,3]"), or say --delimiter if commas do not separate the cells'
            )
        yield number, {name: cell or None for name, cell in zip(names, cells, strict=True)}


def check_headings(names: Sequence[str], path: Path) -> None:
    """Refuse a heading that occurs twice."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        got = f"the heading {twice[0]!r} more than once"
        raise InvalidOption(f"{path}: expected each column once, got {got}")
