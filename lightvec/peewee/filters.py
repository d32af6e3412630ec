"""Conditions from a request body: :func:`where`.

A value of the request becomes a parameter, after its kind has been checked: what the server would
refuse (NUL, a number out of range, a pattern that ends in a backslash) is refused here, by the path
of the value. A key is looked up among the fields that may be asked for, and never written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from peewee import (
    OP,
    SQL,
    BooleanField,
    Cast,
    CharField,
    ColumnBase,
    DateField,
    DateTimeField,
    DecimalField,
    Expression,
    Field,
    FloatField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    JSONPath,
    TextField,
    TimeField,
    UUIDField,
    Value,
    fn,
)

from lightvec.errors import InvalidOption
from lightvec.peewee._seam import json_path
from lightvec.types.inputs import show

__all__ = ["where"]

_COMPARISONS = {"eq": OP.EQ, "ne": OP.NE, "lt": OP.LT, "lte": OP.LTE, "gt": OP.GT, "gte": OP.GTE}
_LISTS = {"in": OP.IN, "nin": OP.NOT_IN}
_PATTERNS = {"like": OP.LIKE, "ilike": OP.ILIKE}
_OPERATORS = (*_COMPARISONS, *_LISTS, "between", *_PATTERNS, "exists")
_LOGIC = ("and", "or", "not")


def where(
    model: Any,
    filters: Mapping[str, Any],
    *,
    fields: Iterable[Any],
    max_depth: int = 8,
    max_terms: int = 64,
    max_items: int = 100,
    max_text: int = 1_000,
) -> ColumnBase:
    """A Peewee expression from a filter that came with a request, as JSON gives it.

    ``fields`` are all that may be asked for: fields of the model (or of an alias of it) and paths
    into its JSON fields. A filter names them by the field's or the column's name, a path with dots.
    Several conditions in one object must all hold. An empty filter holds for each row.

    Operators: ``eq ne lt lte gt gte in nin between like ilike exists``, and ``and or not`` around
    conditions; each may begin with ``$``. A value alone is ``eq``, and null means missing.
    As in SQL, no comparison holds for a missing value, nor does ``ne``, ``nin`` or ``not`` of one.
    At a JSON path, numbers, texts and booleans compare with their own kind only: between kinds
    nothing is less or equal, all is different. JSON's null is there (``exists``), and ``eq`` null.

    ``max_depth`` bounds nested ``and``, ``or`` and ``not``; ``max_terms`` the comparisons in all;
    ``max_items`` the values in a list; ``max_text`` the characters of a text.

    Raises :class:`~lightvec.errors.InvalidOption`, with the path of what is wrong in the filter.

    >>> from peewee import FloatField
    >>> class Product(Model):
    ...     price = FloatField(null=True)
    ...     class Meta:
    ...         database = database
    >>> cheap = where(Product, {"price": {"gt": 2, "$lte": 10}}, fields=[Product.price])
    >>> Product.select().where(cheap).sql()[1]
    [2.0, 10.0]
    >>> where(Product, {"or": [{"price": "x"}]}, fields=[Product.price])
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: filter.or[0].price: expected a number, got 'x' (str)
    """
    limits = _Limits(max_depth, max_terms, max_items, max_text)
    reader = _Reader(_operands(model, fields), limits)
    condition: ColumnBase
    condition = SQL("TRUE") if filters == {} else reader.conditions(filters, "filter")
    return condition


class _Limits(NamedTuple):
    depth: int
    terms: int
    items: int
    text: int


def _operands(model: Any, fields: Iterable[Any]) -> dict[str, _Operand]:
    """What may be asked for, by the keys that name it."""
    operands: dict[str, _Operand] = {}
    for each in fields:
        operand = _operand(model, each)
        for key in operand.keys:
            if key in _LOGIC or key.startswith("$"):
                raise InvalidOption(f"expected fields with other names than operators, got {key!r}")
            if key in operands:
                raise InvalidOption(f"expected fields with names of their own, got {key!r} twice")
            operands[key] = operand
    return operands


def _operand(model: Any, given: Any) -> _Operand:
    field, path = json_path(given) or (given, ())
    if not isinstance(field, Field) or field.model is not model:
        name = getattr(model, "__name__", model)
        raise InvalidOption(f"expected fields of {name} to filter by, got {show(given)}")
    names = dict.fromkeys((field.name, field.column_name))
    if path:
        return _JsonPath(tuple(".".join(map(str, (name, *path))) for name in names), field, given)
    kind = _kind(field)
    if kind is None:
        raise InvalidOption(
            f"expected a field of numbers, texts, booleans, times or UUIDs, or a path such as "
            f"{field.name}['key'] of a JSON field, got the {type(field).__name__} {field.name!r}"
        )
    return _Column(tuple(names), field, kind)


# Values


class _Kind(NamedTuple):
    """What a field takes: its name in errors, and a check that gives the value for ``db_value``."""

    noun: str
    check: Callable[[Any], Any]
    #: What ``db_value`` gives; it may pass on what it cannot convert.
    gives: type = object


#: What checks and conversions raise for a value of another kind.
_UNFIT = (ArithmeticError, TypeError, ValueError)


class _Refused(Exception):
    """A value of the right kind that a field cannot convert; it says what was expected."""


def _number(value: Any) -> Any:
    # isfinite() is an OverflowError for an int that no float holds, and False for such a Decimal.
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError
    is_decimal = isinstance(value, Decimal)
    if is_decimal and max(abs(value.adjusted()), len(value.as_tuple().digits)) > 308:
        raise ValueError
    return value


def _whole_number(value: Any) -> int:
    if _number(value) != int(value):
        raise ValueError
    return int(value)


def _instance(*types: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, types):
            raise TypeError
        return value

    return check


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(_instance(str)(value))


def _has_known_offset(moment: datetime) -> bool:
    """Whether PostgreSQL knows such a time zone: less than 16 hours, in whole seconds."""
    offset = moment.utcoffset() or timedelta()
    return abs(offset) < timedelta(hours=16) and not offset.microseconds


_KINDS: tuple[tuple[tuple[type[Field], ...], _Kind], ...] = (
    ((BooleanField,), _Kind("true or false", _instance(bool))),
    ((IntegerField,), _Kind("a whole number", _whole_number)),
    ((FloatField, DecimalField), _Kind("a number", _number)),
    ((CharField, TextField), _Kind("a text", _instance(str))),
    ((UUIDField,), _Kind("a UUID", _uuid)),
    (
        (DateTimeField,),
        _Kind("a time such as 2024-05-06T07:08:09", _instance(str, date), datetime),
    ),
    ((DateField,), _Kind("a date such as 2024-05-06", _instance(str, date), date)),
    ((TimeField,), _Kind("a time of day such as 07:08:09", _instance(str, time), time)),
)


def _kind(field: Any) -> _Kind | None:
    while isinstance(field, ForeignKeyField):
        field = field.rel_field
    if field.field_type == "TSVECTOR":  # a TextField in playhouse
        return None
    return next((kind for classes, kind in _KINDS if isinstance(field, classes)), None)


def _is_text(value: str) -> bool:
    """Whether PostgreSQL can hold it: not NUL, nor half a surrogate pair, which JSON can spell."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


