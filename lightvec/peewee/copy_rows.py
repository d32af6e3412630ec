"""Rows into a model's table by binary COPY.

A COPY has one list of columns, so the first row decides which fields are loaded and how rows are
read: as dicts, as model instances or as sequences of values.
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
from types import MappingProxyType
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
from lightvec.types.inputs import is_ndarray, is_table, show
from lightvec.wire.copy import load
from lightvec.wire.copy.conflict import check_on_conflict
from lightvec.wire.copy.load import Progress

__all__ = ["copy_rows"]

_PLAIN_VECTORS = frozenset([list, tuple, array])

#: Fields whose ``adapt`` returns values of this type unchanged. Calling it for each of them made
#: rows of five values take 1.4 times as long.
_UNCHANGED: Mapping[Any, type] = MappingProxyType(
    {
        IntegerField.adapt: int,
        FloatField.adapt: float,
        TextField.adapt: str,
        DateTimeField.adapt: datetime,
    }
)


def copy_rows(
    database: Any,
    model: type[Model],
    rows: Iterable[Any],
    fields: Iterable[Field | str] | None = None,
    *,
    on_conflict: str | None = None,
    progress: Progress | None = None,
) -> int:
    """What :meth:`lightvec.peewee.Pg8000Database.copy_rows` does."""
    check_on_conflict(on_conflict)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise InvalidOption(f"expected a model class to load rows into, got {model!r}")
    name = model.__name__
    if not isinstance(rows, Iterable) or is_table(rows):
        raise InvalidOption(f"expected an iterable of rows to load into {name}, got {show(rows)}")
    chosen = None if fields is None else _chosen_fields(model, fields)
    caller = _CallerCode()
    report = caller.progress(progress)
    try:
        return _load(database, model, caller.rows(rows), chosen, on_conflict, report)
    except Exception as error:
        if error is caller.error:
            raise
        is_about_rows = isinstance(error, (DataError, ProgrammingError, InvalidVector))
        if is_about_rows and not getattr(error, "fields", None):
            error.args = (f"{name}: {error}",)
        with peewee_errors:
            raise


def _load(
    database: Any,
    model: type[Model],
    rows: Iterator[Any],
    chosen: list[Field] | None,
    on_conflict: str | None,
    progress: Progress,
) -> int:
    first = next(rows, rows)
    if first is rows:
        progress(0)
        return 0
    reader = _reader(model, chosen, first)
    meta: Any = model._meta
    return load.copy_rows(
        database.live_connection().session,
        (meta.schema, meta.table_name) if meta.schema else meta.table_name,
        [field.column_name for field in reader.fields],
        _converted(reader, chain([first], rows)),
        on_conflict=on_conflict,
        left_alone=[field.column_name for field in reader.defaulted],
        progress=progress,
    )


class _CallerCode:
    """Runs the caller's iterator and ``progress``, whose exceptions must be passed on unchanged."""

    error: BaseException | None = None

    def rows(self, rows: Iterable[Any]) -> Iterator[Any]:
        with self._remembering():
            yield from rows

    def progress(self, progress: Progress | None) -> Progress:
        def report(count: int) -> None:
            with self._remembering():
                if progress is not None:
                    progress(count)

        return report

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise


# Fields


def _chosen_fields(model: type[Model], fields: Iterable[Field | str]) -> list[Field]:
    name = model.__name__
    if isinstance(fields, (str, Field)) or not isinstance(fields, Iterable):
        raise InvalidOption(f"expected the fields of {name} to load as a list, got {fields!r}")
    chosen: list[Field] = []
    for key in fields:
        field = _field(model, key)
        if field is None:
            raise InvalidOption(f"{name} has no field {show(key)}: it has {_names(model)}")
        if any(field is other for other in chosen):
            raise InvalidOption(f"expected each field of {name} once, got {field.name!r} twice")
        chosen.append(field)
    if not chosen:
        raise InvalidOption(f"expected the fields of {name} to load, got none")
    return chosen


def _field(model: type[Model], key: Any) -> Field | None:
    """The field of a model by itself, its name, its column's or that of a foreign key's ID."""
    meta: Any = model._meta
    if isinstance(key, str):
        key = meta.combined.get(key) or getattr(model, key, None)
    field: Field | None = meta.fields.get(key.name) if isinstance(key, Field) else None
    return field if field is key else None


