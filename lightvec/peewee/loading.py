"""Rows into a model's table by binary COPY.

A COPY has one list of columns, so the first row decides which fields are loaded and how rows are read: as dicts, as
model instances or as values in order. What a reader gives goes through the fields' ``db_value`` and is then what
:mod:`lightvec.wire.copy.load` takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from peewee import DateTimeField, DecimalField, Field, FloatField, ForeignKeyField, IntegerField, Model, Node, TextField

from lightvec.errors import InvalidOption, InvalidVector
from lightvec.peewee._seam import peewee_errors
from lightvec.peewee.fields import HalfVectorField, VectorField
from lightvec.pg8000.exceptions import DataError, ProgrammingError
from lightvec.types.inputs import is_ndarray, is_table, show
from lightvec.wire.copy import load
from lightvec.wire.copy.conflict import check_on_conflict
from lightvec.wire.copy.load import Progress

__all__ = ["copy_rows"]

Convert = Callable[[Any], Any]

_PLAIN = frozenset([list, tuple, array])

#: What ``adapt`` gives back as it is. To ask for each value took rows of five about 1.4 times as long.
_AS_IT_IS: Mapping[Any, type] = MappingProxyType(
    {IntegerField.adapt: int, FloatField.adapt: float, TextField.adapt: str, DateTimeField.adapt: datetime}
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
    """Load rows into a model's table by binary COPY; how many rows went in.

    It is ``insert_many`` for many rows: as quick as the server takes them, with bounded memory, and without the keys
    that ``insert_many`` returns. ``rows`` may be any iterable and is never held as a whole. All are of one kind:

    - dicts, by fields' names, columns' names or the fields themselves; the first one's keys are the fields to load,
      unless ``fields`` picks some of them;
    - model instances, all of which have a key that counts up by itself, or none of which has;
    - lists, tuples or other sequences of the values of ``fields``, or of all fields in the model's order, with or
      without a key that counts up by itself.

    As with ``insert_many``, fields that rows leave out have their ``default``, called for each row if it is a function,
    or NULL where ``null=True``; values go through the field's ``db_value``, so a vector may be a list, a tuple, an
    ``array.array`` or a NumPy array of any float or integer dtype, and a foreign key an instance; and neither
    ``save()`` nor the signals of ``playhouse.signals`` are called. SQL expressions cannot be values here.

    ``on_conflict="ignore"`` leaves out rows that violate a unique constraint. ``"update"`` writes the fields
    that the first row has, or those in ``fields``, over the row with the same primary key (or, without that, the only
    unique key among them); of several rows with the same key in the load the last one stays. What is returned is then
    the number of rows inserted or updated. ``progress`` is called with the rows sent so far, now and then and with the
    total at the end.

    In a transaction it is part of that; outside one it is all or nothing. Whatever it raises, nothing is kept and the
    connection stays good: what the iterable or ``progress`` raises, as it is; ``peewee.DataError`` and
    :class:`~lightvec.errors.InvalidVector` naming the row, counted from 1, for what cannot be sent;
    ``peewee.IntegrityError`` and its like for what the server says; :class:`~lightvec.errors.InvalidOption` for a
    field or an ``on_conflict`` that there is not. Rows are sent once: where the connection breaks meanwhile, that is an
    error.

    >>> from peewee import IntegerField, TextField
    >>> class Item(Model):
    ...     title = TextField()
    ...     number = IntegerField(default=0)
    ...     embedding = VectorField(2, null=True)
    ...     class Meta:
    ...         database = database
    ...         temporary = True
    >>> Item.create_table()
    >>> database.copy_rows(Item, ({"title": title, "embedding": [1, 2]} for title in "abc"))
    3
    >>> database.copy_rows(Item, [(3, "c", 7), (4, "d", 8)], ["id", "title", "number"], on_conflict="update")
    2
    >>> list(Item.select(Item.title, Item.number, Item.embedding).where(Item.id >= 3).order_by(Item.id).tuples())
    [('c', 7, Vector([1.0, 2.0])), ('d', 8, None)]
    """
    check_on_conflict(on_conflict)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise InvalidOption(f"expected a model class to load rows into, got {model!r}")
    if not isinstance(rows, Iterable) or is_table(rows):
        raise InvalidOption(f"expected an iterable of rows to load into {model.__name__}, got {show(rows)}")
    listed = None if fields is None else _listed(model, fields)
    theirs = _Theirs()
    try:
        return _load(database, model, theirs.rows(rows), listed, on_conflict, theirs.progress(progress))
    except Exception as error:
        if error is theirs.error:
            raise
        if isinstance(error, (DataError, ProgrammingError, InvalidVector)) and not getattr(error, "fields", None):
            error.args = (f"{model.__name__}: {error}",)
        with peewee_errors:
            raise


def _load(
    database: Any,
    model: type[Model],
    rows: Iterator[Any],
    listed: list[Field] | None,
    on_conflict: str | None,
    progress: Progress,
) -> int:
    first = next(rows, rows)
    if first is rows:
        progress(0)
        return 0
    reader = _RowReader(model, listed, first)
    meta: Any = model._meta
    return load.copy_rows(
        database.live_connection().session,
        (meta.schema, meta.table_name) if meta.schema else meta.table_name,
        [field.column_name for field in reader.fields],
        _converted(reader, chain([first], rows)),
        on_conflict=on_conflict,
        left_alone=[field.column_name for field in reader.unnamed],
        progress=progress,
    )


class _Theirs:
    """What the caller's own code raised while it made the rows or heard of them: that is his, and is left as it is."""

    error: BaseException | None = None

    def rows(self, rows: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from rows
        except BaseException as error:
            self.error = error
            raise

    def progress(self, progress: Progress | None) -> Progress:
        def report(count: int) -> None:
            try:
                if progress is not None:
                    progress(count)
            except BaseException as error:
                self.error = error
                raise

        return report


# Fields


def _listed(model: type[Model], fields: Iterable[Field | str]) -> list[Field]:
    """The fields that the caller named."""
    if isinstance(fields, (str, Field)) or not isinstance(fields, Iterable):
        raise InvalidOption(f"expected the fields of {model.__name__} to load as a list, got {fields!r}")
    found: list[Field] = []
    for name in fields:
        field = _field(model, name)
        if field is None:
            raise InvalidOption(f"{model.__name__} has no field {_named(name)}: it has {_names(_all(model))}")
        if any(field is other for other in found):
            raise InvalidOption(f"expected each field of {model.__name__} once, got {field.name!r} twice")
        found.append(field)
    if not found:
        raise InvalidOption(f"expected the fields of {model.__name__} to load, got none")
    return found


def _field(model: type[Model], key: Any) -> Field | None:
    """The field of a model by itself, by its name, its column's or that of a foreign key's id."""
    meta: Any = model._meta
    if isinstance(key, str):
        key = meta.combined.get(key) or getattr(model, key, None)
    field: Field | None = meta.fields.get(key.name) if isinstance(key, Field) else None
    return field if field is key else None


def _all(model: type[Model]) -> list[Field]:
    meta: Any = model._meta
    return list(meta.sorted_fields)


def _counted(model: type[Model]) -> Field | None:
    """The primary key that the database counts up by itself, if the model has one."""
    meta: Any = model._meta
    return meta.primary_key if meta.auto_increment else None


def _without(fields: Sequence[Field], left_out: Iterable[Field | None]) -> list[Field]:
    """Fields are compared as objects: ``==`` makes SQL of them."""
    places = set(map(id, left_out))
    return [field for field in fields if id(field) not in places]


def _defaulted(model: type[Model], given: Sequence[Field]) -> list[Field]:
    """The fields that are not given and have a default in Python: they are loaded, too."""
    return [field for field in _without(_all(model), given) if field.default is not None]


def _names(fields: Iterable[Field]) -> str:
    return ", ".join(field.name for field in fields)


def _named(key: Any) -> str:
    return f"{key.name!r} of its own" if isinstance(key, Field) else show(key)


# From a row to the values of the fields


class _RowReader:
    """Reads rows of the first one's kind: a dict, an instance, or a sequence of values.

    ``fields`` are those of the values; ``unnamed`` among them are those that get their default in every row.
    """

    def __init__(self, model: type[Model], listed: list[Field] | None, first: Any) -> None:
        self._model, self._listed = model, listed
        counted = [] if listed or (key := _counted(model)) is None else [key]
        if isinstance(first, Mapping):
            keys = self._keys(first, 1)
            named = listed or [field for field in _all(model) if field.name in keys]
            self._values = self._of_dict
        elif isinstance(first, Model):
            self._has_key = {key.name: getattr(first, key.name, None) is not None for key in counted}
            named = listed or _without(_all(model), [key for key in counted if not self._has_key[key.name]])
            self._values = self._of_instance
        elif _is_sequence(first):
            named = listed or _all(model)
            named = _without(named, counted) if len(first) < len(named) else named
            self._values = self._of_sequence
        else:
            raise DataError(f"row 1: expected a dict, a list, a tuple or a {model.__name__}, got {show(first)}")
        self.unnamed = _defaulted(model, named)
        self.fields = named + self.unnamed
        if not self.fields:
            raise DataError("row 1: expected a dict with the values of some fields, got an empty one")
        if isinstance(first, Mapping):
            self._given = [field for field in self.fields if field.name in keys]
            self._first_keys, self._get = frozenset(first), _items([keys[field.name] for field in self._given])
        elif isinstance(first, Model):
            self._given = self.fields
            # A foreign key by the name of its id: by its own, Peewee would query for the related instance.
            self._get = _attributes([field.safe_name for field in self.fields])  # type: ignore[attr-defined]
        else:
            self._given = named
        left_out = _without(self.fields, self._given)
        self._fills = [_fill(field) for field in left_out]
        self.fields = self._given + left_out

    def read(self, row: Any, number: int) -> Sequence[Any]:
        """The values of a row, counted from 1; :class:`DataError` if it is not like the first one."""
        values = self._values(row, number)
        return [*values, *[fill() for fill in self._fills]] if len(values) < len(self.fields) else values

    def _of_sequence(self, row: Any, number: int) -> Sequence[Any]:
        if not (isinstance(row, (list, tuple)) or _is_sequence(row)) or len(row) != len(self._given):
            came = len(row) if _is_sequence(row) else show(row)
            raise DataError(f"row {number:,}: expected {len(self._given)} values ({_names(self._given)}), got {came}")
        values: Sequence[Any] = row
        return values

    def _of_dict(self, row: Any, number: int) -> Sequence[Any]:
        if not isinstance(row, Mapping):
            raise DataError(f"row {number:,}: expected a dict, as row 1 is, got {show(row)}")
        if row.keys() == self._first_keys:
            return self._get(row)
        keys = self._keys(row, number)
        if self._listed is None and (others := keys.keys() - {field.name for field in self.fields}):
            raise DataError(f"row {number:,}: {min(others)!r} is not among the keys of row 1: name the fields to load")
        return [row[keys[field.name]] if field.name in keys else _fill(field, number)() for field in self.fields]

    def _keys(self, row: Mapping[Any, Any], number: int) -> dict[str, Any]:
        """The keys of a row by their fields' names. Unknown keys are errors unless the caller named the fields."""
        keys: dict[str, Any] = {}
        for key in row:
            field = _field(self._model, key)
            if field is not None and field.name not in keys:
                keys[field.name] = key
            elif field is not None:
                raise DataError(f"row {number:,}: expected each field once, got {field.name!r} twice")
            elif self._listed is None:
                raise DataError(
                    f"row {number:,}: there is no field {_named(key)}: there are {_names(_all(self._model))}"
                )
        return keys

    def _of_instance(self, row: Any, number: int) -> Sequence[Any]:
        if not isinstance(row, self._model):
            raise DataError(f"row {number:,}: expected an instance of {self._model.__name__}, got {show(row)}")
        for name, has_key in self._has_key.items():
            if (getattr(row, name) is not None) != has_key:
                has, had = ("no", "has one") if has_key else ("a", "has none")
                raise DataError(
                    f"row {number:,}: it has {has} {name} and row 1 {had}: "
                    f"load instances with a key apart from those without"
                )
        return self._get(row)


def _is_sequence(row: Any) -> bool:
    return hasattr(row, "__len__") and not isinstance(row, (str, bytes, bytearray, memoryview, Mapping, Set, Node))


def _items(keys: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    return itemgetter(*keys) if len(keys) > 1 else lambda row: [row[key] for key in keys]


def _attributes(names: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    return attrgetter(*names) if len(names) > 1 else lambda row: [getattr(row, name) for name in names]


def _fill(field: Field, number: int = 1) -> Callable[[], Any]:
    """What gives the value of a field that a row leaves out."""
    default = field.default
    if default is None and not field.null:
        raise DataError(f"row {number:,}: expected a value for {field.name!r}, which has no default and is not null")
    return default if callable(default) else lambda: default


# Values


def _converted(reader: _RowReader, rows: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """The rows as COPY takes them: each value by its field's ``db_value``, where that does anything."""
    converters = [_Converter.of(field) for field in reader.fields]
    for number, row in enumerate(rows, 1):
        values = reader.read(row, number)
        try:
            made = [
                value if type(value) is kept or convert is None else convert(value)
                for (kept, convert), value in zip(converters, values, strict=True)
            ]
        except Exception:
            made = [_careful(field, value, number) for field, value in zip(reader.fields, values, strict=True)]
        yield made


class _Converter(NamedTuple):
    """What makes of a field's values what COPY takes; values of the type ``kept``, or all of them, are that already."""

    kept: type | None
    convert: Convert | None

    @classmethod
    def of(cls, field: Field) -> _Converter:
        db_value, adapt = type(field).db_value, getattr(field.adapt, "__func__", None)
        if isinstance(field, (VectorField, HalfVectorField)) and db_value is VectorField.db_value:
            return cls(None, partial(_vector, field))
        if db_value is not Field.db_value:
            return cls(None, partial(_db_value, field))
        return cls(_AS_IT_IS.get(adapt), None if adapt is Field.adapt else partial(_db_value, field))


def _vector(field: VectorField | HalfVectorField, value: Any) -> Any:
    """Plain numbers as they are: COPY packs them at once, where ``db_value`` would make a vector of them before."""
    is_plain = type(value) in _PLAIN or is_ndarray(value)
    return value if is_plain and field.dimensions in (None, len(value)) else _db_value(field, value)


def _db_value(field: Field, value: Any) -> Any:
    made = value
    if not isinstance(value, Node) or (isinstance(value, Model) and isinstance(field, ForeignKeyField)):
        made = field.db_value(value)
    if isinstance(made, Node):
        raise ValueError("COPY takes values only: load rows with SQL expressions by insert_many")
    # INSERT has the server read a number that is a text; a binary COPY takes numbers.
    return Decimal(made) if isinstance(made, str) and isinstance(field, DecimalField) else made


def _careful(field: Field, value: Any, number: int) -> Any:
    """The value, or :class:`InvalidVector` or :class:`DataError` that names row and field."""
    try:
        return value if _Converter.of(field).convert is None else _db_value(field, value)
    except Exception as error:
        place = f"row {number:,}, field {field.name!r}"
        if isinstance(error, InvalidVector):
            raise InvalidVector(f"{place}: {error}") from error
        reason = f" ({error})" if isinstance(error, (TypeError, ValueError)) and str(error) else ""
        raise DataError(f"{place}: expected a value for {type(field).__name__}, got {show(value)}{reason}") from error
