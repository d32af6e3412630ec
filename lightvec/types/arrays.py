"""PostgreSQL arrays, text and binary, above all arrays of vectors: which lists are dimensions, which are elements.

The text format is in PostgreSQL's documentation, 8.15.6. Binary (``array_send`` and ``array_recv``,
src/backend/utils/adt/arrayfuncs.c) is big-endian: int32 dimensions, int32 whether there are NULLs, the element type's
OID, for each dimension int32 size and int32 lower bound, for each element int32 length (-1 for NULL) and its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import prod
from numbers import Real
from struct import Struct
from typing import Any

from lightvec.errors import InvalidVector
from lightvec.types.inputs import show, show_bytes

#: ``MAXDIM``, src/include/utils/array.h.
_MAX_DIMENSIONS = 6

_int32 = Struct("!i")
_HEAD = Struct("!iiI")
_BOUND = Struct("!ii")
_NULL = _int32.pack(-1)
#: A Decimal is not a ``numbers.Real``.
_NUMBERS = (Real, Decimal)

# Compiled lazily: at import it would cost time.
_QUOTED = r'[^"\\]*(?:\\.[^"\\]*)*'
#: An element, with the braces before and after it.
_ELEMENT = rf'(?s)(\{{{{0,6}})(?:"({_QUOTED})"|([^{{}}",\\ \t\n\r\v\f]+))(\}}{{0,6}})'
_FLAT = r'\{[^{}"\\ \t\n\r\v\f]+\}'


def field(data: bytes) -> bytes:
    """An element as an array contains it: its length and its bytes."""
    return _int32.pack(len(data)) + data


def array_to_binary(value: Any, encode: Callable[[Any], bytes], oid: int, *, of_vectors: bool) -> bytes:
    """The bytes of an array, from lists in lists; ``encode`` gives an element's :func:`field`.

    Raises TypeError for anything but a list, ValueError for lists of unequal length, and what ``encode`` raises.

    >>> array_to_binary([b"four", None], field, 17, of_vectors=False).hex(" ", 4)
    '00000001 00000001 00000011 00000002 00000001 00000004 666f7572 ffffffff'
    """
    sizes, items = flattened(value, of_vectors)
    fields = b"".join([_NULL if item is None else encode(item) for item in items])
    bounds = [number for size in sizes for number in (size, 1)]
    has_null = any(item is None for item in items)
    return Struct(f"!iiI{len(bounds)}i").pack(len(sizes), has_null, oid, *bounds) + fields


def array_from_binary(data: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
    """The elements of an array in nested lists, None for NULL.

    Raises :class:`lightvec.errors.InvalidVector` for malformed bytes, and what ``decode`` raises.

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
    if not 0 <= depth <= _MAX_DIMENSIONS or len(data) < end:
        raise _malformed_binary(data)
    sizes = [size for size, _ in _BOUND.iter_unpack(data[_HEAD.size : end])]
    if any(size < 1 for size in sizes):
        raise _malformed_binary(data)
    return sizes


def _elements(data: bytes, place: int, count: int, decode: Callable[[bytes], Any]) -> Iterator[Any]:
    """One by one, so that no memory is allocated for elements that the header announces and the bytes lack."""
    for _ in range(count):
        start = place + _int32.size
        length = _int32.unpack_from(data, place)[0] if len(data) >= start else -2
        place = start + max(length, 0)
        if length < -1 or place > len(data):
            raise _malformed_binary(data)
        yield None if length < 0 else decode(data[start:place])
    if place != len(data):
        raise _malformed_binary(data)


def _malformed_binary(data: bytes) -> InvalidVector:
    return InvalidVector(f"expected the bytes of an array, as long as its header says, and got {show_bytes(data)}.")


def flattened(value: Any, of_vectors: bool) -> tuple[list[int], list[Any]]:
    """The sizes of an array's dimensions and its elements in order; no sizes where there are no elements.

    >>> flattened([[1, 2, 3], [4, 5, 6]], False)
    ([2, 3], [1, 2, 3, 4, 5, 6])
    """
    value = as_list(value, of_vectors)
    if not is_dimension(value, of_vectors):
        raise TypeError(f"expected a list{' of vectors' if of_vectors else ''} for an array")
    sizes, items = [len(value)], list(value)
    while items and is_dimension(items[0], of_vectors):
        check_depth(len(sizes) + 1)
        size = len(items[0])
        if not all(is_dimension(item, of_vectors) and len(item) == size for item in items):
            raise ValueError("expected lists of equal length inside an array")
        sizes.append(size)
        items = [item for inner in items for item in inner]
    return (sizes, items) if items else ([], [])


