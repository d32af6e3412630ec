"""What callers pass: the limits, kinds of input, and how an error shows a value.

NumPy, SciPy and asyncpg are never imported here: a value can be theirs only if they are loaded.
"""

from __future__ import annotations

import reprlib
import sys
from array import array
from collections.abc import Mapping, MappingView, Sequence, Set
from itertools import islice
from typing import Any

from lightvec.errors import InvalidVector, MissingExtra

#: pgvector's ``VECTOR_MAX_DIM`` and ``HALFVEC_MAX_DIM`` (vector.h, halfvec.h).
MAX_DIMENSIONS = 16_000
#: ``SPARSEVEC_MAX_DIM`` and ``SPARSEVEC_MAX_NNZ`` (sparsevec.h).
MAX_SPARSE_DIMENSIONS = 1_000_000_000
MAX_SPARSE_NONZERO = 16_000
#: The longest ``bit(n)`` that PostgreSQL declares.
MAX_BITS = 83_886_080

_BUFFERS = (bytes, bytearray, memoryview)
#: Formats of a memoryview of numbers; others are bytes, or formats that Python cannot read.
_NUMBER_FORMATS = "?hHiIlLqQnNefd"

_brief = reprlib.Repr()
_brief.maxlevel = 2
_brief.maxlist = _brief.maxtuple = _brief.maxarray = _brief.maxdict = _brief.maxset = 4
_brief.maxstring = _brief.maxother = _brief.maxlong = 40


def show(value: Any) -> str:
    """The value in at most 60 characters, and its type.

    >>> show("two")
    "'two' (str)"
    """
    if isinstance(value, _BUFFERS):
        return show_bytes(value)
    try:
        text = " ".join(_brief.repr(value).split())
    except ValueError:  # Python does not print an int of more than 4,300 digits
        text = "a very large number"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


#: How many items a shortened value shows, and how many are left as they are.
SHOWN, SHORT = 4, 16


class _Shortened:
    """A vector, list or array of which ``repr`` shows the first items."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        head = ", ".join(map(repr, shortened(list(self._value[:SHOWN]))))
        return f"{type(self._value).__name__}([{head}, ...], {len(self._value):,} items)"


def shortened(value: Any) -> Any:
    """The value for a log: long vectors, lists and arrays, inside lists and dicts, too, show their first items.

    >>> shortened(["a", list(range(1_536))])
    ['a', list([0, 1, 2, 3, ...], 1,536 items)]
    """
    if isinstance(value, Mapping):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and len(value) <= SHORT:
        short = map(shortened, value)
        return list(short) if isinstance(value, list) else tuple(short)
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
    is_long = (is_sequence or (is_ndarray(value) and value.ndim > 0)) and len(value) > SHORT
    return _Shortened(value) if is_long else value


def show_number(value: int) -> str:
    """The number with commas, where it is not too large to print."""
    return f"{value:,}" if abs(value) < 10**30 else "a very large number"


def show_bytes(value: bytes | bytearray | memoryview) -> str:
    """The length and the first bytes.

    >>> show_bytes(bytes([0, 3, 0, 0, 9]))
    '5 bytes (00 03 00 00 09)'
    """
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    return f"{size:,} bytes ({bytes(value[:12]).hex(' ')}{' ...' if size > 12 else ''})"


def require_size(size: int, most: int, who: str, unit: str = "dimensions") -> None:
    """Raise :class:`InvalidVector` unless ``1 <= size <= most``."""
    if not 1 <= size <= most:
        # An iterable is read no further than one item past the limit.
        came = f"more than {most:,}" if size == most + 1 else show_number(size)
        raise InvalidVector(f"{who} expected 1 to {most:,} {unit} and got {came}.")


def is_ndarray(value: object) -> bool:
    """Whether NumPy is loaded and ``value`` is one of its arrays."""
    return is_instance(value, "numpy", "ndarray")


def pgvector_classes() -> dict[str, type[Any]]:
    """The value classes of pgvector's own Python package by name, if a program has loaded it."""
    package = sys.modules.get("pgvector")
    names = ("Vector", "HalfVector", "SparseVector", "Bit")
    return {name: getattr(package, name) for name in names if hasattr(package, name)}


def pgvector_name(value: object) -> str:
    """The class of a value of pgvector's package, such as ``Vector``; empty for any other value."""
    return next((name for name, kind in pgvector_classes().items() if isinstance(value, kind)), "")


def is_instance(value: object, module: str, *names: str) -> bool:
    """Whether the module is loaded and ``value`` is of one of its classes."""
    # getattr, because another thread may be half way through importing the module.
    kinds = [getattr(sys.modules.get(module), name, None) for name in names]
    return any(kind is not None and isinstance(value, kind) for kind in kinds)


