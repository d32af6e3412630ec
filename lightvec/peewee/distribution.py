"""How a model declares its distribution over the nodes of Citus, with the checks that need no server.

A model declares it in its ``Meta``: ``distribute_by = "tenant_id"`` (a field or column, and optionally ``shards = 4``),
or ``reference = True`` for a table of which each node has a copy.

Source of the rules: Citus documentation, "Creating and Modifying Distributed Objects (DDL)".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import BigIntegerField, Field, Model

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.peewee._seam import unique_fields

__all__ = ["CountedField", "Distribution", "check_conflict_target", "distributions"]

_MOST_SHARDS = 64_000


class CountedField(BigIntegerField):
    """A number with a sequence that is only a part of the primary key, beside the distribution column."""

    field_type = "BIGAUTO"


@dataclass(frozen=True)
class Distribution:
    """How a table is distributed: by the hash of a column over ``shards`` (None: Citus's default), or as a reference.

    >>> str(Distribution(by="tenant_id", shards=4)), str(Distribution(reference=True))
    ('distributed by tenant_id over 4 shards', 'a reference table')
    """

    by: str | None = None
    shards: int | None = None
    reference: bool = False

    def __post_init__(self) -> None:
        if self.reference and (self.by or self.shards):
            raise InvalidOption("a reference table is whole on each node: leave the distribution column and shards out")
        if self.shards is not None and self.by is None:
            raise InvalidOption("a number of shards needs the column to distribute by")
        if self.shards is not None and not (type(self.shards) is int and 1 <= self.shards <= _MOST_SHARDS):
            raise InvalidOption(f"expected shards from 1 to {_MOST_SHARDS:,}, got {self.shards!r}")

    def __str__(self) -> str:
        if self.by is None:
            return "a reference table"
        return f"distributed by {self.by}" + (f" over {self.shards} shards" if self.shards else "")

    def fits(self, other: Distribution) -> bool:
        """Whether a table with the other distribution has this one; any number of shards fits None."""
        return (self.by, self.reference) == (other.by, other.reference) and self.shards in (None, other.shards)


def distributions(models: Sequence[type[Model]], given: Distribution | None = None) -> dict[type[Model], Distribution]:
    """The distribution of each model that has one, by its ``Meta`` or else ``given``; the server is not asked.

    :class:`~lightvec.errors.SchemaMismatch` for a model that Citus cannot distribute so.
    """
    found = {}
    for model in models:
        distribution = _declared(model) or given
        if distribution is not None and distribution.by is not None:
            field = _column(model, distribution.by)
            distribution = Distribution(field.column_name, distribution.shards)
            _check(model, field)
        if distribution is not None:
            found[model] = distribution
    return found


def _declared(model: Any) -> Distribution | None:
    by, shards, reference = (getattr(model._meta, name, None) for name in ("distribute_by", "shards", "reference"))
    try:
        return Distribution(by, shards, bool(reference)) if by or shards or reference else None
    except InvalidOption as error:
        raise InvalidOption(f"{model.__name__}: {error}") from None


def _column(model: Any, name: str) -> Field:
    field: Field | None = model._meta.combined.get(name)
    if field is None:
        known = ", ".join(each.column_name for each in model._meta.sorted_fields)
        raise SchemaMismatch(
            f"{model.__name__} is to be distributed by {name} and has no such column, but {known}: name one of these, "
            f"or declare reference = True in its Meta"
        )
    return field


def _check(model: Any, by: Field) -> None:
    column = by.column_name
    if hasattr(by, "value_class"):
        raise SchemaMismatch(f"{model.__name__} is to be distributed by {column}, a vector: name a column of ids")
    keys = model._meta.get_primary_keys()
    if keys and not any(key is by for key in keys):
        names = [by.name, *(key.name for key in keys)]
        raise SchemaMismatch(
            f"{model.__name__} is to be distributed by {column}, and its primary key is "
            f"{', '.join(key.column_name for key in keys)}: Citus keeps a key unique only with the distribution column "
            f"in it, so write primary_key = CompositeKey({', '.join(map(repr, names))}) in its Meta"
        )
    for index in model._meta.fields_to_index():
        fields = unique_fields(index)
        if fields and not any(each is by for each in fields):
            columns = tuple(each.name for each in (by, *fields))
            raise SchemaMismatch(
                f"{model.__name__} is to be distributed by {column}, and {', '.join(each.name for each in fields)} is "
                f"to be unique: Citus keeps that only with the distribution column in it, so declare "
                f"indexes = (({columns!r}, True),) in its Meta instead"
            )


def check_conflict_target(model: Any, columns: Sequence[Any]) -> None:
    """:class:`~lightvec.errors.SchemaMismatch` for a ``conflict_target`` without the distribution column."""
    if not columns or not getattr(model._meta, "distribute_by", None):
        return
    field = _column(model, model._meta.distribute_by)
    names: list[Any] = [getattr(column, "column_name", column) for column in columns]
    # The server checks expressions.
    if all(isinstance(name, str) for name in names) and field.name not in names and field.column_name not in names:
        raise SchemaMismatch(
            f"{model.__name__} is distributed by {field.column_name}, and a conflict is to be seen by "
            f"{', '.join(names)}: put the distribution column into conflict_target, and into the unique key, too"
        )
