"""JSON objects as rows: numbers as written, nested values, and the rest of an object."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lightvec.errors import InvalidOption


class JsonText(str):
    """A value for a column of JSON, as the file writes it."""


class _Number(str):
    """A number as the file writes it."""

    def exact(self) -> Any:
        """An integer or a float, or a decimal if a float would lose digits."""
        try:
            return int(self)
        except ValueError:
            number = float(self)
        is_exact = number != number or Decimal(repr(number)) == Decimal(self)
        return number if is_exact else Decimal(self)


def _with_numbers(value: Any) -> Any:
    if isinstance(value, _Number):
        return value.exact()
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_numbers(item) for name, item in value.items()}
    return value


@dataclass
class JsonObjects:
    """How the objects of a file become rows.

    Numbers are texts as written, but of the names in ``numbers``; the names in ``texts`` have JSON
    as written. ``paths`` are names of values inside others, such as ``payload.title``. With
    ``rest``, what is not in ``names`` goes into an object for that column.
    """

    numbers: Collection[str] = ()
    texts: Collection[str] = ()
    paths: Collection[str] = ()
    names: Collection[str] = ()
    rest: str | None = None

    def parse(self, text: str | bytes) -> Any:
        """The value of a JSON text, whose numbers :meth:`shaped` reads."""
        number = _Number if self.numbers or self.rest else str
        return json.loads(text, parse_float=number, parse_int=number, parse_constant=number)

    def row(self, line: bytes, where: str) -> dict[str, Any]:
        """The row of a line."""
        try:
            found = self.parse(line)
            if isinstance(found, dict):
                texts = {name for name in self.texts if found.get(name) is not None}
                found = self.shaped(found)
                if not texts.isdisjoint(found):
                    text = line.decode(json.detect_encoding(line), "surrogatepass")
                    found.update((name, each) for name, each in _texts(text) if name in texts)
        except (ValueError, RecursionError) as error:
            raise InvalidOption(f"{where}: expected a JSON object: {error}") from error
        if not isinstance(found, dict) or not found:
            got = type(found).__name__ if found else f"an empty {type(found).__name__}"
            wanted = "a JSON object with a value for a column"
            raise InvalidOption(f"{where}: expected {wanted}, got {got}")
        return found

    def shaped(self, found: dict[str, Any]) -> dict[str, Any]:
        """The row of an object, which is changed."""
        for path in self.paths:
            if path not in found and (taken := _take(found, path)):
                found[path] = taken[0]
        if self.rest is not None:
            others = [name for name in found if name not in self.names]
            found[self.rest] = _with_numbers({name: found.pop(name) for name in others})
        for name, value in found.items():
            if name in self.numbers:
                found[name] = _with_numbers(value)
            elif isinstance(value, _Number):
                found[name] = str(value)
        return found


def _take(found: dict[str, Any], path: str) -> list[Any]:
    """A value at a path, removed from the object; an object that is empty then goes, too."""
    if path in found:
        return [found.pop(path)]
    for at, letter in enumerate(path):
        inner = found.get(path[:at]) if letter == "." else None
        if isinstance(inner, dict) and (taken := _take(inner, path[at + 1 :])):
            if not inner:
                del found[path[:at]]
            return taken
    return []


def _texts(text: str) -> Iterator[tuple[str, JsonText]]:
    """The names and the JSON of an object's values."""
    at = text.index("{") + 1
    while (start := text.find('"', at, _skip(text, at) + 1)) >= 0:
        name, at = _DECODER.raw_decode(text, start)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield name, JsonText(text[start:end])
        at = _skip(text, end) + 1


#: It finds the ends of values, and reads no number.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_SPACES = re.compile(r"[ \t\n\r]*")


def _skip(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at
