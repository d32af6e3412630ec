"""From what a file holds, JSON's values or the texts of cells, to what a column takes.

COPY sends values as they are, where INSERT has the server read texts: so they are read here. What only the server can
read, such as a date in one of its many forms, goes to it as a text, in a COPY of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from math import isinf
from types import MappingProxyType
from typing import Any
from uuid import UUID

from lightvec.errors import InvalidVector, SchemaMismatch
from lightvec.pg8000 import Json
from lightvec.types.columns import VALUES
from lightvec.types.inputs import is_ndarray, show
from lightvec.wire.copy.target import Column

__all__ = ["Convert", "at_fault", "converter", "is_read_here", "needs_server"]

Convert = Callable[[Any], Any]

#: More digits before the point than any integer column holds: Python would write out what 1e999999999 is.
_MOST_DIGITS = 20

_TEXT_OIDS = (19, 25, 1042, 1043)
_JSON_OIDS = (114, 3802)

#: NumPy's dtype of the vectors that COPY sends as they are.
_DTYPES = {"vector": "<f4", "halfvec": "<f2"}


def is_read_here(column: Column) -> bool:
    """Whether every value of a column, or of its elements, is read here."""
    return column.is_enum or column.vector is not None or (column.element_oid or column.oid) in _READERS


def needs_server(column: Column, value: Any) -> bool:
    """Whether only the server can read what :func:`converter` gave, or something in it.

    That is a matter of the value where most of a type can be read here, such as dates.
    """
    if value is None or (is_read_here(column) and not column.element_oid):
        return False
    if column.element_oid and isinstance(value, list):
        of_unsure = not is_read_here(column) and any(needs_server(column, item) for item in value)
        return column.vector is not None or of_unsure
    return not isinstance(value, _OWN_TYPES)


def converter(table: str, column: Column, *, cells: bool) -> Convert | None:
    """What makes of a file's values what COPY takes for this column; None where they are that already.

    ``cells`` says that texts are those of cells: JSON in one is JSON, in JSON itself a text is a text. What does not
    fit is a ValueError that says which column and why.
    """
    if column.element_oid:
        element = column._replace(oid=column.element_oid, element_oid=0)
        convert = None if column.vector is not None else converter(table, element, cells=cells)
        return None if convert is None else partial(_elements, convert)
    if column.vector is not None:
        return partial(_vector, f"{table}.{column.name}", column)
    if column.oid in _JSON_OIDS:
        return partial(_json, cells)
    if column.oid in _TEXT_OIDS or column.is_enum:
        return partial(_text, f"{table}.{column.name}")
    if column.oid not in _READERS:
        return _MOMENTS.get(column.oid)
    expected, read = _READERS[column.oid]
    return partial(_read, f"{table}.{column.name} is {column.type}: expected {expected}", read)


def at_fault(table: str, columns: Sequence[Column], row: Any) -> str | None:
    """Which value of a row it is that COPY cannot take, and why."""
    for column, value in zip(columns, row, strict=True):
        encoding = None if needs_server(column, value) else column.encoding
        if encoding is None or value is None:
            continue
        try:
            encoding.encode(value)
        except InvalidVector as error:
            return f"{table}.{column.name}: {error}"
        except Exception as error:
            why = f" ({error})" if isinstance(error, ValueError) else ""
            return f"{table}.{column.name} is {column.type}: expected {encoding.expects}, got {show(value)}{why}"
    return None


def _read(expected: str, read: Convert, value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise SchemaMismatch(f"{expected}, got {show(value)}") from error


def _elements(convert: Convert, value: Any) -> Any:
    """A list with each element read; the text of an array is left to the server."""
    if not isinstance(value, list):
        return value
    inner = partial(_elements, convert)
    return [None if item is None else (inner if isinstance(item, list) else convert)(item) for item in value]


def _vector(name: str, column: Column, value: Any) -> Any:
    """Vectors may be texts; their dimensions are looked at before they are sent."""
    kind: Any = VALUES[column.vector or ""]
    if isinstance(value, str):
        try:
            value = kind.from_text(value)
        except InvalidVector as error:
            raise InvalidVector(f"{name}: {error}") from error
    elif is_ndarray(value):
        value = _of_dtype(value, _DTYPES.get(column.vector or ""))
    elif not isinstance(value, list):
        raise SchemaMismatch(f"{name} is {column.type}: expected a list of numbers or its text, got {show(value)}")
    if column.size is not None and len(value) != column.size:
        unit = "bits" if column.vector == "bit" else "dimensions"
        raise SchemaMismatch(
            f"{name} expected {column.size:,} {unit}, not {len(value):,}: the value is from another model, or "
            f"the column must change"
        )
    return value


def _of_dtype(value: Any, dtype: str | None) -> Any:
    if dtype is None or value.dtype.str == dtype or value.dtype.kind not in "fiu":
        return value
    import numpy

    with numpy.errstate(all="ignore"):  # What becomes infinite is refused when it is sent.
        return value.astype(dtype)


def _json(cells: bool, value: Any) -> Json:
    if cells and isinstance(value, str):
        return Json(value, dumps=str)
    return Json(value, dumps=partial(json.dumps, default=_plain))


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers with a fraction, and what Parquet files hold beside JSON's types."""
    return float(value) if isinstance(value, Decimal) else str(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, (list, dict, bytes)) or is_ndarray(value):
        raise SchemaMismatch(
            f"{name} holds text, got {type(value).__name__}: write it as one text, or make the column jsonb"
        )
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _boolean(value: Any) -> bool:
    """A boolean in any of PostgreSQL's words and their beginnings (``parse_bool_with_len``, utils/adt/bool.c)."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    for whole, meant, least in _WORDS:
        if len(word) >= least and whole.startswith(word):
            return meant
    raise ValueError


_WORDS = (
    ("true", True, 1),
    ("false", False, 1),
    ("yes", True, 1),
    ("no", False, 1),
    ("on", True, 2),
    ("off", False, 2),
    ("1", True, 1),
    ("0", False, 1),
)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    value = _number(value)
    if isinstance(value, str):
        return int(value)
    if isinstance(value, Decimal) and (not value.is_finite() or value.adjusted() > _MOST_DIGITS):
        raise ValueError
    if value != int(value):
        raise ValueError
    return int(value)


def _float(value: Any) -> float:
    number = float(_number(value))
    if isinf(number) and not Decimal(value).is_infinite():
        raise OverflowError
    return number


def _decimal(value: Any) -> Any:
    value = _number(value)
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value.strip())
    except InvalidOperation as error:
        raise ValueError from error


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _date(value: Any) -> Any:
    """A date in the one form that means the same whatever the server's DateStyle is; anything else as it is."""
    return _iso(date.fromisoformat, value) if isinstance(value, str) and _DATE.fullmatch(value) else value


