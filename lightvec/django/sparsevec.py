"""``SparseVectorField``: a ``sparsevec`` column."""

from __future__ import annotations

from typing import Any

from django import forms

from lightvec.django.fields import ValueField
from lightvec.django.forms import ValueFormField, form_text
from lightvec.types import SparseVector

__all__ = ["SparseVectorField", "SparseVectorFormField", "SparseVectorWidget"]


class SparseVectorWidget(forms.TextInput):
    """A text input that shows a sparse vector in a form of another field, too."""

    def format_value(self, value: Any) -> Any:
        return super().format_value(form_text(value) if isinstance(value, SparseVector) else value)


class SparseVectorFormField(ValueFormField):
    """Reads and shows a :class:`lightvec.SparseVector`."""

    widget = SparseVectorWidget
    value_class = SparseVector
    example = "{1:1.5,3:2}/5"


class SparseVectorField(ValueField):
    """A column that keeps the numbers that are not zero: ``sparsevec(dimensions)``, or of any dimensions.

    >>> SparseVectorField(dimensions=3).read([0, 0, 2])
    SparseVector({2: 2.0}, 3)
    """

    description = "Sparse vector"
    value_class = SparseVector
    column_type = "sparsevec"
    form_class = SparseVectorFormField
