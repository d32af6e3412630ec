"""Rows into a model's table by binary COPY.

A COPY has one list of columns: the first row decides which fields are loaded and how rows are read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from peewee import (
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    Node,
    TextField,
)

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee._seam import peewee_errors
from lightvec.peewee.fields import HalfVectorField, VectorField
from lightvec.pg8000.exceptions import DataError, ProgrammingError
from lightvec.types.inputs import is_ndarray, is_table, show, show_unread
from lightvec.wire.copy import load
from lightvec.wire.copy.conflict import check_on_conflict
from lightvec.wire.copy.load import Progress

#: The fields to load, those among them that were not asked for, and the reader of a row's values.
_Read = Callable[[Any], Sequence[Any]]
_Reader = tuple[list[Any], list[Any], _Read]

_NO_SEQUENCES = (str, bytes, bytearray, memoryview, Mapping, Set, Node)
_PLAIN_VECTORS = frozenset([list, tuple, array])

#: Fields whose ``adapt`` returns values of this type unchanged. Calling it for each of them made
#: rows of five values take 1.4 times as long.
_UNCHANGED: Mapping[Any, type] = {
    IntegerField.adapt: int,
    FloatField.adapt: float,
    TextField.adapt: str,
    DateTimeField.adapt: datetime,
}


def copy_rows(
    database: Any,
    model: Any,
    rows: Iterable[Any],
    fields: Iterable[Field | str] | None,
    on_conflict: str | None,
    progress: Progress | None,
) -> int:
    check_on_conflict(on_conflict)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise InvalidOption(f"expected a model class to load rows into, got {model!r}")
    name = model.__name__
    unread = show_unread(rows)
    if unread or not isinstance(rows, Iterable) or is_table(rows):
        got = unread or show(rows)
        raise InvalidOption(f"expected an iterable of rows to load into {name}, got {got}")
    chosen = None if fields is None else _chosen_fields(model, fields)
    callers_error: BaseException | None = None

    @contextmanager
    def callers_code() -> Iterator[None]:
        nonlocal callers_error
        try:
            yield
        except BaseException as error:
            callers_error = error
            raise

    def given() -> Iterator[Any]:
        with callers_code():
            yield from rows

    def report(count: int) -> None:
        with callers_code():
            if progress is not None:
                progress(count)

    try:
        return _load(database, model, given(), chosen, on_conflict, report)
    except Exception as error:
        if error is callers_error:
            raise
        is_about_rows = isinstance(error, (DataError, ProgrammingError, InvalidVector))
        if is_about_rows and not getattr(error, "fields", None):
            error.args = (f"{name}: {error}",)
        with peewee_errors:
            raise


def _load(
    database: Any,
    model: Any,
    rows: Iterator[Any],
    chosen: list[Field] | None,
    on_conflict: str | None,
    progress: Progress,
) -> int:
    first = next(rows, rows)
    if first is rows:
        progress(0)
        return 0
    try:
        fields, defaulted, read = _reader(model, chosen, first)
    except DataError as error:
        _add_row(1, error)
        raise
    meta = model._meta
    return load.copy_rows(
        database.live_connection().session,
        (meta.schema, meta.table_name) if meta.schema else meta.table_name,
        [field.column_name for field in fields],
        _converted(fields, read, chain([first], rows)),
        on_conflict=on_conflict,
        left_alone=[field.column_name for field in defaulted],
        progress=progress,
    )


def _add_row(number: int, error: DataError) -> None:
    error.args = (f"row {number:,}: {error}",)


def _chosen_fields(model: Any, fields: Iterable[Field | str]) -> list[Field]:
    name = model.__name__
    wanted = f"expected the fields of {name} to load"
    if isinstance(fields, (str, Field)) or not isinstance(fields, Iterable):
        raise InvalidOption(f"{wanted} as a list, got {fields!r}")
    chosen: dict[Field, None] = {}
    for key in fields:
        field = _field(model, key)
        if field is None:
            raise InvalidOption(f"{name} has no field {show(key)}: it has {_names(model._meta.sorted_fields)}")
        if field in chosen:
            raise InvalidOption(f"expected each field of {name} once, got {field.name!r} twice")
        chosen[field] = None
    if not chosen:
        raise InvalidOption(f"{wanted}, got none")
    return list(chosen)


def _field(model: Any, key: Any) -> Field | None:
    """The field by itself, its name, its column's or that of a foreign key's ID."""
    if isinstance(key, str):
        key = model._meta.combined.get(key) or getattr(model, key, None)
    is_own = isinstance(key, Field) and model._meta.fields.get(key.name) is key
    return key if is_own else None


def _without(fields: Iterable[Field], others: Iterable[Field]) -> list[Field]:
    excluded = set(others)
    return [field for field in fields if field not in excluded]


def _auto_increment(model: Any) -> list[Field]:
    return [model._meta.primary_key] if model._meta.auto_increment else []


def _names(fields: Iterable[Field]) -> str:
    return ", ".join(field.name for field in fields)


def _reader(model: Any, chosen: list[Field] | None, first: Any) -> _Reader:
    if isinstance(first, Mapping):
        return _dict_reader(model, chosen, first)
    if isinstance(first, Model):
        return _instance_reader(model, chosen, first)
    if _is_sequence(first):
        return _sequence_reader(model, chosen, first)
    raise DataError(f"expected a dict, a list, a tuple or a {model.__name__}, got {show(first)}")


def _sequence_reader(model: Any, chosen: list[Field] | None, first: Any) -> _Reader:
    # The hash of a vector's source (HashField) is for fill() to write.
    given = chosen or [each for each in model._meta.sorted_fields if not hasattr(each, "vector_field")]
    if chosen is None and len(first) < len(given):
        given = _without(given, _auto_increment(model))
    defaulted = _defaulted(model, given)
    defaults = list(map(_default, defaulted))

    def read(row: Any) -> Sequence[Any]:
        is_sequence = _is_sequence(row)
        if not is_sequence or len(row) != len(given):
            got = len(row) if is_sequence else show(row)
            raise DataError(f"expected {len(given)} values ({_names(given)}), got {got}")
        return [*row, *(make() for make in defaults)] if defaults else row

    return given + defaulted, defaulted, read


def _instance_reader(model: Any, chosen: list[Field] | None, first: Any) -> _Reader:
    keys = [] if chosen else _auto_increment(model)
    has_key = all(getattr(first, key.name, None) is not None for key in keys)
    given = chosen or _without(model._meta.sorted_fields, [] if has_key else keys)
    defaulted = _defaulted(model, given)
    fields: list[Any] = given + defaulted
    # A foreign key by the name of its ID: Peewee would query for the related instance.
    get = _getter(attrgetter, [field.safe_name for field in fields])

    def read(row: Any) -> Sequence[Any]:
        if not isinstance(row, model):
            raise DataError(f"expected an instance of {model.__name__}, got {show(row)}")
        for key in keys:
            if (getattr(row, key.name) is not None) != has_key:
                wanted = f"an instance {'with' if has_key else 'without'} {key.name}, as row 1 is"
                raise DataError(f"expected {wanted}: load the two kinds separately")
        return get(row)

    return fields, defaulted, read


def _dict_reader(model: Any, chosen: list[Field] | None, first: Any) -> _Reader:
    every = model._meta.sorted_fields

    def keys_of(row: Mapping[Any, Any]) -> dict[str, Any]:
        """The row's keys by the fields' names."""
        keys: dict[str, Any] = {}
        for key in row:
            field = _field(model, key)
            if field is not None and field.name in keys:
                raise DataError(f"expected {field.name!r} once, got it twice")
            if field is not None:
                keys[field.name] = key
            elif chosen is None:
                raise DataError(f"no field {show(key)}: there are {_names(every)}")
        return keys

    keys = keys_of(first)
    named = chosen or [field for field in every if field.name in keys]
    defaulted = _defaulted(model, named)
    given = [field for field in named + defaulted if field.name in keys]
    missing = _without(named + defaulted, given)
    fields = given + missing
    first_keys = frozenset(first)
    get = _getter(itemgetter, [keys[field.name] for field in given])
    defaults = list(map(_default, missing))

    def read(row: Any) -> Sequence[Any]:
        if not isinstance(row, Mapping):
            raise DataError(f"expected a dict, as row 1 is, got {show(row)}")
        if row.keys() == first_keys:
            values = get(row)
            return [*values, *(make() for make in defaults)] if defaults else values
        keys = keys_of(row)
        others = keys.keys() - {field.name for field in fields}
        if others and chosen is None:
            unknown = f"{min(others)!r} is not among the keys of row 1"
            raise DataError(f"{unknown}: name the fields to load")
        return [row[keys[each.name]] if each.name in keys else _default(each)() for each in fields]

    return fields, defaulted, read


def _defaulted(model: Any, named: list[Field]) -> list[Field]:
    others = _without(model._meta.sorted_fields, named)
    defaulted = [field for field in others if field.default is not None]
    if not named and not defaulted:
        raise DataError("expected a dict with values of some fields, got an empty one")
    return defaulted


def _is_sequence(row: Any) -> bool:
    if isinstance(row, (list, tuple)):
        return True
    return hasattr(row, "__len__") and not isinstance(row, _NO_SEQUENCES)


def _getter(kind: Any, keys: Sequence[Any]) -> _Read:
    """``itemgetter`` or ``attrgetter``, which gives a sequence for any number of keys."""
    if len(keys) > 1:
        return kind(*keys)  # type: ignore[no-any-return]
    getters = [kind(key) for key in keys]
    return lambda row: [get(row) for get in getters]


def _default(field: Field) -> Callable[[], Any]:
    """What makes the value that a row leaves out."""
    default = field.default
    if default is None and not field.null:
        raise DataError(f"expected a value for {field.name!r}, which has no default and is not null")
    return default if callable(default) else lambda: default


def _converted(fields: list[Field], read: _Read, rows: Iterable[Any]) -> Iterator[Sequence[Any]]:
    converters = list(map(_converter, fields))
    for number, row in enumerate(rows, 1):
        try:
            values = read(row)
        except DataError as error:
            _add_row(number, error)
            raise
        try:
            converted = [
                value if type(value) is unchanged or convert is None else convert(value)
                for (unchanged, convert), value in zip(converters, values, strict=True)
            ]
        except Exception:
            for field, value in zip(fields, values, strict=True):
                _check(field, value, number)
            raise
        yield converted


def _converter(field: Field) -> tuple[type | None, Callable[[Any], Any] | None]:
    """A type whose values need no conversion, and the conversion."""
    db_value, adapt = type(field).db_value, getattr(field.adapt, "__func__", None)
    if isinstance(field, (VectorField, HalfVectorField)) and db_value is VectorField.db_value:
        return None, partial(_vector, field)
    if db_value is not Field.db_value:
        return None, partial(_db_value, field)
    return _UNCHANGED.get(adapt), None if adapt is Field.adapt else partial(_db_value, field)


def _vector(field: VectorField | HalfVectorField, value: Any) -> Any:
    """Plain numbers unchanged: COPY packs them without a vector in between."""
    is_plain = type(value) in _PLAIN_VECTORS or is_ndarray(value)
    if is_plain and field.dimensions in (None, len(value)):
        return value
    return _db_value(field, value)


def _db_value(field: Field, value: Any) -> Any:
    is_instance = isinstance(value, Model) and isinstance(field, ForeignKeyField)
    if is_instance or not isinstance(value, Node):
        value = field.db_value(value)
    if isinstance(value, Node):
        raise ValueError("COPY takes values only: load rows with SQL expressions by insert_many")
    # The server reads a number from text in an INSERT, but not in a binary COPY.
    is_text = isinstance(value, str) and isinstance(field, DecimalField)
    return Decimal(value) if is_text else value


def _check(field: Field, value: Any, number: int) -> None:
    """Convert a value, to name the row and the field in the exception."""
    try:
        _db_value(field, value)
    except Exception as error:
        place = f"row {number:,}, field {field.name!r}"
        if isinstance(error, InvalidVector):
            raise InvalidVector(f"{place}: {error}") from None
        reason = f" ({error})" if isinstance(error, (TypeError, ValueError)) else ""
        wanted = f"a value for {type(field).__name__}"
        raise DataError(f"{place}: expected {wanted}, got {show(value)}{reason}") from error