def _all_fields(model: type[Model]) -> list[Field]:
    meta: Any = model._meta
    return list(meta.sorted_fields)


def _without(fields: Sequence[Field], others: Sequence[Field]) -> list[Field]:
    # By identity: == of two fields is SQL.
    excluded = set(map(id, others))
    return [field for field in fields if id(field) not in excluded]


def _auto_increment(model: type[Model]) -> list[Field]:
    meta: Any = model._meta
    return [meta.primary_key] if meta.auto_increment else []


def _names(model: type[Model]) -> str:
    return ", ".join(field.name for field in _all_fields(model))


# Readers: from a row to the values of the fields


def _reader(model: type[Model], chosen: list[Field] | None, first: Any) -> _Reader:
    """The reader for rows like the first one."""
    if isinstance(first, Mapping):
        return _DictReader(model, chosen, first)
    if isinstance(first, Model):
        return _InstanceReader(model, chosen, first)
    if _is_sequence(first):
        return _SequenceReader(model, chosen, first)
    name = model.__name__
    raise DataError(f"row 1: expected a dict, a list, a tuple or a {name}, got {show(first)}")


class _Reader:
    """Reads the values of ``fields``, among which ``defaulted`` were not asked for."""

    def __init__(self, model: type[Model], named: list[Field]) -> None:
        others = _without(_all_fields(model), named)
        self.model = model
        self.defaulted = [field for field in others if field.default is not None]
        self.fields = named + self.defaulted
        if not self.fields:
            raise DataError("row 1: expected a dict with values of some fields, got an empty one")

    def read(self, row: Any, number: int) -> Sequence[Any]:
        """The values of a row, counted from 1."""
        raise NotImplementedError


class _SequenceReader(_Reader):
    def __init__(self, model: type[Model], chosen: list[Field] | None, first: Any) -> None:
        self._given = chosen or _all_fields(model)
        if chosen is None and len(first) < len(self._given):
            self._given = _without(self._given, _auto_increment(model))
        super().__init__(model, self._given)
        self._defaults = [_default(field, 1) for field in self.defaulted]

    def read(self, row: Any, number: int) -> Sequence[Any]:
        is_sequence = isinstance(row, (list, tuple)) or _is_sequence(row)
        if not is_sequence or len(row) != len(self._given):
            got = len(row) if is_sequence else show(row)
            names = ", ".join(field.name for field in self._given)
            wanted = f"{len(self._given)} values ({names})"
            raise DataError(f"row {number:,}: expected {wanted}, got {got}")
        return [*row, *(make() for make in self._defaults)] if self._defaults else row


class _InstanceReader(_Reader):
    def __init__(self, model: type[Model], chosen: list[Field] | None, first: Any) -> None:
        keys = [] if chosen else _auto_increment(model)
        missing = [key for key in keys if getattr(first, key.name, None) is None]
        super().__init__(model, chosen or _without(_all_fields(model), missing))
        self._keys = {key.name: not missing for key in keys}
        # A foreign key by the name of its ID: Peewee would query for the related instance.
        names = [field.safe_name for field in self.fields]  # type: ignore[attr-defined]
        self._get = _getter(attrgetter, names)

    def read(self, row: Any, number: int) -> Sequence[Any]:
        if not isinstance(row, self.model):
            name = self.model.__name__
            raise DataError(f"row {number:,}: expected an instance of {name}, got {show(row)}")
        for name, has_key in self._keys.items():
            if (getattr(row, name) is not None) != has_key:
                wanted = f"an instance {'with' if has_key else 'without'} {name}, as row 1 is"
                raise DataError(f"row {number:,}: expected {wanted}: load the two kinds separately")
        return self._get(row)


