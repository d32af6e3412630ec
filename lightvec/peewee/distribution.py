"""What a model declares about its distribution over the nodes of Citus, and checks of it that need no server.

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

_LEAST_SHARDS, _MOST_SHARDS = 1, 64_000


class CountedField(BigIntegerField):
    """A number that counts up by itself and is only a part of the primary key, beside the distribution column."""

    field_type = "BIGAUTO"


@dataclass(frozen=True)
class Distribution:
    """How a table is spread: by the hash of a column, over ``shards`` (None: the server's number), or whole on each.

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
        number = self.shards
        if number is not None and not (type(number) is int and _LEAST_SHARDS <= number <= _MOST_SHARDS):
            raise InvalidOption(f"expected shards from {_LEAST_SHARDS} to {_MOST_SHARDS:,}, got {number!r}")

    def __str__(self) -> str:
        if self.by is None:
            return "a reference table"
        return f"distributed by {self.by}" + (f" over {self.shards} shards" if self.shards else "")

    def fits(self, other: Distribution) -> bool:
        """Whether a table that stands so is what is asked for."""
        return (self.by, self.reference) == (other.by, other.reference) and self.shards in (None, other.shards)


def distribution_of(model: Any, given: Distribution | None = None) -> Distribution | None:
    """What a model's ``Meta`` declares, else what is given; its column by the name that it has in the table."""
    meta = model._meta
    by, shards = getattr(meta, "distribute_by", None), getattr(meta, "shards", None)
    is_reference = bool(getattr(meta, "reference", False))
    try:
        own = Distribution(by, shards, is_reference) if by or shards or is_reference else given
    except InvalidOption as error:
        raise InvalidOption(f"{model.__name__}: {error}") from error
    if own is None or own.by is None:
        return own
    return Distribution(_column(model, own.by).column_name, own.shards)


def _column(model: Any, name: str) -> Field:
    field: Field | None = model._meta.combined.get(name)
    if field is None:
        known = ", ".join(each.column_name for each in model._meta.sorted_fields)
        raise SchemaMismatch(
            f"{model.__name__} is to be distributed by {name} and has no such column, but {known}: name one of these, "
            f"or declare reference = True in its Meta"
        )
    return field


def distributions(models: Sequence[type[Model]], given: Distribution | None = None) -> dict[type[Model], Distribution]:
    """Those of the models that are to be distributed, checked without asking the server."""
    found = {model: distribution_of(model, given) for model in models}
    wanted = {model: each for model, each in found.items() if each is not None}
    for model, distribution in wanted.items():
        _check(model, distribution)
    return wanted


# What Citus would refuse


def _check(model: Any, distribution: Distribution) -> None:
    """:class:`~lightvec.errors.SchemaMismatch` for a key or column with which the table cannot be distributed so."""
    if distribution.by is None:
        return
    by = distribution.by
    field = model._meta.columns[by]
    if hasattr(field, "value_class"):
        raise SchemaMismatch(f"{model.__name__} is to be distributed by {by}, a vector: name a column of ids")
    keys = [key.column_name for key in model._meta.get_primary_keys()]
    if keys and by not in keys:
        names = [field.name, *(key.name for key in model._meta.get_primary_keys())]
        raise SchemaMismatch(
            f"{model.__name__} is to be distributed by {by}, and its primary key is {', '.join(keys)}: Citus keeps a "
            f"key unique only with the distribution column in it, so write "
            f"primary_key = CompositeKey({', '.join(map(repr, names))}) in its Meta"
        )
    for index in model._meta.fields_to_index():
        if fields := unique_fields(index):
            _check_unique(model, field, fields)


def _check_unique(model: Any, by: Field, fields: Sequence[Field]) -> None:
    if any(each is by for each in fields):
        return
    names = tuple(each.name for each in (by, *fields))
    raise SchemaMismatch(
        f"{model.__name__} is to be distributed by {by.column_name}, and {', '.join(each.name for each in fields)} is "
        f"to be unique: Citus keeps that only with the distribution column in it, so declare "
        f"indexes = (({names!r}, True),) in its Meta instead"
    )


def check_conflict_target(model: Any, columns: Sequence[Any]) -> None:
    """:class:`~lightvec.errors.SchemaMismatch` for a ``conflict_target`` of an insert that Citus cannot decide."""
    if not columns or not getattr(model._meta, "distribute_by", None):
        return
    field = _column(model, model._meta.distribute_by)
    names: list[Any] = [getattr(column, "column_name", column) for column in columns]
    if not all(isinstance(name, str) for name in names):
        return  # An expression, which the server looks at.
    if field.name in names or field.column_name in names:
        return
    raise SchemaMismatch(
        f"{model.__name__} is distributed by {field.column_name}, and a conflict is to be seen by {', '.join(names)}: "
        f"put the distribution column into conflict_target, and into the unique key, too"
    )
