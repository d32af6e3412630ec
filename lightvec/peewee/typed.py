"""What type checkers are told of fields and queries, beyond what happens when the program runs.

On the class a field knows its model, so that ``Doc.embedding.nearest(...)`` gives rows of ``Doc``; on a row it is the
value: ``Vector``, or ``Vector | None`` of a field with ``null=True``. Peewee's own stubs (4.5) say the same of its own
fields. Nothing here exists at run time but names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from peewee import Field, Model, ModelSelect

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
    M = TypeVar("M", bound=Model, default=Model)

    class TypedField(Field[V], Generic[V, M]):
        """A field whose values are of ``V``, of the model ``M``; what can be made one can be assigned."""

        def __set__(self, instance: object, value: Any) -> None: ...

    class TypedSelect(ModelSelect[M]):
        """A query whose rows are of the model ``M``, or Any where they are no models."""

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
        """``VectorField[Vector]`` is ``VectorField``: Peewee's classes take no parameters."""

        __slots__ = ()

        def __class_getitem__(cls, parameters):  # noqa: ANN001, ANN204
            return cls

    class TypedField(_Subscriptable, Field):
        """A field."""

    class TypedSelect(_Subscriptable, ModelSelect):
        """A query."""


__all__ = ["M", "TypedField", "TypedSelect", "V"]