# What is compared


@dataclass(frozen=True)
class _Column:
    """A column, whose values are of one kind."""

    keys: tuple[str, ...]
    field: Any
    kind: _Kind

    def noun(self, operator: str) -> str:
        return self.kind.noun

    def value(self, given: Any, operator: str) -> Any:
        checked = self.kind.check(given)
        try:
            converted = self.field.db_value(checked)
        # A field of the caller's may raise anything for a value that it does not know.
        except (*_UNFIT, AttributeError, LookupError) as error:
            raise _Refused(f"{self.kind.noun} that the field can store") from error
        if not isinstance(converted, self.kind.gives):
            raise ValueError
        if isinstance(converted, datetime) and not _has_known_offset(converted):
            raise ValueError
        return Value(converted, converter=False)

    def compare(self, op: str, value: Any, given: Any) -> Any:
        return Expression(self.field, op, value)

    def match(self, op: str, pattern: Any) -> Any:
        is_text = self.kind.noun == "a text"
        return Expression(self.field, op, pattern) if is_text else None

    def is_null(self) -> Any:
        return Expression(self.field, OP.IS, None)

    def is_missing(self) -> Any:
        return self.is_null()


@dataclass(frozen=True)
class _JsonPath:
    """A path into a document, whose values may be of any kind.

    As jsonb, values of unlike kinds can be compared; a cast of their text would be an error.
    """

    keys: tuple[str, ...]
    field: Any
    path: Any

    def noun(self, operator: str) -> str:
        return "a number or a text" if _is_order(operator) else "a number, a text, true or false"

    def value(self, given: Any, operator: str) -> Any:
        if isinstance(given, bool):
            if _is_order(operator):
                raise TypeError
        elif not isinstance(given, str):
            given = float(_number(given)) if isinstance(given, Decimal) else _number(given)
        return self._jsonb(Value(self.field.db_value(given), converter=False))

    def compare(self, op: str, value: Any, given: Any) -> Any:
        compared = Expression(self._document, op, value)
        if op in (OP.EQ, OP.NE, OP.IN, OP.NOT_IN):
            return compared
        return self._is("string" if isinstance(given, str) else "number") & compared

    def match(self, op: str, pattern: Any) -> Any:
        return self._is("string") & Expression(self._text, op, pattern)

    def is_null(self) -> Any:
        return Expression(self._text, OP.IS, None)

    def is_missing(self) -> Any:
        return Expression(self._document, OP.IS, None)

    def _is(self, name: str) -> Any:
        return fn.jsonb_typeof(self._document) == name

    def _jsonb(self, node: Any) -> Any:
        # Peewee's own JSONField is jsonb in PostgreSQL, playhouse's of this name is json.
        is_json = not isinstance(self.field, JSONField) and self.field.field_type == "JSON"
        return Cast(node, "jsonb") if is_json else node

    @property
    def _document(self) -> Any:
        path = self.path
        path = path.as_text(False) if isinstance(path, JSONPath) else path.as_json(True)
        return self._jsonb(path)

    @property
    def _text(self) -> Any:
        path = self.path
        return path.as_text(True) if isinstance(path, JSONPath) else path.as_json(False)