class _DictReader(_Reader):
    def __init__(self, model: type[Model], chosen: list[Field] | None, first: Any) -> None:
        self._skips_unknown_keys = chosen is not None
        keys = self._keys(model, first, 1)
        super().__init__(model, chosen or [key for key in _all_fields(model) if key.name in keys])
        given = [field for field in self.fields if field.name in keys]
        missing = _without(self.fields, given)
        self.fields = given + missing
        self._first_keys = frozenset(first)
        self._get = _getter(itemgetter, [keys[field.name] for field in given])
        self._defaults = [_default(field, 1) for field in missing]

    def read(self, row: Any, number: int) -> Sequence[Any]:
        if not isinstance(row, Mapping):
            raise DataError(f"row {number:,}: expected a dict, as row 1 is, got {show(row)}")
        if row.keys() == self._first_keys:
            values = self._get(row)
            return [*values, *(make() for make in self._defaults)] if self._defaults else values
        keys = self._keys(self.model, row, number)
        others = keys.keys() - {field.name for field in self.fields}
        if others and not self._skips_unknown_keys:
            unknown = f"{min(others)!r} is not among the keys of row 1"
            raise DataError(f"row {number:,}: {unknown}: name the fields to load")
        values = []
        for field in self.fields:
            is_given = field.name in keys
            values.append(row[keys[field.name]] if is_given else _default(field, number)())
        return values

    def _keys(self, model: type[Model], row: Mapping[Any, Any], number: int) -> dict[str, Any]:
        """Names of fields to the row's keys."""
        keys: dict[str, Any] = {}
        for key in row:
            field = _field(model, key)
            if field is None and not self._skips_unknown_keys:
                names = _names(model)
                raise DataError(f"row {number:,}: no field {show(key)}: there are {names}")
            if field is None:
                continue
            if field.name in keys:
                raise DataError(f"row {number:,}: expected {field.name!r} once, got it twice")
            keys[field.name] = key
        return keys


def _is_sequence(row: Any) -> bool:
    others = (str, bytes, bytearray, memoryview, Mapping, Set, Node)
    return hasattr(row, "__len__") and not isinstance(row, others)


def _getter(kind: Any, keys: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """``itemgetter`` or ``attrgetter`` that gives a sequence for one key and for none, too."""
    if len(keys) > 1:
        getter: Callable[[Any], Sequence[Any]] = kind(*keys)
        return getter
    getters = [kind(key) for key in keys]
    return lambda row: [get(row) for get in getters]


def _default(field: Field, number: int) -> Callable[[], Any]:
    """What makes the value of a field that a row leaves out."""
    default = field.default
    if default is None and not field.null:
        wanted = f"a value for {field.name!r}, which has no default and is not null"
        raise DataError(f"row {number:,}: expected {wanted}")
    return default if callable(default) else lambda: default


# Values


def _converted(reader: _Reader, rows: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """The rows with each value as COPY takes it."""
    converters = list(map(_converter, reader.fields))
    for number, row in enumerate(rows, 1):
        values = reader.read(row, number)
        try:
            converted = [
                value if type(value) is unchanged or convert is None else convert(value)
                for (unchanged, convert), value in zip(converters, values, strict=True)
            ]
        except Exception:
            for field, value in zip(reader.fields, values, strict=True):
                _check(field, value, number)
            raise
        yield converted


def _converter(field: Field) -> tuple[type | None, Callable[[Any], Any] | None]:
    """A type whose values need no conversion, and the conversion, if there is one."""
    db_value, adapt = type(field).db_value, getattr(field.adapt, "__func__", None)
    if isinstance(field, (VectorField, HalfVectorField)) and db_value is VectorField.db_value:
        return None, partial(_vector, field)
    if db_value is not Field.db_value:
        return None, partial(_db_value, field)
    return _UNCHANGED.get(adapt), None if adapt is Field.adapt else partial(_db_value, field)


def _vector(field: VectorField | HalfVectorField, value: Any) -> Any:
    """Plain numbers unchanged: COPY packs them directly, without a vector in between."""
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
    """Convert a value, with the row and the field in the exception."""
    try:
        _db_value(field, value)
    except Exception as error:
        place = f"row {number:,}, field {field.name!r}"
        if isinstance(error, InvalidVector):
            raise InvalidVector(f"{place}: {error}") from error
        reason = f" ({error})" if isinstance(error, (TypeError, ValueError)) else ""
        wanted = f"a value for {type(field).__name__}"
        raise DataError(f"{place}: expected {wanted}, got {show(value)}{reason}") from error
