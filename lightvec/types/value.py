"""What all four types share: they cannot change, they pickle, they compare, Pydantic reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from lightvec.errors import InvalidVector
from lightvec.types.inputs import show

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Self

Item = TypeVar("Item")
Kind = TypeVar("Kind", bound="Value[Any]")


class Value(Sequence[Item]):
    """An immutable sequence with a text and a binary form; ``assign`` fills its slots."""

    __slots__ = ()

    _example: ClassVar[str]
    _json_schema: ClassVar[dict[str, Any]] = {"type": "string"}

    if TYPE_CHECKING:

        def __new__(cls, value: Any, /) -> Self: ...
        def to_list(self) -> list[Item]: ...
        def to_numpy(self) -> NDArray[Any]: ...
        def to_text(self) -> str: ...
        @classmethod
        def from_text(cls, value: str, /) -> Self: ...
        def to_binary(self) -> bytes: ...
        @classmethod
        def from_binary(cls, value: bytes, /) -> Self: ...
        def _key(self) -> tuple[Any, ...]: ...
        def _at(self, place: int) -> Item: ...

    def __str__(self) -> str:
        return self.to_text()

    def dimensions(self) -> int:
        """How many items there are; the same as ``len``."""
        return len(self)

    def wire_text(self) -> str:
        """The text for a driver: it reads back as the same value, and may be longer than needed."""
        return self.to_text()

    @classmethod
    def coerce(cls, value: Any, /) -> Self:
        """``value`` itself if it is one of this class, else ``cls(value)``."""
        return value if isinstance(value, cls) else cls(value)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.to_list())

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """One item, or for a slice a plain list (which, unlike a vector, may be empty)."""
        if isinstance(index, slice):
            return self._slice(index)
        return self._at(range(len(self))[index])

    def _slice(self, places: slice) -> list[Item]:
        return self.to_list()[places]

    def __eq__(self, other: object) -> bool:
        """Equal to a value of the same type, or to a list or tuple that makes an equal one."""
        if isinstance(other, Value):
            return self._key() == other._key()
        if isinstance(other, list | tuple):
            try:
                return len(other) == len(self) and self == type(self)(other)
            except InvalidVector:
                return False
        return NotImplemented

    def __hash__(self) -> int:
        raise NotImplementedError

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """NumPy's protocol; the array is a new one, so ``copy=False`` raises ``ValueError``."""
        if copy is False:
            name = type(self).__name__
            raise ValueError(f"{name} has to build its array: expected copy=None or True, got False")
        numbers = self.to_numpy()
        return numbers if dtype is None else numbers.astype(dtype, copy=False)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: create a new one")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_binary, (self.to_binary(),)

    # Pydantic's protocol: its documentation, "Custom types"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            partial(read_value, cls), serialization=_json_serialization()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return cls._json_schema

    @property
    def __pydantic_serializer__(self) -> Any:
        """For values of fields that are annotated otherwise, such as ``Any``."""
        if "pydantic_core" not in sys.modules:  # the reader is not Pydantic
            raise AttributeError("__pydantic_serializer__")
        return _serializer()

    def _json_value(self) -> Any:
        return self.to_text()


#: Fills a slot past :meth:`Value.__setattr__`.
assign = object.__setattr__


def _json_serialization() -> Any:
    from pydantic_core import core_schema

    return core_schema.plain_serializer_function_ser_schema(lambda value: value._json_value(), when_used="json")


@cache
def _serializer() -> Any:
    from pydantic_core import SchemaSerializer, core_schema

    return SchemaSerializer(core_schema.any_schema(serialization=_json_serialization()))


def read_value(kind: type[Kind], value: Any) -> Kind:
    """The value as the class, also where it is PostgreSQL's text of one."""
    return kind.from_text(value) if isinstance(value, str) else kind.coerce(value)


def malformed_text(kind: type[Value[Any]], text: object) -> InvalidVector:
    """The error for what ``from_text`` does not read."""
    return InvalidVector(f"{kind.__name__}.from_text expected a str like {kind._example} and got {show(text)}.")
