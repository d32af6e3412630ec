"""Bases of fields and searches, which are generic for type checkers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from peewee import CommaNodeList, Field, InterfaceError, Model, ModelSelect

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    V = TypeVar("V", default=Any)
    M = TypeVar("M", bound=Model, default=Model)

    class TypedField(Field[V], Generic[V, M]):
        def __set__(self, instance: object, value: Any) -> None: ...

    class TypedSelect(ModelSelect[M]):
        @overload
        def __getitem__(self, value: int) -> M: ...
        @overload
        def __getitem__(self, value: slice) -> list[M]: ...
        def __getitem__(self, value: int | slice) -> M | list[M]: ...
        @overload
        def first(self, database: Any = None, n: Literal[1] = 1) -> M | None: ...
        @overload
        def first(self, database: Any = None, n: int = 1) -> M | list[M] | None: ...
        def first(self, database: Any = None, n: int = 1) -> M | list[M] | None: ...
        def dicts(self, as_dict: bool = True) -> Any: ...
        def tuples(self, as_tuple: bool = True) -> Any: ...
        def namedtuples(self, as_namedtuple: bool = True) -> Any: ...

else:
    from typing import TypeVar

    V, M = TypeVar("V"), TypeVar("M")

    class _Subscriptable:
        def __class_getitem__(cls, parameters):  # noqa: ANN001, ANN204
            return cls

    class TypedField(_Subscriptable, Field):
        pass

    class TypedSelect(_Subscriptable, ModelSelect):
        pass


class ScoredSelect(TypedSelect[M]):
    """A select of a model whose rows have the columns ``_own``, whatever is selected."""

    _own: Sequence[Any]

    #: The field whose groups are limited, and to how many rows.
    _per: Any = None

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

    def per(self, field: Any, most: int = 1) -> Self:
        """At most this many rows of each group, the best: of each document its nearest chunk.

        ``field`` is a field or an expression, also of a joined model; NULL is a group, too. The
        groups are those among the nearest ``candidates`` rows (by default 10 for each that is
        wanted, at least 100), with ``exact=True`` among all. If these have too few,
        ``.shortfall`` says so.

        >>> near = Doc.embedding.nearest([1, 2, 3], k=5).per(Doc.id, most=1)
        """
        from lightvec.peewee.candidates import check_group

        check_group(field, most)
        query: Self = self.clone()
        query._per = (field, most)
        return query

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
