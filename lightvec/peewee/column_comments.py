"""The embedding model of a column and its source columns, in the column's comment.

The last line of the comment is ours; what is before it is the user's and stays.

>>> comment = with_origin("Of the abstract.", Origin("bge-small-en-v1.5", ("body",)))
>>> comment
'Of the abstract.\\nlightvec: {"model": "bge-small-en-v1.5", "source": ["body"]}'
>>> origin_in(comment)
Origin(model='bge-small-en-v1.5', source=('body',))
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lightvec.errors import SchemaMismatch
from lightvec.peewee._seam import execute_as_is, table_sql
from lightvec.wire.identifiers import identifier, text_literal

__all__ = [
    "Origin",
    "comment_sql",
    "comments_of",
    "declared_origin",
    "origin_in",
    "origin_statements",
    "other_model",
    "record_origin",
    "record_origins",
    "with_origin",
]

_LAST_LINE = re.compile(r"(?:\A|\n)lightvec: (\{.*\})\Z")


class Origin(NamedTuple):
    """What the vectors of a column are made by, and of."""

    model: str
    source: tuple[str, ...] = ()


def origin_in(comment: str | None) -> Origin | None:
    """The origin that a comment says; None if it says none."""
    found = _LAST_LINE.search(comment or "")
    if found is None:
        return None
    try:
        record = json.loads(found[1])
        origin = Origin(record["model"], tuple(record.get("source", ())))
    except (ValueError, KeyError, TypeError):
        return None  # The words of a user.
    return origin if all(isinstance(word, str) for word in (origin.model, *origin.source)) else None


def with_origin(comment: str | None, origin: Origin | None) -> str:
    """The comment with this origin in place of its own, or with none."""
    users = _LAST_LINE.sub("", comment or "") if origin_in(comment) else comment or ""
    if origin is None:
        return users
    record: dict[str, Any] = {"model": origin.model}
    if origin.source:
        record["source"] = origin.source
    return f"{users}{chr(10) if users else ''}lightvec: {json.dumps(record, ensure_ascii=False)}"


def declared_origin(field: Any) -> Origin | None:
    """The origin that a field declares, with the names of its source columns."""
    if field.embedding_model is None:
        return None
    fields = field.model._meta.combined
    sources = (fields[name].column_name if name in fields else name for name in field.source)
    return Origin(field.embedding_model, tuple(sources))


_COMMENTS = """\
SELECT attname, pg_catalog.col_description(attrelid, attnum)
FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(%s)"""


def comments_of(database: Any, model: Any) -> Mapping[str, str | None]:
    """The comments of the columns of a model's table."""
    return dict(database.execute_sql(_COMMENTS, (table_sql(model),)).fetchall())


def origin_statements(database: Any, model: Any) -> Iterator[tuple[Any, bool, str]]:
    """The vector fields of a model that name an embedding model, whether the column's comment says
    so, and the statement that makes it.

    :class:`~lightvec.errors.SchemaMismatch` if it names another model.
    """
    wanted = {field: declared_origin(field) for field in model._meta.sorted_fields if hasattr(field, "value_class")}
    if not any(wanted.values()):
        return
    comments = comments_of(database, model)
    for field, origin in wanted.items():
        comment = comments.get(field.column_name)
        found = origin_in(comment)
        if origin is None:
            continue
        if found is not None and found.model != origin.model:
            raise other_model(field, found.model)
        yield field, found == origin, comment_sql(field, with_origin(comment, origin))


def record_origins(database: Any, model: Any) -> None:
    """Name the embedding models in the comments of the model's columns, where they do not yet."""
    for _, exists, statement in origin_statements(database, model):
        if not exists:
            execute_as_is(database, statement)


def record_origin(database: Any, field: Any) -> None:
    """Name the field's model in its column's comment, whatever that names now."""
    origin = declared_origin(field)
    assert origin is not None
    comment = comments_of(database, field.model).get(field.column_name)
    execute_as_is(database, comment_sql(field, with_origin(comment, origin)))


def comment_sql(field: Any, comment: str | None) -> str:
    """The statement that sets the comment of a field's column; an empty one is none."""
    table, column = table_sql(field.model), identifier(field.column_name)
    return f"COMMENT ON COLUMN {table}.{column} IS {text_literal(comment or '')}"


def other_model(field: Any, found: str) -> SchemaMismatch:
    """The error where a column has vectors of another model than its field says."""
    model, column = field.model, field.column_name
    place = f"{model.__module__}:{model.__name__}.{field.name}"
    return SchemaMismatch(
        f"the column {model._meta.table_name}.{column} has vectors of the model {found}, and "
        f"{field.display_name} says {field.embedding_model}: declare a second field for the new model "
        f"and move to it with `lightvec switch {place} NEW_FIELD --with MODULE:FUNCTION`"
    )
