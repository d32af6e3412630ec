"""The format of a file, and the rows of text files."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from lightvec.cli.exports import EXPORTS, export_rows
from lightvec.cli.json_objects import JsonObjects
from lightvec.cli.vector_files import batch_rows, word_vectors
from lightvec.errors import InvalidOption

#: Formats of rows as text, of one matrix, and of arrays.
TEXTS = ("jsonl", "jsonl.gz", "csv", "vec", "csv.gz", "vec.gz", *EXPORTS)
_ANY_BYTES = ("fvecs", "ivecs", "bvecs", "fbin")
MATRICES = ("npy", "hdf5", *_ANY_BYTES)
ARRAYS = ("npz", *MATRICES)

FORMATS = (*TEXTS, *ARRAYS, "parquet", "feather")
#: Those that unload writes.
WRITTEN = ("jsonl", "jsonl.gz", "csv", "csv.gz", "npy", "npz", "parquet")

ENDINGS = {"ndjson": "jsonl", "tsv": "csv", "h5": "hdf5", "arrow": "feather", "glove": "vec"}

#: How files begin.
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
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive",
}

NumberedRows = Iterator[tuple[int, dict[str, Any]]]

#: From the number of rows read to the part of the file, from 0 to 1; None if unknown.
ReadPart = Callable[[int], float | None]

STDIN_OR_STDOUT = Path("-")


@dataclass
class Rows:
    """The rows of a file with their numbers, as they are read; ``names`` if the file lists them.

    ``is_json``: texts are JSON strings; elsewhere a text for a ``json`` column is JSON.
    ``is_binary``: values have types of their own.
    """

    path: Path
    rows: NumberedRows
    close: Callable[[], object]
    read_part: ReadPart
    names: Sequence[str] | None = None
    is_json: bool = False
    is_binary: bool = False
    is_export: bool = False

    def place(self, number: int) -> str:
        unit = "row" if self.is_binary or self.is_export else "line"
        return f"{self.path}, {unit} {number:,}"


def format_of(path: Path, format: str | None = None) -> str:
    """The format as given or by the file's name, checked by how the file begins."""
    if path == STDIN_OR_STDOUT:
        if format not in (None, *TEXTS):
            texts = ", ".join(TEXTS)
            raise InvalidOption(f"expected {texts} on standard input, got {format}: save it first")
        return format or "jsonl"
    head = b""
    if path.is_file():  # A pipe could be read only once.
        with path.open("rb") as file:
            head = file.read(4_096)
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffix)[1:].lower()
    plain = ending.removesuffix(".gz")
    if plain == "txt" and _is_word_vector(_unpacked(head)):
        plain = "vec"
    packed = ".gz" if ending.endswith(".gz") else ""
    found = format or ENDINGS.get(plain, plain) + packed
    if found in FORMATS and found not in TEXTS and path.exists() and not path.is_file():
        raise InvalidOption(f"{path}: expected a file for {found}, got a pipe: save it first")
    if found in _ANY_BYTES:
        return found
    held = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), found)
    if held == "a gzip file" and found.endswith(".gz"):
        held = found
    if held == "a zip archive" and (b".npy" in head[:200] or found == "npz"):
        held = "npz"
    is_named = format is not None or found not in EXPORTS
    if found in FORMATS and held == found and is_named:
        return found
    endings = ", ".join(f".{name}" for name in FORMATS if name not in EXPORTS)
    if held in FORMATS:
        raise InvalidOption(f"{path}: it holds {held}: name it .{held}, or say --format {held}")
    holds = "" if held == found else f"it holds {held}; "
    raise InvalidOption(f"{path}: {holds}expected a file that ends in {endings}, or --format")


def _unpacked(head: bytes) -> bytes:
    """The beginning of a file, which may be packed by gzip."""
    if not head.startswith(b"\x1f\x8b"):
        return head
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 4_096)
    except zlib.error:
        return b""


def _is_word_vector(head: bytes) -> bool:
    """Whether it begins with a word and numbers, or fastText's two numbers."""
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
    objects: JsonObjects,
    delimiter: str | None,
    null: str,
) -> Rows:
    """The rows of a text file; ``null`` is a NULL in CSV."""
    stored: Any = standard_input().buffer if path == STDIN_OR_STDOUT else path.open("rb")
    size = None if path == STDIN_OR_STDOUT else path.stat().st_size

    def read_part(_: int) -> float | None:
        return stored.tell() / size if size and not stored.closed else None

    def read(file: Any) -> Rows:
        kind = format.removesuffix(".gz")
        if kind == "csv":
            return _csv(file, path, read_part, delimiter, null)
        if kind == "vec":
            names = ["word", vector_column or "embedding"]
            vectors = word_vectors(file, path, names)
            # Read at once: what is no file of words has no names to complain of.
            words = chain([*islice(vectors, 1)], vectors)
            return Rows(path, words, file.close, read_part, names=names)
        if is_export := kind in EXPORTS:
            rows = export_rows(file, path, kind, objects)
        else:
            rows = _json_lines(file, path, objects)
        return Rows(path, rows, file.close, read_part, is_json=True, is_export=is_export)

    try:
        if not format.endswith(".gz"):
            return read(stored)
        stored = io.BufferedReader(stored)
        with _whole_gzip(path):
            if not stored.peek(1):
                raise EOFError("it is empty")
            found = read(gzip.GzipFile(fileobj=stored))
    except InvalidOption:
        stored.close()
        raise

    def unpacked(rows: NumberedRows) -> NumberedRows:
        with _whole_gzip(path):
            yield from rows

    return replace(found, rows=unpacked(found.rows), close=stored.close)


@contextmanager
def _whole_gzip(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidOption(f"{path}: expected a whole gzip file: {error}") from error


def _json_lines(file: Iterable[bytes], path: Path, objects: JsonObjects) -> NumberedRows:
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{path}, line {number:,}"
            found = objects.row(line, where)
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


def _csv(file: Any, path: Path, read_part: ReadPart, delimiter: str | None, null: str) -> Rows:
    """Rows of a CSV file; the server refuses bytes that are not UTF-8."""
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    is_tabbed = delimiter is None and path.name.lower().endswith((".tsv", ".tsv.gz"))
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
    return Rows(path, _csv_rows(lines, names, path, null), text.close, read_part, names=names or None)


def _csv_lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    # Python's own limit, 131,072, is too small for a vector of 16,000 dimensions.
    usual = csv.field_size_limit(1 << 30)
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


def _csv_rows(lines: Iterator[Any], names: Sequence[str], path: Path, null: str) -> NumberedRows:
    for number, cells in lines:
        if len(cells) != len(names):
            raise InvalidOption(
                f"{path}, line {number:,}: expected {len(names)} cells, as there are headings, "
                f"got {len(cells)}: put quotes around a cell with commas, such as a vector "
                f'("[1,2,3]"), or say --delimiter if commas do not separate the cells'
            )
        values = (None if cell == null else cell for cell in cells)
        yield number, dict(zip(names, values, strict=True))


def check_headings(names: Sequence[str], path: Path) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        got = f"the heading {twice[0]!r} more than once"
        raise InvalidOption(f"{path}: expected each column once, got {got}")
