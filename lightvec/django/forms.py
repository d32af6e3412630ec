"""How values are shown in forms and read from them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from lightvec.errors import InvalidVector
from lightvec.types import Bit, HalfVector, SparseVector, Vector

__all__ = ["ValueFormField", "form_text"]

_Value = Vector | HalfVector | SparseVector | Bit

#: A number in the text of a vector; of a sparse one, what follows an index and a colon.
_NUMBER = re.compile(r"(?<=[\[,:])[^,:}\]]+(?=[,}\]])")


def form_text(value: Any) -> str:
    """The text of a value with its numbers as Python prints them, which is what forms have always shown.

    >>> form_text(Vector([1, 0.1])), form_text(SparseVector({0: 1.5, 2: 2}, 3)), form_text(Bit("101"))
    ('[1.0, 0.1]', '{1:1.5,3:2.0}/3', '101')
    """
    if isinstance(value, Bit):
        return value.to_text()
    text = _NUMBER.sub(lambda number: repr(float(number[0])), value.to_text())
    return text if isinstance(value, SparseVector) else text.replace(",", ", ")


class ValueFormField(forms.CharField):
    """A text input for one value; what is cleaned is an instance of the field's class, or None where nothing stands."""

    value_class: ClassVar[type[_Value]]
    example: ClassVar[str]

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str):
            value = value.strip()
        if value is None or (isinstance(value, str) and not value):
            return None
        try:
            return self.value_class.from_text(value) if isinstance(value, str) else self.value_class.coerce(value)
        except InvalidVector as error:
            raise ValidationError(f"Enter a value like {self.example}: {error}", code="invalid") from error

    def prepare_value(self, value: Any) -> Any:
        """What the input shows: a text that was typed as it is, any other value in the form that is read back."""
        if value is None or isinstance(value, str):
            return value
        try:
            return form_text(self.value_class.coerce(value))
        except InvalidVector:
            return value  # shown as it is; cleaning says what is wrong with it

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another value came, however it is written."""
        if self.disabled:
            return False
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except ValidationError:
            return True