def _timestamp(value: Any) -> Any:
    return _iso(datetime.fromisoformat, value) if isinstance(value, str) and _TIMESTAMP.fullmatch(value) else value


def _timestamptz(value: Any) -> Any:
    """A moment with its offset; without one it depends on the session's time zone."""
    if not isinstance(value, str) or not _TIMESTAMPTZ.fullmatch(value):
        return value
    return _iso(datetime.fromisoformat, value.replace("Z", "+00:00"))


def _iso(read: Convert, text: str) -> Any:
    try:
        return read(text)
    except ValueError:  # The server knows the hour 24, and says what is wrong with the rest.
        return text


# What Python 3.10 reads of ISO 8601, which PostgreSQL reads alike.
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(rf"{_DATE.pattern}[ T]\d\d:\d\d:\d\d(\.\d{{3}}(\d{{3}})?)?", re.ASCII)
_TIMESTAMPTZ = re.compile(rf"{_TIMESTAMP.pattern}(Z|[+-]\d\d:\d\d)", re.ASCII)

#: Types of which most texts are read here, and what reads these.
_MOMENTS: Mapping[int, Convert] = MappingProxyType({1082: _date, 1114: _timestamp, 1184: _timestamptz})

#: What COPY takes as it is for the types that are not read here.
_OWN_TYPES = (date, time, timedelta, bytes)

_WHOLE, _FRACTION = ("a whole number", _integer), ("a number", _float)

#: Types whose texts mean the same here as on the server: what is expected, and what reads it. Texts have no entry that
#: is called, but they need no server to be read.
_READERS: Mapping[int, tuple[str, Convert]] = MappingProxyType(
    {
        16: ("true or false", _boolean),
        **dict.fromkeys((20, 21, 23, 26), _WHOLE),
        **dict.fromkeys((700, 701), _FRACTION),
        1700: ("a number", _decimal),
        2950: ("a UUID", _uuid),
        **dict.fromkeys((*_TEXT_OIDS, *_JSON_OIDS), ("a text", str)),
    }
)
