"""Files that ``unload`` writes: rows as text, arrays, and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import Any
from zipfile import ZipFile

from lightvec.cli.column_values import Unloaded
from lightvec.cli.files import ENDINGS, STDIN_OR_STDOUT, WRITTEN
from lightvec.errors import InvalidOption, LightvecError, MissingExtra
from lightvec.types.inputs import require_numpy
from lightvec.wire.datatypes import DENSE

#: Takes the next rows.
Write = Callable[[Sequence[Any]], None]


def format_for(path: Path, given: str | None) -> str:
    """The format to write, as given or by the file's name."""
    if given is None and path == STDIN_OR_STDOUT:
        return "jsonl"
    name = path.name.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    ending = name.removesuffix(".gz").rpartition(".")[2]
    format = given or ENDINGS.get(ending, ending) + packed
    if format not in WRITTEN:
        endings = ", ".join(f".{each}" for each in WRITTEN)
        raise InvalidOption(f"{path}: expected a file that ends in {endings}, or --format")
    if path == STDIN_OR_STDOUT and not format.startswith(("jsonl", "csv")):
        raise InvalidOption(f"expected jsonl or csv for standard output, got {format}: name a file")
    return format


@contextmanager
def replacing(path: Path) -> Iterator[Any]:
    """A new file beside ``path``, which takes its place at the end, unless there was an error."""
    if path == STDIN_OR_STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            with target.open("wb") as pipe:
                yield pipe
            return
        beside = NamedTemporaryFile(  # noqa: SIM115  (closed before it is renamed)
            dir=target.parent, prefix=f"{target.name}.", suffix=".part", delete=False
        )
        try:
            with beside:
                yield beside
                beside.flush()
                os.fsync(beside.fileno())
            Path(beside.name).chmod(_mode(target))
            Path(beside.name).replace(target)
        except BaseException:
            Path(beside.name).unlink(missing_ok=True)
            raise
    except ConnectionError:
        raise
    except OSError as error:
        raise LightvecError(f"{path} cannot be written: {error.strerror or error}") from error


def _mode(path: Path) -> int:
    """The mode of the file, or that of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def row_writer(path: Path, file: Any, format: str, columns: Sequence[Unloaded], null: str) -> Iterator[Write]:
    """Writes rows of texts as CSV, or of one JSON text as a line."""
    with ExitStack() as stack:
        if format.endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, fileobj=file, mtime=0))
        if format.startswith("jsonl"):
            yield lambda rows: file.write("".join(f"{row[0]}\n" for row in rows).encode())
            return
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        stack.callback(text.detach)
        is_tabbed = path.name.lower().endswith((".tsv", ".tsv.gz"))
        writer = csv.writer(text, delimiter="\t" if is_tabbed else ",")
        writer.writerow([column.name for column in columns])
        if null:
            yield lambda rows: writer.writerows([null if value is None else value for value in row] for row in rows)
        else:
            yield writer.writerows


class _Array:
    """An array whose values come in batches."""

    def __init__(self, column: Unloaded, count: int, file: Any) -> None:
        self._numpy = require_numpy("writing arrays")
        is_text, is_vector = column.kind == "text", column.kind in DENSE
        found = f"<U{column.size}" if is_text else DENSE.get(column.kind, column.kind)
        self._dtype = self._numpy.dtype(found.replace(">", "<"))
        self._shape = (count, column.size) if is_vector else (count,)
        self.file = file

    def write_header(self, file: Any) -> None:
        described = self._numpy.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": self._shape}
        self._numpy.lib.format.write_array_header_1_0(file, header)

    def write(self, values: Sequence[Any]) -> None:
        self.file.write(self._numpy.array(values, self._dtype).tobytes())


@contextmanager
def matrix_writer(column: Unloaded, count: int, file: Any) -> Iterator[Write]:
    """Writes vectors as an .npy file."""
    array = _Array(column, count, file)
    array.write_header(file)
    yield array.write


@contextmanager
def arrays_writer(columns: Sequence[Unloaded], count: int, file: Any, folder: Path) -> Iterator[Write]:
    """Writes an .npz file, in which each array is whole: until the end each has a file of its own."""
    with ExitStack() as stack:
        spools = [stack.enter_context(TemporaryFile(dir=folder)) for _ in columns]
        arrays = [_Array(column, count, spool) for column, spool in zip(columns, spools, strict=True)]

        def write(rows: Sequence[Any]) -> None:
            for array, values in zip(arrays, zip(*rows, strict=True), strict=True):
                array.write(values)

        yield write
        with ZipFile(file, "w") as archive:
            for column, array in zip(columns, arrays, strict=True):
                with archive.open(f"{column.name}.npy", "w", force_zip64=True) as member:
                    array.write_header(member)
                    array.file.seek(0)
                    shutil.copyfileobj(array.file, member, 1 << 20)


@contextmanager
def parquet_writer(columns: Sequence[Unloaded], file: Any, name: str) -> Iterator[Write]:
    """Writes a Parquet file, a batch as a row group."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("parquet", f"writing {name}") from error
    types = {
        "text": pyarrow.string(),
        "bytea": pyarrow.binary(),
        "date": pyarrow.date32(),
        "timestamp": pyarrow.timestamp("us"),
        "timestamptz": pyarrow.timestamp("us", "UTC"),
        "vector": pyarrow.list_(pyarrow.float32()),
        "halfvec": pyarrow.list_(pyarrow.float16()),
        "?": pyarrow.bool_(),
        "<i2": pyarrow.int16(),
        "<i4": pyarrow.int32(),
        "<i8": pyarrow.int64(),
        "<u4": pyarrow.uint32(),
        "<f4": pyarrow.float32(),
        "<f8": pyarrow.float64(),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])

    def array(column: Unloaded, values: Sequence[Any]) -> Any:
        if column.kind in DENSE:
            # Of ndarrays PyArrow takes the numbers as they are.
            values = [value if value is None else value.to_numpy() for value in values]
        return pyarrow.array(values, types[column.kind])

    with pyarrow.parquet.ParquetWriter(file, schema) as writer:

        def write(rows: Sequence[Any]) -> None:
            pairs = zip(columns, zip(*rows, strict=True), strict=True)
            arrays = [array(column, values) for column, values in pairs]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))

        yield write
