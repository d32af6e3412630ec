"""Arrays as PostgreSQL writes and reads them (its documentation, 8.15.6), whatever their elements are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lightvec.types._messages import show

__all__ = ["array_text", "parse_array", "quoted"]

Convert = Callable[[str], Any]

# They are compiled when the first array comes: compiling takes time, which a start should not.
#: What stands between quotes. One character a turn would need 120 bytes for each of them while it is looked at.
_IN_QUOTES = r'[^"\\]*(?:\\.[^"\\]*)*'
#: An element of an array, with the braces before and behind it.
_ELEMENT = rf'(?s)(\{{{{0,6}})(?:"({_IN_QUOTES})"|([^{{}}",\\ \t\n\r\v\f]+))(\}}{{0,6}})'
_FLAT = r'\{[^{}"\\ \t\n\r\v\f]+\}'


def array_text(value: list[Any], text: Callable[[Any], str | None]) -> str:
    """An array literal of nested lists, every element quoted; ``text`` gives an element's text, None for NULL.

    >>> array_text([[1, None], [2, 3]], str)
    '{{"1",NULL},{"2","3"}}'
    """
    return "{" + ",".join(_element_text(element, text) for element in value) + "}"


def _element_text(element: Any, text: Callable[[Any], str | None]) -> str:
    if element is None:
        return "NULL"
    if isinstance(element, list):
        return array_text(element, text)
    written = text(element)
    return "NULL" if written is None else quoted(written)


def quoted(text: str) -> str:
    """A text between the quotes of an array's element or a composite value's field."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_array(data: str, convert: Convert) -> list[Any]:
    """An array; its bounds, which are written before it if they are not 1 (``int2vector`` as ``int2[]``), are left.

    ``ValueError`` for what is no array; ``convert`` reads an element.

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
            raise _no("an array without gaps", data)
        return [None if text == "NULL" else convert(text) for text in texts]
    return _nested(data, *_elements(data, convert))


def _elements(data: str, convert: Convert) -> tuple[list[Any], list[int]]:
    """The elements of an array in order, and how many braces close behind each; as many open before the next."""
    pattern, position = re.compile(_ELEMENT), 0
    elements: list[Any] = []
    closed: list[int] = []
    while position <= len(data):
        found = pattern.match(data, position)
        if found is None or (closed and len(found[1]) != closed[-1]) or not (closed or found[1]):
            raise _no("an array", data)
        quoted, plain = found[2], found[3]
        if quoted is None:
            elements.append(None if plain == "NULL" else convert(plain))
        else:
            elements.append(convert(re.sub(r"(?s)\\(.)", r"\1", quoted) if "\\" in quoted else quoted))
        closed.append(len(found[4]))
        position = found.end() + 1
        if data[found.end() : position] not in (",", ""):
            raise _no("an array", data)
    return elements, closed


def _nested(data: str, items: list[Any], closed: list[int]) -> list[Any]:
    """The elements in lists, those of one dimension all of one length, as PostgreSQL's arrays are."""
    depth = closed[-1]
    if len(re.match(r"\{*", data)[0]) != depth or any(count >= depth for count in closed[:-1]):  # type: ignore[index]
        raise _no("an array whose braces match", data)
    for level in range(1, depth + 1):
        ends = [place for place, count in enumerate(closed, 1) if count >= level]
        size = ends[0]
        if ends != list(range(size, len(items) + 1, size)):
            raise _no("an array whose rows are of one length", data)
        items = [items[end - size : end] for end in ends]
        closed = [closed[end - 1] for end in ends]
    array: list[Any] = items[0]
    return array


def _no(what: str, data: str) -> ValueError:
    return ValueError(f"expected {what}, got {show(data)}")
