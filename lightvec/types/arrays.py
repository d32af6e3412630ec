"""PostgreSQL arrays, text and binary, above all of vectors: which lists are dimensions, which elements.

Text: PostgreSQL's documentation, 8.15.6. Binary (``array_send``, src/backend/utils/adt/arrayfuncs.c),
big-endian: int32 dimensions, int32 whether there are NULLs, the elements' OID, for each dimension int32
size and int32 lower bound, for each element int32 length (-1 for NULL) and its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import prod
from numbers import Real
from struct import Struct, error
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
_ELEMENT = r'(?s)"([^"\\]*(?:\\.[^"\\]*)*)"|([^{}",\\ \t\n\r\v\f]+)'
_FLAT = r'\{[^{}"\\ \t\n\r\v\f]+\}'


def field(data: bytes) -> bytes:
    """An element as an array contains it: its length and its bytes."""
    return _int32.pack(len(data)) + data


def array_to_binary(value: Any, encode: Callable[[Any], bytes], oid: int, *, of_vectors: bool) -> bytes:
    """The bytes of an array, from lists in lists; ``encode`` gives an element's :func:`field`.

    Raises TypeError for anything but a list, ValueError for lists of unequal length.

    >>> array_to_binary([b"four", None], field, 17, of_vectors=False).hex(" ", 4)
    '00000001 00000001 00000011 00000002 00000001 00000004 666f7572 ffffffff'
    """
    sizes, items = flattened(value, of_vectors)
    fields = b"".join([_NULL if item is None else encode(item) for item in items])
    bounds = [number for size in sizes for number in (size, 1)]
    has_null = any(item is None for item in items)
    return Struct(f"!iiI{len(bounds)}i").pack(len(sizes), has_null, oid, *bounds) + fields


def array_from_binary(data: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
    """The elements of an array in nested lists, None for NULL; :class:`InvalidVector` for other bytes.

    >>> array_from_binary(array_to_binary([[b"a"], [None]], field, 17, of_vectors=False), bytes)
    [[b'a'], [None]]
    """
    try:
        sizes, items = _read_binary(data, decode)
    except error:
        raise InvalidVector(
            f"expected the bytes of an array, as long as its header says, and got {show_bytes(data)}."
        ) from None
    for size in sizes[:0:-1]:
        items = [items[start : start + size] for start in range(0, len(items), size)]
    return items


def _read_binary(data: bytes, decode: Callable[[bytes], Any]) -> tuple[list[int], list[Any]]:
    """Sizes and elements. No memory is allocated for what the header alone announces."""
    depth = _int32.unpack_from(data)[0]
    if not 0 <= depth <= _MAX_DIMENSIONS:
        raise error("dimensions")
    place = _HEAD.size + depth * _BOUND.size
    sizes = [size for size, _ in _BOUND.iter_unpack(data[_HEAD.size : place])]
    if len(data) < place or any(size < 1 for size in sizes):
        raise error("sizes")
    items = []
    for _ in range(prod(sizes) if sizes else 0):
        (length,) = _int32.unpack_from(data, place)
        start = place + _int32.size
        place = start + max(length, 0)
        if length < -1 or place > len(data):
            raise error("length")
        items.append(None if length < 0 else decode(data[start:place]))
    if place != len(data):
        raise error("trailing bytes")
    return sizes, items


def flattened(value: Any, of_vectors: bool) -> tuple[list[int], list[Any]]:
    """The sizes of an array's dimensions and its elements in order; no sizes where there are none.

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
    """Raise for more dimensions than PostgreSQL allows; a list that contains itself never ends."""
    if dimensions > _MAX_DIMENSIONS:
        raise ValueError(f"an array has at most {_MAX_DIMENSIONS} dimensions")


def is_dimension(value: Any, of_vectors: bool) -> bool:
    """Whether a value is a dimension; in an array of vectors, a list of numbers is an element.

    >>> is_dimension([1.5, 2], False), is_dimension([1.5, 2], True), is_dimension([[1.5, 2], None], True)
    (True, False, True)
    """
    if not isinstance(value, (list, tuple)):
        return False
    return not (of_vectors and value and isinstance(value[0], _NUMBERS))


def as_list(value: Any, of_vectors: bool) -> Any:
    """An ndarray or array.array as a list; rows that are vectors stay as they are."""
    if isinstance(value, (list, tuple)) or not hasattr(value, "tolist"):
        return value
    return list(value) if of_vectors and getattr(value, "ndim", 1) > 1 else value.tolist()


def array_text(value: list[Any], text: Callable[[Any], str | None]) -> str:
    """An array literal of nested lists, every element quoted; ``text`` gives None for NULL.

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
    """The elements of an array literal, each read by ``convert``; ``ValueError`` for anything else.

    Bounds, which precede an array whose lower bound is not 1, are ignored.

    >>> parse_array('{{1,NULL},{"3",4}}', int)
    [[1, None], [3, 4]]
    """
    text = data
    if data.startswith("["):
        text = re.sub(r"^(?:\[-?[0-9]{1,10}:-?[0-9]{1,10}\]){1,6}=", "", data)
    if text == "{}":
        return []
    if re.fullmatch(_FLAT, text):
        items = text[1:-1].split(",")
        if "" not in items:
            return [None if item == "NULL" else convert(item) for item in items]
    elif text.startswith("{"):
        array, end, sizes = _parse_nested(text, 1, convert)
        if end == len(text) and sizes:
            return array
    raise ValueError(f"expected an array literal with matching braces and rows of equal length, got {show(data)}")


def _parse_nested(
    text: str, depth: int, convert: Callable[[str], Any], place: int = 0
) -> tuple[list[Any], int, tuple[int, ...]]:
    """The array whose brace opens at a place, the place after it, and its sizes; none if malformed."""
    items: list[Any] = []
    sizes: tuple[int, ...] | None = None
    match = re.compile(_ELEMENT).match
    while depth <= _MAX_DIMENSIONS:
        place += 1
        inner: tuple[int, ...] = ()
        if found := match(text, place):
            quoted, plain = found.groups()
            place = found.end()
            if quoted is None:
                items.append(None if plain == "NULL" else convert(plain))
            else:
                items.append(convert(re.sub(r"(?s)\\(.)", r"\1", quoted) if "\\" in quoted else quoted))
        elif text[place : place + 1] == "{":
            item, place, inner = _parse_nested(text, depth + 1, convert, place)
            if not inner:
                break
            items.append(item)
        else:
            break
        if sizes is None:
            sizes = inner
        end = text[place : place + 1]
        if inner != sizes or end not in (",", "}"):
            break
        if end == "}":
            return items, place + 1, (len(items), *sizes)
    return [], place, ()
