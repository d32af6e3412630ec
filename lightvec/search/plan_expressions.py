"""Distances in the expressions of a plan.

PostgreSQL puts each operator with its operands into parentheses of its own, and each column behind
its table's alias, however the query was written (``ruleutils.c``), so a small reader is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightvec.metrics import METRICS

__all__ = ["Distance", "column_names", "conjuncts", "has_distance", "read_distance"]

_OPERATORS: Mapping[str, str] = {metric.operator: metric.name for metric in METRICS.values()}
_SIGN = "|".join(map(re.escape, _OPERATORS))
#: pgvector's functions behind the operators.
_FUNCTIONS: Mapping[str, str] = {
    "inner_product": "ip",
    "vector_negative_inner_product": "ip",
    "halfvec_negative_inner_product": "ip",
    "sparsevec_negative_inner_product": "ip",
    **{metric.method: metric.name for metric in METRICS.values() if metric.name != "ip"},
}
#: An operator, with its schema where that is outside the search path, or a call of a function.
_DISTANCE = re.compile(
    rf"OPERATOR\([^()]*?(?P<qualified>{_SIGN})\)|(?<= )(?P<operator>{_SIGN})(?= )|"
    rf"\b(?P<function>{'|'.join(_FUNCTIONS)})\("
)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*)"
#: A column behind its alias: no type (``::``), function (``(``), or column of a subplan (``)``).
_COLUMN = re.compile(rf"(?<![:\w.\")])({_NAME})\.({_NAME})(?![\w.\"(])")


@dataclass(frozen=True)
class Distance:
    """A distance in an expression, such as a sort key.

    ``alias`` and ``column`` are the first column that is compared; ``operand`` is that side of the
    operator as the catalog writes an index on an expression. ``is_constant``: the other side has no
    column; ``is_alone``: nothing is around the distance; ``is_call``: a function computes it.
    """

    metric: str
    alias: str | None
    column: str | None
    operand: str | None
    is_constant: bool
    is_alone: bool
    is_call: bool
    is_descending: bool
    nulls_first: bool


def has_distance(text: str) -> bool:
    return _DISTANCE.search(_masked(text)) is not None


def read_distance(text: str) -> Distance | None:
    """The first distance in an expression."""
    masked = _masked(text)
    found = _DISTANCE.search(masked)
    if found is None:
        return None
    call = found["function"]
    inside = found.end() if call else found.start()
    start = _closing(masked, range(inside - 1, -1, -1), ")", "(") + 1
    end = _closing(masked, range(inside, len(masked)))
    if call:
        sides, around = _split(text[start:end], ","), found.start()
    else:
        sides, around = [text[start : found.start()], text[found.end() : end]], start
    order = masked[masked.rfind(")") + 1 :]
    outside = (masked[:around] + masked[end:]).replace(order, "")
    side = next(filter(_columns, sides), "").strip()
    columns = _columns(side)
    alias, column = map(_unquoted, columns[0].groups()) if columns else (None, None)
    return Distance(
        metric=_FUNCTIONS[call] if call else _OPERATORS[found["qualified"] or found["operator"]],
        alias=alias,
        column=column,
        operand=_without_alias(side) if side else None,
        is_constant=len(_columns(text[start:end])) == 1,
        is_alone=not outside.strip("() "),
        is_call=bool(call),
        is_descending="DESC" in order,
        nulls_first="NULLS FIRST" in order,
    )


def conjuncts(condition: str) -> list[str]:
    """The parts of a condition that all have to hold.

    >>> conjuncts("((t.kind = 3) AND (t.name = ') AND ('::text))")
    ['t.kind = 3', "t.name = ') AND ('::text"]
    """
    return [_bare(part) for part in _split(_bare(condition), " AND ")]


def column_names(text: str) -> set[str]:
    return {_unquoted(column[2]) for column in _columns(text)}


def _masked(text: str) -> str:
    """The text with all that is quoted replaced, at the same offsets."""
    return _QUOTED.sub(lambda found: "x" * len(found.group()), text)


def _closing(masked: str, positions: range, opening: str = "(", closing: str = ")") -> int:
    """The first position with an unmatched parenthesis."""
    depth = 0
    for position in positions:
        depth += (masked[position] == opening) - (masked[position] == closing)
        if depth < 0:
            return position
    return positions.stop


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators outside parentheses and quotes."""
    masked, depth, begin, parts = _masked(text), 0, 0, []
    for position, character in enumerate(masked):
        depth += (character == "(") - (character == ")")
        if depth == 0 and masked.startswith(separator, position):
            parts.append(text[begin:position])
            begin = position + len(separator)
    return [*parts, text[begin:]]


def _bare(text: str) -> str:
    """The text without parentheses around the whole of it."""
    while text.startswith("(") and _closing(_masked(text), range(1, len(text))) == len(text) - 1:
        text = text[1:-1]
    return text


def _columns(text: str) -> list[re.Match[str]]:
    literals = [found.span() for found in _QUOTED.finditer(text) if found.group()[0] == "'"]
    return [
        found for found in _COLUMN.finditer(text) if not any(start <= found.start() < end for start, end in literals)
    ]


def _without_alias(text: str) -> str:
    """An expression as the catalog writes it; a column alone is its name."""
    columns = _columns(text)
    if columns[0].group() == text:
        return _unquoted(columns[0][2])
    for column in reversed(columns):
        text = text[: column.start()] + column[2] + text[column.end() :]
    return text


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