_Operand = _Column | _JsonPath


def _is_order(operator: str) -> bool:
    return operator in ("lt", "lte", "gt", "gte", "between")


# The filter


class _Reader:
    """Reads one filter, and counts its comparisons."""

    def __init__(self, operands: dict[str, _Operand], limits: _Limits) -> None:
        self._operands = operands
        self._limits = limits
        self._found = 0

    def conditions(self, given: Any, path: str, depth: int = 0) -> Any:
        """An object of conditions that must all hold."""
        if not isinstance(given, Mapping) or not given:
            _refuse(path, "an object of conditions", given)
        return _combined(and_, (self._entry(*entry, path, depth) for entry in given.items()))

    def _entry(self, key: Any, value: Any, path: str, depth: int) -> Any:
        name = _plain(key)
        if name in _LOGIC:
            if depth == self._limits.depth:
                raise InvalidOption(f"{path}: expected at most {depth} levels of and, or and not")
            return self._logic(name, value, f"{path}.{key}", depth + 1)
        if not isinstance(key, str) or key not in self._operands:
            _refuse(path, f"one of {', '.join((*self._operands, *_LOGIC))}", key)
        return self._field(self._operands[key], value, f"{path}.{key}")

    def _logic(self, name: str, value: Any, path: str, depth: int) -> Any:
        if name == "not" and isinstance(value, Mapping):
            return ~self.conditions(value, path, depth)
        if not isinstance(value, list | tuple) or not value:
            _refuse(path, "a list of conditions", value)
        items = (self.conditions(item, f"{path}[{n}]", depth) for n, item in enumerate(value))
        if name == "not":  # langchain-postgres: none of them
            return ~_combined(or_, items)
        return _combined(or_ if name == "or" else and_, items)

    def _field(self, operand: _Operand, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._term(operand, "eq", value, path)
        if not value:
            _refuse(path, "a value or an object of operators", value)
        return _combined(and_, (self._operator(operand, *entry, path) for entry in value.items()))

    def _operator(self, operand: _Operand, key: Any, value: Any, path: str) -> Any:
        name = _plain(key)
        if name not in _OPERATORS:
            _refuse(path, f"an operator ({', '.join(_OPERATORS)})", key)
        return self._term(operand, name, value, f"{path}.{key}")

    def _term(self, operand: _Operand, name: str, given: Any, path: str) -> Any:
        self._found += 1
        if self._found > self._limits.terms:
            raise InvalidOption(f"{path}: expected at most {self._limits.terms} comparisons")
        if name == "exists":
            if not isinstance(given, bool):
                _refuse(path, "true or false", given)
            return ~operand.is_missing() if given else operand.is_missing()
        if name in _PATTERNS:
            return self._match(operand, _PATTERNS[name], given, path)
        if name in _LISTS:
            values = [each for each, _ in self._values(operand, name, given, path)]
            return operand.compare(_LISTS[name], values, given)
        if name == "between":
            if not isinstance(given, list | tuple) or len(given) != 2:
                _refuse(path, "a list of two values", given)
            ends = zip((OP.GTE, OP.LTE), self._values(operand, name, given, path), strict=True)
            return _combined(and_, (operand.compare(op, *end) for op, end in ends))
        if given is None and name in ("eq", "ne"):
            return operand.is_null() if name == "eq" else ~operand.is_null()
        return operand.compare(_COMPARISONS[name], self._value(operand, name, given, path), given)

    def _match(self, operand: _Operand, op: str, pattern: Any, path: str) -> Any:
        if not isinstance(pattern, str) or len(pattern) - len(pattern.rstrip("\\")) & 1:
            _refuse(path, "a pattern in which % and _ are wildcards and \\ escapes one", pattern)
        self._check_text(pattern, path)
        matched = operand.match(op, Value(pattern, converter=False))
        if matched is None:
            raise InvalidOption(f"{path}: expected a field of texts for a pattern")
        return matched

    def _values(self, operand: _Operand, name: str, given: Any, path: str) -> list[tuple[Any, Any]]:
        """The values of a list, and what they are made of."""
        if not isinstance(given, list | tuple) or len(given) > self._limits.items:
            _refuse(path, f"a list of at most {self._limits.items} values", given)
        items = enumerate(given)
        return [(self._value(operand, name, item, f"{path}[{n}]"), item) for n, item in items]

    def _value(self, operand: _Operand, name: str, given: Any, path: str) -> Any:
        if isinstance(given, str):
            self._check_text(given, path)
        try:
            return operand.value(given, name)
        except _Refused as error:
            _refuse(path, str(error), given, error)
        except _UNFIT as error:
            _refuse(path, operand.noun(name), given, error)

    def _check_text(self, given: str, path: str) -> None:
        if len(given) > self._limits.text:
            most = f"at most {self._limits.text:,} characters"
            raise InvalidOption(f"{path}: expected {most}, got {len(given):,}")
        if not _is_text(given):
            _refuse(path, "a text without NUL and surrogates", given)


def _plain(key: Any) -> str:
    """The name of an operator, with or without ``$``."""
    return key.removeprefix("$") if isinstance(key, str) else ""


def _combined(op: Callable[[Any, Any], Any], conditions: Iterable[Any]) -> Any:
    """All of them by AND or OR, in pairs of pairs: Peewee writes nested expressions recursively."""
    left = list(conditions)
    while len(left) > 1:
        left = [reduce(op, left[n : n + 2]) for n in range(0, len(left), 2)]
    return left[0]


def _refuse(path: str, wanted: str, given: Any, cause: Exception | None = None) -> NoReturn:
    raise InvalidOption(f"{path}: expected {wanted}, got {show(given)}") from cause
