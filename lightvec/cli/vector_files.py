"""Files of vectors: NumPy's, benchmarks', word vectors, and OpenAI's batches."""

from __future__ import annotations

import re
import zlib
from array import array
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from sys import byteorder
from typing import Any
from zipfile import BadZipFile

from lightvec.errors import InvalidOption, MissingExtra
from lightvec.types.inputs import require_numpy

#: The elements of the files of http://corpus-texmex.irisa.fr.
_ELEMENTS = {"fvecs": "<f4", "ivecs": "<i4", "bvecs": "u1"}

#: More than any table takes, and less than the beginning of a text or another kind of file reads as.
_MOST_DIMENSIONS = 1_000_000


def matrix(path: Path, format: str = "npy") -> Any:
    """The matrix in a file, a row a vector; mapped, where the format allows."""
    if format == "hdf5":
        (found,) = _hdf5(path).values()
    elif format == "npy":
        found = _npy(path)
    else:
        try:
            found = _counted(path, format)
        except (ValueError, IndexError) as error:
            raise InvalidOption(f"{path}: expected a whole .{format} file: {error}") from error
    if getattr(found, "ndim", 0) != 2:
        shape = getattr(found, "shape", "of several arrays")
        raise InvalidOption(f"{path}: expected a matrix of one row a vector, got the shape {shape}")
    return found


def arrays(path: Path, format: str, names: Sequence[str]) -> dict[str, Any]:
    """The arrays in a .npz file, or those of these names in .hdf5; all of one length."""
    found = _npz(path) if format == "npz" else _hdf5(path, names)
    lengths = {name: len(each) if each.ndim else None for name, each in found.items()}
    if not found or None in lengths.values() or len({*lengths.values()}) > 1:
        raise InvalidOption(f"{path}: expected arrays of one length, got {lengths}")
    return found


def _npy(path: Path) -> Any:
    numpy = require_numpy(f"reading {path.name}")
    try:
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        # NumPy's message takes such a file for a pickle, and advises to load that.
        wanted = "a .npy file of numbers, as numpy.save(FILE, MATRIX) writes"
        raise InvalidOption(f"{path}: expected {wanted}{_missing(path, numpy)}") from error


def _missing(path: Path, numpy: Any) -> str:
    """What a .npy file lacks of the size that its header says, for a message."""
    read = numpy.lib.format
    try:
        with path.open("rb") as file:
            is_first = read.read_magic(file) == (1, 0)
            header = read.read_array_header_1_0 if is_first else read.read_array_header_2_0
            shape, _, dtype = header(file)
            expected, got = dtype.itemsize * prod(shape), path.stat().st_size - file.tell()
    except (ValueError, EOFError):
        return ""
    return f", with {expected:,} bytes for the shape {shape}, got {got:,}" if got < expected else ""


def _npz(path: Path) -> dict[str, Any]:
    numpy = require_numpy(f"reading {path.name}")
    try:
        # Opened here: NumPy leaves a file open that turns out to be broken.
        with path.open("rb") as file:
            found = numpy.load(file, allow_pickle=False)
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        wanted = "a .npz file of numbers and texts, as numpy.savez writes"
        raise InvalidOption(f"{path}: expected {wanted}") from error


def _counted(path: Path, format: str) -> Any:
    """A matrix behind its size, as in big-ann-benchmarks, or vectors each behind its size."""
    numpy = require_numpy(f"reading {path.name}")
    data = numpy.memmap(path, "u1", "r")
    first, *others = data[:8].view("<u4").tolist()
    if format == "fbin":
        (dimensions,) = others
        _check_size(f"{first:,} vectors of {dimensions:,} dimensions", first * dimensions * 4, data[8:])
        return data[8:].view("<f4").reshape(first, dimensions)
    if not 1 <= first <= _MOST_DIMENSIONS:
        raise ValueError(f"its first vector would have {first:,} dimensions")
    element = numpy.dtype(_ELEMENTS[format])
    size = 4 + first * element.itemsize
    whole = max(-(-len(data) // size), 1)
    _check_size(f"{whole:,} vectors of {first:,} dimensions", whole * size, data)
    rows = data.reshape(-1, size)
    if (rows[:, :4].view("<u4") != first).any():
        raise ValueError(f"not all vectors have {first} dimensions, as the first one")
    return rows[:, 4:].view(element)


def _check_size(what: str, expected: int, data: Any) -> None:
    if len(data) != expected:
        raise ValueError(f"{what} are {expected:,} bytes, got {len(data):,}")


def _hdf5(path: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    """The datasets of these names, or else ``train``, as in ann-benchmarks, or the only one."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("hdf5", f"reading {path.name}") from error
    try:
        with h5py.File(path) as file:
            chosen = names or (["train"] if "train" in file else [*file])
            if not names and len(chosen) != 1:
                raise InvalidOption(
                    f"{path}: expected a dataset train, or one that --map DATASET:COLUMN names, "
                    f"got {', '.join(file) or 'none'}"
                )
            return {name: _dataset(file[name]) for name in chosen}
    except KeyError as error:
        raise InvalidOption(f"{path}: it has no dataset of a name in --map: {error}") from error
    except (OSError, TypeError, AttributeError) as error:
        raise InvalidOption(f"{path}: expected an HDF5 file with datasets: {error}") from error


def _dataset(found: Any) -> Any:
    """The array of a dataset; of texts, which HDF5 has as bytes, one of texts."""
    if not hasattr(found, "dtype"):
        raise TypeError(f"{found.name} is a group")
    is_text = found.dtype.kind in "SO"
    return found.asstr()[()].astype("U") if is_text else found[()]


#: What numpy.savetxt begins with, and no file of words, whose first is the most frequent.
_SAVETXT = re.compile(r"[-+]?\d+\.\d*(e[-+]?\d+)?")


def word_vectors(file: Iterable[bytes], path: Path, names: Sequence[str]) -> Iterator[Any]:
    """The words and vectors in a file of fastText, whose first line has sizes, or GloVe."""
    dimensions = number = 0
    count = None
    for number, line in enumerate(file, 1):
        text = line.decode("utf-8", "surrogateescape").rstrip()
        if not dimensions:
            fields = text.split(" ")
            is_header = len(fields) == 2 and all(field.isdecimal() for field in fields)
            dimensions = int(fields[1]) if is_header else len(fields) - 1
            if is_header:
                count = int(fields[0])
                continue
            if _SAVETXT.fullmatch(fields[0]):
                raise InvalidOption(
                    f"{path}, line 1: expected a word and its numbers, got numbers only, as "
                    f"numpy.savetxt writes: convert it, numpy.save('FILE.npy', numpy.loadtxt(FILE))"
                )
        # Words may hold spaces.
        word, *numbers = text.rsplit(" ", dimensions)
        if not dimensions or len(numbers) != dimensions:
            raise InvalidOption(
                f"{path}, line {number:,}: expected a word and {dimensions or 'its'} numbers, "
                f"separated by spaces, got {len(numbers)}"
            )
        yield number, dict(zip(names, (word, f"[{','.join(numbers)}]"), strict=True))
    if count is not None and number - 1 != count:
        raise InvalidOption(
            f"{path}: expected {count:,} vectors, as its first line says, got {number - 1:,}: "
            f"the file is cut short, or another number belongs there"
        )


def batch_rows(line: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The embeddings in a line of output of OpenAI's Batch API; ``index`` if it has several."""
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
    numbers = array("f", b64decode(value, validate=True))
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
