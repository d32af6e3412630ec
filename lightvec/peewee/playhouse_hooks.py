"""Vector fields and their indexes in playhouse's reflection (and pwiz) and migrations (pwmigrate).

Playhouse asks nobody about other fields than its own, so its functions are wrapped, when a vector
field or a Pg8000Database is used together with them. ``peewee_migrate_hooks`` does the same for
peewee-migrate.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from types import ModuleType
from typing import Any

from peewee import UUIDField

from lightvec.index_options import DEFAULTS
from lightvec.peewee._seam import database_of, index_name
from lightvec.peewee.catalog import ExistingIndex, vector_indexes
from lightvec.peewee.column_comments import Origin, comments_of, origin_in
from lightvec.peewee.database import Pg8000Database
from lightvec.peewee.embedding_source import HashField, PendingIndex, pending_name
from lightvec.peewee.indexes import VectorIndex, definition_sql, with_short_name
from lightvec.peewee.reflect import VECTOR_FIELDS, declare_existing, metric_by_name, model_with

__all__ = ["declaring_words", "extend", "wrap"]

_VECTOR_TYPE = re.compile(r"(?:.*\.)?(vector|halfvec|sparsevec|bit)(?:\((\d+)\))?")


def extend(main: ModuleType | None) -> None:
    """Wrap the functions of the modules that are loaded; ``main`` is playhouse.migrations run as a program."""
    reflection = sys.modules.get("playhouse.reflection")
    if reflection is not None:
        wrap(reflection.PostgresqlMetadata, "get_columns", partial(_reflected_columns, reflection))
        wrap(reflection.Metadata, "get_indexes", _plain_indexes)
        wrap(reflection.Introspector, "generate_models", _generated_models)
    if (pwiz := sys.modules.get("pwiz")) is not None:
        # Not print_models(), which may be running: its argument is what has connected.
        pwiz.__dict__.setdefault("print", _printer())
    schema_diff = sys.modules.get("playhouse.schema_diff")
    if schema_diff is not None:
        wrap(schema_diff, "_model_indexes", _declared_indexes)
        wrap(schema_diff, "_database_indexes", _existing_indexes)
    for migrations in filter(None, (sys.modules.get("playhouse.migrations"), main)):
        wrap(migrations, "_build_field", _field_source)
        wrap(migrations, "_build_model", _model_source)
        wrap(migrations, "_build_add_index", _index_source)
        wrap(migrations, "make_index_name", _name_to_drop)
        wrap(migrations, "template", _migration_source)


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function by ``around``, which is called with the original and its arguments."""
    original = getattr(owner, name)
    if not hasattr(original, "lightvec"):

        @wraps(original)
        def wrapper(*args: Any, **options: Any) -> Any:
            return around(original, *args, **options)

        wrapper.lightvec = True  # type: ignore[attr-defined]
        setattr(owner, name, wrapper)


# Reflection

#: What pwiz prints behind a field whose indexes belong into Meta.indexes.
_IN_META = "  # Meta.indexes: "
_TABLE_NAME = "        table_name = "
_INDEXES = "        indexes = ("


class _Text(str):
    """A text that is written into generated code with its quotes."""

    __slots__ = ()

    __str__ = str.__repr__


def _origins(database: Any, table: str, schema: str | None) -> dict[str, Origin]:
    """The embedding models and the sources of a table's columns."""
    comments = comments_of(database, model_with(table, {}, schema=schema))
    origins = {column: origin_in(comment) for column, comment in comments.items()}
    return {column: origin for column, origin in origins.items() if origin is not None}


def _reflected_columns(reflection: Any, original: Any, metadata: Any, table: str, schema: str | None = None) -> Any:
    columns = original(metadata, table, schema)
    if not isinstance(metadata.database, Pg8000Database):
        return columns
    metadata.requires_extension = True
    metadata.extension_import = f"{type(metadata).extension_import}\nfrom lightvec.peewee import *"
    indexes = [index for index in vector_indexes(metadata.database, table, schema) if index.valid]
    origins = _origins(metadata.database, table, schema)
    for described in metadata.database.get_columns(table, schema):
        found = _VECTOR_TYPE.fullmatch(described.full_type or "")
        if found is not None:
            name = described.name
            own = [index for index in indexes if index.column == name]
            origin = origins.get(name)
            _set_vector_field(reflection, table, columns[name], found[1], found[2], own, origin)
            if origin is not None and origin.source:
                # It comes with the field.
                columns.pop(f"{name}_hash", None)
    return columns


