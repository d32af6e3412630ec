"""Bases of fields and queries that are generic for type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from peewee import Field, Model, ModelSelect

if TYPE_CHECKING:
    from typing_extensions import TypeVar

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