def is_array(value: Any) -> bool:
    """Whether another library's array of one dimension: a pandas Series, a PyArrow array, a tensor."""
    return hasattr(value, "__array__") and getattr(value, "ndim", 1) == 1 and not isinstance(value, Sequence)


def is_table(value: Any) -> bool:
    """Whether a DataFrame or table, of which iterating gives no rows, but columns or their labels."""
    return len(getattr(value, "shape", ())) == 2 and hasattr(value, "columns")


#: Tables that are read first: the module, the class, and the method that reads it.
_LAZY = (
    ("polars", "LazyFrame", "collect"),
    ("dask.dataframe", "DataFrame", "compute"),
    ("dask.dataframe", "Series", "compute"),
    ("pyarrow.dataset", "Dataset", "to_table"),
    ("pyarrow.dataset", "Scanner", "to_table"),
    ("pyarrow", "RecordBatchReader", "read_all"),
)


def show_unread(value: Any) -> str:
    """The class of a table that is not read yet, and the method that reads it; empty for any other value."""
    package = type(value).__module__.partition(".")[0]
    for module, name, method in _LAZY:
        if module.startswith(package) and is_instance(value, module, name):
            return f"an unread {type(value).__name__}: call its .{method}() first"
    return ""


def require_numpy(purpose: str) -> Any:
    """The ``numpy`` module, or :class:`lightvec.errors.MissingExtra` naming ``purpose``."""
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", purpose) from error
    return numpy


def sequence(value: Any, most: int, who: str, item: str = "numbers") -> Sequence[Any]:
    """The items of ``value``; of an endless iterable no more than ``most + 1`` are taken.

    Raises :class:`InvalidVector` for text, bytes, sets, mappings, and what has not one dimension.
    """
    if isinstance(value, list | tuple | array):
        return value
    if name := pgvector_name(value):
        if name != "Bit":
            require_size(value.dimensions(), most, who)  # a sparse one may have a billion
        return list(value.to_list())
    is_text = isinstance(value, str | bytes | bytearray) or (
        isinstance(value, memoryview) and value.format not in _NUMBER_FORMATS
    )
    if not is_text and not isinstance(value, Mapping | MappingView | Set):
        _require_one_dimension(value, who, item)
        try:
            value = _readable(value, who, item)
            items = iter(value)
        except (TypeError, NotImplementedError):  # Python cannot read every format of a memoryview
            pass
        else:
            if isinstance(value, Sequence) and len(value) > most:  # before all of a long one is read
                require_size(most + 1, most, who, "bits" if item == "bools" else "dimensions")
            return list(islice(items, most + 1))
    hint = ", or from_text or from_binary" if is_text else ""
    raise InvalidVector(f"{who} expected a list, tuple, array or other iterable of {item}{hint} and got {show(value)}.")


def _require_one_dimension(value: Any, who: str, item: str) -> None:
    if unread := show_unread(value):
        raise InvalidVector(f"{who} expected one dimension of {item} and got {unread}.")
    shape = getattr(value, "shape", None)
    dimensions = getattr(value, "ndim", len(shape) if isinstance(shape, tuple) else 1)
    if dimensions != 1:
        hint = ", such as .iloc[0]" if hasattr(value, "iloc") else ""
        raise InvalidVector(
            f"{who} expected one dimension of {item} and got {dimensions} ({type(value).__name__}): pass one row{hint}."
        )


def _readable(value: Any, who: str, item: str) -> Any:
    """The value, or the list of what another library's array holds: pandas', PyArrow's, a tensor."""
    if hasattr(value, "as_py"):  # PyArrow's scalar, such as a row of a column of lists
        value = value.as_py()
        if isinstance(value, str | bytes | Mapping):
            raise InvalidVector(f"{who} expected an iterable of {item} and got {show(value)}.")
        return value
    if hasattr(value, "__array__") and not isinstance(value, Sequence):
        try:
            value = value.__array__()
        except (ImportError, RuntimeError, TypeError, ValueError):
            return value  # no NumPy, or a tensor that cannot be its array: it is iterated
        _require_one_dimension(value, who, item)
        if getattr(getattr(value, "dtype", None), "kind", "") in "mM":  # nanoseconds would be integers
            raise InvalidVector(f"{who} expected an array of {item} and got the dtype {value.dtype}.")
    if is_ndarray(value) or isinstance(value, memoryview):
        return value.tolist()
    return value


def refuse_masked(value: Any, who: str) -> None:
    """Raise for an array with masked items, whose hidden values must not be stored."""
    if hasattr(value, "mask") and value.mask.any():
        raise InvalidVector(f"{who} expected an array without masked items and got {show(value)}.")


def contents(value: bytes | bytearray | memoryview, who: str) -> bytes:
    """The bytes of a buffer, without a copy when they are ``bytes`` already."""
    if isinstance(value, _BUFFERS):
        return bytes(value)
    raise InvalidVector(f"{who}.from_binary expected bytes, bytearray or memoryview and got {show(value)}.")