def check_depth(dimensions: int) -> None:
    """Raise for more dimensions than PostgreSQL allows; a list that contains itself would never end."""
    if dimensions > _MAX_DIMENSIONS:
        raise ValueError(f"an array has at most {_MAX_DIMENSIONS} dimensions")


def is_dimension(value: Any, of_vectors: bool) -> bool:
    """Whether a value is a dimension of an array; in an array of vectors, a list of numbers is an element.

    >>> is_dimension([1.5, 2], False), is_dimension([1.5, 2], True), is_dimension([[1.5, 2], None], True)
    (True, False, True)
    """
    if not isinstance(value, (list, tuple)):
        return False
    return not (of_vectors and value and isinstance(value[0], _NUMBERS))


def as_list(value: Any, of_vectors: bool) -> Any:
    """An ndarray or array.array as a list, its rows as they are where they are vectors."""
    if isinstance(value, (list, tuple)) or not hasattr(value, "tolist"):
        return value
    return list(value) if of_vectors and getattr(value, "ndim", 1) > 1 else value.tolist()


def array_text(value: list[Any], text: Callable[[Any], str | None]) -> str:
    """An array literal of nested lists, every element quoted; ``text`` gives an element's text, None for NULL.

    >>> array_text([[1, None], [2, 3]], str)
    '{{"1",NULL},{"2","3"}}'
    """
    return "{" + ",".join(_element_text(element, text) for element in value) + "}"


def _element_text(element: Any, text: Callable[[Any], str | None]) -> str:
    if isinstance(element, list):
        return array_text(element, text)
    written = None if element is None else text(element)
    return "NULL" if written is None else quoted(written)


def quoted(text: str) -> str:
    """A text in double quotes, as an array's element or a composite value's field."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_array(data: str, convert: Callable[[str], Any]) -> list[Any]:
    """The elements of an array literal in lists, each read by ``convert``; ``ValueError`` for anything else.

    Bounds are ignored; they precede an array whose lower bound is not 1 (``int2vector`` as ``int2[]``).

    >>> parse_array('{{1,NULL},{"3",4}}', int)
    [[1, None], [3, 4]]
    """
    if data.startswith("["):
        data = re.sub(r"^(?:\[-?[0-9]{1,10}:-?[0-9]{1,10}\]){1,6}=", "", data)
    if data == "{}":
        return []
    if re.fullmatch(_FLAT, data):
        texts = data[1:-1].split(",")
        if "" in texts:
            raise _malformed_text(data)
        return [None if text == "NULL" else convert(text) for text in texts]
    return _nested(data, *_split(data, convert))


def _split(data: str, convert: Callable[[str], Any]) -> tuple[list[Any], list[int]]:
    """The elements in order, and how many braces close after each; as many open before the next."""
    pattern, position = re.compile(_ELEMENT), 0
    elements: list[Any] = []
    closed: list[int] = []
    while position <= len(data):
        found = pattern.match(data, position)
        if found is None or (closed and len(found[1]) != closed[-1]) or not (closed or found[1]):
            raise _malformed_text(data)
        quoted, plain = found[2], found[3]
        if quoted is None:
            elements.append(None if plain == "NULL" else convert(plain))
        else:
            elements.append(convert(re.sub(r"(?s)\\(.)", r"\1", quoted) if "\\" in quoted else quoted))
        closed.append(len(found[4]))
        position = found.end() + 1
        if data[found.end() : position] not in (",", ""):
            raise _malformed_text(data)
    return elements, closed


def _nested(data: str, items: list[Any], closed: list[int]) -> list[Any]:
    """The elements in lists; those of one dimension have one length, as in every PostgreSQL array."""
    depth = closed[-1]
    if len(data) - len(data.lstrip("{")) != depth or any(count >= depth for count in closed[:-1]):
        raise _malformed_text(data)
    for level in range(1, depth + 1):
        ends = [place for place, count in enumerate(closed, 1) if count >= level]
        size = ends[0]
        if ends != list(range(size, len(items) + 1, size)):
            raise _malformed_text(data)
        items = [items[end - size : end] for end in ends]
        closed = [closed[end - 1] for end in ends]
    array: list[Any] = items[0]
    return array


def _malformed_text(data: str) -> ValueError:
    return ValueError(f"expected an array literal with matching braces and rows of equal length, got {show(data)}")
