"""Conditions on a table's columns from the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

from peewee import Expression, Field, Value

from lightvec.errors import InvalidOption

_OPERATORS = {name: name for name in ("=", "!=", "<=", ">=", "<", ">", "~")}
_OPERATORS |= {"==": "=", "<>": "!=", "like": "LIKE"}

# All signs are taken as the operator; taking only some would silently be another condition.
_OPERATOR = re.compile(r"\s*(~\*|[<>=!~]+)|\s+(like)(?=\s)", re.IGNORECASE)


def condition(text: str, columns: Mapping[str, Field]) -> Expression:
    """``COLUMN OP VALUE`` as an expression; the value is a parameter that the server reads.

    Quotes around it are removed; a value that begins as an operator needs them, or a blank before.

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
                value = start[found.end() :].strip()
                if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                    value = value[1:-1]
                column, operator = columns[name], _OPERATORS[written]
                left = column.cast("text") if operator in ("~", "LIKE") else column
                # The field's own converter would take the text for a value of another kind.
                return Expression(left, operator, Value(value, converter=False))
            unknown = f"; {written} is none (quote a value that begins so)"
    raise InvalidOption(
        f"--where {text!r}: expected COLUMN OP VALUE, with an OP of "
        f"= != < <= > >= ~ like and a COLUMN of {', '.join(columns)}{unknown}"
    )