def _set_vector_field(
    reflection: Any,
    table: str,
    column: Any,
    kind: str,
    size: str | None,
    indexes: list[ExistingIndex],
    origin: Origin | None,
) -> None:
    """Make a reflected column one of a vector field."""
    # An index of the vectors themselves comes first; one of their bits may not tell the metric.
    indexes = sorted(indexes, key=lambda index: index.quantize == "bit")
    metrics = [metric_by_name(each) if each.quantize == "bit" else each.metric for each in indexes]
    metric = next(filter(None, metrics), None)
    options: dict[str, Any] = {"max_length" if kind == "bit" else "dimensions": int(size) if size else None}
    if metric is not None:
        options["metric"] = _Text(metric)
    if origin is not None:
        options["model"] = _Text(origin.model)
        if origin.source:
            options["source"] = list(origin.source)
    column.field_class = VECTOR_FIELDS[kind]
    column.extra_parameters = options

    def source() -> str:
        """The line of pwiz: the field with its usual index, the other indexes in a comment."""
        parameters = reflection.Column.get_field_parameters(column)
        dimensions = parameters.pop("max_length" if kind == "bit" else "dimensions")
        field = VECTOR_FIELDS[kind](int(size) if size else None, metric=metric)
        model: Any = model_with(table, {column.column_name: field})
        _declare(model, indexes)
        declared = model._meta.indexes
        usual = [index for index in declared if _is_usual(index, field)]
        if usual:
            parameters["index"] = repr(usual[0].method)
        words = [str(dimensions)] if dimensions else []
        words += [f"{name}={value}" for name, value in sorted(parameters.items())]
        others = ", ".join(repr(index) for index in declared if index not in usual[:1])
        comment = f"{_IN_META}{others}" if others else ""
        return f"{column.name} = {VECTOR_FIELDS[kind].__name__}({', '.join(words)}){comment}"

    column.get_field = source


def _is_usual(index: VectorIndex, field: Any) -> bool:
    """Whether ``index=`` on the field would declare it."""
    if field.metric is None:
        return False
    again = type(field)(field.dimensions, metric=field.metric, index=index.method)
    model: Any = model_with(field.model._meta.table_name, {field.column_name: again})
    return definition_sql(model._meta.indexes[0]) == definition_sql(index)


def _declare(model: Any, indexes: Iterable[ExistingIndex]) -> None:
    for existing in indexes:
        field = model._meta.columns.get(existing.column)
        if existing.valid and hasattr(field, "value_class"):
            declare_existing(model, existing)


def _plain_indexes(original: Any, metadata: Any, table: str, schema: str | None = None) -> Any:
    """The indexes but for those that come with vector fields."""
    indexes, database = original(metadata, table, schema), metadata.database
    if not isinstance(database, Pg8000Database):
        return indexes
    ours = {index.name for index in vector_indexes(database, table, schema)}
    origins = _origins(database, table, schema)
    ours |= {pending_name(table, column) for column, origin in origins.items() if origin.source}
    return [index for index in indexes if index.name not in ours]


def _generated_models(original: Any, introspector: Any, *args: Any, **options: Any) -> Any:
    models = original(introspector, *args, **options)
    database = introspector.metadata.database
    if isinstance(database, Pg8000Database):
        for table, model in models.items():
            _declare(model, vector_indexes(database, table, introspector.schema))
    return models


def _printer() -> Callable[..., None]:
    """A print() that moves the indexes into Meta; pwiz has no other place to put them."""
    indexes: list[str] = []
    last = ""

    def write(text: str = "") -> None:
        nonlocal last
        text, _, found = text.partition(_IN_META)
        indexes.extend([found] if found else [])
        is_start, follows_name = text.startswith(_INDEXES), last.startswith(_TABLE_NAME)
        if indexes and follows_name and not is_start:
            sys.stdout.write(f"{_INDEXES}{', '.join(indexes)},)\n")
            indexes.clear()
        sys.stdout.write(f"{text}\n")
        if indexes and is_start:
            sys.stdout.write(f"            {', '.join(indexes)},\n")
            indexes.clear()
        last = text

    return write


