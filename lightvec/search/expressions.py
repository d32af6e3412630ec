"""Expressions of a plan with a distance in them.

PostgreSQL writes each operator with its operands into parentheses of their own and each column behind its table's
alias, whatever the query looked like (PostgreSQL's ``ruleutils.c``), so little has to be understood to read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lightvec.metrics import METRICS

__all__ = ["Operand", "SortKey", "alternatives", "columns", "conjuncts", "is_nearer_than", "mentions_distance", "read"]

_OPERATORS: Mapping[str, str] = {metric.operator: metric.name for metric in METRICS.values()}
_SIGN = "|".join(map(re.escape, _OPERATORS))
#: An operator outside the search path is written with its schema.
_DISTANCE = re.compile(rf"OPERATOR\([^()]*?({_SIGN})\)|(?<= )({_SIGN})(?= )")

#: pgvector's functions that the operators stand for, which no index serves.
_FUNCTIONS: Mapping[str, str] = {
    "inner_product": "ip",
    "vector_negative_inner_product": "ip",
    "halfvec_negative_inner_product": "ip",
    "sparsevec_negative_inner_product": "ip",
    **{metric.method: metric.name for metric in METRICS.values() if metric.name != "ip"},
}
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\(")

#: Behind a distance it makes another expression of it with the same value.
_ZERO = "+ '0'::double precision"

_BOUND = re.compile(r"\) <=? ")
_NUMBER = re.compile(r"\) <> 'NaN'::double precision\Z")

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*)"
#: A column behind its table's alias: no type (``::``), no function (``(``), no column of a subplan (``)``).
_COLUMN = re.compile(rf"(?<![:\w.\")])({_NAME})\.({_NAME})(?![\w.\"(])")


class Operand(NamedTuple):
    """A column that is compared: its table's alias in the plan, its name, and the expression around it, if any.

    ``expression`` is without the alias, as the catalog writes that of an index.
    """

    alias: str
    column: str
    expression: str | None

    @property
    def text(self) -> str:
        """It as it is told."""
        return self.expression or self.column


@dataclass(frozen=True)
class SortKey:
    """What rows are sorted by first, where a distance is in it.

    ``metric`` is the distance's, ``operand`` the column (None where there is none), ``is_alone`` says that nothing is
    around the distance, ``adds_zero`` that only that is, ``is_constant`` that the other side is no column, ``is_call``
    that it is a function's.
    """

    metric: str
    operand: Operand | None
    is_alone: bool
    adds_zero: bool
    is_constant: bool
    is_call: bool
    is_descending: bool
    nulls_first: bool


def _masked(text: str) -> str:
    """The text with what stands in quotes made harmless, each character in its place."""
    return _QUOTED.sub(lambda found: "x" * len(found.group()), text)


def mentions_distance(text: str) -> bool:
    """Whether a distance is in an expression."""
    masked = _masked(text)
    return bool(_DISTANCE.search(masked) or _CALL.search(masked))


def read(key: str) -> SortKey | None:
    """The distance that is in an expression."""
    masked = _masked(key)
    found = _DISTANCE.search(masked)
    call = None if found else _CALL.search(masked)
    if found is not None:
        start, end = _around(masked, found.start())
        metric = _OPERATORS[found[1] or found[2]]
        sides = [key[start : found.start()], key[found.end() : end]]
    elif call is not None:
        start, end = _around(masked, call.end())
        metric = _FUNCTIONS[call[1]]
        sides = _split(key[start:end], ",")
    else:
        return None
    operands = [operand for operand in map(_operand, sides) if operand is not None]
    outside = masked[: call.start() if call else start] + masked[end:]
    order = masked[masked.rfind(")") + 1 :]
    return SortKey(
        metric=metric,
        operand=operands[0] if operands else None,
        is_alone=not outside.replace(order, "").strip("() "),
        adds_zero=key[end:].strip("() ") == _ZERO,
        is_constant=len(operands) == 1 and len(_columns(key[start:end])) == 1,
        is_call=call is not None,
        is_descending="DESC" in order,
        nulls_first="NULLS FIRST" in order,
    )


def _around(masked: str, at: int) -> tuple[int, int]:
    """Where what stands in the parentheses around a place begins and ends."""
    return _unmatched(masked, range(at - 1, -1, -1), ")", "(") + 1, _unmatched(masked, range(at, len(masked)), "(", ")")


def _unmatched(masked: str, places: range, opening: str, closing: str) -> int:
    depth = 0
    for place in places:
        depth += (masked[place] == opening) - (masked[place] == closing)
        if depth < 0:
            return place
    return places.stop


def _split(text: str, separator: str) -> list[str]:
    """What stands between the separators that are in no parentheses and no quotes."""
    masked, depth, begin, parts = _masked(text), 0, 0, []
    for place, character in enumerate(masked):
        depth += (character == "(") - (character == ")")
        if depth == 0 and masked.startswith(separator, place):
            parts.append(text[begin:place])
            begin = place + len(separator)
    return [*parts, text[begin:]]


def _bare(text: str) -> str:
    """The text without the parentheses around the whole of it."""
    while text.startswith("(") and _unmatched(_masked(text), range(1, len(text)), "(", ")") == len(text) - 1:
        text = text[1:-1]
    return text


def conjuncts(condition: str) -> list[str]:
    """The parts of a condition that all have to hold.

    >>> conjuncts("((t.kind = 3) AND (t.name = ') AND ('::text))")
    ['t.kind = 3', "t.name = ') AND ('::text"]
    """
    return [_bare(part) for part in _split(_bare(condition), " AND ")]


def alternatives(condition: str) -> list[str]:
    """The parts of a condition of which one has to hold."""
    return [_bare(part) for part in _split(_bare(condition), " OR ")]


def is_nearer_than(condition: str, metric: str) -> bool:
    """Whether a condition bounds a distance by this metric from above, or wants it to be one.

    What is nearest by bits is so by the vectors' own metric, too, as far as bits tell.
    """
    key = read(condition)
    if key is None or not (key.metric == metric or metric == "hamming"):
        return False
    return bool(_BOUND.search(_masked(condition))) or bool(_NUMBER.search(condition))


def columns(text: str) -> list[str]:
    """The names of the columns in an expression."""
    return [_plain(found[2]) for found in _columns(text)]


def _columns(text: str) -> list[re.Match[str]]:
    """The columns in an expression; what stands in a literal is none."""
    literals = [found.span() for found in _QUOTED.finditer(text) if found.group()[0] == "'"]
    return [
        found for found in _COLUMN.finditer(text) if not any(start <= found.start() < end for start, end in literals)
    ]


def _operand(text: str) -> Operand | None:
    text = text.strip()
    found = _columns(text)
    if not found:
        return None
    alias, column = map(_plain, found[0].groups())
    expression = "".join(_without_alias(text, found))
    return Operand(alias, column, None if found[0].group() == text else expression)


def _without_alias(text: str, columns: list[re.Match[str]]) -> Iterator[str]:
    at = 0
    for column in columns:
        yield text[at : column.start()] + column[2]
        at = column.end()
    yield text[at:]


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
