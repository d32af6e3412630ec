"""``--where``: conditions on columns, as expressions with parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from lightvec.errors import InvalidOption

where_option = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="'COLUMN OP VALUE'",
    help="Only rows for which this holds; OP is = != < <= > >= ~ like. Can be repeated: all must.",
)

_OPERATORS = {name: name for name in ("=", "!=", "<=", ">=", "<", ">", "~")}
_OPERATORS |= {"==": "=", "<>": "!=", "like": "LIKE"}

# All signs are taken as the operator; taking only some would silently be another condition.
_OPERATOR = re.compile(r"\s*(~\*|[<>=!~]+)|\s+(like)(?=\s)", re.IGNORECASE)


def condition(text: str, columns: Mapping[str, Any]) -> Any:
    """``COLUMN OP VALUE`` as an expression; the value is a parameter that the server reads.

    Quotes around it are removed; a value that begins as an operator needs them, or a blank before.

    >>> from peewee import TextField
    >>> condition("kind != 'a b'", {"kind": TextField(column_name="kind")}).op
    '!='
    """
    from peewee import Expression, Value

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


#: Invalid text, number, date and regular expression.
_INVALID_VALUES = ("22P02", "22003", "22007", "22008", "2201B")


@contextmanager
def naming_conditions(conditions: Sequence[str]) -> Iterator[None]:
    """Have an error about a value name the conditions."""
    from peewee import DataError

    from lightvec.pg8000.exceptions import ErrorFields

    try:
        yield
    except DataError as error:
        fields: Any = error.args[0]
        is_value = isinstance(fields, ErrorFields) and fields.get("C") in _INVALID_VALUES
        if conditions and is_value and not fields.remedy:
            given = " or ".join(map(repr, conditions))
            fields.remedy = f"the value of --where {given} is read as its column's type is"
        raise