# Differences


class _DeclaredIndex(str):
    """The name of an index that playhouse knows by that only, and its model and definition.

    Playhouse pairs them by name: that of a vector index equals the name of an existing one of the
    same form only.
    """

    model: Any
    index: Any

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if not str.__eq__(self, other):
            return False
        if not isinstance(self.index, VectorIndex) or not isinstance(other, _ExistingIndex):
            return True
        return other.existing is not None and _is_form_of(other.existing, self.index)

    @property
    def sql(self) -> str:
        index, database = with_short_name(self.index), database_of(self.model)
        if isinstance(index, VectorIndex):
            # The search path is not set for SQL, which runs in the migration's transaction.
            is_ours = isinstance(database, Pg8000Database)
            index = index.qualified(database.extension().out_of_path if is_ours else "")
            index.concurrently = False
        return definition_sql(index)

    @property
    def columns(self) -> tuple[str, ...]:
        return ()


class _ExistingIndex(str):
    """The name of an existing index, its definition and its columns."""

    existing: ExistingIndex | None = None
    definition = ""
    columns: tuple[str, ...] = ()
    #: The vector column whose pending rows it has.
    pending: str | None = None

    @property
    def sql(self) -> str:
        return self.definition.replace("%", "%%")


def _is_form_of(existing: ExistingIndex, index: VectorIndex) -> bool:
    field, form = index.field, index.quantization
    wanted = (index.method, field.column_name, index.operator_class, form and form.name)
    found = (existing.method, existing.column, existing.operator_class, existing.quantize)
    names = DEFAULTS.keys() & (existing.options.keys() | index.options.keys())
    options = {name: index.options.get(name, DEFAULTS[name]) for name in names}
    return (
        wanted == found
        and options == {name: existing.option(name) for name in names}
        and index.has_condition == (existing.where is not None)
    )


def _declared_indexes(original: Any, model: Any) -> Any:
    plain, names = original(model)
    declared = set()
    for index in model._meta.fields_to_index():
        name = index_name(index) if hasattr(index, "_name") else None
        if name in names:
            marked = _DeclaredIndex(name)
            marked.model, marked.index = model, index
            declared.add(marked)
    return plain, declared


def _existing_indexes(original: Any, database: Any, table: str, schema: str | None = None) -> Any:
    """A vector index has no signature, so that ``down()`` does not restore it as a B-tree."""
    signatures = original(database, table, schema)
    if not isinstance(database, Pg8000Database):
        return signatures
    vectors = {index.name: index for index in vector_indexes(database, table, schema)}
    pending = {
        pending_name(table, column): column
        for column, origin in _origins(database, table, schema).items()
        if origin.source
    }
    indexes = {}
    for index in database.get_indexes(table, schema):
        if index.name in signatures:
            marked = _ExistingIndex(index.name)
            marked.existing, marked.definition = vectors.get(index.name), index.sql
            marked.pending = pending.get(index.name)
            column = marked.existing.column if marked.existing else marked.pending
            marked.columns = tuple(index.columns) if column is None else (column,)
            indexes[marked] = None if marked.existing else signatures[index.name]
    return indexes


# Migrations


class _Columns(tuple[str, ...]):
    """The columns of an index that is not a plain one, and its name and definition."""

    name: Any


def declaring_words(field: Any, *, by_column: bool = False) -> list[str]:
    """The arguments of a vector field that Peewee's fields do not have, and its default, as code.

    With ``by_column`` the source is columns.
    """
    words = [] if field.dimensions is None else [repr(field.dimensions)]
    indexes = [each for each in field.model._meta.indexes if isinstance(each, VectorIndex)]
    is_usual = any(index.field is field and index.is_declared_by_field for index in indexes)
    source: Any = list(field.source)
    if by_column:
        source = [field.model._meta.combined[name].column_name for name in source]
    declared = {
        "metric": field.metric,
        "index": field.index_method if is_usual else None,
        "model": field.embedding_model,
        "source": source[0] if len(source) == 1 else tuple(source) or None,
    }
    if field.default is not None and not callable(field.default):
        declared["default"] = field.db_value(field.default).to_list()
    return words + [f"{key}={value!r}" for key, value in declared.items() if value is not None]


