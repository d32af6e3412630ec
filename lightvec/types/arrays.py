"""PostgreSQL arrays in binary, above all arrays of vectors: which lists are dimensions, which are elements.

The format is that of ``array_send`` and ``array_recv`` (src/backend/utils/adt/arrayfuncs.c), big-endian: int32
dimensions, int32 whether there are NULLs, the element type's OID, for each dimension int32 size and int32 lower bound,
then for each element int32 length (-1 for NULL) and its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import prod
from numbers import Real
from struct import Struct
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types._messages import show_bytes

__all__ = ["array_from_binary", "array_to_binary", "check_depth", "field", "flattened", "listed", "nested"]

#: Of an array (``MAXDIM``, src/include/utils/array.h).
_MOST_DIMENSIONS = 6

_int32 = Struct("!i")
_HEAD = Struct("!iiI")
_BOUND = Struct("!ii")

_NULL = _int32.pack(-1)

#: What numbers are instances of; a Decimal is none of ``numbers.Real``.
_NUMBERS = (Real, Decimal)


def field(data: bytes) -> bytes:
    """An element as it stands in an array: its length and its bytes."""
    return _int32.pack(len(data)) + data


def array_to_binary(value: Any, encode: Callable[[Any], bytes], oid: int, *, of_vectors: bool) -> bytes:
    """The bytes of an array, from lists in lists; ``encode`` gives an element's :func:`field`.

    Raises TypeError for what is no list, ValueError for lists of unequal length, and what ``encode`` raises.

    >>> array_to_binary([b"four", None], field, 17, of_vectors=False).hex(" ", 4)
    '00000001 00000001 00000011 00000002 00000001 00000004 666f7572 ffffffff'
    """
    sizes, items = flattened(value, of_vectors)
    fields = b"".join([_NULL if item is None else encode(item) for item in items])
    bounds = [number for size in sizes for number in (size, 1)]
    has_null = any(item is None for item in items)
    return Struct(f"!iiI{len(bounds)}i").pack(len(sizes), has_null, oid, *bounds) + fields


def array_from_binary(data: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
    """The elements of an array in lists, one in another for each dimension, None for NULL.

    Raises :class:`lightvec.errors.InvalidVector` for bytes that are no array, and what ``decode`` raises.

    >>> array_from_binary(array_to_binary([[b"a"], [None]], field, 17, of_vectors=False), bytes)
    [[b'a'], [None]]
    """
    sizes = _sizes(data)
    place = _HEAD.size + len(sizes) * _BOUND.size
    items = list(_elements(data, place, prod(sizes) if sizes else 0, decode))
    for size in sizes[:0:-1]:
        items = [items[start : start + size] for start in range(0, len(items), size)]
    return items


def _sizes(data: bytes) -> list[int]:
    depth = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else -1
    end = _HEAD.size + depth * _BOUND.size
    if not 0 <= depth <= _MOST_DIMENSIONS or len(data) < end:
        raise _malformed(data)
    sizes = [size for size, _ in _BOUND.iter_unpack(data[_HEAD.size : end])]
    if any(size < 1 for size in sizes):
        raise _malformed(data)
    return sizes


def _elements(data: bytes, place: int, count: int, decode: Callable[[bytes], Any]) -> Iterator[Any]:
    """One by one, so that no memory is taken for what a head says and no bytes follow."""
    for _ in range(count):
        start = place + _int32.size
        length = _int32.unpack_from(data, place)[0] if len(data) >= start else -2
        place = start + max(length, 0)
        if length < -1 or place > len(data):
            raise _malformed(data)
        yield None if length < 0 else decode(data[start:place])
    if place != len(data):
        raise _malformed(data)


def _malformed(data: bytes) -> InvalidVector:
    return InvalidVector(f"expected the bytes of an array, as long as its head says, and got {show_bytes(data)}.")


def flattened(value: Any, of_vectors: bool) -> tuple[list[int], list[Any]]:
    """The sizes of an array's dimensions and its elements in order; no sizes where there are no elements.

    >>> flattened([[1, 2, 3], [4, 5, 6]], False)
    ([2, 3], [1, 2, 3, 4, 5, 6])
    """
    value = listed(value, of_vectors)
    if not nested(value, of_vectors):
        raise TypeError(f"expected a list{' of vectors' if of_vectors else ''} for an array")
    sizes, items = [len(value)], list(value)
    while items and nested(items[0], of_vectors):
        check_depth(len(sizes) + 1)
        size = len(items[0])
        if not all(nested(item, of_vectors) and len(item) == size for item in items):
            raise ValueError("the lists inside an array are of equal length")
        sizes.append(size)
        items = [item for inner in items for item in inner]
    return (sizes, items) if items else ([], [])


def check_depth(dimensions: int) -> None:
    """Raise for an array of more dimensions than PostgreSQL has (``MAXDIM``); a list in itself would have endless."""
    if dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"an array has at most {_MOST_DIMENSIONS} dimensions")


def nested(value: Any, of_vectors: bool) -> bool:
    """Whether a value is a dimension of an array; in an array of vectors, a list of numbers is an element.

    >>> nested([1.5, 2], False), nested([1.5, 2], True), nested([[1.5, 2], None], True)
    (True, False, True)
    """
    if not isinstance(value, (list, tuple)):
        return False
    return not (of_vectors and value and isinstance(value[0], _NUMBERS))


def listed(value: Any, of_vectors: bool) -> Any:
    """An ndarray or array.array as a list, its rows as they are where they are vectors."""
    if isinstance(value, (list, tuple)) or not hasattr(value, "tolist"):
        return value
    return list(value) if of_vectors and getattr(value, "ndim", 1) > 1 else value.tolist()
