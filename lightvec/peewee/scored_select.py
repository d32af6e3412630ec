"""The base of searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from peewee import CommaNodeList, InterfaceError

from lightvec.peewee.generics import M, TypedSelect

if TYPE_CHECKING:
    from typing_extensions import Self


class ScoredSelect(TypedSelect[M]):
    """A select of a model whose rows have the columns ``_own``, whatever is selected."""

    _own: Sequence[Any]

    _is_default: bool
    _database: Any
    _returning: Any

    def execute(self, database: Any = None) -> Any:
        """As in Peewee; without a database the error says how to bind one."""
        if not (database or self._database):
            name = self.model.__name__
            raise InterfaceError(
                f"{name} has no database: set it in its Meta (database = Pg8000Database()) or by "
                f"database.bind([{name}])"
            )
        return super().execute(database)

    def select(self, *fields: Any) -> Self:
        """Choose the columns of each row, beside the query's own."""
        return super().select(*fields, *self._own) if fields else self  # type: ignore[return-value]

    def __sql_selection__(self, ctx: Any, is_subquery: bool = False) -> Any:
        """A value in another query (``in_``, a column) has only the columns that were selected."""
        if is_subquery and not self._is_default:
            own = set(map(id, self._own))
            columns = [column for column in self._returning if id(column) not in own]
            return ctx.sql(CommaNodeList(columns or self._returning))
        return super().__sql_selection__(ctx, is_subquery)