def _field_source(
    original: Any,
    field: Any,
    imports: set[str],
    todos: list[str],
    targets: Any = None,
    unbound: bool = False,
) -> str:
    if isinstance(field, HashField):
        field = UUIDField(null=True, column_name=field.column_name)
        field.name = field.column_name
    if not hasattr(field, "value_class"):
        return str(original(field, imports, todos, targets, unbound))
    new: set[str] = set()
    new_todos = [] if field.default is not None and not callable(field.default) else todos
    name, _, rest = original(field, new, new_todos, targets, unbound).partition("(")
    imports |= {line.replace(" lightvec.peewee.fields ", " lightvec.peewee ") for line in new}
    words = declaring_words(field, by_column=unbound)
    return f"{name}({', '.join([*words, rest] if rest != ')' else words)}{')' if rest == ')' else ''}"


def _model_source(original: Any, model: Any, imports: set[str], todos: list[str], targets: Any) -> list[str]:
    own_todos: list[str] = []
    lines: list[str] = original(model, imports, own_todos, targets)
    hashes = {field.name for field in model._meta.sorted_fields if isinstance(field, HashField)}
    lines = [line for line in lines if line.partition(" = ")[0].strip() not in hashes]
    sources = []
    for index in model._meta.indexes:
        if isinstance(index, (VectorIndex, PendingIndex)):
            table, name = model._meta.table_name, index_name(index)
            own_todos.remove(f"{table}: index {name} must be added by hand")
        if isinstance(index, VectorIndex) and not index.is_declared_by_field:
            imports.add(f"from lightvec.peewee import {type(index).__name__}")
            sources.append(repr(index))
    todos += own_todos
    if sources:
        has_others = lines[-1].startswith(_INDEXES)
        others = lines.pop()[len(_INDEXES) : -1].rstrip(",") if has_others else ""
        lines.append(f"{_INDEXES}{', '.join(filter(None, [others, *sources]))},)")
    return lines


def _index_source(original: Any, diff: Any) -> str:
    if not isinstance(diff.columns, _Columns):
        return str(original(diff))
    return f"migrator.migrate(migrator.sql({diff.name.sql!r}))"


def _name_to_drop(original: Any, table: str, columns: Any) -> str:
    return str(columns.name if isinstance(columns, _Columns) else original(table, columns))


def _migration_source(original: Any, diff: Any) -> str:
    """The file. Adding a column creates the index of ``index=``, and what ``source=`` needs."""
    added = {field: field.model._meta.table_name for field in diff.add_columns}
    created = {
        (table, index_name(index))
        for field, table in added.items()
        for index in field.model._meta.indexes
        if isinstance(index, (VectorIndex, PendingIndex)) and index.field is field
        if isinstance(index, PendingIndex) or index.is_declared_by_field
    }
    pending = {(index.table, getattr(index.name, "pending", None)) for index in diff.drop_indexes}
    hashes = {(table, f"{column}_hash") for table, column in pending & {*diff.drop_columns}}
    columns = [each for each in diff.add_columns if not _comes_with(each, added)]
    named = [each for each in diff.add_indexes if (each.table, each.name) not in created]
    return str(
        original(
            diff._replace(
                add_columns=columns,
                drop_columns=[each for each in diff.drop_columns if each not in hashes],
                add_indexes=[_defined(each) for each in named],
                drop_indexes=[_defined(each, diff.drop_columns) for each in diff.drop_indexes],
            )
        )
    )


def _comes_with(field: Any, added: Iterable[Any]) -> bool:
    """Whether it is the hash of one of these fields."""
    return isinstance(field, HashField) and field.vector_field in added


def _defined(index: Any, dropped: Iterable[tuple[str, str]] = ()) -> Any:
    """An index with its definition, where playhouse knows its name only.

    Its columns are also those that are dropped and that its condition may have.
    """
    if index.columns is not None or not hasattr(index.name, "sql"):
        return index
    words = set(re.findall(r"\w+", index.name.sql))
    gone = (column for table, column in dropped if table == index.table and column in words)
    columns = _Columns((*index.name.columns, *gone))
    columns.name = index.name
    return index._replace(columns=columns)
