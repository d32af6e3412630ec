"""Files of vectors: NumPy's, those of benchmarks, word vectors as text, and OpenAI's batches."""

from __future__ import annotations

import binascii
import zlib
from array import array
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from sys import byteorder
from typing import Any
from zipfile import BadZipFile

from lightvec.errors import InvalidOption, MissingExtra

__all__ = ["arrays", "batch_rows", "matrix", "word_vectors"]

#: The elements of http://corpus-texmex.irisa.fr's files, where each vector begins with its size.
_ELEMENTS = {"fvecs": "<f4", "ivecs": "<i4", "bvecs": "u1"}

#: More than any table takes, and less than the beginning of a text or another kind of file reads as.
_MOST_DIMENSIONS = 1_000_000


def matrix(path: Path, format: str = "npy") -> Any:
    """The matrix in a file, a row a vector; it is mapped where the format allows, not read."""
    if format == "hdf5":
        found = _hdf5_matrix(path)
    elif format == "npy":
        found = _npy(path)
    else:
        read = _fbin if format == "fbin" else _vecs
        try:
            found = read(path, format)
        except (ValueError, IndexError) as error:
            raise InvalidOption(f"{path}: expected a whole .{format} file: {error}") from error
    if getattr(found, "ndim", 0) != 2:
        shape = getattr(found, "shape", "of several arrays")
        raise InvalidOption(f"{path}: expected a matrix of one row a vector, got the shape {shape}")
    return found


def arrays(path: Path, format: str, names: Sequence[str]) -> dict[str, Any]:
    """The arrays in a .npz file, or of a .hdf5 file those of these names; all of one length."""
    found = _npz(path) if format == "npz" else _hdf5(path, lambda file: [*names])
    lengths = {name: len(each) if each.ndim else None for name, each in found.items()}
    if not found or None in lengths.values() or len({*lengths.values()}) > 1:
        raise InvalidOption(f"{path}: expected arrays of one length, got {lengths}")
    return found


def _numpy(path: Path) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", f"reading {path.name}") from error
    return numpy


def _npy(path: Path) -> Any:
    numpy = _numpy(path)
    try:
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        # NumPy takes whatever it cannot read for a pickle, and advises to load that.
        wanted = "a .npy file of numbers, as numpy.save(FILE, MATRIX) writes"
        raise InvalidOption(f"{path}: expected {wanted}") from error


def _npz(path: Path) -> dict[str, Any]:
    numpy = _numpy(path)
    try:
        # Opened here: NumPy leaves a file open that turns out to be broken.
        with path.open("rb") as file:
            found = numpy.load(file, allow_pickle=False)
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        wanted = "a .npz file of numbers and texts, as numpy.savez writes"
        raise InvalidOption(f"{path}: expected {wanted}") from error


def _vecs(path: Path, format: str) -> Any:
    numpy = _numpy(path)
    data = numpy.memmap(path, "u1", "r")
    dimensions = int(data[:4].view("<i4")[0])
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ValueError(f"its first vector would have {dimensions:,} dimensions")
    element = numpy.dtype(_ELEMENTS[format])
    rows = data.reshape(-1, 4 + dimensions * element.itemsize)
    if (rows[:, :4].view("<i4") != dimensions).any():
        raise ValueError(f"not all vectors have {dimensions} dimensions, as the first one")
    return rows[:, 4:].view(element)


def _fbin(path: Path, format: str) -> Any:
    """The numbers of rows and dimensions, and the matrix, as in big-ann-benchmarks."""
    data = _numpy(path).memmap(path, "<u4", "r")
    return data[2:].reshape(int(data[0]), int(data[1])).view("<f4")


def _hdf5_matrix(path: Path) -> Any:
    """The dataset ``train`` of a file of ann-benchmarks, or the only one."""

    def choose(file: Mapping[str, Any]) -> list[str]:
        names = ["train"] if "train" in file else [*file]
        if len(names) != 1:
            raise InvalidOption(
                f"{path}: expected a dataset train, or one that --map DATASET:COLUMN names, "
                f"got {', '.join(file) or 'none'}"
            )
        return names

    (found,) = _hdf5(path, choose).values()
    return found


def _hdf5(path: Path, choose: Callable[[Mapping[str, Any]], list[str]]) -> dict[str, Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("hdf5", f"reading {path.name}") from error
    try:
        with h5py.File(path) as file:
            return {name: _dataset(file[name]) for name in choose(file)}
    except KeyError as error:
        raise InvalidOption(f"{path}: it has no dataset of a name in --map: {error}") from error
    except (OSError, TypeError, AttributeError) as error:
        raise InvalidOption(f"{path}: expected an HDF5 file with datasets: {error}") from error


def _dataset(found: Any) -> Any:
    """The array of a dataset; of texts, which HDF5 has as bytes, one of texts."""
    is_text = found.dtype.kind in "SO"
    return found.asstr()[()].astype("U") if is_text else found[()]


def word_vectors(file: Iterable[bytes], path: Path, names: Sequence[str]) -> Iterator[Any]:
    """The words and vectors of a text file of fastText, whose first line has sizes, or GloVe."""
    dimensions = 0
    for number, line in enumerate(file, 1):
        text = line.decode("utf-8", "surrogateescape").rstrip()
        if not dimensions:
            fields = text.split(" ")
            is_header = len(fields) == 2 and all(field.isdecimal() for field in fields)
            dimensions = int(fields[1]) if is_header else len(fields) - 1
            if is_header:
                continue
        # Words may hold spaces.
        word, *numbers = text.rsplit(" ", dimensions)
        if not dimensions or len(numbers) != dimensions:
            raise InvalidOption(
                f"{path}, line {number:,}: expected a word and {dimensions or 'its'} numbers, "
                f"separated by spaces, got {len(numbers)}"
            )
        yield number, dict(zip(names, (word, f"[{','.join(numbers)}]"), strict=True))


def batch_rows(line: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The embeddings in a line of the output of OpenAI's Batch API.

    Each has ``custom_id`` and ``embedding``, and its ``index`` if a request has several.
    """
    try:
        items = line["response"]["body"]["data"]
        for item in items:
            row = {"custom_id": line["custom_id"], "embedding": _embedding(item["embedding"])}
            yield row if len(items) == 1 else {**row, "index": int(item["index"])}
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidOption(
            f"{where}: expected response.body.data[].embedding in the result of the request "
            f"{line['custom_id']!r}, which seems to have failed: run it again, or remove the line"
        ) from error


def _embedding(value: Any) -> Any:
    """A list, or float32 numbers in little-endian byte order as base64."""
    if not isinstance(value, str):
        return value
    try:
        numbers = array("f", b64decode(value, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
