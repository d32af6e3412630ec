"""What callers pass: the limits of the types, kinds of input, and how an error shows a value.

NumPy, SciPy and asyncpg are never imported here. A value can be one of theirs only when the module is
in ``sys.modules``.
"""

from __future__ import annotations

import reprlib
import sys
from array import array
from collections.abc import Mapping, Sequence, Set
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
_SHOWN, _SHORT = 4, 16


class _Shortened:
    """A vector, list or array of which ``repr`` shows the first items."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        head = ", ".join(map(repr, shortened(list(self._value[:_SHOWN]))))
        return f"{type(self._value).__name__}([{head}, ...], {len(self._value):,} items)"


def shortened(value: Any) -> Any:
    """The value for a log: long vectors, lists and arrays, inside lists and dicts, too, show their first items.

    >>> shortened(["a", list(range(1_536))])
    ['a', list([0, 1, 2, 3, ...], 1,536 items)]
    """
    if isinstance(value, Mapping):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and len(value) <= _SHORT:
        short = map(shortened, value)
        return list(short) if isinstance(value, list) else tuple(short)
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
    is_long = (is_sequence or (is_ndarray(value) and value.ndim > 0)) and len(value) > _SHORT
    return _Shortened(value) if is_long else value


def show_number(value: int) -> str:
    """The number with commas, where it is not too large to print.

    >>> show_number(16_000)
    '16,000'
    """
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
        # An iterable is read no further than one item past the limit, so its real size is unknown.
        came = f"more than {most:,}" if size == most + 1 else show_number(size)
        raise InvalidVector(f"{who} expected 1 to {most:,} {unit} and got {came}.")


def is_ndarray(value: object) -> bool:
    """Whether NumPy is loaded and ``value`` is one of its arrays."""
    return _is_instance(value, "numpy", "ndarray")


def is_scipy_sparse(value: object) -> bool:
    """Whether SciPy is loaded and ``value`` is one of its sparse arrays or matrices."""
    return _is_instance(value, "scipy.sparse", "spmatrix") or _is_instance(value, "scipy.sparse", "sparray")


def is_bit_string(value: object) -> bool:
    """Whether asyncpg is loaded and ``value`` is one of its bit strings."""
    return _is_instance(value, "asyncpg.pgproto.types", "BitString")


def pgvector_classes() -> dict[str, type[Any]]:
    """The value classes of pgvector's own Python package by name, if a program has loaded it."""
    package = sys.modules.get("pgvector")
    names = ("Vector", "HalfVector", "SparseVector", "Bit")
    return {name: getattr(package, name) for name in names if hasattr(package, name)}


def pgvector_name(value: object) -> str:
    """The class of a value of pgvector's own Python package, such as ``Vector``; empty for any other value."""
    return next((name for name, kind in pgvector_classes().items() if isinstance(value, kind)), "")


def _is_instance(value: object, module: str, name: str) -> bool:
    # getattr, because another thread may be half way through importing the module.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def require_numpy(purpose: str) -> Any:
    """The ``numpy`` module, or :class:`lightvec.errors.MissingExtra` naming ``purpose``."""
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", purpose) from error
    return numpy


def sequence(value: Any, most: int, who: str, item: str = "numbers") -> Sequence[Any]:
    """The items of ``value``; of an endless iterable no more than ``most + 1`` are taken.

    Raises :class:`InvalidVector` for text, bytes, unordered collections, and values without items.
    """
    if isinstance(value, list | tuple | array):
        return value
    if name := pgvector_name(value):
        if name != "Bit":
            require_size(value.dimensions(), most, who)  # a sparse one may have a billion
        return list(value.to_list())
    if getattr(value, "ndim", 1) != 1:  # iterating a DataFrame would give its column labels
        raise InvalidVector(f"{who} expected one dimension of {item} and got {value.ndim}: pass one row.")
    is_text = isinstance(value, str | bytes | bytearray) or (
        isinstance(value, memoryview) and value.format not in _NUMBER_FORMATS
    )
    try:
        source = value.tolist() if isinstance(value, memoryview) else value
        items = None if is_text or isinstance(value, Mapping | Set) else iter(source)
    except (TypeError, NotImplementedError):  # Python itself cannot read every format of a memoryview.
        items = None
    if items is None:
        hint = ", or from_text or from_binary" if is_text else ""
        raise InvalidVector(
            f"{who} expected a list, tuple, array or other iterable of {item}{hint} and got {show(value)}."
        )
    return list(islice(items, most + 1))


def refuse_masked(value: Any, who: str) -> None:
    """Raise for an array with masked items, whose hidden values must not be stored."""
    if hasattr(value, "mask") and value.mask.any():
        raise InvalidVector(f"{who} expected an array without masked items and got {show(value)}.")


def contents(value: bytes | bytearray | memoryview, who: str) -> bytes:
    """The bytes of a buffer, without a copy when they are ``bytes`` already."""
    if isinstance(value, _BUFFERS):
        return bytes(value)
    raise InvalidVector(f"{who}.from_binary expected bytes, bytearray or memoryview and got {show(value)}.")
