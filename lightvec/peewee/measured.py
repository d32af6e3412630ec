"""Selects whose rows have columns of the query's own beside those that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from peewee import CommaNodeList, InterfaceError

from lightvec.peewee.typed import M, TypedSelect

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MeasuredSelect"]


class MeasuredSelect(TypedSelect[M]):
    """A select of a model whose rows have ``_own`` columns, such as a distance, whatever is selected."""

    _own: Sequence[Any]

    # Peewee's own; its annotations leave them out.
    _is_default: bool
    _database: Any
    _returning: Any

    def execute(self, database: Any = None) -> Any:
        """Run the query; Peewee's own error for a model without a database does not say which one, or what to do."""
        if not (database or self._database):
            name = self.model.__name__
            raise InterfaceError(
                f"{name} has no database: say it in its Meta (database = Pg8000Database()), or by "
                f"database.bind([{name}])"
            )
        return super().execute(database)

    def select(self, *fields: Any) -> Self:
        """Choose what comes with each row; the query's own columns always do."""
        return cast("Self", super().select(*fields, *self._own)) if fields else self

    def __sql_selection__(self, ctx: Any, is_subquery: bool = False) -> Any:
        """As a value in another query (``in_``, a column) it has the columns that were chosen and no more."""
        if is_subquery and not self._is_default:
            chosen = [column for column in self._returning if not any(column is own for own in self._own)]
            return ctx.sql(CommaNodeList(chosen or self._returning))
        return super().__sql_selection__(ctx, is_subquery)
