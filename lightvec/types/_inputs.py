"""What callers hand over: lists, arrays, iterables, and values of NumPy and SciPy.

Neither library is imported here. A value can only be one of theirs when they are loaded, so ``sys.modules``
tells.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from lightvec.errors import InvalidVector, MissingExtra
from lightvec.types._messages import show

_BUFFERS = (bytes, bytearray, memoryview)  # named once: `bytes | bytearray` is built anew in every call


def is_ndarray(value: object) -> bool:
    """Whether NumPy is loaded and ``value`` is one of its arrays."""
    return _is_instance(value, "numpy", "ndarray")


def is_scipy_sparse(value: object) -> bool:
    """Whether SciPy is loaded and ``value`` is one of its sparse arrays or matrices."""
    return _is_instance(value, "scipy.sparse", "spmatrix") or _is_instance(value, "scipy.sparse", "sparray")


def is_bit_string(value: object) -> bool:
    """Whether asyncpg is loaded and ``value`` is one of its bit strings."""
    return _is_instance(value, "asyncpg.pgproto.types", "BitString")


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

    Raises :class:`InvalidVector` for what has no items, has them in no order (a set, a dict), or is text or
    bytes.
    """
    if isinstance(value, list | tuple | array):
        return value
    if isinstance(value, str | bytes | bytearray | Mapping | Set) or _is_bytes_view(value):
        hint = ", or from_text or from_binary" if isinstance(value, str | bytes | bytearray | memoryview) else ""
        raise _not_items(value, who, item, hint)
    if isinstance(value, memoryview):
        return _items_of_view(value, who, item)
    if getattr(value, "ndim", 1) != 1:  # A DataFrame would give the labels of its columns.
        raise InvalidVector(f"{who} expected one dimension of {item} and got {value.ndim}: pass one row.")
    try:
        items: Iterable[Any] = iter(value)
    except TypeError as error:
        raise _not_items(value, who, item, "") from error
    return list(islice(items, most + 1))


def _items_of_view(value: memoryview, who: str, item: str) -> list[Any]:
    try:
        items = value.tolist()
    except NotImplementedError as error:  # Python itself cannot read every format.
        raise _not_items(value, who, item, "") from error
    return items if isinstance(items, list) else [items]


def _is_bytes_view(value: object) -> bool:
    return isinstance(value, memoryview) and value.format in ("B", "b", "c")


def refuse_masked(value: Any, who: str) -> None:
    """Raise for an array with masked items: what lies behind the mask is not meant to be seen."""
    if hasattr(value, "mask") and value.mask.any():
        raise InvalidVector(f"{who} expected an array without masked items and got {show(value)}.")


def _not_items(value: object, who: str, item: str, hint: str) -> InvalidVector:
    return InvalidVector(
        f"{who} expected a list, tuple, array or other iterable of {item}{hint} and got {show(value)}."
    )


def contents(value: bytes | bytearray | memoryview, who: str) -> bytes:
    """The bytes of a buffer, without a copy when they are ``bytes`` already."""
    if isinstance(value, _BUFFERS):
        return bytes(value)
    raise InvalidVector(f"{who}.from_binary expected bytes, bytearray or memoryview and got {show(value)}.")


def new_array(made: Any, dtype: Any, copy: bool | None, who: str) -> Any:
    """What ``__array__`` returns for a type that has to build its array."""
    if copy is False:
        raise ValueError(f"{who} has to build its array: numpy.asarray(v) does, copy=False cannot")
    return made if dtype is None else made.astype(dtype, copy=False)
