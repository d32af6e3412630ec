"""Which columns of a statement to ask for as binary.

Bind must say so before the columns are known, so they are remembered by the statement: from the second run on its
vectors come as binary.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightvec.pg8000.messages import BINARY, TEXT, Parameter

__all__ = ["Formats", "Kind", "binary_formats", "gives_rows", "kind_of"]

#: White space, parentheses and comments before the first word of a statement.
_BEGINNING = r"(?:[\s(]|--[^\n]*\n|/\*(?s:.*?)\*/)*"
#: Statements whose columns are the same each time the text is run.
_ROWS_BY_TEXT = re.compile(_BEGINNING + r"(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|TABLE)\b", re.IGNORECASE)
#: Statements that give the rows of another one, by its name.
_ROWS_BY_NAME = re.compile(_BEGINNING + r"(DECLARE|FETCH|EXECUTE)\b", re.IGNORECASE)
#: What may stand for more columns another time: a star that is no operator or comment, and TABLE.
_STAR = re.compile(r"(?:\b(?:SELECT|ALL|DISTINCT|RETURNING)|[,.)])\s*\*|\bTABLE\b", re.IGNORECASE)

#: How many statements a connection remembers.
_REMEMBERED = 1_000

#: What the types of a statement's columns follow from: its text, and the OIDs of its binary parameters (else 0).
Kind = tuple[Any, ...]

#: Types that have a binary decoder, as pairs of OID and format.
Decodable = Collection[tuple[int, int]]


def kind_of(statement: str, parameters: Sequence[Parameter]) -> Kind:
    """What a statement is remembered by."""
    return (statement, *[parameter.oid if parameter.format == BINARY else 0 for parameter in parameters])


def gives_rows(statement: str) -> bool:
    """Whether a statement is one of those that give rows of a table or query."""
    return bool(_ROWS_BY_TEXT.match(statement) or _ROWS_BY_NAME.match(statement))


def binary_formats(columns: Sequence[Mapping[str, Any]] | None, decodable: Decodable) -> tuple[int, ...]:
    """The formats that bring the vectors among these columns as binary; empty where there are none."""
    formats = [BINARY if (column["type_oid"], BINARY) in decodable else TEXT for column in columns or ()]
    return tuple(formats) if BINARY in formats else ()


class Formats:
    """What one connection remembers of its statements."""

    def __init__(self) -> None:
        self._formats: dict[Kind, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._formats)

    def of(self, kind: Kind, *, in_transaction: bool) -> Sequence[int]:
        """The formats to ask for. ``*`` may stand for other columns this time, which would fail a transaction."""
        formats = self._formats.get(kind, ())
        return () if formats and in_transaction and _STAR.search(kind[0]) else formats

    def remember(self, kind: Kind, formats: tuple[int, ...]) -> None:
        """Remember a statement that has vectors, if its columns are the same the next time."""
        # One format in Bind holds for all columns, so the server would not refuse it when a star stands for more.
        may_grow = len(formats) == 1 and _STAR.search(kind[0])
        if not formats or kind in self._formats or may_grow or not _ROWS_BY_TEXT.match(kind[0]):
            return
        if len(self._formats) >= _REMEMBERED:
            del self._formats[next(iter(self._formats))]
        self._formats[kind] = formats

    def forget(self, kind: Kind) -> bool:
        """Forget a statement; whether it was remembered."""
        return self._formats.pop(kind, None) is not None
