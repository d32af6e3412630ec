"""Simple conditions on a table's columns from the command line, and rows by their text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from peewee import Expression, Field, Value, fn

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.types.inputs import show

__all__ = ["condition", "row_by_text"]

#: Operators as written to Peewee's; those on texts cast the column.
_OPERATORS: Mapping[str, str] = {"!=": "!=", "<=": "<=", ">=": ">=", "=": "=", "<": "<", ">": ">"}
_ON_TEXT: Mapping[str, str] = {"~": "~", "like": "LIKE"}
#: Other spellings.
_SYNONYMS: Mapping[str, str] = {"<>": "!=", "==": "="}

# All signs are taken as the operator; taking only some would silently be another condition.
_OPERATOR = re.compile(r"\s*(~\*|[<>=!~]+)|\s+(like)(?=\s)", re.IGNORECASE)

#: Rows listed if several match.
_SHOWN = 5


def condition(text: str, columns: Mapping[str, Field]) -> Expression:
    """``COLUMN OP VALUE`` as an expression; OP is one of ``= != < <= > >= ~ like``, or ``<>`` or ``==``.

    The column is one of ``columns``, whatever its name holds; the value travels as a parameter, and the server reads it
    as a value of the column. Quotes around it are taken off; one that begins with a sign of an operator needs them, or
    a blank before it. :class:`~lightvec.errors.InvalidOption` for anything else.

    >>> from peewee import TextField
    >>> condition("kind != 'a b'", {"kind": TextField(column_name="kind")}).op
    '!='
    """
    unknown = ""
    for start in (text, text.strip()):
        for name in sorted(columns, key=len, reverse=True):
            found = _OPERATOR.match(start, len(name)) if start.startswith(name) else None
            if found is None:
                continue
            written = (found[1] or found[2]).lower()
            operator = _SYNONYMS.get(written, written)
            if operator in _OPERATORS or operator in _ON_TEXT:
                return _expression(columns[name], operator, _unquoted(start[found.end() :]))
            unknown = f"; {written} is none (quote a value that begins so)"
    operators = " ".join((*_OPERATORS, *_ON_TEXT))
    raise InvalidOption(
        f"--where {show(text)[: -len(' (str)')]}: expected COLUMN OP VALUE, with an OP of {operators} "
        f"and a COLUMN of {', '.join(columns)}{unknown}"
    )


def _expression(column: Field, operator: str, value: str) -> Expression:
    # Without a converter: the field's own would take the text for a value of another kind.
    given = Value(value, converter=False)
    if operator in _ON_TEXT:
        return Expression(column.cast("text"), _ON_TEXT[operator], given)
    return Expression(column, _OPERATORS[operator], given)


def _unquoted(value: str) -> str:
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def row_by_text(column: Field, field: Field, words: str) -> tuple[str, Any]:
    """The text and vector of the only row with this text, or else of the only one whose text begins with it."""
    text = column.cast("text")
    model: Any = column.model
    rows: Sequence[Any] = ()
    for matches in (text == words, fn.starts_with(text, words)):
        found = model.select(text, field).where(matches).order_by(text).limit(_SHOWN + 1)
        rows = list(found.tuples())
        if rows:
            break
    table = model._meta.table_name
    if not rows:
        raise SchemaMismatch(f"the table {table} has no row whose {column.column_name} is {words!r} or begins with it")
    if len(rows) > 1:
        raise SchemaMismatch(f"{_several(rows, words)}: {_listed([row[0] for row in rows])}")
    if rows[0][1] is None:
        raise SchemaMismatch(f"the row {rows[0][0]!r} of {table} has no embedding")
    return rows[0]  # type: ignore[no-any-return]


def _several(rows: Sequence[Any], words: str) -> str:
    if all(row[0] == words for row in rows):
        return f"several rows have the text {words!r}, so search with --like and the key of one"
    return f"several rows begin with {words!r}, so give more of its text"


def _listed(texts: Sequence[str]) -> str:
    more = " and more" if len(texts) > _SHOWN else ""
    return ", ".join(show(text)[: -len(" (str)")] for text in texts[:_SHOWN]) + more
