"""What all four types share: they cannot change, they pickle, they print as they are written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Value:
    """An immutable value with a binary form; ``_assign`` is the one way to fill its slots."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __new__(cls, value: Any, /) -> Self: ...
        def to_text(self) -> str: ...
        @classmethod
        def from_text(cls, value: str, /) -> Self: ...
        def to_binary(self) -> bytes: ...
        @classmethod
        def from_binary(cls, value: bytes, /) -> Self: ...

    def wire_text(self) -> str:
        """The text for a driver that sends text: read back it is the same value, and it need not be the shortest."""
        return self.to_text()

    @classmethod
    def coerce(cls, value: Any, /) -> Self:
        """``value`` itself when it is one of this class already, else ``cls(value)``.

        Raises :class:`lightvec.errors.InvalidVector` as the constructor does.
        """
        return value if isinstance(value, cls) else cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from lightvec.types import _pydantic

        return _pydantic.schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from lightvec.types import _pydantic

        return _pydantic.json_schema(cls)

    @property
    def __pydantic_serializer__(self) -> Any:
        if "pydantic_core" not in sys.modules:  # then it is not Pydantic that asks
            raise AttributeError("__pydantic_serializer__")
        from lightvec.types import _pydantic

        return _pydantic.serializer()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make a new one instead")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make a new one instead")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_binary, (self.to_binary(),)


#: Fills a slot past :meth:`Value.__setattr__`.
assign = object.__setattr__
