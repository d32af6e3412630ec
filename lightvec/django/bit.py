"""``BitField``: a ``bit`` column."""

from __future__ import annotations

from typing import Any

from lightvec.django.fields import ValueField
from lightvec.django.forms import ValueFormField
from lightvec.types import Bit

__all__ = ["BitField", "BitFormField"]


class BitFormField(ValueFormField):
    """Reads and shows a :class:`lightvec.Bit`."""

    value_class = Bit
    example = "101"


class BitField(ValueField):
    """A column of bits: ``bit(length)``, which is one bit where no length is given.

    >>> BitField(length=3).read("101")
    Bit(101)
    """

    description = "Bit string"
    value_class = Bit
    column_type = "bit"
    form_class = BitFormField
    size_keyword = "length"

    def __init__(self, *args: Any, length: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, dimensions=length, **kwargs)

    @property
    def length(self) -> int | None:
        """How many bits the column holds."""
        return self.dimensions
