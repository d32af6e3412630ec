"""Translate the placeholders of pg8000 (``:name``) and PEP 249 (``%s``, ``%(name)s``, ``?``, ``:1``) to ``$1``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from lightvec.types import HalfVector, SparseVector, Vector
from lightvec.wire.errors import InterfaceError, ProgrammingError

#: Strings, identifiers and comments (PostgreSQL documentation, 4.1 "Lexical Structure").
_VERBATIM = r"""
    (?P<verbatim>
        (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'       # a string with backslash escapes
      | '[^']*'                               # a string; a doubled quote reads as two strings
      | "[^"]*"                               # an identifier
      | --[^\n]*                              # a comment
      | @comment@
      | (?<!\w)\$(?P<tag>[^\W\d]\w*)?\$.*?\$(?(tag)(?P=tag))\$
    )"""


#: The placeholders of each style, and what looks like one. In a slice (``[1:2]``) a digit follows the colon.
_PLACEHOLDERS = {
    "format": r"%(?:(?P<mark>s)|\((?P<name>[^)]*)\)s|%)?",
    "named": r"::|:=|:(?P<name>[^\W\d]\w*)|(?<!\w)\$(?P<number>\d+)",
    "numeric": r"::|:=|:(?P<number>\d+)",
    "qmark": r"(?P<mark>\?)",
}
#: What a comment consists of, besides comments, which nest in PostgreSQL.
_IN_COMMENT = r"[^*/]|\*(?!/)|/(?!\*)"
_MAX_NESTED = 8

VECTORS = (Vector, HalfVector, SparseVector)


def _tokens(style: str, sql: str) -> re.Pattern[str]:
    return _pattern(style, sql.count("/*") > 1)


@cache
def _pattern(style: str, nested: bool) -> re.Pattern[str]:
    comment = r"/\*.*?\*/"
    if nested:
        comment = rf"/\*(?:{_IN_COMMENT})*\*/"
        for _ in range(_MAX_NESTED):
            comment = rf"/\*(?:{_IN_COMMENT}|{comment})*\*/"
    verbatim = _VERBATIM.replace("@comment@", comment)
    return re.compile(f"{verbatim}|{_PLACEHOLDERS[style]}", re.VERBOSE | re.DOTALL)


def from_named(sql: str, given: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """SQL with ``:name`` or ``$1`` to SQL with ``$1``, and its values in order.

    ``$1`` is the first of the given values, whatever its name.

    >>> from_named("SELECT :b::int, :a, :b, ':a'", {"a": 1, "b": 2})
    ("SELECT $1::int, $2, $1, ':a'", (2, 1))
    """
    statement, names, count = _translate("named", sql)
    if count:
        if names or count > len(given):
            wanted = "one kind of placeholder, :name or $1" if names else f"{count} values"
            raise InterfaceError(f"the statement's placeholders need {wanted}; got {sorted(given)}")
        return statement, tuple(given.values())[:count]
    try:
        return statement, tuple([given[name] for name in names])
    except KeyError as error:
        raise InterfaceError(
            f"the statement has a placeholder :{error.args[0]} without a value; got {sorted(given)}"
        ) from None


@lru_cache(maxsize=1024)
def _translate(
    style: str, sql: str, numbers: tuple[int, ...] = (), keep_strings: bool = False
) -> tuple[str, tuple[str, ...], int]:
    """The statement with ``$n``, the names in order of ``n``, and how many values it needs by position.

    ``numbers`` are the parameter numbers of the values, where several values share one.
    """
    names: dict[str, int] = {}
    count = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal count
        kind, text = match.lastgroup, match[0]
        if kind == "name":
            return f"${names.setdefault(match['name'], len(names) + 1)}"
        if kind == "number":
            count = max(count, int(match["number"]))
            return f"${match['number']}"
        if kind == "mark":
            count += 1
            return f"${numbers[count - 1] if count <= len(numbers) else count}"
        if style != "format":
            return text
        if kind == "verbatim":
            # Peewee, and SQLAlchemy for pg8000, double no percent sign in a name.
            is_kept = keep_strings or text.startswith('"')
            return text if is_kept else text.replace("%%", "%")
        if text == "%":
            raise ProgrammingError(
                "expected %s, %(name)s or %% in the statement, got a single %: write it twice if it is an operator"
            )
        return "%"

    return _tokens(style, sql).sub(replacement, sql), tuple(names), count


def first_placeholder(sql: str) -> str | None:
    """The first ``%s``, ``%(name)s`` or ``:name`` in a statement.

    >>> first_placeholder("SELECT a % 2, b::int, '%s' FROM t WHERE a = :a"), first_placeholder("SELECT 1")
    (':a', None)
    """
    tokens = [*_tokens("format", sql).finditer(sql), *_tokens("named", sql).finditer(sql)]
    found = [(each.start(), each[0]) for each in tokens if each.lastgroup in ("mark", "name")]
    return min(found)[1] if found else None


def may_be_several(sql: str) -> bool:
    """Whether a text may hold several statements; semicolons in strings and comments do not count.

    >>> may_be_several("SELECT ';';"), may_be_several("BEGIN; COMMIT")
    (False, True)
    """
    return ";" in sql and ";" in _tokens("format", sql).sub("", sql).rstrip("; \t\n")


def from_format(
    sql: str, args: Sequence[Any] | Mapping[str, Any], *, keep_strings: bool = False
) -> tuple[str, Sequence[Any]]:
    """SQL with ``%s`` (and a sequence) or ``%(name)s`` (and a mapping) to SQL with ``$1``, and its values.

    ``%%`` is a percent sign, in strings (unless ``keep_strings``) and comments, too, but not in names.

    >>> from_format("SELECT %s::int + %s", [1, 2])
    ('SELECT $1::int + $2', [1, 2])
    >>> from_format("SELECT %(a)s, %(a)s, '5 %%'", {"a": 1})
    ("SELECT $1, $1, '5 %'", [1])
    """
    if isinstance(args, Mapping):
        statement, names, count = _translate("format", sql, (), keep_strings)
        missing = [name for name in names if name not in args]
        if missing or count:
            wanted = f"a value for {missing[0]!r}" if missing else "%(name)s placeholders, not %s"
            raise ProgrammingError(f"with a mapping of values the statement needs {wanted}; got {sorted(args)}")
        return statement, [args[name] for name in names]
    numbers = _shared(args)
    statement, names, count = _translate("format", sql, numbers, keep_strings)
    if names or count != len(args):
        wanted = "a mapping of values" if names else f"{count} values"
        raise ProgrammingError(f"the statement's placeholders need {wanted}, got {len(args)} in a sequence")
    if not numbers:
        return statement, args
    return statement, [args[numbers.index(n + 1)] for n in range(max(numbers))]


def _shared(args: Sequence[Any]) -> tuple[int, ...]:
    """The parameter number of each value, if a vector is there more than once; else empty.

    A query that selects, filters and orders by a distance has its vector of 3 KB three times. One
    parameter can be used in several places, because the type of a vector is never inferred.
    """
    vectors = [id(value) for value in args if isinstance(value, VECTORS)]
    if len(vectors) == len(set(vectors)):
        return ()
    keys = [id(value) if isinstance(value, VECTORS) else -place for place, value in enumerate(args)]
    first = {key: number for number, key in enumerate(dict.fromkeys(keys), 1)}
    return tuple(first[key] for key in keys)


def convert(
    style: str, sql: str, args: Sequence[Any] | Mapping[str, Any], *, keep_strings: bool = False
) -> tuple[str, Sequence[Any]]:
    """SQL and values by one of PEP 249's parameter styles to SQL with ``$1`` and its values in order.

    >>> convert("qmark", "SELECT ?, '?'", (1,)), convert("numeric", "SELECT :2, :1", (1, 2))
    (("SELECT $1, '?'", (1,)), ('SELECT $2, $1', (1, 2)))
    """
    if style in ("format", "pyformat"):
        return from_format(sql, args, keep_strings=keep_strings)
    if style not in ("named", "qmark", "numeric"):
        raise ProgrammingError(
            f"expected a paramstyle of PEP 249, got {style!r}: set qmark, numeric, named, format or pyformat"
        )
    if isinstance(args, Mapping) and style == "named":
        return from_named(sql, args)
    if isinstance(args, Mapping) or style == "named":
        wanted = "mapping" if style == "named" else "sequence"
        raise ProgrammingError(f"paramstyle is {style}: expected a {wanted} of values, got {type(args).__name__}")
    return _translate(style, sql)[0], args


def check_backslashes(sql: str, args: object) -> None:
    """Refuse a statement with a backslash while a backslash escapes in every string."""
    if args and "\\" in sql:
        raise InterfaceError(
            "expected no backslash in a statement with parameters while standard_conforming_strings "
            "is off: SET standard_conforming_strings TO on, or send the text as a parameter"
        )
