"""The vector of a stored row, which the server looks up for the query that it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peewee import CTE, ModelSelect

from lightvec.wire.identifiers import identifier

__all__ = ["StoredVector"]

_NAME = "lightvec_row"


class StoredVector(ModelSelect):
    """The field of a row: ``StoredVector(Doc.embedding, Doc.id == 1)``.

    It stands in a query as a subquery, several times where the query selects, filters and orders by a distance. Citus
    takes no subquery that reads a distributed table beside another one, and reads what has to be read before for each
    of them: there it is read once, ahead of the query (:meth:`once`).
    """

    def __init__(self, field: Any, condition: Any) -> None:
        super().__init__(field.model, [field])
        self._where = condition
        self._field = field

    @contextmanager
    def once(self, ctx: Any, query: Any) -> Iterator[Any]:
        """The query with this one materialised ahead of it, and while it is written, referred to."""
        if any(each is self for each in ctx.materialized):
            yield query
            return
        ahead = CTE(_NAME, ModelSelect(self.model, [self._field]).where(self._where), materialized=True)
        ctx.materialized.append(self)
        try:
            yield query.with_cte(ahead)
        finally:
            ctx.materialized.remove(self)

    def __sql__(self, ctx: Any) -> Any:
        if any(each is self for each in getattr(ctx, "materialized", ())):
            return ctx.literal(f"(SELECT {identifier(self._field.column_name)} FROM {identifier(_NAME)})")
        return super().__sql__(ctx)
