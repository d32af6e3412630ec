"""How values are shown in forms and read from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from lightvec.errors import InvalidVector
from lightvec.types import Bit, SparseVector
from lightvec.types.columns import VectorLike
from lightvec.types.value import read_value

__all__ = ["ValueFormField", "form_text"]

#: A number in the text of a vector; of a sparse one, what follows an index and a colon.
_NUMBER = re.compile(r"(?<=[\[,:])[^,:}\]]+(?=[,}\]])")


def form_text(value: Any) -> str:
    """The text of a value with its numbers as Python prints them, as in pgvector's forms.

    >>> form_text(SparseVector({0: 1.5, 2: 2}, 3)), form_text(Bit("101"))
    ('{1:1.5,3:2.0}/3', '101')
    """
    if isinstance(value, Bit):
        return value.to_text()
    text = _NUMBER.sub(lambda number: repr(float(number[0])), value.to_text())
    return text if isinstance(value, SparseVector) else text.replace(",", ", ")


#: White space between two numbers.
_GAP = re.compile(r"(?<=[^\s\[{,])\s+(?=[^\s\]},])")


class ValueFormField(forms.CharField):
    """A text input for one value; the cleaned value is an instance of the field's class, or None.

    ``reader`` reads a value; a model's field passes its own, which checks the dimensions. ``in_array`` is
    for an item of Django's ``SimpleArrayField``, which splits texts at each comma: there, spaces separate
    a vector's numbers.
    """

    value_class: ClassVar[type[VectorLike]]
    example: ClassVar[str]

    def __init__(
        self, *args: Any, reader: Callable[[Any], Any] | None = None, in_array: bool = False, **kwargs: Any
    ) -> None:
        self.reader = reader
        self.in_array = in_array
        super().__init__(*args, **kwargs)

    def to_python(self, value: Any) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            return self._read(self._with_commas(value) if isinstance(value, str) else value)
        except InvalidVector as error:
            example = _without_commas(self.example) if self.in_array else self.example
            raise ValidationError(f"Enter a value like {example}: {error}", code="invalid") from error

    def _read(self, value: Any) -> Any:
        return read_value(self.value_class, value) if self.reader is None else self.reader(value)

    def _with_commas(self, text: str) -> str:
        return _GAP.sub(",", text.strip()) if self.in_array else text.strip()

    def prepare_value(self, value: Any) -> Any:
        """What the input shows: a text unchanged, any other value as it is read back."""
        if value is None or isinstance(value, str):
            return value
        try:
            text = form_text(self.value_class.coerce(value))
        except InvalidVector:
            return value  # cleaning reports what is wrong with it
        return _without_commas(text) if self.in_array else text

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the values differ, however they are written."""
        if self.disabled:
            return False
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except ValidationError:
            return True


def _without_commas(text: str) -> str:
    return " ".join(text.replace(",", " ").split())
