"""Vectors that follow their texts: which rows have a text that their vector was not made of.

A column beside the vector holds a hash of the model and the texts that the vector was made of. The server compares it
with the hash of the texts as they are now, so that an edit by psql counts, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from hashlib import md5
from typing import Any
from uuid import UUID

from peewee import SQL, BareField, CharField, Expression, Field, Index, TextField, UUIDField, fn

from lightvec.errors import InvalidOption
from lightvec.peewee.indexes import shortened_name
from lightvec.wire.identifiers import text_literal

__all__ = [
    "HashField",
    "PendingIndex",
    "add_hash",
    "hash_of",
    "is_pending",
    "pending_name",
    "source_hash",
    "source_text",
]

#: In place of the hash of a NULL among several texts.
_NULL = "-"


class HashField(UUIDField):
    """The hash of the model and the texts that the vector in ``vector_field`` was made of."""

    vector_field: Any = None


class PendingIndex(Index):
    """The keys of the pending rows."""

    def __init__(self, field: Any) -> None:
        self.field = field
        self._safe = True
        self._unique = False
        self._using = self._nulls_distinct = None

    @property
    def _name(self) -> str:
        return pending_name(self.field.model._meta.table_name, self.field.column_name)

    @property
    def _table(self) -> Any:
        return self.field.model._meta.table

    @property
    def _expressions(self) -> list[Any]:
        return list(key_fields(self.field))

    @property
    def _where(self) -> Expression:
        return is_pending(self.field)


def pending_name(table: str, column: str) -> str:
    """The name of the index of a column's pending rows."""
    return shortened_name(f"{table}_{column}", "_pending")


def add_hash(model: Any, field: Any) -> None:
    """Add the hash column of a vector field to its model, and the index of its pending rows."""
    name, column = f"{field.name}_hash", f"{field.column_name}_hash"
    # A model inherits its parent's.
    if column not in model._meta.columns:
        model._meta.add_field(name, HashField(null=True, column_name=column))
    model._meta.columns[column].vector_field = field
    indexes = model._meta.indexes
    inherited = [each for each in indexes if isinstance(each, PendingIndex) and each.field.name == field.name]
    indexes[:] = [each for each in indexes if each not in inherited] + [PendingIndex(field)]


def key_fields(field: Any) -> tuple[Field, ...]:
    """The model's primary key."""
    keys = tuple(key for key in field.model._meta.get_primary_keys() if key)
    if not keys:
        raise InvalidOption(
            f"{field.display_name} has source=, which finds rows by their primary key: {field.model.__name__} needs one"
        )
    return keys


def source_fields(field: Any) -> list[Any]:
    """The fields of the texts that the vector is made of."""
    fields, found = field.model._meta.combined, []
    for name in field.source:
        source = fields.get(name)
        if not isinstance(source, (TextField, CharField, BareField)):
            what = "no such field" if source is None else f"a {type(source).__name__}"
            raise InvalidOption(
                f"{field.display_name}: expected source= to name text fields of {field.model.__name__}, "
                f"got {name!r}, which is {what}"
            )
        found.append(source)
    if not found:
        raise InvalidOption(
            f"{field.display_name} says no text that it is made of: declare it with source='body' and model="
        )
    return found


def source_text(field: Any) -> Any:
    """The text that the vector is to be made of: of several fields, a line each but for NULL."""
    sources = source_fields(field)
    return sources[0] if len(sources) == 1 else fn.CONCAT_WS(SQL("E'\\n'"), *sources)


def source_hash(field: Any) -> Any:
    """The hash of the model and the texts; NULL where all texts are NULL."""
    # Only immutable functions, and literals in place of parameters: the planner must see that it
    # is the condition of the index.
    hashes = [fn.MD5(source) for source in source_fields(field)]
    if len(hashes) == 1:
        texts = hashes[0]
    else:
        nulls = SQL(text_literal(_NULL * len(hashes)))
        null = SQL(text_literal(_NULL))
        each: list[Any] = [fn.COALESCE(found, null) for found in hashes]
        joined = reduce(_concat, each)
        texts = fn.NULLIF(joined, nulls)
    model = SQL(text_literal(_md5(field.embedding_model)))
    return fn.MD5(_concat(model, texts)).cast("uuid")


def hash_of(field: Any, texts: Sequence[str | None]) -> UUID | None:
    """What :func:`source_hash` is for these texts."""
    if len(texts) != len(source_fields(field)):
        names = ", ".join(field.source)
        raise InvalidOption(f"expected the texts of {names}, got {len(texts)}")
    if all(text is None for text in texts):
        return None
    hashes = (_NULL if text is None else _md5(text) for text in texts)
    return UUID(_md5(_md5(field.embedding_model) + "".join(hashes)))


def is_pending(field: Any) -> Expression:
    """Whether the vector was not made by this model of these texts."""
    wanted = source_hash(field)
    return Expression(hash_field(field), "IS DISTINCT FROM", wanted)


def hash_field(field: Any) -> Any:
    found = field.model._meta.columns[f"{field.column_name}_hash"]
    if not isinstance(found, UUIDField):
        raise InvalidOption(
            f"{field.display_name} has source=, which adds the column {found.column_name}: expected none of that "
            f"name in {field.model.__name__}, got a {type(found).__name__}: give that another name"
        )
    return found


def _concat(left: Any, right: Any) -> Expression:
    return Expression(left, "||", right)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
