"""Conditions on a table's columns from the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

from peewee import Expression, Field, Value

from lightvec.errors import InvalidOption

__all__ = ["condition"]

#: Operators as written to Peewee's; the last two are for texts.
_OPERATORS = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<=": "<=",
    ">=": ">=",
    "<": "<",
    ">": ">",
    "~": "~",
    "like": "LIKE",
}
_ON_TEXT = ("~", "LIKE")

# All signs are taken as the operator; taking only some would silently be another condition.
_OPERATOR = re.compile(r"\s*(~\*|[<>=!~]+)|\s+(like)(?=\s)", re.IGNORECASE)


def condition(text: str, columns: Mapping[str, Field]) -> Expression:
    """``COLUMN OP VALUE`` as an expression; OP is one of ``= != < <= > >= ~ like``.

    The column is one of ``columns``, whatever characters its name has. The value is sent as a
    parameter, and the server reads it as a value of the column. Quotes around it are removed; a
    value that begins with a sign of an operator needs them, or a blank before it.
    :class:`~lightvec.errors.InvalidOption` for anything else.

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
            if written in _OPERATORS:
                value = _unquoted(start[found.end() :].strip())
                return _expression(columns[name], _OPERATORS[written], value)
            unknown = f"; {written} is none (quote a value that begins so)"
    raise InvalidOption(
        f"--where {text!r}: expected COLUMN OP VALUE, with an OP of "
        f"= != < <= > >= ~ like and a COLUMN of {', '.join(columns)}{unknown}"
    )


def _expression(column: Field, operator: str, value: str) -> Expression:
    left = column.cast("text") if operator in _ON_TEXT else column
    # Without a converter: the field's own would take the text for a value of another kind.
    return Expression(left, operator, Value(value, converter=False))


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value
